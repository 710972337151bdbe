"""Rows for the tests of the stores: a few by hand, and any row of any kind drawn."""

import json
from decimal import Decimal
from enum import Enum
from typing import Any, get_type_hints

from hypothesis import strategies as st

from kernel.model.orders import OrderClass, OrderType, PositionSide, Side
from kernel.model.positions import PositionRow, PositionState, TrailingState
from kernel.model.rows import (
    ClaimRow,
    EventRow,
    FillRow,
    LockRow,
    OrderRow,
    PerformanceRow,
    SignalRow,
    SwitchRow,
    TrailingRow,
    WaveRow,
)
from kernel.model.units import TsNs
from kernel.store.codec import TABLES

KINDS = tuple(dict.fromkeys(table.row for table in TABLES))
LARGEST = 2**63 - 1


def claim(key: str, at: int = 0) -> ClaimRow:
    return ClaimRow(once_key=key, wave_ns=TsNs(0), claimed_ns=TsNs(at))


def position(name: str, state: PositionState = PositionState.ACTIVE, **more: Any) -> PositionRow:
    told = TsNs(4 if state.terminal else 0)
    fields: dict[str, Any] = {"entry_price": Decimal("100.5"), "result_ns": told, **more}
    return PositionRow(
        position_id=name, venue="binance", symbol="BTCUSDT", side=PositionSide.LONG, state=state,
        **fields,
    )  # fmt: skip


def order(client_order_id: str, position_id: str = "", **more: Any) -> OrderRow:
    fields: dict[str, Any] = {"qty": Decimal("0.010"), **more}
    return OrderRow(
        venue="binance", client_order_id=client_order_id, symbol="BTCUSDT",
        position_id=position_id, order_class=OrderClass.PLAIN, order_type=OrderType.MARKET,
        side=Side.BUY, reduce_only=False, **fields,
    )  # fmt: skip


def fill(trade_id: str, position_id: str, at: int = 1) -> FillRow:
    return FillRow(
        venue="binance", symbol="BTCUSDT", trade_id=trade_id, position_id=position_id,
        client_order_id="c", venue_order_id="v", side=Side.BUY, qty=Decimal(1), price=Decimal(2),
        fee=Decimal("-0.1"), realized_pnl=Decimal(0), kind="TRADE", ts_ns=TsNs(at),
    )  # fmt: skip


def event(at: int, **more: Any) -> EventRow:
    fields: dict[str, Any] = {"values": "{}", **more}
    return EventRow(
        ts_ns=TsNs(at), kind="stop.set", venue="binance", symbol="X", position_id="",
        client_order_id="", cause="why", **fields,
    )  # fmt: skip


def one_of_each() -> list:
    """A row in every table, with something in every field that may be empty."""
    signal = SignalRow(
        once_key="k", source="feed", venue="binance", symbol="BTCUSDT", side="BUY",
        candle_ns=TsNs(3), arrived_ns=TsNs(4), raw='{"score_week": 65}', drop_reason="late",
    )  # fmt: skip
    trailing = TrailingRow(
        position_id="p", state=TrailingState.ACTIVE, activation_price=Decimal("101.5"),
        best_price=Decimal("103.25"), confirmed_stop=Decimal(99), last_update_ns=TsNs(6),
        updated_ns=TsNs(7),
    )  # fmt: skip
    sums: dict[str, Any] = {
        "venue": "binance", "ts_ns": TsNs(9), "closed": 3, "wins": 2, "net": Decimal("1.25"),
    }  # fmt: skip
    return [
        position("p", once_key="k", protected_level=Decimal("99.0"), generation=4),
        order("c", "p", trigger_price=Decimal("99.0"), venue_order_id="v", watch_until_ns=TsNs(8)),
        fill("t", "p"),
        trailing,
        claim("k", 5),
        LockRow(venue="binance", symbol="BTCUSDT", reason="loss", until_ns=TsNs(10)),
        SwitchRow(day=1, day_result=Decimal(-3), stops=(TsNs(1),), wallets=(("a", Decimal(2)),)),
        PerformanceRow(period="running", **sums),
        PerformanceRow(period="day", **sums),
        event(11),
        signal,
        WaveRow(source="feed", wave_ns=TsNs(3), state="open", expected_until_ns=TsNs(12)),
    ]


# ------------------------------------------------------------------------ drawn

TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
JSONS = st.dictionaries(TEXTS, TEXTS | st.integers(), max_size=3).map(json.dumps)
NANOSECONDS = st.integers(0, LARGEST)
INTEGERS = st.integers(-LARGEST, LARGEST)
MONEY = st.builds(
    lambda sign, digits, exponent: Decimal((sign, tuple(map(int, str(digits))), exponent)),
    st.integers(0, 1), st.integers(0, 10**60), st.integers(-70, 40),
)  # fmt: skip
_JSON_FIELDS = {(WaveRow, "selected"), (WaveRow, "outcome"), (EventRow, "values")}


def any_row(kind: type) -> st.SearchStrategy:
    """Any row of a kind; what it refers to is named by `position_id`."""
    if kind is SwitchRow:
        return st.builds(
            SwitchRow, day=INTEGERS, day_result=MONEY, losing_stops=INTEGERS,
            stops=st.lists(NANOSECONDS, max_size=3).map(tuple), result=MONEY, best=MONEY,
            wallets=st.lists(st.tuples(TEXTS, MONEY), max_size=3).map(tuple),
            counted=st.lists(TEXTS, max_size=3).map(tuple),
        )  # fmt: skip
    fields = {name: _any(kind, name, hint) for name, hint in get_type_hints(kind).items()}
    if kind is TrailingRow:
        fields["position_id"] = TEXTS.filter(bool)
    if kind is PerformanceRow:
        fields["period"] = st.sampled_from(["running", "day", "interval"])
    return st.builds(kind, **fields)


def _any(kind: type, name: str, hint: Any) -> st.SearchStrategy:
    plain = getattr(hint, "__value__", hint)
    plain = getattr(plain, "__supertype__", plain)
    if (kind, name) in _JSON_FIELDS:
        return JSONS
    if isinstance(plain, type) and issubclass(plain, Enum):
        return st.sampled_from(plain)
    if plain is int:
        return NANOSECONDS if name.endswith("_ns") else INTEGERS
    return {str: TEXTS, Decimal: MONEY, bool: st.booleans()}[plain]


def parents(rows: list) -> list:
    """The positions to which these rows refer."""
    known = {row.position_id for row in rows if isinstance(row, PositionRow)}
    referring = [row for row in rows if hasattr(row, "position_id")]
    names = {row.position_id for row in referring if not isinstance(row, EventRow)} - known
    return [position(name) for name in sorted(names) if name]

