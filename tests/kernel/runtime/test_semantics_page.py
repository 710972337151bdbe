import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "runtime-semantics.md"


def test_every_sentence_has_a_test_and_every_test_a_sentence():
    text = PAGE.read_text(encoding="utf-8")
    sentences = re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE)
    assert [int(number) for number, _ in sentences] == list(range(1, len(sentences) + 1))
    assert not [number for number, sentence in sentences if "`test_" not in sentence]

    named = re.findall(r"`(test_\w+)`", text)
    written = [
        name
        for path in sorted(HERE.glob("test_*.py"))
        if path.name != Path(__file__).name
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert sorted(named) == sorted(written)
