"""Two instances on one account: each a driver, one world, one store; the one that holds is frozen.

A freeze falls between signing and sending: the step is done, its remaining effects leave at the end
of the freeze with the old signature, and what arrived meanwhile is seen then. What must hold: from
the first request of one life that a venue looks at, it looks at none of an earlier one.
"""

from __future__ import annotations

from functools import partial

import msgspec

from kernel.errors import KernelError
from kernel.model.draws import draw
from kernel.model.messages import Effect, Input, StepResult, Tick
from kernel.model.positions import PositionRow
from kernel.model.units import MINUTE, MS, SECOND
from kernel.model.venue import VenueRequest
from kernel.runtime.errors import TaskCrashed
from replay.journal import Header, Recorder
from scenarios.deaths import MOST_EFFECTS, PATIENCE_NS
from scenarios.driver import Driver, Freeze
from scenarios.holds import matters
from scenarios.invariants import Checker
from scenarios.kernels import AnyKernel
from scenarios.kill_world import round_plan
from scenarios.protection_checks import Limits
from scenarios.replay_setup import TAIL_NS, ReplayPlan
from scenarios.stores import MEMORY
from scenarios.world import World
from venues.sim.agenda import RANK_MESSAGE

SECOND_STARTS_NS = MINUTE
AGAIN_NS = 5 * SECOND
"""An instance that had to end is started again so soon."""
SHORTEST_NS = 100 * MS
LONGEST_NS = 400 * SECOND
"""Longer than a term and the wait behind it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run of two instances. `requests`: that a venue looked at."""

    digest: str = ""
    freezes: int = 0
    takeovers: int = 0
    superseded: int = 0
    requests: int = 0
    untimely: int = 0
    """Requests that a venue refused for their timestamps."""
    late: int = 0
    """Of those, the ones of a life that another one had followed."""
    overlaps: int = 0
    """Requests of an old holder that a venue looked at after the new one's first."""
    opened: int = 0
    points: dict[str, int] = {}
    """Where processes stood still."""
    interrupted: tuple[int, int] = (0, 0)
    """Commits in which one stood still that were found whole afterwards, and not at all."""
    problems: tuple[str, ...] = ()


class Instances:
    """Runs a plan with two instances and freezes whoever holds the lease."""

    def __init__(
        self, plan: ReplayPlan, *, seed: int, freezes: int, level: str = "sim"
    ) -> None:
        self.plan = plan
        self.level = level
        self._seed = seed
        self.world = self.made_world()
        self.checker = Checker(self.world, plan.settings, Limits(faults=True), level="wire")
        self.recorder = Recorder(None, Header())
        self.untimely = self.late = 0
        self.sides = [Side(self, name) for name in ("", "b")]
        self._plans = _plans(seed, freezes, self.world.agenda.now_ns, plan.end_ns)
        self._waited = 0
        self.freezes = self.takeovers = self.superseded = self.requests = 0
        self.holder: Side | None = None
        self._past: dict[tuple[str, str, int], None] = {}
        """(venue, instance, life) that another life has followed."""
        self._latest: dict[str, tuple[str, int]] = {}
        self.overlaps: list[str] = []

    def made_world(self) -> World:
        """The world of the first instance."""
        return World(self.plan.setup)

    def driver_of(self, side: Side, world: World) -> Driver:
        """What drives the kernels of an instance."""
        driver = Driver(
            world, self.plan.settings, level=self.level, sinks=(side,), instance=side.told
        )
        driver.trap = partial(self.at_effect, side)
        return driver

    def run(self) -> Outcome:
        """From the first price to the convergence behind the last one."""
        first, second = self.sides
        agenda = self.world.agenda
        first.driver.start()
        agenda.push(agenda.now_ns + SECOND_STARTS_NS, RANK_MESSAGE, second.start)
        self._run(self.plan.end_ns + TAIL_NS)
        self.checker.finish()
        violations = self.checker.violations
        problems = [*self.overlaps, *(str(one) for one in violations.found)]
        if self._plans:
            problems.append(f"{len(self._plans)} freezes did not find their moment")
        lives = [row for row in self.world.store.rows() if isinstance(row, PositionRow)]
        return Outcome(
            digest=self.recorder.digest(),
            freezes=self.freezes,
            takeovers=self.takeovers,
            superseded=self.superseded,
            requests=self.requests,
            untimely=self.untimely,
            late=self.late,
            overlaps=len(self.overlaps),
            opened=len(lives),
            problems=tuple(problems),
        )

    def _run(self, until_ns: int) -> None:
        agenda, drivers = self.world.agenda, [side.driver for side in self.sides]
        while True:
            moments = [agenda.next_due(), *(driver.deadline() for driver in drivers)]
            now = min((one for one in moments if one is not None), default=until_ns + 1)
            if now > until_ns:
                return
            for driver in drivers:
                driver.drain()  # what arrives at the instant of a deadline comes before it
                driver.run(now)
            for driver in drivers:
                driver.drain()

    # ------------------------------------------------------------ what the venues see

    def looked_at(self, side: Side, venue: str, request: VenueRequest) -> None:
        """A venue looks at a request of one instance."""
        self.requests += 1
        life = (side.name, side.lives)
        latest = self._latest.get(venue)
        if latest == life:
            return
        if (venue, *life) in self._past:
            kind = str(request.__struct_config__.tag)
            self.overlaps.append(
                f"lease: {venue} looks at {kind} of {side.told}, life {side.lives}, and has looked"
                " at one of a later life"
            )
            return
        if latest is not None:
            self._past[(venue, *latest)] = None
        self._latest[venue] = life
        if self.holder is not side or side.judged != side.lives:
            self.takeovers += self.holder is not None and self.holder is not side
            self.holder, side.judged = side, side.lives
            assert side.driver.kernel is not None
            self.checker.born(side.driver.kernel)

    def refused(self, side: Side, venue: str, _request: VenueRequest) -> None:
        """A venue refuses a request of one instance for its timestamp."""
        self.untimely += 1
        self.late += (venue, side.name, side.lives) in self._past

    # ------------------------------------------------------------ freezes

    def at_effect(self, side: Side, effect: Effect) -> Freeze | None:
        """Whether the process is to stand still before this effect leaves."""
        if not self._plans or side is not self.holder:
            return None
        plan, now = self._plans[0], self.world.agenda.now_ns
        patient = now - plan.at_ns <= PATIENCE_NS
        if now < plan.at_ns or (patient and not matters(effect)):
            return None
        self._waited += 1
        if patient and self._waited < plan.nth:
            return None
        del self._plans[0]
        self._waited = 0
        self.froze(side, plan.span_ns)
        return Freeze(plan.span_ns)

    def froze(self, side: Side, span_ns: int) -> None:
        """An instance stands still: nobody protects, if it has the lease."""
        self.freezes += 1
        if self.holder is side:
            self.checker.protection.died()
            agenda, thaw = self.world.agenda, partial(self._thaw, side, side.lives)
            agenda.push(agenda.now_ns + span_ns, RANK_MESSAGE, thaw)

    def _thaw(self, side: Side, life: int) -> None:
        if self.holder is side and side.lives == life:
            self.checker.protection.born()

    def ended(self, side: Side, reason: str) -> None:
        """An instance ended: it is started again."""
        self.superseded += reason == "stopped"
        agenda = self.world.agenda
        agenda.push(agenda.now_ns + AGAIN_NS, RANK_MESSAGE, side.start)


class Side:
    """One instance: its view of the world, its driver; a sink of it."""

    def __init__(self, run: Instances, name: str) -> None:
        self.name = name
        self.told = name or "a"
        self.lives = 0
        self.judged = 0
        self._run = run
        world = run.world.sibling(name) if name else run.world
        world.on_request = partial(run.looked_at, self)
        world.on_untimely = partial(run.refused, self)
        self.driver = run.driver_of(self, world)

    def start(self) -> None:
        """Start it, unless it lives."""
        if self.driver.kernel is None:
            self.driver.start("start")

    def born(self, kernel: AnyKernel) -> None:
        """See `Sink.born`."""
        self.lives += 1

    def died(self, reason: str) -> None:
        """See `Sink.died`."""
        self._run.ended(self, reason)

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""
        run = self._run
        run.recorder.step(item, result)
        if self is run.holder and result.decisions:
            bare = StepResult(effects=[], decisions=result.decisions, reads=[])
            run.checker.step(msgspec.structs.replace(item, body=Tick()), bare)


class _PlannedFreeze(msgspec.Struct, frozen=True, order=True):
    at_ns: int
    nth: int
    span_ns: int


def _plans(seed: int, count: int, start_ns: int, end_ns: int) -> list[_PlannedFreeze]:
    """The freezes of a run, by time; none begins before both instances stand."""
    first = start_ns + 3 * MINUTE
    span = max(1, ((end_ns - start_ns) * 8 // 10 - 3 * MINUTE) // SECOND)
    lengths = (LONGEST_NS - SHORTEST_NS) // MS
    return sorted(
        _PlannedFreeze(
            first + draw(seed, "freeze time", n, span) * SECOND,
            1 + draw(seed, "freeze effect", n, MOST_EFFECTS),
            SHORTEST_NS + draw(seed, "freeze span", n, lengths) * MS,
        )
        for n in range(count)
    )


class FreezeRound(msgspec.Struct, frozen=True, kw_only=True):
    """One round of freezes; it depends on its fields alone.

    `real`: in processes that are stopped, with rows in `store`; `without`: guards switched off.
    """

    seed: int
    freezes: int
    real: bool = False
    store: str = MEMORY
    level: str = "sim"
    without: tuple[str, ...] = ()


FREEZES_OF_ROUND = 10


def freeze_rounds(seed: int, count: int, kind: FreezeRound | None = None) -> list[FreezeRound]:
    """Rounds that hold `count` freezes in all, each with a seed of its own; else as `kind`."""
    like = kind or FreezeRound(seed=seed, freezes=0)
    return [
        msgspec.structs.replace(like, seed=seed + n, freezes=min(FREEZES_OF_ROUND, count - done))
        for n, done in enumerate(range(0, count, FREEZES_OF_ROUND))
    ]


def run_freezes(one: FreezeRound) -> Outcome:
    """Run a round; never raises for what a kernel does wrong."""
    plan = round_plan(one.seed, FREEZES_OF_ROUND)
    run = Instances(plan, seed=one.seed, freezes=one.freezes, level=one.level)
    try:
        return run.run()
    except (KernelError, TaskCrashed, ArithmeticError, LookupError) as error:
        words = f"the round ended with {type(error).__name__}: {error}"
        return Outcome(problems=(words,))
