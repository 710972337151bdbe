"""A roll-back: not done before it is flat by proof and every child has ended."""

from contextlib import suppress
from decimal import Decimal

import pytest

from kernel.model.orders import OrderStatus
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from kernel.runtime.errors import TimedOut
from kernel.trade.entry import Entries
from tests.kernel.trade.entering import Entered
from tests.kernel.trade.parts import fill

D = Decimal
CANCELED = OrderStatus.CANCELED
PENDING_SL, ROLLBACK = PositionState.PENDING_SL, PositionState.ROLLBACK
ROLLED_BACK = PositionState.ROLLED_BACK


class Closing(Entered):
    """A bench on which closes end as a test says.

    Attributes:
        closes: When each was asked for, and why.
        flat: What they answer, after `takes_ns`; the last one repeats.
    """

    def __init__(self, **settings):
        super().__init__(**settings)
        self.closes = []
        self.flat = [True]
        self.takes_ns = 0
        self.while_closing = self.executes
        self.entries = Entries(
            self.services, stops=self.stops, exits=self, settler=self, setup=self  # type: ignore[arg-type]
        )

    def executes(self, position):
        """Executions tell that nothing is left."""
        if position.qty > 0:
            number = f"x{len(self.closes)}"
            side, qty = position.side.exit_side, str(position.qty)
            position.apply_fill(fill(number, side, qty, "42000", ts_ns=self.runtime.ts()))

    async def close(self, position, reason, cause):
        self.closes.append((self.ms, reason, cause))
        assert len(self.closes) < 200, "it closes without a pause"
        await self.runtime.sleep(self.takes_ns)
        self.while_closing(position)
        return self.flat.pop(0) if len(self.flat) > 1 else self.flat[0]

    def roll_back(self, position, seconds=20.0):
        return self.result(self.entries.roll_back(position, "why"), seconds)

    def times(self):
        return [at for at, *_ in self.closes]


@pytest.fixture
def bench():
    made = Closing()
    yield made
    assert made.crashes == []


def ended(bench, qty="0.005"):
    """A filled position whose child has ended."""
    position, (child,) = bench.entry("0.005", state=PENDING_SL)
    bench.fills(child, qty)
    bench.reports(child, CANCELED, qty, "42000")
    return position


def test_what_filled_is_closed_told_and_over(bench):
    position = ended(bench)
    assert bench.roll_back(position) == (None, 0)
    assert bench.closes == [(0, CloseReason.ROLLBACK, "why")]
    assert position.state is ROLLED_BACK
    assert [row.state for row in bench.stored(position)][-2:] == [ROLLBACK, ROLLED_BACK]
    (alert,) = bench.alerts("rollback")
    assert (alert.severity, alert.text) == ("CRITICAL", "entry rolled back: why")
    assert (alert.venue, alert.symbol) == ("binance", "BTCUSDT")
    assert [one.cause for one in bench.kinds("position.state")] == ["why", "proven flat"]


def test_the_state_is_durable_before_the_close(bench):
    position = ended(bench)
    bench.after(1)
    bench.store.delay_ns, bench.began = 50 * MS, bench.runtime.now()
    bench.roll_back(position)
    assert bench.times() == [50]


def test_one_that_is_being_rolled_back_already_goes_on(bench):
    position = ended(bench)
    position.transition(ROLLBACK, "before the restart")
    bench.roll_back(position)
    assert position.state is ROLLED_BACK
    assert len(bench.kinds("position.state")) == 2


def test_one_that_somebody_ended_meanwhile_is_not_ended_again(bench):
    position = ended(bench)
    bench.while_closing = lambda one: one.transition(ROLLED_BACK, "somebody else")
    bench.roll_back(position)
    assert [one.cause for one in bench.kinds("position.state")] == ["why", "somebody else"]


def test_a_close_that_is_not_flat_is_asked_for_again_after_a_second(bench):
    position = ended(bench)
    bench.flat = [False, False, True]
    assert bench.roll_back(position) == (None, 2000)
    assert bench.times() == [0, 1000, 2000]
    assert position.state is ROLLED_BACK


def test_it_is_not_over_before_every_child_has_ended_and_waits_without_closing(bench):
    position, children = bench.entry("0.002", "0.003", state=PENDING_SL)
    bench.reports(children[0], CANCELED)
    bench.settling_ns = 5 * SECOND
    bench.later(8000, lambda: bench.reports(children[1], CANCELED))
    _, at = bench.roll_back(position)
    assert at >= 8000
    assert bench.times() == [0, 8000], "once more after the last has ended"
    assert position.state is ROLLED_BACK


def test_what_fills_of_a_child_meanwhile_is_closed_at_once(bench):
    position, children = bench.entry("0.002", "0.003", state=PENDING_SL)
    bench.reports(children[0], CANCELED)
    bench.settling_ns = 60 * SECOND
    bench.later(3000, lambda: bench.fills(children[1], "0.001"))
    bench.roll_back(position, 4)
    assert bench.times()[:2] == [0, 3000]
    assert position.state is ROLLBACK


def test_the_proof_comes_after_the_end_of_the_last_child(bench):
    """Flat before its child ended: what fills in between would be left."""
    position, (child,) = bench.entry("0.005", state=PENDING_SL)
    bench.takes_ns = 2 * SECOND
    bench.later(1000, lambda: bench.reports(child, CANCELED))
    _, at = bench.roll_back(position)
    assert bench.times() == [0, 2000]
    assert at == 4000


def test_only_what_opens_is_a_child(bench):
    position, (child,) = bench.entry("0.005", state=PENDING_SL)
    bench.reports(child, CANCELED)
    bench.child(position, "0.005", 1, reduce_only=True)
    assert bench.roll_back(position) == (None, 0)


def test_a_roll_back_is_not_interrupted_from_outside(bench):
    position = ended(bench)
    bench.takes_ns = SECOND

    async def impatient():
        with suppress(TimedOut), bench.runtime.timeout(500 * MS):
            await bench.entries.roll_back(position, "why")

    bench.spawn(impatient())
    bench.after(5)
    assert position.state is ROLLED_BACK


def test_an_entry_that_is_not_kept_cancels_its_open_child_once():
    bench = Entered(MIN_POSITION_SIZE_USD="60")
    bench.rests("E1")
    assert bench.open("0.001", "0.001", seconds=30)[0] is None
    assert len(bench.alerts("rollback")) == 1
    entry = [
        one for _, one in bench.venue.requests("cancel") if one.client_order_id == bench.sent(1)
    ]
    assert len(entry) == 1
    assert bench.venue.held == {}
    assert bench.crashes == []
