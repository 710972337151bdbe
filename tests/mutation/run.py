"""Make small mistakes in the trading logic and see whether a scenario notices.

    python -m tests.mutation.run [--file GLOB] [--sample N --seed S] [-j 2] [--json FILE]

Every mutant is planted in a forked process, which runs the tests and scenarios that reach its
line, until one fails. Exit codes: 0 done; 1 below `--floor`; 2 wrong arguments.
docs/mutation.md says more.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tests.mutants.table import mutant as planted_rule
from tests.mutants.table import rules
from tests.mutation.covered import measure, scenarios
from tests.mutation.explained import explained
from tests.mutation.mutants import ROOT, Mutant, Source, left_out, read_source
from tests.mutation.trial import KILLED, SURVIVED, UNREACHED, Outcome, Trials, is_of, load
from tests.mutation.unit import UnitTest, inside_pytest

PACKAGES = ("kernel/trade", "kernel/protect", "kernel/signals", "kernel/sync")
USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    args = _parser().parse_args(arguments)
    sources = read_all()
    mutants = _chosen([one for source in sources.values() for one in source.mutants], args)
    if not mutants:
        print("no mutant fits", file=sys.stderr)
        return USAGE
    if args.list:
        for mutant in mutants:
            print(mutant.name)
        return 0
    if args.no_tests:
        return _work(args, mutants, sources, [])
    return inside_pytest(lambda tests: _work(args, mutants, sources, tests))


def _work(
    args: argparse.Namespace,
    mutants: list[Mutant],
    sources: dict[str, Source],
    tests: list[UnitTest],
) -> int:
    played, reasons = [] if args.near else scenarios(), explained()
    if args.near:
        files_of = dict.fromkeys(one.file for one in mutants)
        tests = [one for one in tests if any(is_of(one.name, file) for file in files_of)]
    for checks, kind in ((played, "scenarios"), (tests, "tests")):
        if checks:
            measure(checks, kind, args.j)
    trials = Trials(played, tests, sources, first=_scenarios_of_rules(), runs=args.runs,
                    near=args.near)  # fmt: skip
    outcomes = _run(trials, mutants, args, lambda one: _tell_one(one, sources, reasons))
    _tell(outcomes, sources, reasons)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(_as_json(outcomes), indent=1), encoding="utf-8")
    return 1 if score(outcomes, reasons) < args.floor else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation.run", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--file", action="append", default=[], metavar="GLOB",
                        help="only in these files: 'kernel/signals/*' (repeatable)")  # fmt: skip
    parser.add_argument("--name", action="append", default=[], metavar="TEXT",
                        help="only mutants whose name contains this (repeatable)")  # fmt: skip
    parser.add_argument("--sample", type=int, metavar="N", help="only so many, drawn by --seed")
    parser.add_argument("--seed", default="1", help="of the sample, any text (default 1)")
    parser.add_argument("--again", type=Path, metavar="FILE",
                        help="only those not killed in an earlier --json")  # fmt: skip
    parser.add_argument("--runs", type=int, default=40, metavar="K",
                        help="at most K scenarios a mutant, 2 K for one that changes a journal,"
                             " and K tests; 0: all that reach it (default 40)")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=0, metavar="M",
                        help="begin no mutant after M minutes; what was done counts")  # fmt: skip
    parser.add_argument("-j", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes")
    parser.add_argument("--floor", type=float, default=0.0, metavar="PERCENT",
                        help="fail below this score")  # fmt: skip
    parser.add_argument("--no-tests", action="store_true", help="scenarios alone judge")
    parser.add_argument("--near", action="store_true",
                        help="the quick tests of each module alone judge")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="only print the names")
    return parser


def files(packages: Sequence[str] = PACKAGES) -> list[str]:
    """The modules that are mutated, in order."""
    found = [path for package in packages for path in sorted((ROOT / package).glob("*.py"))]
    return [str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py"]


def read_all() -> dict[str, Source]:
    """Every module with its mutants, by file."""
    whole = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "kernel").rglob("*.py"))]
    defaults = left_out(whole)
    for file in files():
        importlib.import_module(file.removesuffix(".py").replace("/", "."))
    return {file: read_source(file, defaults) for file in files()}


def _chosen(mutants: list[Mutant], args: argparse.Namespace) -> list[Mutant]:
    if args.file:
        mutants = [one for one in mutants if any(fnmatchcase(one.file, g) for g in args.file)]
    if args.name:
        mutants = [one for one in mutants if any(text in one.name for text in args.name)]
    if args.again:
        earlier = load(args.again)
        mutants = [one for one in mutants if earlier.get(one.name, {}).get("state") != KILLED]
    if args.sample:
        mutants = sample(mutants, args.sample, args.seed)
    return mutants


def sample(mutants: Sequence[Mutant], count: int, seed: str) -> list[Mutant]:
    """The mutants whose names draw the lowest lots: an edit elsewhere does not change them."""

    def lot(mutant: Mutant) -> bytes:
        return blake2b(f"{seed}|{mutant.name}".encode(), digest_size=8).digest()

    return sorted(mutants, key=lot)[:count]


def _scenarios_of_rules() -> dict[str, frozenset[str]]:
    """For each file: the scenarios of the rules whose planted mistakes are in it."""
    found: dict[str, set[str]] = {}
    for rule in rules():
        for name in rule.mutants:
            for change in planted_rule(name).changes:
                found.setdefault(change.file, set()).update(rule.scenarios)
    return {file: frozenset(names) for file, names in found.items()}


def _run(
    trials: Trials,
    mutants: list[Mutant],
    args: argparse.Namespace,
    tell: Callable[[Outcome], None],
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    began = told = time.monotonic()
    for outcome in trials.run(mutants, args.j, minutes=args.minutes):
        outcomes.append(outcome)
        tell(outcome)
        now = time.monotonic()
        if now - told > 5 or len(outcomes) == len(mutants):
            told = now
            killed = sum(1 for one in outcomes if one.state == KILLED)
            print(
                f"{len(outcomes)} of {len(mutants)} mutants, {killed} killed, {now - began:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    place = {mutant.name: number for number, mutant in enumerate(mutants)}
    return sorted(outcomes, key=lambda one: place[one.mutant.name])


def score(outcomes: Sequence[Outcome], reasons: dict[str, str]) -> float:
    """Percent killed of those that are not explained."""
    counted = [one for one in outcomes if one.state == KILLED or one.mutant.name not in reasons]
    return 100 * sum(1 for one in counted if one.state == KILLED) / max(len(counted), 1)


def _tell(
    outcomes: Sequence[Outcome], sources: dict[str, Source], reasons: dict[str, str]
) -> None:
    print()
    row = "{:<36} {:>7} {:>9} {:>8} {:>8} {:>7} {:>9} {:>9} {:>7}"
    print(row.format("file", "mutants", "killed by", "by tests", "survived", "noticed",
                     "unreached", "explained", "score"))  # fmt: skip
    print(row.format("", "", "scenarios", "", "", "", "", "", ""))
    for file in [*sources, ""]:
        part = [one for one in outcomes if not file or one.mutant.file == file]
        if part:
            print(row.format(file or "all", *_row(part, reasons)))
    hows = Counter(one.how for one in outcomes if one.state == KILLED)
    print(f"\nkilled by: {', '.join(f'{name} {count}' for name, count in hows.most_common())}")
    print(f"not made outside of functions: {sum(one.skipped for one in sources.values())}")
    stale = [name for name in reasons if not _exists(name, sources)]
    killed = [one.mutant.name for one in outcomes
              if one.state == KILLED and one.mutant.name in reasons]  # fmt: skip
    for word, names in (("no longer there", stale), ("explained, and killed", killed)):
        for name in names:
            print(f"survivors: {word}: {name}")


def _tell_one(outcome: Outcome, sources: dict[str, Source], reasons: dict[str, str]) -> None:
    """A survivor that is not explained, as soon as it is known."""
    if outcome.state != KILLED and outcome.mutant.name not in reasons:
        print("\n".join(_shown(outcome, sources[outcome.mutant.file])), flush=True)


def _exists(name: str, sources: dict[str, Source]) -> bool:
    source = sources.get(name.partition("::")[0])
    return source is not None and any(one.name == name for one in source.mutants)


def _row(part: Sequence[Outcome], reasons: dict[str, str]) -> list[str]:
    states = Counter(one.state for one in part)
    noticed = sum(1 for one in part if one.state == SURVIVED and one.noticed)
    excused = sum(1 for one in part if one.state != KILLED and one.mutant.name in reasons)
    tests = sum(1 for one in part if one.how == "test")
    counts = (len(part), states[KILLED] - tests, tests, states[SURVIVED], noticed,
              states[UNREACHED], excused)  # fmt: skip
    return [*map(str, counts), f"{score(part, reasons):.1f} %"]


def _shown(outcome: Outcome, source: Source) -> list[str]:
    """A survivor: its name, what it is, its line before and after."""
    mutant = outcome.mutant
    note = f" (journal differs in {len(outcome.noticed)} runs)" if outcome.noticed else ""
    line = source.text.splitlines()[mutant.lines[0] - 1].strip()
    return [
        f"\n{outcome.state}{note}, {outcome.ran} runs: {mutant.file}:{mutant.lines[0]}"
        f" {mutant.where} {outcome.said}".rstrip(),
        f"  {mutant.name}",
        f"    in  {line}",
        *(f"    -   {text}" for text in mutant.before.splitlines()),
        *(f"    +   {text}" for text in mutant.after.splitlines()),
    ]


def _as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {"mutants": [one.as_json() for one in outcomes]}


if __name__ == "__main__":
    sys.exit(main())
