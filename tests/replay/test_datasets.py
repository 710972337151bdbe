"""Datasets say the same as the files they came from, and are written whole or not at all."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from replay import data_cli
from replay.datasets import load, open_data
from replay.problems import DataError, Report, Treatment
from replay.sources import SourceOptions
from tests.replay.conftest import REPOSITORY
from tests.replay.made import START_MS, candle_text

ROWS = ("0,10,12,9,11", "1,11,12.5,9,12", "2,12,13,11,11.5")


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    data_cli.register(parser.add_subparsers(required=True))
    args = parser.parse_args(["data", *map(str, words)])
    return args.func(args)


@pytest.fixture
def files(write_file) -> Path:
    write_file("in/binance/BTCUSDT-1m-20250504.csv.gz", candle_text(*ROWS))
    write_file("in/binance/ETHUSDT-1m-20250504.csv.gz", candle_text(*ROWS[:2]))
    trade = f"7,10.5,2,1,1,{START_MS},true\n8,10.5,2,1,1,{START_MS},false\n"
    write_file("in/binance/BTCUSDT-aggTrades-2025-05-04.csv", trade)
    return write_file(
        "in/binance/binance_um-BTCUSDT-funding-202505.csv",
        f"time,funding_rate\n{START_MS},0.0001\n",
    ).parent


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_import_says_the_same_as_its_files(files, tmp_path):
    out = tmp_path / "out"
    assert run("import", files, "--out", out) == 0
    direct = open_data([files], SourceOptions())
    mapped = open_data([out], SourceOptions())
    assert mapped.digest() == direct.digest()
    assert len(mapped.series) == 4
    assert [len(one) for one in mapped.candles] == [3, 2]
    assert isinstance(mapped.candles[0].open, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        mapped.candles[0].open[0] = 1
    assert mapped.candles[0].high.tolist() == [120, 125, 130]


def test_a_dataset_lies_where_the_documentation_says(files, tmp_path):
    out = tmp_path / "out"
    run("import", files, "--out", out)
    assert (out / "binance" / "BTCUSDT" / "candles-1m" / "manifest.json").is_file()
    assert (out / "binance" / "BTCUSDT" / "trades" / "px.npy").is_file()
    assert (out / "binance" / "BTCUSDT" / "funding" / "rate.npy").is_file()


def test_a_manifest_names_sources_and_treatment_but_no_folder(files, tmp_path):
    out = tmp_path / "out"
    run("import", files, "--out", out, "--gaps", "feed-gap")
    text = (out / "binance" / "BTCUSDT" / "candles-1m" / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["sources"][0]["name"] == "BTCUSDT-1m-20250504.csv.gz"
    assert manifest["treatment"]["gaps"] == "feed-gap"
    assert (manifest["step"], manifest["rows"]) == ("0.1", 3)
    assert str(tmp_path) not in text


def test_one_bad_file_stops_the_whole_import(files, write_file, tmp_path, capsys):
    write_file("in/binance/XRPUSDT-1m-20250504.csv", candle_text(ROWS[0], "1,1,0,1,1", ROWS[2]))
    out = tmp_path / "out"
    assert run("import", files, "--out", out) == 2
    assert not out.exists()
    assert "XRPUSDT-1m-20250504.csv:3: impossible row" in capsys.readouterr().err


def test_an_import_that_dies_leaves_nothing(files, tmp_path, monkeypatch):
    out = tmp_path / "out"
    saved = []

    def save(path, *args, **kwargs):
        saved.append(path)
        if len(saved) > 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    with pytest.raises(OSError, match="No space"):
        run("import", files, "--out", out)
    assert tree(out) == []


def test_an_import_again_changes_nothing(files, tmp_path, capsys):
    out = tmp_path / "out"
    run("import", files, "--out", out)
    before = tree(out)
    assert run("import", files, "--out", out) == 0
    assert "0 datasets written" in capsys.readouterr().out
    assert tree(out) == before


def test_other_data_in_the_way_is_replaced_only_as_told(files, write_file, tmp_path, capsys):
    out = tmp_path / "out"
    run("import", files, "--out", out)
    write_file("in/binance/ETHUSDT-1m-20250504.csv.gz", candle_text(*ROWS))
    assert run("import", files, "--out", out) == 2
    assert "dataset exists" in capsys.readouterr().err
    assert run("import", files, "--out", out, "--replace") == 0
    assert [len(one) for one in open_data([out], SourceOptions()).candles] == [3, 3]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_replacement_that_fails_half_way_puts_everything_back(
    files, write_file, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    run("import", files, "--out", out)
    before = open_data([out], SourceOptions()).digest()
    for name in ("BTCUSDT", "ETHUSDT"):
        write_file(f"in/binance/{name}-1m-20250504.csv.gz", candle_text("0,1,2,1,2", "1,2,3,1,2"))
    rename, moved = Path.rename, []

    def fail_late(self, target):
        moved.append(self)
        if len(moved) == 4:
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_late)
    with pytest.raises(OSError, match="Permission"):
        run("import", files, "--out", out, "--replace")
    monkeypatch.undo()
    assert open_data([out], SourceOptions()).digest() == before


def test_a_changed_array_is_found_by_check(files, tmp_path, capsys):
    out = tmp_path / "out"
    run("import", files, "--out", out)
    assert run("check", out) == 0
    path = out / "binance" / "BTCUSDT" / "candles-1m" / "open.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert run("check", out) == 2
    assert "open.npy: array: changed" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["missing", "cut", "other format"])
def test_a_damaged_dataset_is_refused_and_not_read(files, tmp_path, damage):
    out = tmp_path / "out"
    run("import", files, "--out", out)
    folder = out / "binance" / "BTCUSDT" / "candles-1m"
    if damage == "missing":
        (folder / "close.npy").unlink()
    elif damage == "cut":
        np.save(folder / "close.npy", np.zeros(1, dtype=np.int32))
    else:
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 9'))
    report = Report()
    assert load(folder, report) is None
    assert len(report.problems) == 1
    with pytest.raises(DataError):
        open_data([out], SourceOptions())


def test_one_symbol_twice_is_refused(files, tmp_path):
    out = tmp_path / "out"
    run("import", files, "--out", out)
    with pytest.raises(DataError, match="two datasets"):
        open_data([out, files], SourceOptions())


def test_files_of_one_symbol_are_joined(write_file):
    late = write_file("binance/BTCUSDT-1m-2025-06.csv", candle_text("2,1,1,1,1", "3,1,1,1,1"))
    write_file("binance/BTCUSDT-1m-2025-05.csv", candle_text("0,1,1,1,1", "1,1,1,1,1"))
    (candles,) = open_data([late.parent], SourceOptions()).candles
    assert len(candles) == 4


def test_only_the_asked_for_series_are_opened(files):
    options = SourceOptions(symbols=("ETHUSDT",))
    assert [one.symbol for one in open_data([files], options).series] == ["ETHUSDT"]


def test_check_prints_one_json_object(files, write_file, capsys):
    assert run("check", files, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"]
    assert {one["symbol"] for one in printed["series"]} == {"BTCUSDT", "ETHUSDT"}
    write_file("in/binance/XRPUSDT-1m-20250504.csv", candle_text(ROWS[0], "1,1,0,1,1"))
    assert run("check", files, "--json") == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["code"], problem["line"]) == ("impossible row", 3)


def test_problems_beyond_the_limit_are_counted(files, write_file, capsys):
    rows = [f"{row},1,0,1,1" for row in range(9)]
    write_file("in/binance/XRPUSDT-1m-20250504.csv", candle_text(*rows))
    assert run("check", files, "--limit", 3) == 2
    assert "and 6 more problems" in capsys.readouterr().err


def test_a_path_without_data_is_a_problem(tmp_path, capsys):
    assert run("check", tmp_path, tmp_path / "absent") == 2
    errors = capsys.readouterr().err
    assert "a folder without data files" in errors
    assert "does not exist" in errors


def test_every_treatment_can_be_told_on_the_command_line(files, tmp_path, capsys):
    told = [("--gaps", "feed-gap"), ("--duplicates", "last"), ("--unordered", "sort")]
    told += [("--impossible", "drop"), ("--off-grid", "drop"), ("--malformed", "drop")]
    told += [("--noise", "round")]
    assert len(told) == len(Treatment.__struct_fields__)
    out = tmp_path / "out"
    assert run("import", files, "--out", out, *(word for pair in told for word in pair)) == 0
    manifest = json.loads((out / "binance/BTCUSDT/trades/manifest.json").read_text())
    assert list(manifest["treatment"].values()) == [
        "feed-gap", "last", "sort", "drop", "drop", "drop", "round",
    ]


def test_text_files_are_read_without_the_heavy_libraries():
    code = (
        "import sys; import replay.data_cli; "
        "print([name for name in ('pandas', 'pyarrow', 'ccxt', 'numba', 'rich') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_part_of_a_series_holds_whole_candles_only(files):
    candles = open_data([files], SourceOptions()).candles[0]
    first = candles.first_ns
    minute = candles.interval_ns
    assert len(candles.between(first, candles.end_ns)) == 3
    assert candles.between(first + 1, first + 2 * minute).first_ns == first + minute
    assert len(candles.between(first, first + minute - 1)) == 0
    trades = open_data([files], SourceOptions()).trades[0]
    assert len(trades.between(trades.first_ns, trades.end_ns)) == 2
    assert len(trades.between(trades.end_ns, trades.end_ns + 5)) == 0
