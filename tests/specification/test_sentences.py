"""No sentence of the specification is left without a rule, a test or a reason."""

from __future__ import annotations

import pytest

from tests.mutants.table import ROOT, rules
from tests.specification.sentences import (
    SECTIONS,
    Answer,
    Sentence,
    answers,
    sentences,
    specification,
)

_EXAMPLE = """## 4. Stops
- **One owner.** Each position has one level: the first stop, 1.5 wide.

| a | b |
| --- | --- |
| x. Y | z |
## 13. Operation
Never read.
"""


def test_a_text_is_cut_at_sentences_and_rows() -> None:
    found = sentences(_EXAMPLE)
    assert [one.text for one in found] == [
        "**One owner.** Each position has one level: the first stop, 1.5 wide.",
        "| a | b |",
        "| x. Y | z |",
    ]
    assert found[0].begins == "One owner. Each position has one level: the"


def test_spaces_do_not_change_a_digest_and_words_do() -> None:
    assert Sentence(1, "a  b").digest == Sentence(1, "a b").digest
    assert Sentence(1, "a b").digest != Sentence(1, "a c").digest


def test_every_section_is_answered() -> None:
    assert tuple(dict.fromkeys(one.section for one in answers())) == SECTIONS


@pytest.mark.parametrize("answer", answers(), ids=lambda one: f"{one.section}-{one.digest}")
def test_every_answer_names_what_exists(answer: Answer) -> None:
    known = [rule.rule_id for rule in rules()]
    assert answer.rows or answer.tests or answer.because, f"nothing holds: {answer.begins}"
    assert [row for row in answer.rows if row not in known] == []
    for test in answer.tests:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), test


def test_every_row_of_the_rules_answers_a_sentence() -> None:
    used = [row for answer in answers() for row in answer.rows]
    read = [rule.rule_id for rule in rules() if int(rule.rule_id.split(".")[0]) in SECTIONS]
    assert [row for row in read if row not in used] == []


def test_every_sentence_of_the_specification_has_an_answer_and_the_other_way_round() -> None:
    path = specification()
    if path is None:
        pytest.skip("the specification is not on this machine: set SPEC_FILE to check against it")
    wanted = [(one.section, one.digest) for one in sentences(path.read_text("utf-8"))]
    given = [(one.section, one.digest) for one in answers()]
    assert [one for one in wanted if one not in given] == []
    assert [one for one in given if one not in wanted] == []
