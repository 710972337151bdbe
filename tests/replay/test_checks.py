"""Damaged data is named with its line, and treated only as told."""

from decimal import Decimal

import pytest

from replay.problems import Treatment
from replay.series import CandleSet, FundingSet, TradeSet
from replay.sources import SourceOptions, read_series
from tests.replay.made import START_MS, candle_text

NAME = "binance/BTCUSDT-1m-20250504.csv"
GOOD = "10,12,9,11"


def judge(path, **treatment):
    reading = read_series([path], SourceOptions(treatment=Treatment(**treatment)))
    found = [(problem.code, problem.line) for problem in reading.report.problems]
    return (reading.series[0] if reading.series else None), found


def minutes(candles: CandleSet) -> list[int]:
    return [(int(at) // 1_000_000 - START_MS) // 60_000 for at in candles.open_time_ns]


def test_good_candles_have_no_problems(write_file):
    candles, found = judge(write_file(NAME, candle_text(f"0,{GOOD}", f"1,{GOOD}", f"2,{GOOD}")))
    assert found == []
    assert isinstance(candles, CandleSet)
    assert (candles.venue, candles.symbol, candles.price) == ("binance", "BTCUSDT", "last")
    assert candles.close.tolist() == [11, 11, 11]
    assert candles.tick_size == 1


CASES = [
    ("gaps", "feed-gap", ("0", "1", "4"), [("gap", 4)], [0, 1, 4]),
    ("unordered", "sort", ("0", "2", "1"), [("unordered row", 4)], [0, 1, 2]),
    ("duplicates", "drop", ("0", "1", "1", "2"), [("duplicate row", 4)], [0, 1, 2]),
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_damage_is_refused_unless_treated(write_file, case):
    kind, treated, order, problems, left = case
    path = write_file(NAME, candle_text(*(f"{minute},{GOOD}" for minute in order)))
    _, refused = judge(path)
    candles, accepted = judge(path, **{kind: treated})
    assert refused == problems
    assert accepted == []
    assert minutes(candles) == left


@pytest.mark.parametrize(
    "row",
    [
        "10,12,9,13",
        "10,9,9,10",
        "10,12,11,12",
        "0,12,0,11",
        "-1,12,-2,11",
        "10,12,9,11,-5",
    ],
    ids=["close above high", "open above high", "low above open", "zero", "negative", "volume"],
)
def test_an_impossible_candle_is_named_and_leaves_a_gap_when_dropped(write_file, row):
    path = write_file(NAME, candle_text(f"0,{GOOD}", f"1,{row}", f"2,{GOOD}", f"3,{GOOD}"))
    _, refused = judge(path)
    assert refused == [("impossible row", 3), ("gap", 4)]
    candles, accepted = judge(path, impossible="drop", gaps="feed-gap")
    assert accepted == []
    assert minutes(candles) == [0, 2, 3]
    assert [gap.missing for gap in candles.gaps] == [1]


def test_a_gap_says_from_when_to_when(write_file):
    candles, _ = judge(
        write_file(NAME, candle_text(f"0,{GOOD}", f"1,{GOOD}", f"7,{GOOD}")), gaps="feed-gap"
    )
    (gap,) = candles.gaps
    assert gap.from_ns == (START_MS + 120_000) * 1_000_000
    assert gap.to_ns == (START_MS + 420_000) * 1_000_000
    assert gap.missing == 5


def test_contradicting_duplicates_need_a_decision(write_file):
    path = write_file(NAME, candle_text(f"0,{GOOD}", "1,10,12,9,11", "1,10,12,9,10", f"2,{GOOD}"))
    assert judge(path, duplicates="drop")[1] == [("duplicate row", 4)]
    first, accepted = judge(path, duplicates="first")
    last, accepted_too = judge(path, duplicates="last")
    assert accepted == accepted_too == []
    assert first.close.tolist() == [11, 11, 11]
    assert last.close.tolist() == [11, 10, 11]


def test_all_damage_of_a_file_is_named_at_once(write_file):
    minutes_in_file = ("0", "1", "1", "2", "9", "8")
    rows = [f"{minute},{'10,5,9,11' if minute == '2' else GOOD}" for minute in minutes_in_file]
    text = candle_text(*rows)
    path = write_file(NAME, text + "broken\n")
    _, found = judge(path)
    assert sorted(found) == [
        ("duplicate row", 4),
        ("gap", 7),
        ("impossible row", 5),
        ("malformed row", 8),
        ("unordered row", 7),
    ]


def test_a_malformed_row_may_be_dropped(write_file):
    path = write_file(NAME, candle_text(f"0,{GOOD}", f"1,{GOOD}") + "broken\n")
    candles, found = judge(path, malformed="drop")
    assert found == []
    assert len(candles) == 2


def test_candles_off_the_grid_are_named(write_file):
    shifted = f"{START_MS + 61_000},10,12,9,11,1\n"
    path = write_file(NAME, candle_text(f"0,{GOOD}", f"1,{GOOD}", f"2,{GOOD}") + shifted)
    assert ("off grid", 5) in judge(path)[1]
    candles, found = judge(path, off_grid="drop", unordered="sort")
    assert found == []
    assert minutes(candles) == [0, 1, 2]


def test_a_file_name_that_contradicts_its_rows_is_refused(write_file):
    rows = [f"{5 * row},{GOOD}" for row in range(6)]
    _, found = judge(write_file(NAME, candle_text(*rows)))
    assert found == [("wrong interval", 0)]


def test_binary_noise_is_named_and_rounded_only_as_told(write_file):
    path = write_file(
        NAME, candle_text("0,1.0736,1.08,1.07,1.075", "1,1.0735999999999999,1.08,1.07,1.075")
    )
    _, refused = judge(path)
    candles, accepted = judge(path, noise="round")
    assert refused == [("float noise", 3)]
    assert accepted == []
    assert candles.tick_size == Decimal("0.0001")
    assert candles.open.tolist() == [10736, 10736]


def test_a_tick_size_that_does_not_fit_is_refused(write_file):
    path = write_file(NAME, candle_text("0,10.25,10.5,10,10.5", "1,10.3,10.5,10,10.5"))
    options = SourceOptions(tick_sizes={"BTCUSDT": "0.25"})
    report = read_series([path], options).report
    assert [(problem.code, problem.line) for problem in report.problems] == [("off tick", 3)]


def test_a_tick_size_that_is_no_power_of_ten_counts_in_its_own_units(write_file):
    path = write_file(NAME, candle_text("0,10.25,10.5,10,10.5", "1,10.25,10.5,10,10.5"))
    (candles,) = read_series([path], SourceOptions(tick_sizes={"*": "0.25"})).series
    assert isinstance(candles, CandleSet)
    assert candles.open.tolist() == [41, 41]
    assert candles.tick_size == Decimal("0.25")


@pytest.mark.parametrize("size", ["0", "-1", "x", "NaN"])
def test_a_tick_size_that_is_none_is_refused(write_file, size):
    path = write_file(NAME, candle_text(f"0,{GOOD}", f"1,{GOOD}"))
    report = read_series([path], SourceOptions(tick_sizes={"*": size})).report
    assert [problem.code for problem in report.problems] == ["tick size"]


def trade_file(write_file, *rows):
    lines = [f"{ident},{price},{qty},1,1,{START_MS + at},true" for ident, at, price, qty in rows]
    return write_file("BTCUSDT-aggTrades-2025-05-04.csv", "\n".join(lines) + "\n")


def test_trades_at_one_time_keep_the_venues_order(write_file):
    path = trade_file(write_file, (7, 0, "10.1", 1), (8, 0, "10.2", 2), (9, 0, "10.1", "0.5"))
    trades, found = judge(path)
    assert found == []
    assert isinstance(trades, TradeSet)
    assert trades.px.tolist() == [101, 102, 101]
    assert (trades.qty.tolist(), trades.qty_step) == ([10, 20, 5], Decimal("0.1"))


def test_a_hole_in_trade_ids_is_a_gap(write_file):
    path = trade_file(write_file, (7, 0, "10.1", 1), (10, 5, "10.2", 2))
    assert judge(path)[1] == [("gap", 2)]
    trades, _ = judge(path, gaps="feed-gap")
    assert [(gap.missing, gap.to_ns - gap.from_ns) for gap in trades.gaps] == [(2, 4_999_999)]


def test_trades_out_of_order_are_sorted_by_time_and_id(write_file):
    path = trade_file(write_file, (9, 4, "3", 1), (8, 4, "2", 1), (7, 0, "1", 1))
    assert judge(path)[1] == [("unordered row", 2), ("unordered row", 3)]
    trades, found = judge(path, unordered="sort")
    assert found == []
    assert trades.px.tolist() == [1, 2, 3]


def test_a_trade_id_twice_is_a_duplicate_even_across_files(write_file):
    one = trade_file(write_file, (7, 0, "1", 1), (8, 1, "2", 1))
    text = one.read_text().splitlines()[1] + f"\n9,3,1,1,1,{START_MS + 2},true\n"
    other = write_file("BTCUSDT-aggTrades-2025-05-05.csv", text)
    options = SourceOptions(treatment=Treatment())
    report = read_series([one, other], options).report
    assert [(one.code, one.file, one.line) for one in report.problems] == [
        ("duplicate row", str(other), 1)
    ]
    dropped = read_series([one, other], SourceOptions(treatment=Treatment(duplicates="drop")))
    assert dropped.report.ok
    (trades,) = dropped.series
    assert isinstance(trades, TradeSet)
    assert trades.px.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("price", "qty"), [("0", "1"), ("-5", "1"), ("5", "0")])
def test_an_impossible_trade_is_named(write_file, price, qty):
    path = trade_file(write_file, (7, 0, "1", 1), (8, 1, price, qty))
    assert judge(path)[1] == [("impossible row", 2)]


def test_funding_is_exact_and_its_holes_are_named(write_file):
    hour = 3_600_000
    rows = [(0, "0.0001"), (8, "-3.7e-06"), (12, "0"), (28, "0.00031")]
    text = "time,funding_rate\n" + "".join(
        f"{START_MS + at * hour + 1},{rate}\n" for at, rate in rows
    )
    path = write_file("binance_um-BTCUSDT-funding-202505.csv.gz", text)
    assert judge(path)[1] == [("gap", 5)]
    funding, _ = judge(path, gaps="feed-gap")
    assert isinstance(funding, FundingSet)
    assert [rate for _, rate in funding.rates()] == [Decimal(rate) for _, rate in rows]
    assert [gap.missing for gap in funding.gaps] == [1]


def test_a_funding_rate_in_percent_of_thousands_is_impossible(write_file):
    text = f"time,funding_rate\n{START_MS},1.5\n{START_MS + 1000},0.0001\n"
    path = write_file("binance_um-BTCUSDT-funding-202505.csv", text)
    assert judge(path)[1] == [("impossible row", 2)]


def test_a_venue_that_nothing_names_is_asked_for(write_file):
    path = write_file("set/BTCUSDT-1m-20250504.csv", candle_text(f"0,{GOOD}", f"1,{GOOD}"))
    report = read_series([path], SourceOptions()).report
    assert [problem.code for problem in report.problems] == ["venue unknown"]
    assert read_series([path], SourceOptions(venue="bybit")).series[0].venue == "bybit"
