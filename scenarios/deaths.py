"""Deaths by schedule: kills the kernel at drawn points and starts it again, as a supervisor would.

A death waits for its drawn time, then falls at the n-th effect that matters (an order, a stop, a
cancel, a commit) before or after it leaves, or inside the n-th step, of which then nothing leaves.
Where nothing of the kind comes, any effect will do. Of the commits that wait, the first so many
become durable. The kernel is gone for a drawn while and starts again from the store. With outages
some deaths wait until rows are in the spool, or until the database is back and drains it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from kernel.model.draws import draw
from kernel.model.messages import Effect, Input, StepResult, StoreCommit
from kernel.model.units import MINUTE, SECOND
from scenarios.driver import Death, Driver
from scenarios.holds import matters
from scenarios.kernels import AnyKernel
from scenarios.outages import Outages, plan_outages
from venues.sim.agenda import RANK_MESSAGE

LONGEST_DOWN_NS = 10 * SECOND
"""A supervisor starts a process again within seconds."""
MOST_EFFECTS = 24
"""A death waits for at most so many effects that matter, or steps."""
MOST_APPLIED = 3
"""At most so many of the commits that wait become durable."""
PATIENCE_NS = 10 * MINUTE
"""A death waits no longer than this for its effect, then any effect will do."""


class How(StrEnum):
    """Where a death falls."""

    AFTER = "after"
    BEFORE = "before"
    INSIDE = "inside"
    COMMIT = "commit"
    """While its own database commits."""
    SERVER = "server"
    """The same, and the database server dies with it."""
    SPOOLED = "spooled"
    """While rows are in the spool."""
    DRAINING = "draining"
    """While the database, back again, is given what is in the spool."""


WITHOUT_DATABASE = (How.AFTER, How.BEFORE, How.INSIDE)
WITH_DATABASE = (*WITHOUT_DATABASE, How.COMMIT)
IN_OUTAGES = (How.SPOOLED, How.DRAINING)
NEED_COMMITS = (How.COMMIT, How.SERVER, How.DRAINING)
SOON = 3
"""While rows are in the spool a death waits for at most so many effects."""


class CutsCommits(Protocol):
    """See `Killer`."""

    def meanwhile(self, nth: int, *, server: bool) -> Callable[[], None]:
        """See `Killer.meanwhile`."""

    def stop(self) -> None:
        """See `Killer.stop`."""

    def repair(self) -> None:
        """See `Killer.repair`."""


class PlannedDeath(msgspec.Struct, frozen=True, order=True):
    """One death: from `at_ns` on, at the `nth` effect or step."""

    at_ns: int
    nth: int
    how: str
    applied: int


class Died(msgspec.Struct, frozen=True):
    """A death that happened."""

    ts_ns: int
    how: str


def plan_deaths(
    seed: int,
    count: int,
    start_ns: int,
    end_ns: int,
    *,
    ways: tuple[How, ...] = WITHOUT_DATABASE,
    servers: int = 0,
) -> list[PlannedDeath]:
    """The deaths of a run, by time: in its first four fifths, so that it converges.

    The database server dies with `servers` of them.
    """
    span = max(1, (end_ns - start_ns) * 8 // 10 // SECOND)
    return sorted(
        PlannedDeath(
            start_ns + draw(seed, "death time", n, span) * SECOND,
            1 + draw(seed, "death effect", n, MOST_EFFECTS),
            (How.SERVER if n < servers else ways[draw(seed, "death how", n, len(ways))]).value,
            draw(seed, "death applied", n, MOST_APPLIED + 1),
        )
        for n in range(count)
    )


class Deaths:
    """A sink that kills the kernel of its driver as planned, and has it started again.

    Attributes:
        died_at: Every planned death that happened, in order.
        outages: How many outages were planned.
    """

    def __init__(self) -> None:
        self.died_at: list[Died] = []
        self.outages = 0
        self._outages: Outages | None = None
        self._life = 0
        self._driver: Driver | None = None
        self._plans: list[PlannedDeath] = []
        self._seed = 0
        self._waited = 0
        self._killer: CutsCommits | None = None

    def attend(
        self,
        driver: Driver,
        *,
        deaths: int,
        seed: int,
        end_ns: int,
        killer: CutsCommits | None = None,
        servers: int = 0,
        outages: bool = False,
    ) -> None:
        """Draw the deaths of a run; with a `killer` the kernel has a database of its own."""
        self._driver = driver
        self._seed = seed
        self._killer = killer
        start_ns = driver.world.agenda.now_ns
        ways = WITHOUT_DATABASE if killer is None else WITH_DATABASE
        self._plans = plan_deaths(
            seed,
            deaths,
            start_ns,
            end_ns,
            ways=(*ways, *IN_OUTAGES) if outages else ways,
            servers=servers,
        )
        if outages:
            spooled = [plan.at_ns for plan in self._plans if plan.how in IN_OUTAGES]
            planned = plan_outages(
                seed, start_ns, end_ns, spooled=spooled, server=killer is not None
            )
            self.outages = len(planned)
            self._outages = Outages(driver.world, planned, killer)
        if self._plans:
            driver.trap = self._at_effect
            driver.ambush = self._at_step

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""

    def born(self, kernel: AnyKernel) -> None:
        """See `Sink.born`: a server that is to be gone is gone again."""
        self._life += 1
        if self._outages is not None:
            self._outages.enforce()

    def died(self, reason: str) -> None:
        """Start a new kernel after a drawn while, unless one has started by then."""
        driver, life = self._driver, self._life
        assert driver is not None
        if self._killer is not None:
            self._killer.repair()
        agenda = driver.world.agenda
        down = 1 + draw(self._seed, "death down", len(self.died_at), LONGEST_DOWN_NS // SECOND)

        def start() -> None:
            if self._life == life:  # one that was stopped may have been started by itself
                driver.start(f"after {reason}")

        agenda.push(agenda.now_ns + down * SECOND, RANK_MESSAGE, start)

    def _at_effect(self, effect: Effect) -> Death | None:
        commits, weighs = type(effect.body) is StoreCommit, matters(effect)
        if self._outages is not None:
            self._outages.at_effect(matters=weighs and not commits)
        return self._due(inside=False, matters=weighs, commits=commits)

    def _at_step(self) -> Death | None:
        return self._due(inside=True, matters=True)

    def _due(self, *, inside: bool, matters: bool, commits: bool = False) -> Death | None:
        if not self._plans:
            return None
        plan = self._plans[0]
        assert self._driver is not None
        now = self._driver.world.agenda.now_ns
        if now < plan.at_ns:
            return None
        patient = now - plan.at_ns <= PATIENCE_NS
        how = How(plan.how)
        if not patient and how in IN_OUTAGES:
            how = How.AFTER
        if inside is not (how is How.INSIDE) or (patient and not matters):
            return None
        if how in NEED_COMMITS and not commits:
            return None
        if how in IN_OUTAGES and not self._spool_is_used(now, away=how is How.SPOOLED):
            return None
        self._waited += 1
        if patient and self._waited < _nth(how, plan.nth):
            return None
        del self._plans[0]
        self._waited = 0
        self.died_at.append(Died(now, how.value))
        return self._death(how, plan.applied)

    def _spool_is_used(self, now_ns: int, *, away: bool) -> bool:
        assert self._driver is not None
        store = self._driver.world.store
        is_away = store.troubled_until(now_ns, now_ns) > now_ns
        return is_away is away and store.waiting() > 0

    def _death(self, how: How, applied: int) -> Death:
        assert self._driver is not None
        cut = None
        if self._killer is not None and how in NEED_COMMITS:
            cut = self._killer.meanwhile(len(self.died_at), server=how is How.SERVER)
        if how is How.DRAINING:
            return Death(drained=applied, cut=cut)
        if cut is None:
            return Death(before=how is How.BEFORE, applied=applied)
        return Death(applied=self._driver.world.store.pending, cut=cut)


def _nth(how: How, drawn: int) -> int:
    if how is How.DRAINING:
        return 1  # the first commit takes the whole spool along
    return min(drawn, SOON) if how is How.SPOOLED else drawn
