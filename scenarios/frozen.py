"""A driver whose kernel's process can be frozen for real, and its side of the world.

What a stopped process owes (the rest of a step, an answer of its database) comes when it goes on;
the world's clock goes on meanwhile. What it was told before, it works on with the stamp that it was
told: a step that was begun signs with the time at which it began.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from kernel.config import Settings
from kernel.model.messages import (
    Input,
    InputBody,
    Stopped,
    StoreCommit,
    StoreLease,
    StoreLoad,
)
from kernel.store.simulated import SimulatedStore
from scenarios.driver import Driver, Sink
from scenarios.holds import Place
from scenarios.kernels import AnyKernel
from scenarios.shared_database import InstanceDatabase
from scenarios.stoppable import Ending, Standing, StoppableKernel
from scenarios.world import World
from venues.sim.agenda import RANK_MESSAGE


class ProcessSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What the process of an instance is given.

    `folder` is its data folder, `address` its database ("": its rows are the world's). `without`
    names guards that are switched off in it, to show what each is for.
    """

    folder: str
    level: str = "sim"
    address: str = ""
    without: tuple[str, ...] = ()


class InstanceStore(SimulatedStore):
    """The store of an instance whose process has a connection of its own."""

    def _fenced(self, _client: str) -> bool:
        """Nobody: the database itself refuses."""
        return False


class InstanceWorld(World):
    """The world as an instance meets it whose process may stand still in a call of its database."""

    stands: Callable[[], bool]
    stood: Callable[[Standing], None]
    _waiting: list[Callable[[], None]]

    def sibling(self, name: str) -> InstanceWorld:
        """See `World.sibling`."""
        return cast("InstanceWorld", super().sibling(name))

    def attend(self, stands: Callable[[], bool], stood: Callable[[Standing], None]) -> None:
        """Ask whether the process stands still; tell that it does, in its database."""
        self.stands, self.stood, self._waiting = stands, stood, []

    def go_on(self) -> None:
        """The process goes on: what its store owes is asked for again, in its order."""
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer()

    def _ask_store(
        self, key: str, body: StoreCommit | StoreLoad | StoreLease, *, entry: bool = False
    ) -> None:
        life, store, own = self._life, self.store, self._own(key)
        due_ns = store.submit(own, body, self.agenda.now_ns, client=self.name, entry=entry)

        def answer() -> None:
            if life != self._life:
                return
            if self.stands():
                self._waiting.append(answer)
                return
            try:
                said = store.complete(own, self.agenda.now_ns)
            except Standing as at:
                self._waiting.append(answer)
                self.stood(at)
                return
            self._emit(key, said)

        self.agenda.push(due_ns, RANK_MESSAGE, answer)


class ProcessDriver(Driver):
    """Drives kernels in processes that may be stopped.

    Args:
        world: Of this instance.
        settings: Of every kernel.
        sinks: See each step.
        instance: Who keeps the lease.
        setup: What its processes are given.

    Attributes:
        on_standing: Told where the process stands still; for how long, in nanoseconds.
        endings: How processes ended that ended by themselves.
    """

    on_standing: Callable[[Place], int]

    def __init__(
        self,
        world: InstanceWorld,
        settings: Settings,
        *,
        sinks: tuple[Sink, ...],
        instance: str,
        setup: ProcessSetup,
    ) -> None:
        super().__init__(
            world, settings, level=setup.level, sinks=sinks, isolate=True, instance=instance
        )
        self.endings: list[Ending] = []
        self._own_world = world
        self._setup = setup
        self._interrupted: Input | None = None
        world.attend(lambda: self._frozen, self._stood)

    @property
    def process(self) -> StoppableKernel | None:
        """That of the kernel; None: it stands still, or there is none."""
        return None if self._frozen else cast("StoppableKernel | None", self.kernel)

    def stop(self, span_ns: int) -> None:
        """Freeze the process between two steps."""
        kernel = self.process
        assert kernel is not None
        kernel.stop()
        self._freeze(span_ns)

    # ------------------------------------------------------------ of the driver

    def _made(self) -> AnyKernel:
        setup = self._setup
        kernel = StoppableKernel(
            self.settings,
            self.world.prices,
            level=setup.level,
            venues=tuple(self.world.venues),
            database=setup.address,
            folder=setup.folder,
            without=setup.without,
        )
        database = self.world.store.backend
        if isinstance(database, InstanceDatabase):
            database.serve(kernel)
        return kernel

    def _step(self, key: str, body: InputBody) -> None:
        try:
            super()._step(key, body)
        except Standing as at:
            kernel = cast("StoppableKernel", self.kernel)
            assert isinstance(kernel.about, Input)
            left, kernel.left = kernel.left, None
            if left is not None:
                self._done(kernel.about, left)
            self._interrupted = kernel.about
            self._freeze(self.on_standing(at.place))

    def _stood(self, at: Standing) -> None:
        self._freeze(self.on_standing(at.place))

    def _wake(self) -> None:
        kernel = self.kernel
        if not self._frozen:
            super()._wake()
            return
        held, self._held = self._held, []
        self._frozen = False
        assert isinstance(kernel, StoppableKernel)
        kernel.go_on()
        item, self._interrupted = self._interrupted, None
        if item is not None:
            self._done(item, kernel.rest_of_step())
        if self.kernel is kernel:
            self._inputs.extend(held)
            self._own_world.go_on()
            self.drain()

    def _stopped(self, body: Stopped) -> None:
        kernel = self.kernel
        if isinstance(kernel, StoppableKernel) and not body.restart:
            self.endings.append(kernel.ended())
        super()._stopped(body)
