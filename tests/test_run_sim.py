"""The program: no traceback whatever the output is, and nothing that it must not touch."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from replay.outputs import write_whole
from run_sim import main
from scenarios.replay_cli import without_secrets
from tests.scenarios.programs import ROOT, run_sim

RUN = ("scenario", "life/quiet", "--venue", "binance")


def test_a_device_is_written_through_and_stays_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_is_written_through_and_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    (tmp_path / ".page.partial").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "page", b"new")
    assert not (tmp_path / "page").exists()


def test_an_output_that_cannot_be_written_ends_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*RUN, "--junit", str(tmp_path)]) == 2
    assert f"--junit {tmp_path}: is a folder" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_text("x")
    data = tmp_path / "binance" / "BTCUSDT-1m-20250504-20250504.csv"
    data.parent.mkdir()
    data.write_text("open_time,open,high,low,close,volume\n1746316800000,1,1,1,1,1\n")
    assert main(["data", "import", str(data), "--out", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "run_sim.py", "scenario", "--list"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == 0


def test_a_seed_that_no_scenario_could_have_is_refused() -> None:
    done = run_sim(*RUN, "--seed", "-1")
    assert done.returncode == 2
    assert "-1: must be a whole number from 0" in done.stderr


def test_every_problem_of_serve_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["--port", "70000", "--deposit", "nan", "--step-bps", "-1", "--market", "X=1"]
    assert main(["serve", "binance", *wrong]) == 2
    told = capsys.readouterr().err
    for part in ("--port 70000", "--deposit NaN", "--step-bps -1", "--market X=1"):
        assert part in told


def test_the_line_that_reproduces_a_replay_shows_no_secret() -> None:
    given = ["--set", "BYBIT_API_SECRET=s3", "--set=bybit_api_key=s3", "--set", "LEVERAGE=3"]
    shown = without_secrets(given)
    assert "s3" not in json.dumps(shown)
    assert shown[-2:] == ["--set", "LEVERAGE=3"]
