"""Whatever is asked of a venue, its books add up and what it tells is what is true."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.model.orders import FillKind, OrderClass, PriceSource, Side
from kernel.model.units import ZERO, install_decimal_context
from kernel.model.venue import (
    CancelOrder,
    QueryExecutions,
    QueryOpenOrders,
    QueryPositions,
    SetPositionStop,
)
from tests.venues.sim.desk import BTC, Desk, limit_order, market_order, stop_order
from venues.sim.fault_kinds import Cue, FillPlan, FillStep, TriggerPlan, VenueAct, When
from venues.sim.truth import LiveStop, OrderChanged, PositionChanged, StopGone, StopLive, Traded

SIDES = st.sampled_from([Side.BUY, Side.SELL])
QTYS = st.sampled_from(["0.001", "0.004", "0.01", "0.033"])
PRICES = st.integers(56_000, 64_000).map(str)
PROGRAMME = st.lists(
    st.one_of(
        st.tuples(st.just("market"), QTYS, SIDES, st.booleans()),
        st.tuples(st.just("limit"), QTYS, SIDES, PRICES, st.booleans()),
        st.tuples(st.just("stop"), QTYS, SIDES, PRICES),
        st.tuples(st.just("attach"), PRICES),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(1, 900)),
    ),
    max_size=25,
)
MARKET_FILLS = st.sampled_from(["last", "next"])
WALK = st.lists(st.integers(-900, 900), min_size=10, max_size=20)
FAULTS = st.lists(
    st.sampled_from(
        [
            FillPlan(steps=(FillStep(portion=Decimal("0.3")),
                            FillStep(dt_ns=40_000_000, portion=Decimal("0.3"))),
                     when=When(nth=2)),
            TriggerPlan(outcome="rejected", when=When(nth=1)),
            TriggerPlan(dt_ns=300_000_000, steps=(FillStep(portion=Decimal("0.5")),)),
            VenueAct(act="adl", portion=Decimal("0.4"), cue=Cue(event="fill", after_ns=5)),
            VenueAct(act="liquidation", cue=Cue(event="fill", nth=3, after_ns=1_000_000)),
            VenueAct(act="funding", rate=Decimal("0.00037"), cue=Cue(event="fill", nth=2)),
        ]
    ),
    max_size=3,
    unique_by=id,
)


def path_of(walk: list[int]) -> list[tuple[int, str]]:
    price, path = 60_000, [(0, "60000")]
    for n, move in enumerate(walk, start=1):
        price = min(max(price + move, 50_000), 70_000)
        path.append((n * 500, str(price)))
    return path


def apply(desk: Desk, act: tuple[Any, ...], n: int) -> None:
    match act:
        case ("market", qty, side, closing):
            desk.do(market_order(qty, side, f"e-{n}", reduce_only=closing))
        case ("limit", qty, side, price, closing):
            desk.do(limit_order(qty, price, side, f"e-{n}", reduce_only=closing))
        case ("stop", qty, side, price):
            desk.do(stop_order(qty, price, side, f"e-{n}"))
        case ("attach", price):
            desk.do(SetPositionStop(symbol=BTC, trigger_price=Decimal(price),
                                    trigger_by=PriceSource.MARK))
        case ("cancel", which):
            for order_class in (OrderClass.PLAIN, OrderClass.CONDITIONAL):
                desk.do(CancelOrder(symbol=BTC, order_class=order_class,
                                    client_order_id=f"e-{which}"))
        case ("wait", ms):
            desk.run_to((desk.agenda.now_ns // 1_000_000) - 1_700_000_000_000 + ms)


def trades(desk: Desk) -> list[Traded]:
    return [one for one in desk.of(Traded) if one.fill.kind is not FillKind.FUNDING]


def check_money(desk: Desk) -> None:
    account = desk.venue.account
    assert sum((entry.amount for entry in account.ledger), ZERO) == account.wallet
    assert sum(account.cash.values(), ZERO) == account.wallet
    bought = sum((t.fill.side.sign * t.fill.qty * t.fill.price for t in trades(desk)), ZERO)
    cost = sum((p.cost * (1 if p.qty > 0 else -1) for p in account.open.values()), ZERO)
    assert account.cash["REALIZED_PNL"] == cost - bought, "not a digit is lost"
    assert account.cash["FEE"] == -sum((t.fill.fee for t in trades(desk)), ZERO)
    margin = sum((p.margin for p in account.open.values()), ZERO)
    assert account.position_margin == margin
    assert account.order_margin >= 0


def check_quantities(desk: Desk) -> None:
    total = ZERO
    for traded in trades(desk):
        before = total
        total += traded.fill.side.sign * traded.fill.qty
        assert traded.position_qty == total
        if traded.reduce_only:
            assert before * total >= 0, "a closing order never turns a position"
            assert abs(total) < abs(before)
    assert desk.qty() == total
    ids = [traded.fill.trade_id for traded in desk.of(Traded)]
    assert len(dict.fromkeys(ids)) == len(ids)


def check_stops(desk: Desk) -> None:
    live: dict[str, LiveStop] = {}
    for event in desk.events:
        if isinstance(event, StopLive):
            live[event.stop.venue_order_id] = event.stop
        elif isinstance(event, StopGone):
            del live[event.stop.venue_order_id]
    snapshot = desk.venue.snapshot_truth()
    assert sorted(live) == sorted(stop.venue_order_id for stop in snapshot.stops)
    assert [live[stop.venue_order_id] for stop in snapshot.stops] == list(snapshot.stops)


def check_surfaces(desk: Desk) -> None:
    snapshot = desk.venue.snapshot_truth()
    listed = [
        order.venue_order_id
        for order_class in (OrderClass.PLAIN, OrderClass.CONDITIONAL)
        for order in desk.do(QueryOpenOrders(order_class=order_class)).orders
    ]
    assert sorted(listed) == sorted(order.venue_order_id for order in snapshot.open_orders)
    shown = desk.do(QueryPositions()).positions
    assert [(row.symbol, row.qty) for row in shown] == [
        (row.symbol, row.qty) for row in snapshot.positions
    ]
    fills = desk.do(QueryExecutions(symbol=BTC)).fills
    assert [f.qty for f in fills if f.kind is not FillKind.FUNDING] == [
        t.fill.qty for t in trades(desk)
    ]
    last: dict[str, OrderChanged] = {}
    for event in desk.of(OrderChanged):
        known = last.get(event.order.venue_order_id)
        assert known is None or not known.order.status.terminal, "an end is an end"
        last[event.order.venue_order_id] = event
    positions = desk.of(PositionChanged)
    assert [p.position.seq for p in positions] == sorted(p.position.seq for p in positions)


@pytest.mark.parametrize("venue", ["binance", "bybit"])
@given(programme=PROGRAMME, walk=WALK, faults=FAULTS, fill=MARKET_FILLS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_books_add_up_and_the_surfaces_agree(venue, programme, walk, faults, fill) -> None:
    install_decimal_context()
    desk = Desk(venue, path_of(walk), faults=tuple(faults), budgets=(), market_fill=fill)
    for n, act in enumerate(programme):
        apply(desk, act, n)
        check_quantities(desk)
        check_stops(desk)
    desk.run_to(60_000)
    check_money(desk)
    check_quantities(desk)
    check_stops(desk)
    check_surfaces(desk)


@pytest.mark.parametrize("venue", ["binance", "bybit"])
@given(programme=PROGRAMME, walks=st.tuples(WALK, WALK), faults=FAULTS, fill=MARKET_FILLS)
@settings(max_examples=40, deadline=None)
def test_looked_up_prices_and_played_prices_give_the_same_truth(
    venue, programme, walks, faults, fill
) -> None:
    def run(*, dense: bool) -> list[Any]:
        desk = Desk(
            venue, path_of(walks[0]), mark=path_of(walks[1]), faults=tuple(faults), dense=dense,
            budgets=(), market_fill=fill,
        )  # fmt: skip
        for n, act in enumerate(programme):
            apply(desk, act, n)
        return desk.run_to(60_000).events

    assert run(dense=False) == run(dense=True)
