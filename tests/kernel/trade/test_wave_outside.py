"""Signals that no check takes, and what a start knows of the waves before it."""

import msgspec
import pytest

from kernel.model.rows import SignalRow, WaveRow
from kernel.model.units import DAY, MINUTE, SECOND, TsNs
from kernel.signals.timestamps import format_utc, parse_utc
from kernel.signals.wire import Flaw
from kernel.trade.wave import WAVES_KEPT
from kernel.trade.wave_record import Outcome
from tests.kernel.trade.wave_bench import SYMBOLS, WAVE, WaveBench, ranked, signal

ONE, TWO = SYMBOLS[:2]
WAVE_NS = parse_utc(WAVE)
BEFORE, AFTER = format_utc(WAVE_NS - 15 * MINUTE), format_utc(WAVE_NS + 15 * MINUTE)


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    WaveBench.close_all()


def started(second=0, **state):
    """A process that begins at this second; the check of `WAVE` is from 60 to 180."""
    return WaveBench().until(second).start(**state)


def verdicts(bench):
    """What was decided of signals, what was stored, and the counters."""
    told = [one.cause for one in bench.kinds("signal.dropped")]
    rows = [row.drop_reason for row in bench.store.all(SignalRow)]
    return told, rows, (bench.waves.late, bench.waves.unexpected)


@pytest.mark.parametrize(
    ("began", "at", "wave", "verdict"),
    [
        (0, 30, WAVE, ["", "", (0, 0)]),
        (0, 30, AFTER, ["", "", (0, 0)]),
        (0, 30, BEFORE, ["not_expected", "not_expected", (0, 1)]),
        (0, 100, WAVE, ["", "", (0, 0)]),
        (0, 100, AFTER, ["", "", (0, 0)]),
        (0, 100, "2026-01-05T12:07:00Z", ["not_expected", "not_expected", (0, 1)]),
        (0, 181, WAVE, ["late", "late", (1, 0)]),
        (180, 181, WAVE, ["late", "late", (1, 0)]),
        (181, 190, WAVE, ["not_expected", "not_expected", (0, 1)]),
        (0, 180 + 86_400, WAVE, ["late", "late", (1, 0)]),
        (0, 181 + 86_400, WAVE, ["not_expected", "not_expected", (0, 1)]),
    ],
)
def test_a_signal_outside_of_its_check_is_judged_by_when_it_came(began, at, wave, verdict):
    cause, stored, counters = verdict
    bench = started(began)
    bench.until(at).arrive(signal(ONE, wave=wave)).settle()
    bench.until(at + 0.1)
    assert verdicts(bench) == ([cause] if cause else [], [stored], counters)
    assert bench.alerts().count("signal.late") == counters[0]


def test_what_comes_at_the_first_instant_of_its_check_is_used_by_it():
    bench = started().until(59)
    bench.runtime.set_time(60 * SECOND, bench.start_ns + 60 * SECOND)
    bench.arrive(signal(ONE))
    assert verdicts(bench)[0] == []
    bench.until(61)
    assert [plan.symbol for plan in bench.saga.plans] == [ONE]


def test_signals_that_come_after_the_check_are_late_although_its_wave_is_still_traded():
    bench = started()
    bench.saga.script = {ONE: 100}
    bench.until(179).arrive(*ranked(1)).until(181)
    assert list(bench.waves.running) == [WAVE_NS]
    bench.arrive(signal(TWO)).until(185)
    assert bench.drops() == {TWO: "late"}
    assert [plan.symbol for plan in bench.saga.plans] == [ONE]


def test_signals_of_a_wave_that_was_closed_inside_its_check_are_told_so():
    bench = WaveBench(max_positions=1).start().until(60)
    bench.arrive(*ranked(1)).until(70).arrive(signal(TWO)).until(71)
    assert verdicts(bench) == (["wave_closed"], ["", "wave_closed"], (0, 0))


def test_signals_before_a_process_began_its_work_are_not_late():
    bench = WaveBench().until(400)
    bench.services.supervise("again", bench.services.writer.run)
    bench.arrive(signal(ONE)).until(401)
    assert verdicts(bench)[0] == ["not_expected"]


def test_late_signals_alert_once_for_each_wave_of_the_last_two_days():
    bench = started().until(181)
    bench.arrive(signal(ONE)).arrive(signal(TWO)).until(1081)
    bench.arrive(signal(ONE, wave=AFTER)).until(1082)
    assert bench.alerts().count("signal.late") == 2
    assert bench.waves.late == 3
    assert list(bench.waves._alerted) == [WAVE_NS, WAVE_NS + 15 * MINUTE]


def test_what_was_alerted_and_done_is_remembered_for_so_many_waves():
    rows = tuple(wave_row(WAVE_NS - number * 15 * MINUTE) for number in range(1, 206))
    bench = started(waves=rows)
    assert list(bench.waves._known) == sorted(row.wave_ns for row in rows)[-WAVES_KEPT:]
    assert WAVES_KEPT * 15 * MINUTE > 2 * DAY
    bench.waves._alerted.update(dict.fromkeys(TsNs(number) for number in range(WAVES_KEPT)))
    bench.until(181).arrive(signal(ONE)).settle()
    assert len(bench.waves._alerted) == WAVES_KEPT
    assert WAVE_NS in bench.waves._alerted


def test_a_malformed_item_is_stored_as_of_no_candle():
    bench = started(70)
    bench.arrive(flaws=(Flaw("no symbol", "x", 0), Flaw("no side", "y", 1))).until(71)
    rows = bench.store.all(SignalRow)
    assert [(row.candle_ns, row.raw) for row in rows] == [(0, "x"), (0, "y")]
    keys = [f"malformed|{bench.start_ns + 70 * SECOND}|{number}" for number in (0, 1)]
    assert [row.once_key for row in rows] == keys


# ------------------------------------------------------------------------ a start


def wave_row(wave_ns, state="closed", **changes):
    fields = {
        "source": "feed",
        "wave_ns": TsNs(wave_ns),
        "state": state,
        "expected_until_ns": TsNs(wave_ns),
        "outcome": msgspec.json.encode(Outcome(target=3)).decode(),
    }
    return WaveRow(**(fields | changes))


def test_a_wave_that_was_closed_is_not_begun_again():
    bench = started(100, waves=(wave_row(WAVE_NS),)).until(200)
    assert bench.kinds("wave.expected") == []
    assert bench.kinds("wave.closed") == []
    assert bench.store.all(WaveRow) == []


def test_an_open_wave_of_another_check_is_closed_and_the_present_one_begun():
    before = wave_row(WAVE_NS - 15 * MINUTE, "open")
    bench = started(100, waves=(before,))
    told = [(one.cause, one.values) for one in bench.kinds("wave.closed")]
    assert told == [("interrupted by the end of a process", {"wave": BEFORE})]
    assert [one.values["wave"] for one in bench.kinds("wave.expected")] == [WAVE]
    assert list(bench.waves.running) == [WAVE_NS]
    bench.until(101)
    (row,) = bench.store.all(WaveRow)
    assert (row.wave_ns, row.state) == (before.wave_ns, "closed")
    assert row.closed_ns == bench.start_ns + 100 * SECOND


def test_a_wave_of_another_source_is_none_of_this_one():
    bench = started(100, waves=(wave_row(WAVE_NS, source="manual"),))
    assert list(bench.waves.running) == [WAVE_NS]
    bench.until(101)
    assert bench.store.all(WaveRow) == []


def test_a_task_that_is_begun_again_reads_nothing_of_the_start_again():
    bench = started(100, waves=(wave_row(WAVE_NS, "open"),))
    state = type("State", (), {"waves": (wave_row(WAVE_NS, "open"),), "claims": ()})()
    bench.services.supervise("waves again", lambda: bench.waves.run(state))
    bench.settle()
    assert len(bench.kinds("wave.expected")) == 1
    assert bench.crashes == []


def test_a_step_of_the_clock_makes_a_wave_look_at_the_time_anew():
    bench = started().until(100)
    bench.start_ns += 500 * SECOND
    bench.runtime.set_time(100 * SECOND, bench.start_ns + 100 * SECOND)
    bench.waves.on_clock_step()
    bench.settle()
    assert [one.cause for one in bench.kinds("wave.closed")] == ["missing"]
