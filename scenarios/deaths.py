"""Deaths by schedule: kills the kernel at drawn points and starts it again, as a supervisor would.

A death waits for its drawn time, then falls at the n-th effect that matters (an order, a stop, a
cancel, a commit) before or after it leaves, or inside the n-th step, of which then nothing leaves.
Where nothing of the kind comes, any effect will do. Of the commits that wait, the first so many
become durable. The kernel is gone for a drawn while and starts again from the store.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from kernel.model.draws import draw
from kernel.model.messages import Effect, HttpRequest, Input, StepResult, StoreCommit, VenueCall
from kernel.model.units import MINUTE, SECOND
from kernel.model.venue import EffectClass
from scenarios.driver import Death, Driver
from scenarios.kernels import AnyKernel
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


WITHOUT_DATABASE = (How.AFTER, How.BEFORE, How.INSIDE)
WITH_DATABASE = (*WITHOUT_DATABASE, How.COMMIT)


class CutsCommits(Protocol):
    """See `Killer`."""

    def meanwhile(self, nth: int, *, server: bool) -> Callable[[], None]:
        """See `Killer.meanwhile`."""

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
    """

    def __init__(self) -> None:
        self.died_at: list[Died] = []
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
    ) -> None:
        """Draw the deaths of a run; with a `killer` the kernel has a database of its own."""
        self._driver = driver
        self._seed = seed
        self._killer = killer
        self._plans = plan_deaths(
            seed,
            deaths,
            driver.world.agenda.now_ns,
            end_ns,
            ways=WITHOUT_DATABASE if killer is None else WITH_DATABASE,
            servers=servers,
        )
        if self._plans:
            driver.trap = self._at_effect
            driver.ambush = self._at_step

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""

    def born(self, kernel: AnyKernel) -> None:
        """See `Sink.born`."""

    def died(self, reason: str) -> None:
        """Start a new kernel after a drawn while."""
        driver = self._driver
        assert driver is not None
        if self._killer is not None:
            self._killer.repair()
        agenda = driver.world.agenda
        down = 1 + draw(self._seed, "death down", len(self.died_at), LONGEST_DOWN_NS // SECOND)
        agenda.push(
            agenda.now_ns + down * SECOND, RANK_MESSAGE, lambda: driver.start(f"after {reason}")
        )

    def _at_effect(self, effect: Effect) -> Death | None:
        commits = type(effect.body) is StoreCommit
        return self._due(inside=False, matters=matters(effect), commits=commits)

    def _at_step(self) -> Death | None:
        return self._due(inside=True, matters=True)

    def _due(self, *, inside: bool, matters: bool, commits: bool = False) -> Death | None:
        if not self._plans:
            return None
        plan = self._plans[0]
        assert self._driver is not None
        now = self._driver.world.agenda.now_ns
        patient = now - plan.at_ns <= PATIENCE_NS
        if now < plan.at_ns or inside is not (plan.how == How.INSIDE) or (patient and not matters):
            return None
        cuts = plan.how in {How.COMMIT, How.SERVER}  # det-ok: membership only
        if cuts and not commits:
            return None
        self._waited += 1
        if patient and self._waited < plan.nth:
            return None
        del self._plans[0]
        self._waited = 0
        self.died_at.append(Died(now, plan.how))
        if not cuts:
            return Death(before=plan.how == How.BEFORE, applied=plan.applied)
        assert self._killer is not None
        meanwhile = self._killer.meanwhile(len(self.died_at), server=plan.how == How.SERVER)
        return Death(applied=self._driver.world.store.pending, cut=meanwhile)


def matters(effect: Effect) -> bool:
    """Whether an effect is an order, a stop, a cancel or a commit."""
    body = effect.body
    if type(body) is StoreCommit:
        return True
    return isinstance(body, VenueCall | HttpRequest) and effect.cls is not EffectClass.QUERY
