"""The comparison of a venue with the books, over any books and any rows."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import PositionReport, PositionSide
from kernel.model.units import SECOND, MonoNs, TsNs
from kernel.sync.absence import Comparison, ReadStamp, Sightings
from kernel.sync.reconcile import (
    ADDING,
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
    Untracked,
    reconcile,
)

LAG_NS = 5 * SECOND
LAST_NS = 100 * SECOND
"""Of the last execution, where there is one."""
SYMBOLS = ("AAAUSDT", "BBBUSDT", "CCCUSDT")
LEGS = ("BOTH", "LONG", "SHORT")
QTYS = st.sampled_from([Decimal(1), Decimal(2), Decimal(3)])
OPEN_SIDES = st.sampled_from([PositionSide.LONG, PositionSide.SHORT])
PLACES = st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(LEGS))


def row(symbol: str, leg: str, side: PositionSide, qty: Decimal, at: int) -> PositionReport:
    return PositionReport(symbol=symbol, side=side, qty=qty, hedge_leg=leg, updated_ns=TsNs(at))


def by_place[T: (PositionReport, Held)](items: list[T]) -> list[T]:
    kept = {(item.symbol, _leg(item)): item for item in items}
    return list(kept.values())


def _leg(item: PositionReport | Held) -> str:
    return item.leg if isinstance(item, Held) else item.hedge_leg


ROWS = st.lists(
    st.builds(
        lambda place, side, qty, at: row(place[0], place[1], side, qty, at),
        PLACES, OPEN_SIDES, QTYS, st.integers(0, 2 * LAST_NS),
    ),
    max_size=6,
).map(by_place)  # fmt: skip
HELD = st.lists(
    st.builds(
        lambda place, side, qty, busy, unproven: Held(
            position_id=f"{place[0]}/{place[1]}",
            symbol=place[0],
            leg=place[1],
            side=side,
            qty=qty,
            busy=busy,
            unproven=unproven,
        ),
        PLACES, OPEN_SIDES, QTYS, st.booleans(), st.booleans(),
    ),
    max_size=4,
).map(by_place)  # fmt: skip
BOOKS = st.builds(
    lambda held, remembered, unsettled, executed: Books(
        held=tuple(held),
        remembered=tuple(Remembered(symbol=s, leg=g, updated_ts_ns=TsNs(0)) for s, g in remembered),
        unsettled=tuple(unsettled),
        executed=tuple((symbol, TsNs(LAST_NS)) for symbol in executed),
    ),
    HELD,
    st.lists(PLACES, unique=True, max_size=3),
    st.lists(st.sampled_from(SYMBOLS), unique=True, max_size=1),
    st.lists(st.sampled_from(SYMBOLS), unique=True, max_size=2),
)


def compare(
    rows: list[PositionReport], books: Books, at: int, before: Sightings | None = None
) -> tuple[list[Repair], Comparison]:
    stamp = ReadStamp(MonoNs(at), TsNs(at))
    comparison = Comparison(before or {}, stamp, LAG_NS)
    return reconcile(rows, books, comparison), comparison


def twice(
    rows: list[PositionReport], books: Books, first: int = 200 * SECOND, gap: int = LAG_NS
) -> list[Repair]:
    """The repairs of a second read that shows the same."""
    _, comparison = compare(rows, books, first)
    return compare(rows, books, first + gap, comparison.sightings)[0]


def symbol_of(repair: Repair) -> str:
    match repair:
        case Guard(report) | Untracked(report):
            return report.symbol
        case Forget(symbol, _):
            return symbol
        case _:
            return repair.position_id.split("/")[0]


# ---------------------------------------------------------------- properties


@given(ROWS, BOOKS)
def test_one_read_only_ever_adds_protection(rows: list[PositionReport], books: Books) -> None:
    repairs, _ = compare(rows, books, 200 * SECOND)
    assert all(isinstance(repair, ADDING) for repair in repairs)


@given(ROWS, BOOKS, st.integers(0, LAG_NS - 1))
def test_reads_closer_than_the_visibility_lag_only_ever_add_protection(
    rows: list[PositionReport], books: Books, gap: int
) -> None:
    assert all(isinstance(repair, ADDING) for repair in twice(rows, books, gap=gap))


@given(ROWS, BOOKS)
def test_reads_from_before_the_last_execution_conclude_nothing_on_its_symbol(
    rows: list[PositionReport], books: Books
) -> None:
    first = LAST_NS - LAG_NS  # the second is asked at the very instant of the execution
    concluded = [one for one in twice(rows, books, first) if not isinstance(one, ADDING)]
    assert not [one for one in concluded if symbol_of(one) in dict(books.executed)]


@given(ROWS, BOOKS)
def test_a_row_older_than_the_last_execution_adds_nothing(
    rows: list[PositionReport], books: Books
) -> None:
    executed = dict(books.executed)
    for repair in compare(rows, books, 200 * SECOND)[0]:
        assert isinstance(repair, ADDING)
        assert repair.report.updated_ns >= executed.get(repair.report.symbol, 0)


@given(ROWS, BOOKS)
def test_symbols_with_something_in_progress_are_skipped(
    rows: list[PositionReport], books: Books
) -> None:
    busy = [held.symbol for held in books.held if held.busy] + list(books.unsettled)
    assert not [one for one in twice(rows, books) if symbol_of(one) in busy]


@given(ROWS, BOOKS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_books_makes_no_difference(
    rows: list[PositionReport], books: Books, chance: object
) -> None:
    shuffled, held = list(rows), list(books.held)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    chance.shuffle(held)  # type: ignore[attr-defined]
    other = msgspec.structs.replace(books, held=tuple(held))
    assert twice(shuffled, other) == twice(rows, books)


@given(ROWS, BOOKS)
def test_a_third_equal_read_says_what_the_second_said(
    rows: list[PositionReport], books: Books
) -> None:
    _, first = compare(rows, books, 200 * SECOND)
    second, kept = compare(rows, books, 200 * SECOND + LAG_NS, first.sightings)
    third, _ = compare(rows, books, 201 * SECOND + LAG_NS, kept.sightings)
    said = [one if not isinstance(one, Phantom) else one.position_id for one in second]
    assert [one if not isinstance(one, Phantom) else one.position_id for one in third] == said


@given(ROWS, BOOKS)
def test_the_same_read_held_twice_says_the_same(rows: list[PositionReport], books: Books) -> None:
    once, comparison = compare(rows, books, 200 * SECOND)
    assert compare(rows, books, 200 * SECOND, comparison.sightings)[0] == once


@given(ROWS, BOOKS)
def test_mended_books_need_no_more_repairs(rows: list[PositionReport], books: Books) -> None:
    """Every conclusion applied as its owner applies it: the next two reads find nothing."""
    repairs = twice(rows, books)
    held = {one.position_id: one for one in books.held}
    known = [(one.symbol, one.leg) for one in books.held]  # reported and held: not remembered
    remembered = [one for one in books.remembered if (one.symbol, one.leg) not in known]
    for repair in repairs:
        match repair:
            case Phantom(position_id, _):
                del held[position_id]
            case Turned(position_id, _):
                old = held.pop(position_id)
                shown = [r for r in rows if (r.symbol, r.hedge_leg) == (old.symbol, old.leg)]
                held[position_id] = msgspec.structs.replace(
                    old, side=shown[0].side, qty=shown[0].qty, unproven=False
                )
            case Resize(position_id, report):
                held[position_id] = msgspec.structs.replace(held[position_id], qty=report.qty)
            case Identify(position_id):
                held[position_id] = msgspec.structs.replace(held[position_id], unproven=False)
            case Untracked(report) | Guard(report):
                place = f"{report.symbol}/{report.hedge_leg}"
                held[place] = Held(
                    position_id=place,
                    symbol=report.symbol,
                    leg=report.hedge_leg,
                    side=report.side,
                    qty=report.qty,
                )
            case Forget(symbol, leg):
                remembered = [one for one in remembered if (one.symbol, one.leg) != (symbol, leg)]
    mended = Books(
        held=tuple(held.values()),
        remembered=tuple(remembered),
        unsettled=books.unsettled,
        executed=books.executed,
    )
    assert twice(rows, mended, 300 * SECOND) == []


# ---------------------------------------------------------------- each difference


def held_long(qty: int = 1, **more: object) -> Held:
    return Held(
        position_id="AAAUSDT/BOTH",
        symbol="AAAUSDT",
        leg="BOTH",
        side=PositionSide.LONG,
        qty=Decimal(qty),
        **more,  # type: ignore[arg-type]
    )


def shown(side: PositionSide, qty: int, leg: str = "BOTH") -> PositionReport:
    return row("AAAUSDT", leg, side, Decimal(qty), 150 * SECOND)


def test_a_position_that_two_reads_do_not_show_is_a_phantom() -> None:
    assert twice([], Books(held=(held_long(),))) == [Phantom("AAAUSDT/BOTH", LAG_NS)]


def test_a_position_that_only_the_venue_has_is_guarded_then_untracked() -> None:
    report = shown(PositionSide.LONG, 1)
    assert compare([report], Books(), 200 * SECOND)[0] == [Guard(report)]
    assert twice([report], Books()) == [Untracked(report)]


def test_a_guarded_position_is_identified_by_two_reads() -> None:
    books = Books(held=(held_long(unproven=True),))
    assert twice([shown(PositionSide.LONG, 1)], books) == [Identify("AAAUSDT/BOTH")]


def test_a_larger_position_is_protected_at_once_and_booked_by_two_reads() -> None:
    report, books = shown(PositionSide.LONG, 2), Books(held=(held_long(),))
    assert compare([report], books, 200 * SECOND)[0] == [Enlarge("AAAUSDT/BOTH", report)]
    assert twice([report], books) == [Resize("AAAUSDT/BOTH", report)]


def test_a_smaller_position_is_booked_by_two_reads_and_nothing_is_done_before() -> None:
    report, books = shown(PositionSide.LONG, 1), Books(held=(held_long(2),))
    assert compare([report], books, 200 * SECOND)[0] == []
    assert twice([report], books) == [Resize("AAAUSDT/BOTH", report)]


def test_the_other_side_ends_ours() -> None:
    books = Books(held=(held_long(),))
    ended = [Turned("AAAUSDT/BOTH", PositionSide.SHORT)]
    assert twice([shown(PositionSide.SHORT, 1)], books) == ended


def test_the_legs_of_a_symbol_are_positions_of_their_own() -> None:
    books = Books(held=(msgspec.structs.replace(held_long(), leg="LONG"),))
    other = shown(PositionSide.SHORT, 1, "SHORT")
    rows = [shown(PositionSide.LONG, 1, "LONG"), other]
    assert compare(rows, books, 200 * SECOND)[0] == [Guard(other)]


def test_a_reported_position_that_two_reads_do_not_show_is_forgotten() -> None:
    one = Remembered(symbol="AAAUSDT", leg="BOTH", updated_ts_ns=TsNs(LAST_NS))
    assert twice([], Books(remembered=(one,))) == [Forget("AAAUSDT", "BOTH")]


def test_sizes_that_differ_from_read_to_read_prove_nothing() -> None:
    books = Books(held=(held_long(3),))
    _, first = compare([shown(PositionSide.LONG, 1)], books, 200 * SECOND)
    second = compare([shown(PositionSide.LONG, 2)], books, 220 * SECOND, first.sightings)
    assert second[0] == []
