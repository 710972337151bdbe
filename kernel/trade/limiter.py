"""Rate budgets of one venue.

1. A bucket grants at most `capacity` units in *any* window of its length, so that it holds for
   venues that count in fixed windows and for those that slide.
2. Priorities: PROTECT > EXIT > ENTRY > QUERY; first in, first out inside one. Each class may fill
   a bucket only up to its share: what is above belongs to the more urgent ones.
3. A request waits for its own buckets only; who waits for another bucket is not in its way.
4. An entry goes out only while the budgets of its stop and of its close are held as well.
5. A protective request that the venue refused for want of budget goes first: until it is sent
   again, at most `OWED_NS` after its bucket opens, no entry uses that bucket.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from kernel.model.units import SECOND, MonoNs
from kernel.model.venue import EffectClass
from kernel.runtime.errors import TimedOut
from kernel.trade.budgets import Cost, entry_cost, limits

if TYPE_CHECKING:
    from kernel.model.traits import VenueTraits
    from kernel.runtime.primitives import Future
    from kernel.runtime.scheduler import Runtime
    from kernel.runtime.timers import TimerHandle

PRIORITY = (EffectClass.PROTECT, EffectClass.EXIT, EffectClass.ENTRY, EffectClass.QUERY)
SHARE = {
    EffectClass.PROTECT: 100,
    EffectClass.EXIT: 90,
    EffectClass.ENTRY: 70,
    EffectClass.QUERY: 60,
}
"""Percent of a bucket that a class may fill."""
OWED_NS = 10 * SECOND
"""More than the pauses before a refused stop or close is sent again, if it still is needed."""


class Bucket:
    """One budget: units in a rolling window."""

    __slots__ = (
        "_uses",
        "blocked_until_ns",
        "capacity",
        "entries_held",
        "held",
        "limits",
        "owed",
        "used",
        "window_ns",
    )

    def __init__(self, capacity: int, window_ns: int) -> None:
        self.window_ns = window_ns
        self.resize(capacity)
        self.used = 0
        self.held = 0
        """Units kept for entries that were reserved, their stops and their closes."""
        self.entries_held = 0
        """Of these, the units of the entries themselves."""
        self.blocked_until_ns = 0
        self.owed: dict[str, int] = {}
        """Symbols whose refused protection goes before any entry → until when."""
        self._uses: deque[tuple[int, int]] = deque()

    def resize(self, capacity: int) -> None:
        """Take over another number of units a window."""
        self.capacity = capacity
        self.limits = {cls: capacity * share // 100 for cls, share in SHARE.items()}

    def has_room(self, units: int, cls: EffectClass, now_ns: int) -> bool:
        """Whether a class may take so many units now."""
        if now_ns < self.blocked_until_ns:
            return False
        if cls is EffectClass.ENTRY and self.owes(now_ns):
            return False
        self.expire(now_ns)
        limit, taken = self.limits[cls], self.used
        unreserved = cls is EffectClass.ENTRY and self.entries_held < units
        if unreserved or cls is EffectClass.QUERY:
            taken += self.held
        return taken == 0 or taken + units <= limit

    def can_hold(self, units: int, now_ns: int) -> bool:
        """Whether so many units can be kept for an entry."""
        self.expire(now_ns)
        limit = self.limits[EffectClass.ENTRY]
        taken = self.used + self.held
        if now_ns < self.blocked_until_ns or self.owes(now_ns):
            return False
        return taken + units <= limit or (taken == 0 and units <= self.capacity)

    def owes(self, now_ns: int) -> bool:
        """Whether a protective request that was refused is still to go out."""
        return any(until_ns > now_ns for until_ns in self.owed.values())

    def take(self, units: int, cls: EffectClass, now_ns: int) -> None:
        """Use units; an entry uses what was held for it first."""
        if cls is EffectClass.ENTRY and self.entries_held >= units:
            self.entries_held -= units
            self.held -= units
        self.used += units
        self._uses.append((now_ns, units))

    def expire(self, now_ns: int) -> None:
        """Give back what left the window."""
        uses = self._uses
        while uses and uses[0][0] + self.window_ns <= now_ns:
            self.used -= uses.popleft()[1]

    def in_use(self, now_ns: int) -> int:
        """Units of the present window that are used or kept for entries."""
        self.expire(now_ns)
        return self.used + self.held

    def correct(self, used: int, now_ns: int) -> None:
        """The venue counts more than we do: another client uses the budget too (hazards B04)."""
        self.expire(now_ns)
        if used > self.used:
            self._uses.append((now_ns, used - self.used))
            self.used = used

    def next_change_ns(self, now_ns: int) -> int:
        """When there may be more room: the end of a block, of the oldest use, of what is owed.

        0: none of them.
        """
        if self.blocked_until_ns > now_ns:
            return self.blocked_until_ns
        ends = [until_ns for until_ns in self.owed.values() if until_ns > now_ns]
        if self._uses:
            ends.append(self._uses[0][0] + self.window_ns)
        return min(ends, default=0)


class Reservation:
    """Budget of some entries, with the budgets of their stops and closes, kept until released."""

    __slots__ = ("_limiter", "entries", "released")

    def __init__(self, limiter: Limiter, entries: int) -> None:
        self._limiter = limiter
        self.entries = entries
        self.released = False

    def release(self) -> None:
        """Give back what was not used; called when each position is protected or ended."""
        if not self.released:
            self.released = True
            self._limiter.give_back(self.entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class _Waiter:
    __slots__ = ("cls", "cost", "granted", "reserve")

    def __init__(
        self, cost: Cost, cls: EffectClass, granted: Future[None], *, reserve: int = 0
    ) -> None:
        self.cost = cost
        self.cls = cls
        self.granted = granted
        self.reserve = reserve


class Limiter:
    """The budgets of one venue and who waits for them."""

    def __init__(self, runtime: Runtime, traits: VenueTraits) -> None:
        self._runtime = runtime
        entry, protection = entry_cost(traits)
        self._entry_cost = entry
        self._held_cost = entry + protection
        self.buckets = {name: Bucket(*limit) for name, limit in limits(traits).items()}
        self._queues: dict[EffectClass, deque[_Waiter]] = {cls: deque() for cls in PRIORITY}
        self._outstanding = 0
        self._timer: TimerHandle | None = None

    # ------------------------------------------------------------ taking

    def take(self, cost: Cost, cls: EffectClass) -> bool:
        """Take a budget now; False: there is no room, or somebody waits who comes first."""
        if self._somebody_first(cls):
            return False
        now = self._runtime.now()
        for name, units in cost:
            if not self.buckets[name].has_room(units, cls, now):
                return False
        for name, units in cost:
            self.buckets[name].take(units, cls, now)
        return True

    async def wait(self, cost: Cost, cls: EffectClass, timeout_ns: int) -> bool:
        """Wait for a budget and take it; False: not within this time, nothing was taken."""
        return await self._queue(_Waiter(cost, cls, self._runtime.future()), timeout_ns)

    async def reserve(self, entries: int, timeout_ns: int) -> Reservation | None:
        """Keep the budgets of entries, of their stops and closes; None: not within this time."""
        assert entries > 0
        cost = tuple((name, units * entries) for name, units in _merged(self._held_cost))
        waiter = _Waiter(cost, EffectClass.ENTRY, self._runtime.future(), reserve=entries)
        if await self._queue(waiter, timeout_ns):
            return Reservation(self, entries)
        return None

    def give_back(self, entries: int) -> None:
        """End a reservation: what is held for it goes back, what it used stays used."""
        self._outstanding -= entries
        entry = dict(self._entry_cost)
        for name, units in _merged(self._held_cost):
            bucket = self.buckets[name]
            protection = units - entry.get(name, 0)
            bucket.held -= protection * entries
            unused = max(bucket.entries_held - entry.get(name, 0) * self._outstanding, 0)
            bucket.entries_held -= unused
            bucket.held -= unused
        self._pump()

    # ------------------------------------------------------------ what the venue says

    def exhaust(self, name: str, until_ns: MonoNs) -> None:
        """Nothing goes out of this bucket before a time."""
        bucket = self.buckets[name]
        bucket.blocked_until_ns = max(bucket.blocked_until_ns, until_ns)

    def owe(self, name: str, symbol: str, until_ns: MonoNs) -> None:
        """The venue refused what protects a symbol: entries wait until it was sent again.

        Args:
            name: The bucket that is used up.
            symbol: What is protected by the request.
            until_ns: When the bucket opens; entries wait at most `OWED_NS` longer.
        """
        self.buckets[name].owed[symbol] = until_ns + OWED_NS

    def protecting(self, symbol: str) -> None:
        """What protects a symbol goes out: entries wait for it no longer."""
        owing = [bucket for bucket in self.buckets.values() if symbol in bucket.owed]
        for bucket in owing:
            del bucket.owed[symbol]
        if owing:
            self._pump()

    def correct(
        self, name: str, *, capacity: int = 0, window_ns: int = 0, used: int = -1
    ) -> None:
        """Take over what the venue states: its limit, and how much of it is used (-1: not said)."""
        bucket = self.buckets.setdefault(name, Bucket(1, 1))
        bucket.resize(capacity or bucket.capacity)
        bucket.window_ns = window_ns or bucket.window_ns
        bucket.correct(used, self._runtime.now())
        self._pump()

    # ------------------------------------------------------------ waiting

    async def _queue(self, waiter: _Waiter, timeout_ns: int) -> bool:
        queue = self._queues[waiter.cls]
        queue.append(waiter)
        self._pump()
        try:
            with self._runtime.timeout(timeout_ns):
                await waiter.granted
        except TimedOut:
            return False
        finally:
            if not waiter.granted.done:
                queue.remove(waiter)
                self._pump()  # what it kept is there for those behind it
        return True

    def _somebody_first(self, cls: EffectClass) -> bool:
        """Whether an equal or more urgent request waits; it is asked again by `_pump`.

        An entry for which a budget is held does not queue behind those that wait for one to be
        held: they wait for it to be used.
        """
        holds = cls is EffectClass.ENTRY and self._outstanding > 0
        for other in PRIORITY:
            if holds and other is EffectClass.ENTRY:
                return False
            if self._queues[other]:
                return True
            if other is cls:
                break
        return False

    def _try(self, waiter: _Waiter, now_ns: int) -> bool:
        if self._lacking(waiter, now_ns):
            return False
        if waiter.reserve:
            entry = dict(self._entry_cost)
            for name, units in waiter.cost:
                bucket = self.buckets[name]
                bucket.held += units
                bucket.entries_held += entry.get(name, 0) * waiter.reserve
            self._outstanding += waiter.reserve
            return True
        for name, units in waiter.cost:
            self.buckets[name].take(units, waiter.cls, now_ns)
        return True

    def _lacking(self, waiter: _Waiter, now_ns: int) -> list[str]:
        """The buckets that have no room for it."""
        return [
            name
            for name, units in waiter.cost
            if not (
                self.buckets[name].can_hold(units, now_ns)
                if waiter.reserve
                else self.buckets[name].has_room(units, waiter.cls, now_ns)
            )
        ]

    def _kept(self, waiter: _Waiter, now_ns: int) -> list[str]:
        """The buckets that it keeps from those behind it, which need not wait for what is owed."""
        lacking = self._lacking(waiter, now_ns)
        if waiter.cls is not EffectClass.ENTRY:
            return lacking
        return [name for name in lacking if not self.buckets[name].owes(now_ns)]

    def _pump(self) -> None:
        """Grant in order of priority; who waits for a bucket keeps it from those behind."""
        now = self._runtime.now()
        starved: dict[str, None] = {}
        for cls in PRIORITY:
            queue = self._queues[cls]
            for waiter in sorted(queue, key=_reserves):
                if waiter.granted.abandoned:
                    continue  # given up; its own end takes it out of the queue
                if any(name in starved for name, _ in waiter.cost) or not self._try(waiter, now):
                    starved.update(dict.fromkeys(self._kept(waiter, now)))
                    continue
                queue.remove(waiter)
                waiter.granted.set_result(None)
        self._arm()

    def _arm(self) -> None:
        """Look again when the first bucket that somebody waits for changes."""
        if self._timer is not None:
            self._timer.cancel()
        if not any(self._queues.values()):
            return
        now = self._runtime.now()
        changes = [
            at
            for bucket in self.buckets.values()
            if (at := bucket.next_change_ns(now)) > now
        ]
        if changes:
            self._timer = self._runtime.call_at(min(changes), self._pump)


def _reserves(waiter: _Waiter) -> bool:
    """Entries whose budget is held come before those that still ask for one."""
    return waiter.reserve > 0


def _merged(cost: Cost) -> Cost:
    made: dict[str, int] = {}
    for name, units in cost:
        made[name] = made.get(name, 0) + units
    return tuple(made.items())
