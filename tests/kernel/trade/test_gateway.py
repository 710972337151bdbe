"""The chokepoint: gates, time-outs, bans, throttling, unlisted codes."""

from decimal import Decimal
from typing import Any

import pytest

from kernel.errors import (
    InvariantViolation,
    NotSent,
    OutcomeUnknown,
    Rejected,
    Throttled,
    Unauthorized,
)
from kernel.model.orders import OrderType, Side
from kernel.model.units import SECOND, MonoNs, TsNs
from kernel.model.venue import Acked, EffectClass, QueryBalance, SubmitOrder
from kernel.trade.budgets import ORDERS, QUERIES
from tests.kernel.trade.desk_bench import DeskBench
from tests.kernel.trade.parts import START_TS, SYMBOL


def order(client_id: str = "c1", *, reduce_only: bool = False) -> SubmitOrder:
    return SubmitOrder(
        symbol=SYMBOL,
        side=Side.BUY,
        qty=Decimal(1),
        order_type=OrderType.MARKET,
        client_order_id=client_id,
        reduce_only=reduce_only,
    )


def test_an_entry_is_not_sent_while_entries_are_blocked_and_a_close_is():
    desk = DeskBench()
    desk.desk.block_entries("paused")
    refused = desk.ask(order(), EffectClass.ENTRY)
    assert isinstance(refused, NotSent)
    assert desk.venue.asked == []
    assert isinstance(desk.ask(order("c2", reduce_only=True), EffectClass.EXIT), Acked)


def test_an_entry_that_waited_for_a_budget_meets_the_gate_again():
    desk = DeskBench()
    desk.desk.gateway.limiter.exhaust(ORDERS, MonoNs(2 * SECOND))
    desk.bench.runtime.call_at(SECOND, lambda: desk.desk.block_entries("stopping"))
    assert isinstance(desk.ask(order(), EffectClass.ENTRY), NotSent)
    assert desk.venue.asked == []


def test_an_order_that_opens_can_only_be_sent_as_an_entry():
    outcome = DeskBench().ask(order(), EffectClass.PROTECT)
    assert isinstance(outcome, InvariantViolation)


@pytest.mark.parametrize(
    ("cls", "limit_s"),
    [
        (EffectClass.PROTECT, 3),
        (EffectClass.EXIT, 5),
        (EffectClass.ENTRY, 5),
        (EffectClass.QUERY, 10),
    ],
)
def test_time_outs_by_class_are_unknown_outcomes(cls, limit_s):
    desk = DeskBench()
    desk.venue.delay_ns = limit_s * SECOND - 1
    assert isinstance(desk.ask(QueryBalance(), cls), Acked)
    desk.venue.delay_ns = limit_s * SECOND + 1
    outcome = desk.ask(QueryBalance(), cls)
    assert isinstance(outcome, OutcomeUnknown)
    assert outcome.code == "timeout"


def test_no_budget_in_time_is_proven_not_sent():
    desk = DeskBench()
    desk.desk.gateway.limiter.exhaust(QUERIES, MonoNs(30 * SECOND))
    outcome = desk.ask(order("c", reduce_only=True), EffectClass.EXIT, until_ns=6 * SECOND)
    assert isinstance(outcome, NotSent)
    assert desk.venue.asked == []


def test_throttling_closes_only_the_exhausted_bucket():
    desk = DeskBench()
    desk.venue.answer = Throttled("binance", "submit", "-1015", "too many new orders")
    assert isinstance(desk.ask(order(), EffectClass.ENTRY, 1), Throttled)
    desk.venue.answer = Acked()
    assert isinstance(desk.ask(QueryBalance(), EffectClass.QUERY, 1), Acked)
    blocked = desk.desk.gateway.limiter.buckets[ORDERS].blocked_until_ns
    assert blocked == 10 * SECOND


def test_during_a_ban_nothing_is_sent_and_it_is_told_once():
    desk = DeskBench()
    told: list[Any] = []
    desk.desk.gateway.on_ban = lambda _desk, error: told.append(error)
    ban = Throttled("binance", "x", "418", retry_at_ns=TsNs(START_TS + 120 * SECOND), banned=True)
    desk.venue.answer = ban
    desk.ask(QueryBalance(), EffectClass.QUERY, 1)
    sent = len(desk.venue.asked)
    outcome = desk.ask(order("s", reduce_only=True), EffectClass.PROTECT, 1)
    assert isinstance(outcome, Throttled)
    assert outcome.banned
    assert len(desk.venue.asked) == sent
    assert told == [ban]
    desk.bench.at(120 * SECOND)
    desk.venue.answer = Acked()
    assert isinstance(desk.ask(QueryBalance(), EffectClass.QUERY), Acked)


def test_a_code_in_no_table_raises_an_alert():
    desk = DeskBench()
    error = Rejected("binance", "submit", "-9999", "never heard of")
    error.listed = False
    desk.venue.answer = error
    assert desk.ask(order(), EffectClass.ENTRY) is error
    assert desk.alerts() == ["venue.code_unlisted"]


def test_lost_permissions_stop_entries():
    desk = DeskBench()
    desk.venue.answer = Unauthorized("binance", "submit", "-2015", "invalid key")
    desk.ask(order(), EffectClass.ENTRY)
    assert desk.desk.block_reasons == ("unauthorized",)
    assert desk.alerts() == ["venue.unauthorized"]
