"""A start after a crash: what is stored becomes working objects, is protected, and goes on."""

from dataclasses import dataclass
from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.ids import Leg
from kernel.model.orders import FillKind, OrderStatus, PositionSide, Side
from kernel.model.positions import Origin, PositionRow, PositionState
from kernel.model.rows import FillRow, OrderRow, StoredState
from kernel.model.units import MS, SECOND, TsNs
from kernel.model.venue import EffectClass
from kernel.sync.recovery import FROZEN, entry_children, fill_of
from tests.kernel.fakes import WALL, D, Placed, Rule
from tests.kernel.sync.whole import SYMBOL, Whole, execution, order_report, own_id

ENTRY, EXIT, STOP = (own_id(leg) for leg in (Leg.ENTRY, Leg.EXIT, Leg.STOP))
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


def row(state=ACTIVE, qty="0.005", name="p1", **changes):
    """A stored position."""
    fields = {
        "position_id": name,
        "venue": "binance",
        "symbol": SYMBOL,
        "side": PositionSide.LONG,
        "state": state,
        "intended_qty": D("0.005"),
        "filled_qty": D(qty),
        "entry_price": D(42000) if D(qty) else D(0),
        "opened_ns": TsNs(WALL),
        "first_fill_ns": TsNs(WALL if D(qty) else 0),
        "updated_ns": TsNs(WALL),
        "wave_ns": TsNs(WALL),
    }
    return PositionRow(**(fields | changes))


def order_row(client_id=ENTRY, position_id="p1", **changes):
    """A stored order, an entry that was sent and not settled."""
    given = order_report(client_id)
    return OrderRow(
        venue="binance",
        client_order_id=client_id,
        position_id=position_id,
        reduce_only=changes.pop("reduce_only", False),
        created_ns=TsNs(WALL),
        **{
            name: changes.pop(name, getattr(given, name))
            for name in ("symbol", "order_class", "order_type", "side", "qty")
        },
        **changes,
    )


def fill_row(number=1, position_id="p1", client_id=ENTRY, **changes):
    """A stored execution."""
    given = msgspec.structs.asdict(execution(number, client_order_id=client_id, fee=D("0.1")))
    given["kind"] = given["kind"].value
    given = {name: value for name, value in given.items() if name in FillRow.__struct_fields__}
    return FillRow(venue="binance", position_id=position_id, **(given | changes))


@dataclass
class Bench(Whole):
    """A process that begins with what an earlier one stored."""

    shown: bool = True

    def __post_init__(self):
        super().__post_init__()
        self.prices.push(SYMBOL, "42000")
        if self.shown:
            self.venue.open(SYMBOL, PositionSide.LONG, "0.005", "42000")
        self.recovery = self.parts.recovery
        self.failures = []

    def load(self, *rows):
        """What was stored: positions, orders and executions."""
        positions = tuple(one for one in rows if isinstance(one, PositionRow))
        orders = tuple(one for one in rows if isinstance(one, OrderRow))
        fills = tuple(one for one in rows if isinstance(one, FillRow))
        self.recovery.load(StoredState(epoch=2, positions=positions, orders=orders, fills=fills))
        self.after(0)
        return self

    def protect(self, seconds=5):
        task = self.spawn(self.recovery.protect_venue(self.desk))
        self.after(seconds)
        return task

    def position(self, name="p1"):
        return self.services.book.by_id(name)

    def resumed(self):
        return [one.cause for one in self.kinds("recovery.resume")]


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


@pytest.fixture
def flat():
    made = Bench(shown=False)
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- rows become objects


def test_what_was_stored_becomes_working_objects(bench):
    other = own_id(Leg.ENTRY, generation=9)
    bench.load(
        row(),
        row(name="p2", symbol="ETHUSDT"),
        order_row(status=OrderStatus.FILLED),
        order_row(other, "p2", symbol="ETHUSDT"),
        fill_row(1),
        fill_row(2, client_id="somebody", trade_id="t2"),
        fill_row(3, "p2", other, symbol="ETHUSDT"),
    )
    assert (bench.services.epoch, bench.services.orders.epoch) == (2, 2)
    assert sorted(bench.position().fills) == ["t1", "t2"]
    assert list(bench.position("p2").fills) == ["t3"]
    orders = bench.services.orders
    assert list(orders.by_client_id("binance", ENTRY).fills) == ["t1"]
    assert list(orders.by_client_id("binance", other).fills) == ["t3"]
    (told,) = bench.kinds("recovery.loaded")
    assert (told.values["positions"], told.values["orders"]) == ("2", "2")
    assert told.values["epoch"] == "2"


def test_a_stored_execution_is_the_message_that_it_was():
    stored = fill_row(7, kind="LIQUIDATION", realized_pnl=D(3))
    expected = execution(
        7, client_order_id=ENTRY, fee=D("0.1"), kind=FillKind.LIQUIDATION, realized_pnl=D(3)
    )
    assert fill_of(stored) == expected


def test_the_children_of_an_entry_are_its_orders_that_do_not_close(bench):
    bench.load(row(), order_row(), order_row(EXIT, side=Side.SELL, reduce_only=True))
    assert [one.client_order_id for one in entry_children(bench.services, bench.position())] == [
        ENTRY
    ]


# ---------------------------------------------------------------- the first act


def test_an_active_position_gets_a_stop_at_its_level(bench):
    bench.load(row(protected_level=D(41000)))
    assert bench.protect().done
    (stop,) = bench.venue.stops()
    assert (stop.trigger_price, stop.qty) == (D(41000), D("0.005"))
    assert bench.position().report.qty == D("0.005")
    assert bench.desk.reported[(SYMBOL, "BOTH")].qty == D("0.005")
    assert bench.resumed() == []


def test_a_position_that_nobody_knows_is_guarded_before_the_first_act_is_over(bench):
    bench.load()
    assert bench.protect().done
    (position,) = bench.services.book.open()
    assert (position.row.origin, position.state) == (Origin.FOREIGN, ACTIVE)
    assert bench.kinds("position.found")[0].cause == "found at start"


def test_each_unknown_position_is_guarded_and_none_that_is_known(bench):
    bench.load(row())
    instrument = bench.desk.instruments[SYMBOL]
    bench.desk.instruments["ETHUSDT"] = msgspec.structs.replace(instrument, symbol="ETHUSDT")
    bench.venue.open("ETHUSDT", PositionSide.SHORT, "1", "42000")
    bench.prices.push("ETHUSDT", "42000")
    bench.protect()
    assert sorted(one.symbol for one in bench.services.book.open()) == [SYMBOL, "ETHUSDT"]
    assert [one.symbol for one in bench.kinds("position.found")] == ["ETHUSDT"]


def test_a_row_without_quantity_is_no_position(bench):
    bench.load()
    row_of = bench.venue.position_report
    bench.venue.position_report = lambda symbol: msgspec.structs.replace(row_of(symbol), qty=D(0))
    bench.protect()
    assert bench.kinds("position.found") == []


def test_the_first_act_waits_for_what_it_began(bench):
    bench.load(row(protected_level=D(41000)))
    bench.venue.rules.append(Rule("place_stop", delay_ns=2 * SECOND))
    task = bench.protect(1)
    assert not task.done
    bench.after(4)
    assert task.done


def test_the_positions_are_asked_until_an_answer_comes(bench):
    bench.load(row(protected_level=D(41000)))
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown, times=6))
    task = bench.protect(20)
    times = [at for at, _ in bench.asked("positions")][:7]
    gaps = [b - a - 20 * MS for a, b in pairwise(times)]
    assert gaps == [200 * MS, 500 * MS, SECOND, 2 * SECOND, 2 * SECOND, 2 * SECOND]
    assert task.done
    assert len(bench.venue.stops()) == 1


@pytest.mark.parametrize(("failures", "alerts"), [(2, 0), (3, 1), (5, 1)])
def test_a_venue_that_does_not_show_its_positions_is_told_of_once(failures, alerts):
    bench = Bench(settings=Settings.load({"MAX_RECOVERY_ATTEMPTS": "3"})).load()
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown, times=failures))
    bench.protect(20)
    found = bench.alerts("recovery.blind")
    assert [(one.severity, one.venue) for one in found] == [("CRITICAL", "binance")] * alerts


def test_a_symbol_that_fails_holds_up_no_other(bench):
    bench.load(row(protected_level=D(41000)))
    task = bench.protect(5)
    assert task.done


# ---------------------------------------------------------------- while nobody looked


def closed_meanwhile(bench):
    bench.venue.fills = [execution(5, Side.SELL, price=D(41000))]


def test_an_active_position_that_was_closed_meanwhile_ends_by_its_executions(flat):
    flat.load(row(protected_level=D(41000)), order_row(status=OrderStatus.FILLED))
    closed_meanwhile(flat)
    flat.protect(10)
    position = flat.position()
    assert position.state is PositionState.CLOSED
    assert position.row.exit_price == 41000
    assert flat.asked("place_stop", "submit") == []


def test_one_whose_end_was_booked_and_not_told_ends_by_its_stop(flat):
    flat.load(row(closed_qty=D("0.005"), exit_price=D(41000), protected_level=D(41000)))
    flat.protect(10)
    position = flat.position()
    assert (position.state, position.row.close_reason) == (PositionState.CLOSED, "STOP_LOSS")


def test_should_its_first_act_crash_a_position_is_handed_to_the_last_resort(bench):
    crashed = []
    bench.services.on_crash = lambda task, error, n, position: crashed.append((task, position))

    def broken(position, cause):
        raise ValueError("a mistake")

    bench.load(row(protected_level=D(41000)))
    bench.stops.ensure = broken
    bench.protect()
    assert crashed[0] == ("secure p1", bench.position())


def test_where_executions_cannot_be_read_what_the_venue_shows_gets_its_stop_first(bench):
    bench.load(row(protected_level=D(41000)))
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown))
    bench.protect(0.6)
    assert len(bench.venue.stops()) == 1
    assert len(bench.asked("executions")) <= 2


def test_where_executions_cannot_be_read_what_the_venue_does_not_show_waits_for_them():
    bench = Bench(shown=False, settings=Settings.load({"MAX_RECOVERY_ATTEMPTS": "4"}))
    bench.load(row(protected_level=D(41000)))
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown, times=4))
    bench.protect(3)
    assert bench.asked("place_stop") == []
    bench.after(4)
    assert len(bench.asked("place_stop")) > 0


def test_executions_are_asked_again_with_growing_pauses_so_often():
    bench = Bench(shown=False, settings=Settings.load({"MAX_RECOVERY_ATTEMPTS": "6"}))
    bench.load(row(protected_level=D(41000)))
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown, times=6))
    bench.venue.rules.append(Rule("place_stop", errors.OutcomeUnknown))
    bench.protect(9)
    times = [at for at, _ in bench.asked("executions")]
    gaps = [b - a - 20 * MS for a, b in pairwise(times)]
    assert gaps[:5] == [200 * MS, 500 * MS, SECOND, 2 * SECOND, 2 * SECOND]


def test_executions_that_come_are_asked_for_once(bench):
    bench.load(row(protected_level=D(41000)))
    bench.protect()
    assert len(bench.asked("executions")) == 1


# ---------------------------------------------------------------- orders that are left


@pytest.mark.parametrize("closes", [True, False])
def test_an_order_of_no_position_is_cancelled(flat, closes):
    flat.venue.orders[STOP] = Placed(order_report(STOP))
    flat.load(order_row(STOP, "", side=Side.SELL, reduce_only=closes))
    flat.protect(60)
    assert [one.client_order_id for _, one in flat.asked("cancel")] == [STOP]


def test_closing_orders_that_a_position_left_behind_are_ended(flat):
    flat.venue.orders[EXIT] = Placed(order_report(EXIT, side=Side.SELL))
    flat.load(order_row(EXIT, "gone", side=Side.SELL, reduce_only=True))
    flat.protect(60)
    assert [one.client_order_id for _, one in flat.asked("cancel")] == [EXIT]
    assert flat.services.orders.open_orders("binance") == []


def test_closing_orders_of_a_position_that_lives_are_left_to_their_owner(bench):
    bench.venue.orders[EXIT] = Placed(order_report(EXIT, side=Side.SELL))
    bench.load(row(protected_level=D(41000)), order_row(EXIT, side=Side.SELL, reduce_only=True))
    bench.protect(20)
    assert bench.asked("cancel") == []


@pytest.mark.parametrize("stored", [(), (row(protected_level=D(41000)),)], ids=["gone", "active"])
def test_an_entry_that_outlived_its_saga_is_settled_under_its_id(stored):
    bench = Bench(shown=bool(stored)).load(*stored, order_row())
    bench.protect(5)
    assert [one.client_order_id for one in bench.kinds("outcome.unknown")] == [ENTRY]
    assert bench.asked("submit") == []


# ---------------------------------------------------------------- the stories that go on


def test_an_entry_in_progress_is_settled_by_its_saga_alone(flat):
    asked = []

    async def settle(order):
        asked.append(order.client_order_id)
        await flat.runtime.sleep(60 * SECOND)

    flat.exits.settler.settle = settle
    flat.load(row(PositionState.ENTRY_PLACED, qty="0"), order_row())
    flat.protect(5)
    assert asked == [ENTRY]


@pytest.mark.parametrize("refused", [True, False])
def test_one_that_was_found_and_waits_for_its_stop_is_no_entry_that_is_judged(refused):
    """No entry of ours is known: however long its stop is refused, it is not closed."""
    bench = Bench()
    if refused:
        bench.venue.rules.append(Rule("place_stop", errors.Rejected, "-1"))
    bench.load(row(PositionState.PENDING_SL, origin=Origin.FOREIGN))
    bench.protect(120)
    assert bench.position().state is (PositionState.PENDING_SL if refused else ACTIVE)
    assert bench.asked("submit") == []


def test_one_that_waits_for_its_stop_ends_what_is_open_of_its_entry(bench):
    bench.venue.orders[ENTRY] = Placed(order_report(ENTRY, qty=D("0.006")))
    bench.load(row(PositionState.PENDING_SL, intended_qty=D("0.006")), order_row(qty=D("0.006")))
    bench.protect(30)
    assert bench.position().state is ACTIVE
    assert [one.client_order_id for _, one in bench.asked("cancel")][:1] == [ENTRY]


@pytest.mark.parametrize(
    ("state", "stored", "shown", "believed"),
    [
        (PositionState.PENDING_ENTRY, {}, {}, "0.005"),
        (PositionState.PENDING_SL, {}, {"qty": D("0.004")}, "0.004"),
        (PositionState.ENTRY_PLACED, {}, {"qty": D("0.009")}, "0.005"),
        (PositionState.ENTRY_PLACED, {"intended_qty": D(0)}, {}, "0.005"),
        (PositionState.ENTRY_PLACED, {}, {"side": PositionSide.SHORT}, "0"),
        (PositionState.ENTRY_PLACED, {}, {"entry_price": D(0)}, "0"),
        (PositionState.ROLLBACK, {}, {}, "0"),
    ],
)
def test_what_the_venue_shows_of_an_entry_counts_before_its_executions(
    bench, state, stored, shown, believed
):
    position = bench.load(row(state, qty="0", **stored)).position()
    report = msgspec.structs.replace(bench.venue.position_report(SYMBOL), **shown)
    bench.recovery.resume(position, report)
    known = position.qty
    bench.after(0)
    assert known == D(believed)


@pytest.mark.parametrize("closes", [True, False])
def test_orders_of_a_position_that_ended_are_ended_too(flat, closes):
    client = EXIT if closes else ENTRY
    flat.venue.orders[client] = Placed(order_report(client))
    flat.load(row(PositionState.CLOSED), order_row(client, reduce_only=closes))
    flat.protect(60)
    if closes:
        assert [one.client_order_id for _, one in flat.asked("cancel")] == [client]
    else:
        assert [one.client_order_id for one in flat.kinds("outcome.unknown")] == [client]


def test_where_the_lease_was_taken_over_nobody_elses_position_is_guarded(bench):
    lease = bench.services.lease
    lease.begin("a")
    lease.loaded(bench.runtime.now(), StoredState(epoch=2, lease_of="b"))
    bench.protect(20)
    assert bench.services.book.open() == []
    assert bench.asked("place_stop") == []


def test_an_entry_in_progress_is_settled_once_and_never_sent_again(flat):
    flat.load(row(PositionState.ENTRY_PLACED, qty="0"), order_row())
    flat.protect(0.1)
    assert flat.resumed() == ["ENTRY_PLACED"]
    assert len(flat.kinds("outcome.unknown")) == 1
    flat.after(100)
    assert len(flat.kinds("outcome.unknown")) == 1
    assert flat.asked("submit") == []
    assert flat.position().state is PositionState.ROLLED_BACK


def test_an_entry_that_was_not_sent_yet_goes_the_same_way(flat):
    flat.load(row(PositionState.PENDING_ENTRY, qty="0"), order_row())
    flat.protect(100)
    assert flat.resumed() == ["PENDING_ENTRY"]
    assert flat.position().state is PositionState.ROLLED_BACK
    assert flat.asked("submit") == []


def test_an_entry_whose_child_has_ended_is_not_settled_again(flat):
    ended = order_row(status=OrderStatus.CANCELED, intent_open=False, venue_order_id="77")
    flat.load(row(PositionState.ENTRY_PLACED, qty="0"), ended)
    flat.protect(5)
    assert flat.kinds("outcome.unknown") == []


def test_an_entry_that_filled_is_protected(bench):
    filled = order_report(ENTRY, status=OrderStatus.FILLED, filled_qty=D("0.005"))
    bench.venue.orders[ENTRY] = Placed(filled, live=False)
    bench.venue.fills = [execution(77, client_order_id=ENTRY)]
    bench.load(row(PositionState.ENTRY_PLACED, qty="0"), order_row())
    bench.protect(10)
    assert bench.position().state is ACTIVE
    assert len(bench.venue.stops()) == 1


def test_one_that_waits_for_its_first_stop_gets_it(bench):
    bench.load(row(PositionState.PENDING_SL), order_row(status=OrderStatus.FILLED))
    bench.protect()
    assert bench.resumed() == ["PENDING_SL"]
    assert bench.position().state is ACTIVE
    assert len(bench.venue.stops()) == 1
    assert bench.position().report is not None


def test_a_fill_that_is_known_is_protected_without_its_executions(bench):
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown))
    bench.load(row(PositionState.PENDING_SL), order_row(status=OrderStatus.FILLED))
    bench.protect()
    assert bench.position().state is ACTIVE


def test_a_roll_back_goes_on_to_its_end(bench):
    bench.load(row(PositionState.ROLLBACK), order_row(status=OrderStatus.FILLED))
    bench.protect(20)
    assert bench.resumed() == ["ROLLBACK"]
    assert bench.position().state is PositionState.ROLLED_BACK
    assert len(bench.asked("submit")) == 1


def test_a_close_goes_on_to_its_end(bench):
    bench.load(row(CLOSING, protected_level=D(41000)), order_row(status=OrderStatus.FILLED))
    bench.protect(20)
    assert bench.resumed() == ["CLOSING"]
    position = bench.position()
    assert (position.state, position.row.close_reason) == (PositionState.CLOSED, "EXTERNAL")
    assert len(bench.asked("submit")) == 1


def test_a_story_that_ended_is_not_begun_again(bench):
    bench.load(row(protected_level=D(41000)))
    bench.recovery.resume(bench.position())
    bench.after(5)
    assert bench.asked("place_stop", "submit") == []


# ---------------------------------------------------------------- what cannot be resolved


def unresolved(*, shown=False, **settings):
    """Nothing is left by what is known, and executions cannot be read."""
    values = {"MAX_RECOVERY_ATTEMPTS": "2", "SYNC_INTERVAL_SECONDS": "60"} | settings
    bench = Bench(shown=shown, settings=Settings.load(values))
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown))
    closed = row(PositionState.PENDING_SL, closed_qty=D("0.005"), exit_price=D(41000))
    bench.load(closed, order_row(status=OrderStatus.FILLED))
    return bench


def test_what_cannot_be_resolved_freezes_its_symbol_and_is_told_of():
    bench = unresolved()
    bench.protect(0)
    while len(bench.kinds("recovery.failed")) < 2:
        bench.after(0.01)
    assert bench.position().frozen == ""
    assert bench.alerts("recovery.frozen") == []
    bench.after(20)
    assert bench.position().frozen == FROZEN
    failed = bench.kinds("recovery.failed")
    assert [one.values["failures"] for one in failed] == ["1", "2", "3"]
    assert (failed[0].venue, failed[0].symbol, failed[0].position_id) == ("binance", SYMBOL, "p1")
    (alert,) = bench.alerts("recovery.frozen")
    assert (alert.severity, alert.venue, alert.symbol) == ("CRITICAL", "binance", SYMBOL)


@pytest.mark.parametrize(("interval", "seconds"), [("60", 60), ("300", 300), ("0", 120)])
def test_a_frozen_symbol_is_tried_again_at_each_sync(interval, seconds):
    bench = unresolved(shown=True, SYNC_INTERVAL_SECONDS=interval)
    bench.protect(20)
    tried = len(bench.resumed())
    bench.after(seconds - 20)
    assert len(bench.resumed()) == tried
    assert bench.position().frozen == FROZEN
    bench.venue.rules.clear()
    bench.after(20)
    assert len(bench.resumed()) == tried + 1
    assert bench.position().frozen == ""


def test_a_symbol_that_somebody_else_froze_is_not_thawed():
    bench = unresolved()
    bench.protect(20)
    bench.position().frozen = "by a person"
    tried = len(bench.resumed())
    bench.after(120)
    assert bench.position().frozen == "by a person"
    assert len(bench.resumed()) == tried


def test_a_frozen_position_that_ended_is_left_alone():
    bench = unresolved()
    bench.protect(20)
    position = bench.position()
    position.transition(PositionState.ROLLBACK, "by a test")
    position.transition(PositionState.ROLLED_BACK, "by a test")
    tried = len(bench.resumed())
    bench.after(120)
    assert len(bench.resumed()) == tried
    assert position.frozen == FROZEN


def test_the_first_questions_of_a_start_are_as_urgent_as_protection(bench):
    bench.load(row(protected_level=D(41000)))
    bench.protect()
    assert EffectClass.ENTRY not in bench.venue.classes
