"""When a venue is compared with the books, what is asked for it, and what opens entries again."""

from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, OrderType, PositionSide, Side
from kernel.model.positions import Origin, PositionState
from kernel.model.units import MS, SECOND, TsNs
from kernel.trade.router import RESYNC
from tests.kernel.fakes import WALL, D, Placed, Rule
from tests.kernel.sync.whole import SYMBOL, Whole, execution, order_report, own_id

READ_NS = 40 * MS
ID = own_id(Leg.ENTRY)


@dataclass
class Bench(Whole):
    """A kernel that compares one venue, with a visibility lag of 2 s, every minute."""

    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        values = {"SYNC_INTERVAL_SECONDS": "60", "VISIBILITY_LAG_SECONDS": "2"} | self.values
        self.settings = Settings.load(values)
        super().__post_init__()
        self.resync = self.parts.resyncs[self.venue_names[0]]
        self.prices.push(SYMBOL, "42000")

    def begin(self):
        """Run it; the pauses begin now."""
        self.spawn(self.resync.run())
        self.after(0)
        return self

    def reads(self):
        """When each bulk read was asked, in seconds."""
        times = [at for at, one in self.asked("positions") if not one.symbol]
        return [at / SECOND for at in times]

    def pauses(self):
        """Between the end of one bulk read and the begin of the next, in seconds."""
        times = [at for at, one in self.asked("positions") if not one.symbol]
        return [(b - a - READ_NS) / SECOND for a, b in pairwise(times)]

    def once(self, max_age_ns=0, seconds=5):
        task = self.spawn(self.resync.once(max_age_ns=max_age_ns))
        self.after(seconds)
        return task.result()

    def failing(self, kind="positions", **given):
        rule = Rule(kind, errors.OutcomeUnknown, **given)
        self.venue.rules.append(rule)
        return rule


def begun(**values):
    return Bench(values=values)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- a doubt


def test_a_doubt_blocks_entries_until_a_read_asked_after_it_was_applied(bench):
    bench.begin().after(1)
    bench.resync.request("an execution is not ours")
    assert bench.desk.block_reasons == (RESYNC,)
    bench.after(0.001)
    (due,) = bench.kinds("resync.due")
    assert (due.cause, due.venue) == ("an execution is not ours", "binance")
    bench.after(1)
    assert bench.reads() == [1.0]
    assert bench.desk.block_reasons == ()
    assert bench.desk.resynced_mono_ns == SECOND
    assert bench.resync.completed == 1


def test_a_doubt_that_comes_during_a_read_needs_another_one(bench):
    bench.begin().after(1)
    bench.resync.request("first")
    bench.after(0.01)
    bench.resync.request("second")
    bench.after(0.035)
    assert bench.desk.block_reasons == (RESYNC,)
    bench.after(1)
    assert bench.reads() == [1.0, 1.04]
    assert bench.desk.block_reasons == ()


def test_a_doubt_is_settled_by_a_read_of_its_own_however_young_another_is(bench):
    bench.begin().after(1)
    bench.spawn(bench.resync._snapshots.read("binance", 0))
    bench.run(SECOND + 1)
    bench.resync.request("a doubt")
    bench.after(1)
    assert len(bench.reads()) == 2


def test_a_read_without_a_doubt_settles_none(bench):
    bench.after(1)
    assert bench.once()
    assert bench.desk.resynced_mono_ns == 0


def test_a_read_that_fails_is_tried_again_with_growing_pauses(bench):
    bench.failing(times=6)
    bench.begin()
    bench.resync.request("a doubt")
    bench.after(60)
    gaps = [round(one + 0.02, 6) for one in bench.pauses()[:6]]
    assert gaps == [1, 2, 5, 10, 10, 10]
    assert len(bench.kinds("resync.failed")) == 6
    assert bench.desk.block_reasons == ()


def test_after_a_read_that_worked_the_pauses_begin_anew(bench):
    rule = bench.failing(times=3)
    bench.begin()
    bench.resync.request("a doubt")
    bench.after(20)
    before = len(bench.reads())
    rule.times = 1
    bench.resync.request("another")
    bench.after(3)
    first, second = bench.reads()[before:]
    assert round(second - first, 6) == 1.02


def test_a_read_that_fails_changes_nothing(bench):
    bench.protected()
    bench.failing("open_orders")
    assert bench.once() is False
    (told,) = bench.kinds("resync.failed")
    assert told.venue == "binance"
    assert bench.resync.completed == 0


# ---------------------------------------------------------------- the interval


def test_a_venue_is_read_at_every_interval():
    bench = begun(SYNC_INTERVAL_SECONDS="30").begin()
    bench.after(100)
    assert bench.reads() == [30, 60.04, 90.08]


def test_without_an_interval_a_venue_is_read_at_doubts_alone():
    bench = begun(SYNC_INTERVAL_SECONDS="0").begin()
    bench.after(1000)
    assert bench.reads() == []
    bench.resync.request("a doubt")
    bench.after(1000)
    assert bench.reads() == [1000]


@pytest.mark.parametrize(("before_s", "reads"), [(4, 1), (5, 1), (6, 2)])
def test_a_periodic_sync_takes_an_answer_that_is_young_enough(bench, before_s, reads):
    bench.begin()
    bench.run((60 - before_s) * SECOND)
    bench.spawn(bench.parts.resyncs["binance"]._snapshots.read("binance", 0))
    bench.run(61 * SECOND)
    assert len(bench.reads()) == reads
    assert bench.resync.completed == 1


@pytest.mark.parametrize(("interval", "pause"), [("60", 15), ("15", 15), ("10", 10)])
def test_while_it_is_watched_closely_a_venue_is_read_more_often(interval, pause):
    bench = begun(SYNC_INTERVAL_SECONDS=interval).begin()
    bench.desk.watch_closely(50 * SECOND)
    bench.after(50)
    assert bench.pauses()[:2] == [pause, pause]


def test_a_venue_that_begins_to_be_watched_closely_need_not_wait_for_its_interval(bench):
    bench.begin().after(50)
    bench.desk.watch_closely(600 * SECOND)
    bench.after(16)
    assert bench.reads() == [65]


def test_a_close_watch_that_is_over_is_over(bench):
    bench.begin()
    bench.desk.watch_closely(15 * SECOND)
    bench.after(100)
    assert bench.reads() == [15, 75.04]


# ---------------------------------------------------------------- what differs


def unknown(bench):
    """The venue shows a position that nobody here knows."""
    bench.venue.open(SYMBOL, PositionSide.LONG, "0.005", "42000")


@pytest.mark.parametrize(("lag", "pause"), [("2", 2), ("5", 5), ("0", 1)])
def test_a_difference_is_looked_at_again_as_soon_as_it_can_be_proven(lag, pause):
    bench = begun(VISIBILITY_LAG_SECONDS=lag, UNTRACKED_POLICY="alert").begin()
    unknown(bench)
    bench.resync.request("a doubt")
    bench.after(pause + 0.9)
    assert bench.pauses() == [pause]


def test_a_recheck_makes_a_read_of_its_own(bench):
    bench = begun(UNTRACKED_POLICY="alert").begin()
    unknown(bench)
    bench.resync.request("a doubt")
    bench.run(READ_NS + 2 * SECOND - 1)
    bench.spawn(bench.resync._snapshots.read("binance", 0))
    bench.after(1)
    assert len(bench.reads()) == 3


def test_a_close_watch_takes_an_answer_that_is_young_enough(bench):
    bench.begin()
    bench.desk.watch_closely(600 * SECOND)
    bench.run(12 * SECOND)
    bench.spawn(bench.resync._snapshots.read("binance", 0))
    bench.run(16 * SECOND)
    assert len(bench.reads()) == 1
    assert bench.resync.completed == 1


def test_what_is_being_mended_is_looked_at_again_with_pauses_that_double_three_times(bench):
    bench.filled(state=PositionState.PENDING_SL)
    del bench.venue.held[SYMBOL]
    bench.resync.request("a doubt")
    bench.begin()
    bench.after(100)
    assert [int(one) for one in bench.pauses()[:5]] == [4, 8, 16, 16, 16]


def test_once_it_is_mended_the_usual_pauses_begin(bench):
    position = bench.filled(state=PositionState.PENDING_SL)
    held = bench.venue.held.pop(SYMBOL)
    bench.begin()
    bench.resync.request("a doubt")
    bench.after(5)
    bench.venue.held[SYMBOL] = held
    bench.after(200)
    assert [int(one) for one in bench.pauses()[:4]] == [4, 8, 60, 60]
    del bench.venue.held[SYMBOL]
    bench.resync.request("again")
    bench.after(10)
    assert int(bench.pauses()[-1]) == 4
    assert position.state is PositionState.PENDING_SL


def test_an_order_that_may_be_a_zombie_is_looked_at_again_as_soon(bench):
    stop = order_report(
        own_id(Leg.STOP), side=Side.SELL, order_class=OrderClass.CONDITIONAL,
        order_type=OrderType.STOP_MARKET, reduce_only=True, created_ns=TsNs(1),
    )  # fmt: skip
    bench.venue.orders[stop.client_order_id] = Placed(stop)
    bench.once()
    bench.begin()
    bench.resync.request("a doubt")
    bench.after(3)
    assert bench.pauses()[-1] == 2


# ---------------------------------------------------------------- facts


def test_what_a_read_shows_is_applied_like_events(bench):
    unknown(bench)
    order = bench.order(ID)
    bench.venue.orders[ID] = Placed(order_report(ID))
    assert bench.once()
    assert order.row.venue_order_id == "77"
    assert bench.desk.reported[(SYMBOL, "BOTH")].qty == D("0.005")
    assert bench.asked("query_order") == []


def seen(bench, **changes):
    """An order of ours that the venue showed before."""
    order = bench.order(ID, **changes)
    bench.services.orders.on_report("binance", order_report(ID, updated_ns=bench.runtime.ts()))
    return order


def test_an_order_that_was_seen_and_is_in_no_list_is_looked_up(bench):
    order = seen(bench)
    done = order_report(ID, status=OrderStatus.CANCELED, updated_ns=WALL + SECOND)
    bench.venue.orders[ID] = Placed(done, live=False)
    assert bench.once()
    assert len(bench.asked("query_order")) == 1
    assert order.row.status is OrderStatus.CANCELED


def test_an_order_that_a_list_shows_is_not_looked_up(bench):
    seen(bench)
    bench.venue.orders[ID] = Placed(order_report(ID))
    assert bench.once()
    assert bench.asked("query_order") == []


def test_an_order_that_a_list_shows_under_the_venues_id_alone_is_not_looked_up(bench):
    bench.order(ID, venue_order_id="77", created_ns=TsNs(1))
    bench.venue.orders[ID] = Placed(order_report("", venue_order_id="77"))
    assert bench.once()
    assert bench.asked("query_order") == []


@pytest.mark.parametrize(("age_s", "asked"), [(30, 0), (30.000000001, 1)])
def test_an_order_that_was_never_seen_is_looked_up_once_it_is_old(bench, age_s, asked):
    bench.order(ID)
    bench.run(int(age_s * SECOND) - READ_NS)
    bench.once()
    assert len(bench.asked("query_order")) == asked


def test_executions_are_asked_where_the_quantity_differs(bench):
    bench.protected()
    bench.venue.held[SYMBOL].qty = D("0.004")
    assert bench.once(seconds=1)
    assert len(bench.asked("executions")) == 1


def test_executions_are_asked_where_the_venue_shows_nothing(bench):
    bench.protected()
    del bench.venue.held[SYMBOL]
    assert bench.once(seconds=1)
    assert len(bench.asked("executions")) >= 1


def test_executions_are_not_asked_where_nothing_differs(bench):
    bench.protected()
    assert bench.once()
    assert bench.asked("executions") == []


def test_executions_are_asked_after_every_doubt(bench):
    bench.protected()
    bench.begin()
    bench.resync.request("a doubt")
    bench.after(1)
    assert len(bench.asked("executions")) == 1


def test_executions_are_asked_as_long_as_a_part_of_ours_is_inferred(bench):
    position = bench.protected()
    bench.venue.held[SYMBOL].qty = D("0.006")
    position.infer(D("0.006"), D(42000), "by a test")
    assert bench.once()
    assert len(bench.asked("executions")) == 1


def test_executions_that_cannot_be_read_are_the_failure_of_the_resync(bench):
    bench.protected()
    bench.failing("executions")
    bench.begin()
    bench.resync.request("a doubt")
    bench.after(0.5)
    assert bench.desk.block_reasons == (RESYNC,)
    assert bench.resync.completed == 0
    assert [one.venue for one in bench.kinds("resync.failed")] == ["binance"]


def test_before_executions_are_known_nothing_is_concluded(bench):
    bench.protected()
    bench.venue.held[SYMBOL].qty = D("0.009")
    bench.failing("executions")
    stops = len(bench.asked("place_stop"))
    assert bench.once() is False
    assert len(bench.asked("place_stop")) == stops


def test_an_order_that_ends_while_another_is_looked_up_is_not(bench):
    other = own_id(Leg.EXIT)
    seen(bench)
    bench.order(other)
    orders = bench.services.orders
    orders.on_report("binance", order_report(other, venue_order_id="78"))
    done = order_report(
        other, venue_order_id="78", status=OrderStatus.CANCELED, updated_ns=WALL + SECOND
    )
    bench.at(READ_NS + 10 * MS, lambda: orders.on_report("binance", done))
    bench.once()
    assert [one.client_order_id for _, one in bench.asked("query_order")] == [ID]


def test_executions_are_not_asked_of_an_entry_that_has_not_filled(bench):
    position = bench.filled(state=PositionState.PENDING_SL)
    position.row = msgspec.structs.replace(position.row, filled_qty=D(0))
    bench.venue.held.clear()
    bench.once()
    assert bench.asked("executions") == []


def test_executions_of_a_foreign_position_are_not_asked_as_long_as_nothing_differs(bench):
    position = bench.protected(origin=Origin.FOREIGN)
    bench.venue.held[SYMBOL].qty = D("0.006")
    position.infer(D("0.006"), D(42000), "by a test")
    assert bench.once(seconds=1)
    assert bench.asked("executions") == []


# ---------------------------------------------------------------- filters


def doubtful(bench):
    """The venue spoke of a change of its filters; it made one."""
    bench.desk.filters_doubtful = True
    (coin,) = bench.venue.instruments
    other = msgspec.structs.replace(coin, symbol="ETHUSDT")
    bench.desk.instruments["ETHUSDT"] = other
    bench.venue.instruments = (msgspec.structs.replace(coin, tick_size=D(2)), other)


def test_filters_that_are_in_doubt_are_read_anew_once(bench):
    doubtful(bench)
    assert bench.once()
    assert bench.desk.instruments[SYMBOL].tick_size == 2
    assert list(bench.desk.instruments) == [SYMBOL, "ETHUSDT"]
    (told,) = bench.kinds("instruments.read")
    assert (told.venue, told.values["changed"]) == ("binance", SYMBOL)
    assert bench.once()
    assert len(bench.asked("instruments")) == 1


def test_filters_that_are_not_in_doubt_are_not_read(bench):
    assert bench.once()
    assert bench.asked("instruments") == []


def test_filters_that_cannot_be_read_stay_in_doubt_and_entries_wait(bench):
    doubtful(bench)
    bench.failing("instruments", times=1)
    bench.begin()
    bench.resync.request("a notice")
    bench.after(0.5)
    assert bench.desk.block_reasons == (RESYNC,)
    assert len(bench.kinds("resync.failed")) == 1
    bench.after(2)
    assert bench.desk.block_reasons == ()
    assert bench.desk.instruments[SYMBOL].tick_size == 2


def test_a_doubt_about_filters_that_comes_while_they_are_read_stays(bench):
    doubtful(bench)
    bench.spawn(bench.resync.once(max_age_ns=0))
    bench.after(0.06)
    bench.desk.filters_doubtful = True
    bench.after(1)
    assert bench.desk.filters_doubtful


def test_an_execution_that_the_stream_lost_is_booked(bench):
    position = bench.protected()
    bench.venue.held[SYMBOL].qty = D("0.003")
    bench.venue.fills.append(execution(5, Side.SELL, "0.002", ts_ns=bench.runtime.ts()))
    assert bench.once()
    assert position.qty == D("0.003")
