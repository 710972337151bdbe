"""Tries mutants: one forked process each, which runs what reaches the mutant until it fails.

A mutant is killed when a scenario fails: an expectation misses, an invariant is violated, a task
or the kernel crashes, or a scenario needs so much time that it must be in a loop. The quick tests
of its module come before the scenarios, for they cost least; other tests of the kernel come after
them. What a test killed is counted apart.
"""

from __future__ import annotations

import gc
import heapq
import json
import multiprocessing
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.mutation.covered import Check
from tests.mutation.mutants import Mutant, Source
from tests.mutation.plant import CannotPlant, plant

LIMIT_S = 5.0
"""Processor time of a scenario or test, or five times its own where that is more."""
QUICK_S = 0.3
"""A test of the module that takes no longer is tried before any scenario, whatever the limit."""
WALL_S = 600.0
MEMORY = 6 << 30
KILLED, SURVIVED, UNREACHED, BROKEN = "killed", "survived", "unreached", "broken"
_INVARIANT = re.compile(r"I\d+ ")


@dataclass
class Outcome:
    """What came of a mutant.

    Attributes:
        state: killed, survived, unreached (nothing runs its line) or broken (not planted).
        how: Of a killed one: expectation, invariant, crash, time, or test.
        by: The scenario that killed it, with its venue, or the test.
        noticed: Of a survivor: scenarios whose journals changed all the same.
        ran: Scenarios and tests that were run.
    """

    mutant: Mutant
    state: str
    how: str = ""
    by: str = ""
    said: str = ""
    noticed: list[str] = field(default_factory=list)
    ran: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For files."""
        given = {
            "name": self.mutant.name,
            "line": self.mutant.lines[0],
            "state": self.state,
            "how": self.how,
            "by": self.by,
            "said": self.said,
            "noticed": len(self.noticed),
            "noticed_by": self.noticed[:5],
            "ran": self.ran,
            "seconds": round(self.seconds, 2),
        }
        return {name: value for name, value in given.items() if value not in ("", [], 0)}


class Trials:
    """Tries mutants against scenarios, then against tests.

    Args:
        scenarios: With what they cover.
        tests: With what they cover.
        sources: The modules of the mutants, by file.
        first: Scenarios that come early for a file: those of its rules.
        runs: So many runs at most for a mutant that changes no journal, twice as many for
            one that does, and so many tests that are not of its module; 0: all that reach it.
        near: The quick tests of the mutant's module alone judge.
    """

    def __init__(
        self,
        scenarios: Sequence[Check],
        tests: Sequence[Check],
        sources: dict[str, Source],
        first: dict[str, frozenset[str]],
        *,
        runs: int,
        near: bool = False,
    ) -> None:
        self._checks = [*scenarios, *tests]
        self._tests_from = len(scenarios)
        self._runs = runs
        self._near = near
        self._rank = ranks([(one.seconds, _points(one)) for one in scenarios])
        self._sources = sources
        self._first = first
        self._killers: dict[str, dict[int, int]] = {}
        self._lines: dict[tuple[str, int], list[int]] = {}
        self._uses: dict[str, list[int]] = {}
        for index, one in enumerate(self._checks):
            for file, lines in one.lines.items():
                for line in sorted(lines):
                    self._lines.setdefault((file, line), []).append(index)

    def reaching(self, mutant: Mutant) -> list[int]:
        """The checks that run the mutant's line, those that probably kill it first."""
        if mutant.kind == "constant":
            found = self._using(mutant)
        else:
            found = self._at(mutant.file, mutant.lines) or self._at(mutant.file, mutant.around)
        here = self._killers.get(f"{mutant.file}::{mutant.where}", {})
        near = self._killers.get(mutant.file, {})
        first = self._first.get(mutant.file, frozenset())

        def order(index: int) -> tuple[int, int, int, bool, float]:
            one, stage = self._checks[index], self._stage(index, mutant.file)
            if index >= self._tests_from:
                far, late = not is_of(one.name, mutant.file), one.seconds
            else:
                far, late = one.name.partition(" ")[0] not in first, float(self._rank[index])
            return (stage, -here.get(index, 0), -near.get(index, 0), far, late)

        if self._near:
            found = [index for index in found if self._stage(index, mutant.file) == 0]
        return sorted(found, key=order)

    def _stage(self, index: int, file: str) -> int:
        """0: a quick test of the module; 1: a scenario; 2: any other test."""
        if index < self._tests_from:
            return 1
        one = self._checks[index]
        return 0 if one.seconds <= QUICK_S and is_of(one.name, file) else 2

    def _at(self, file: str, lines: tuple[int, int]) -> list[int]:
        found: dict[int, None] = {}
        for line in range(lines[0], lines[1] + 1):
            found.update(dict.fromkeys(self._lines.get((file, line), ())))
        return list(found)

    def _using(self, mutant: Mutant) -> list[int]:
        """Checks that run a line in which the name of the constant stands."""
        key = mutant.where
        if key not in self._uses:
            word = re.compile(rf"\b{re.escape(key)}\b")
            found: dict[int, None] = {}
            for file, source in self._sources.items():
                for number, text in enumerate(source.text.splitlines(), 1):
                    if word.search(text):
                        found.update(dict.fromkeys(self._lines.get((file, number), ())))
            self._uses[key] = list(found)
        return self._uses[key]

    def run(
        self, mutants: Sequence[Mutant], processes: int, *, minutes: float = 0
    ) -> Iterator[Outcome]:
        """Outcomes as they come, so many processes at once; none begins after so many minutes."""
        until = time.monotonic() + minutes * 60 if minutes else float("inf")
        gc.collect()
        gc.freeze()
        todo = list(reversed(mutants))
        running: dict[Connection, _Trial] = {}
        while todo or running:
            if time.monotonic() > until:
                todo.clear()
            while todo and len(running) < processes:
                mutant = todo.pop()
                order = self.reaching(mutant)
                if not order:
                    yield Outcome(mutant, UNREACHED)
                    continue
                trial = _Trial(mutant, self._child(mutant, order))
                running[trial.pipe] = trial
            for pipe in wait(list(running), timeout=1.0):
                trial = running[pipe]  # type: ignore[index]
                if trial.over():
                    del running[trial.pipe]
                    yield self._ended(trial)
            for trial in running.values():
                trial.end_if_late()

    def _ended(self, trial: _Trial) -> Outcome:
        outcome = trial.outcome([one.name for one in self._checks], self._tests_from)
        if outcome.state == KILLED and trial.last is not None:
            for key in (f"{trial.mutant.file}::{trial.mutant.where}", trial.mutant.file):
                killers = self._killers.setdefault(key, {})
                killers[trial.last] = killers.get(trial.last, 0) + 1
        return outcome

    def _child(self, mutant: Mutant, order: list[int]) -> Callable[[Connection], None]:
        """What the forked process does: it sends what it begins with and, at last, its verdict."""

        def work(pipe: Connection) -> None:
            _quiet()
            try:
                plant(self._sources[mutant.file], mutant)
            except (CannotPlant, SyntaxError, ValueError, KeyError) as error:
                pipe.send(("broken", f"{type(error).__name__}: {error}"))
                return
            noticed: list[int] = []
            runs = tests = 0
            for index in order:
                stage = self._stage(index, mutant.file)
                if stage == 1:
                    runs += 1
                    if self._runs and runs > self._runs * (2 if noticed else 1):
                        continue
                elif stage == 2:
                    tests += 1
                    if self._runs and tests > self._runs:
                        break
                one = self._checks[index]
                pipe.send(("begins", index))
                signal.setitimer(signal.ITIMER_VIRTUAL, max(LIMIT_S, 5 * one.seconds))
                try:
                    problems, digest = one.run()
                except BaseException as error:  # whatever it is, somebody would have noticed
                    pipe.send(("crash", f"{type(error).__name__}: {error}"[:300]))
                    return
                if problems:
                    pipe.send(("failed", problems[0][:300]))
                    return
                if digest != one.digest:
                    noticed.append(index)
            pipe.send(("survived", noticed))

        return work


def is_of(test: str, file: str) -> bool:
    """Whether a test is in the file of tests for a module, or for the one that it was part of."""
    module, tests = Path(file).stem, Path(test.partition("::")[0]).stem.removeprefix("test_")
    return module.startswith(tests) or tests.startswith(module)


def _points(one: Check) -> frozenset[tuple[str, int]]:
    return frozenset((file, line) for file, lines in one.lines.items() for line in lines)


def ranks(given: Sequence[tuple[float, frozenset[tuple[str, int]]]]) -> list[int]:
    """The place of each run in an order that covers the most new lines a second, greedily."""
    covered: set[tuple[str, int]] = set()
    heap = [(-len(points) / max(cost, 0.001), index) for index, (cost, points) in enumerate(given)]
    heapq.heapify(heap)
    order: list[int] = []
    while heap:
        _, index = heapq.heappop(heap)
        cost, points = given[index]
        gain = -len(points - covered) / max(cost, 0.001)
        if heap and gain > heap[0][0]:
            heapq.heappush(heap, (gain, index))
            continue
        covered |= points
        order.append(index)
    places = [0] * len(given)
    for place, index in enumerate(order):
        places[index] = place
    return places


class _Trial:
    """One forked process."""

    def __init__(self, mutant: Mutant, work: Callable[[Connection], None]) -> None:
        context = multiprocessing.get_context("fork")
        self.mutant = mutant
        self.pipe, there = context.Pipe(duplex=False)
        self.last: int | None = None
        self._ran = 0
        self._verdict: tuple[str, Any] = ("", "")
        self._began = time.monotonic()
        self._process: BaseProcess = context.Process(target=_child_main, args=(work, there))
        self._process.start()
        there.close()

    def end_if_late(self) -> None:
        """A process that neither ends nor uses the processor."""
        if time.monotonic() - self._began > WALL_S:
            self._process.kill()

    def over(self) -> bool:
        """Read one message; True: it was the last."""
        try:
            word, said = self.pipe.recv()
        except EOFError:
            word, said = "", ""
        if word == "begins":
            self.last = said
            self._ran += 1
            return False
        self._verdict = (word, said)
        return True

    def outcome(self, names: list[str], tests_from: int) -> Outcome:
        """What its verdict means; call it once it is over."""
        word, said = self._verdict
        self.pipe.close()
        self._process.join()
        seconds = time.monotonic() - self._began
        by = names[self.last] if self.last is not None else ""
        base = Outcome(self.mutant, KILLED, by=by, ran=self._ran, seconds=seconds)
        match word:
            case "broken":
                base.state, base.said, base.by = BROKEN, str(said), ""
            case "survived":
                base.state, base.by = SURVIVED, ""
                base.noticed = [names[index] for index in said]
            case "crash":
                base.how, base.said = "crash", str(said)
            case "failed":
                base.how, base.said = _how(str(said)), str(said)
            case _:
                base.how = "time"
                base.said = f"ended by signal {-(self._process.exitcode or 0)}"
        if base.state == KILLED and self.last is not None and self.last >= tests_from:
            base.how = "test"
        return base


def _child_main(work: Callable[[Connection], None], pipe: Connection) -> None:
    work(pipe)
    pipe.close()
    os._exit(0)  # nothing of the parent is to be cleaned up here


def _quiet() -> None:
    """No words, bounded memory."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _how(said: str) -> str:
    if said.startswith("I20 "):
        return "crash"
    if _INVARIANT.match(said):
        return "invariant"
    return "crash" if said.startswith("the run ended with") else "expectation"


def load(path: Any) -> dict[str, dict[str, Any]]:
    """Outcomes of an earlier run, by the names of the mutants."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a path from the command line
        return {one["name"]: one for one in json.load(file)["mutants"]}
