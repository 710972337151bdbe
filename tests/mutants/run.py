"""Apply each mutant of docs/rules.md to the code and demand that its scenarios fail.

    python tests/mutants/run.py [NAME ...] [-j N]

A mutant is killed when the scenarios of its row, and they alone, fail (exit code 10). One that
survives, that cannot be applied, or whose scenarios cannot run, fails this command (exit 1), and
so does a row whose scenarios fail without any mutant: that would kill every mutant.

No file is touched: each mutant runs in a forked process that imports the code anew, with one
module's source replaced on its way in.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.mutants.table import ROOT, Mutant, Rule, mutant, rules

TIMEOUT_S = 40
KILLED = 10
CODE = ("kernel", "venues", "replay", "scenarios")
WARM = ("msgspec", "numpy", "pydantic", "yaml", "rich.console", "rich.progress", "rich.table")
"""Libraries that every run needs: imported once, before the forks."""


def main() -> int:
    """Run the mutants; print one line each and the count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="mutants to run; default: all")
    parser.add_argument("-j", type=int, default=2, help="how many at once (default 2)")
    args = parser.parse_args()
    rows = [
        (rule, mutant(name))
        for rule in rules()
        for name in rule.mutants
        if not args.names or name in args.names
    ]
    if not rows:
        print("no mutant to run", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        warm_up(folder)
        return judge(rows, args.j)


def warm_up(folder: str) -> None:
    """Import the libraries, and compile the code once for all forks, outside of the tree."""
    for name in WARM:
        importlib.import_module(name)
    sys.pycache_prefix = folder
    for package in CODE:
        compileall.compile_dir(ROOT / package, quiet=2)


def judge(rows: Sequence[tuple[Rule, Mutant]], processes: int) -> int:
    """Try each mutant, and their scenarios without any; the exit code."""
    whole = sorted({name: None for rule, _ in rows for name in rule.scenarios})
    trials = [Trial(None, whole), *(Trial(planted, rule.scenarios) for rule, planted in rows)]
    bad = 0
    for trial in finished(trials, processes):
        print(trial.line(), flush=True)
        bad += not trial.good
    print(f"{len(trials) - bad} of {len(trials)} trials as demanded, {len(rows)} of them mutants")
    return 1 if bad else 0


class Trial:
    """One run of some scenarios, with a mutant or (None) without one."""

    def __init__(self, planted: Mutant | None, scenarios: Sequence[str]) -> None:
        self.planted = planted
        self.scenarios = scenarios
        self.problem = planted.problem() if planted else ""
        self.seconds = 0.0
        self.said = ""
        self.exit_code: int | None = None
        self._started = 0.0
        self._output: IO[str] | None = None

    @property
    def good(self) -> bool:
        """Killed by its scenarios; without a mutant: all of them pass."""
        if self.problem:
            return False
        if self.planted is None:
            return self.exit_code == 0
        return self.exit_code in (KILLED, None)

    def start(self) -> BaseProcess:
        """Fork."""
        self._started = time.monotonic()
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        process = multiprocessing.get_context("fork").Process(target=self._run)
        process.start()
        return process

    def expired(self) -> bool:
        """Whether it has taken too long."""
        return self.planted is not None and time.monotonic() - self._started > TIMEOUT_S

    def end(self, exit_code: int | None) -> None:
        """The process is over; None: it was ended because it took too long."""
        self.exit_code = exit_code
        self.seconds = time.monotonic() - self._started
        if self._output is not None:
            self._output.seek(0)
            self.said = self._output.read()[-600:].strip()
            self._output.close()

    def line(self) -> str:
        """What came of it, for people."""
        if self.problem:
            return f"broken   {self.problem}"
        if self.planted is None:
            word = "pass" if self.good else f"FAIL (exit {self.exit_code})"
            return f"scenarios without a mutant {word}, {self.seconds:.1f} s{self._tail()}"
        word = "killed  " if self.good else "SURVIVED"
        note = f"{self.seconds:.1f} s" if self.exit_code is not None else "time limit"
        shown = f"{word} {self.planted.name} ({' '.join(self.scenarios)}, {note})"
        return shown if self.good else f"{shown} exit {self.exit_code}{self._tail()}"

    def _tail(self) -> str:
        """The end of what the run said, where it ended in another way than it should."""
        if self.good or (self.planted and self.exit_code == 0):
            return ""
        return "\n    " + self.said

    def _run(self) -> None:
        """In the fork: plant the mutant, run the scenarios, exit with the command's code."""
        os.chdir(ROOT)
        assert self._output is not None
        for stream in (1, 2):
            os.dup2(self._output.fileno(), stream)
        sys.dont_write_bytecode = True
        if self.planted is not None:
            sys.meta_path.insert(0, Planter(self.planted))
        from scenarios import scenario_cli

        parser = argparse.ArgumentParser()
        scenario_cli.register(parser.add_subparsers(), commit="")
        args = parser.parse_args(["scenario", "--json", *self.scenarios])
        sys.exit(args.func(args))


class Planter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the modules that a mutant touches another source."""

    def __init__(self, planted: Mutant) -> None:
        self._planted = planted

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's spec with this loader; None for every module that is not touched."""
        file = name.replace(".", "/") + ".py"
        if not any(change.file == file for change in self._planted.changes):
            return None
        return importlib.util.spec_from_file_location(name, ROOT / file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Compile and run the changed source."""
        file = module.__name__.replace(".", "/") + ".py"
        source = self._planted.planted(file) or ""
        exec(compile(source, str(ROOT / file), "exec"), module.__dict__)


def finished(trials: Sequence[Trial], processes: int) -> Iterator[Trial]:
    """The trials as they end, so many at once."""
    todo = list(trials)
    running: dict[BaseProcess, Trial] = {}
    while todo or running:
        while todo and len(running) < processes:
            trial = todo.pop(0)
            if trial.problem:
                yield trial
            else:
                running[trial.start()] = trial
        wait([process.sentinel for process in running], timeout=1)
        for process, trial in list(running.items()):
            if process.is_alive() and not trial.expired():
                continue
            late = process.is_alive()
            if late:
                process.kill()
            process.join()
            trial.end(None if late else process.exitcode)
            del running[process]
            yield trial


if __name__ == "__main__":
    sys.exit(main())
