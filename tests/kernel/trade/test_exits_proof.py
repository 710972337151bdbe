"""Exits: what the looks of a close conclude, and what happens beside it."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import Fill, OrderClass, OrderStatus, OrderType, Side
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from kernel.trade.stop_breaker import THROUGH_BLOCK
from tests.kernel.fakes import Placed, Rule
from tests.kernel.trade.closing import OPERATOR, Closing

D = Decimal


@pytest.fixture
def bench():
    made = Closing()
    yield made
    assert made.crashes == []


def apart(bench):
    """The pauses between the reads of the position, in milliseconds."""
    return [later - earlier for earlier, later in pairwise(bench.times("positions"))]


def without(bench, kind):
    """Events of one kind are lost."""
    say = bench.venue._say
    bench.venue._say = lambda event: None if isinstance(event, kind) else say(event)


def fires(bench, qty=""):
    """The stop triggers and closes so much."""
    (stop,) = bench.venue.stops()
    if qty:
        placed = bench.venue.orders[stop.client_order_id]
        placed.report = msgspec.structs.replace(placed.report, qty=D(qty))
    bench.venue.trigger(stop.client_order_id)


# ---------------------------------------------------------------- more of its entry fills


def enters_more(bench, position, qty, number=1):
    """An execution of its entry that was on the way, at the venue and here."""
    held = bench.venue.held.get("BTCUSDT")
    bench.venue.open("BTCUSDT", position.side, D(qty) + (held.qty if held else 0), "42000")
    entry = next(o for o in bench.services.orders.of_position(position.id) if not o.row.reduce_only)
    fill = Fill(
        symbol="BTCUSDT",
        trade_id=f"late-{number}",
        venue_order_id="1",
        client_order_id=entry.client_order_id,
        side=position.side.entry_side,
        qty=D(qty),
        price=D(42000),
        ts_ns=bench.runtime.ts(),
    )
    bench.venue.fills.append(fill)
    bench.services.orders.on_fill("binance", fill)


def test_what_more_of_the_entry_fills_during_the_close_is_closed_at_once(bench):
    position = bench.filled()
    bench.at(bench.runtime.now() + 35 * MS, lambda: enters_more(bench, position, "0.003"))
    assert bench.close(position, reason=CloseReason.ROLLBACK).result() is True
    assert bench.sent() == [(0, "0.005"), (120, "0.003")]
    assert bench.alerts("exit.not_flat") == []
    (first, second) = [at for at, one in bench.venue.requests("submit")]
    assert second - first == 120 * MS, "no pause, and nothing is cancelled or read anew"


def test_more_of_the_entry_is_closed_also_while_the_order_before_may_still_fill(bench):
    position = bench.filled()
    bench.venue.rests = (OrderType.MARKET,)
    bench.at(bench.runtime.now() + 35 * MS, lambda: enters_more(bench, position, "0.003"))
    bench.close(position, 1, reason=CloseReason.ROLLBACK)
    assert bench.sent()[:2] == [(0, "0.005"), (140, "0.008")]


def test_more_of_the_entry_that_is_closed_too_needs_no_other_rung(bench):
    position = bench.protected()

    def both():
        enters_more(bench, position, "0.003")
        fires(bench, "0.003")

    bench.at(bench.runtime.now() + 25 * MS, both)
    assert bench.close(position).result() is True
    assert len(bench.times("positions")) == 1
    assert len(bench.sent()) == 1


# ---------------------------------------------------------------- when it looks


def test_a_position_that_its_stop_closed_is_proven_flat_at_once(bench):
    position = bench.protected()
    bench.venue.rests = (OrderType.MARKET,)
    bench.at(bench.runtime.now() + 25 * MS, lambda: fires(bench))
    bench.close(position, 5)
    assert bench.times("positions")[0] == 40, "although the order that was sent may still fill"
    assert position.state is PositionState.CLOSED


def test_an_order_whose_executions_are_missing_may_still_tell_of_them(bench):
    position = bench.protected()
    without(bench, Fill)
    assert bench.close(position).result() is True
    assert bench.times("executions")[0] == 740, "the third look is the first that reads"


def test_who_looks_clears_what_others_set(bench):
    """No keeper looks after it: nobody else clears its event."""
    position = bench.filled()
    position.transition(PositionState.ACTIVE, "test")
    bench.venue.silent = True
    assert bench.close(position).result() is True
    assert bench.words()[:3] == ["0 submit", "740 query_order", "780 executions"]


def test_pauses_between_looks_are_kept_where_nobody_else_looks(bench):
    position = bench.filled()
    position.transition(PositionState.ACTIVE, "test")
    bench.refuse("positions", errors.OutcomeUnknown, times=3)
    bench.at(bench.runtime.now() + 50 * MS, position.changed.set)  # while it is being read
    bench.close(position, 5)
    assert apart(bench) == [120, 220, 420]


def test_on_a_slow_venue_a_rung_ends_ten_seconds_after_its_order(bench):
    position = bench.protected()
    bench.venue.latency_ns = 0
    bench.refuse(error=errors.OutcomeUnknown, times=1)
    bench.venue.rules.append(Rule("positions", delay_ns=2500 * MS))
    bench.close(position, 20)
    assert bench.times("open_orders")[0] == 10_000 + 500
    assert bench.sent()[1][0] == 10_500 + 2500


# ---------------------------------------------------------------- ends that nothing tells


def test_reads_without_a_position_are_five_seconds_apart_at_least():
    bench = Closing(Settings.load({"VISIBILITY_LAG_SECONDS": "0"}))
    position = bench.protected()
    bench.venue.held.clear()
    bench.close(position, 60)
    assert min(apart(bench)) >= 5000


def test_an_unexplained_end_comes_after_forty_five_seconds(bench):
    position = bench.protected()
    bench.venue.latency_ns = 0
    bench.venue.held.clear()
    task = bench.close(position, 44.9)
    assert not task.done
    bench.run(bench.began + 46 * SECOND)
    assert task.result() is True


def test_one_read_is_no_unexplained_end_however_long_it_took(bench):
    """Twenty orders are looked up one after the other before the first read ends."""
    position = bench.protected(qty="2000")
    bench.refuse(error=errors.OutcomeUnknown)
    bench.venue.held.clear()
    for kind in ("query_order", "executions", "positions"):
        bench.venue.rules.append(Rule(kind, delay_ns=2900 * MS))
    bench.close(position, 150)
    looks = bench.times("positions")
    assert looks[0] > 45_000
    assert len(looks) == 2
    assert len(bench.alerts("exit.unexplained")) == 1


def test_what_an_order_filled_in_part_and_ended_does_not_hide_an_unexplained_end(bench):
    """Its rest is gone without an execution: that is no reason for another rung."""
    position = bench.protected()
    submit = bench.venue._submit

    def in_part(request):
        bench.venue.held["BTCUSDT"].qty = D("0.002")
        return submit(request)

    bench.venue._submit = in_part
    bench.close(position, 30)
    assert bench.alerts("exit.not_flat") == []
    assert len(bench.sent()) == 1
    assert min(apart(bench)) >= 5000


def test_an_order_that_was_never_seen_does_not_hide_an_unexplained_end(bench):
    position = bench.protected()
    bench.refuse(error=errors.OutcomeUnknown)
    bench.venue.held.clear()
    bench.close(position, 40)
    assert min(apart(bench)) >= 5000
    bench.run(bench.runtime.now() + 90 * SECOND)
    assert position.state is PositionState.CLOSED


def test_a_part_that_the_stop_closed_does_not_name_an_unexplained_end(bench):
    position = bench.protected()
    bench.venue.held["BTCUSDT"].qty = D("0.002")
    fires(bench, "0.002")
    bench.run(bench.runtime.now() + SECOND)
    bench.venue.held.clear()
    bench.close(position, 120)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == OPERATOR


# ---------------------------------------------------------------- rungs


def test_what_works_in_a_late_rung_begins_at_the_second_again(bench):
    """Halves: the first one fills, so the rest is closed whole and soon."""
    position = bench.protected()
    tried = []

    def refused(_):
        tried.append(1)
        return len(tried) in (1, 2, 4)

    bench.refuse(when=refused)
    bench.close(position, 20)
    times, quantities = zip(*bench.sent(), strict=True)
    assert quantities == ("0.005", "0.005", "0.003", "0.002", "0.002")
    assert times[4] - times[3] < 1000
    assert position.state is PositionState.CLOSED


def test_only_own_plain_orders_are_cancelled_before_a_rung(bench):
    """Neither somebody else's, nor the order that our triggered stop became."""
    position = bench.protected()
    (stop,) = bench.venue.stops()
    plain = msgspec.structs.replace(stop, order_class=OrderClass.PLAIN, venue_order_id="77")
    bench.venue.orders["child"] = Placed(plain)
    bench.venue.orders["other"] = Placed(
        msgspec.structs.replace(
            plain, client_order_id="by-hand", venue_order_id="78", side=Side.BUY
        )
    )
    bench.refuse(times=1)
    bench.close(position, 0.7)
    assert bench.times("open_orders")
    assert bench.times("cancel") == []


# ---------------------------------------------------------------- reasons, states, rows


def test_a_reason_that_is_known_stays(bench):
    position = bench.protected()
    position.update(close_reason=CloseReason.GUARD.value)
    bench.close(position)
    assert position.row.close_reason == CloseReason.GUARD


def test_a_close_of_what_is_closing_after_a_restart_goes_on(bench):
    position = bench.protected()
    position.transition(PositionState.CLOSING, "before the restart")
    assert bench.close(position).result() is True
    assert position.state is PositionState.CLOSED


def test_the_end_of_what_never_was_active_is_stored(bench):
    position = bench.filled()
    bench.close(position, reason=CloseReason.ROLLBACK)
    bench.run(bench.runtime.now() + SECOND)
    last = [row for row in bench.store.rows if getattr(row, "position_id", "") == position.id
            and hasattr(row, "close_reason")][-1]  # fmt: skip
    assert last.closed_ns == position.row.closed_ns > 0


def test_a_roll_back_that_is_proven_flat_again_counts_once_as_through(bench):
    position = bench.filled()
    for _ in range(2 * bench.settings.already_through_limit):
        bench.close(position, 2, CloseReason.ALREADY_THROUGH)
    assert THROUGH_BLOCK not in bench.services.desks["binance"].block_reasons


# ---------------------------------------------------------------- joining and crashing


def test_many_that_join_a_close_do_not_use_up_its_looks(bench):
    position = bench.protected()
    bench.venue.silent = True
    now = bench.runtime.now()
    for number in range(8):
        bench.at(
            now + (50 + number) * MS,
            lambda: bench.spawn(bench.exits.close(position, OPERATOR, "another")),
        )
    assert bench.close(position).result() is True
    assert bench.times("query_order")[0] >= 600


def test_whose_close_crashed_is_told(bench):
    position = bench.protected()
    real, told = bench.services.commit_protect, []
    bench.services.on_crash = lambda name, error, failures, whose: told.append((name, whose))

    def crash_once(rows):
        bench.services.commit_protect = real
        raise RuntimeError("a bug")

    bench.services.commit_protect = crash_once
    assert bench.close(position).result() is True
    assert told == [(f"close {position.id}", position)]


def test_a_close_is_restarted_three_times_before_anybody_is_answered(bench):
    position = bench.protected()
    real, calls = bench.services.commit_protect, []

    def crash_thrice(rows):
        calls.append(rows)
        if len(calls) <= 3:
            raise RuntimeError("a bug")
        return real(rows)

    bench.services.commit_protect = crash_thrice
    assert bench.close(position, 120).result() is True
    assert len(bench.crashes) == 3
    bench.crashes.clear()


def test_what_a_position_left_behind_is_swept_on_demand(bench):
    position = bench.filled()
    position.transition(PositionState.ACTIVE, "test")
    bench.venue.rests = (OrderType.LIMIT,)
    bench.spawn(bench.exits.resting.place(position, D(43000), "aged"))
    bench.run(bench.runtime.now() + SECOND)
    order = bench.exits.resting.of(position)
    bench.exits.sweep(position.id)
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert order.row.status is OrderStatus.CANCELED
