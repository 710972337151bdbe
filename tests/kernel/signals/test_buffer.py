"""The buffer: copies, what is kept, what makes room."""

from decimal import Decimal
from typing import Any

import pytest

from kernel.model.orders import Side
from kernel.model.signal import Signal
from kernel.model.units import TsNs
from kernel.signals.buffer import SEEN_LIMIT, Batch, SignalBuffer
from kernel.signals.wire import Flaw

OLD, EXPECTED, LATER = TsNs(900), TsNs(1800), TsNs(2700)


def signal(symbol: str, wave: TsNs = EXPECTED, **changes: Any) -> Signal:
    fields: dict[str, Any] = {
        "source": "feed",
        "venue": "binance",
        "symbol": symbol,
        "side": Side.BUY,
        "candle_ns": wave,
        "score_week": Decimal(10),
    }
    return Signal(**(fields | changes))


def add(buffer: SignalBuffer, *signals: Signal, flaws: tuple[Flaw, ...] = ()) -> Batch:
    return buffer.add(Batch(arrived_ns=TsNs(7), signals=signals, flaws=flaws), EXPECTED)


def names(buffer: SignalBuffer, wave: TsNs = EXPECTED) -> str:
    return "".join(one.symbol for one in buffer.of_wave(wave))


def test_what_is_new_is_handed_back_with_its_time_and_kept_by_wave() -> None:
    buffer = SignalBuffer(5)
    fresh = add(buffer, signal("A"), signal("B", LATER), flaws=(Flaw("bad", "raw"),))
    assert fresh.arrived_ns == 7
    assert [one.symbol for one in fresh.signals] == ["A", "B"]
    assert fresh.flaws == (Flaw("bad", "raw"),)
    assert (names(buffer), names(buffer, LATER), names(buffer, OLD)) == ("A", "B", "")
    assert (len(buffer), buffer.copies, buffer.evicted) == (1, 0, 0)


def test_a_copy_is_counted_and_brings_nothing() -> None:
    buffer = SignalBuffer(5)
    add(buffer, signal("A"), flaws=(Flaw("bad", "raw"),))
    fresh = add(buffer, signal("A"), flaws=(Flaw("bad", "raw", 3),))
    assert (fresh.signals, fresh.flaws) == ((), ())
    assert (len(buffer), buffer.copies, names(buffer)) == (1, 2, "A")


@pytest.mark.parametrize(
    "changes",
    [{"score_week": Decimal(11)}, {"score_month": Decimal(60)}, {"signal_id": "7"},
     {"side": Side.SELL}, {"venue": "bybit"}, {"source": "other"}, {"candle_ns": LATER}],
)  # fmt: skip
def test_what_says_anything_else_is_no_copy(changes: dict[str, Any]) -> None:
    buffer = SignalBuffer(5)
    add(buffer, signal("A"))
    assert len(add(buffer, signal("A", **changes)).signals) == 1
    assert buffer.copies == 0


def test_the_time_of_arrival_makes_no_other_signal() -> None:
    buffer = SignalBuffer(5)
    add(buffer, signal("A"))
    assert add(buffer, signal("A", arrived_ns=TsNs(99))).signals == ()


def test_the_newest_messages_are_kept_and_what_made_room_is_counted() -> None:
    buffer = SignalBuffer(2)
    for name in "ABCD":
        add(buffer, signal(name, OLD), signal(name.lower(), OLD))
    assert (len(buffer), buffer.evicted, names(buffer, OLD)) == (2, 4, "CcDd")


def test_a_message_that_brought_nothing_takes_no_room() -> None:
    buffer = SignalBuffer(1)
    add(buffer, signal("A", OLD))
    add(buffer, flaws=(Flaw("bad", "raw"),))
    assert (len(buffer), names(buffer, OLD)) == (1, "A")


def test_signals_of_the_expected_wave_are_never_evicted() -> None:
    buffer = SignalBuffer(2)
    add(buffer, signal("K"), signal("x", OLD))
    add(buffer, signal("L"))
    for name in "ABC":
        add(buffer, signal(name, OLD))
    assert names(buffer) == "KL"
    assert (len(buffer), names(buffer, OLD), buffer.evicted) == (2, "BC", 2)
    add(buffer, signal("D", OLD))
    assert (names(buffer), names(buffer, OLD)) == ("KL", "CD")


def test_once_another_wave_is_expected_the_last_one_makes_room() -> None:
    buffer = SignalBuffer(1)
    add(buffer, signal("K"))
    buffer.add(Batch(arrived_ns=TsNs(8), signals=(signal("N", LATER),)), LATER)
    assert (names(buffer), names(buffer, LATER), buffer.evicted) == ("", "N", 1)


def test_what_was_kept_for_its_wave_makes_room_once_that_has_passed() -> None:
    buffer = SignalBuffer(2)
    add(buffer, signal("K"), signal("x", OLD))
    for name in "ABC":
        add(buffer, signal(name, OLD))
    for name in "NOP":
        buffer.add(Batch(arrived_ns=TsNs(8), signals=(signal(name, LATER),)), LATER)
    assert (names(buffer), names(buffer, OLD), names(buffer, LATER)) == ("", "", "NOP")
    assert buffer.evicted == 5
    assert list(buffer._waves) == [LATER]


def test_so_many_are_remembered_to_know_their_copies() -> None:
    buffer = SignalBuffer(1)
    flaws = tuple(Flaw("bad", str(number)) for number in range(50_000))
    assert len(flaws) == SEEN_LIMIT
    add(buffer, flaws=flaws)
    assert add(buffer, flaws=flaws[:1]).flaws == ()
    assert len(add(buffer, flaws=(Flaw("bad", "one more"),)).flaws) == 1
    assert add(buffer, flaws=flaws[1:2]).flaws == ()
    assert len(add(buffer, flaws=flaws[:1]).flaws) == 1
