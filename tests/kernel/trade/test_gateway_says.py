"""What one request uses, what is counted of it, and what follows from a venue's refusal."""

from decimal import Decimal
from typing import Any

import pytest

from kernel.errors import FilterViolation, NotSent, OutcomeUnknown, Rejected, Throttled
from kernel.model.orders import OrderClass, OrderType, PriceSource, Side
from kernel.model.units import MINUTE, SECOND, MonoNs, TsNs
from kernel.model.venue import (
    Acked,
    EffectClass,
    PlaceStop,
    QueryBalance,
    QueryOpenOrders,
    SetPositionStop,
    SubmitOrder,
)
from kernel.trade.budgets import ORDERS, QUERIES
from tests.kernel.trade.desk_bench import DeskBench
from tests.kernel.trade.parts import START_TS, SYMBOL

D = Decimal
PROTECT, EXIT, ENTRY, QUERY = (
    EffectClass.PROTECT, EffectClass.EXIT, EffectClass.ENTRY, EffectClass.QUERY,
)  # fmt: skip
BALANCE = QueryBalance()
STOP = PlaceStop(
    symbol=SYMBOL,
    side=Side.SELL,
    qty=D(1),
    trigger_price=D(9),
    trigger_by=PriceSource.MARK,
    client_order_id="s",
)
ATTACHED = SetPositionStop(symbol=SYMBOL, trigger_price=D(9), trigger_by=PriceSource.MARK)


def submit(**changes: Any) -> SubmitOrder:
    fields: dict[str, Any] = {
        "symbol": SYMBOL,
        "side": Side.SELL,
        "qty": D(1),
        "order_type": OrderType.MARKET,
        "client_order_id": "c",
    }
    return SubmitOrder(**(fields | changes))


CLOSE, RESTING = submit(reduce_only=True), submit(reduce_only=True, price=D(9))


def used(desk: DeskBench) -> dict[str, int]:
    return {name: one.used for name, one in desk.desk.gateway.limiter.buckets.items() if one.used}


# ------------------------------------------------------------------------ budgets and time


def test_a_request_uses_its_budget_once_whether_or_not_it_had_to_wait():
    desk = DeskBench()
    assert isinstance(desk.ask(BALANCE, QUERY, 1), Acked)
    assert used(desk) == {QUERIES: 5}
    desk.desk.gateway.limiter.exhaust(QUERIES, MonoNs(2 * SECOND))
    assert isinstance(desk.ask(BALANCE, QUERY, 3 * SECOND), Acked)
    assert used(desk) == {QUERIES: 10}
    assert len(desk.venue.asked) == 2


def test_a_list_of_orders_costs_by_what_it_covers_whichever_is_asked_first():
    desk, plain = DeskBench(), OrderClass.PLAIN
    for symbol, sum_ in (("", 40), (SYMBOL, 41), ("", 81)):
        desk.ask(QueryOpenOrders(order_class=plain, symbol=symbol), QUERY, 1)
        assert used(desk) == {QUERIES: sum_}


def test_a_time_out_that_is_given_holds_for_the_budget_and_again_for_the_answer():
    desk = DeskBench()
    desk.venue.delay_ns = 3 * SECOND
    assert isinstance(desk.ask(BALANCE, QUERY, 3 * SECOND, timeout_ns=2 * SECOND), OutcomeUnknown)
    until = MonoNs(desk.bench.runtime.now() + 2 * SECOND - 1)
    desk.desk.gateway.limiter.exhaust(QUERIES, until)
    desk.venue.delay_ns = 2 * SECOND - 1
    assert isinstance(desk.ask(BALANCE, QUERY, 4 * SECOND, timeout_ns=2 * SECOND), Acked)
    desk.desk.gateway.limiter.exhaust(QUERIES, MonoNs(until + 9 * SECOND))
    refused = desk.ask(BALANCE, QUERY, 2 * SECOND, timeout_ns=2 * SECOND)
    assert isinstance(refused, NotSent)
    assert refused.code == "no-budget"


def test_a_reservation_that_does_not_come_within_half_a_minute_is_refused():
    desk = DeskBench()
    gateway = desk.desk.gateway
    outcome: list[Any] = []

    async def reserve(**given: int) -> None:
        try:
            outcome.append((await gateway.reserve(1, **given)).entries)
        except NotSent as error:
            outcome.append((error.code, desk.bench.runtime.now()))

    desk.bench.runtime.spawn(reserve(), "first")
    desk.bench.at(0)
    assert outcome == [1]
    gateway.limiter.exhaust(QUERIES, MonoNs(MINUTE))
    desk.bench.runtime.spawn(reserve(), "second")
    desk.bench.runtime.spawn(reserve(timeout_ns=7), "third")
    desk.bench.at(30 * SECOND)
    assert outcome[1:] == [("no-budget", 7), ("no-budget", 30 * SECOND)]


def test_requests_and_errors_are_counted_by_their_kinds():
    desk = DeskBench()
    for answer in (Acked(), Rejected("binance", "x"), Rejected("binance", "x"), Acked()):
        desk.venue.answer = answer
        desk.ask(BALANCE, QUERY, 1)
    desk.ask(STOP, PROTECT, 1)
    desk.venue.delay_ns = MINUTE
    desk.ask(STOP, PROTECT)
    assert desk.desk.gateway.calls == {"balance": 4, "place_stop": 2}
    assert desk.desk.gateway.failures == {"Rejected": 2, "OutcomeUnknown": 1}


# ------------------------------------------------------------------------ gates


def test_a_leg_of_a_hedged_account_is_closed_by_an_order_that_is_not_reduce_only():
    desk = DeskBench()
    assert isinstance(desk.ask(submit(position_side="LONG"), EXIT, 1), Acked)
    assert len(desk.venue.asked) == 1


@pytest.mark.parametrize(
    ("error", "doubtful"), [(FilterViolation, True), (Rejected, False), (OutcomeUnknown, False)]
)
def test_filters_are_doubted_after_a_refusal_by_one_of_them(error, doubtful):
    desk = DeskBench()
    desk.venue.answer = error("binance", "submit", "-1111")
    desk.ask(CLOSE, EXIT, 1)
    assert desk.desk.filters_doubtful is doubtful


@pytest.mark.parametrize(
    ("request_", "cls", "protects"),
    [
        (STOP, PROTECT, True),
        (ATTACHED, PROTECT, True),
        (CLOSE, EXIT, True),
        (RESTING, EXIT, False),
        (submit(), ENTRY, False),
        (submit(price=D(9)), ENTRY, False),
        (BALANCE, QUERY, False),
    ],
)
def test_entries_wait_for_what_protects_a_symbol_from_its_refusal_until_it_is_sent(
    request_, cls, protects
):
    desk = DeskBench()
    buckets = desk.desk.gateway.limiter.buckets
    desk.venue.answer = Throttled("binance", "x", "-1003", "slow")
    assert isinstance(desk.ask(request_, cls, 1), Throttled)
    owed = {SYMBOL: 60 * SECOND + 10 * SECOND} if protects else {}
    assert buckets[QUERIES].owed == owed
    desk.bench.at(60 * SECOND)
    desk.desk.gateway.limiter.owe(ORDERS, SYMBOL, MonoNs(0))
    desk.venue.answer = Acked()
    desk.ask(request_, cls, 1)
    assert buckets[QUERIES].owed == {}
    assert (buckets[ORDERS].owed == {}) is protects


# ------------------------------------------------------------------------ throttled and banned


@pytest.mark.parametrize(
    ("code", "retry", "bucket", "wait"),
    [
        ("-1015", 0, ORDERS, 10 * SECOND),
        ("-1003", 0, QUERIES, 60 * SECOND),
        ("-1003", 7 * SECOND, QUERIES, 2 * SECOND),
        ("-1003", 5 * SECOND + 1, QUERIES, 1),
        ("-1003", 5 * SECOND, QUERIES, 60 * SECOND),
        ("-1003", 4 * SECOND, QUERIES, 60 * SECOND),
    ],
)
def test_a_refusal_for_want_of_budget_closes_its_bucket_until_its_time(code, retry, bucket, wait):
    """Asked five seconds after the start; the venue's time counts where it is still to come."""
    desk = DeskBench()
    desk.bench.at(5 * SECOND)
    retry_at = START_TS + retry if retry else 0
    desk.venue.answer = Throttled("binance", "x", code, "slow", retry_at_ns=retry_at)
    desk.ask(CLOSE, EXIT, 1)
    blocked = {
        name: one.blocked_until_ns
        for name, one in desk.desk.gateway.limiter.buckets.items()
        if one.blocked_until_ns
    }
    assert blocked == {bucket: 5 * SECOND + wait}
    (told,) = desk.decided("venue.throttled")
    assert told.cause == f"{code} slow"
    assert told.values == {"bucket": bucket, "wait_ns": str(wait)}


BEGIN = 5 * SECOND


@pytest.mark.parametrize(
    ("retry", "ends"),
    [
        (0, BEGIN + 10 * MINUTE),
        (BEGIN - 1, BEGIN + 10 * MINUTE),
        (BEGIN, BEGIN + 10 * MINUTE),
        (BEGIN + 1, BEGIN + 1),
        (BEGIN + SECOND, BEGIN + SECOND),
    ],
)
def test_a_ban_lasts_as_long_as_the_venue_says_else_ten_minutes(retry, ends):
    desk = DeskBench()
    desk.bench.at(BEGIN)
    retry_at = TsNs(START_TS + retry) if retry else 0
    ban = Throttled("binance", "x", "418", "enough", retry_at_ns=retry_at, banned=True)
    desk.venue.answer = ban
    assert desk.ask(BALANCE, QUERY, 0) is ban
    gateway = desk.desk.gateway
    assert gateway.banned_until_ns == ends
    assert [one.cause for one in desk.decided("venue.banned")] == ["418 enough"]
    assert desk.decided("venue.throttled") == []
    assert all(one.blocked_until_ns == 0 for one in gateway.limiter.buckets.values())
    desk.bench.at(ends - 1)
    refused = desk.ask(BALANCE, QUERY, 0)
    assert isinstance(refused, Throttled)
    assert (refused.banned, refused.retry_at_ns) == (True, START_TS + ends)
    assert len(desk.venue.asked) == 1
    desk.venue.answer = Acked()
    desk.bench.at(ends)
    assert isinstance(desk.ask(BALANCE, QUERY, 0), Acked)


def test_answers_under_way_lengthen_a_ban_and_are_not_told_again():
    desk = DeskBench()
    told: list[Any] = []
    desk.desk.gateway.on_ban = lambda _desk, error: told.append(error.retry_at_ns - START_TS)
    ends = iter((60, 90, 30, 200))

    def banned(_request: object) -> Throttled:
        retry = START_TS + next(ends) * SECOND
        return Throttled("binance", "x", "418", retry_at_ns=retry, banned=True)

    desk.venue.answer, desk.venue.delay_ns = banned, 5
    for _ in range(3):
        desk.ask(BALANCE, QUERY, 1)
    desk.bench.at(SECOND)
    assert desk.desk.gateway.banned_until_ns == 90 * SECOND
    assert told == [60 * SECOND]
    desk.bench.at(90 * SECOND)
    desk.ask(BALANCE, QUERY, 5)
    assert told == [60 * SECOND, 200 * SECOND], "a new one"
    assert len(desk.decided("venue.banned")) == 2
