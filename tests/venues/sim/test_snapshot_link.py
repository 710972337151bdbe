"""The parts of a snapshot travel side by side, and come back as one answer or the first failure."""

import msgspec
import pytest

from kernel.model.orders import OrderClass
from kernel.model.units import MS
from kernel.model.venue import SNAPSHOT_PARTS, Failure, QuerySnapshot, SnapshotPage
from tests.venues.sim.desk import Desk
from venues.sim.fault_kinds import (
    AckDelay,
    AckDrop,
    OmitClass,
    Reject,
    RequestDelay,
    RequestDrop,
    RestLag,
    Target,
)
from venues.sim.legs import Delay, Legs
from venues.sim.quota import Budget

SURFACES = ("positions", "PLAIN", "CONDITIONAL")
APART = RequestDelay(dt_ns=0, target=Target(kinds=("submit",)))
"""Meets nothing here, but lets each part travel by itself."""


def asked(*faults, venue="binance", **more):
    desk = Desk(venue, faults=faults, **more)
    desk.market("0.01")
    desk.stop("0.01", "50000")
    desk.run_to(100)
    desk.call(QuerySnapshot())
    return desk.run_to(20_000).answers()


@pytest.mark.parametrize("venue", ["binance", "bybit"])
@pytest.mark.parametrize("faults", [(), (APART,)])
def test_a_snapshot_is_one_answer_with_what_each_surface_shows(venue, faults):
    ((at, page),) = asked(*faults, venue=venue)
    assert at == 110
    assert [row.symbol for row in page.positions.positions] == ["BTCUSDT"]
    assert page.plain.orders == ()
    assert [order.client_order_id for order in page.conditional.orders] == ["s-1"]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("fault", [RequestDelay, AckDelay])
def test_a_snapshot_is_as_late_as_its_latest_part(surface, fault):
    ((at, page),) = asked(fault(dt_ns=70 * MS, target=Target(surface=surface)))
    assert at == 180
    assert isinstance(page, SnapshotPage)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("fault", [RequestDrop, AckDrop])
@pytest.mark.parametrize("more", [(), (APART,)])
def test_a_part_that_is_lost_leaves_the_snapshot_without_an_answer(surface, fault, more):
    assert asked(fault(target=Target(surface=surface)), *more) == []


@pytest.mark.parametrize(
    ("surface", "kind"),
    [("positions", "positions"), ("PLAIN", "open_orders"), ("CONDITIONAL", "open_orders")],
)
@pytest.mark.parametrize("more", [(), (APART,)])
def test_the_failure_of_a_part_is_the_failure_of_the_snapshot(surface, kind, more):
    ((at, failure),) = asked(Reject(code="-1000", target=Target(surface=surface)), *more)
    assert at == 110
    assert isinstance(failure, Failure)
    assert (failure.code, failure.request) == ("-1000", kind)


def test_a_failure_does_not_wait_for_a_part_that_is_late():
    late = RequestDelay(dt_ns=70 * MS, target=Target(surface="positions"))
    answers = asked(late, Reject(code="-1000", target=Target(surface="PLAIN")))
    assert [(at, reply.code) for at, reply in answers] == [(110, "-1000")]


def test_each_surface_of_a_snapshot_has_its_own_lag():
    lag = RestLag(lag_ns=3600_000 * MS, target=Target(surface="CONDITIONAL"))
    ((_, page),) = asked(lag)
    assert len(page.positions.positions) == 1
    assert page.conditional.orders == ()


def test_a_class_that_is_left_out_is_left_out_of_a_snapshot():
    ((_, page),) = asked(OmitClass(order_class=OrderClass.CONDITIONAL.value))
    assert page.conditional.orders == ()


def test_a_snapshot_costs_the_venue_as_much_as_its_parts():
    weighed = Budget(
        name="weight", limit=84, window_ns=60_000 * MS, code="-1003", text="too many",
        weights=(("positions", 5), ("open_orders", 40)),
    )  # fmt: skip
    ((_, failure),) = asked(budgets=(weighed,))
    assert (failure.code, failure.request) == ("-1003", "open_orders")
    ((_, page),) = asked(budgets=(msgspec.structs.replace(weighed, limit=85),))
    assert isinstance(page, SnapshotPage)


def test_each_part_of_a_snapshot_draws_its_own_jitter():
    legs = Legs(request=Delay(5 * MS, 40 * MS))
    ((at, page),) = asked(legs=legs)
    alone = []
    for part in SNAPSHOT_PARTS:
        desk = Desk(legs=legs)
        desk.run_to(100)
        for earlier in SNAPSHOT_PARTS:  # lists share a content key: the n-th has its own draw
            desk.call(earlier, key=repr(earlier))
        desk.run_to(1000)
        alone.append(next(ms for (ms, key, _) in [(a // MS, k, b) for a, k, b in desk.inputs]
                          if key == repr(part)))
    assert isinstance(page, SnapshotPage)
    assert at == max(alone)
