"""The simulation driver: steps the kernel exactly at each event and each deadline.

1. The next step is at min(next entry of the agenda, next deadline of the kernel); at one instant
   the agenda comes first, so an answer that arrives with its time-out wins.
2. Sinks see a step before its effects leave; then each effect is handed to the world in order.
3. A crash cuts the kernel off first and closes it then: nothing that it leaves behind can act. A
   new kernel starts from the store with a `Start` input; the monotonic clock starts anew.
4. The collector of cycles is off during a run and runs at counted steps.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Protocol

import msgspec

from kernel.config import Settings
from kernel.errors import InvariantViolation
from kernel.model.messages import (
    ClockStep,
    Effect,
    HostReport,
    Input,
    InputBody,
    Operator,
    Stall,
    Start,
    StepResult,
    Stopped,
    Tick,
)
from kernel.model.units import MonoNs, TsNs, install_decimal_context
from kernel.store.backend import Retention
from scenarios.child_database import ChildDatabase
from scenarios.kernels import AnyKernel, LocalKernel
from scenarios.world import World

COLLECT_EVERY = 100_000
"""Steps between two runs of the collector."""
LIVELOCK = 200_000
"""Steps at one instant that no healthy run ever needs."""


class Sink(Protocol):
    """Sees every step before its effects leave: journal, digest, checker, timeline."""

    def step(self, item: Input, result: StepResult) -> None:
        """One step."""

    def born(self, kernel: AnyKernel) -> None:
        """A kernel starts."""

    def died(self, reason: str) -> None:
        """The kernel is gone: "crash" or "stopped"."""


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """How a kernel dies at an effect. `before`: the effect does not leave any more.

    Of the store's waiting writes the first `applied` become durable; on a database of the kernel's
    own process the next one is `cut`: the process is killed while it commits. Of the spool the
    first `drained` commits are written before.
    """

    before: bool = False
    applied: int = 0
    drained: int = 0
    cut: Callable[[], None] | None = None
    """What happens between the beginning of that commit and the end of the process."""


class Freeze(msgspec.Struct, frozen=True):
    """The process stands still between signing an effect and sending it."""

    span_ns: int


type Trap = Callable[[Effect], Death | Freeze | None]
"""Looks at an effect that is about to leave; not None: what becomes of the process then."""
type Ambush = Callable[[], Death | None]
"""Asked before each step; not None: the kernel dies inside it, and nothing of it leaves."""


@contextmanager
def no_collector() -> Iterator[None]:
    """The automatic collector of cycles is off in this block, for it knows nothing of steps.

    Put it around all of a run: what switches it on again pays for all that the run has made.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Driver:
    """Drives one kernel after another through one world.

    Args:
        world: Where the effects go and the inputs come from.
        settings: Of every kernel of this run.
        level: "sim" or "wire".
        sinks: See each step, in this order.
        isolate: Each kernel in a process of its own; `close` the driver then.
        instance: Who keeps the lease; "": nobody does.

    Attributes:
        kernel: The kernel that is alive, if any.
        steps: How many steps there were, over all kernels.
        crashes: Tasks of a kernel that failed unexpectedly, over all kernels.
        stopped: The last kernel ended in an orderly way.
    """

    def __init__(
        self,
        world: World,
        settings: Settings,
        *,
        level: str = "sim",
        sinks: tuple[Sink, ...] = (),
        isolate: bool = False,
        instance: str = "",
    ) -> None:
        install_decimal_context()
        self.world = world
        self.settings = settings
        self.instance = instance
        self.sinks = sinks
        self.kernel: AnyKernel | None = None
        self.steps = 0
        self.starts = 0
        self.crashes: list[str] = []
        self.stopped = False
        self.trap: Trap | None = None
        self.ambush: Ambush | None = None
        self._level = level
        backend = world.store.backend
        backend.retention = Retention.of(settings)
        self._database = backend if isinstance(backend, ChildDatabase) else None
        self._isolate = isolate
        self._composed = world.composed(level)
        self._agenda = world.agenda
        self._inputs: deque[tuple[str, InputBody]] = deque()
        self._held: list[tuple[str, InputBody]] = []
        self._unsent: list[Effect] = []
        self._frozen = False
        self._held_until_ns = 0
        self._seq = 0
        self._born_ns = 0
        self._wall_offset_ns = 0
        self._instant_ns = self._steps_there = 0
        self._seers: tuple[Callable[[Input, StepResult], None], ...] = ()

    # ------------------------------------------------------------ lives

    def start(self, reason: str = "start") -> None:
        """Start a kernel at the present instant.

        Raises:
            InvariantViolation: One is alive already.
        """
        if self.kernel is not None:
            raise InvariantViolation("a kernel is alive already: crash or stop it first")
        self.starts += 1
        self.stopped = False
        self._seers = tuple(sink.step for sink in self.sinks)
        self._born_ns = self._agenda.now_ns
        self.world.connect(
            {name: link for name, (_, link) in self._composed.items()}, self._emit
        )
        self.kernel = self._made()
        for sink in self.sinks:
            sink.born(self.kernel)
        settings = self.settings.canonical_json()
        self._emit("start", Start(settings=settings, reason=reason, instance=self.instance))
        self.drain()

    def _made(self) -> AnyKernel:
        if self._isolate:
            isolated = import_module("scenarios.isolated")
            database = self._database
            kernel: Any = isolated.IsolatedKernel(
                self.settings,
                self.world.prices,
                level=self._level,
                venues=tuple(self._composed),
                database="" if database is None else database.address,
            )
            if database is not None:
                database.serve(kernel)
            made: AnyKernel = kernel
            return made
        return LocalKernel(
            self.settings,
            prices=self.world.prices,
            venue_factories={name: factory for name, (factory, _) in self._composed.items()},
        )

    def close(self) -> None:
        """The run is over: the process of an isolated kernel ends."""
        if self._isolate and self.kernel is not None:
            self.kernel.close()

    def crash(self, *, applied: int = 0) -> None:
        """Kill the kernel; of the store's waiting writes the first `applied` become durable."""
        self._end("crash", Death(applied=applied))

    def operator(self, command: str, *args: str) -> None:
        """Give a command at the present instant."""
        self._emit("operator", Operator(command=command, args=args))
        self.drain()

    def host(self, report: HostReport) -> None:
        """Tell the kernel of its host at the present instant."""
        self._emit("host", report)
        self.drain()

    def stall(self, span_ns: int) -> None:
        """Let the process stand still: what arrives meanwhile is seen at the end of it."""
        self._held_until_ns = self._agenda.now_ns + span_ns
        self._held.append(("stall", Stall(late_ns=span_ns)))

    def _freeze(self, span_ns: int) -> None:
        """Stand still at once, in the middle of a step.

        What was signed and not sent leaves at the end, with the timestamp that it was signed with.
        """
        self._frozen = True
        self.stall(span_ns)
        self._held += self._inputs
        self._inputs.clear()

    def clock_step(self, by_ns: int) -> None:
        """Move the wall clock of the process against its monotonic clock."""
        self._wall_offset_ns += by_ns
        self._emit("clock", ClockStep(by_ns=by_ns))
        self.drain()

    # ------------------------------------------------------------ running

    def run(self, until_ns: int) -> None:
        """Run everything that is due up to and including a wall time."""
        with no_collector():
            while self._advance(until_ns):
                pass

    def _advance(self, until_ns: int) -> bool:
        """Run the agenda up to the next deadline of the kernel, then step that."""
        agenda, kernel, steps = self._agenda, self.kernel, self.steps
        deadline = self.deadline()
        while (due := agenda.next_due()) is not None and (deadline is None or due <= deadline):
            if due > until_ns:
                return False
            agenda.pop_run()
            if self._inputs:
                self.drain()
            if self.steps != steps or self.kernel is not kernel or self._held:
                kernel, steps = self.kernel, self.steps
                deadline = self.deadline()
        if deadline is None or deadline > until_ns:
            if agenda.now_ns < until_ns:
                agenda.advance(until_ns)
            return False
        if deadline > agenda.now_ns or self._held:
            agenda.advance(max(deadline, agenda.now_ns))
        if self._held:
            self._wake()
        else:
            self._step("tick", Tick())
        return True

    def deadline(self) -> int | None:
        """Wall time of the agenda at which the kernel must be stepped though nothing arrives."""
        if self.kernel is None:
            return None
        if self._held:
            return self._held_until_ns
        mono = self.kernel.next_deadline()
        if mono is None:
            return None
        wall, now = self._born_ns + mono, self._agenda.now_ns
        return max(now, wall)

    def _emit(self, key: str, body: InputBody) -> None:
        if self._held:
            self._held.append((key, body))
        else:
            self._inputs.append((key, body))

    def drain(self) -> None:
        """Step what has arrived; called from outside where another driver runs the agenda."""
        while self._inputs:
            key, body = self._inputs.popleft()
            self._step(key, body)

    def _wake(self) -> None:
        held, self._held = self._held, []
        unsent, self._unsent, self._frozen = self._unsent, [], False
        for effect in unsent:
            if isinstance(effect.body, Stopped):
                self._stopped(effect.body)
                return
            self.world.accept(effect)
        self._inputs.extend(held)
        self.drain()

    def _step(self, key: str, body: InputBody) -> None:
        kernel = self.kernel
        if kernel is None:
            return
        now = self._agenda.now_ns
        if now == self._instant_ns:
            self._guard()
        else:
            self._instant_ns, self._steps_there = now, 0
        item = Input(
            self._seq,
            TsNs(now + self._wall_offset_ns),
            MonoNs(now - self._born_ns),
            key,
            body,
        )
        if self.ambush is not None and (death := self.ambush()) is not None:
            self._end("crash", death, item)
            return
        self._seq += 1
        self.steps += 1
        self._done(item, kernel.step(item))
        if self.steps % COLLECT_EVERY == 0:
            gc.collect()

    def _done(self, item: Input, result: StepResult) -> None:
        """What a step gave is seen, and leaves."""
        for see in self._seers:
            see(item, result)
        for effect in result.effects:
            if self._frozen:
                self._unsent.append(effect)
            elif self.trap is None and type(effect.body) is not Stopped:
                self.world.accept(effect)
            elif not self._let_out(effect):
                return

    def _let_out(self, effect: Effect) -> bool:
        """Hand one effect to the world; False: the kernel died with it."""
        fate = self.trap(effect) if self.trap is not None else None
        if isinstance(fate, Freeze):
            self._freeze(fate.span_ns)
            self._unsent.append(effect)
            return True
        if fate is None or not fate.before:
            self.world.accept(effect)
        if fate is not None:
            self._end("crash", fate)
            return False
        if isinstance(effect.body, Stopped):
            self._stopped(effect.body)
            return False
        return True

    def _stopped(self, body: Stopped) -> None:
        self._end("stopped", Death())
        if body.restart:
            self.start("restart")

    def _end(self, reason: str, death: Death, item: Input | None = None) -> None:
        """End this life; `item`: it dies while it works on that."""
        kernel, database = self.kernel, self._database
        if kernel is None:
            return
        cut = None
        if database is not None and death.cut is not None:
            cut = partial(database.cut, meanwhile=death.cut)
        self.world.disconnect(applied=death.applied, cut=cut, drained=death.drained)
        self.crashes += kernel.crashes
        if item is None or cut is not None:
            kernel.close()
        else:
            kernel.die_in(item)
        self.kernel = None
        self._inputs.clear()
        self._held.clear()
        self._unsent.clear()
        self._frozen = False
        self._wall_offset_ns = 0
        self.stopped = reason == "stopped"
        for sink in self.sinks:
            sink.died(reason)
        if database is not None:
            database.buried()

    def _guard(self) -> None:
        self._steps_there += 1
        if self._steps_there > LIVELOCK:
            at_ns = self._instant_ns
            raise InvariantViolation(f"{LIVELOCK} steps at {at_ns} ns: the world is in a loop")
