import json
import shlex
from pathlib import Path

import pytest

from kernel.errors import SettingsError
from scenarios.runner import Choice, choose, exit_code, run_all, summary
from tests.scenarios.programs import run_sim

NAMES = ("life/rising-price", "entry/lost-reply", "crash/between-fill-and-stop")


def test_results_do_not_depend_on_the_number_of_processes():
    jobs = choose(Choice(names=NAMES))
    one = summary(list(run_all(jobs, processes=1)), "")
    two = summary(list(run_all(jobs, processes=2)), "")
    assert one == two
    assert one["passed"] == len(jobs) == 6


def test_the_same_seed_gives_the_same_digest_and_venues_differ():
    jobs = choose(Choice(names=NAMES[:1]))
    first, second = (list(run_all(jobs)) for _ in range(2))
    assert [r.digest for r in first] == [r.digest for r in second]
    assert first[0].digest != first[1].digest


def test_globs_suites_venues_and_tags_choose():
    assert {job.venue for job in choose(Choice(names=("life",), venues=("bybit",)))} == {"bybit"}
    assert all(job.entry.name.startswith("crash/") for job in choose(Choice(names=("crash/*",))))
    tagged = choose(Choice(tags=("adversity",)))
    assert {job.venue for job in tagged} == {"binance", "bybit"}


def test_a_name_that_fits_nothing_is_told():
    with pytest.raises(SettingsError, match="life/no-such"):
        choose(Choice(names=("life/no-such",)))


def test_a_failed_expectation_gives_exit_code_10_and_a_line_that_reproduces_it(tmp_path):
    suite = tmp_path / "bad.yaml"
    suite.write_text(
        'suite: bad\nscenarios:\n  - name: one\n    title: "x"\n    duration: 1m\n'
        "    venues: [binance]\n    prices: {BTCUSDT: {path: [[0, 100]]}}\n"
        "    expect: {opened: 3, fails: [I1]}\n",
        "utf-8",
    )
    results = list(run_all(choose(Choice(names=(str(suite),)))))
    assert exit_code(results) == 10
    told = summary(results, "abc")["scenarios"][0]
    assert told["reproduce"] == (
        f"python run_sim.py scenario {suite} bad/one --venue binance --seed 1  # commit abc"
    )
    assert told["problems"] == [
        "I1 should have failed and holds", "opened: 0 positions, expected 3",
    ]  # fmt: skip


def test_json_prints_one_object_and_nothing_else():
    done = run_sim("scenario", "life/quiet", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["passed"], told["failed"], told["errors"]) == (2, 0, 0)
    assert set(told["scenarios"][0]) == {
        "name", "venue", "level", "status", "digest", "max_unprotected_ms", "reproduce",
    }  # fmt: skip


def test_wrong_files_end_with_exit_code_2_and_all_problems(tmp_path):
    suite = tmp_path / "wrong.yaml"
    suite.write_text(
        'suite: wrong\nscenarios:\n  - {name: a, title: "x", prices: {}}\n'
        "  - {name: b, prices: {BTCUSDT: {path: [[0, -1]]}}}\n",
        "utf-8",
    )
    done = run_sim("scenario", str(suite))
    assert done.returncode == 2
    assert done.stdout == ""
    for part in ("wrong/a: prices", "wrong/b: title", "prices are above 0"):
        assert part in done.stderr


def test_a_junit_file_is_written(tmp_path):
    path = tmp_path / "out" / "junit.xml"
    done = run_sim("scenario", "life/quiet", "--venue", "binance", "--junit", str(path))
    assert done.returncode == 0
    assert 'name="life/quiet [binance sim seed 1]"' in path.read_text("utf-8")


def test_the_published_schema_is_the_one_that_the_code_makes():
    published = Path(__file__).parents[2] / "docs" / "schema" / "scenario.schema.json"
    assert run_sim("schema").stdout == published.read_text("utf-8")


def test_what_only_a_run_would_find_is_told_with_the_rest_before_anything_runs(tmp_path):
    suite = tmp_path / "deep.yaml"
    suite.write_text(
        'suite: deep\nscenarios:\n  - name: a\n    title: "x"\n    venues: [binance]\n'
        "    settings: {LEVERAGE: 0, NOPE: 1}\n"
        "    prices: {BTCUSDT: {path: [[0, 100.05]]}, ZZZUSDT: {path: [[0, 1]]}}\n"
        "    faults: [{fault: rejct}, {fault: ack_delay, dt: soon}]\n    legs: {reqest: 1ms}\n",
        "utf-8",
    )
    done = run_sim("scenario", str(suite))
    assert done.returncode == 2
    for part in (
        "LEVERAGE=0: must be a whole number from 1 to 125", "nope: no such setting",
        "ZZZUSDT: not a known one", "faults.0: Invalid value 'rejct'", "one of ack_delay, ack_drop",
        "faults.1: 'soon' is no duration", "legs.reqest: no such leg",
    ):  # fmt: skip
        assert part in done.stderr


def test_a_file_that_is_wrong_as_a_whole_still_tells_what_is_wrong_inside(tmp_path):
    suite = tmp_path / "both.yaml"
    suite.write_text(
        'suite: both\nowner: me\nscenarios:\n  - {name: a, title: "x", prices: {}}\n', "utf-8"
    )
    done = run_sim("scenario", str(suite))
    assert done.returncode == 2
    for part in ("owner: no such field", "both/a: prices"):
        assert part in done.stderr


def test_an_output_without_a_folder_is_refused_before_anything_runs(tmp_path):
    missing, folder = tmp_path / "no" / "a.journal", tmp_path
    done = run_sim("scenario", "life/quiet", "--venue", "binance", "--journal", str(missing),
                   "--timeline", str(folder), "--junit", str(folder))  # fmt: skip
    assert done.returncode == 2
    for part in ("--journal", "make it first", "--timeline", "--junit", "is a folder"):
        assert part in done.stderr


def test_the_line_that_reproduces_a_scenario_of_ones_own_runs_it(tmp_path):
    suite = tmp_path / "my own.yaml"
    suite.write_text(
        'suite: mine\nscenarios:\n  - name: one\n    title: "x"\n    duration: 1m\n'
        "    venues: [binance]\n    prices: {BTCUSDT: {path: [[0, 100]]}}\n",
        "utf-8",
    )
    told = json.loads(run_sim("scenario", str(suite), "--json").stdout)
    words = shlex.split(told["scenarios"][0]["reproduce"].partition("  #")[0])[2:]
    again = json.loads(run_sim(*words, "--json").stdout)
    assert again["digest"] == told["digest"]
