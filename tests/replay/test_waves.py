"""Waves on file: read as they arrived, every malformed line named at once."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import Side
from kernel.model.units import MINUTE, TsNs
from replay.problems import DataError, Treatment
from replay.waves import (
    CANDLE_NS,
    SignalRow,
    between,
    check_waves,
    iso_ns,
    iso_text,
    read_waves,
    write_waves,
)

CANDLE = 1_746_372_600_000_000_000
"""2025-05-04 15:30:00 UTC."""
ARRIVAL = CANDLE + CANDLE_NS + 6 * MINUTE


def line(**changes) -> str:
    fields = {
        "arrival_ns": ARRIVAL,
        "source": "feed",
        "timestamp": "2025-05-04T15:30:00Z",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "score_week": 81.5,
    }
    fields |= changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...})


SCORES = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-99, max_value=999)
EXTRA_NAMES = st.text(alphabet="abcxyz_", min_size=1, max_size=6).filter(
    lambda name: name not in ("id", "side")
)
ROWS = st.builds(
    SignalRow,
    arrival_ns=st.integers(ARRIVAL, ARRIVAL + 10**12).map(TsNs),
    source=st.sampled_from(["feed", "other"]),
    candle_ns=st.just(TsNs(CANDLE)),
    symbol=st.sampled_from(["BTCUSDT", "币安人生USDT", "1000PEPEUSDT"]),
    side=st.sampled_from(list(Side)),
    score_week=SCORES,
    score_month=st.none() | SCORES,
    exchange=st.sampled_from(["", "binance", "bybit"]),
    id=st.sampled_from(["", "7", "a-b"]),
    extra=st.dictionaries(
        EXTRA_NAMES,
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | SCORES,
        max_size=3,
    ),
)


@given(st.lists(ROWS, max_size=8))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("waves") / "waves.jsonl.gz"
    assert write_waves(path, rows) == len(rows)
    assert read_waves([path]) == sorted(rows, key=lambda row: row.arrival_ns)


def test_one_signal_has_one_written_form(tmp_path):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text(line(zeta=1, alpha={"b": 2}, id=7) + "\n")
    write_waves(other, read_waves([one]))
    written = other.read_text()
    assert written == (
        f'{{"arrival_ns":{ARRIVAL},"source":"feed","timestamp":"2025-05-04T15:30:00Z",'
        '"symbol":"BTCUSDT","side":"BUY","score_week":81.5,"id":"7","alpha":{"b":2},"zeta":1}\n'
    )


def test_arrival_may_be_text(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text(line(arrival_ns=..., arrival="2025-05-04T15:51:00.250Z") + "\n")
    (row,) = read_waves([path])
    assert row.arrival_ns == ARRIVAL + 250_000_000


def test_a_row_becomes_the_kernels_signal(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text(line(score_month=64, note="x") + "\n")
    (row,) = read_waves([path])
    signal = row.signal("bybit")
    assert signal.once_key == f"feed|bybit|{CANDLE}|BTCUSDT|BUY"
    assert (signal.score_week, signal.score_month) == (Decimal("81.5"), Decimal(64))
    assert (signal.arrived_ns, signal.extra) == (ARRIVAL, '{"note":"x"}')


def test_the_payload_is_what_the_feed_sends(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text(line(exchange="bybit", note="x") + "\n")
    (row,) = read_waves([path])
    assert row.payload() == {
        "timestamp": "2025-05-04T15:30:00Z",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "score_week": Decimal("81.5"),
        "exchange": "bybit",
        "note": "x",
    }


MALFORMED = [
    ("not json", "a JSON object"),
    ("[1]", "a JSON object"),
    (line(arrival_ns=ARRIVAL // 10**6), "nanoseconds"),
    (line(arrival_ns=True), "nanoseconds"),
    (line(arrival_ns=..., arrival="2025-05-04T15:51:00"), "ISO-8601 with Z"),
    (line(timestamp="2025-05-04T15:31:00Z"), "minute 00, 15, 30 or 45"),
    (line(timestamp="2025-05-04 15:30"), "ISO-8601 with Z"),
    (line(timestamp=1_746_372_600), "ISO-8601 with Z"),
    (line(side="buy"), "BUY or SELL"),
    (line(side=...), "BUY or SELL"),
    (line(symbol=""), "1 to 40 characters"),
    (line(symbol=...), "1 to 40 characters"),
    (line(source=...), "1 to 40 characters"),
    (line(score_week="81"), "a JSON number"),
    (line(score_week=None), "a JSON number"),
    (line(score_week=10**15), "a JSON number"),
    (line(symbol="BTC|USDT"), "1 to 40 characters"),
    (line(score_month=True), "a JSON number"),
    (line(exchange=5), "1 to 40 characters"),
]


def test_every_malformed_line_is_named_at_once(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text("\n".join(["", *(text for text, _ in MALFORMED), line()]) + "\n")
    rows, report = check_waves([path], Treatment())
    assert len(rows) == 1
    assert [problem.line for problem in report.problems] == list(range(2, len(MALFORMED) + 2))
    for problem, (_, allowed) in zip(report.problems, MALFORMED, strict=True):
        assert allowed in problem.allowed
        assert problem.code == "malformed row"
    with pytest.raises(DataError) as refused:
        read_waves([path])
    assert len(refused.value.problems) == len(MALFORMED)


def test_every_wrong_field_of_a_line_is_named(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text(line(side="x", score_week="y", symbol="") + "\n")
    _, report = check_waves([path], Treatment())
    assert len(report.problems) == 3


def test_a_problem_shows_control_characters_and_does_not_send_them(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_bytes(b"\x1b[31mnot json\n")
    with pytest.raises(DataError) as caught:
        read_waves([path])
    assert "\x1b" not in str(caught.value)
    assert r"\x1b[31mnot json" in str(caught.value)


def test_malformed_lines_may_be_dropped(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text("garbage\n" + line() + "\n")
    assert len(read_waves([path], Treatment(malformed="drop"))) == 1


def test_a_signal_before_its_candle_closed_is_impossible(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text(line(arrival_ns=CANDLE + CANDLE_NS - 1) + "\n" + line() + "\n")
    _, report = check_waves([path], Treatment())
    assert [(problem.code, problem.line) for problem in report.problems] == [("impossible row", 1)]
    assert len(read_waves([path], Treatment(impossible="drop"))) == 1


def test_arrivals_that_go_back_are_sorted_only_as_told(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text(line(arrival_ns=ARRIVAL + 5) + "\n" + line() + "\n")
    with pytest.raises(DataError, match="2: unordered row"):
        read_waves([path])
    rows = read_waves([path], Treatment(unordered="sort"))
    assert [row.arrival_ns for row in rows] == [ARRIVAL, ARRIVAL + 5]


def test_repeated_signals_are_kept_because_feeds_repeat(tmp_path):
    path = tmp_path / "waves.jsonl"
    path.write_text(line() + "\n" + line() + "\n")
    assert len(read_waves([path])) == 2


def test_an_unreadable_file_is_a_problem(tmp_path):
    broken = tmp_path / "waves.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b broken")
    _, report = check_waves([broken, Path(tmp_path / "absent.jsonl")], Treatment())
    assert [problem.code for problem in report.problems] == ["unreadable file"] * 2


def test_a_slice_is_by_arrival_and_symbol(tmp_path):
    path = tmp_path / "waves.jsonl"
    texts = [line(), line(symbol="ETHUSDT"), line(arrival_ns=ARRIVAL + 10)]
    path.write_text("\n".join(texts) + "\n")
    rows = read_waves([path])
    assert len(between(rows, ARRIVAL, ARRIVAL + 10)) == 2
    assert len(between(rows, ARRIVAL, ARRIVAL + 11, ("BTCUSDT",))) == 2


def test_candle_times_are_written_and_read_as_signals_carry_them():
    assert iso_text(CANDLE) == "2025-05-04T15:30:00Z"
    assert iso_ns(iso_text(CANDLE)) == CANDLE
    assert iso_ns("2025-05-04T18:30:00+03:00") == CANDLE
    assert iso_ns("yesterday") is None
