"""The program: no traceback whatever the output is, and nothing that it must not touch."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
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


@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_interrupted_says_what_became_of_its_journal(
    tmp_path: Path, end: signal.Signals, code: int
) -> None:
    journal = tmp_path / "run.wkj"
    command = [sys.executable, "run_sim.py", "scenario", "swarm/storm", "--venue", "bybit"]
    with subprocess.Popen(
        [*command, "--journal", str(journal)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > 50_000):
            time.sleep(0.01)
        process.send_signal(end)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert told == f"interrupted: the journal {journal} ends where the run was\n"
    shown = run_sim("journal", "show", str(journal))
    assert shown.returncode == 0
    assert "the kernel starts" in shown.stdout


def test_what_writes_no_journal_only_says_that_it_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("run_sim.cmd_schema", interrupted)
    assert main(["schema"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
