"""Signals that a live run recorded, as the waves of a replay."""

from kernel.model.rows import SignalRow as Recorded
from kernel.model.units import MINUTE, TsNs
from kernel.signals.timestamps import parse_utc
from replay.stored_waves import waves_of
from replay.waves_source import hidden

CANDLE = parse_utc("2026-01-05T12:45:00Z")


def recorded(raw: str, *, minutes: int = 20, reason: str = "") -> Recorded:
    return Recorded(
        once_key=f"k{minutes}", source="feed", venue="binance", symbol="BTCUSDT", side="BUY",
        candle_ns=CANDLE, arrived_ns=TsNs(CANDLE + minutes * MINUTE), raw=raw, drop_reason=reason,
    )  # fmt: skip


ITEM = (
    '{"timestamp":"2026-01-05T12:45:00Z","symbol":"BTCUSDT","side":"BUY","score_week":81.50,'
    '"exchange":"binance","mine":{"a":[1]}}'
)


def test_a_recorded_signal_is_the_signal_that_came():
    waves = waves_of([recorded(ITEM, minutes=21), recorded(ITEM, minutes=20, reason="spread")])
    assert [row.arrival_ns for row in waves.rows] == [CANDLE + 20 * MINUTE, CANDLE + 21 * MINUTE]
    first = waves.rows[0]
    assert (first.source, first.symbol, str(first.score_week)) == ("feed", "BTCUSDT", "81.50")
    assert first.extra == {"mine": {"a": [1]}}
    assert (waves.left_out, waves.note) == (0, "")


def test_what_is_no_signal_is_left_out_and_told():
    waves = waves_of([
        recorded(ITEM),
        recorded("{", reason="malformed: no end"),
        recorded(ITEM, minutes=3),
        recorded("{}"),
        recorded("[1]"),
    ])  # fmt: skip
    assert len(waves.rows) == 1
    assert waves.left_out == 4
    assert waves.note == (
        "4 recorded signals are none and left out; the first: malformed: no end"
    )


def test_the_password_of_a_database_is_not_shown():
    assert hidden("db:postgresql://me:hush@host:5/x") == "db:postgresql://me:(hidden)@host:5/x"
    assert hidden("--waves=db:postgres://me:hush@h/x") == "--waves=db:postgres://me:(hidden)@h/x"
    assert hidden("db:postgresql://host/x") == "db:postgresql://host/x"
    assert hidden("db:postgresql://me:hu/sh@host/x") == "db:(hidden)"
    assert hidden("db:postgresql://me@host/x?password=hush") == "db:(hidden)"
    assert hidden("waves.jsonl") == "waves.jsonl"
