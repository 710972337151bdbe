"""What came of a run, and what is written about it: result, journal, report, timeline."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from kernel.errors import KernelError, SettingsError
from kernel.model.units import MS
from kernel.runtime.errors import TaskCrashed
from kernel.store.memory import MemoryBackend
from replay.report_html import write_report
from replay.timeline import Timeline, fact_lines
from scenarios.assembly import Assembly, assemble
from scenarios.files import Entry
from scenarios.report_build import build_report
from scenarios.report_collector import Collector
from scenarios.run import Run
from scenarios.stores import MakeBackend
from scenarios.story import story_of

PASSED, FAILED, ERROR = "passed", "failed", "error"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run. `status`: passed, failed, or error (it could not run)."""

    name: str
    venue: str
    level: str
    seed: int
    status: str
    title: str = ""
    digest: str = ""
    state_digest: str = ""
    max_unprotected_ms: int = 0
    steps: int = 0
    problems: tuple[str, ...] = ()
    story: tuple[str, ...] = ()
    """Of a run that failed: see `scenarios.story`."""
    file: str = ""
    """Where the scenario stands, unless in the suites of the project."""
    isolate: bool = False


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """Files to write about a run; None: not written."""

    journal: Path | None = None
    report: Path | None = None
    timeline: Path | None = None
    reproduce: str = ""


def run_entry(
    entry: Entry,
    venue: str,
    *,
    level: str,
    seed: int | None = None,
    outputs: Outputs | None = None,
    isolate: bool = False,
    fresh: MakeBackend = MemoryBackend,
) -> Result:
    """Run one scenario of a suite; never raises for what a scenario or the kernel does wrong.

    Raises:
        SettingsError: A file of `outputs` cannot be written.
    """
    given = seed or 0
    try:
        scenario = entry.scenario(venue)
        given = scenario.seed if seed is None else seed
        assembly = assemble(scenario, venue, seed=given, folder=entry.path.parent)
    except SettingsError as error:
        return Result(
            name=entry.name, venue=venue, level=level, seed=given, status=ERROR,
            problems=tuple(error.problems), file=entry.file,
        )  # fmt: skip
    outputs = outputs or Outputs()
    run = Run(assembly, level=level, journal=outputs.journal, backend=fresh(), isolate=isolate)
    timeline, collector = Timeline(), None
    told = outputs.report is not None or outputs.timeline is not None
    if outputs.report is not None:
        collector = Collector(run.world)
        run.driver.sinks = (collector, *run.driver.sinks)
    if told:
        run.driver.sinks = (timeline, *run.driver.sinks)
    problems = _play(run)
    if outputs.timeline is not None:
        _write_lines(outputs.timeline, timeline.lines())
    if collector is not None:
        _write_report(outputs, run, collector, problems)
    return Result(
        name=entry.name,
        venue=venue,
        level=level,
        seed=given,
        status=FAILED if problems else PASSED,
        title=scenario.title,
        digest=run.recorder.digest(),
        state_digest=run.seen.state_digest,
        max_unprotected_ms=-(-run.checker.protection.max_unprotected_ns // MS),
        steps=run.driver.steps,
        problems=tuple(problems),
        story=tuple(_story(assembly, level, run, problems)) if problems else (),
        file=entry.file,
        isolate=isolate,
    )


def _play(run: Run) -> list[str]:
    try:
        return run.play()
    except (KernelError, TaskCrashed, ArithmeticError, LookupError) as error:
        return [f"the run ended with {type(error).__name__}: {error}"]


def _story(
    assembly: Assembly, level: str, failed: Run, problems: list[str]
) -> list[str]:
    """Run it again, which gives the same run, and keep what was told until it went wrong."""
    timeline = Timeline()
    _play(Run(assembly, level=level, sinks=(timeline,)))
    found = failed.checker.violations.found  # those that the scenario allows are no problems
    first = next((one for one in found if str(one) in problems), None)
    return fact_lines(story_of(timeline.facts, problems, first))


def _write_lines(path: Path, lines: list[str]) -> None:
    if str(path) == "-":
        sys.stderr.write("\n".join(lines) + "\n")  # stdout is for the table or the JSON object
        return
    try:
        path.write_text("\n".join(lines) + "\n", "utf-8")
    except OSError as error:
        raise SettingsError([f"--timeline {path}: cannot be written: {error}"]) from error


def _write_report(
    outputs: Outputs, run: Run, collector: Collector, problems: list[str]
) -> None:
    assembly = run.assembly
    assert outputs.report is not None
    report = build_report(
        assembly.scenario.title,
        collector,
        run.checker,
        markets=assembly.setup.markets,
        settings=assembly.settings,
        start_ns=assembly.setup.start_ns,
        end_ns=assembly.end_ns,
        problems=problems,
    )
    report.notes = [f"journal digest {run.recorder.digest()}"]
    report.reproduce = outputs.reproduce
    write_report(outputs.report, report)
