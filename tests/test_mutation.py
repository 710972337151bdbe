"""The mutation run: which mistakes it makes, that they are really planted, how it judges."""

from __future__ import annotations

import ast
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from tests.mutation import covered, explained, mutants, plant, run, trial
from tests.mutation.mutants import Mutant, Source
from tests.mutation.operators import Known

FILE = "kernel/planted_here.py"


def source_of(text: str, **names: object) -> Source:
    """A module that is not in the repository, with its mutants."""
    source = Source(FILE, dedent(text), ast.parse(dedent(text)))
    known = Known(names, {"ask": frozenset({"timeout"})})
    source.mutants = list(mutants._Walk(source, known).module())
    mutants._name(source.mutants)
    return source


def changes(text: str, **names: object) -> list[str]:
    return [f"{one.before} -> {one.after}" for one in source_of(text, **names).mutants]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = a < b", ["a < b -> a <= b", "a < b -> a >= b"]),
        ("x = a is None", ["a is None -> a is not None"]),
        ("x = a and b", ["a and b -> a or b", "a and b -> b", "a and b -> a"]),
        ("x = not a", ["not a -> a"]),
        ("x = a - b", ["a - b -> a + b"]),
        ("x = -a", ["-a -> a"]),
        ("x = 0", ["0 -> 1"]),
        ("x = 1", ["1 -> 0", "1 -> 2"]),
        ("x = 40 * SECOND", ["40 -> 20", "40 -> 80"]),
        ("x = SECOND", ["SECOND -> SECOND * 2"]),
        ("x = ZERO", ["ZERO -> ZERO + 1"]),
        ("x = True", ["True -> False"]),
        ("x = Decimal('0.5')", ["Decimal('0.5') -> Decimal('1.0')"]),
        ("x = min(a, b)", ["min(a, b) -> max(a, b)"]),
        ("x = a[1:]", ["1: -> :", "1 -> 0", "1 -> 2"]),
        ("x = ask(a, timeout=b, who=c)", ["ask(a, timeout=b, who=c) -> ask(a, who=c)"]),
        ("a.x = b", ["a.x = b -> nothing"]),
        ("go(a)", ["go(a) -> nothing"]),
        ("await go(a)", ["await go(a) -> nothing"]),
        ("a += b", ["a += b -> a -= b", "a += b -> nothing"]),
        ("x = a if b else c", ["a if b else c -> a if True else c",
                               "a if b else c -> a if False else c"]),
        ("x = f'{a + b}'", []),
        ("x = 'a' + b", []),
        ("x: dict[str, 1] = a", []),
        ("assert a < b", []),
        ("self.decide('kind', a < b)", ["self.decide('kind', a < b) -> nothing"]),
        ("raise ValueError(a < b)", ["raise ValueError(a < b) -> nothing"]),
    ],
)  # fmt: skip
def test_each_mistake_is_made_where_it_can_be_and_nowhere_else(
    line: str, expected: list[str]
) -> None:
    text = f"async def f(a, b, c):\n    '''Says 1.'''\n    {line}\n    return a"
    assert changes(text) == expected


def test_a_member_becomes_another_member_of_its_enumeration() -> None:
    from kernel.model.orders import Side

    text = "def f():\n    return Side.BUY"
    assert changes(text, Side=Side) == ["Side.BUY -> Side.SELL"]


def test_a_returned_value_becomes_another_of_its_type() -> None:
    assert changes("def f(a) -> bool:\n    return a") == ["return a -> return not a"]
    assert changes("def f(a) -> X | None:\n    return a") == ["return a -> return None"]
    assert changes("def f(a) -> Decimal:\n    return a") == ["return a -> return -a"]
    assert changes("def f(a) -> tuple[X, ...]:\n    return a") == ["return a -> return a[:0]"]
    assert changes("def f(a):\n    return a") == []


def test_an_early_return_can_be_missing_and_the_last_one_cannot() -> None:
    text = "def f(a):\n    if a:\n        return\n    return a"
    assert "return -> nothing" in changes(text)
    assert "return a -> nothing" not in changes(text)


def test_a_name_stays_while_other_lines_of_the_function_change() -> None:
    before = source_of("def f(a, b):\n    return a < b")
    after = source_of("# more\ndef f(a, b):\n    if a > 5:\n        return 3\n    return a < b")
    names = [one.name for one in after.mutants]
    assert [one.name for one in before.mutants if one.name in names] == [
        one.name for one in before.mutants
    ]
    assert len(names) == len(dict.fromkeys(names))


def test_a_constant_that_feeds_another_one_is_counted_and_not_changed() -> None:
    source = source_of("A = 5\nB = A * 2\ndef f():\n    return A + B")
    assert [one.where for one in source.mutants if one.kind == "constant"] == ["B", "B", "B"]
    assert source.skipped == 2


# ---------------------------------------------------------------- planting

EXAMPLE = """
    from __future__ import annotations
    import functools

    LIMIT = 300

    def plain(a: Missing) -> bool:
        return a < LIMIT

    def given(a, b=5):
        return a + b

    def generic[T](a: T) -> T:
        return pick(a, 0)

    def pick(a, place):
        return (a, None)[place]

    class Base:
        def __init__(self) -> None:
            self.seen = 7

    class Thing(Base):
        def __init__(self) -> None:
            super().__init__()
            self.seen += 1

        @property
        def double(self) -> int:
            return self.seen * 2

        @staticmethod
        def fixed() -> int:
            return 11

        @functools.lru_cache
        def kept(self) -> int:
            return 13

        def __private(self) -> int:
            return 17

        def asked(self) -> int:
            return self.__private() + 1
"""


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> tuple[Source, ModuleType]:
    module = ModuleType("kernel.planted_here")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = source_of(EXAMPLE)
    exec(compile(source.text, str(mutants.ROOT / FILE), "exec"), vars(module))
    return source, module


def chosen(source: Source, where: str, change: str) -> Mutant:
    (found,) = [
        one
        for one in source.mutants
        if one.where == where and f"{one.before} -> {one.after}" == change
    ]
    return found


@pytest.mark.parametrize(
    ("where", "change", "seen", "values"),
    [
        ("plain", "a < LIMIT -> a >= LIMIT", lambda m: m.plain(1), (True, False)),
        ("given", "5 -> 6", lambda m: m.given(1), (6, 7)),
        ("generic", "0 -> 1", lambda m: m.generic(4), (4, None)),
        ("LIMIT", "300 -> 150", lambda m: m.plain(200), (True, False)),
        ("Thing.__init__", "self.seen += 1 -> nothing", lambda m: m.Thing().seen, (8, 7)),
        ("Thing.__init__", "super().__init__() -> nothing", lambda m: hasattr(m.Thing, "x"),
         (False, False)),
        ("Thing.double", "2 -> 3", lambda m: m.Thing().double, (16, 24)),
        ("Thing.fixed", "11 -> 22", lambda m: m.Thing.fixed(), (11, 22)),
        ("Thing.kept", "13 -> 26", lambda m: m.Thing().kept(), (13, 26)),
        ("Thing.asked", "1 -> 0", lambda m: m.Thing().asked(), (18, 17)),
    ],
)  # fmt: skip
def test_a_mutant_is_seen_by_whoever_holds_the_function(
    example: tuple[Source, ModuleType],
    where: str,
    change: str,
    seen: Callable[[ModuleType], object],
    values: tuple[object, object],
) -> None:
    source, module = example
    before, after = values
    assert seen(module) == before
    plant.plant(source, chosen(source, where, change))
    assert seen(module) == after


def test_a_constant_changes_in_the_modules_that_imported_it(
    example: tuple[Source, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, module = example
    other = ModuleType("kernel.planted_there")
    vars(other)["LIMIT"] = module.LIMIT
    monkeypatch.setitem(sys.modules, other.__name__, other)
    plant.plant(source, chosen(source, "LIMIT", "300 -> 600"))
    assert (vars(module)["LIMIT"], vars(other)["LIMIT"]) == (600, 600)


def test_every_mutant_of_the_kernel_has_a_name_of_its_own() -> None:
    names = [one.name for source in run.read_all().values() for one in source.mutants]
    assert len(names) > 5000
    assert len(names) == len(dict.fromkeys(names))


# ---------------------------------------------------------------- judging


@dataclass
class Fake:
    """A check that does what the test says."""

    name: str
    does: Callable[[], tuple[list[str], str]]
    seconds: float = 0.01
    digest: str = "same"
    version: str = ""
    lines: dict[str, frozenset[int]] = field(
        default_factory=lambda: {FILE: frozenset(range(1, 99))}
    )


    def run(self) -> tuple[list[str], str]:
        """See `Check.run`."""
        return self.does()


def judged(
    example: tuple[Source, ModuleType],
    does: Callable[[ModuleType], tuple[list[str], str]],
    *,
    tests: bool = False,
    lines: frozenset[int] | None = None,
) -> trial.Outcome:
    """What comes of one mutant, with one check."""
    source, module = example
    fake = Fake("one [binance]", lambda: does(module))
    if lines is not None:
        fake.lines = {FILE: lines}
    checks, units = ([], [fake]) if tests else ([fake], [])
    trials = trial.Trials(checks, units, {FILE: source}, first={}, runs=0)
    (outcome,) = trials.run([chosen(source, "plain", "a < LIMIT -> a >= LIMIT")], 1)
    assert module.plain(1), "the mutant stays in its process"
    return outcome


def test_what_fails_kills(example: tuple[Source, ModuleType]) -> None:
    outcome = judged(example, lambda m: ([] if m.plain(1) else ["opened: 0"], "same"))
    assert (outcome.state, outcome.how, outcome.by) == ("killed", "expectation", "one [binance]")
    outcome = judged(example, lambda m: ([] if m.plain(1) else ["I7 looser"], "same"))
    assert outcome.how == "invariant"
    outcome = judged(example, lambda m: ([] if m.plain(1) else ["wrong"], "same"), tests=True)
    assert outcome.how == "test"


def test_quick_tests_of_the_module_judge_before_scenarios_and_other_tests_after_them(
    example: tuple[Source, ModuleType],
) -> None:
    source, _ = example
    scenario = Fake("one [binance]", lambda: ([], "same"))
    tests = [
        Fake("tests/kernel/test_other.py::test_a", lambda: ([], "")),
        Fake("tests/kernel/test_planted_here.py::test_slow", lambda: ([], ""), seconds=9.0),
        Fake("tests/kernel/test_planted_here.py::test_b", lambda: ([], "")),
    ]
    mutant = chosen(source, "plain", "a < LIMIT -> a >= LIMIT")
    whole = trial.Trials([scenario], tests, {FILE: source}, first={}, runs=0)
    assert whole.reaching(mutant) == [3, 0, 2, 1]
    near = trial.Trials([scenario], tests, {FILE: source}, first={}, runs=0, near=True)
    assert near.reaching(mutant) == [3]


def test_a_measured_check_is_measured_again_only_where_its_version_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(covered, "FOLDER", tmp_path)
    checks = [Fake(name, lambda: ([], "made"), version="1") for name in ("a", "b")]
    covered.measure(checks, "tests", 1)
    kept = json.loads((tmp_path / "tests.json").read_text())
    assert sorted(kept) == ["a", "b"]
    assert [one.digest for one in checks] == ["made", "made"]
    checks[1].version, checks[1].does = "2", lambda: ([], "other")
    checks[0].does = lambda: ([], "never asked")
    covered.measure(checks, "tests", 1)
    assert [one.digest for one in checks] == ["made", "other"]


def test_an_error_kills(example: tuple[Source, ModuleType]) -> None:
    outcome = judged(example, lambda m: ([], {True: "same"}[m.plain(1)]))
    assert (outcome.state, outcome.how) == ("killed", "crash")


def test_what_never_ends_kills(
    example: tuple[Source, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "LIMIT_S", 0.2)

    def does(module: ModuleType) -> tuple[list[str], str]:
        while not module.plain(1):
            pass
        return [], "same"

    outcome = judged(example, does)
    assert (outcome.state, outcome.how) == ("killed", "time")


def test_another_journal_alone_is_noticed_and_kills_nothing(
    example: tuple[Source, ModuleType],
) -> None:
    outcome = judged(example, lambda m: ([], str(m.plain(1))))
    assert (outcome.state, outcome.noticed) == ("survived", ["one [binance]"])
    outcome = judged(example, lambda _: ([], "same"))
    assert (outcome.state, outcome.noticed) == ("survived", [])


def test_what_nothing_reaches_is_told_apart(example: tuple[Source, ModuleType]) -> None:
    outcome = judged(example, lambda _: (["never asked"], ""), lines=frozenset({1}))
    assert outcome.state == "unreached"


def test_explained_survivors_do_not_count_and_a_killed_one_does(
    example: tuple[Source, ModuleType],
) -> None:
    living = judged(example, lambda _: ([], "same"))
    killed = judged(example, lambda m: ([] if m.plain(1) else ["wrong"], "same"))
    assert run.score([living, killed], {}) == 50
    assert run.score([living, killed], {living.mutant.name: "Equal."}) == 100


def test_a_sample_is_drawn_by_names_and_seed_alone() -> None:
    source = source_of("def f(a, b):\n    return a < b and a > 5 and b > 3 and a != 7")
    first = run.sample(source.mutants, 6, "1")
    assert first == run.sample(source.mutants[::-1], 6, "1")
    assert first != run.sample(source.mutants, 6, "2")


def test_the_cheapest_new_lines_come_first() -> None:
    points = [frozenset({("f", 1)}), frozenset({("f", 1), ("f", 2)}), frozenset({("f", 3)})]
    assert trial.ranks([(1.0, points[0]), (1.0, points[1]), (0.1, points[2])]) == [2, 1, 0]


def test_every_explanation_is_a_sentence_and_names_mutants() -> None:
    for name, reason in explained.explained().items():
        assert name.count("::") == 2, name
        assert len(reason.split()) > 4, reason


def test_the_processes_of_a_run_are_children_of_this_one_and_end(
    example: tuple[Source, ModuleType],
) -> None:
    before = multiprocessing.active_children()
    outcome = judged(example, lambda _: ([f"child of {os.getppid()}"], "same"))
    assert outcome.said == f"child of {os.getpid()}"
    assert multiprocessing.active_children() == before
