"""Every published layout, packed in every way, gives the same rows with the right lines."""

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from replay import importers
from replay.importers import ReadOptions, read_table
from replay.names import parse_name
from replay.tables import Table

MS = 1_746_372_600_000
US = MS * 1000
NS = US * 1000


def read(path: Path, **options: Any) -> Table:
    found = read_table(path, parse_name(path), ReadOptions(**options))
    assert isinstance(found, Table), [problem.sentence() for problem in found]
    return found


def values(table: Table, role: str) -> list[Decimal]:
    column = table.numbers[role]
    return [
        Decimal(int(mantissa)).scaleb(-int(places))
        for mantissa, places in zip(column.mantissa, column.decimals, strict=True)
    ]


KLINE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore\n"
)


@pytest.mark.parametrize("header", ["", KLINE_HEADER], ids=["no header", "header"])
@pytest.mark.parametrize("first", [MS, US], ids=["ms", "us"])
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "zip"])
def test_binance_klines_are_read(write_file, header, first, suffix):
    step = 60_000 * (first // MS)
    rows = [
        f"{first + row * step},0.00002853,0.00002854,0.00002851,0.00002854,36304.20000000,"
        f"{first + row * step + step - 1},1.03547608,79,19523.0,0.55694227,0"
        for row in range(3)
    ]
    path = write_file(f"BTCUSDT-1m-2025-05.{suffix}", header + "\n".join(rows) + "\n")
    table = read(path)
    assert table.layout == "binance-klines"
    assert table.time_ns.tolist() == [NS, NS + 60_000_000_000, NS + 120_000_000_000]
    assert values(table, "open") == [Decimal("0.00002853")] * 3
    assert table.floats["volume"].tolist() == [36304.2] * 3
    assert table.line.tolist() == ([2, 3, 4] if header else [1, 2, 3])


def test_binance_agg_trades_say_who_took(write_file):
    path = write_file(
        "BTCUSDT-aggTrades-2025-05-01.csv",
        f"26129,0.01633102,4.70443515,27781,27781,{MS},true\n"
        f"26130,0.01633103,1,27782,27783,{MS},false\n",
    )
    table = read(path)
    assert table.ids is not None
    assert table.ids.tolist() == [26129, 26130]
    assert table.ids_count
    assert table.marks["taker"].tolist() == [-1, 1]
    assert values(table, "qty") == [Decimal("4.70443515"), Decimal(1)]


def test_binance_spot_trades_in_microseconds_are_read(write_file):
    path = write_file(
        "BTCUSDT-trades-2025-05-01.csv", f"1,94212.5,0.001,94.2125,{US + 7},False,True\n"
    )
    assert read(path).time_ns.tolist() == [NS + 7000]


def test_bybit_trades_keep_every_digit_of_their_time(write_file):
    header = (
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
        "foreignNotional\n"
    )
    path = write_file(
        "BTCUSDT2020-03-26.csv.gz",
        header
        + "1585180700.0647,BTCUSDT,Buy,0.042,6698.5,PlusTick,0e5d-1,28133700000.0,0.042,281.3\n"
        + "1585180701.123456789,BTCUSDT,Sell,1,6698,MinusTick,0e5d-2,1,1,1\n",
    )
    table = read(path)
    assert table.time_ns.tolist() == [1_585_180_700_064_700_000, 1_585_180_701_123_456_789]
    assert table.marks["taker"].tolist() == [1, -1]
    assert not table.ids_count


def test_metatrader_candles_need_their_time_zone(write_file):
    path = write_file(
        "BTCUSDT_1_2025-05-01_2025-05-31.csv.gz", "2025.05.01 03:00,1,2,0.5,1.5,10\n"
    )
    refused = read_table(path, parse_name(path), ReadOptions())
    assert isinstance(refused, list)
    assert [problem.code for problem in refused] == ["clock not stated"]
    utc = read(path, clock_offset_hours=0)
    moscow = read(path, clock_offset_hours=3)
    assert (utc.time_ns - moscow.time_ns).tolist() == [3 * 3_600_000_000_000]


def test_our_trades_may_lack_ids(write_file):
    path = write_file("set/BTCUSDT-trades-20250504.csv", f"time,price,qty,side\n{MS},1.5,2,buy\n")
    table = read(path)
    assert table.ids is None
    assert table.marks["taker"].tolist() == [1]


def test_parquet_says_the_same_as_text(write_file, tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    columns = {
        "volume": [1.5, 2.25],
        "date": pa.array([MS, MS + 60_000], pa.timestamp("ms", tz="UTC")),
        "open": [94212.5, 94213.0],
        "high": [94214.1, 94214.1],
        "low": [94212.5, 94212.9],
        "close": [94213.0, 94214.1],
    }
    packed = tmp_path / "BTCUSDT-1m-20250504.parquet"
    pq.write_table(pa.table(columns), packed)
    plain = write_file(
        "plain/BTCUSDT-1m-20250504.csv",
        "open_time,open,high,low,close,volume\n"
        f"{MS},94212.5,94214.1,94212.5,94213.0,1.5\n"
        f"{MS + 60_000},94213.0,94214.1,94212.9,94214.1,2.25\n",
    )
    one, other = read(packed), read(plain)
    assert one.time_ns.tolist() == other.time_ns.tolist()
    assert one.floats["volume"].tolist() == other.floats["volume"].tolist()
    for role in ("open", "high", "low", "close"):
        assert values(one, role) == values(other, role)


def test_byte_order_mark_carriage_returns_and_quotes_do_not_matter(write_file):
    text = f'\ufeff"open_time",open,high,low,close,volume\r\n"{MS}",1,2,1,2,5\r\n'
    table = read(write_file("BTCUSDT-1m-20250504.csv", text))
    assert table.time_ns.tolist() == [NS]


def test_a_file_read_in_small_blocks_is_the_same_file(write_file, monkeypatch):
    rows = "".join(f"{MS + row * 60_000},1.{row},2,1,1.5,{row}\n" for row in range(50))
    path = write_file("BTCUSDT-1m-20250504.csv.gz", "open_time,open,high,low,close,volume\n" + rows)
    whole = read(path)
    monkeypatch.setattr(importers, "BLOCK_BYTES", 64)
    blocks = read(path)
    assert blocks.line.tolist() == whole.line.tolist() == list(range(2, 52))
    assert blocks.time_ns.tolist() == whole.time_ns.tolist()
    assert values(blocks, "open") == values(whole, "open")


def problems(path: Path, **options: Any) -> list[tuple[str, int]]:
    found = read_table(path, parse_name(path), ReadOptions(**options))
    listed = found if isinstance(found, list) else found.problems
    return [(problem.code, problem.line) for problem in listed]


def test_every_unreadable_row_is_named_at_once(write_file):
    path = write_file(
        "BTCUSDT-1m-20250504.csv",
        "open_time,open,high,low,close,volume\n"
        f"{MS},1,2,1,2,5\n"
        f"{MS + 60_000},1,2,1,2\n"
        f"{MS + 120_000},one,2,1,2,5\n"
        f"{MS // 1000},1,2,1,2,5\n"
        f"{MS + 240_000},1,2,1,2,nan\n",
    )
    # A row with several bad cells is named once.
    assert problems(path) == [
        ("malformed row", 3), ("malformed row", 5), ("malformed row", 4), ("malformed row", 6),
    ]


@pytest.mark.parametrize(
    ("scale", "unit"), [(1, "s"), (10**6, "us"), (10**9, "ns")], ids=["s", "us", "ns"]
)
def test_a_wrong_time_unit_is_named_with_the_right_one(write_file, scale, unit):
    stamp = MS // 1000 * scale
    path = write_file(
        "BTCUSDT-1m-20250504.csv", f"open_time,open,high,low,close,volume\n{stamp},1,2,1,2,5\n"
    )
    refused = read_table(path, parse_name(path), ReadOptions())
    assert isinstance(refused, list)
    assert refused[0].code == "wrong time unit"
    assert refused[0].fix == f"--time-unit {unit}"
    assert read(path, time_unit=unit).time_ns.tolist() == [NS]


def test_a_broken_archive_names_the_last_line_that_was_whole(write_file, tmp_path):
    rows = "".join(f"{MS + row * 60_000},1.{row},2,1,1.5,{row}\n" for row in range(5000))
    whole = gzip.compress(("open_time,open,high,low,close,volume\n" + rows).encode())
    path = tmp_path / "BTCUSDT-1m-20250504.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    assert [code for code, _ in problems(path)] == ["broken archive"]


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("BTCUSDT-1m-20250504.csv", "", "empty file"),
        ("BTCUSDT-1m-20250504.csv", "open_time,open,high,low,close,volume\n", "empty file"),
        ("BTCUSDT-1m-20250504.csv", "a,b\n1,2\n", "unknown layout"),
    ],
)
def test_a_file_without_usable_rows_is_refused(write_file, name, text, code):
    assert [found for found, _ in problems(write_file(name, text))] == [code]
