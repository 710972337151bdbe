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
from kernel.model.messages import Alert
from kernel.model.orders import OrderType, Side
from kernel.model.traits import TRAITS
from kernel.model.units import SECOND, MonoNs, TsNs
from kernel.model.venue import Acked, EffectClass, QueryBalance, SubmitOrder
from kernel.trade.budgets import ORDERS, QUERIES
from kernel.trade.desk import VenueDesk
from tests.kernel.trade.parts import START_TS, SYMBOL, Bench


class ScriptedVenue:
    """Answers what it is told, after a time."""

    def __init__(self, bench: Bench) -> None:
        self.traits = TRAITS["binance"]
        self.events: Any = bench.runtime.channel()
        self.bench = bench
        self.answer: object = Acked(venue_order_id="v1")
        self.delay_ns = 0
        self.asked: list[object] = []

    def take(self, body):
        raise AssertionError(body)

    async def ask(self, request, cls, entity):
        self.asked.append(request)
        await self.bench.runtime.sleep(self.delay_ns)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def start(self) -> None:
        """Nothing connects here."""

    def reconnect(self, reason: str) -> None:
        """Nothing connects here."""


def order(client_id: str = "c1", *, reduce_only: bool = False) -> SubmitOrder:
    return SubmitOrder(
        symbol=SYMBOL,
        side=Side.BUY,
        qty=Decimal(1),
        order_type=OrderType.MARKET,
        client_order_id=client_id,
        reduce_only=reduce_only,
    )


class Desk:
    def __init__(self) -> None:
        self.bench = Bench()
        self.venue = ScriptedVenue(self.bench)
        self.desk = VenueDesk(
            self.bench.runtime, self.bench.outbox, self.bench.settings, self.venue
        )

    def ask(self, request, cls, until_ns=60 * SECOND):
        outcome: list[object] = []

        async def one() -> None:
            try:
                outcome.append(await self.desk.gateway.ask(request, cls, entity="e"))
            except Exception as error:
                outcome.append(error)

        self.bench.runtime.spawn(one(), "ask")
        self.bench.at(self.bench.runtime.now() + until_ns)
        return outcome[0]

    def alerts(self) -> list[str]:
        return [
            effect.body.kind
            for effect in self.bench.outbox.effects
            if isinstance(effect.body, Alert)
        ]


def test_an_entry_is_not_sent_while_entries_are_blocked_and_a_close_is():
    desk = Desk()
    desk.desk.block_entries("paused")
    refused = desk.ask(order(), EffectClass.ENTRY)
    assert isinstance(refused, NotSent)
    assert desk.venue.asked == []
    assert isinstance(desk.ask(order("c2", reduce_only=True), EffectClass.EXIT), Acked)


def test_an_entry_that_waited_for_a_budget_meets_the_gate_again():
    desk = Desk()
    desk.desk.gateway.limiter.exhaust(ORDERS, MonoNs(2 * SECOND))
    desk.bench.runtime.call_at(SECOND, lambda: desk.desk.block_entries("stopping"))
    assert isinstance(desk.ask(order(), EffectClass.ENTRY), NotSent)
    assert desk.venue.asked == []


def test_an_order_that_opens_can_only_be_sent_as_an_entry():
    outcome = Desk().ask(order(), EffectClass.PROTECT)
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
    desk = Desk()
    desk.venue.delay_ns = limit_s * SECOND - 1
    assert isinstance(desk.ask(QueryBalance(), cls), Acked)
    desk.venue.delay_ns = limit_s * SECOND + 1
    outcome = desk.ask(QueryBalance(), cls)
    assert isinstance(outcome, OutcomeUnknown)
    assert outcome.code == "timeout"


def test_no_budget_in_time_is_proven_not_sent():
    desk = Desk()
    desk.desk.gateway.limiter.exhaust(QUERIES, MonoNs(30 * SECOND))
    outcome = desk.ask(order("c", reduce_only=True), EffectClass.EXIT, until_ns=6 * SECOND)
    assert isinstance(outcome, NotSent)
    assert desk.venue.asked == []


def test_throttling_closes_only_the_exhausted_bucket():
    desk = Desk()
    desk.venue.answer = Throttled("binance", "submit", "-1015", "too many new orders")
    assert isinstance(desk.ask(order(), EffectClass.ENTRY, 1), Throttled)
    desk.venue.answer = Acked()
    assert isinstance(desk.ask(QueryBalance(), EffectClass.QUERY, 1), Acked)
    blocked = desk.desk.gateway.limiter.buckets[ORDERS].blocked_until_ns
    assert blocked == 10 * SECOND


def test_during_a_ban_nothing_is_sent_and_it_is_told_once():
    desk = Desk()
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
    desk = Desk()
    error = Rejected("binance", "submit", "-9999", "never heard of")
    error.listed = False
    desk.venue.answer = error
    assert desk.ask(order(), EffectClass.ENTRY) is error
    assert desk.alerts() == ["venue.code_unlisted"]


def test_lost_permissions_stop_entries():
    desk = Desk()
    desk.venue.answer = Unauthorized("binance", "submit", "-2015", "invalid key")
    desk.ask(order(), EffectClass.ENTRY)
    assert desk.desk.block_reasons == ("unauthorized",)
    assert desk.alerts() == ["venue.unauthorized"]
