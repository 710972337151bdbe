"""The recorded sets are read as their description says. Skipped where they are absent."""

import argparse
from pathlib import Path

import pytest

from replay import data_cli
from replay.datasets import open_data
from replay.momentum import generate
from replay.problems import DataError, Treatment
from replay.series import CandleSet
from replay.sources import SourceOptions

SETS = [
    ("binance_um_1m", 16, 683_759),
    ("binance_um_1m_2023", 4, 193_663),
    ("binance_um_5m_2025-04_tariff_crash", 12, 45_936),
    ("binance_um_5m_2025-10-10_crash", 2, 4_032),
    ("binance_um_5m_2026-05_calm", 17, 74_664),
    ("bybit_linear_1m_2024-12-09_flash_crash", 12, 2_400),
]


@pytest.mark.parametrize(("name", "symbols", "rows"), SETS, ids=[one[0] for one in SETS])
def test_a_recorded_set_has_no_problems(shared_data: Path, name, symbols, rows):
    data = open_data([shared_data / name], SourceOptions())
    assert len(data.candles) == symbols
    assert sum(len(one) for one in data.candles) == rows
    assert not [one for one in data.candles if one.gaps]


def test_the_tick_is_found_from_the_prices(shared_data: Path):
    data = open_data([shared_data / "binance_um_1m"], SourceOptions())
    found = {one.symbol: str(one.tick_size) for one in data.candles}
    # SOLUSDT had a finer tick then than the instrument list of 2026 says: data decides.
    expected = {"BTCUSDT": "0.1", "ETHUSDT": "0.01", "SOLUSDT": "0.001", "XLMUSDT": "0.00001"}
    assert {symbol: found[symbol] for symbol in expected} == expected


def test_binary_noise_of_the_recorded_week_is_refused_and_rounds_to_the_tick(shared_data: Path):
    folder = shared_data / "binance_um_5m_2021-11"
    with pytest.raises(DataError, match="float noise"):
        open_data([folder], SourceOptions())
    (candles,) = open_data([folder], SourceOptions(treatment=Treatment(noise="round"))).candles
    assert isinstance(candles, CandleSet)
    assert str(candles.tick_size) == "0.0001"


def test_recorded_funding_is_whole(shared_data: Path):
    files = sorted((shared_data / "funding").glob("*202505*"))
    data = open_data(files, SourceOptions())
    assert [len(one) for one in data.funding] == [91, 92, 693, 91]


def test_a_recorded_month_makes_waves_of_both_sides(shared_data: Path):
    data = open_data([shared_data / "binance_um_1m"], SourceOptions())
    rows = generate(7, data.candles)
    buys = sum(row.side == "BUY" for row in rows)
    assert 0.4 < buys / len(rows) < 0.6
    assert len({row.candle_ns for row in rows}) > 2_000


def test_the_venue_of_a_foreign_set_must_be_told(shared_data: Path, capsys):
    parser = argparse.ArgumentParser()
    data_cli.register(parser.add_subparsers(required=True))
    folder = str(shared_data / "ftx_1m_2022-01")
    refused = parser.parse_args(["data", "check", folder])
    told = parser.parse_args(["data", "check", folder, "--venue", "binance"])
    assert refused.func(refused) == 2
    assert "--venue" in capsys.readouterr().err
    assert told.func(told) == 0


def test_recorded_streams_are_read_whole(shared_data: Path):
    data = open_data([shared_data / "ticks"], SourceOptions(symbols=("BTCUSDT",)))
    (trades,) = data.trades
    (quotes,) = data.quotes
    assert (len(trades), len(quotes)) == (21_313, 66_089)
    assert trades.gaps == ()


def test_recorded_minute_quotes_are_read(shared_data: Path):
    data = open_data([shared_data / "quotes"], SourceOptions())
    assert [len(one) for one in data.series] == [721, 460]
