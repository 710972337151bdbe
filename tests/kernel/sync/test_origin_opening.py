"""Whose a found position is, and how the entry of one of ours is booked."""

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, OrderType, PositionSide, Side
from kernel.model.rows import OrderRow
from kernel.model.units import DAY, TsNs
from kernel.model.venue import EffectClass, OrderSurface, QueryExecutions, QueryOrder
from kernel.sync.origin import Opening, book_opening, opening_of
from tests.kernel.fakes import WALL, D, Placed, Rule
from tests.kernel.sync.whole import SYMBOL, Whole, execution, order_report, own_id

ENTRY, EXIT = own_id(Leg.ENTRY), own_id(Leg.EXIT)


@pytest.fixture
def bench():
    made = Whole()
    made.venue.open(SYMBOL, PositionSide.LONG, "0.005", "42000")
    yield made
    assert made.crashes == []


def opening(bench, **changes):
    """What is found out of the position that the venue shows."""
    report = msgspec.structs.replace(bench.venue.position_report(SYMBOL), **changes)
    task = bench.spawn(opening_of(bench.services, "binance", report))
    bench.after(1)
    return task.result()


def named(bench, venue_order_id, client_id):
    """The venue knows an order by both ids."""
    report = order_report(client_id, venue_order_id=str(venue_order_id), status=OrderStatus.FILLED)
    bench.venue.orders[client_id or f"nobody-{venue_order_id}"] = Placed(report, live=False)


# ---------------------------------------------------------------- whose it is


def test_it_is_ours_where_an_entry_of_ours_executed_last(bench):
    bench.venue.fills = [execution(1, client_order_id=ENTRY)]
    found = opening(bench)
    assert found == Opening(ENTRY, (execution(1, client_order_id=ENTRY),))
    assert found.ours
    assert len(bench.asked()) == 1


@pytest.mark.parametrize("client_id", ["web_7", EXIT])
def test_it_is_not_ours_where_something_else_executed_last(bench, client_id):
    bench.venue.fills = [
        execution(1, client_order_id=ENTRY, qty="0.002"),
        execution(2, client_order_id=client_id, qty="0.003"),
    ]
    found = opening(bench)
    assert found == Opening()
    assert not found.ours


def test_an_execution_that_closed_says_nothing_of_whose_it_is(bench):
    first = execution(1, client_order_id=ENTRY, qty="0.007")
    closed = execution(2, Side.SELL, "0.002", client_order_id=EXIT)
    bench.venue.fills = [first, closed]
    assert opening(bench) == Opening(ENTRY, (first, closed))


def test_where_nothing_opened_it_in_the_time_that_is_served_it_is_not_ours(bench):
    bench.venue.fills = [execution(1, Side.SELL, client_order_id=ENTRY)]
    assert opening(bench) == Opening()


def test_executions_of_six_days_are_asked_as_urgently_as_an_exit(bench):
    opening(bench)
    ((_, asked),) = bench.asked("executions")
    assert asked == QueryExecutions(symbol=SYMBOL, since_ns=TsNs(WALL - 6 * DAY))
    assert bench.venue.classes == [EffectClass.EXIT]


def test_an_execution_without_our_id_is_named_by_its_order_asked_once_each(bench):
    bench.venue.fills = [
        execution(1, qty="0.001", trade_id="a"),
        execution(2, qty="0.001", trade_id="b"),
        execution(1, qty="0.001", trade_id="c"),
        execution(3, qty="0.002", trade_id="d"),
    ]
    other = own_id(Leg.ENTRY, generation=3)
    named(bench, 1, ENTRY)
    named(bench, 2, "web_7")
    named(bench, 3, other)
    found = opening(bench)
    assert found.client_order_id == other
    assert [one.client_order_id for one in found.fills] == [ENTRY, "", ENTRY, other]
    asked = [request for _, request in bench.asked("query_order")]
    assert [one.venue_order_id for one in asked] == ["3", "1", "2"]
    assert asked[0] == QueryOrder(symbol=SYMBOL, surface=OrderSurface.PLAIN, venue_order_id="3")
    assert dict.fromkeys(bench.venue.classes) == {EffectClass.EXIT: None}


def test_what_our_books_know_is_not_asked(bench):
    bench.order(ENTRY, venue_order_id="9", status=OrderStatus.FILLED)
    bench.venue.fills = [execution(9)]
    assert opening(bench).client_order_id == ENTRY
    assert bench.asked("query_order") == []


def test_an_order_that_the_venue_forgot_is_not_ours(bench):
    bench.venue.fills = [execution(9)]
    assert opening(bench) == Opening()


def test_where_the_order_cannot_be_read_nobody_can_tell(bench):
    bench.venue.fills = [execution(9)]
    bench.venue.rules.append(Rule("query_order", errors.OutcomeUnknown))
    report = bench.venue.position_report(SYMBOL)
    told = []

    async def ask():
        try:
            await opening_of(bench.services, "binance", report)
        except errors.VenueError as error:
            told.append(error)

    bench.spawn(ask())
    bench.after(1)
    assert len(told) == 1


# ---------------------------------------------------------------- its entry, booked


def book(bench, fills, qty="0.005", **given):
    """A found position whose opening is booked."""
    bench.after(1)
    position = bench.filled(qty=qty, **given)
    own = list(position.fills.values())
    for one in own:  # as one that was found: a quantity without executions
        del position.fills[one.trade_id]
    row = msgspec.structs.replace(
        position.row, position_id="found", symbol="ETHUSDT", filled_qty=D(qty), fees=D(0)
    )
    found = bench.services.book.create(row)
    fills = tuple(msgspec.structs.replace(one, symbol="ETHUSDT") for one in fills)
    book_opening(bench.services, found, Opening(ENTRY, fills))
    bench.after(1)
    return found


def test_the_entry_of_one_of_ours_is_booked_with_its_fees_its_price_and_its_time(bench):
    fills = [
        execution(1, qty="0.002", client_order_id=ENTRY, fee=D("0.1"), price=D(100), trade_id="a"),
        execution(1, qty="0.003", client_order_id=ENTRY, fee=D("0.2"), price=D(200), trade_id="b"),
    ]
    found = book(bench, fills)
    assert (found.qty, found.row.fees, found.row.entry_price) == (D("0.005"), D("0.3"), D(160))
    assert found.row.first_fill_ns == WALL + 1
    (order,) = bench.services.orders.of_position("found")
    row = order.row
    assert (row.client_order_id, row.venue_order_id, row.symbol) == (ENTRY, "1", "ETHUSDT")
    assert (row.qty, row.filled_qty, row.status) == (D("0.005"), D("0.005"), OrderStatus.FILLED)
    assert (row.order_class, row.order_type) == (OrderClass.PLAIN, OrderType.MARKET)
    assert (row.side, row.reduce_only, row.intent_open) == (Side.BUY, False, False)
    assert (row.created_ns, row.updated_ns, row.venue) == (WALL + 1, WALL + 1, "binance")
    assert ENTRY in [one.client_order_id for one in bench.store.rows if isinstance(one, OrderRow)]


def test_the_entry_of_one_of_ours_is_never_stored_as_open(bench):
    stored: list[object] = []
    bench.services.persist = stored.extend
    bench.services.orders.persist = stored.extend
    book(bench, [execution(1, client_order_id=ENTRY)])
    rows = [one for one in stored if isinstance(one, OrderRow) and one.client_order_id == ENTRY]
    assert {one.status for one in rows} == {OrderStatus.FILLED}


def test_two_entries_are_two_orders_each_with_its_own_quantity(bench):
    other = own_id(Leg.ENTRY, generation=4)
    fills = [
        execution(1, qty="0.002", client_order_id=ENTRY),
        execution(2, qty="0.003", client_order_id=other),
    ]
    book(bench, fills)
    orders = bench.services.orders.of_position("found")
    assert [(one.client_order_id, one.row.qty) for one in orders] == [
        (ENTRY, D("0.002")),
        (other, D("0.003")),
    ]


@pytest.mark.parametrize(
    "fills",
    [
        [execution(1, qty="0.004", client_order_id=ENTRY)],
        [
            execution(1, qty="0.002", client_order_id=ENTRY),
            execution(2, qty="0.003", client_order_id="web_7"),
        ],
    ],
    ids=["another quantity", "not all ours"],
)
def test_where_entries_of_ours_do_not_explain_all_of_it_only_its_time_is_booked(bench, fills):
    found = book(bench, fills)
    assert found.row.first_fill_ns == WALL + 1
    assert bench.services.orders.of_position("found") == []
    assert found.fills == {}


def test_where_nothing_is_known_of_its_opening_it_stays_as_it_is(bench):
    found = book(bench, [])
    assert bench.services.orders.of_position("found") == []
    assert found.row.first_fill_ns != WALL + 1


def test_an_order_of_a_position_that_ended_is_moved_to_the_one_that_it_opened(bench):
    order = bench.order(ENTRY, "ended", symbol="ETHUSDT", status=OrderStatus.FILLED)
    found = book(bench, [execution(1, client_order_id=ENTRY)])
    assert bench.services.orders.of_position("found") == [order]
    assert order.row.position_id == "found"
    assert list(found.fills) == ["t1"]


def test_an_execution_that_is_booked_already_is_not_booked_again(bench):
    order = bench.order(ENTRY, "ended", symbol="ETHUSDT", status=OrderStatus.FILLED)
    order.fills["t1"] = execution(1, client_order_id=ENTRY, symbol="ETHUSDT")
    found = book(bench, [execution(1, client_order_id=ENTRY)])
    assert order.row.position_id == "ended"
    assert found.fills == {}
    assert ENTRY not in [getattr(one, "client_order_id", "") for one in bench.store.rows]
