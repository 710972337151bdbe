"""Requests by name: what is asked, with all pages of a list; an answer of another kind is none."""

from decimal import Decimal
from typing import Any

import pytest

from kernel import errors
from kernel.model import venue as v
from kernel.model.orders import (
    OrderClass,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.units import TsNs
from kernel.runtime.scheduler import Runtime
from kernel.trade.venue_calls import PAGES_LIMIT, VenueCalls
from tests.kernel.trade.parts import START_TS, SYMBOL, fill, report
from tests.kernel.trade.wave_bench import instrument

D = Decimal
CLS = v.EffectClass
PLAIN, CONDITIONAL = OrderClass.PLAIN, OrderClass.CONDITIONAL
SUBMIT = v.SubmitOrder(
    symbol=SYMBOL, side=Side.BUY, qty=D(1), order_type=OrderType.MARKET, client_order_id="c1"
)
STOP = v.PlaceStop(
    symbol=SYMBOL,
    side=Side.SELL,
    qty=D(1),
    trigger_price=D(9),
    trigger_by=PriceSource.MARK,
    client_order_id="c2",
)
ATTACHED = v.SetPositionStop(symbol=SYMBOL, trigger_price=D(9), trigger_by=PriceSource.MARK)


def an_order(name):
    return report(name, name, OrderStatus.NEW, START_TS)


def a_position(symbol):
    return PositionReport(symbol=symbol, side=PositionSide.LONG, qty=D(1))


class Calls(VenueCalls):
    """Answers from a list, the last one again and again; keeps what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.clock = Runtime(0, START_TS)
        super().__init__(self.clock, "binance")
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    async def ask(self, request, cls, *, entity, timeout_ns=None, wanted=None):
        self.asked.append((request, cls, entity, timeout_ns))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request) if callable(answer) else answer

    def result(self, call) -> Any:
        """What a call returns."""
        outcome: list[Any] = []

        async def one() -> None:
            try:
                outcome.append(await call)
            except errors.KernelError as error:
                outcome.append(error)

        self.clock.spawn(one(), "call")
        self.clock.run_ready()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]


def cancel(client="", venue=""):
    return v.CancelOrder(
        symbol=SYMBOL, order_class=PLAIN, client_order_id=client, venue_order_id=venue
    )


def query(client="", venue=""):
    return v.QueryOrder(
        symbol=SYMBOL,
        surface=v.OrderSurface.HISTORY,
        client_order_id=client,
        venue_order_id=venue,
    )


HISTORY = (SYMBOL, v.OrderSurface.HISTORY)
ONE = [
    ("submit", (SUBMIT, CLS.EXIT), {}, v.Acked(), (SUBMIT, CLS.EXIT, "c1")),
    ("place_stop", (STOP,), {}, v.Acked(), (STOP, CLS.PROTECT, "c2")),
    ("place_stop", (STOP, CLS.EXIT), {}, v.Acked(), (STOP, CLS.EXIT, "c2")),
    ("set_position_stop", (ATTACHED,), {}, v.Done(), (ATTACHED, CLS.PROTECT, SYMBOL)),
    ("set_position_stop", (ATTACHED, CLS.EXIT), {}, v.Done(), (ATTACHED, CLS.EXIT, SYMBOL)),
    ("cancel", (cancel("c", "v"),), {}, v.Acked(), (cancel("c", "v"), CLS.PROTECT, "c")),
    ("cancel", (cancel("", "v"), CLS.QUERY), {}, v.Acked(), (cancel("", "v"), CLS.QUERY, "v")),
    ("order", HISTORY, {"client_order_id": "c", "venue_order_id": "v"}, an_order("c"),
     (query("c", "v"), CLS.QUERY, "c")),
    ("order", (*HISTORY, CLS.PROTECT), {"venue_order_id": "v"}, an_order("c"),
     (query("", "v"), CLS.PROTECT, "v")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "ids", "answer", "asked"), ONE)
def test_a_call_asks_one_request_and_hands_its_answer_on(name, given, ids, answer, asked):
    calls = Calls(answer)
    assert calls.result(getattr(calls, name)(*given, **ids)) is answer
    assert calls.asked == [(*asked, None)]
    assert calls.result(getattr(calls, name)(*given, **ids, timeout_ns=7)) is answer
    assert calls.asked[1:] == [(*asked, 7)]


def test_the_account_is_asked_as_a_query():
    calls = Calls(v.AccountConfig(hedge_mode=True))
    assert calls.result(calls.account()) is calls.answers[0]
    assert calls.asked == [(v.QueryAccountConfig(), CLS.QUERY, "account", None)]


@pytest.mark.parametrize(("name", "given", "ids"), [one[:3] for one in ONE])
def test_an_answer_of_another_kind_is_a_bug(name, given, ids):
    calls = Calls(v.ServerTime(ts_ns=TsNs(1)))
    with pytest.raises(errors.InvariantViolation, match="ServerTime instead of"):
        calls.result(getattr(calls, name)(*given, **ids))


def orders_page(name, cursor=""):
    return v.OrderPage(orders=(an_order(name),), next_cursor=cursor)


def positions_page(symbol, cursor=""):
    return v.PositionPage(positions=(a_position(symbol),), next_cursor=cursor)


def fills_page(name, cursor=""):
    return v.ExecutionPage(fills=(fill(name, Side.BUY, "1", "9"),), next_cursor=cursor)


def instruments_page(symbol, cursor=""):
    return v.InstrumentPage(instruments=(instrument(symbol),), next_cursor=cursor)


def open_query(cursor="", symbol=SYMBOL):
    return v.QueryOpenOrders(order_class=CONDITIONAL, symbol=symbol, cursor=cursor)


def executions_query(cursor="", **more):
    return v.QueryExecutions(symbol=SYMBOL, cursor=cursor, **more)


ASKED_ORDER = {"since_ns": TsNs(4), "client_order_id": "c", "venue_order_id": "v"}
LISTS = [
    ("open_orders", (CONDITIONAL, SYMBOL), {}, orders_page, open_query, f"CONDITIONAL:{SYMBOL}"),
    ("open_orders", (CONDITIONAL,), {}, orders_page, lambda cursor="": open_query(cursor, ""),
     "CONDITIONAL:account"),
    ("positions", (SYMBOL,), {}, positions_page,
     lambda cursor="": v.QueryPositions(symbol=SYMBOL, cursor=cursor), SYMBOL),
    ("positions", (), {}, positions_page, lambda cursor="": v.QueryPositions(cursor=cursor),
     "account"),
    ("executions", (SYMBOL,), {}, fills_page, executions_query, SYMBOL),
    ("executions", (SYMBOL,), ASKED_ORDER, fills_page,
     lambda cursor="": executions_query(cursor, **ASKED_ORDER), SYMBOL),
]  # fmt: skip


def rows_of(page):
    return getattr(page, page.__struct_fields__[0])


@pytest.mark.parametrize("one", LISTS)
def test_a_list_is_read_with_all_its_pages(one):
    name, given, more, page, request_, entity = one
    pages = [page("A", "one"), page("B", "two"), page("C")]
    calls = Calls(*pages)
    read = calls.result(getattr(calls, name)(*given, **more, cls=CLS.PROTECT, timeout_ns=7))
    assert read == tuple(row for each in pages for row in rows_of(each))
    assert calls.asked == [
        (request_(cursor), CLS.PROTECT, entity, 7) for cursor in ("", "one", "two")
    ]
    again = Calls(page("A"))
    assert again.result(getattr(again, name)(*given, **more)) == rows_of(page("A"))
    assert again.asked == [(request_(), CLS.QUERY, entity, None)]


@pytest.mark.parametrize("one", LISTS)
def test_a_list_that_never_ends_is_no_answer(one):
    name, given, more, page, *_ = one
    calls = Calls(page("A", "on"))
    with pytest.raises(errors.OutcomeUnknown, match=f"{name}: pages more than 200"):
        calls.result(getattr(calls, name)(*given, **more))
    assert len(calls.asked) == PAGES_LIMIT
    nearly = Calls(*[page("A", "on")] * (PAGES_LIMIT - 1), page("B"))
    assert len(nearly.result(getattr(nearly, name)(*given, **more))) == PAGES_LIMIT


def test_instruments_are_read_with_all_their_pages():
    calls = Calls(instruments_page("A", "one"), instruments_page("B"))
    read = calls.result(calls.instruments())
    assert [one.symbol for one in read] == ["A", "B"]
    assert calls.asked == [
        (v.QueryInstruments(cursor=cursor), CLS.QUERY, "account", None) for cursor in ("", "one")
    ]
    endless = Calls(instruments_page("A", "on"))
    with pytest.raises(errors.OutcomeUnknown, match="instruments: pages more than 200"):
        endless.result(endless.instruments())
    assert len(endless.asked) == PAGES_LIMIT
    nearly = Calls(*[instruments_page("A", "on")] * (PAGES_LIMIT - 1), instruments_page("B"))
    assert len(nearly.result(nearly.instruments())) == PAGES_LIMIT


def snapshot_page(**cursors):
    return v.SnapshotPage(
        positions=positions_page("P1", cursors.get("positions", "")),
        plain=orders_page("O1", cursors.get("plain", "")),
        conditional=orders_page("S1", cursors.get("conditional", "")),
    )


def test_a_snapshot_of_one_page_is_one_request():
    calls = Calls(snapshot_page())
    assert calls.result(calls.snapshot()) == snapshot_page()
    assert calls.asked == [(v.QuerySnapshot(), CLS.QUERY, "account", None)]


@pytest.mark.parametrize("parts", [("positions",), ("plain",), ("conditional",),
                                   ("positions", "plain", "conditional")])  # fmt: skip
def test_a_snapshot_goes_on_behind_the_cursor_of_each_part(parts):
    def more(request):
        if isinstance(request, v.QueryPositions):
            return positions_page("P2")
        return orders_page("O2" if request.order_class is PLAIN else "S2")

    calls = Calls(snapshot_page(**dict.fromkeys(parts, "next")), more)
    made = calls.result(calls.snapshot())
    expected = {"positions": ["P1"], "plain": ["O1"], "conditional": ["S1"]}
    for part, name in (("positions", "P2"), ("plain", "O2"), ("conditional", "S2")):
        if part in parts:
            expected[part].append(name)
    assert [one.symbol for one in made.positions.positions] == expected["positions"]
    assert [one.client_order_id for one in made.plain.orders] == expected["plain"]
    assert [one.client_order_id for one in made.conditional.orders] == expected["conditional"]
    behind = {
        "positions": v.QueryPositions(cursor="next"),
        "plain": v.QueryOpenOrders(order_class=PLAIN, cursor="next"),
        "conditional": v.QueryOpenOrders(order_class=CONDITIONAL, cursor="next"),
    }
    assert [one for one, *_ in calls.asked[1:]] == [behind[part] for part in parts]
