"""`run_sim.py journal`: verdicts, exit codes, what is shown, and another checkout's code."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from kernel.model.messages import StepResult
from replay.journal import JournalReader, Recorder
from run_sim import main
from tests.replay.recorded import record

REPOSITORY = Path(__file__).parents[2]
OTHER_RULE = '''

_towards_the_market = tighter_side


def tighter_side(instrument: Instrument, side: PositionSide, price: Decimal) -> Price:
    """A stop is rounded away from the market: the wrong way."""
    other = PositionSide.SHORT if side is PositionSide.LONG else PositionSide.LONG
    return _towards_the_market(instrument, other, price)
'''


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "demo.journal"
    record(path)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Another checkout: the same code at another place."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copy(REPOSITORY / "run_sim.py", root)
    for package in ("kernel", "venues", "replay", "scenarios"):
        shutil.copytree(
            REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return root


def of_other_code(path: Path, source: Path) -> Path:
    """The journal as another commit with another kernel would have recorded it."""
    reader = JournalReader(source)
    header = msgspec.structs.replace(reader.header, commit="0123456789abcdef", code="other")
    with Recorder(path, header) as recorder:
        for one in reader.records():
            recorder.step(one.input, StepResult(one.effects, one.decisions, one.reads))
    return path


def test_replay_says_identical_and_ends_with_0(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "replay", str(journal)]) == 0
    assert capsys.readouterr().out.startswith("identical: ")


def test_replay_json_is_one_object(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "replay", str(journal), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "identical"
    assert told["first"] is None
    assert told["digest"] == JournalReader(journal).digest()


def test_a_torn_journal_is_played_and_said_so(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "torn"
    path.write_bytes(journal.read_bytes()[:-7])
    assert main(["journal", "replay", str(path)]) == 0
    assert "torn tail" in capsys.readouterr().err


def test_a_flipped_byte_is_refused_with_its_place(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 16
    path = tmp_path / "flipped"
    path.write_bytes(data)
    assert main(["journal", "replay", str(path)]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert main(["journal", "show", str(path)]) == 2


def test_a_journal_of_another_commit_is_refused_with_the_way_out(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("the commit of this tree cannot be told: it is no checkout")
    path = of_other_code(tmp_path / "other", journal)
    assert main(["journal", "replay", str(path)]) == 2
    told = capsys.readouterr().err
    assert "recorded by commit 0123456789ab" in told
    assert "--other-commit" in told
    assert main(["journal", "replay", str(path), "--other-commit"]) == 0


def test_show_tells_one_fact_a_line(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "show", str(journal)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "2026-01-05"
    assert any("stop set  first stop" in line for line in lines)
    assert any("signal dropped  score_month" in line for line in lines)


def test_show_keeps_to_a_position_and_a_time(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--position", "ETHUSDT", "--from", "2026-01-05T12:30:00Z"]
    assert main(["journal", "show", str(journal), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert lines
    assert all("ETHUSDT" in line and line >= "12:30" for line in lines)


def test_show_of_a_position_that_is_not_there_says_so(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "show", str(journal), "--position", "NOSUCH"]) == 2
    assert "--position NOSUCH: nothing in the period is about it" in capsys.readouterr().err


def test_show_all_has_inputs_effects_and_reads(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "show", str(journal), "--all"]) == 0
    told = capsys.readouterr().out
    assert "→ submit/binance/" in told
    assert "? quote binance BTCUSDT" in told


def test_show_refuses_a_time_that_is_none(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "show", str(journal), "--from", "noon"]) == 2
    assert "noon" in capsys.readouterr().err


def test_the_same_code_elsewhere_decides_the_same(
    journal: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "replay", str(journal), "--against", str(checkout)]) == 0
    assert "identical" in capsys.readouterr().out


def test_a_changed_rule_is_named_by_its_first_decision(
    journal: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    levels = checkout / "kernel" / "trade" / "stop_levels.py"
    levels.write_text(levels.read_text("utf-8") + OTHER_RULE, "utf-8")
    assert main(["journal", "replay", str(journal), "--against", str(checkout)]) == 10
    told = capsys.readouterr().out
    assert "decisions differ in record" in told
    assert "stop.first" in told
    assert "cause     entry" in told
    assert "level=" in told


def test_a_change_that_asks_more_exhausts_the_journal(
    journal: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = checkout / "kernel" / "ports" / "prices.py"
    text = ports.read_text("utf-8")
    before = "        answer = self._reader.quote(venue, symbol)\n"
    assert before in text
    more = "        self._reader.last(venue, symbol, PriceSource.LAST)\n"
    ports.write_text(text.replace(before, more + before), "utf-8")
    assert main(["journal", "replay", str(journal), "--against", str(checkout)]) == 10
    assert "journal exhausted: the price read last binance" in capsys.readouterr().out


def test_against_refuses_what_is_no_checkout(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "replay", str(journal), "--against", str(tmp_path)]) == 2
    assert "must be a checkout" in capsys.readouterr().err


def test_against_tells_why_the_other_code_cannot_play(
    journal: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "kernel" / "app.py").write_text("raise SystemExit('broken on purpose')\n", "utf-8")
    assert main(["journal", "replay", str(journal), "--against", str(checkout)]) == 2
    assert "broken on purpose" in capsys.readouterr().err


def test_nothing_of_a_journal_command_needs_the_simulated_venue() -> None:
    code = "import sys, replay.journal_cli; print([m for m in sys.modules if 'venues' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
