"""Protection of last resort: what it takes for a stop, when it closes, and what it sends."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg, leg_of
from kernel.model.orders import OrderClass, OrderStatus, OrderType, PositionSide, Side
from kernel.model.rows import OrderRow
from kernel.model.units import SECOND
from kernel.model.venue import EffectClass, OrderPage, PositionPage
from kernel.protect.last_resort import FROZEN, LastResort
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal


class Resort(Bench):
    """A filled position that nothing else looks after."""

    def __init__(self, venue="binance", qty="0.005"):
        super().__init__(venue_names=(venue,))
        self.protection()
        self.run(100 * SECOND)
        self.position = self.filled(qty=qty)
        self.resort = LastResort(self.services)
        self.began = self.runtime.now()

    def stop(self, **changes):
        """The list shows such a stop."""
        make = self.venue._order
        report = make(_Asked(self.position), OrderClass.CONDITIONAL, OrderType.STOP_MARKET)
        report = msgspec.structs.replace(report, qty=self.position.qty)
        self.shown = (*getattr(self, "shown", ()), msgspec.structs.replace(report, **changes))
        self.venue._open = lambda request: OrderPage(orders=self.shown)  # type: ignore[method-assign]

    def take_over(self, seconds=1):
        self.task = self.spawn(self.resort.take_over(self.position))
        self.run(self.began + int(seconds * SECOND))

    def sent(self):
        return [str(one.qty) for _, one in self.venue.requests("submit")]

    def reads(self):
        return [(at - self.began) // SECOND for at, _ in self.venue.requests("positions")]


class _Asked:
    """What `_order` wants to know of a request."""

    def __init__(self, position):
        self.symbol, self.client_order_id = position.symbol, "s"
        self.side, self.qty = position.side.exit_side, position.qty
        self.reduce_only = True


@pytest.fixture
def bench():
    made = Resort()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- what protects


def test_a_live_stop_for_the_whole_is_let_alone_and_looked_at_every_five_seconds(bench):
    bench.stop()
    bench.take_over(200)
    assert bench.sent() == []
    assert bench.reads() == list(range(0, 60, 5))
    assert bench.task.done
    assert bench.position.frozen == ""
    assert not bench.resort.holds(bench.position)


@pytest.mark.parametrize(
    ("changes", "closed"),
    [
        ({}, False),
        ({"qty": D("0.006")}, False),
        ({"qty": D("0.004")}, True),
        ({"qty": D("0.004"), "close_position": True}, False),
        ({"reduce_only": False, "close_position": True}, False),
        ({"reduce_only": False}, True),
        ({"symbol": "ETHUSDT"}, True),
        ({"position_side": "LONG"}, True),
        ({"order_type": OrderType.TAKE_PROFIT_MARKET}, True),
        ({"status": OrderStatus.TRIGGERED}, True),
        ({"side": Side.BUY}, True),
    ],
    ids=str,
)
def test_only_a_live_closing_stop_of_the_whole_position_is_one(bench, changes, closed):
    bench.stop(**changes)
    bench.take_over()
    assert bool(bench.sent()) is closed


def test_several_stops_that_make_up_the_whole_are_one(bench):
    bench.stop(qty=D("0.002"))
    bench.stop(qty=D("0.003"))
    bench.take_over()
    assert bench.sent() == []


def test_the_whole_is_what_the_venue_shows(bench):
    bench.stop()
    bench.venue.held["BTCUSDT"].qty = D("0.007")
    bench.take_over()
    assert bench.sent()[0] == "0.007"


@pytest.mark.parametrize("stop", ["41160", "0"])
def test_an_attached_stop_is_seen_in_the_row_of_the_position(stop):
    bench = Resort("bybit")
    bench.venue.held["BTCUSDT"].stop = D(stop)
    bench.take_over()
    assert bench.sent() == ([] if D(stop) else ["0.005"])
    assert bench.venue.requests("open_orders") == []


@pytest.mark.parametrize(
    "changes",
    [{"symbol": "ETHUSDT"}, {"side": PositionSide.SHORT}, {"qty": D(0)}, {"hedge_leg": "LONG"}],
    ids=str,
)
def test_a_row_of_something_else_is_no_position(bench, changes):
    row = msgspec.structs.replace(bench.venue.position_report("BTCUSDT"), **changes)
    bench.venue._positions = lambda request: PositionPage(positions=(row,))
    bench.take_over(70)
    assert bench.sent() == []
    assert bench.task.done
    assert bench.venue.requests("open_orders") == [], "what is not held needs no stop"


def test_it_asks_as_those_do_who_protect(bench):
    bench.stop()
    before = len(bench.venue.classes)
    bench.take_over()
    assert bench.venue.classes[before:] == 2 * [EffectClass.PROTECT]


# ---------------------------------------------------------------- closing


def test_a_close_is_recorded_said_and_reduce_only(bench):
    bench.take_over()
    (order,) = [
        one for one in bench.services.orders.of_position(bench.position.id) if one.row.reduce_only
    ]
    row = order.row
    assert leg_of(row.client_order_id) is Leg.EXIT
    assert (row.order_class, row.order_type, row.side) == (
        OrderClass.PLAIN, OrderType.MARKET, Side.SELL,
    )  # fmt: skip
    assert row.reduce_only
    assert row.created_ns == WALL + 100 * SECOND + 80_000_000
    assert row.venue_order_id != ""
    ((_, request),) = bench.venue.requests("submit")
    assert request.reduce_only
    assert (request.position_side, request.order_type) == ("BOTH", OrderType.MARKET)
    (said,) = bench.kinds("exit.submitted")
    assert said.cause == "last resort"
    assert row.client_order_id in [getattr(one, "client_order_id", "") for one in bench.store.rows]


@pytest.mark.parametrize(
    ("most", "sent"), [("100", ["100", "100", "50"]), ("0", ["250"]), (None, ["250"])]
)
def test_a_close_is_sent_in_parts_of_the_market_maximum(most, sent):
    bench = Resort(qty="250")
    instruments = bench.services.desks["binance"].instruments
    if most is None:
        instruments.clear()
    else:
        instruments["BTCUSDT"] = msgspec.structs.replace(
            instruments["BTCUSDT"], max_market_qty=D(most)
        )
    bench.take_over()
    assert bench.sent() == sent


def test_a_close_is_stored_before_it_is_known_to_have_worked(bench):
    bench.venue.rules.append(Rule("submit", errors.OutcomeUnknown, "t"))
    bench.take_over()
    (row,) = [one for one in bench.store.rows if isinstance(one, OrderRow) and one.reduce_only]
    assert row.updated_ns == row.created_ns == WALL + 100 * SECOND + 80_000_000
    assert bench.venue.classes[-1] is EffectClass.EXIT


def test_the_answer_to_a_close_tells_its_id(bench):
    bench.venue.silent = True
    bench.take_over()
    (order,) = [
        one for one in bench.services.orders.of_position(bench.position.id) if one.row.reduce_only
    ]
    assert order.row.venue_order_id != ""


def test_a_close_that_fails_is_said_and_tried_again_after_five_seconds(bench):
    bench.venue.rules.append(Rule("submit", errors.Rejected, "-1111", times=2))
    bench.take_over(30)
    times = [at for at, _ in bench.venue.requests("submit")]
    assert [round((later - earlier) / SECOND) for earlier, later in pairwise(times)] == [5, 5]
    assert len(bench.kinds("exit.failed")) == 2
    assert bench.venue.held == {}


# ---------------------------------------------------------------- blind


def test_reads_that_fail_for_less_than_ten_seconds_count_as_protected(bench):
    bench.stop()
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown, times=2))
    bench.take_over(12)
    assert bench.sent() == []


def test_the_time_of_blindness_begins_with_the_last_read_that_worked(bench):
    bench.stop()
    bench.take_over(27)
    assert bench.reads()[-1] == 25
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    bench.run(bench.began + 34 * SECOND)
    assert bench.sent() == []
    bench.run(bench.began + 36 * SECOND)
    assert bench.sent() == ["0.005"]


def test_at_ten_seconds_without_a_read_it_closes(bench):
    bench.venue.latency_ns = 0
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    bench.take_over(9.9)
    assert bench.sent() == []
    bench.run(bench.began + 11 * SECOND)
    assert bench.sent() == ["0.005"]


def test_what_is_flat_by_executions_is_handed_back_though_nothing_can_be_read(bench):
    bench.position.row = msgspec.structs.replace(bench.position.row, filled_qty=D(0))
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    bench.take_over(70)
    assert bench.sent() == []
    assert bench.task.done


def test_twelve_good_rounds_after_a_bad_one_hand_it_back(bench):
    bench.venue.rules.append(Rule("submit", errors.Rejected, "-1", times=1))
    bench.take_over(2)
    assert len(bench.sent()) == 1
    bench.stop()
    bench.run(bench.began + 59 * SECOND)
    assert not bench.task.done
    bench.run(bench.began + 200 * SECOND)
    assert bench.reads()[-1] == 60, "a bad one at 0, good ones from 5 s on"
    assert bench.task.done


def test_it_ends_with_the_position(bench):
    bench.stop()
    bench.take_over(7)
    bench.position.row = msgspec.structs.replace(
        bench.position.row, state=type(bench.position.state).CLOSED
    )
    bench.run(bench.began + 60 * SECOND)
    assert bench.reads() == [0, 5]
    assert bench.task.done


def test_good_rounds_count_in_a_row(bench):
    bench.stop()
    bench.take_over(52)
    shown, bench.shown = bench.shown, ()
    bench.venue.rules.append(Rule("submit", errors.Rejected, "-1", times=1))
    bench.run(bench.began + 57 * SECOND)
    assert len(bench.sent()) == 1
    bench.shown = shown
    bench.run(bench.began + 112 * SECOND)
    assert not bench.task.done
    bench.run(bench.began + 125 * SECOND)
    assert bench.task.done


# ---------------------------------------------------------------- taking over


def test_a_position_is_taken_over_once_and_frozen_meanwhile(bench):
    bench.stop()
    bench.take_over()
    assert bench.position.frozen == FROZEN
    assert bench.resort.holds(bench.position)
    second = bench.spawn(bench.resort.take_over(bench.position))
    bench.run(bench.began + 2 * SECOND)
    assert second.done
    assert len(bench.alerts(FROZEN)) == 1
    assert len(bench.kinds("position.last_resort")) == 1


def test_a_position_that_was_frozen_before_stays_so(bench):
    bench.stop()
    bench.position.frozen = "why"
    bench.take_over(200)
    assert bench.task.done
    assert bench.position.frozen == "why"


def test_a_position_that_is_over_is_not_taken_over(bench):
    bench.position.row = msgspec.structs.replace(
        bench.position.row, state=type(bench.position.state).CLOSED
    )
    bench.take_over()
    assert bench.task.done
    assert bench.alerts() == []
    assert bench.reads() == []
