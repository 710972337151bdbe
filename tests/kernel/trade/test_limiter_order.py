"""Who goes first where budgets are short, and what reservations keep and give back."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.model.traits import TRAITS
from kernel.model.units import MINUTE, SECOND, MonoNs
from kernel.model.venue import EffectClass
from kernel.trade.budgets import ORDERS, QUERIES, Cost
from kernel.trade.limiter import PRIORITY, Bucket, Limiter
from tests.kernel.trade.parts import Bench

PROTECT, EXIT, ENTRY, QUERY = PRIORITY
PAIRS = [(waits, asks) for waits in PRIORITY for asks in PRIORITY]
MANY, FEW = 500, 5
WEIGHT = 1200
"""Of Binance, a minute."""


class Limited:
    """A limiter, who was granted a budget and when."""

    def __init__(self, venue: str = "binance") -> None:
        self.bench = Bench()
        self.limiter = Limiter(self.bench.runtime, TRAITS[venue])
        self.log: list[tuple[str, int]] = []
        self.held: list[Any] = []

    def at(self, ns: int) -> Limited:
        self.bench.at(ns)
        return self

    def take(self, units: int, cls: EffectClass, bucket: str = QUERIES) -> bool:
        return self.limiter.take(((bucket, units),), cls)

    def wait(self, name: str, cost: Cost, cls: EffectClass, timeout_ns: int = 3600 * SECOND):
        async def one() -> None:
            granted = await self.limiter.wait(cost, cls, timeout_ns)
            self.log.append((name if granted else f"no {name}", self.bench.runtime.now()))

        self.bench.runtime.spawn(one(), name)
        self.bench.runtime.run_ready()

    def reserve(self, entries: int = 1, timeout_ns: int = 3600 * SECOND) -> Any:
        """A reservation; None: it waits for one, which will be in `held`."""

        async def one() -> None:
            made = await self.limiter.reserve(entries, timeout_ns)
            self.held.append(made)
            self.log.append(("reserved" if made else "not reserved", self.bench.runtime.now()))

        before = len(self.held)
        self.bench.runtime.spawn(one(), "reserve")
        self.bench.runtime.run_ready()
        return self.held[-1] if len(self.held) > before else None

    def kept(self) -> dict[str, tuple[int, int]]:
        """What is held in each bucket: all, and for entries themselves."""
        buckets = self.limiter.buckets
        found = {name: (one.held, one.entries_held) for name, one in buckets.items()}
        return {name: one for name, one in found.items() if one != (0, 0)}


def short_of(cls: EffectClass) -> Limited:
    """Where this class may take ten units more, and nobody so many as `MANY`."""
    made = Limited()
    made.take(made.limiter.buckets[QUERIES].limits[cls] - 10, PROTECT)
    return made


def test_who_asks_goes_at_once_only_before_what_is_less_urgent():
    for waits, asks in PAIRS:
        made = short_of(asks)
        assert made.take(FEW, asks), "as long as nobody waits"
        made.wait("many", ((QUERIES, MANY),), waits)
        goes = PRIORITY.index(asks) < PRIORITY.index(waits)
        assert made.take(FEW, asks) is goes, (waits, asks)


def test_who_waits_keeps_its_bucket_from_those_behind():
    for waits, behind in PAIRS:
        made = short_of(behind)
        made.wait("many", ((QUERIES, MANY),), waits)
        made.wait("few", ((ORDERS, 1), (QUERIES, FEW)), behind)
        made.at(5 * MINUTE)
        goes = PRIORITY.index(behind) < PRIORITY.index(waits)
        assert made.log[0] == (("few", 0) if goes else ("many", MINUTE)), (waits, behind)
        assert len(made.log) == 2


def test_what_is_owed_of_a_bucket_makes_no_difference_to_what_protects():
    made = short_of(QUERY)
    made.limiter.owe(QUERIES, "AAAUSDT", MonoNs(0))
    made.wait("many", ((QUERIES, MANY),), EXIT)
    made.wait("few", ((QUERIES, FEW),), QUERY)
    made.at(MINUTE)
    assert made.log == [("many", MINUTE), ("few", MINUTE)]


def test_who_gave_up_waiting_is_in_nobodys_way():
    made = short_of(QUERY)
    made.wait("many", ((QUERIES, MANY),), PROTECT, timeout_ns=2)
    made.wait("more", ((QUERIES, MANY),), PROTECT, timeout_ns=3)
    made.at(2)
    assert made.log == [("no many", 2)]
    assert not made.take(FEW, QUERY)
    made.at(3)
    assert made.take(FEW, QUERY)
    assert made.bench.runtime.next_deadline() is None


def test_who_gave_up_waiting_lets_those_go_who_waited_behind_it():
    made = short_of(QUERY)
    made.wait("many", ((QUERIES, MANY),), PROTECT, timeout_ns=2)
    made.wait("few", ((QUERIES, FEW),), QUERY)
    made.at(2)
    assert made.log == [("no many", 2), ("few", 2)]


def test_nothing_is_planned_while_nobody_waits():
    made = short_of(QUERY)
    made.limiter.exhaust(QUERIES, MonoNs(SECOND))
    made.limiter.correct(QUERIES, used=1100)
    assert made.bench.runtime.next_deadline() is None
    made.wait("one", ((QUERIES, 200),), PROTECT)
    assert made.bench.runtime.next_deadline() == SECOND
    made.at(SECOND)
    assert made.bench.runtime.next_deadline() == MINUTE
    made.limiter.correct(QUERIES, capacity=2000)
    made.bench.runtime.run_ready()
    assert made.log == [("one", SECOND)]
    assert made.bench.runtime.next_deadline() is None


# ------------------------------------------------------------------------ reservations


@pytest.mark.parametrize(
    ("venue", "entries", "kept"),
    [
        ("binance", 1, {ORDERS: (3, 1), QUERIES: (3, 1)}),
        ("binance", 2, {ORDERS: (6, 2), QUERIES: (6, 2)}),
        ("bybit", 1, {"create": (2, 1), "trading_stop": (1, 0), QUERIES: (3, 1)}),
        ("bybit", 2, {"create": (4, 2), "trading_stop": (2, 0), QUERIES: (6, 2)}),
    ],
)
def test_a_reservation_keeps_entries_stops_and_closes_and_gives_them_back_once(
    venue, entries, kept
):
    made = Limited(venue)
    reservation = made.reserve(entries)
    assert made.kept() == kept
    assert made.log == [("reserved", 0)]
    reservation.release()
    assert made.kept() == {}
    made.reserve(entries)
    reservation.release()
    assert made.kept() == kept, "of the second one"


ENTRY_ORDER: Cost = ((ORDERS, 1), (QUERIES, 1))


def test_an_entry_uses_what_is_held_for_it_and_what_is_left_goes_back():
    made = Limited()
    first, second = made.reserve(), made.reserve()
    assert made.limiter.take(ENTRY_ORDER, ENTRY)
    assert made.kept() == {ORDERS: (5, 1), QUERIES: (5, 1)}
    assert made.limiter.take(ENTRY_ORDER, ENTRY)
    assert made.kept() == {ORDERS: (4, 0), QUERIES: (4, 0)}
    first.release()
    assert made.kept() == {ORDERS: (2, 0), QUERIES: (2, 0)}
    second.release()
    assert made.kept() == {}
    assert made.limiter.buckets[ORDERS].used == 2


def test_a_reservation_that_ends_unused_leaves_that_of_another_as_it_is():
    made = Limited()
    first, second = made.reserve(), made.reserve()
    first.release()
    assert made.kept() == {ORDERS: (3, 1), QUERIES: (3, 1)}
    assert made.limiter.take(ENTRY_ORDER, ENTRY)
    second.release()
    assert made.kept() == {}


def test_what_is_given_back_lets_those_go_who_wait_for_it():
    made = Limited()
    reservations = [made.reserve() for _ in range(11)]
    assert made.reserve() is None
    made.at(5)
    reservations[0].release()
    made.at(6)
    assert made.log[-1] == ("reserved", 5)


def test_who_waits_to_be_reserved_keeps_its_buckets_from_queries():
    made = Limited()
    for _ in range(11):
        made.reserve()
    made.limiter.buckets[ORDERS].take(2, PROTECT, 0)
    assert made.take(1, QUERY)
    assert made.reserve() is None
    assert not made.take(1, QUERY)
    assert made.take(1, EXIT)
    made.wait("query", ((ORDERS, 1),), QUERY)
    made.held[0].release()
    made.at(1)
    assert made.log[11:] == [("reserved", 0)]


def test_a_held_entry_passes_those_that_wait_to_be_reserved_and_nobody_else_does():
    made = Limited()
    reservation = made.reserve()
    for _ in range(10):
        made.reserve()
    assert made.reserve() is None
    assert not made.take(1, QUERY)
    assert made.limiter.take(ENTRY_ORDER, ENTRY)
    made.wait("stop", ((QUERIES, WEIGHT),), PROTECT)
    assert not made.limiter.take(ENTRY_ORDER, ENTRY), "protection goes before it"
    reservation.release()


def test_an_entry_without_a_reservation_queues_behind_those_that_wait_for_one():
    made = Limited()
    made.limiter.buckets[ORDERS].take(33, PROTECT, 0)
    assert made.reserve() is None
    assert not made.limiter.take(ENTRY_ORDER, ENTRY)


def test_a_held_entry_that_had_to_wait_goes_before_those_that_wait_to_be_reserved():
    """Behind them it would wait for itself: they wait for what it holds."""
    made = Limited()
    for _ in range(11):
        made.reserve()
    made.limiter.exhaust(ORDERS, MonoNs(SECOND))
    assert made.reserve() is None
    made.wait("entry", ENTRY_ORDER, ENTRY)
    made.at(SECOND)
    assert made.log[11:] == [("entry", SECOND)]


def test_entries_that_wait_for_what_is_owed_hold_up_no_query():
    made = Limited()
    made.limiter.owe(ORDERS, "AAAUSDT", MonoNs(0))
    made.wait("entry", ENTRY_ORDER, ENTRY)
    made.wait("query", ENTRY_ORDER, QUERY)
    made.at(MINUTE)
    assert made.log == [("query", 0), ("entry", 10 * SECOND)]


# ------------------------------------------------------------------------ one bucket


def test_an_entry_that_is_held_is_used_up_by_itself():
    used = Bucket(100, 10)
    used.held, used.entries_held = 3, 1
    used.take(1, ENTRY, 0)
    assert (used.used, used.held, used.entries_held) == (1, 2, 0)


def test_a_class_may_go_as_far_as_its_share_beside_what_is_held():
    used = Bucket(100, 10)
    used.held, used.entries_held = 10, 1
    assert used.has_room(50, QUERY, 0)
    assert not used.has_room(51, QUERY, 0)
    used.take(1, PROTECT, 0)
    assert not used.has_room(50, QUERY, 0)
    assert used.has_room(89, EXIT, 0)
    assert not used.has_room(90, EXIT, 0)


def test_what_left_the_window_is_not_counted_against_what_the_venue_says():
    used = Bucket(100, 10)
    used.take(10, PROTECT, 0)
    used.correct(5, 12)
    assert used.used == 5
    assert used.next_change_ns(12) == 22


def test_a_venue_that_counts_as_many_changes_nothing():
    used = Bucket(100, 10)
    used.correct(0, 4)
    assert used.next_change_ns(4) == 0
    used.take(7, PROTECT, 4)
    used.correct(7, 6)
    used.expire(14)
    assert used.used == 0


@pytest.mark.parametrize(
    ("owed", "now", "change"),
    [
        ({}, 3, 10),
        ({"A": 5}, 3, 5),
        ({"A": 5, "B": 4}, 3, 4),
        ({"A": 15}, 3, 10),
        ({"A": 5}, 5, 10),
        ({"A": 5, "B": 8}, 6, 8),
    ],
)
def test_the_next_change_is_the_first_that_is_still_to_come(owed, now, change):
    used = Bucket(100, 10)
    used.take(1, PROTECT, 0)
    used.owed = owed
    assert used.next_change_ns(now) == change


def test_waits_that_are_given_up_together_take_nothing():
    made = short_of(QUERY)
    used, runtime = made.limiter.buckets[QUERIES].used, made.bench.runtime

    async def both() -> None:
        with runtime.scope() as scope:
            async with runtime.group() as group:
                for units in (MANY, FEW):
                    cost = ((QUERIES, units),)
                    group.spawn(made.limiter.wait(cost, QUERY, MINUTE), f"{units}")
                await runtime.sleep(1)
                scope.cancel()

    runtime.spawn(both(), "both")
    made.at(2)
    assert made.limiter.buckets[QUERIES].used == used
    assert made.take(FEW, QUERY)
