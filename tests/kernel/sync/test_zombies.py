"""Which orders are zombies, over any orders and any books."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import (
    ONE_WAY,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    Side,
)
from kernel.model.units import SECOND, TsNs
from kernel.sync.zombies import Candidate, Ground, ZombieKind, find_young, find_zombies

LAG_NS = 5 * SECOND
ASKED_NS = 1_000 * SECOND
SYMBOLS = ("AAAUSDT", "BBBUSDT")
LEGS = (ONE_WAY, "LONG", "SHORT")
OUR_STOP, OUR_ENTRY = "wk5-1b-abcdef-S0-1", "wk5-1b-abcdef-E0-1"
QTYS = st.sampled_from([Decimal(1), Decimal(2), Decimal(3)])


def order(number: int = 1, **changes: object) -> OrderReport:
    report = OrderReport(
        symbol=SYMBOLS[0],
        venue_order_id=str(number),
        client_order_id=OUR_STOP,
        order_class=OrderClass.CONDITIONAL,
        order_type=OrderType.STOP_MARKET,
        side=Side.SELL,
        status=OrderStatus.NEW,
        qty=Decimal(1),
        reduce_only=True,
        created_ns=TsNs(100 * SECOND),
    )
    return msgspec.structs.replace(report, **changes)


def held(leg: str = ONE_WAY, side: PositionSide = PositionSide.LONG, qty: int = 1) -> Ground:
    row = PositionReport(symbol=SYMBOLS[0], side=side, qty=Decimal(qty), hedge_leg=leg)
    return ground(positions=(row,), hedge_mode=leg != ONE_WAY)


def ground(**changes: object) -> Ground:
    made = Ground(positions=(), asked_ts_ns=TsNs(ASKED_NS), lag_ns=LAG_NS)
    return msgspec.structs.replace(made, **changes)


def kinds(report: OrderReport, where: Ground, *, ours: bool = True) -> list[ZombieKind]:
    return [one.kind for one in find_zombies([Candidate(report, ours=ours)], where)]


# ---------------------------------------------------------------- examples of each kind


def test_a_plain_reduce_only_order_without_a_position_is_one() -> None:
    report = order(order_class=OrderClass.PLAIN, order_type=OrderType.LIMIT)
    assert kinds(report, ground()) == [ZombieKind.REDUCE_ONLY]


def test_a_stop_or_take_profit_without_a_position_is_one() -> None:
    assert kinds(order(), ground()) == [ZombieKind.STOP]
    attached = order(order_class=OrderClass.ATTACHED, client_order_id="", reduce_only=False)
    assert kinds(attached, ground()) == [ZombieKind.STOP]


def test_a_stop_of_ours_that_lost_its_reduce_only_flag_is_one_without_a_position() -> None:
    assert kinds(order(reduce_only=False), ground()) == [ZombieKind.STOP]
    assert kinds(order(reduce_only=False, client_order_id=OUR_ENTRY), ground()) == []


def test_a_closing_order_of_a_leg_that_is_not_open_is_a_ghost() -> None:
    ghost = order(position_side="LONG", reduce_only=False)
    assert kinds(ghost, ground(hedge_mode=True)) == [ZombieKind.GHOST]
    assert kinds(ghost, held("SHORT", PositionSide.SHORT)) == [ZombieKind.GHOST]
    assert kinds(ghost, held("LONG")) == []


def test_an_opening_order_of_a_leg_that_is_not_open_is_none() -> None:
    opening = order(
        position_side="LONG", side=Side.BUY, reduce_only=False, client_order_id=OUR_ENTRY
    )
    assert kinds(opening, ground(hedge_mode=True)) == []


def test_a_closing_order_of_a_leg_that_the_mode_does_not_have_is_a_ghost() -> None:
    assert kinds(order(position_side="LONG"), ground()) == [ZombieKind.GHOST]
    assert kinds(order(), ground(hedge_mode=True)) == [ZombieKind.GHOST]


def test_an_order_that_would_turn_a_position_is_one_unless_the_venue_holds_it_back() -> None:
    flips = order(order_class=OrderClass.PLAIN, reduce_only=False, qty=Decimal(2))
    assert kinds(flips, held()) == [ZombieKind.FLIP]
    assert kinds(msgspec.structs.replace(flips, reduce_only=True), held()) == []
    assert kinds(msgspec.structs.replace(flips, side=Side.BUY), held()) == []
    assert kinds(flips, held(qty=2)) == []
    assert kinds(msgspec.structs.replace(flips, filled_qty=Decimal(1)), held()) == []


# ---------------------------------------------------------------- over anything

ORDERS = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(SYMBOLS),
        "position_side": st.sampled_from(LEGS),
        "side": st.sampled_from(Side),
        "order_class": st.sampled_from(OrderClass),
        "reduce_only": st.booleans(),
        "close_position": st.booleans(),
        "status": st.sampled_from(OrderStatus),
        "client_order_id": st.sampled_from([OUR_STOP, OUR_ENTRY, "by-hand", ""]),
        "qty": QTYS,
        "created_ns": st.integers(980, 1_000).map(lambda at: TsNs(at * SECOND)),
    }
)
CANDIDATES = st.lists(st.tuples(ORDERS, st.booleans(), st.booleans()), max_size=6).map(
    lambda items: [
        Candidate(order(number, **fields), ours=ours, claimed=claimed)
        for number, (fields, ours, claimed) in enumerate(items)
    ]
)
ROWS = st.lists(
    st.builds(
        lambda symbol, leg, side, qty: PositionReport(
            symbol=symbol, side=side, qty=qty, hedge_leg=leg
        ),
        st.sampled_from(SYMBOLS), st.sampled_from(LEGS),
        st.sampled_from([PositionSide.LONG, PositionSide.SHORT]),
        st.sampled_from([Decimal(0), Decimal(1), Decimal(2)]),
    ),
    max_size=4,
    unique_by=lambda row: (row.symbol, row.hedge_leg),
).map(tuple)  # fmt: skip
SOME = st.lists(st.sampled_from(SYMBOLS), max_size=2).map(tuple)
GROUNDS = st.builds(
    ground,
    positions=ROWS,
    hedge_mode=st.booleans(),
    everybodys=st.booleans(),
    taken=SOME,
    held=st.lists(st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(LEGS)), max_size=2).map(
        tuple
    ),
    busy=SOME,
)


@given(CANDIDATES, GROUNDS)
def test_where_a_position_of_ours_is_or_may_be_only_a_flip_is_one(
    candidates: list[Candidate], where: Ground
) -> None:
    for zombie in find_zombies(candidates, where):
        assert zombie.report.symbol not in where.busy
        if zombie.report.symbol in where.taken:
            assert zombie.kind is ZombieKind.FLIP


@given(CANDIDATES, GROUNDS)
def test_nothing_is_one_that_an_open_leg_needs(candidates: list[Candidate], where: Ground) -> None:
    rows = {(row.symbol, row.hedge_leg): row for row in where.positions if row.qty}
    for zombie in find_zombies(candidates, where):
        row = rows.get((zombie.report.symbol, zombie.report.position_side))
        if row is not None:
            assert zombie.kind is ZombieKind.FLIP
            assert not zombie.report.reduce_only
            assert zombie.report.leaves_qty > row.qty


@given(CANDIDATES, GROUNDS)
def test_what_is_claimed_young_firing_or_somebody_elses_is_none(
    candidates: list[Candidate], where: Ground
) -> None:
    by_id = {one.report.venue_order_id: one for one in candidates}
    for zombie in find_zombies(candidates, where):
        one = by_id[zombie.report.venue_order_id]
        assert not one.claimed
        assert one.ours or where.everybodys
        assert where.asked_ts_ns - one.report.created_ns >= LAG_NS
        assert one.report.status in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


@given(CANDIDATES, GROUNDS)
def test_nothing_is_one_in_the_first_read_or_with_a_store_that_is_too_young(
    candidates: list[Candidate], where: Ground
) -> None:
    first = msgspec.structs.replace(where, first=True)
    young = msgspec.structs.replace(where, store_since_ns=TsNs(11), oldest_ns=TsNs(10))
    for blind in (first, young):
        assert find_zombies(candidates, blind) == []
        assert not find_young(candidates, blind)


@given(st.data(), CANDIDATES, GROUNDS)
def test_the_order_of_lists_changes_nothing(
    data: st.DataObject, candidates: list[Candidate], where: Ground
) -> None:
    shuffled = data.draw(st.permutations(candidates))
    rows = tuple(data.draw(st.permutations(where.positions)))
    again = msgspec.structs.replace(where, positions=rows)
    assert find_zombies(shuffled, again) == find_zombies(candidates, where)


@given(CANDIDATES, GROUNDS)
def test_a_young_one_is_told_of_exactly_when_age_alone_spares_it(
    candidates: list[Candidate], where: Ground
) -> None:
    aged = [
        msgspec.structs.replace(one, report=msgspec.structs.replace(one.report, created_ns=0))
        for one in candidates
    ]
    spared = len(find_zombies(aged, where)) - len(find_zombies(candidates, where))
    assert find_young(candidates, where) == (spared > 0)
