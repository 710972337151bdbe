"""One run of one scenario: play the timeline, judge."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from kernel.errors import InvariantViolation
from kernel.model.messages import (
    Effect,
    HostReport,
    Input,
    StepResult,
    StoreLoad,
    StoreLoaded,
)
from kernel.model.units import MS
from kernel.store.backend import Backend
from kernel.store.simulated import Backup
from kernel.watch.events import EventLog
from replay.journal import Header, Recorder
from replay.outside import code_hash, commit_of, python_build
from scenarios.assembly import Assembly
from scenarios.driver import Death, Driver, Freeze, Sink
from scenarios.expectations import Verdict
from scenarios.invariants import Checker
from scenarios.observation import Observation
from scenarios.protection_checks import Limits
from scenarios.replay_run import JournalSink
from scenarios.replay_setup import instruments_hash
from scenarios.schema import After, CrashPart, Happening, HostPart, LeasePart
from scenarios.world import World
from venues.sim.agenda import RANK_MESSAGE


class Run:
    """A scenario on its way through its world.

    Args:
        assembly: Its parts.
        level: "sim" or "wire".
        journal: Where the journal goes; None: only its digest is kept.
        backend: What keeps the rows of its store; None: memory.
        sinks: More sinks; they come before the checker.
        isolate: Each kernel in a process of its own.

    Raises:
        SettingsError: The journal cannot be made.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        level: str,
        journal: Path | None = None,
        backend: Backend | None = None,
        sinks: tuple[Sink, ...] = (),
        isolate: bool = False,
    ) -> None:
        self.assembly = assembly
        self.world = World(assembly.setup, backend)
        self.checker = Checker(
            self.world,
            assembly.settings,
            Limits(
                faults=assembly.has_faults,
                unobservable_ns=assembly.scenario.unobservable,
            ),
            level=level,
        )
        self.seen = Observation(self.world, level=level)
        self.recorder = Recorder(
            journal, Header() if journal is None else _header(assembly, level)
        )
        self._traps: list[_Trap] = []
        self.driver = Driver(
            self.world,
            assembly.settings,
            level=level,
            sinks=(
                JournalSink(self.recorder),
                *sinks,
                self.seen,
                self.checker,
                EventLog(self.world.store),
                self,
            ),
            isolate=isolate,
            instance=assembly.scenario.instance,
        )

    def play(self) -> list[str]:
        """Run to the end; every difference from what the scenario expects, empty: passed.

        Raises:
            KernelError: The run could not go on.
        """
        try:
            return self._play()
        finally:
            self.driver.close()

    def _play(self) -> list[str]:
        driver, scenario = self.driver, self.assembly.scenario
        for happening in scenario.timeline:
            self._plan(happening)
        if self._traps:
            driver.trap = self._trap
        driver.start()
        try:
            driver.run(self.assembly.end_ns)
        finally:
            self.recorder.close()
        self.checker.finish()
        self.seen.finish()
        verdict = Verdict(
            scenario,
            self.world,
            seen=self.seen,
            checker=self.checker,
            stopped=driver.stopped,
        )
        missed = [trap.after for trap in self._traps if trap.seen < trap.after.nth]
        return verdict.differences() + [
            f"timeline: nothing matched after {one.effect or one.decision}" for one in missed
        ]

    # ------------------------------------------------------------ the timeline

    def _plan(self, happening: Happening) -> None:
        if happening.after is not None:
            self._traps.append(_Trap(happening.after, happening.crash, happening.freeze))
            return
        assert happening.at is not None
        due_ns = self.assembly.scenario.start + happening.at
        for from_ns, span, act in (
            (due_ns, happening.store_down, self.world.store.down),
            (due_ns, happening.store_stall, self.world.store.stall),
            (due_ns, happening.disk_full, self.world.store.fill_disk),
        ):
            if span is not None:
                act(from_ns, from_ns + span)
        self.world.agenda.push(due_ns, RANK_MESSAGE, lambda: self._happen(happening))

    def _happen(self, happening: Happening) -> None:
        driver = self.driver
        if happening.operator and driver.kernel is not None:
            driver.operator(*happening.operator)
        if happening.stall is not None:
            driver.stall(happening.stall)
        if happening.clock_step is not None:
            driver.clock_step(happening.clock_step)
        if happening.host is not None:
            driver.host(_host_report(happening.host))
        if happening.feed_down is not None:
            self.world.feed_away(happening.feed_down)
        if happening.lease is not None:
            self._take_lease(happening.lease)
        if happening.store_backup:
            self._backup = self.world.store.snapshot()
        if happening.restart is not None:
            self._restart = happening.restart
            driver.operator("stop")
        if happening.crash is not None:
            driver.crash(applied=happening.crash.applied)
            if happening.crash.store_lost:
                self.world.store.restore(Backup())
            if happening.crash.store_restored:
                self.world.store.restore(self._backup)
            self._start_again(happening.crash.down, "crash")

    def _take_lease(self, part: LeasePart) -> None:
        store, now, key = self.world.store, self.world.agenda.now_ns, f"load/{part.instance}"
        body = StoreLoad(
            instance=part.instance, accounts=tuple(self.world.venues), term_ns=part.term,
            wait_ns=part.wait,
        )  # fmt: skip
        store.submit(key, body, now, client=part.instance)
        if not isinstance(store.complete(key, now), StoreLoaded):
            raise InvariantViolation(f"timeline: the lease is not free for {part.instance}")

    def _start_again(self, down_ns: int, reason: str) -> None:
        agenda = self.world.agenda

        def start() -> None:
            if self.driver.kernel is None:  # two deaths may lie closer than one pause
                self.driver.start(reason)

        agenda.push(agenda.now_ns + down_ns, RANK_MESSAGE, start)

    _restart: CrashPart | None = None
    _backup = Backup()

    # ------------------------------------------------------------ sink

    def born(self, kernel: object) -> None:
        """See `Sink.born`."""

    def died(self, reason: str) -> None:
        """See `Sink.died`: after an orderly stop the planned start follows."""
        if reason == "stopped" and self._restart is not None:
            self._start_again(self._restart.down, "restart")
            self._restart = None

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`: counts the decisions that a crash waits for."""
        for trap in self._traps:
            for decision in result.decisions:
                if trap.crash is not None and trap.decided(decision.kind, decision.values):
                    self.world.agenda.push(
                        self.world.agenda.now_ns, RANK_MESSAGE, partial(self._crash, trap.crash)
                    )

    def _crash(self, crash: CrashPart) -> None:
        self.driver.crash(applied=crash.applied)
        self._start_again(crash.down, "crash")

    def _trap(self, effect: Effect) -> Death | Freeze | None:
        for trap in self._traps:
            if trap.left(effect.key):
                if trap.crash is None:
                    return Freeze(trap.freeze_ns)
                self._start_again(trap.crash.down, "crash")
                return Death(before=trap.after.before)
        return None


class _Trap:
    """A crash, or a freeze, that waits for its moment."""

    def __init__(self, after: After, crash: CrashPart | None, freeze_ns: int | None) -> None:
        self.after = after
        self.crash = crash
        self.freeze_ns = freeze_ns or 0
        self.seen = 0

    def left(self, key: str) -> bool:
        """Whether the effect with this key is the one."""
        if not self.after.effect or not fnmatchcase(key, self.after.effect):
            return False
        self.seen += 1
        return self.seen == self.after.nth

    def decided(self, kind: str, values: dict[str, str]) -> bool:
        """Whether this decision is the one."""
        after = self.after
        if not after.decision or not fnmatchcase(kind, after.decision):
            return False
        if after.state and after.state not in (values.get("after"), values.get("state")):
            return False
        self.seen += 1
        return self.seen == after.nth


def _host_report(part: HostPart) -> HostReport:
    return HostReport(
        disk_free_bytes=_known(part.disk_free_mb, 1_000_000),
        memory_bytes=_known(part.memory_mb, 1_000_000),
        lag_ns=_known(part.lag_ms, MS),
    )


def _known(figure: int, unit: int) -> int:
    return figure if figure < 0 else figure * unit


def _header(assembly: Assembly, level: str) -> Header:
    settings = assembly.settings
    return Header(
        commit=commit_of(),
        code=code_hash(level=level),
        python=python_build(),
        level=level,
        venues=assembly.venues,
        seed=assembly.seed,
        settings=settings.canonical_json(),
        settings_hash=settings.settings_hash(),
        name=assembly.scenario.name,
        instruments_hash=instruments_hash(assembly.setup.instruments),
    )
