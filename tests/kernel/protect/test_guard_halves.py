"""The guard's half-close: how it is recorded, and what becomes of one whose outcome is open."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import OrderClass, OrderType, Side
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import OrderRow
from tests.kernel.fakes import Rule
from tests.kernel.protect.test_guard_acts import Guarded, at_level

D = Decimal


@pytest.fixture
def bench():
    made: Any = Guarded()
    yield made
    assert made.crashes == []


def half(bench, **changes):
    """The order of a half-close that a process before sent."""
    fields = {
        "venue": "binance", "client_order_id": "wk1-1-abcdef-X0-9", "symbol": "BTCUSDT",
        "position_id": bench.position.id, "order_class": OrderClass.PLAIN,
        "order_type": OrderType.MARKET, "side": Side.SELL, "qty": D("0.002"), "reduce_only": True,
    }  # fmt: skip
    bench.position.update(guard_acted="MEDIUM,HIGH")
    return bench.services.orders.register(OrderRow(**(fields | changes)))


def test_a_half_that_was_never_placed_is_undone_and_may_be_done_again(bench):
    order = half(bench)
    assert ("guard.undone", "its half-close was never placed") in bench.look(1)
    assert bench.settled == [order]
    assert bench.position.row.guard_acted == "MEDIUM"
    assert bench.position.row in bench.store.rows


def test_a_half_that_the_venue_had_stays_done(bench):
    order = half(bench)

    async def settle(one):
        one.fills["t"] = next(iter(bench.position.fills.values()))

    bench.settle = settle
    assert bench.look(1) == []
    assert order.seen
    assert bench.position.row.guard_acted == "MEDIUM,HIGH"


@pytest.mark.parametrize(
    "changes",
    [
        {"order_class": OrderClass.CONDITIONAL},
        {"order_type": OrderType.LIMIT},
        {"reduce_only": False},
        {"intent_open": False},
    ],
    ids=str,
)
def test_what_is_no_open_half_is_not_settled(bench, changes):
    half(bench, **changes)
    assert bench.look(1) == []
    assert bench.settled == []
    assert bench.position.row.guard_acted == "MEDIUM,HIGH", "nor undone"


def test_a_half_that_is_not_seen_to_fill_is_settled(bench):
    bench.venue.rules.append(Rule("submit", errors.OutcomeUnknown, "t"))
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013"))
    at_level(bench, "high", 2)
    assert len(bench.settled) == 1
    assert "HIGH" not in bench.position.row.guard_acted


@pytest.mark.parametrize("acted", ["", "MEDIUM"])
def test_where_no_half_was_recorded_no_order_is_taken_for_one(bench, acted):
    half(bench)
    bench.position.update(guard_acted=acted)
    assert bench.look(1) == []
    assert bench.settled == []


def two_halves(bench, **changes):
    """Two orders of one half-close, as the market maximum makes them."""
    first = half(bench, client_order_id="wk1-1-abcdef-X1-9", **changes)
    return first, half(bench)


def test_of_several_halves_the_open_one_is_settled(bench):
    _, left = two_halves(bench, intent_open=False)
    bench.look(1)
    assert bench.settled == [left]


@pytest.mark.parametrize("seen", [0, 1])
def test_one_half_that_the_venue_had_is_enough_to_be_done(bench, seen):
    orders = two_halves(bench)
    never = bench.settle

    async def settle(one):
        if one is orders[seen]:
            one.fills["t"] = next(iter(bench.position.fills.values()))
        else:
            await never(one)

    bench.settle = settle
    assert bench.look(1) == []
    assert bench.position.row.guard_acted == "MEDIUM,HIGH"


def test_of_a_position_that_ended_meanwhile_nothing_is_undone(bench):
    half(bench)
    never = bench.settle

    async def settle(one):
        await never(one)
        bench.position.row = msgspec.structs.replace(bench.position.row, state=PositionState.CLOSED)

    bench.settle = settle
    assert bench.look(1) == []
    assert bench.position.row.guard_acted == "MEDIUM,HIGH"


def test_a_half_close_is_recorded_together_with_its_order(bench):
    batches = []
    commit = bench.store.commit

    async def noted(rows, cls):
        batches.append(rows)
        return await commit(rows, cls)

    bench.store.commit = noted
    at_level(bench, "high", 2)
    kinds = [
        [type(one) for one in rows]
        for rows in batches
        if any(isinstance(one, PositionRow) and "HIGH" in one.guard_acted for one in rows)
    ]
    assert OrderRow in kinds[0]


@pytest.mark.parametrize(("task", "level"), [("guard", "medium"), ("settle", "healthy")])
def test_what_works_for_a_position_is_known_as_its_task(bench, task, level):
    owners: dict[str, object] = {}
    supervise = bench.services.supervise

    def noted(name, factory, *, position=None):
        owners.setdefault(name.partition(" ")[0], position)
        return supervise(name, factory, position=position)

    bench.services.supervise = noted
    if task == "settle":
        half(bench)
        bench.look(1)
    else:
        at_level(bench, level)
    assert owners[task] is bench.position
