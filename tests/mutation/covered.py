"""Which scenarios and tests run which lines of the kernel, and how long each of them takes.

Lines are seen by `sys.monitoring` (PEP 669): each line tells once a run and costs nothing after
that. The map is kept under out/, each check with a hash of everything that can change it.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Protocol

from scenarios.assembly import Assembly, assemble
from scenarios.run import Run
from scenarios.runner import Choice, Job, choose
from tests.mutation.mutants import ROOT

FOLDER = ROOT / "out" / "mutation"
_READ = (("kernel", "py"), ("venues", "py"), ("replay", "py"), ("scenarios", "py"),
         ("scenarios", "yaml"))  # fmt: skip
_TOOL = 4
"""An id of `sys.monitoring` that nothing else in this process uses."""


class Check(Protocol):
    """Something that a mutant can fail.

    Attributes:
        seconds: How long it took without a mutant.
        digest: Of its journal without a mutant; "": it has none.
        lines: The lines of the kernel that it runs, by file.
        version: Of everything that decides what it does.
    """

    name: str
    seconds: float
    digest: str
    lines: dict[str, frozenset[int]]
    version: str

    def run(self) -> tuple[list[str], str]:
        """What differs from what is expected, and the digest."""


@dataclass
class Played:
    """One scenario on one venue, ready to run again and again; see `Check`."""

    name: str
    assembly: Assembly
    seconds: float = 0.0
    digest: str = ""
    lines: dict[str, frozenset[int]] = field(default_factory=dict)
    version: str = ""

    def run(self) -> tuple[list[str], str]:
        """What differs from what is expected, and the digest."""
        run = Run(self.assembly, level="sim")
        problems = run.play()
        return problems, run.recorder.digest()


def tree_hash() -> str:
    """Of every file that decides what a scenario does."""
    return files_hash(
        path for folder, ext in _READ for path in sorted((ROOT / folder).rglob(f"*.{ext}"))
    )


def files_hash(paths: Iterable[Path]) -> str:
    """Of these files and their names."""
    whole = blake2b(digest_size=12)
    for path in paths:
        whole.update(str(path.relative_to(ROOT)).encode())
        whole.update(blake2b(path.read_bytes()).digest())
    return whole.hexdigest()


def scenarios() -> list[Played]:
    """Every scenario on each of its venues.

    Raises:
        SettingsError: A suite is wrong.
    """
    version = tree_hash()
    return [_played(job, version) for job in choose(Choice())]


def measure(checks: Sequence[Check], kind: str, processes: int) -> None:
    """Find out what each of them covers; kept in a file as long as its version stays.

    Raises:
        RuntimeError: One of them fails without a mutant.
    """
    path = FOLDER / f"{kind}.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    new = [one for one in checks if kept.get(one.name, {}).get("version") != one.version]
    if new:
        seen = _seen_in_processes(new, processes)
        kept |= {one.name: part for one, part in zip(new, seen, strict=True)}
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept), encoding="utf-8")
    for one in checks:
        part = kept[one.name]
        if part["problems"]:
            raise RuntimeError(f"{one.name} fails without a mutant: {part['problems'][0]}")
        one.seconds, one.digest = part["seconds"], part["digest"]
        one.lines = {file: frozenset(lines) for file, lines in part["lines"].items()}


def _played(job: Job, version: str) -> Played:
    scenario = job.entry.scenario(job.venue)
    folder = job.entry.path.parent
    assembly = assemble(scenario, job.venue, seed=scenario.seed, folder=folder)
    return Played(f"{job.entry.name} [{job.venue}]", assembly, version=version)


def _seen_in_processes(checks: Sequence[Check], processes: int) -> list[dict[str, Any]]:
    """In processes of their own, so that this one stays as it was; in the order of the checks."""
    context = multiprocessing.get_context("fork")

    def work(pipe: Connection, share: Sequence[Check]) -> None:
        pipe.send(_see(share))

    started = []
    for number in range(processes):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(there, checks[number::processes]))
        process.start()
        there.close()
        started.append((here, process))
    found: list[dict[str, Any]] = [{} for _ in checks]
    for number, (here, process) in enumerate(started):
        found[number::processes] = here.recv()
        process.join()
    return found


def _see(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Run each check once and note the lines of the kernel that it runs."""
    prefix, monitoring = f"{ROOT}/kernel/", sys.monitoring
    lines: dict[str, set[int]] = {}

    def line(code: CodeType, number: int) -> object:
        lines.setdefault(code.co_filename.removeprefix(f"{ROOT}/"), set()).add(number)
        return monitoring.DISABLE  # until `restart_events`

    monitoring.use_tool_id(_TOOL, "mutation")
    monitoring.register_callback(_TOOL, monitoring.events.LINE, line)
    for code in _codes(prefix):
        monitoring.set_local_events(_TOOL, code, monitoring.events.LINE)
    parts = []
    for one in checks:
        lines.clear()
        monitoring.restart_events()
        began = time.process_time()
        problems, digest = one.run()
        parts.append(
            {
                "version": one.version,
                "problems": problems,
                "digest": digest,
                "seconds": round(time.process_time() - began, 4),
                "lines": {file: sorted(found) for file, found in sorted(lines.items())},
            }
        )
    monitoring.free_tool_id(_TOOL)
    return parts


def _codes(prefix: str) -> list[CodeType]:
    """The code of every function that lives in this process and comes from such a file."""
    found: list[CodeType] = []
    todo = [one.__code__ for one in gc.get_objects() if isinstance(one, FunctionType)]
    while todo:
        code = todo.pop()
        if code.co_filename.startswith(prefix):
            found.append(code)
            todo += [one for one in code.co_consts if isinstance(one, CodeType)]
    return found
