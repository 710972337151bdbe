"""The player: the same inputs give the same bytes, in any process, folder and year."""

import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernel.errors import SettingsError
from kernel.model.candle import Candle
from kernel.model.messages import Decision, ExtremesRead, PriceRead, QuoteRead, Read, StepResult
from kernel.model.orders import PriceSource
from kernel.model.units import TsNs
from replay.journal import JournalReader, Recorder
from replay.played import DECISIONS, EXHAUSTED, IDENTICAL, MECHANICS, difference_lines
from replay.player import JournalExhausted, JournalPrices, Player
from tests.replay.recorded import record

REPOSITORY = Path(__file__).parents[2]
ELSEWHERE = """
import runpy, sys
from freezegun import freeze_time

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("venues.sim", "scenarios", "numpy")):
            raise ImportError(f"{name} does not exist here")

sys.meta_path.insert(0, Block())
sys.path.insert(0, sys.argv[1])
program = sys.argv[1] + "/run_sim.py"
sys.argv = [program, "journal", "replay", sys.argv[2]]
with freeze_time("2031-03-03 03:33:33"):
    runpy.run_path(program, run_name="__main__")
"""


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "demo.journal"
    record(path)
    return path


def rewritten(path: Path, source: Path, change: Any) -> Path:
    """A journal with each record's (input, effects, decisions, reads) as `change` returns it."""
    reader = JournalReader(source)
    with Recorder(path, reader.header) as recorder:
        for one in reader.records():
            given = change(one)
            if given is not None:
                recorder.step(given[0], StepResult(*given[1:]))
    return path


def same(one: Any) -> tuple[Any, ...]:
    return one.input, one.effects, one.decisions, one.reads


@pytest.mark.parametrize("level", ["sim", "wire"])
@pytest.mark.parametrize(("venue", "deaths"), [("binance", 0), ("bybit", 0), ("binance", 3)])
def test_a_journal_replays_bit_for_bit(
    level: str, venue: str, deaths: int, tmp_path: Path
) -> None:
    path = tmp_path / "j"
    made = record(path, venue=venue, deaths=deaths, level=level)
    played = Player(JournalReader(path)).play()
    assert played.verdict == IDENTICAL
    assert played.digest == made.digest == JournalReader(path).digest()
    assert played.state_digest == made.state_digest
    assert played.records == made.steps
    assert made.crashes == deaths


def test_a_journal_replays_without_data_venues_and_in_another_year(
    journal: Path, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere" / "moved.journal"
    place.parent.mkdir()
    shutil.copy(journal, place)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(REPOSITORY), str(place)],
        cwd=place.parent,
        env={"PYTHONHASHSEED": "12345", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "identical" in done.stdout
    assert JournalReader(journal).digest() in done.stdout


def test_a_torn_journal_plays_to_its_last_whole_record(journal: Path, tmp_path: Path) -> None:
    path = tmp_path / "torn"
    path.write_bytes(journal.read_bytes()[:-100])
    played = Player(JournalReader(path)).play()
    assert played.verdict == IDENTICAL
    assert played.torn_bytes > 0


def test_another_decision_is_named_with_record_cause_and_values(
    journal: Path, tmp_path: Path
) -> None:
    seen: list[Decision] = []

    def change(one: Any) -> tuple[Any, ...]:
        decisions = list(one.decisions)
        for place, decision in enumerate(decisions):
            if decision.kind == "stop.set" and not seen:
                seen.append(decision)
                values = decision.values | {"level": "1.5"}
                decisions[place] = msgspec.structs.replace(decision, values=values)
        return one.input, one.effects, decisions, one.reads

    played = Player(JournalReader(rewritten(tmp_path / "j", journal, change))).play()
    assert played.verdict == DECISIONS
    assert played.first is not None
    told = "\n".join(difference_lines(played.first))
    assert "level=1.5" in told
    assert f"level={seen[0].values['level']}" in told
    assert seen[0].cause in told
    assert f"record {played.first.index}" in told


def test_a_missing_decision_is_a_difference(journal: Path, tmp_path: Path) -> None:
    def change(one: Any) -> tuple[Any, ...]:
        kept = [decision for decision in one.decisions if decision.kind != "wave.selected"]
        return one.input, one.effects, kept, one.reads

    played = Player(JournalReader(rewritten(tmp_path / "j", journal, change))).play()
    assert played.verdict == DECISIONS
    assert played.first is not None
    assert "wave.selected" in str(played.first.actual)


def test_mechanics_alone_differ_strictly_and_not_by_decision(
    journal: Path, tmp_path: Path
) -> None:
    def change(one: Any) -> tuple[Any, ...]:
        kept = [effect for effect in one.effects if not effect.key.startswith("watch")]
        return one.input, kept, one.decisions, one.reads

    path = rewritten(tmp_path / "j", journal, change)
    assert Player(JournalReader(path)).play().verdict == MECHANICS
    loose = Player(JournalReader(path), strict=False).play()
    assert loose.verdict == MECHANICS
    assert loose.records == Player(JournalReader(journal)).play().records


def test_a_read_that_the_journal_lacks_is_exhaustion_and_not_a_difference(
    journal: Path, tmp_path: Path
) -> None:
    def change(one: Any) -> tuple[Any, ...]:
        kept = [read for read in one.reads if read.args[0] != "quote"]
        return one.input, one.effects, one.decisions, kept

    path = rewritten(tmp_path / "j", journal, change)
    played = Player(JournalReader(path), strict=False).play()
    assert played.verdict == EXHAUSTED
    assert played.first is not None
    assert "quote binance" in str(played.first.actual)
    assert "journal exhausted" in "\n".join(difference_lines(played.first))


def test_a_request_that_the_journal_lacks_is_exhaustion(journal: Path, tmp_path: Path) -> None:
    def change(one: Any) -> tuple[Any, ...]:
        kept = [effect for effect in one.effects if "positions" not in effect.key]
        return one.input, kept, one.decisions, one.reads

    path = rewritten(tmp_path / "j", journal, change)
    played = Player(JournalReader(path), strict=False).play()
    assert played.verdict == EXHAUSTED
    assert played.first is not None
    assert "positions" in str(played.first.actual)


def test_a_journal_without_its_start_is_refused(journal: Path, tmp_path: Path) -> None:
    path = rewritten(tmp_path / "j", journal, lambda one: same(one) if one.index else None)
    with pytest.raises(SettingsError, match="no start"):
        Player(JournalReader(path)).play()


def test_settings_that_this_code_does_not_know_are_named(journal: Path, tmp_path: Path) -> None:
    header = msgspec.structs.replace(
        JournalReader(journal).header, settings='{"no_such_setting": 1}'
    )
    path = tmp_path / "j"
    with Recorder(path, header):
        pass
    with pytest.raises(SettingsError, match=r"(?i)no_such_setting: no such setting"):
        Player(JournalReader(path))


@pytest.mark.parametrize(("field", "value"), [("level", "socket"), ("venues", ("nowhere",))])
def test_a_header_with_an_unknown_level_or_venue_is_refused(
    field: str, value: Any, journal: Path, tmp_path: Path
) -> None:
    reader = JournalReader(journal)
    header = msgspec.structs.replace(reader.header, **{field: value})
    with Recorder(tmp_path / "j", header) as recorder:
        first = next(reader.records())
        recorder.step(first.input, StepResult(first.effects, first.decisions, first.reads))
    with pytest.raises(SettingsError, match=f"{field.removesuffix('s')} .* in the header"):
        Player(JournalReader(tmp_path / "j")).play()


def test_reads_are_served_in_their_order_and_exactly() -> None:
    prices = JournalPrices()
    prices.turn_to(
        [
            Read(("last", "v", "S", "MARK"), ("1.10", "5")),
            Read(("quote", "v", "S"), ("1", "2", "3", "4", "6")),
            Read(("extremes", "v", "S", "LAST", "9"), ("1", "2", "3", "1", "7")),
            Read(("candles", "v", "S", "LAST", "5", "2"), tuple("524130" + "933331")),
        ]
    )
    one, two, three, four = (Decimal(number) for number in "1234")
    assert prices.last("v", "S", PriceSource.MARK) == PriceRead(Decimal("1.10"), TsNs(5))
    assert prices.quote("v", "S") == QuoteRead(one, two, three, four, TsNs(6))
    extremes = prices.extremes("v", "S", PriceSource.LAST, TsNs(9))
    assert extremes == ExtremesRead(one, two, TsNs(3), True, TsNs(7))
    assert prices.candles("v", "S", PriceSource.LAST, 5, 2) == (
        Candle(TsNs(5), two, four, one, three, False),
        Candle(TsNs(9), three, three, three, three, True),
    )
    with pytest.raises(JournalExhausted, match="quote v S"):
        prices.quote("v", "S")
    assert prices.missing == "quote v S"

