"""What file names and first lines say about data files."""

from pathlib import PurePath

import pytest

from kernel.model.units import HOUR, MINUTE
from replay.layouts import (
    LAYOUTS,
    Kind,
    TimeUnit,
    find_layout,
    interval_text,
    unit_of,
)
from replay.names import parse_name


@pytest.mark.parametrize(
    ("path", "symbol", "venue", "kind", "interval_ns"),
    [
        ("binance_um/BTCUSDT-1m-20250504-20250603.csv.gz", "BTCUSDT", "binance", "candles", MINUTE),
        ("x/bybit_set/1000PEPEUSDT-4h-2025-05.zip", "1000PEPEUSDT", "bybit", "candles", 4 * HOUR),
        ("ftx/BTC-PERP-1m-20211231-20220201.csv.gz", "BTC-PERP", "", "candles", MINUTE),
        ("binance_spot_dump-ADABTC-1m-2021-11-27.csv", "ADABTC", "binance", "candles", MINUTE),
        ("BTCUSDT-1m.parquet", "BTCUSDT", "", "candles", MINUTE),
        ("d/BTCUSDT-aggTrades-2025-05-01.zip", "BTCUSDT", "", "trades", 0),
        ("d/BTCUSDT-trades-2025-05.csv", "BTCUSDT", "", "trades", 0),
        ("d/BTCUSDT-fundingRate-2025-05.zip", "BTCUSDT", "", "funding", 0),
        ("funding/binance_um-XRPUSDT-funding-202111.csv.gz", "XRPUSDT", "binance", "funding", 0),
        ("Bybit/trading/BTCUSDT2025-05-01.csv.gz", "BTCUSDT", "bybit", "trades", 0),
        ("m/BTCUSDT_15_2025-05-01_2025-05-31.csv.gz", "BTCUSDT", "", "candles", 15 * MINUTE),
        ("binance/币安人生USDT-1m-2025-10.zip", "币安人生USDT", "binance", "candles", MINUTE),
    ],
)
def test_a_file_name_says_what_the_file_holds(path, symbol, venue, kind, interval_ns):
    parts = parse_name(PurePath(path))
    assert parts is not None
    found = (parts.symbol, parts.venue, parts.kind, parts.interval_ns)
    assert found == (symbol, venue, kind, interval_ns)


@pytest.mark.parametrize("name", ["README.md", "notes.csv", "instruments/steps.csv", "BTCUSDT.csv"])
def test_a_name_that_says_nothing_is_not_guessed(name):
    assert parse_name(PurePath(name)) is None


def test_mark_prices_are_known_by_their_folder():
    parts = parse_name(PurePath("markPriceKlines/BTCUSDT/1m/BTCUSDT-1m-2025-05.zip"))
    assert parts is not None
    assert parts.price == "mark"


@pytest.mark.parametrize(
    "layout", [one for one in LAYOUTS if one.header], ids=lambda one: one.name
)
def test_a_header_decides_in_any_letter_case(layout):
    for header in (",".join(layout.header), ",".join(layout.header).upper()):
        found, has_header = find_layout(header, "")
        assert (found, has_header) == (layout, True)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("1637971200000,1,2,1,2,5,1637971259999,1,7,1,0.5,0", "binance-klines"),
        ("1637971200000,1,2,1,2,5", "candles"),
        ("2025.05.01 00:00,1,2,1,2,5", "bybit-metatrader4"),
        ("7,1.5,2,70,71,1637971200000,true", "binance-aggTrades"),
        ("7,1.5,2,70,71,1637971200000,true,True", "binance-spot-aggTrades"),
        ("7,1.5,2,3,1637971200000,False", "binance-trades"),
        ("7,1.5,2,3,1637971200000,true,true", "binance-spot-trades"),
        ("1585180700.06,BTCUSDT,Buy,0.1,6698.5,PlusTick,a-b,1,0.1,1", "bybit-trading"),
    ],
)
def test_without_a_header_the_columns_decide(line, name):
    found, has_header = find_layout(line, "")
    assert not has_header
    assert found is not None
    assert found.name == name


def test_funding_without_a_header_needs_a_name_that_says_so():
    line = "1637971200000,8,0.0001"
    found, _ = find_layout(line, Kind.FUNDING)
    assert found is not None
    assert found.name == "binance-fundingRate"
    assert find_layout(line, "") == (None, False)


def test_no_time_lies_in_two_units():
    assert [unit_of(1_746_372_600 * 10**power) for power in (0, 3, 6, 9)] == list(TimeUnit)[:4]
    assert unit_of(12_345) is None


def test_an_interval_is_written_as_file_names_write_it():
    assert [interval_text(one) for one in (MINUTE, 15 * MINUTE, 4 * HOUR, 24 * HOUR)] == [
        "1m", "15m", "4h", "1d",
    ]
