"""A task that works for a position is known as its: its crash hands the position to last resort."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.orders import OrderStatus, PositionReport
from kernel.model.positions import CloseReason
from kernel.model.units import HOUR, SECOND, TsNs
from kernel.protect.aged import AgedPositions
from tests.kernel.fakes import Bench, Rule

WAIT = 30 * SECOND


class Named(Bench):
    """A bench that notes for whom each task is supervised."""

    def __post_init__(self):
        super().__post_init__()
        self.owners: dict[str, object] = {}
        supervise = self.services.supervise

        def noted(name, factory, *, position=None):
            self.owners[name.partition(" ")[0]] = position
            return supervise(name, factory, position=position)

        self.services.supervise = noted  # type: ignore[method-assign]
        self.protection()


def lose(bench, position):
    """The stop ends and no event tells it."""
    (stop,) = bench.venue.stops()
    bench.venue.silent = True
    bench.venue.end(stop.client_order_id, OrderStatus.CANCELED)
    bench.venue.silent = False


def watch(bench, position):
    bench.services.supervise("check", bench.stop_check.run)
    bench.run(bench.runtime.now() + WAIT)
    lose(bench, position)


def distrust(bench, position):
    position.stops.list_lied_ns = bench.runtime.now()
    watch(bench, position)


def close(bench, position):
    bench.venue.rules.append(Rule("submit", errors.Rejected, "-1", times=1))
    bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "test"))


def age(bench, position):
    position.report = PositionReport(
        symbol="BTCUSDT", side=position.side, qty=Decimal(1),
        opened_ns=TsNs(bench.runtime.ts() - 9 * HOUR), updated_ns=bench.runtime.ts(),
    )  # fmt: skip
    AgedPositions(bench.services, bench.stops, bench.exits).check("binance")


def nothing(bench, position):
    """What is begun with the position itself."""


@pytest.mark.parametrize(
    ("task", "act"),
    [
        ("keep", nothing), ("trail", nothing), ("repair", watch), ("question", distrust),
        ("close", close), ("age", age),
    ],
)  # fmt: skip
def test_a_task_that_works_for_a_position_is_known_as_its(task, act):
    bench = Named()
    position = bench.protected()
    act(bench, position)
    bench.run(bench.runtime.now() + WAIT)
    assert bench.owners[task] is position
    assert bench.crashes == []
