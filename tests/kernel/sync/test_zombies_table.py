"""Zombie orders: one table of what each property of an order and of the books decides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kernel.model.orders import OrderClass, OrderStatus, PositionReport, PositionSide, Side
from kernel.model.units import SECOND, TsNs
from kernel.sync.zombies import Candidate, Ground, find_young, find_zombies, is_young
from tests.kernel.fakes import D
from tests.kernel.sync.whole import SYMBOL, order_report

LAG_NS = 5 * SECOND
ASKED_NS = 1_000 * SECOND
PLAIN = {"order_class": OrderClass.PLAIN}
LONG = PositionReport(symbol=SYMBOL, side=PositionSide.LONG, qty=D(2))
SHORT = PositionReport(symbol=SYMBOL, side=PositionSide.SHORT, qty=D(2))
LEG_LONG = msgspec.structs.replace(LONG, hedge_leg="LONG")
ENTRY, EXIT = "wk5-1b-abcdef-E0-1", "wk5-1b-abcdef-X0-1"
BIG = PLAIN | {"reduce_only": False, "client_order_id": EXIT, "qty": D(3)}


def judged(
    order: dict[str, Any], where: dict[str, Any], known: dict[str, Any] | None = None
) -> str | None:
    """What one order is; None: no zombie."""
    found = find_zombies([candidate(order, known)], ground(where))
    return found[0].kind.value if found else None


def candidate(order: dict[str, Any], known: dict[str, Any] | None = None) -> Candidate:
    fields: dict[str, Any] = {
        "side": Side.SELL,
        "order_class": OrderClass.CONDITIONAL,
        "qty": D(1),
        "reduce_only": True,
        "created_ns": TsNs(1),
    }
    report = order_report(order.get("client_order_id", "wk5-1b-abcdef-S0-1"))
    report = msgspec.structs.replace(report, **(fields | order))
    return Candidate(report, **({"ours": True} | (known or {})))


def ground(where: dict[str, Any]) -> Ground:
    given: dict[str, Any] = {"positions": (), "asked_ts_ns": TsNs(ASKED_NS), "lag_ns": LAG_NS}
    return Ground(**(given | where))


@pytest.mark.parametrize(
    ("order", "where", "kind"),
    [
        ({}, {}, "stop"),
        (PLAIN, {}, "reduce-only"),
        ({"order_class": OrderClass.ATTACHED, "reduce_only": False}, {}, "stop"),
        ({"reduce_only": False, "close_position": True, "client_order_id": "x"}, {}, "stop"),
        ({"client_order_id": "x"}, {}, "stop"),
        # by the name that we gave it alone
        ({"reduce_only": False}, {}, "stop"),
        ({"reduce_only": False, "client_order_id": ENTRY}, {}, None),
        ({"reduce_only": False, "client_order_id": "web"}, {}, None),
        # states
        ({"status": OrderStatus.PARTIALLY_FILLED}, {}, "stop"),
        ({"status": OrderStatus.TRIGGERED}, {}, None),
        ({"status": OrderStatus.CANCELED}, {}, None),
        # the books
        ({}, {"taken": (SYMBOL,)}, None),
        ({}, {"taken": ("OTHER",)}, "stop"),
        ({}, {"busy": (SYMBOL,)}, None),
        ({}, {"held": ((SYMBOL, "BOTH"),)}, None),
        ({}, {"held": ((SYMBOL, "LONG"),)}, "stop"),
        ({}, {"first": True}, None),
        # the store against the oldest position
        ({}, {"store_since_ns": 7, "oldest_ns": 7}, "stop"),
        ({}, {"store_since_ns": 8, "oldest_ns": 7}, None),
        ({}, {"store_since_ns": 8, "oldest_ns": 0}, "stop"),
        ({}, {"store_since_ns": 6, "oldest_ns": 7}, "stop"),
        # its age
        ({"created_ns": TsNs(ASKED_NS - LAG_NS)}, {}, "stop"),
        ({"created_ns": TsNs(ASKED_NS - LAG_NS + 1)}, {}, None),
        # legs
        ({"position_side": "LONG"}, {}, "ghost"),
        ({"position_side": "LONG"}, {"held": ((SYMBOL, "LONG"),)}, "ghost"),
        ({"position_side": "LONG"}, {"hedge_mode": True}, "ghost"),
        ({"position_side": "LONG"}, {"hedge_mode": True, "held": ((SYMBOL, "LONG"),)}, None),
        ({}, {"hedge_mode": True}, "ghost"),
        ({}, {"hedge_mode": True, "held": ((SYMBOL, "BOTH"),)}, "ghost"),
        ({"position_side": "LONG"}, {"hedge_mode": True, "positions": (LEG_LONG,)}, None),
        ({"position_side": "LONG"}, {"positions": (LONG,)}, "ghost"),
        # by its leg alone
        ({"position_side": "LONG", "reduce_only": False, "client_order_id": "x"},
         {"hedge_mode": True}, "ghost"),
        ({"position_side": "LONG", "side": Side.BUY, "reduce_only": False,
          "client_order_id": "x"}, {"hedge_mode": True}, None),
        ({"position_side": "SHORT", "side": Side.BUY, "reduce_only": False,
          "client_order_id": "x"}, {"hedge_mode": True}, "ghost"),
        # beside a position
        ({}, {"positions": (LONG,)}, None),
        ({}, {"positions": (msgspec.structs.replace(LONG, qty=D(0)),)}, "stop"),
        (BIG, {"positions": (LONG,)}, "flip"),
        (BIG, {"positions": (LONG,), "taken": (SYMBOL,)}, "flip"),
        (BIG, {"positions": (LONG,), "busy": (SYMBOL,)}, None),
        (BIG | {"qty": D(2)}, {"positions": (LONG,)}, None),
        (BIG | {"filled_qty": D(1)}, {"positions": (LONG,)}, None),
        (BIG | {"side": Side.BUY}, {"positions": (LONG,)}, None),
        (BIG | {"side": Side.BUY}, {"positions": (SHORT,)}, "flip"),
        (BIG | {"reduce_only": True}, {"positions": (LONG,)}, None),
        (BIG | {"close_position": True}, {"positions": (LONG,)}, None),
        (BIG | {"order_class": OrderClass.ATTACHED}, {"positions": (LONG,)}, None),
        (BIG | {"position_side": "LONG"}, {"positions": (LEG_LONG,), "hedge_mode": True}, None),
    ],
)  # fmt: skip
def test_what_an_order_is_by_its_own_properties_and_the_books(
    order: dict[str, Any], where: dict[str, Any], kind: str | None
) -> None:
    assert judged(order, where) == kind


@pytest.mark.parametrize(
    ("known", "where", "kind"),
    [
        ({"ours": True}, {}, "stop"),
        ({"ours": False}, {}, None),
        ({"ours": False}, {"everybodys": True}, "stop"),
        ({"claimed": True}, {}, None),
        ({"claimed": True}, {"everybodys": True}, None),
    ],
)
def test_whose_it_is_and_who_works_on_it_decides(
    known: dict[str, Any], where: dict[str, Any], kind: str | None
) -> None:
    assert judged({}, where, known) == kind


@pytest.mark.parametrize(
    ("order", "where", "young"),
    [
        ({"created_ns": TsNs(ASKED_NS)}, {}, True),
        ({"created_ns": TsNs(ASKED_NS - LAG_NS + 1)}, {}, True),
        ({"created_ns": TsNs(ASKED_NS - LAG_NS)}, {}, False),
        ({"created_ns": TsNs(ASKED_NS)}, {"first": True}, False),
        ({"created_ns": TsNs(ASKED_NS)}, {"taken": (SYMBOL,)}, False),
        ({"created_ns": TsNs(ASKED_NS)}, {"positions": (LONG,)}, False),
        (BIG | {"created_ns": TsNs(ASKED_NS)}, {"positions": (LONG,)}, True),
        (
            {"created_ns": TsNs(ASKED_NS)},
            {"positions": (msgspec.structs.replace(LONG, qty=D(0)),)},
            True,
        ),
    ],
)
def test_one_that_is_spared_for_its_age_alone_is_told_of(
    order: dict[str, Any], where: dict[str, Any], young: bool
) -> None:
    assert find_young([candidate(order)], ground(where)) is young


def test_of_several_one_that_is_young_is_enough_to_tell() -> None:
    old, young = candidate({}), candidate({"created_ns": TsNs(ASKED_NS)})
    assert find_young([old, young], ground({}))
    assert is_young(young.report, ground({}))
    assert not is_young(old.report, ground({}))


def test_they_come_in_the_order_of_symbols_and_ids_and_each_kind_has_a_key_of_its_own() -> None:
    orders = [
        candidate({"symbol": symbol, "venue_order_id": number})
        for symbol in ("B", "A")
        for number in ("2", "1")
    ]
    found = find_zombies(orders, ground({}))
    assert [(one.report.symbol, one.key) for one in found] == [
        ("A", "zombie/stop/CONDITIONAL/1"),
        ("A", "zombie/stop/CONDITIONAL/2"),
        ("B", "zombie/stop/CONDITIONAL/1"),
        ("B", "zombie/stop/CONDITIONAL/2"),
    ]
