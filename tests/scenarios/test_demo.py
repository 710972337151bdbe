"""The demo: a wave, two faults, a timeline, a report, and what to look at."""

from pathlib import Path

import pytest

from run_sim import main


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_the_demo_tells_writes_and_points(
    venue: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["demo", "--venue", venue, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    for fact in (
        "stream down", "signal dropped  score_month", "signal dropped  conflicting_sides",
        "signal dropped  spread", "signal dropped  late", "trailing moved", "exit flat",
        "0 invariants broken",
    ):  # fmt: skip
        assert fact in told
    assert told.splitlines()[-1].startswith(f"Open {out / 'demo.html'} and look at ETHUSDT")
    assert (out / "demo.html").stat().st_size > 50_000
    assert main(["journal", "replay", str(out / "demo.journal")]) == 0


def test_the_demo_is_the_same_on_every_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for name in ("a", "b"):
        assert main(["demo", "--out", str(tmp_path / name)]) == 0
        out = capsys.readouterr().out
        told.append([line for line in out.splitlines() if line[:2] == "12"])
    assert told[0] == told[1]
    assert (tmp_path / "a" / "demo.journal").read_bytes() == (
        tmp_path / "b" / "demo.journal"
    ).read_bytes()


def test_a_folder_that_cannot_be_made_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "file" in capsys.readouterr().err
