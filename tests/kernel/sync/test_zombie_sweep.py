"""Zombie orders of one venue: which are proven, what is done about them, what is told."""

from dataclasses import dataclass, field

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.ids import Leg
from kernel.model.orders import (
    OrderClass,
    OrderStatus,
    OrderType,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.positions import CloseReason, Origin, PositionState
from kernel.model.rows import StoredState
from kernel.model.units import SECOND, ZERO, TsNs
from kernel.model.venue import CancelOrder, Done, EffectClass, SetPositionStop
from kernel.sync.snapshot import VenueSnapshot
from kernel.sync.zombie_sweep import ZombieSweep
from tests.kernel.fakes import WALL, D, Placed, Rule
from tests.kernel.sync.whole import SYMBOL, Whole, execution, order_report, own_id

STOP = own_id(Leg.STOP)


@dataclass
class Bench(Whole):
    """A kernel that looks for zombies on one venue, with a lag of 2 s."""

    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.settings = Settings.load({"VISIBILITY_LAG_SECONDS": "2"} | self.values)
        super().__post_init__()
        repairs = self.parts.resyncs[self.venue_names[0]]._repairs
        self.sweep = ZombieSweep(self.services, self.desk, repairs)
        self.prices.push(SYMBOL, "42000")
        self.after(100)

    def stop(self, client_id=STOP, **changes):
        """A conditional order on the venue that closes, with nothing to close."""
        fields = {
            "side": Side.SELL,
            "order_class": OrderClass.CONDITIONAL,
            "order_type": OrderType.STOP_MARKET,
            "reduce_only": True,
            "venue_order_id": client_id[-1] + str(len(self.venue.orders)),
        }
        report = order_report(client_id, **(fields | changes))
        self.venue.orders[client_id] = Placed(report)
        return report

    def read(self, *, positions=None, orders=None, seconds=3):
        """One complete read, and what comes of it."""
        held = [self.venue.position_report(symbol) for symbol in self.venue.held]
        live = [one.report for one in self.venue.orders.values() if one.live]
        live = live if orders is None else orders
        plain = tuple(one for one in live if one.order_class is OrderClass.PLAIN)
        self.sweep.compare(
            VenueSnapshot(
                self.venue_names[0],
                requested_ns=self.runtime.now(),
                requested_ts_ns=self.runtime.ts(),
                positions=tuple(held if positions is None else positions),
                plain=plain,
                conditional=tuple(one for one in live if one not in plain),
            )
        )
        self.after(seconds)
        return self

    def cancelled(self):
        return [one.client_order_id for _, one in self.asked("cancel")]

    def count(self, kind):
        return len(self.kinds(kind))


def begun(**values):
    return Bench(values=values)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- proven and cleared


def test_before_the_first_read_nothing_waits(bench):
    assert not bench.sweep.waiting


def test_an_order_of_no_position_is_cleared_after_two_reads_but_never_in_the_first(bench):
    bench.stop()
    bench.read()
    assert not bench.sweep.waiting
    bench.read()
    assert bench.sweep.waiting
    assert bench.count("zombie.found") == 0
    bench.read(seconds=10)
    (found,) = bench.kinds("zombie.found")
    assert (found.venue, found.symbol, found.client_order_id) == ("binance", SYMBOL, STOP)
    assert (found.values["qty"], found.values["total"]) == ("0.005", "1")
    assert bench.cancelled() == [STOP]
    (cleared,) = bench.kinds("zombie.cleared")
    assert (cleared.venue, cleared.client_order_id) == ("binance", STOP)
    assert (cleared.values["cleared"], cleared.values["found"]) == ("1", "1")
    assert (bench.sweep.found, bench.sweep.cleared) == ({"stop": 1}, 1)
    assert not bench.sweep.waiting


def test_every_one_is_counted_by_its_kind(bench):
    bench.stop()
    bench.stop(own_id(Leg.STOP, generation=1))
    bench.stop(own_id(Leg.EXIT), order_class=OrderClass.PLAIN, order_type=OrderType.LIMIT)
    bench.read().read().read(seconds=60)
    assert bench.sweep.found == {"stop": 2, "reduce-only": 1}
    assert bench.sweep.cleared == 3
    assert sorted(one.values["total"] for one in bench.kinds("zombie.found")) == ["1", "2", "3"]
    assert sorted(one.values["cleared"] for one in bench.kinds("zombie.cleared")) == list("123")


def test_it_is_durable_before_its_cancel_leaves(bench):
    bench.stop()
    bench.store.delay_ns = SECOND // 10
    bench.read().read().read(seconds=0.1)
    assert bench.cancelled() == []
    bench.after(30)
    assert bench.cancelled() == [STOP]
    assert STOP in [getattr(one, "client_order_id", "") for one in bench.store.rows]


def test_reads_closer_than_the_lag_prove_nothing(bench):
    bench.stop()
    bench.read().read(seconds=1).read(seconds=0.5)
    assert bench.count("zombie.found") == 0
    bench.after(0.5)
    bench.read()
    assert bench.count("zombie.found") == 1


def test_a_young_order_waits_for_another_read_and_is_not_judged(bench):
    bench.read()
    bench.stop(created_ns=bench.runtime.ts())
    bench.read()
    assert bench.sweep.waiting
    bench.read()
    assert bench.count("zombie.found") == 0
    bench.read()
    assert bench.count("zombie.found") == 1


def test_reads_asked_before_an_execution_on_the_symbol_do_not_count(bench):
    bench.stop()
    bench.read().read()
    bench.services.orders.executed.hear("binance", execution(9, ts_ns=bench.runtime.ts()))
    bench.after(1)
    bench.read()
    assert bench.count("zombie.found") == 0
    bench.read()
    assert bench.count("zombie.found") == 1


# ---------------------------------------------------------------- the last look


def test_positions_are_asked_once_more_as_urgently_as_an_exit_before_anything_is_cancelled(bench):
    bench.stop()
    bench.read().read().read(seconds=10)
    (asked,) = bench.asked("positions")
    assert asked[1].symbol == SYMBOL
    place = bench.venue.sent.index(asked)
    assert bench.venue.classes[place] is EffectClass.EXIT
    assert place < bench.venue.sent.index(bench.asked("cancel")[0])


def test_where_the_last_look_shows_a_position_nothing_is_cleared(bench):
    bench.stop()
    bench.read().read()
    bench.venue.open(SYMBOL, PositionSide.LONG, "0.005", "42000")
    bench.read(positions=())
    assert bench.count("zombie.found") == 0
    assert bench.cancelled() == []


def test_where_the_last_look_fails_the_next_read_asks_again(bench):
    bench.stop()
    rule = Rule("positions", errors.OutcomeUnknown)
    bench.venue.rules.append(rule)
    bench.read().read().read()
    assert bench.count("zombie.found") == 0
    rule.times = 0
    bench.read()
    assert bench.count("zombie.found") == 1


def test_while_an_entry_holds_the_symbol_nothing_is_cleared():
    bench = begun(LOCK_TIMEOUT="2")
    bench.stop()
    hold = bench.services.risk.hold("binance", SYMBOL)

    async def held():
        async with hold:
            await bench.runtime.sleep(20 * SECOND)

    bench.spawn(held())
    bench.after(0)
    bench.read().read().read(seconds=5)
    assert bench.asked() == []
    bench.after(30)
    bench.read().read(seconds=10)
    assert bench.cancelled() == [STOP]


def test_a_symbol_is_cleared_once_at_a_time_and_again_when_that_is_done(bench):
    bench.stop()
    bench.venue.rules.append(Rule("positions", delay_ns=4 * SECOND, times=1))
    bench.read().read().read().read(seconds=20)
    assert bench.count("zombie.found") == 1
    assert len(bench.asked("positions")) == 1
    bench.stop(own_id(Leg.STOP, generation=1))
    bench.read().read(seconds=10)
    assert bench.count("zombie.found") == 2


def test_each_symbol_is_cleared_for_itself(bench):
    bench.stop()
    bench.stop(own_id(Leg.STOP, generation=1), symbol="ETHUSDT")
    slow = Rule("positions", delay_ns=4 * SECOND, when=lambda one: one.symbol == SYMBOL)
    bench.venue.rules.append(slow)
    bench.read().read().read(seconds=1)
    assert [one.symbol for one in bench.kinds("zombie.found")] == ["ETHUSDT"]
    bench.after(20)
    assert bench.count("zombie.found") == 2


def test_once_a_stop_is_commanded_nothing_is_begun(bench):
    bench.stop()
    bench.read().read()
    bench.services.stopping = True
    bench.read()
    assert bench.asked() == []


# ---------------------------------------------------------------- whose it is


@pytest.mark.parametrize(("scope", "cleared"), [("ours", 0), ("all", 1)])
def test_an_order_of_somebody_else_is_cleared_where_the_scope_is_all(scope, cleared):
    bench = begun(ZOMBIE_SCOPE=scope)
    bench.stop("web_7")
    bench.read().read().read(seconds=10)
    assert bench.count("zombie.found") == cleared


@pytest.mark.parametrize("state", ["lives", "ended"])
def test_an_order_of_a_position_of_ours_is_its_owners_while_that_lives(bench, state):
    position = bench.protected(symbol=SYMBOL)
    stop = bench.venue.stops()[0]
    if state == "ended":
        bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "by a test"))
        bench.after(30)
        bench.venue.orders[stop.client_order_id].live = True
        bench.services.orders.by_client_id("binance", stop.client_order_id).report = stop
    bench.read(positions=(), orders=[stop])
    for _ in range(3):
        bench.read(positions=(), orders=[stop])
    assert bench.count("zombie.found") == (state == "ended")


def test_an_order_that_its_owner_knows_to_have_ended_is_an_old_row(bench):
    ended = bench.stop()
    bench.order(STOP, order_class=OrderClass.CONDITIONAL, order_type=OrderType.STOP_MARKET,
                reduce_only=True)  # fmt: skip
    done = order_report(
        STOP, order_class=OrderClass.CONDITIONAL, status=OrderStatus.CANCELED, updated_ns=WALL + 5,
        venue_order_id=ended.venue_order_id,
    )  # fmt: skip
    bench.services.orders.on_report("binance", done)
    bench.read().read().read().read()
    assert bench.count("zombie.found") == 0


def test_an_order_that_ended_is_known_by_our_id_where_the_venue_names_another_of_its_own(bench):
    row = bench.stop(venue_order_id="new")
    bench.order(STOP, order_class=OrderClass.CONDITIONAL, order_type=OrderType.STOP_MARKET,
                reduce_only=True)  # fmt: skip
    done = order_report(
        STOP, order_class=OrderClass.CONDITIONAL, status=OrderStatus.CANCELED, updated_ns=WALL + 5,
        venue_order_id="old",
    )  # fmt: skip
    bench.services.orders.on_report("binance", done)
    for _ in range(4):
        bench.read(orders=[row])
    assert bench.count("zombie.found") == 0


def test_an_order_of_ours_that_was_never_reported_is_judged_like_any_other(bench):
    row = bench.stop()
    bench.order(STOP, order_class=OrderClass.CONDITIONAL, order_type=OrderType.STOP_MARKET,
                reduce_only=True)  # fmt: skip
    for _ in range(3):
        bench.read(orders=[row])
    assert bench.count("zombie.found") == 1


def test_an_order_that_is_being_cancelled_is_not_found_again(bench):
    bench.stop()
    bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, times=20))
    for _ in range(8):
        bench.read()
    assert bench.count("zombie.found") == 1


def test_an_order_is_known_by_the_venues_id_where_it_does_not_carry_ours(bench):
    position = bench.protected()
    order = bench.services.orders.of_position(position.id)[-1]
    row = order_report(
        "", venue_order_id=order.row.venue_order_id, order_class=OrderClass.CONDITIONAL,
        reduce_only=True, side=Side.SELL,
    )  # fmt: skip
    services = bench.services
    assert services.orders.by_venue_id("binance", row.order_class, row.venue_order_id) is order
    for _ in range(4):
        bench.read(positions=(), orders=[row])
    assert bench.count("zombie.found") == 0
    assert bench.sweep._candidate(row).claimed
    assert bench.sweep._candidate(row).ours


@pytest.mark.parametrize(
    ("changes", "judged"),
    [
        ({"position_id": "other"}, False),
        ({"position_id": ""}, True),
        ({"position_id": "other", "reduce_only": True}, True),
    ],
)
def test_where_an_entry_of_ours_is_not_settled_nothing_is_judged(bench, changes, judged):
    bench.stop()
    bench.order(own_id(Leg.ENTRY), **changes)
    bench.read().read().read(seconds=10)
    assert bool(bench.count("zombie.found")) is judged


def test_where_an_entry_has_a_reservation_nothing_is_judged(bench):
    bench.stop()
    bench.services.risk.reserved = lambda venue: [SYMBOL]
    bench.read().read().read()
    assert bench.count("zombie.found") == 0


@pytest.mark.parametrize(("origin", "state"), [("OURS", "ACTIVE"), ("FOREIGN", "PENDING_SL")])
def test_where_a_position_of_ours_or_one_in_progress_is_nothing_is_judged(bench, origin, state):
    other = own_id(Leg.STOP, generation=7)
    bench.filled(origin=Origin[origin], state=PositionState[state])
    bench.venue.held.clear()
    bench.stop(other)
    bench.read().read().read()
    assert bench.count("zombie.found") == 0


@pytest.mark.parametrize(
    ("origin", "state", "found"),
    [("OURS", "ACTIVE", 0), ("FOREIGN", "PENDING_SL", 0), ("FOREIGN", "ACTIVE", 1)],
)
def test_an_order_of_another_leg_is_a_ghost_only_beside_a_foreign_position(
    bench, origin, state, found
):
    position = bench.filled(origin=Origin[origin], state=PositionState[state])
    bench.after(5)
    row = bench.stop(own_id(Leg.STOP, generation=7), position_side="LONG")
    for _ in range(3):
        bench.read(orders=[row])
    assert bench.count("zombie.found") == found
    assert bench.sweep.found == ({"ghost": 1} if found else {})
    assert not position.state.terminal


def test_a_closing_order_of_a_foreign_position_that_a_read_does_not_show_is_none(bench):
    bench.filled(origin=Origin.FOREIGN, state=PositionState.ACTIVE)
    bench.venue.held.clear()
    row = bench.stop(own_id(Leg.STOP, generation=7))
    for _ in range(3):
        bench.read(orders=[row])
    assert bench.count("zombie.found") == 0
    assert not bench.sweep.waiting


def test_while_an_operation_is_in_progress_not_even_a_flip_is_judged(bench):
    position = bench.filled(origin=Origin.FOREIGN, state=PositionState.ACTIVE)
    bench.after(5)
    row = bench.stop(
        own_id(Leg.EXIT), order_class=OrderClass.PLAIN, order_type=OrderType.LIMIT,
        reduce_only=False, qty=D(1),
    )  # fmt: skip

    async def hold():
        async with position.lock:
            await bench.runtime.sleep(20 * SECOND)

    bench.spawn(hold())
    bench.after(0)
    for _ in range(4):
        bench.read(orders=[row])
    assert bench.count("zombie.found") == 0
    assert not bench.sweep.waiting
    bench.after(20)
    bench.read(orders=[row]).read(orders=[row])
    assert bench.sweep.found == {"flip": 1}


def test_on_an_account_with_two_legs_a_closing_order_of_one_that_is_not_open_is_a_ghost(bench):
    bench.desk.hedge_mode = True
    row = bench.stop()
    for _ in range(3):
        bench.read(orders=[row])
    assert bench.sweep.found == {"ghost": 1}


# ---------------------------------------------------------------- what the store can know


def test_where_the_store_is_younger_than_the_oldest_position_nothing_is_cleared_and_that_is_said(
    bench,
):
    bench.stop()
    bench.venue.open("ETHUSDT", PositionSide.LONG, "1", "2000")
    bench.sweep.restore(StoredState(epoch=1, since_ns=TsNs(WALL + 200 * SECOND)))
    bench.read()
    assert bench.count("zombie.blind") == 0
    for _ in range(3):
        bench.read()
    (blind,) = bench.kinds("zombie.blind")
    assert blind.venue == "binance"
    assert blind.values["since_ns"] == str(WALL + 200 * SECOND)
    assert blind.values["oldest_ns"] == str(WALL + 100 * SECOND)
    assert bench.count("zombie.found") == 0
    assert not bench.sweep.waiting
    bench.venue.held.clear()
    bench.read().read(seconds=10)
    assert bench.count("zombie.found") == 1
    bench.venue.open("ETHUSDT", PositionSide.LONG, "1", "2000")
    bench.venue.held["ETHUSDT"].updated_ns = WALL
    bench.read().read()
    assert bench.count("zombie.blind") == 2


@pytest.mark.parametrize(
    ("opened", "updated", "known", "oldest"),
    [(7, 9, 0, 7), (0, 9, 0, 9), (0, 9, 5, 5), (7, 9, 5, 5), (0, 0, 0, 0), (9, 7, 0, 7)],
)
def test_a_position_is_as_old_as_the_earliest_that_anybody_knows(
    bench, opened, updated, known, oldest
):
    if known:
        position = bench.filled()
        position.update(first_fill_ns=TsNs(known))
    bench.venue.open(SYMBOL, PositionSide.LONG, "0.005", "42000")
    row = msgspec.structs.replace(
        bench.venue.position_report(SYMBOL), opened_ns=TsNs(opened), updated_ns=TsNs(updated)
    )
    silent = msgspec.structs.replace(row, symbol="XRPUSDT", opened_ns=0, updated_ns=0)
    younger = msgspec.structs.replace(row, symbol="SOLUSDT", opened_ns=0, updated_ns=WALL)
    bench.read(positions=(row, silent))
    assert bench.sweep._oldest_ns == oldest
    bench.read(positions=(younger, row))
    assert bench.sweep._oldest_ns == (oldest or WALL)


# ---------------------------------------------------------------- too many


def test_more_than_the_threshold_are_told_of_until_there_are_fewer(bench):
    bench = begun(ZOMBIE_THRESHOLD="2")
    bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown))
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    stops = [bench.stop(own_id(Leg.STOP, generation=n)) for n in range(3)]
    bench.read()
    bench.read(orders=stops[:2])
    assert bench.alerts("zombies") == []
    bench.read()
    assert len(bench.alerts("zombies")) == 1
    for _ in range(4):
        bench.read(seconds=3000)
    (alert,) = bench.alerts("zombies")
    assert (alert.severity, alert.venue) == ("WARNING", "binance")
    assert alert.text == "3 zombie orders on binance, more than 2"
    bench.read(orders=stops[:2])
    (few,) = bench.kinds("zombie.few")
    assert (few.cause, few.venue) == ("2 are left", "binance")
    bench.read(orders=stops[:2])
    assert bench.count("zombie.few") == 1


# ---------------------------------------------------------------- attached stops


def attached(**changes):
    """A stop that hangs on a position that is gone, on a venue where stops are attached."""
    bench = Bench(venue_names=("bybit",))
    fields = {
        "venue_order_id": "a1",
        "order_class": OrderClass.ATTACHED,
        "order_type": OrderType.STOP_MARKET,
        "side": Side.SELL,
        "reduce_only": True,
    }
    report = order_report("", **(fields | changes))
    order = bench.order(
        own_id(Leg.STOP, venue="bybit"), "gone", order_class=OrderClass.ATTACHED,
        order_type=OrderType.STOP_MARKET, venue_order_id="a1", reduce_only=True, side=Side.SELL,
    )  # fmt: skip
    bench.services.orders.on_report("bybit", report)
    return bench, report, order


def test_a_stop_that_hangs_on_nothing_is_set_to_zero_on_its_symbol_and_its_event_awaited():
    bench, report, order = attached(trigger_by=PriceSource.LAST, position_side="LONG")
    gone = msgspec.structs.replace(
        report, status=OrderStatus.CANCELED, updated_ns=TsNs(WALL + 1000 * SECOND)
    )

    def zero(request):
        at = bench.runtime.now() + 3 * SECOND // 10
        bench.runtime.call_at(at, lambda: bench.services.orders.on_report("bybit", gone))
        return Done()

    bench.venue._set_stop = zero
    for _ in range(3):
        bench.read(orders=[report])
    ((_, asked),) = bench.asked("position_stop")
    assert asked == SetPositionStop(
        symbol=SYMBOL, trigger_price=ZERO, trigger_by=PriceSource.LAST, position_side="LONG"
    )
    bench.after(5)
    assert order.row.status is OrderStatus.CANCELED
    assert bench.asked("cancel") == []
    assert bench.sweep.cleared == 1


def test_where_that_is_refused_it_is_cancelled_under_its_id():
    bench, report, order = attached()
    bench.venue.rules.append(Rule("position_stop", errors.Rejected, code="10001"))
    for _ in range(3):
        bench.read(orders=[report])
    bench.after(20)
    (refused_ns, _), (sent_ns, _) = bench.asked("position_stop")[0], bench.asked("cancel")[0]
    assert sent_ns - refused_ns < SECOND // 10
    (told,) = bench.kinds("zombie.refused")
    assert (told.venue, told.symbol) == ("bybit", SYMBOL)
    assert bench.asked("cancel")[0][1] == CancelOrder(
        symbol=SYMBOL, order_class=OrderClass.ATTACHED, client_order_id="", venue_order_id="a1"
    )
    assert not order.terminal


def test_no_other_stop_is_set_to_zero(bench):
    bench.stop()
    bench.read().read().read(seconds=10)
    assert bench.asked("position_stop") == []
    assert bench.sweep.cleared == 1
