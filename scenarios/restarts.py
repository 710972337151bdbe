"""Judges each restart: within a bound the stored books are what the venues hold.

A sink beside the checker. Every few seconds after a start it compares; waves and faults go on, so a
comparison may fall into an entry and the next one counts. The next death may come first. While the
database is away the stored books stand still, so the bound counts from its return. The money of the
venues must be exact at every look.
"""

from __future__ import annotations

import msgspec

from kernel.model.messages import Input, StepResult
from kernel.model.units import SECOND
from scenarios.invariants import Checker
from scenarios.kernels import AnyKernel
from scenarios.world import World
from venues.sim.agenda import RANK_MESSAGE

LOOK_NS = 5 * SECOND
BOUND_NS = 300 * SECOND
"""Two sync periods and the longest proof of absence."""


class Restart(msgspec.Struct, frozen=True):
    """One start of a kernel; `settled_ns` after it the books agreed, -1: it died before."""

    born_ns: int
    settled_ns: int


class Restarts:
    """A sink that judges every start.

    Attributes:
        starts: Every start that is judged: settled, overtaken by a death, or too late.
    """

    def __init__(self, world: World, checker: Checker) -> None:
        self.starts: list[Restart] = []
        self._agenda = world.agenda
        self._store = world.store
        self._checker = checker
        self._life = 0
        self._born_ns = -1

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""

    def born(self, kernel: AnyKernel) -> None:
        """See `Sink.born`."""
        self._life += 1
        self._born_ns = self._agenda.now_ns
        self._later(self._life)

    def died(self, reason: str) -> None:
        """See `Sink.died`."""
        if self._born_ns >= 0:
            self._end(-1)

    def _later(self, life: int) -> None:
        due = self._agenda.now_ns + LOOK_NS
        self._agenda.push(due, RANK_MESSAGE, lambda: self._look(life))

    def _look(self, life: int) -> None:
        if life != self._life or self._born_ns < 0:
            return
        now, books = self._agenda.now_ns, self._checker.books
        found = books.money()
        differences = books.differences()
        if not differences:
            self._end(now - self._born_ns)
        elif now - self._counted_from(now) < BOUND_NS:
            self._later(life)
        else:
            found += [
                (invariant, venue, symbol, f"{words}, {self._since(now)}")
                for invariant, venue, symbol, words in differences
            ]
            self._end(-1)
        for invariant, venue, symbol, words in found:
            self._checker.violations.add(invariant, now, venue, symbol, words)

    def _counted_from(self, now_ns: int) -> int:
        return max(self._born_ns, self._store.troubled_until(self._born_ns, now_ns))

    def _since(self, now_ns: int) -> str:
        what = "a start" if self._counted_from(now_ns) == self._born_ns else "an outage"
        return f"{BOUND_NS // SECOND} s after {what}"

    def _end(self, settled_ns: int) -> None:
        self.starts.append(Restart(self._born_ns, settled_ns))
        self._born_ns = -1
