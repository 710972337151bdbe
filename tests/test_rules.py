"""docs/rules.md, its mutants and its scenarios belong together."""

from __future__ import annotations

import re

import pytest

from scenarios.files import read_suites
from tests.mutants import run
from tests.mutants.table import ROOT, RULES, Change, Mutant, Rule, mutant, mutant_names, rules

NAMED_BY_THE_OWNER = (
    "stop-on-the-wrong-side",
    "stop-not-placed-again",
    "entry-resent-under-a-new-id",
    "trailing-moves-backwards",
    "wave-executed-twice",
    "second-position-on-a-symbol",
    "stop-left-after-close",
    "one-poll-only",
    "drift-inverted",
    "repair-loosens-a-trailed-stop",
    "page-one-taken-for-the-whole-list",
)
EXAMPLES_BY_THE_OWNER = (
    "waves/owners-top-up",
    "ratchet/owners-example",
    "adversity/fill-delay",
    "adversity/visibility-lag",
    "adversity/order-limit",
    "adversity/stop-rejected",
)
_TEST = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`")


def _key(rule_id: str) -> list[tuple[int, str]]:
    parts = re.findall(r"[0-9]+|[a-z]", rule_id)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def test_ids_are_unique_and_in_the_order_of_their_sections() -> None:
    ids = [rule.rule_id for rule in rules()]
    assert len(ids) == len(dict.fromkeys(ids))
    assert ids == sorted(ids, key=_key)
    sections = list(dict.fromkeys(int(rule_id.split(".")[0]) for rule_id in ids))
    assert sections[:5] == [1, 2, 3, 4, 5]
    assert sections[-1] <= 12


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.rule_id)
def test_every_row_has_a_sentence_scenarios_and_mutants(rule: Rule) -> None:
    assert rule.rule.endswith(".")
    assert rule.scenarios
    assert rule.mutants


def test_every_line_of_the_tables_is_read_as_a_row() -> None:
    lines = [line for line in RULES.read_text("utf-8").splitlines() if re.match(r"\| *[0-9]", line)]
    assert len(lines) == len(rules())


def test_every_scenario_of_a_row_exists() -> None:
    known = {entry.name: None for entry in read_suites()}
    missing = [
        f"{rule.rule_id}: {name}"
        for rule in rules()
        for name in rule.scenarios
        if name not in known
    ]
    assert missing == []


def test_every_mutant_belongs_to_one_row() -> None:
    used = [name for rule in rules() for name in rule.mutants]
    assert sorted(used) == mutant_names()


@pytest.mark.parametrize("name", mutant_names())
def test_a_mutant_can_be_planted_and_compiles(name: str) -> None:
    planted = mutant(name)
    assert planted.problem() == ""
    for change in planted.changes:
        source = planted.planted(change.file)
        assert source is not None
        assert source != (ROOT / change.file).read_text("utf-8")
        compile(source, change.file, "exec")


def test_what_the_owner_named_is_there() -> None:
    used = {name: None for rule in rules() for name in rule.mutants}
    shown = {name: None for rule in rules() for name in rule.scenarios}
    assert [name for name in NAMED_BY_THE_OWNER if name not in used] == []
    assert [name for name in EXAMPLES_BY_THE_OWNER if name not in shown] == []


def test_tests_that_the_page_names_exist() -> None:
    named = _TEST.findall(RULES.read_text("utf-8"))
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if f"def {test}(" not in (ROOT / file).read_text("utf-8")
    ]
    assert missing == []


def test_a_mutant_whose_text_is_gone_or_ambiguous_is_a_problem() -> None:
    file = "kernel/trade/stop_levels.py"
    gone = Change(file, "this text stands nowhere", "")
    often = Change(file, "return", "")
    lost = Change("kernel/nowhere.py", "", "")
    problem = Mutant("planted", (gone, often, lost)).problem()
    assert "stands 0 times" in problem
    assert "must be once" in problem
    assert "does not exist" in problem


def test_only_the_failure_of_a_scenario_kills() -> None:
    trial = run.Trial(mutant(mutant_names()[0]), ("life/quiet",))
    verdicts = {}
    for exit_code in (0, 1, 2, run.KILLED, 11):
        trial.end(exit_code)
        verdicts[exit_code] = trial.good
    assert verdicts == {0: False, 1: False, 2: False, run.KILLED: True, 11: False}


def test_scenarios_that_fail_without_a_mutant_fail_the_run() -> None:
    trial = run.Trial(None, ("life/quiet",))
    trial.end(run.KILLED)
    assert not trial.good
    trial.end(0)
    assert trial.good
