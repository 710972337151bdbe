"""Unknown outcomes: what is asked when, what proves what, and who waits for whom."""

from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, OrderType
from kernel.model.units import DAY, MINUTE, MS, SECOND, TsNs
from kernel.model.venue import (
    EffectClass,
    ExecutionPage,
    OrderPage,
    OrderSurface,
    QueryExecutions,
    QueryOpenOrders,
)
from kernel.ports.direct import request_kind
from kernel.sync.outcome import OutcomeSettler, Settled
from tests.kernel.fakes import WALL, Placed, Rule
from tests.kernel.sync.whole import SYMBOL, Whole, execution, order_report, own_id

ID = own_id(Leg.ENTRY)
ROUND_NS = 3 * 40 * MS - 20 * MS
"""Three surfaces one after the other; the refusal of the first comes after half of its time."""


class Bench(Whole):
    """With a settler of its own and the searches that were begun."""

    def __post_init__(self):
        super().__post_init__()
        self.settler = OutcomeSettler(self.services)
        self.ended = []

    def settle(self, order):
        async def search():
            settled = await self.settler.settle(order)
            self.ended.append((settled, self.runtime.now()))

        return self.spawn(search())

    def rounds(self):
        """When each look-up began."""
        return [at for at, _ in self.asked("query_order")]

    def proof(self, ns):
        """The venue proves by empty look-ups over so long."""
        self.desk.traits = msgspec.structs.replace(self.desk.traits, unknown_proof_ns=ns)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- negative proof


def test_look_ups_begin_at_once_and_their_pauses_double_up_to_five_seconds(bench):
    bench.settle(bench.order(ID))
    bench.after(30)
    pauses = [b - a - ROUND_NS for a, b in pairwise(bench.rounds())]
    assert bench.rounds()[0] == 0
    assert pauses[:7] == [n * MS for n in (200, 400, 800, 1600, 3200, 5000, 5000)]


def test_negative_proof_is_empty_look_ups_over_the_venues_time_after_the_lifetime(bench):
    order = bench.order(ID)
    bench.settle(order)
    bench.after(120)
    ((settled, ended_ns),) = bench.ended
    counted = [at for at in bench.rounds() if at >= 5 * SECOND]
    assert settled is Settled.NEVER_PLACED
    assert ended_ns == counted[-1] + ROUND_NS
    assert counted[-1] - counted[0] >= 60 * SECOND > counted[-2] - counted[0]
    (told,) = bench.kinds("outcome.settled")
    assert told.cause == f"{len(counted)} complete look-ups of all surfaces were empty"
    assert told.values["outcome"] == "NEVER_PLACED"


def test_after_negative_proof_an_order_is_ended_and_watched_for_a_day(bench):
    order = bench.order(ID)
    bench.settle(order)
    bench.after(120)
    assert order.row.status is OrderStatus.REJECTED
    assert not order.row.intent_open
    assert order.row.watch_until_ns == WALL + bench.ended[0][1] + DAY


@pytest.mark.parametrize(("reduce_only", "closely"), [(False, 10 * MINUTE), (True, 0)])
def test_after_negative_proof_of_an_entry_the_venue_is_watched_closely(bench, reduce_only, closely):
    bench.settle(bench.order(ID, reduce_only=reduce_only))
    bench.after(120)
    assert bench.desk.closely_until_ns == (bench.ended[0][1] + closely if closely else 0)


def test_three_look_ups_are_needed_however_short_the_venues_time(bench):
    bench.proof(0)
    bench.settle(bench.order(ID))
    bench.after(60)
    counted = [at for at in bench.rounds() if at >= 5 * SECOND]
    assert len(counted) == 3
    assert bench.kinds("outcome.settled")[0].cause.startswith("3 complete")


@pytest.mark.parametrize(("begins_ms", "needed"), [(5_000, 3), (4_999, 4)])
def test_only_a_look_up_that_is_asked_after_the_lifetime_counts(bench, begins_ms, needed):
    bench.proof(0)
    late = Rule("query_order", errors.UnknownOrder, delay_ns=(begins_ms - 300) * MS, times=1)
    bench.venue.rules.append(late)
    bench.settle(bench.order(ID))
    bench.after(60)
    assert bench.rounds()[1] == begins_ms * MS
    assert len(bench.rounds()[1:]) == needed


def test_a_search_goes_before_entries_and_questions(bench):
    bench.settle(bench.order(ID))
    bench.after(1)
    assert dict.fromkeys(bench.venue.classes) == {EffectClass.EXIT: None}


@pytest.mark.parametrize("generation", [0, 1, 2])
def test_the_time_of_the_proof_begins_with_the_first_look_up_that_counts(bench, generation):
    bench.desk.stream_generation = generation
    bench.after(100)
    bench.settle(bench.order(ID))
    bench.after(120)
    counted = [at for at in bench.rounds() if at >= 105 * SECOND]
    assert counted[-1] - counted[0] >= 60 * SECOND


def test_a_span_of_exactly_the_venues_time_is_enough(bench):
    bench.settle(bench.order(ID))
    bench.after(30)
    counted = [at for at in bench.rounds() if at >= 5 * SECOND]
    again = Bench()
    again.proof(counted[3] - counted[0])
    again.settle(again.order(ID))
    again.after(120)
    assert again.ended[0][1] == counted[3] + ROUND_NS


@pytest.mark.parametrize("kind", ["query_order", "open_orders", "executions"])
def test_a_look_up_in_which_a_surface_failed_is_none(bench, kind):
    bench.proof(0)
    rule = Rule(kind, errors.OutcomeUnknown, when=lambda _: bench.runtime.now() > 6 * SECOND)
    bench.venue.rules.append(rule)
    bench.settle(bench.order(ID))
    bench.after(40)
    assert bench.ended == []
    bench.venue.rules.clear()
    bench.after(20)
    assert bench.ended[0][0] is Settled.NEVER_PLACED
    assert sum(1 for at in bench.rounds() if at > 40 * SECOND) == 3


def test_a_failed_surface_does_not_keep_the_others_from_being_asked(bench):
    bench.venue.rules.append(Rule("query_order", errors.OutcomeUnknown))
    bench.venue.rules.append(Rule("open_orders", errors.OutcomeUnknown))
    bench.settle(bench.order(ID))
    bench.after(0.15)
    kinds = [type(request) for _, request in bench.asked()]
    assert kinds[1:] == [QueryOpenOrders, QueryExecutions]


def test_without_the_stream_nothing_is_proven(bench):
    bench.desk.stream_up = False
    bench.proof(0)
    bench.settle(bench.order(ID))
    bench.after(60)
    assert bench.ended == []
    bench.desk.stream_up = True
    bench.after(12)
    assert bench.ended == []
    bench.after(6)
    assert bench.ended[0][0] is Settled.NEVER_PLACED


@pytest.mark.parametrize(("counted", "during"), [(2, 0.05), (2, 2), (3, 0.05)])
def test_a_change_of_the_stream_starts_the_count_anew(bench, counted, during):
    bench.proof(0)
    bench.settle(bench.order(ID))
    while sum(1 for at in bench.rounds() if at >= 5 * SECOND) < counted:
        bench.after(0.01)
    bench.after(during)
    bench.desk.stream_generation += 1
    change_ns = bench.runtime.now()
    bench.after(60)
    assert sum(1 for at in bench.rounds() if at > change_ns) == 3
    assert len(bench.ended) == 1


def test_what_is_shown_at_the_last_moment_is_no_negative_proof(bench):
    bench.proof(0)
    order = bench.order(ID)
    bench.settle(order)
    while sum(1 for at in bench.rounds() if at >= 5 * SECOND) < 3:
        bench.after(0.01)
    bench.venue.fills.append(execution(1, client_order_id=ID))
    bench.after(30)
    assert [settled for settled, _ in bench.ended] == [Settled.PLACED]


def test_the_span_is_measured_from_the_first_look_up_after_a_change_of_the_stream(bench):
    bench.settle(bench.order(ID))
    bench.after(40)
    bench.desk.stream_generation += 1
    bench.after(90)
    ((_, ended_ns),) = bench.ended
    counted = [at for at in bench.rounds() if at > 40 * SECOND]
    assert ended_ns == counted[-1] + ROUND_NS
    assert counted[-1] - counted[0] >= 60 * SECOND > counted[-2] - counted[0]
    assert bench.kinds("outcome.settled")[0].cause.startswith(f"{len(counted)} complete")


# ---------------------------------------------------------------- positive proof


def pages(venue, kind, shown):
    """Two pages of a list; `shown` stands on the second one."""
    empty = {"open_orders": OrderPage(orders=()), "executions": ExecutionPage(fills=())}[kind]
    name = {"open_orders": "orders", "executions": "fills"}[kind]

    def page(request):
        if not request.cursor:
            return msgspec.structs.replace(empty, next_cursor="2")
        return msgspec.structs.replace(empty, **{name: shown})

    whole = venue.apply
    venue.apply = lambda request: page(request) if request_kind(request) == kind else whole(request)


def test_what_its_own_surface_shows_ends_the_search_before_another_is_asked(bench):
    order = bench.order(ID)
    bench.venue.orders[ID] = Placed(order_report(ID))
    bench.settle(order)
    bench.after(5)
    assert bench.ended == [(Settled.PLACED, 40 * MS)]
    assert len(bench.asked()) == 1
    assert order.row.venue_order_id == "77"
    (told,) = bench.kinds("outcome.settled")
    assert told.values["outcome"] == "PLACED"
    assert [one.client_order_id for one in bench.kinds("outcome.unknown")] == [ID]


def test_what_the_second_page_of_the_open_list_shows_ends_the_search(bench):
    order = bench.order(ID)
    other = own_id(Leg.ENTRY, generation=5)
    pages(bench.venue, "open_orders", (order_report(other, venue_order_id="78"), order_report(ID)))
    bench.settle(order)
    bench.after(5)
    assert bench.ended == [(Settled.PLACED, 100 * MS)]
    assert [type(request) for _, request in bench.asked()][1:] == [QueryOpenOrders] * 2
    assert bench.services.orders.parked("binance") == []


def test_what_the_second_page_of_the_executions_shows_ends_the_search(bench):
    order = bench.order(ID)
    mine = execution(1, client_order_id=ID)
    pages(bench.venue, "executions", (mine, execution(2)))
    bench.settle(order)
    bench.after(5)
    assert bench.ended == [(Settled.PLACED, 140 * MS)]
    assert list(order.fills.values()) == [mine]
    assert dict(bench.services.orders.executed.on_venue("binance")) == {SYMBOL: mine.ts_ns}


@pytest.mark.parametrize(
    ("created_ns", "since_ns"), [(WALL, WALL - 10 * SECOND), (3 * SECOND, 0), (0, 0)]
)
def test_executions_are_asked_from_shortly_before_the_order_under_its_id(
    bench, created_ns, since_ns
):
    bench.settle(bench.order(ID, created_ns=TsNs(created_ns)))
    bench.after(0.2)
    ((_, asked),) = bench.asked("executions")
    assert asked == QueryExecutions(symbol=SYMBOL, since_ns=TsNs(since_ns), client_order_id=ID)


@pytest.mark.parametrize(
    ("order_class", "order_type"),
    [(OrderClass.PLAIN, OrderType.MARKET), (OrderClass.CONDITIONAL, OrderType.STOP_MARKET)],
)
def test_the_open_list_of_its_own_class_and_symbol_is_asked(bench, order_class, order_type):
    bench.settle(bench.order(ID, order_class=order_class, order_type=order_type))
    bench.after(0.2)
    ((_, asked),) = bench.asked("open_orders")
    assert asked == QueryOpenOrders(order_class=order_class, symbol=SYMBOL)


def test_an_event_of_the_order_ends_the_search_at_once(bench):
    order = bench.order(ID)
    bench.settle(order)
    bench.run(10 * SECOND)
    asked = len(bench.asked())
    bench.at(11 * SECOND, lambda: bench.services.orders.on_report("binance", order_report(ID)))
    bench.run(30 * SECOND)
    assert bench.ended == [(Settled.PLACED, 11 * SECOND)]
    assert len(bench.asked()) == asked


def test_an_event_during_a_look_up_ends_the_search_with_it(bench):
    order = bench.order(ID)
    bench.settle(order)
    bench.at(30 * MS, lambda: bench.services.orders.on_report("binance", order_report(ID)))
    bench.run(30 * SECOND)
    assert bench.ended == [(Settled.PLACED, 60 * MS)]


def test_something_else_that_changes_the_order_only_brings_the_next_look_up(bench):
    order = bench.order(ID)
    bench.settle(order)
    bench.run(10 * SECOND)
    asked = len(bench.rounds())
    bench.at(11 * SECOND, order.changed.set)
    bench.run(11 * SECOND + 10 * MS)
    assert bench.ended == []
    assert len(bench.rounds()) == asked + 1
    bench.run(30 * SECOND)
    assert len(bench.rounds()) <= asked + 4


def test_where_ended_orders_have_a_surface_of_their_own_it_is_asked_too():
    bench = Bench(venue_names=("bybit",))
    bench.settle(bench.order(own_id(Leg.ENTRY, venue="bybit")))
    bench.after(0.2)
    surfaces = [request.surface for _, request in bench.asked("query_order")]
    assert surfaces == [OrderSurface.PLAIN, OrderSurface.HISTORY]
    bench.after(20)
    ((settled, ended_ns),) = bench.ended
    assert settled is Settled.NEVER_PLACED
    assert 15 * SECOND <= ended_ns < 22 * SECOND


def test_what_the_first_surface_shows_is_not_asked_of_the_history():
    bench = Bench(venue_names=("bybit",))
    client_id = own_id(Leg.ENTRY, venue="bybit")
    bench.venue.orders[client_id] = Placed(order_report(client_id))
    bench.settle(bench.order(client_id))
    bench.after(5)
    assert len(bench.asked()) == 1


# ---------------------------------------------------------------- one search an order


@pytest.mark.parametrize("placed", [False, True])
def test_whoever_asks_second_waits_for_the_first_search(bench, placed):
    order = bench.order(ID)
    bench.settle(order)
    bench.after(1)
    bench.settle(order)
    bench.after(1)
    if placed:
        bench.services.orders.on_report("binance", order_report(ID))
    bench.after(120)
    (first, at), second = bench.ended
    assert second == (first, at)
    assert first is (Settled.PLACED if placed else Settled.NEVER_PLACED)
    assert len(bench.kinds("outcome.unknown")) == 1


def test_where_a_search_is_given_up_the_one_who_waited_goes_on(bench):
    order = bench.order(ID)
    first = bench.settle(order)
    bench.settle(order)
    bench.after(1)
    first.scope.cancel()
    bench.after(120)
    assert [settled for settled, _ in bench.ended] == [Settled.NEVER_PLACED]
    assert len(bench.kinds("outcome.unknown")) == 2


def test_after_a_search_another_one_of_the_same_order_can_begin(bench):
    order = bench.order(ID)
    bench.settle(order)
    bench.after(1)
    bench.services.orders.on_report("binance", order_report(ID))
    bench.after(1)
    bench.settle(order)
    bench.after(1)
    assert [settled for settled, _ in bench.ended] == [Settled.PLACED] * 2
