"""One table says how serious each kind of decision is and what it reads like."""

import ast
import re
from string import Formatter

import pytest

from kernel.model.messages import Decision
from kernel.watch.kinds import CRITICAL, INFO, KINDS, LEVELS, WARNING, level_of, sentence_of
from tests.conventions.tree import ROOT

_CALLS = ("decide", "record", "_decide", "_record", "_doubt_everything")
_KIND = re.compile(r"[a-z]+(\.[a-z_]+)?")


def kinds_in_the_code() -> dict[str, str]:
    """Kind → the file that decides it: constants among the first two arguments of a decision."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "kernel").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called not in _CALLS or not node.args:
                continue
            for one in (part for arg in node.args[:2] for part in ast.walk(arg)):
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    dotted = "." in one.value or one is node.args[0]
                    if dotted and _KIND.fullmatch(one.value):
                        found[one.value] = str(path.relative_to(ROOT))
    return found


def test_every_kind_that_the_code_decides_has_an_entry() -> None:
    found = kinds_in_the_code()
    assert len(found) > 80
    assert {kind: file for kind, file in found.items() if kind not in KINDS} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_has_levels_and_a_sentence_that_reads(kind: str) -> None:
    entry = KINDS[kind]
    assert entry.level in LEVELS
    assert all(one.level in LEVELS and one.values for one in entry.exceptions)
    names = [name for _, name, spec, _ in Formatter().parse(entry.sentence) if name is not None]
    assert all(re.fullmatch("[a-z_]+", name) for name in names)
    told = sentence_of(Decision(kind=kind, cause="why"))
    assert told
    assert "{" not in told


def test_a_value_decides_where_the_kind_alone_does_not() -> None:
    sent = Decision(kind="exit.submitted", cause="x", values={"reason": "UNPROTECTED"})
    assert level_of(sent) == CRITICAL
    assert level_of(Decision(kind="exit.submitted", cause="x", values={"reason": "AGED"})) == INFO
    assert level_of(Decision(kind="venue.notice", cause="margin_call")) == CRITICAL
    rolled = Decision(kind="position.state", cause="x", values={"after": "ROLLBACK"})
    assert level_of(rolled) == CRITICAL


def test_a_kind_without_an_entry_is_told_all_the_same() -> None:
    unknown = Decision(kind="comet.seen", cause="it is bright")
    assert level_of(unknown) == WARNING
    assert sentence_of(unknown) == "comet.seen: it is bright"


def test_a_value_cannot_reach_into_the_sentence() -> None:
    sly = Decision(kind="stop.set", cause="{level.__class__}", values={"level": "{cause}"})
    assert sentence_of(sly) == "protected at {cause}: {level.__class__}"
