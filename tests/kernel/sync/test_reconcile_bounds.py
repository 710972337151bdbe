"""The bounds of a comparison: which executions, which ages, which places make a difference."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import PositionReport, PositionSide
from kernel.model.units import SECOND, MonoNs, TsNs
from kernel.sync.absence import Comparison, ReadStamp
from kernel.sync.reconcile import (
    Books,
    Enlarge,
    Forget,
    Guard,
    Held,
    Identify,
    Phantom,
    Remembered,
    Repair,
    Resize,
    Turned,
    reconcile,
)

LAST_NS = TsNs(100 * SECOND)
"""Of the last execution."""
READ_NS = 200 * SECOND
LAG_NS = 5 * SECOND
NAME = "p1"
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
HELD = Held(position_id=NAME, symbol="AAAUSDT", leg="BOTH", side=LONG, qty=Decimal(2))
ROW = PositionReport(symbol="AAAUSDT", side=LONG, qty=Decimal(2), updated_ns=TsNs(150 * SECOND))


def held(**changes: object) -> Books:
    return Books(held=(msgspec.structs.replace(HELD, **changes),))


def row(**changes: object) -> PositionReport:
    return msgspec.structs.replace(ROW, **changes)


def executed(books: Books, at: int = LAST_NS) -> Books:
    return msgspec.structs.replace(books, executed=(("AAAUSDT", TsNs(at)),))


def compare(
    rows: list[PositionReport], books: Books, before: Comparison | None = None, at: int = READ_NS
) -> tuple[list[Repair], Comparison]:
    sightings = {} if before is None else before.sightings
    comparison = Comparison(sightings, ReadStamp(MonoNs(at), TsNs(at)), LAG_NS)
    return reconcile(rows, books, comparison), comparison


def twice(rows: list[PositionReport], books: Books) -> list[Repair]:
    _, first = compare(rows, books)
    return compare(rows, books, first, READ_NS + LAG_NS)[0]


# ---------------------------------------------------------------- rows that say nothing


@pytest.mark.parametrize(
    "rows",
    [[], [row(qty=Decimal(0))], [row(side=PositionSide.FLAT)], [row(hedge_leg="LONG")],
     [row(symbol="BBBUSDT")]],
)  # fmt: skip
def test_a_row_without_quantity_side_or_place_does_not_show_a_position(
    rows: list[PositionReport],
) -> None:
    found = [one for one in twice(rows, held()) if isinstance(one, Phantom)]
    assert found == [Phantom(NAME, LAG_NS)]


@pytest.mark.parametrize(
    ("updated_s", "leg", "compared"),
    [(99, "BOTH", True), (98, "BOTH", False), (0, "BOTH", True), (98, "LONG", True)],
)
def test_a_row_a_second_older_than_an_execution_says_nothing_of_its_symbol(
    updated_s: int, leg: str, compared: bool
) -> None:
    shown = row(qty=Decimal(1), hedge_leg=leg, updated_ns=TsNs(updated_s * SECOND))
    repairs = twice([shown], executed(held(leg=leg)))
    assert repairs == ([Resize(NAME, shown)] if compared else [])


def test_a_row_a_nanosecond_older_than_that_says_nothing() -> None:
    shown = row(qty=Decimal(1), updated_ns=TsNs(LAST_NS - SECOND - 1))
    assert twice([shown], executed(held())) == []


# ---------------------------------------------------------------- what is in progress


@pytest.mark.parametrize(
    ("rows", "differs"),
    [([row()], False), ([], True), ([row(qty=Decimal(1))], True), ([row(side=SHORT)], True)],
)
def test_of_what_is_in_progress_it_is_only_said_that_it_differs(
    rows: list[PositionReport], differs: bool
) -> None:
    books = held(busy=True)
    assert twice(rows, books) == []
    _, comparison = compare(rows, books)
    assert comparison.skipped is differs
    assert not comparison.waiting


@pytest.mark.parametrize("books", [Books(unsettled=("AAAUSDT",)), held(busy=True)])
def test_a_busy_symbol_is_skipped_in_every_leg(books: Books) -> None:
    other = row(hedge_leg="SHORT", side=SHORT)
    remembered = Remembered(symbol="AAAUSDT", leg="LONG", updated_ts_ns=TsNs(0))
    books = msgspec.structs.replace(books, remembered=(remembered,))
    assert twice([other], books) == []


def test_another_symbol_is_not_skipped() -> None:
    other = row(symbol="BBBUSDT")
    assert compare([other], held(busy=True))[0] == [Guard(other)]


# ---------------------------------------------------------------- one that nobody knows


@pytest.mark.parametrize(("updated_ns", "guarded"), [(LAST_NS, True), (LAST_NS - 1, False)])
def test_one_is_guarded_where_its_row_is_no_older_than_the_last_execution(
    updated_ns: int, guarded: bool
) -> None:
    shown = row(updated_ns=TsNs(updated_ns))
    repairs, _ = compare([shown], executed(Books()))
    assert repairs == ([Guard(shown)] if guarded else [])


def test_one_whose_row_has_no_time_is_guarded_where_nothing_was_executed() -> None:
    shown = row(updated_ns=TsNs(0))
    assert compare([shown], Books())[0] == [Guard(shown)]


def test_one_that_turned_between_two_reads_is_proven_by_neither() -> None:
    _, first = compare([row()], Books())
    other = row(side=SHORT)
    assert compare([other], Books(), first, READ_NS + LAG_NS)[0] == [Guard(other)]


# ---------------------------------------------------------------- one of the book


@pytest.mark.parametrize(
    ("qty", "updated_ns", "enlarged"),
    [(3, LAST_NS + 1, True), (3, LAST_NS, False), (1, LAST_NS + 1, False)],
)
def test_more_is_protected_where_its_row_is_newer_than_the_last_execution(
    qty: int, updated_ns: int, enlarged: bool
) -> None:
    shown = row(qty=Decimal(qty), updated_ns=TsNs(updated_ns))
    repairs, _ = compare([shown], executed(held()))
    assert repairs == ([Enlarge(NAME, shown)] if enlarged else [])


def test_one_that_is_unproven_and_of_another_size_needs_both() -> None:
    shown = row(qty=Decimal(1))
    assert twice([shown], held(unproven=True)) == [Identify(NAME), Resize(NAME, shown)]


def test_one_that_is_proven_is_not_identified() -> None:
    assert twice([row()], held()) == []


def test_one_that_has_turned_is_neither_identified_nor_resized() -> None:
    shown = row(side=SHORT, qty=Decimal(1))
    assert twice([shown], held(unproven=True)) == [Turned(NAME, SHORT)]
    assert compare([shown], held())[0] == []


def test_for_how_long_reads_have_not_shown_it_is_told() -> None:
    _, first = compare([], held())
    _, second = compare([], held(), first, READ_NS + LAG_NS)
    repairs, _ = compare([], held(), second, READ_NS + 60 * SECOND)
    assert repairs == [Phantom(NAME, 60 * SECOND)]


@pytest.mark.parametrize("rows", [[], [row(side=SHORT)], [row(qty=Decimal(1))]])
def test_reads_asked_before_the_last_execution_prove_no_difference(
    rows: list[PositionReport],
) -> None:
    late = executed(held(unproven=True), READ_NS + 1)
    rows = [msgspec.structs.replace(one, updated_ns=TsNs(READ_NS + 1)) for one in rows]
    assert twice(rows, late) == []


# ---------------------------------------------------------------- one that was reported


def remembered(**changes: object) -> Books:
    one = Remembered(symbol="AAAUSDT", leg="BOTH", updated_ts_ns=LAST_NS)
    return Books(remembered=(msgspec.structs.replace(one, **changes),))


@pytest.mark.parametrize(
    ("updated_ns", "last_ns", "gone"),
    [
        (READ_NS - 1, 0, True),
        (READ_NS, 0, False),
        (0, READ_NS - 1, True),
        (0, READ_NS, False),
    ],
)
def test_one_that_was_reported_is_gone_by_reads_asked_after_its_news(
    updated_ns: int, last_ns: int, gone: bool
) -> None:
    books = executed(remembered(updated_ts_ns=TsNs(updated_ns)), last_ns)
    assert twice([], books) == ([Forget("AAAUSDT", "BOTH")] if gone else [])


def test_one_that_is_shown_or_held_is_not_gone() -> None:
    books = remembered()
    assert not any(isinstance(one, Forget) for one in twice([row()], books))
    ours = msgspec.structs.replace(books, held=(HELD,))
    assert twice([], ours) == [Phantom(NAME, LAG_NS)]


def test_repairs_come_in_the_order_of_their_symbols_and_legs() -> None:
    rows = [row(symbol=name, hedge_leg=leg) for name in "BA" for leg in ("SHORT", "LONG")]
    found = [one.report for one in compare(rows, Books())[0] if isinstance(one, Guard)]
    assert [(one.symbol, one.hedge_leg) for one in found] == [
        ("A", "LONG"), ("A", "SHORT"), ("B", "LONG"), ("B", "SHORT"),
    ]  # fmt: skip
