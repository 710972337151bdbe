"""Replays: the same run on every path, bad input all at once, deaths and faults by their seed."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernel.config import Settings
from kernel.errors import SettingsError
from kernel.model.units import HOUR, MINUTE, install_decimal_context
from kernel.signals.timestamps import parse_utc
from replay.datasets import MarketData, open_data
from replay.journal import JournalReader
from replay.momentum import Recipe
from replay.runs import CONTRACT
from replay.sources import SourceOptions
from run_sim import main
from scenarios.replay_run import Extras, run_replay
from scenarios.replay_setup import ReplayOptions, ReplayPlan, plan_replay
from scenarios.replay_swarm import KINDS, swarm, with_swarm
from tests.scenarios.market_files import write_candles

START_NS = parse_utc("2026-01-05T00:00:00Z")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_candles(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def data(folder: Path) -> MarketData:
    install_decimal_context()
    return open_data([folder], SourceOptions())


def plan(data: MarketData, **options: Any) -> ReplayPlan:
    given: dict[str, Any] = {"seed": 3} | options
    recipe = Recipe(fewest=3, quantile=50)
    return plan_replay(Settings.load({}), data, None, ReplayOptions(**given), recipe)


def replay(folder: Path, *arguments: str) -> list[str]:
    recipe = ("--fewest", "3", "--quantile", "50")
    return ["replay", "--data", str(folder), "--waves", "generate:3", *recipe, *arguments]


def test_two_runs_of_one_plan_are_equal(data: MarketData) -> None:
    first, second = (run_replay(plan(data)).result for _ in range(2))
    assert first == msgspec.structs.replace(second, wall_s=first.wall_s)
    assert first.positions_opened > 3
    assert first.invariant_violations == 0
    assert first.max_unprotected_ms <= 5_000


def test_dense_and_sparse_write_the_same_journal(data: MarketData, tmp_path: Path) -> None:
    end_ns = START_NS + 2 * HOUR
    for name, dense in (("sparse", False), ("dense", True)):
        made = plan(data, dense=dense, to_ns=end_ns)
        run_replay(made, Extras(journal=tmp_path / name))
    sparse = (tmp_path / "sparse").read_bytes()
    assert sparse == (tmp_path / "dense").read_bytes()
    assert len(sparse) > 100_000


def test_the_digest_of_a_run_is_that_of_its_journal(data: MarketData, tmp_path: Path) -> None:
    path = tmp_path / "j"
    result = run_replay(plan(data), Extras(journal=path)).result
    assert JournalReader(path).digest() == result.digest


def test_a_report_and_progress_change_nothing(data: MarketData) -> None:
    shares: list[float] = []
    plain = run_replay(plan(data)).result
    watched = run_replay(plan(data), Extras(collect=True, progress=shares.append)).result
    assert watched.digest == plain.digest
    assert shares[-1] == 1.0


def test_another_path_through_candles_is_another_run(data: MarketData) -> None:
    digests = [
        run_replay(plan(data, path=path)).result.digest
        for path in ("close-rule", "low-first", "high-first")
    ]
    assert len(dict.fromkeys(digests)) == 3


def test_data_of_one_venue_can_be_traded_on_the_other(data: MarketData) -> None:
    made = plan(data, venue="bybit")
    assert list(made.setup.setups) == ["bybit"]
    result = run_replay(made).result
    assert result.positions_opened > 3
    assert result.invariant_violations == 0


def test_every_death_happens_and_the_kernel_comes_back(data: MarketData) -> None:
    result = run_replay(plan(data), Extras(deaths=6)).result
    assert result.crashes == 6
    assert result.kernel_starts == 7
    assert not result.task_crashes
    assert result.violations == ()


def test_a_swarm_strikes_and_the_books_stay_exact(data: MarketData) -> None:
    made = plan(data)
    with_swarm(made, 5)
    result = run_replay(made).result
    assert result.faults_fired
    assert not [line for line in result.violations if line.startswith(("I10", "I2 ", "I4 "))]


def test_a_swarm_is_a_function_of_its_seed_with_one_fault_an_hour() -> None:
    span = 48 * HOUR
    one = swarm(1, "binance", span)
    assert one == swarm(1, "binance", span)
    assert one != swarm(2, "binance", span)
    assert len(one) == 48
    assert one[:20] == swarm(1, "binance", span // 2)[:20]
    for hour, fault in enumerate(one):
        when: Any = fault.when  # type: ignore[union-attr]
        assert hour * HOUR <= when.from_ns < (hour + 1) * HOUR
        assert when.to_ns <= span


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_every_kind_of_the_swarm_can_be_drawn(venue: str) -> None:
    names = [str(fault.name).partition(" in hour")[0] for fault in swarm(1, venue, 600 * HOUR)]
    assert sorted(dict.fromkeys(names)) == sorted(kind.name for kind in KINDS)


def test_a_plan_says_what_it_made_up(data: MarketData) -> None:
    notes = "\n".join(plan(data).notes)
    assert "instruments made from the data: NEWUSDT (tick 0.01, step 0.001)" in notes
    assert "the mark is the last price: BTCUSDT" in notes


def test_steps_come_from_a_file_where_one_is_given(data: MarketData, tmp_path: Path) -> None:
    steps = tmp_path / "steps.csv"
    steps.write_text("symbol,tick_size,lot_size,min_order_size\nNEWUSDT,0.05,0.2,0.4\n")
    made = plan(data, steps_file=steps)
    (new,) = [one for one in made.setup.instruments if one.symbol == "NEWUSDT"]
    assert (str(new.qty_step), str(new.min_qty)) == ("0.2", "0.4")
    assert str(new.tick_size) == "0.01"  # the prices are finer than the file says


def test_a_bad_file_of_steps_is_named_line_by_line(data: MarketData, tmp_path: Path) -> None:
    steps = tmp_path / "steps.csv"
    steps.write_text("symbol,tick_size,lot_size\nA,0,1\nB,1,x\n")
    with pytest.raises(SettingsError) as caught:
        plan(data, steps_file=steps)
    assert [":2:" in caught.value.problems[0], ":3:" in caught.value.problems[1]] == [True, True]


def test_a_period_without_prices_is_refused_with_the_one_there_is(data: MarketData) -> None:
    with pytest.raises(SettingsError, match=r"2026-01-05T00:00:00Z to 2026-01-05T04:00:00Z"):
        plan(data, from_ns=START_NS + 100 * HOUR)


def test_files_that_lie_years_apart_are_refused_with_the_hole(
    data: MarketData, tmp_path: Path
) -> None:
    place = tmp_path / "binance_old"
    place.mkdir()
    rows = "open_time,open,high,low,close,volume\n1700000040000,1,1,1,1,1\n"
    (place / "ADAUSDT-1m-20231114-20231114.csv").write_text(rows)
    old = open_data([place], SourceOptions())
    both = MarketData([*data.series, *old.series], data.report)
    with pytest.raises(SettingsError, match=r"no prices from 2023-11-14T22:15:00Z to 2026-01-05"):
        plan(both)
    assert plan(both, from_ns=START_NS).signals > 0


# ---------------------------------------------------------------- the command line


def test_json_is_one_object_of_the_contract(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(replay(folder, "--json")) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert tuple(told) == CONTRACT
    assert told["positions_opened"] > 3
    assert told["waves"] > 5
    assert err == ""


def test_a_replay_writes_journal_timeline_and_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / name for name in ("journal", "timeline", "report")}
    arguments = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    assert main(replay(folder, *arguments, "--crashes", "2", "--faults", "swarm:4")) in (0, 10)
    assert "2 of them after a crash" in capsys.readouterr().out
    assert main(["journal", "replay", str(files["journal"])]) == 0
    lines = files["timeline"].read_text("utf-8").splitlines()
    assert sum("the kernel dies: crash" in line for line in lines) == 2
    assert files["report"].read_text("utf-8").startswith("<!doctype html>")


def test_the_same_data_can_be_traded_on_both_venues_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(replay(folder, "--venue", "both", "--timeline", "-")) == 0
    told = capsys.readouterr().out
    for venue in ("binance", "bybit"):
        assert re.search(rf"{venue} +\w+ +position .*closed", told, re.IGNORECASE)


def test_a_file_of_waves_without_a_signal_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waves = tmp_path / "none.jsonl"
    waves.write_bytes(b"")
    assert main(["replay", "--data", str(folder), "--waves", str(waves)]) == 2
    assert "holds no signal" in capsys.readouterr().err


def test_recorded_waves_give_the_run_that_generated_ones_gave(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waves = tmp_path / "waves.jsonl"
    recipe = ["--seed", "3", "--fewest", "3", "--quantile", "50"]
    assert main(["data", "waves", str(folder), "--out", str(waves), *recipe]) == 0
    capsys.readouterr()
    assert main(replay(folder, "--json")) == 0
    generated = json.loads(capsys.readouterr().out)
    assert main(["replay", "--data", str(folder), "--waves", str(waves), "--json"]) == 0
    recorded = json.loads(capsys.readouterr().out)
    assert recorded | {"wall_s": 0} == generated | {"wall_s": 0}


def test_market_orders_at_the_next_price_are_another_run(data: MarketData) -> None:
    at_last = run_replay(plan(data)).result
    at_next = run_replay(plan(data, market_fill="next")).result
    assert at_next.invariant_violations == 0
    assert at_next.digest != at_last.digest


def test_a_feed_of_closed_candles_shows_the_kernel_fewer_prices(data: MarketData) -> None:
    seen = plan(data, feed_candle_ns=5 * MINUTE).setup.markets
    assert {market.feed.candle_ns for market in seen} == {5 * MINUTE}
    result = run_replay(plan(data, feed_candle_ns=5 * MINUTE)).result
    assert result.digest != run_replay(plan(data)).result.digest
    assert result.invariant_violations == 0


def test_settings_reach_the_kernel(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replay(folder, "--json", "--set", "MAX_POSITIONS=1", "--details")) == 0
    assert json.loads(capsys.readouterr().out)["open_positions"] <= 1


def test_every_problem_of_the_arguments_is_told_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = [
        "--from", "noon", "--set", "MAX_POSITIONS=0", "--set", "NO_SUCH=1", "--set", "novalue",
        "--spread-bps", "x", "--crashes", "-1", "--faults", "storm:1", "--quantile", "101",
        "--journal", str(tmp_path / "no" / "j"), "--seed", "-5", "--report", str(tmp_path),
        "--deposit", "1_0", "--feed-candle", "soon",
    ]  # fmt: skip
    assert main(["replay", "--data", str(folder), "--waves", "generate:x", *wrong]) == 2
    told = capsys.readouterr().err
    for part in (
        "--from noon", "MAX_POSITIONS=0", "NO_SUCH", "--set novalue", "--spread-bps x",
        "--crashes -1", "--faults storm:1", "--quantile 101", "--journal", "--waves generate:x",
        "--seed -5", "is a folder", "--deposit 1_0", "--feed-candle soon",
    ):  # fmt: skip
        assert part in told
    assert not (tmp_path / "no").exists()


def test_bad_data_is_refused_with_its_place(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder / "BTCUSDT-1m-20260105-20260105.csv"
    place = tmp_path / "binance_bad"
    place.mkdir()
    lines = source.read_text().splitlines()
    del lines[100]
    (place / source.name).write_text("\n".join(lines) + "\n")
    journal = tmp_path / "j"
    assert main(["replay", "--data", str(place), "--journal", str(journal)]) == 2
    assert f"{source.name}:101: gap" in capsys.readouterr().err
    assert not journal.exists()
    assert main(["replay", "--data", str(place), "--gaps", "feed-gap", "--json"]) == 0


def test_the_parity_profile_polls_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = []
    for profile in ("full", "parity"):
        assert main(replay(folder, "--profile", profile, "--json", "--details")) == 0
        steps.append(json.loads(capsys.readouterr().out)["steps"])
    assert steps[1] < steps[0] // 2
