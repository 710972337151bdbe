"""Aged positions: an exit that found no rate budget is tried again between two checks."""

from typing import Any

import pytest

from kernel import errors
from kernel.model.orders import OrderType
from kernel.model.units import SECOND
from tests.kernel.fakes import Rule
from tests.kernel.protect.test_aged import Aging


@pytest.fixture
def bench():
    made: Any = Aging()
    yield made
    assert made.crashes == []


def unsent(bench, times=1_000_000):
    """So many limits find no budget."""
    bench.venue.rules.append(
        Rule(
            "submit", errors.NotSent, "t", times=times,
            when=lambda one: one.order_type is OrderType.LIMIT,
        )
    )  # fmt: skip


def looks(bench, seconds):
    """When an aged position was found, for so long from a check on, in whole seconds."""
    began, times = bench.runtime.now(), []
    bench.old(4)
    bench.aged.check("binance")
    for at in range(seconds):
        known = len(bench.kinds("aged.found"))
        bench.run(began + at * SECOND + SECOND // 2)
        times += (len(bench.kinds("aged.found")) - known) * [at]
    return times


def test_it_is_tried_every_fifteen_seconds_until_it_is_sent(bench):
    unsent(bench, times=3)
    assert looks(bench, 200) == [0, 15, 30, 45]
    assert bench.exits.resting.of(bench.position) is not None


def test_where_the_venue_takes_no_requests_it_is_tried_when_that_ends(bench):
    gateway = bench.services.desks["binance"].gateway
    gateway.banned_until_ns = bench.runtime.now() + 100 * SECOND
    assert looks(bench, 200) == [0, 100]
    assert len(bench.limits()) == 1


def test_two_checks_that_find_no_budget_postpone_it_once(bench):
    unsent(bench, times=2)
    bench.look(4)
    assert looks(bench, 60) == [0, 14]


def test_it_is_no_refusal(bench):
    bench.quote("41200", "41210")
    unsent(bench)
    bench.old(12)
    bench.aged.check("binance")
    bench.run(bench.runtime.now() + 300 * SECOND)
    assert not bench.closed()
    assert bench.alerts("aged.emergency") == []


def test_what_looks_at_a_position_is_known_as_its_task(bench):
    owners: dict[str, object] = {}
    supervise = bench.services.supervise

    def noted(name, factory, *, position=None):
        owners[name.partition(" ")[0]] = position
        return supervise(name, factory, position=position)

    bench.services.supervise = noted
    bench.look(4)
    assert owners["age"] is bench.position
