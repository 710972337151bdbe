"""Runs a replay: world, driver, journal, checker and deaths by schedule, from plan to figures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from kernel.model.orders import FillKind
from kernel.model.units import SECOND, ZERO, text
from kernel.store.backend import Backend
from replay.journal import Header, Recorder
from replay.runs import ReplayResult
from scenarios.deaths import CutsCommits, Deaths, Died
from scenarios.driver import Driver, Sink, no_collector
from scenarios.invariants import Checker
from scenarios.kernels import AnyKernel
from scenarios.protection_checks import Limits
from scenarios.replay_setup import TAIL_NS, ReplayPlan
from scenarios.report_collector import Collector
from scenarios.world import World
from venues.sim.fault_kinds import VenueAct
from venues.sim.truth import LedgerKind, Traded, TruthEvent

SLICES = 400
"""Parts of a run between which progress is told."""


class Extras(msgspec.Struct, kw_only=True):
    """What a caller adds to a replay.

    `deaths` is how many crash-restarts are drawn; `progress` hears the share of simulated time.
    """

    journal: Path | None = None
    header: Header = Header()
    level: str = "sim"
    deaths: int = 0
    isolate: bool = False
    """Each kernel in a process of its own."""
    backend: Backend | None = None
    """What keeps the rows of the store; None: memory."""
    sinks: tuple[Sink, ...] = ()
    watch: Callable[[World, Checker], Sink] | None = None
    """Makes one more sink, which sees what the checker sees."""
    collect: bool = False
    """Keep what a report needs."""
    progress: Callable[[float], None] | None = None
    seconds: Callable[[], float] = lambda: 0.0
    """The clock that times the run."""
    killer: CutsCommits | None = None
    """Cuts commits of a database that the kernel's process has."""
    servers: int = 0
    """Of the deaths so many are the database server's too."""
    outages: bool = False
    """The database is away now and then, and some of the deaths meet its spool."""


class Replayed(NamedTuple):
    """A replay that is over. `collector` has what a report needs, where it was asked for."""

    result: ReplayResult
    checker: Checker
    collector: Collector | None
    deaths: tuple[Died, ...]
    outages: int = 0
    """How many outages there were."""
    spooled: int = 0
    """How many commits went into the spool."""


def run_replay(plan: ReplayPlan, extras: Extras | None = None) -> Replayed:
    """Run a plan from its first price to the convergence behind its last.

    Raises:
        SettingsError: The journal cannot be written.
        KernelError: The run could not go on.
    """
    extras = extras or Extras()
    began = extras.seconds()
    world = World(plan.setup, extras.backend)
    disturbed = bool(extras.deaths) or any(
        not isinstance(fault, VenueAct)
        for setup in plan.setup.setups.values()
        for fault in setup.faults
    )
    checker = Checker(world, plan.settings, Limits(faults=disturbed), level=extras.level)
    tally = Tally(world)
    collector = Collector(world) if extras.collect else None
    told: tuple[Sink, ...] = () if collector is None else (collector,)
    if extras.watch is not None:
        told += (extras.watch(world, checker),)
    with Recorder(extras.journal, extras.header) as recorder:
        life = Deaths()
        driver = Driver(
            world,
            plan.settings,
            level=extras.level,
            sinks=(JournalSink(recorder), checker, *told, *extras.sinks, life),
            isolate=extras.isolate,
        )
        life.attend(
            driver, deaths=extras.deaths, seed=plan.seed, end_ns=plan.end_ns,
            killer=extras.killer, servers=extras.servers, outages=extras.outages,
        )  # fmt: skip
        with closing(driver), no_collector():
            driver.start()
            _run(driver, plan, extras.progress)
            checker.finish()
            state = driver.kernel.state_digest() if driver.kernel is not None else ""
        digest = recorder.digest()
    result = _result(
        plan, driver, checker, tally,
        digest=digest, state=state, deaths=len(life.died_at), wall_s=extras.seconds() - began,
    )  # fmt: skip
    spooled = world.store.spooled
    return Replayed(result, checker, collector, tuple(life.died_at), life.outages, spooled)


def _run(driver: Driver, plan: ReplayPlan, progress: Callable[[float], None] | None) -> None:
    start_ns, end_ns = plan.setup.start_ns, plan.end_ns + TAIL_NS
    if progress is None:
        driver.run(end_ns)
        return
    for part in range(1, SLICES + 1):
        driver.run(start_ns + (end_ns - start_ns) * part // SLICES)
        progress(part / SLICES)


class JournalSink:
    """Every step into the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.step = recorder.step

    def born(self, kernel: AnyKernel) -> None:
        """A kernel starts: its `Start` input will say so."""

    def died(self, reason: str) -> None:
        """The kernel is gone: the next `Start` will say so."""


class Tally:
    """Positions that opened and closed at the venues, in truth."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opened = 0
        self.closed = 0
        self._held: dict[tuple[str, str, str], bool] = {}
        for venue in world.venues.values():
            venue.subscribe(self._listener(venue.name))

    def _listener(self, venue: str) -> Callable[[TruthEvent], None]:
        def hear(event: TruthEvent) -> None:
            if type(event) is not Traded or event.fill.kind is FillKind.FUNDING:
                return
            place = (venue, event.fill.symbol, event.hedge_leg)
            held, holds = self._held.get(place, False), bool(event.position_qty)
            self._held[place] = holds
            self.opened += holds and not held
            self.closed += held and not holds

        return hear

    @property
    def still_open(self) -> int:
        """Positions that are open now."""
        return sum(self._held.values())

    def cash(self, kind: LedgerKind) -> str:
        """Sum of all venues' ledgers of one kind, as text."""
        sums = [venue.account.cash.get(kind, ZERO) for venue in self.world.venues.values()]
        return text(sum(sums, ZERO))


def _result(
    plan: ReplayPlan,
    driver: Driver,
    checker: Checker,
    tally: Tally,
    *,
    digest: str,
    state: str,
    deaths: int,
    wall_s: float,
) -> ReplayResult:
    fired: dict[str, int] = {}
    for name, venue in driver.world.venues.items():
        for fault, count in venue.faults.fired.items():
            if count and not fault.startswith("funding "):
                fired[f"{name} {fault}"] = count
    kernel = driver.kernel
    crashes = [*driver.crashes, *(kernel.crashes if kernel is not None else [])]
    violations = checker.violations
    fees = tally.cash(LedgerKind.FEE)
    return ReplayResult(
        digest=digest,
        state_digest=state,
        ticks=plan.ticks,
        wall_s=round(wall_s, 3),
        positions_opened=tally.opened,
        positions_closed=tally.closed,
        realized_pnl=tally.cash(LedgerKind.REALIZED_PNL),
        fees=fees.removeprefix("-") if fees.startswith("-") else fees,
        max_unprotected_ms=-(-checker.protection.max_unprotected_ns // 1_000_000),
        invariant_violations=sum(violations.counts.values()),
        waves=plan.waves,
        funding=tally.cash(LedgerKind.FUNDING),
        steps=driver.steps,
        kernel_starts=driver.starts,
        crashes=deaths,
        task_crashes=tuple(crashes),
        faults_fired=fired,
        violations=tuple(str(one) for one in violations.found),
        open_positions=tally.still_open,
        simulated_s=(plan.end_ns - plan.setup.start_ns) // SECOND,
        signals=plan.signals,
        data_digest=plan.data_digest,
        unprotected_s=checker.protection.unprotected_ns / SECOND,
    )
