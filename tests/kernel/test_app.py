"""The kernel as a whole, on simulated venues: lives, crashes, stops, commands, failures."""

from decimal import Decimal
from typing import Any

import pytest

from kernel.model.messages import Stopped
from kernel.model.positions import PositionState
from kernel.model.units import SECOND
from scenarios.driver import Death
from tests.kernel.lives import FALL, FLAT, RISE, START_NS, Life
from venues.sim.fault_kinds import HalfOpen, RequestDelay, Target, When

VENUES = pytest.mark.parametrize("venue", ["binance", "bybit"])


def assert_settled(life: Life, venue: str) -> None:
    """Books and venue agree, nothing is naked, nothing is left over, no task failed."""
    truth = life.truth(venue)
    held = [position for position in truth.positions if position.qty]
    books = life.kernel.services.book.open()
    assert life.crashes() == []
    assert [position.qty for position in held] == [position.qty for position in books]
    assert all(position.state is PositionState.ACTIVE for position in books)
    assert len(truth.stops) == len(held)
    assert len(truth.open_orders) == len(held)


@VENUES
def test_one_whole_life_from_signal_to_trailing_stop(venue):
    life = Life((venue,), RISE)
    life.until(3600)
    assert life.states() == ["ENTRY_PLACED", "PENDING_SL", "ACTIVE", "CLOSED"]
    assert life.kinds().count("order.submitted") == 1
    moved = [one.values["level"] for one in life.decisions if one.kind == "stop.moved"]
    assert moved == sorted(moved)
    assert len(moved) >= 2
    assert_settled(life, venue)
    truth = life.truth(venue)
    assert truth.cash["REALIZED_PNL"] > 0


@VENUES
def test_the_first_stop_ends_a_position_that_falls(venue):
    life = Life((venue,), FALL)
    life.until(3600)
    assert life.states()[-1] == "CLOSED"
    assert life.truth(venue).cash["REALIZED_PNL"] < 0
    assert_settled(life, venue)


def test_both_venues_at_once_do_what_each_does_alone():
    both = Life(("binance", "bybit"), RISE)
    both.until(3600)
    for venue in ("binance", "bybit"):
        alone = Life((venue,), RISE)
        alone.until(3600)
        expected = [one for one in alone.decisions if one.kind == "fill.booked"]
        got = [one for one in both.decisions if one.kind == "fill.booked" and one.venue == venue]
        assert [one.values["price"] for one in got] == [one.values["price"] for one in expected]
        assert_settled(both, venue)


# ---------------------------------------------------------------- determinism


@VENUES
def test_the_same_world_gives_the_same_steps(venue):
    first, second = Life((venue,)), Life((venue,))
    first.until(3600)
    second.until(3600)
    assert first.steps == second.steps
    assert first.kernel.state_digest() == second.kernel.state_digest()


def test_two_kernels_in_one_process_do_not_meet():
    lives = [Life(("binance",), RISE), Life(("bybit",), FALL)]
    for minute in range(60):
        for life in lives:
            life.until(60 * minute)
    apart = [Life(("binance",), RISE), Life(("bybit",), FALL)]
    for life in apart:
        life.until(59 * 60)
    assert [life.steps for life in lives] == [life.steps for life in apart]


# ---------------------------------------------------------------- crashes


def crash_at(life: Life, key: str, death: Death) -> None:
    """Arm a crash at an effect."""
    met: list[str] = []

    def trap(effect: Any) -> Death | None:
        if met or effect.key != key:
            return None
        met.append(key)
        return death

    life.driver.trap = trap


ACTS = ("submit", "place_stop", "position_stop", "cancel", "commit", "watch")


@VENUES
@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
def test_after_a_crash_at_any_act_the_position_is_protected_or_flat(venue, before):
    """Entry, stop, move, cancel, every commit: at most one entry, never naked, books exact."""
    base = Life((venue,), RISE)
    base.until(3600)
    keys = [one.key for one in base.effects if one.key.startswith(ACTS)]
    assert len(keys) > 20
    for number, key in enumerate(keys):
        life = Life((venue,), RISE)
        crash_at(life, key, Death(before=before, applied=number % 2))
        now = 0
        while life.driver.kernel is not None and now < 3600:
            now += 60
            life.until(now)
        assert life.deaths == ["crash"], key
        died = (life.world.agenda.now_ns - START_NS) / SECOND
        life.until(died + 2)
        life.driver.start("restart")
        life.until(died + 40)
        truth = life.truth(venue)
        held = [position for position in truth.positions if position.qty]
        assert len(truth.stops) >= len(held), key
        life.until(3900)
        assert life.kinds().count("order.submitted") <= 1, key
        assert_settled(life, venue)


# ---------------------------------------------------------------- the store


def test_without_the_store_a_start_only_protects_and_then_asks_for_another_start():
    life = Life(("binance",), FLAT)
    life.until(600)
    assert life.states()[-1] == "ACTIVE"
    life.driver.crash()
    life.world.store.down(START_NS + 600 * SECOND, START_NS + 700 * SECOND)
    life.driver.start("restart")
    before = len(life.decisions)
    life.until(690)
    assert "store.unloaded" in [one.kind for one in life.alerts]
    assert "position.found" in life.kinds()[before:]
    assert len(life.truth().stops) == 1
    assert not life.kernel.services.desks["binance"].entries_allowed
    life.until(760)
    ended = [one.body for one in life.effects if isinstance(one.body, Stopped)]
    assert ended == [Stopped(reason="the store is back", restart=True)]
    assert life.driver.starts == 3
    assert life.kernel.services.desks["binance"].entries_allowed
    assert_settled(life, "binance")


def test_while_the_store_is_down_there_is_no_entry_and_an_open_position_is_trailed():
    life = Life(("binance",), RISE)
    life.world.store.down(START_NS + 365 * SECOND, START_NS + 500 * SECOND)
    life.until(600)
    assert life.sent("submit") == []

    later = Life(("binance",), RISE)
    later.world.store.down(START_NS + 1000 * SECOND, START_NS + 3000 * SECOND)
    later.until(3600)
    assert later.states()[-1] == "CLOSED"
    assert "stop.moved" in later.kinds()
    told = [one.state for one in later.alerts if one.kind == "store.failing"]
    assert told == ["raised", "recovered"]
    assert later.kernel.services.desks["binance"].entries_allowed
    stored = [row for row in later.world.store.rows() if getattr(row, "state", "") == "CLOSED"]
    assert len(stored) == 1, "what was written behind is there in the end"
    assert_settled(later, "binance")


# ---------------------------------------------------------------- the operator


def test_a_stop_leaves_the_position_with_its_stop():
    life = Life(("binance",), FLAT)
    life.until(600)
    life.driver.operator("stop")
    life.until(700)
    assert life.deaths == ["stopped"]
    assert [stop.qty for stop in life.truth().stops] == [Decimal("0.004")]


@VENUES
def test_a_stop_in_the_middle_of_an_entry_brings_it_to_its_stop(venue):
    life = Life((venue,), FLAT)
    life.until(370.03)
    assert life.sent("submit")
    life.driver.operator("stop")
    life.until(400)
    assert life.deaths == ["stopped"]
    assert life.states()[-1] == "ACTIVE"
    assert len(life.truth(venue).stops) == 1


def test_a_stop_before_an_entry_was_sent_drops_it():
    life = Life(("binance",), FLAT)
    life.until(370.01)
    life.driver.operator("stop")
    life.until(500)
    assert life.deaths == ["stopped"]
    assert life.sent("submit") == []
    assert not [one for one in life.truth().positions if one.qty]


def test_an_operator_closes_a_position_and_pauses_and_resumes_entries():
    life = Life(("binance",), FLAT)
    life.driver.operator("pause")
    life.until(600)
    assert life.sent("submit") == []

    other = Life(("binance",), FLAT)
    other.driver.operator("pause")
    other.driver.operator("resume")
    other.until(600)
    assert other.states()[-1] == "ACTIVE"
    other.driver.operator("close", "BTCUSDT")
    other.until(660)
    assert other.states()[-2:] == ["CLOSING", "CLOSED"]
    assert_settled(other, "binance")


def test_a_command_that_finds_nothing_or_is_not_known_is_told():
    life = Life(("binance",), FLAT)
    life.driver.operator("close", "ETHUSDT")
    life.driver.operator("dance")
    assert [one.kind for one in life.alerts] == ["operator.nothing", "operator.unknown"]


# ---------------------------------------------------------------- doubt and failure


def test_a_stall_blocks_entries_until_a_resync_that_began_after_it():
    life = Life(("binance",), FLAT)
    life.until(300)
    before = len(life.decisions)
    life.driver.stall(3 * SECOND)
    life.until(310)
    kinds = [one.kind for one in life.decisions[before:]]
    blocked, lifted = kinds.index("entries.blocked"), kinds.index("entries.unblocked")
    assert kinds.index("kernel.stalled") < blocked < lifted
    assert life.kernel.services.desks["binance"].entries_allowed


def test_a_crashed_task_is_taken_over_and_its_symbol_locked(monkeypatch):
    """One position's failure ends nothing else, and never leaves it naked."""
    life = Life(("binance", "bybit"), FLAT)
    life.until(380)
    services = life.kernel.services
    position = services.book.by_symbol("binance", "BTCUSDT")

    async def fail() -> None:
        raise ZeroDivisionError("a planted failure")

    services.supervise("planted", fail, position=position)
    life.until(600)
    assert life.kernel.crashes[0] == "planted: ZeroDivisionError: a planted failure"
    assert "position.last_resort" in life.kinds()
    assert len(life.truth("binance").stops) == 1
    assert services.risk.entry_block("binance", "BTCUSDT")
    assert not services.risk.entry_block("bybit", "ETHUSDT")
    assert "task.crashed" in [one.kind for one in life.alerts if one.severity == "CRITICAL"]


def test_a_lost_task_ends_in_a_new_start_but_not_in_a_loop_of_starts():
    async def fail() -> None:
        raise ZeroDivisionError("a planted failure")

    life = Life(("binance",), FLAT)
    life.until(30)
    life.kernel.services.supervise("planted", fail)
    life.driver.operator("sync")
    life.until(60)
    assert life.driver.starts == 1
    assert life.kernel.services.desks["binance"].block_reasons == ("lost: planted",)

    older = Life(("binance",), FLAT)
    older.until(600)
    older.kernel.services.supervise("planted", fail)
    older.until(700)
    assert older.driver.starts == 2
    assert older.deaths == ["stopped"]
    assert older.kernel.services.desks["binance"].entries_allowed
    assert len(older.truth().stops) == 1


@VENUES
def test_an_entry_that_crashes_after_its_fill_ends_protected_or_flat(venue, monkeypatch):
    """The saga is gone, the position is not: last resort first, then on from the stored state."""
    life = Life((venue,), FLAT)
    life.until(300)
    stops = life.kernel.parts.stops
    failed: list[Any] = []
    real = stops.protect

    async def fail_once(position: Any) -> bool:
        if not failed:
            failed.append(position)
            raise ZeroDivisionError("a planted failure")
        return bool(await real(position))

    monkeypatch.setattr(stops, "protect", fail_once)
    life.until(900)
    assert failed
    assert life.kernel.crashes == [
        f"entry {venue} BTCUSDT: ZeroDivisionError: a planted failure"
    ]
    truth, books = life.truth(venue), life.kernel.services.book.open()
    held = [position for position in truth.positions if position.qty]
    assert len(truth.stops) == len(held) == len(books)
    assert all(position.state is PositionState.ACTIVE for position in books)
    assert life.kernel.services.risk.entry_block(venue, "BTCUSDT")


def test_an_event_that_cannot_be_handled_is_told_and_followed_by_a_resync(monkeypatch):
    life = Life(("binance",), FLAT)
    life.until(300)
    services = life.kernel.services

    real = services.orders.on_fill
    refused: list[Any] = []

    def refuse_once(venue: str, fill: Any, *, streamed: bool = False) -> bool:
        if not refused:
            refused.append(fill)
            raise ValueError("poison")
        return real(venue, fill, streamed=streamed)

    monkeypatch.setattr(services.orders, "on_fill", refuse_once)
    life.until(600)
    assert refused
    assert "event.refused" in life.kinds()
    assert life.states()[-1] == "ACTIVE"
    assert life.truth().positions[0].qty == services.book.open()[0].qty
    assert services.desks["binance"].entries_allowed


@VENUES
def test_a_stream_that_went_silent_is_found_out_by_reads_and_connected_anew(venue):
    """The socket is open and says nothing (hazards W01, W05)."""
    silent = HalfOpen(when=When(from_ns=800 * SECOND))
    life = Life((venue,), FALL, faults=(silent,))
    life.until(3600)
    assert "stream.suspect" in life.kinds()
    assert life.kinds().count("stream.up") == 2
    assert life.states()[-1] == "CLOSED"
    assert_settled(life, venue)


def test_a_clock_that_is_off_blocks_entries_until_it_is_right_again():
    life = Life(("binance",), FLAT)
    life.until(100)
    life.driver.clock_step(2 * SECOND)
    life.until(400)
    assert "clock offset" in life.kernel.services.desks["binance"].block_reasons
    assert life.sent("submit") == []
    assert "clock.offset" in [one.kind for one in life.alerts]


def test_an_answer_after_its_time_out_meets_nobody_and_is_found_by_evidence():
    slow = RequestDelay(
        dt_ns=8 * SECOND, target=Target(kinds=("submit",)), when=When(times=1)
    )
    life = Life(("binance",), FLAT, faults=(slow,))
    life.until(700)
    assert "outcome.unknown" in life.kinds()
    assert life.kinds().count("order.submitted") == 1
    assert life.states()[-1] in ("ACTIVE", "ROLLED_BACK")
    assert_settled(life, "binance")
