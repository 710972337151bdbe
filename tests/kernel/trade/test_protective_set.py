"""What each protective order is to its position, by the newest evidence."""

from decimal import Decimal

import pytest

from kernel.model.orders import OrderClass, OrderStatus, OrderType, PriceSource, Side
from kernel.trade.protective_set import StopOrder, StopPhase, StopSet, fired_by_end
from kernel.trade.tracked_order import TrackedOrder
from tests.kernel.trade.parts import Bench, order_row, report

D = Decimal
NEW, PART = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED
TRIGGERING, TRIGGERED = OrderStatus.TRIGGERING, OrderStatus.TRIGGERED
CANCELED, FILLED, FINISHED = OrderStatus.CANCELED, OrderStatus.FILLED, OrderStatus.FINISHED
MARK, LAST = PriceSource.MARK, PriceSource.LAST


def stop(name="s1", *, order_class=OrderClass.CONDITIONAL, now=0):
    row = order_row(
        name, order_class=order_class, order_type=OrderType.STOP_MARKET, side=Side.SELL,
        trigger_price=D(95), qty=D(3), reduce_only=True,
    )  # fmt: skip
    return StopOrder(TrackedOrder(row, Bench().runtime), now)


def show(one, status=NEW, **changes):
    """The venue shows it."""
    given = {"reduce_only": True, "side": Side.SELL, "trigger_by": MARK, "qty": D(3)} | changes
    one.order.report = report(one.client_order_id, "a1", status, 1, **given)
    one.order.update(status=status)
    return one


@pytest.fixture
def stops():
    return StopSet(Bench().runtime)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        (NEW, StopPhase.LIVE),
        (PART, StopPhase.TRIGGERED),
        (TRIGGERING, StopPhase.TRIGGERED),
        (TRIGGERED, StopPhase.TRIGGERED),
        (CANCELED, StopPhase.GONE),
        (FINISHED, StopPhase.GONE),
    ],
)
@pytest.mark.parametrize("missing", [False, True])
def test_the_phase_is_what_the_newest_evidence_says(status, phase, missing):
    one = show(stop(), status)
    one.missing = missing
    if missing and phase is StopPhase.LIVE:
        phase = StopPhase.MISSING
    assert one.phase is phase


def test_what_the_venue_never_showed_was_sent_or_went_missing():
    one = stop()
    assert one.phase is StopPhase.SENT
    one.missing = True
    assert one.phase is StopPhase.MISSING


def test_a_new_stop_is_wanted_undoubted_and_may_be_cancelled_at_once():
    one = stop(now=7)
    assert (one.wanted, one.missing, one.doubt, one.cancels) == (True, False, False, 0)
    assert (one.sent_ns, one.cancel_due_ns, one.fired_ns) == (7, 7, None)


def test_level_and_quantity_are_the_venues_and_before_that_ours():
    one = stop()
    assert (one.level, one.qty) == (95, 3)
    show(one, trigger_price=D(0), qty=D(0))
    assert (one.level, one.qty) == (95, 3)
    show(one, trigger_price=D(96), qty=D(2))
    assert (one.level, one.qty) == (96, 2)


@pytest.mark.parametrize("order_class", [OrderClass.CONDITIONAL, OrderClass.ATTACHED])
@pytest.mark.parametrize("closes_all", [None, False, True])
def test_attached_and_close_all_stops_close_whatever_the_size(order_class, closes_all):
    one = stop(order_class=order_class)
    if closes_all is not None:
        show(one, close_position=closes_all, order_class=order_class)
    assert one.attached is (order_class is OrderClass.ATTACHED)
    assert one.whole is (one.attached or bool(closes_all))


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({}, True),
        ({"reduce_only": False}, False),
        ({"reduce_only": False, "close_position": True}, True),
        ({"side": Side.BUY}, False),
        ({"trigger_by": LAST}, False),
    ],
)
def test_a_sound_stop_closes_on_the_right_side_by_the_right_series(changes, sound):
    one = stop()
    assert not one.sound(MARK), "never shown"
    assert show(one, **changes).sound(MARK) is sound


def test_an_attached_stop_closes_without_saying_so():
    one = stop(order_class=OrderClass.ATTACHED)
    assert show(one, reduce_only=False).sound(MARK)


# ---------------------------------------------------------------- exposure


def test_exposure_counts_from_its_first_moment_to_the_confirmation(stops):
    assert not stops.verified
    assert stops.gap_ns == 0
    stops.expose(5)
    stops.expose(9)
    assert stops.exposed_since_ns == 5
    stops.cover(D(95), 12)
    assert (stops.verified, stops.confirmed) == (True, 95)
    assert (stops.gap_ns, stops.confirmed_ns, stops.exposed_since_ns) == (7, 12, None)
    stops.cover(D(95), 20)
    assert (stops.gap_ns, stops.confirmed_ns) == (0, 12), "the same level is confirmed again"
    stops.cover(D(96), 30)
    assert stops.confirmed_ns == 30
    stops.expose(40)
    assert (stops.verified, stops.confirmed) == (False, 0)


def test_the_set_is_busy_while_its_lock_is_held(stops):
    assert not stops.busy
    runtime = Bench().runtime
    held = StopSet(runtime)

    async def hold():
        async with held.lock:
            assert held.busy

    task = runtime.spawn(hold(), "test")
    runtime.run_ready()
    task.result()
    assert not held.busy


# ---------------------------------------------------------------- what is in the set


def test_a_stop_is_kept_once_and_found_by_our_id(stops):
    one = stops.add(stop())
    assert stops.find("s1") is one
    assert stops.find("s2") is None
    with pytest.raises(AssertionError):
        stops.add(stop())
    stops.forget(one)
    stops.forget(one)
    assert stops.find("s1") is None
    assert stops.idle


def test_what_is_not_over_is_open_and_told_by_what_it_is(stops):
    sent = stops.add(stop("sent"))
    live = stops.add(show(stop("live")))
    unwanted = stops.add(show(stop("unwanted")))
    missing = stops.add(show(stop("missing")))
    fired = stops.add(show(stop("fired"), TRIGGERED))
    ended = stops.add(show(stop("ended"), CANCELED))
    unwanted.wanted = fired.wanted = ended.wanted = False
    missing.missing = True
    assert stops.open() == [sent, live, unwanted, missing, fired]
    assert stops.live() == [live]
    assert stops.doubtful() == [sent, missing]
    assert stops.to_cancel() == [unwanted]
    assert not stops.idle
    stops.unwant()
    assert stops.to_cancel() == [sent, live, unwanted, missing]
    assert stops.live() == []


def test_what_ended_is_taken_out_once(stops):
    kept = stops.add(show(stop("kept")))
    ended = stops.add(show(stop("ended"), CANCELED))
    assert stops.settle(7) == [ended]
    assert stops.settle(8) == []
    assert stops.find("ended") is None
    assert stops.find("kept") is kept
    assert stops.fired is None
    assert ended.fired_ns is None


def test_a_trigger_is_noted_when_it_is_first_seen(stops):
    one = stops.add(show(stop(), TRIGGERED))
    assert stops.settle(7) == []
    assert (stops.fired, one.fired_ns) == (one, 7)
    stops.fired = None
    stops.settle(9)
    assert (stops.fired, one.fired_ns) == (None, 7), "it is told once"
    show(one, FINISHED)
    assert stops.settle(11) == [one]
    assert (stops.fired, one.fired_ns) == (None, 7)


@pytest.mark.parametrize("status", [FILLED, FINISHED])
def test_an_end_that_tells_of_a_trigger_is_one(stops, status):
    one = stops.add(show(stop(), status))
    assert stops.settle(7) == [one]
    assert (stops.fired, one.fired_ns) == (one, 7)


def test_an_end_without_a_report_is_no_trigger():
    assert not fired_by_end(None)
    assert not fired_by_end(report("s1", "a1", CANCELED, 1))


def test_a_level_below_one_is_a_level(stops):
    stops.cover(D("0.0005"), 1)
    assert stops.verified
