"""Two instances, each a process of its own with its own connection to one database; real freezes.

The holder is stopped (SIGSTOP) at drawn places (`Place`), for a tenth of a second to nearly seven
minutes of the world's time, and goes on (SIGCONT) in the middle of what it did, with the reading of
the clock that it had made. A transaction that is open then is ended by the database, as in
production, before the world has gone on for longer than the database is patient.

What must hold is what `scenarios.instances` demands, and: the database holds row by row what was
answered, of an interrupted commit all or nothing; a holder that finds its lease taken ends by
itself, with the exit code for another instance, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from kernel.errors import KernelError, SettingsError, StoreError
from kernel.model.draws import draw
from kernel.model.rows import Row
from kernel.model.units import MINUTE, MS, SECOND
from kernel.runtime.errors import TaskCrashed
from kernel.store.simulated import PATIENCE_NS as DATABASE_PATIENCE_NS
from kernel.trade.lease import SUPERSEDED
from scenarios.deaths import PATIENCE_NS
from scenarios.driver import Driver
from scenarios.frozen import InstanceStore, InstanceWorld, ProcessDriver, ProcessSetup
from scenarios.holds import SILENCE_NS, Place
from scenarios.instances import (
    FREEZES_OF_ROUND,
    LONGEST_NS,
    SHORTEST_NS,
    FreezeRound,
    Instances,
    Outcome,
    Side,
)
from scenarios.kill_world import round_plan
from scenarios.replay_setup import ReplayPlan
from scenarios.shared_database import InstanceDatabase, SharedDatabase
from scenarios.stores import MEMORY
from scenarios.world import World
from venues.sim.agenda import RANK_MESSAGE

if TYPE_CHECKING:
    from kernel.store.embedded import EmbeddedServer

ANOTHER = 5
"""Exit code of a process that another instance has taken over from."""
MOST = {Place.SIGNED: 4, Place.COMPUTING: 24, Place.COMMITTING: 4, Place.RENEWING: 2, Place.IDLE: 1}
"""A freeze waits for at most so many such places."""
CALLS = {Place.COMPUTING: 120, Place.COMMITTING: 750, Place.RENEWING: 700}
"""So many calls of functions into a step or a call of the database; most of them have as many."""
AGAIN_NS = 5 * SECOND
PLACES = (
    Place.SIGNED, Place.SIGNED, Place.SIGNED, Place.COMPUTING, Place.COMPUTING,
    Place.COMMITTING, Place.COMMITTING, Place.RENEWING, Place.IDLE,
)  # fmt: skip
WITHOUT_DATABASE = (Place.SIGNED, Place.COMPUTING, Place.IDLE)
LEASE, WINDOW, FENCE = "lease", "window", "fence"
GUARDS = (LEASE, WINDOW, FENCE)
"""What can be switched off, to show what it is for: the look at the lease before a request, the
venue's look at its timestamp, the database's look at the run epoch."""


class PlannedStop(msgspec.Struct, frozen=True, order=True):
    """A freeze: from `at_ns` on, at the n-th such place, so many calls into it."""

    at_ns: int
    place: str
    nth: int
    calls: int
    span_ns: int


class Shared(msgspec.Struct, frozen=True):
    """One database of both instances: its address, and what looks into it."""

    address: str
    rows: Callable[[], list[Row]]
    let_go: Callable[[], None]
    """Waits until it has ended the transaction of a process that stands still."""


class RealInstances(Instances):
    """Runs a plan with two instances in processes of their own.

    Args:
        plan: The world and what happens in it.
        seed: Of the freezes.
        freezes: How many.
        folder: For their data folders.
        level: "sim" or "wire".
        shared: Their database; None: their rows are the world's, in memory.
        without: Of `GUARDS`, what is switched off.
    """

    world: InstanceWorld

    def __init__(
        self,
        plan: ReplayPlan,
        *,
        seed: int,
        freezes: int,
        folder: Path,
        level: str = "sim",
        shared: Shared | None = None,
        without: tuple[str, ...] = (),
    ) -> None:
        self._folder = folder
        self._shared = shared
        self._without = without
        self._database = None if shared is None else SharedDatabase(shared)
        self._stops = _stops(
            seed,
            freezes,
            plan.setup.start_ns,
            plan.end_ns,
            places=WITHOUT_DATABASE if shared is None else PLACES,
        )
        self._met = 0
        self._armed: tuple[str, int] | None = None
        self.points: dict[str, int] = {}
        super().__init__(plan, seed=seed, freezes=0, level=level)
        if WINDOW in without:
            for venue in self.world.venues.values():
                venue.untimely = _looked_at  # type: ignore[method-assign]
        if self._stops:
            self.world.agenda.push(self._stops[0].at_ns, RANK_MESSAGE, self._arm)

    def run(self) -> Outcome:
        """See `Instances.run`; no process is left behind."""
        try:
            made = super().run()
            if self._database is not None:
                self._database.compare()
        finally:
            for side in self.sides:
                side.driver.close()
        return msgspec.structs.replace(
            made,
            points=dict(sorted(self.points.items())),
            interrupted=(0, 0) if self._database is None else (
                self._database.kept, self._database.lost
            ),
            problems=(*made.problems, *self._wrong_endings(), *self._missed()),
        )  # fmt: skip

    # ------------------------------------------------------------ what it is made of

    def made_world(self) -> World:
        """See `Instances.made_world`."""
        world = InstanceWorld(self.plan.setup)
        if self._database is not None:
            world.store = InstanceStore(InstanceDatabase("a", self._database))
        return world

    def driver_of(self, side: Side, world: World) -> Driver:
        """See `Instances.driver_of`."""
        assert isinstance(world, InstanceWorld)
        if self._database is not None and side.name:
            world.store = InstanceStore(InstanceDatabase(side.told, self._database))
        setup = ProcessSetup(
            folder=str(self._folder / side.told),
            level=self.level,
            address="" if self._shared is None else self._shared.address,
            without=tuple(guard for guard in self._without if guard != WINDOW),
        )
        driver = ProcessDriver(
            world, self.plan.settings, sinks=(side,), instance=side.told, setup=setup
        )
        driver.on_standing = partial(self._standing, side)
        return driver

    # ------------------------------------------------------------ freezes

    def _arm(self) -> None:
        """Have whoever has the lease stand still at the next planned place."""
        number, agenda, side = self._met, self.world.agenda, self.holder
        agenda.push(agenda.now_ns + AGAIN_NS, RANK_MESSAGE, partial(self._look, number))
        process = None if side is None else _driver(side).process
        if side is None or process is None:
            return
        plan = self._stops[0]
        if plan.place == Place.IDLE or agenda.now_ns - plan.at_ns > PATIENCE_NS:
            process.hold(Place.IDLE, 0)
            _driver(side).stop(self._standing(side, Place.IDLE))
        elif self._armed != (side.told, side.lives):
            self._armed = (side.told, side.lives)
            process.hold(Place(plan.place), plan.nth, plan.calls)

    def _look(self, number: int) -> None:
        """The freeze may wait for its place, or for somebody to have the lease."""
        if number == self._met and self._stops:
            self._arm()

    def _standing(self, side: Side, place: Place) -> int:
        """A process stands still; for how long."""
        agenda, plan = self.world.agenda, self._stops.pop(0)
        self._met += 1
        self._armed = None
        self.froze(side, plan.span_ns)
        self.points[place.value] = self.points.get(place.value, 0) + 1
        if self._shared is not None and plan.span_ns >= DATABASE_PATIENCE_NS:
            self._shared.let_go()
        if self._stops:
            due_ns = max(agenda.now_ns, self._stops[0].at_ns)
            agenda.push(due_ns, RANK_MESSAGE, self._arm)
        return plan.span_ns

    # ------------------------------------------------------------ the judge

    def _missed(self) -> list[str]:
        return [f"{len(self._stops)} freezes did not find their moment"] if self._stops else []

    def _wrong_endings(self) -> Iterator[str]:
        for side in self.sides:
            for code, words in _driver(side).endings:
                if code != ANOTHER or SUPERSEDED not in words:
                    yield f"{side.told} ended with exit code {code} and said {words!r}"


def _driver(side: Side) -> ProcessDriver:
    assert isinstance(side.driver, ProcessDriver)
    return side.driver


def _looked_at(*_told: object, **_more: object) -> None:
    """A venue that looks at every request."""


def _stops(
    seed: int, count: int, start_ns: int, end_ns: int, *, places: tuple[Place, ...]
) -> list[PlannedStop]:
    """The freezes of a run, by time; none begins before both instances stand."""
    first = start_ns + 3 * MINUTE
    span = max(1, ((end_ns - start_ns) * 8 // 10 - 3 * MINUTE) // SECOND)
    lengths = (LONGEST_NS - SHORTEST_NS) // MS
    drawn = [places[draw(seed, "freeze place", n, len(places))] for n in range(count)]
    return sorted(
        PlannedStop(
            first + draw(seed, "freeze time", n, span) * SECOND,
            place.value,
            1 + draw(seed, "freeze nth", n, MOST[place]),
            draw(seed, "freeze calls", n, CALLS.get(place, 1)),
            SHORTEST_NS + draw(seed, "freeze span", n, lengths) * MS,
        )
        for n, place in enumerate(drawn)
    )


def run_real_freezes(one: FreezeRound) -> Outcome:
    """Run a round in real processes; never raises for what a kernel does wrong."""
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="wave-kernel-")))
            shared = None if one.store == MEMORY else stack.enter_context(_database())
            return RealInstances(
                round_plan(one.seed, FREEZES_OF_ROUND),
                seed=one.seed,
                freezes=one.freezes,
                folder=folder,
                level=one.level,
                shared=shared,
                without=one.without,
            ).run()
    except (KernelError, TaskCrashed, ArithmeticError, LookupError) as error:
        words = f"the round ended with {type(error).__name__}: {error}"
        return Outcome(problems=(words,))


@contextmanager
def _database() -> Iterator[Shared]:
    """A server of its own, with an empty database.

    Raises:
        SettingsError: It cannot be started.
    """
    from kernel.store.scratch import scratch_server  # noqa: PLC0415  see scenarios.stores

    try:
        with scratch_server() as server, shared_on(server, "instances") as shared:
            yield shared
    except StoreError as error:
        raise SettingsError([f"--store postgres: {error}"]) from error


@contextmanager
def shared_on(server: EmbeddedServer, name: str) -> Iterator[Shared]:
    """A new database on a server of simulations, as both instances share it.

    Raises:
        StoreError: The server does not answer.
    """
    from kernel.store.blocking import BlockingPostgres  # noqa: PLC0415  see scenarios.stores
    from kernel.store.scratch import make_database, wait_until_let_go  # noqa: PLC0415

    address = make_database(server, name)
    looks = BlockingPostgres(address)
    try:
        yield Shared(address.url, looks.rows, partial(wait_until_let_go, address, SILENCE_NS))
    finally:
        looks.close()
