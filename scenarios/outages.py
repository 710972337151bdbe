"""Outages by schedule: the database is away, gone, slow, or the disk is full, while a kernel lives.

One comes in every quarter of an hour, for seconds to minutes. It waits for its drawn time, then
begins at the n-th order, stop or cancel, so that it falls between what belongs together; where none
comes, at anything. A death that is to meet a spool in use, or one that is drained, has an outage of
its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

from kernel.model.draws import draw
from kernel.model.units import MINUTE, SECOND
from venues.sim.agenda import RANK_MESSAGE

if TYPE_CHECKING:
    from scenarios.world import World

EVERY_NS = 15 * MINUTE
SHORTEST_S, LONGEST_S = 2, 240
MOST_EFFECTS = 4
PATIENCE_NS = 9 * MINUTE
"""An outage waits no longer than this for its effect."""


class Trouble(StrEnum):
    """What an outage is."""

    AWAY = "away"
    """The database takes no request."""
    GONE = "gone"
    """Its server is stopped, and started again."""
    SLOW = "slow"
    """It answers when this is over; who waits longer than a statement may hears of a failure."""
    FULL = "full"
    """The spool takes nothing, the database does."""
    BOTH = "away and full"
    """Neither takes anything."""


LIVED_THROUGH = (Trouble.AWAY, Trouble.GONE, Trouble.SLOW, Trouble.FULL, Trouble.BOTH)
SPOOLS = (Trouble.AWAY, Trouble.GONE)


class Outage(msgspec.Struct, frozen=True, order=True):
    """Trouble that lasts `span_ns`, from the `nth` effect that matters after `at_ns` on."""

    at_ns: int
    nth: int
    span_ns: int
    kind: str


class Stops(Protocol):
    """Stops a database server and starts it; see `Killer`."""

    def stop(self) -> None:
        """See `Killer.stop`."""

    def repair(self) -> None:
        """See `Killer.repair`."""


def plan_outages(
    seed: int, start_ns: int, end_ns: int, *, spooled: Sequence[int] = (), server: bool = False
) -> list[Outage]:
    """The outages of a run, by time: in its first four fifths, so that it converges.

    Args:
        seed: Of the draws.
        start_ns: Of the run.
        end_ns: Of the run.
        spooled: When a death wants an outage of its own.
        server: There is a server that can be stopped; else it is as if it were away.
    """
    last_ns = start_ns + (end_ns - start_ns) * 8 // 10
    begins: list[tuple[int, Sequence[Trouble]]] = [
        (begin_ns + draw(seed, "outage begins", n, EVERY_NS // SECOND) * SECOND, LIVED_THROUGH)
        for n, begin_ns in enumerate(range(start_ns, last_ns - EVERY_NS, EVERY_NS))
    ]
    begins += [(at_ns, SPOOLS) for at_ns in spooled]
    made = []
    for n, (at_ns, kinds) in enumerate(begins):
        kind = kinds[draw(seed, "outage kind", n, len(kinds))]
        if kind is Trouble.GONE and not server:
            kind = Trouble.AWAY
        nth = 1 + draw(seed, "outage effect", n, MOST_EFFECTS)
        span_s = SHORTEST_S + draw(seed, "outage lasts", n, LONGEST_S - SHORTEST_S)
        made.append(Outage(at_ns, nth, span_s * SECOND, kind.value))
    return sorted(made)


class Outages:
    """Lets the planned outages happen in a world.

    Args:
        world: Whose store is away.
        planned: By time.
        stops: The server that is stopped; None: there is none.
    """

    def __init__(self, world: World, planned: Sequence[Outage], stops: Stops | None) -> None:
        self._agenda = world.agenda
        self._planned = list(planned)
        self._waited = 0
        self._gone_until_ns = 0
        self._stops = stops
        store = world.store
        self._acts = {
            Trouble.AWAY.value: (store.down,),
            Trouble.GONE.value: (store.gone,),
            Trouble.SLOW.value: (store.stall,),
            Trouble.FULL.value: (store.fill_disk,),
            Trouble.BOTH.value: (store.down, store.fill_disk),
        }

    def at_effect(self, *, matters: bool) -> None:
        """An effect is about to leave: begin what waits for it."""
        now = self._agenda.now_ns
        if not self._planned or now < self._planned[0].at_ns:
            return
        plan = self._planned[0]
        self._waited += matters
        if self._waited < plan.nth and now - plan.at_ns <= PATIENCE_NS:
            return
        del self._planned[0]
        self._waited = 0
        until_ns = now + plan.span_ns
        for act in self._acts[plan.kind]:
            act(now, until_ns)
        if plan.kind == Trouble.GONE:
            self._gone_until_ns = max(self._gone_until_ns, until_ns)
            self._agenda.push(until_ns, RANK_MESSAGE, self.enforce)
            self.enforce()

    def enforce(self) -> None:
        """Have the server run or not, as it is to be now; somebody may have repaired it."""
        if self._stops is None:
            return
        if self._agenda.now_ns < self._gone_until_ns:
            self._stops.stop()
        else:
            self._stops.repair()
