"""One limit that waits for a better price: at most one, inside the band, ended by proof."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg, leg_of
from kernel.model.orders import OrderStatus, OrderType, PositionSide, PriceSource, Side
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from kernel.trade.resting_exit import Rested
from tests.kernel.fakes import INSTRUMENT, Bench, Rule

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


class Resting(Bench):
    """A bench on which limits rest."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.venue.rests = (OrderType.LIMIT,)
        self.resting = self.exits.resting
        self.run(SECOND)

    def result(self, coro, seconds=5):
        self.began = self.runtime.now()
        outcome = []

        async def one():
            outcome.append(await coro)
            self.took_ns = self.runtime.now() - self.began

        self.spawn(one())
        self.run(self.began + int(seconds * SECOND))
        return outcome[0] if outcome else None

    def place(self, position, price="43000", seconds=5):
        return self.result(self.resting.place(position, D(price), "target"), seconds)

    def withdraw(self, position, seconds=10):
        return self.result(self.resting.withdraw(position, "given up"), seconds)

    def limits(self):
        return [
            (str(one.price), str(one.qty)) for _, one in self.venue.requests("submit")
            if one.order_type is OrderType.LIMIT
        ]  # fmt: skip

    def cancels(self):
        return [at - self.began for at, _ in self.venue.requests("cancel") if at >= self.began]

    def instrument(self, **changes):
        made = msgspec.structs.replace(INSTRUMENT, **changes)
        self.services.desks["binance"].instruments["BTCUSDT"] = made


@pytest.fixture
def bench():
    made = Resting()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- placing


def test_one_reduce_only_limit_rests_under_an_id_of_its_own(bench):
    position = bench.protected()
    assert bench.place(position) is Rested.RESTS
    ((_, request),) = bench.venue.requests("submit")
    assert (request.side, request.price, request.qty) == (Side.SELL, 43000, D("0.005"))
    assert request.reduce_only
    assert leg_of(request.client_order_id) is Leg.AGED
    order = bench.resting.of(position)
    assert order is not None
    assert order.client_order_id == request.client_order_id
    assert position.state is PositionState.ACTIVE
    assert bench.settled == []


def test_what_rests_at_the_price_already_is_not_placed_again(bench):
    position = bench.protected()
    bench.place(position)
    assert bench.place(position) is Rested.RESTS
    assert len(bench.limits()) == 1
    assert bench.cancels() == []


def test_another_price_ends_the_first_and_then_rests(bench):
    position = bench.protected()
    bench.place(position)
    assert bench.place(position, "42500") is Rested.RESTS
    assert bench.limits() == [("43000", "0.005"), ("42500", "0.005")]
    assert bench.cancels() == [0]
    (said,) = bench.kinds("exit.withdrawn")
    assert said.cause == "the target is 42500 now"
    assert bench.resting.of(position).row.price == 42500


def test_another_price_waits_where_the_first_is_not_proven_over(bench):
    position = bench.protected()
    bench.place(position)
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111"))
    assert bench.place(position, "42500", seconds=20) is Rested.NOT_NOW
    assert len(bench.limits()) == 1
    assert bench.resting.of(position).row.price == 43000


def test_what_is_placed_is_no_more_than_one_order_may_have(bench):
    position = bench.protected(qty="50")
    bench.instrument(max_qty=D(20))
    bench.place(position)
    assert bench.limits() == [("43000", "20")]
    bench.withdraw(position)
    bench.instrument(max_qty=D(0))
    bench.place(position)
    assert bench.limits()[1] == ("43000", "50")


@pytest.mark.parametrize("why", ["pending", "closing", "flat", "fired"])
def test_a_position_in_other_hands_gets_no_resting_exit(bench, why):
    position = bench.filled() if why == "pending" else bench.protected()
    if why == "closing":
        bench.venue.rules.append(Rule("submit", errors.Rejected, "-1111"))
        bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "test"))
        bench.run(bench.runtime.now() + 100 * MS)
    elif why == "flat":
        bench.venue.silent = True
        (stop,) = bench.venue.stops()
        bench.venue.trigger(stop.client_order_id)
        bench.services.orders.on_fill("binance", bench.venue.fills[-1])
    elif why == "fired":
        (stop,) = position.stops.open()
        position.stops.fired = stop
    assert bench.place(position, seconds=0.1) is Rested.NOT_NOW
    assert bench.limits() == []


@pytest.mark.parametrize(
    ("error", "rested"),
    [
        (errors.Rejected, Rested.REFUSED),
        (errors.ReduceOnlyRefused, Rested.NOTHING_TO_REDUCE),
        (errors.NotSent, Rested.UNSENT),
        (errors.Throttled, Rested.UNSENT),
    ],
)
def test_a_refusal_is_told_as_what_it_means(bench, error, rested):
    position = bench.protected()
    bench.venue.rules.append(Rule("submit", error, "-1"))
    assert bench.place(position) is rested
    assert bench.resting.of(position) is None
    assert bench.settled == []


def test_an_unknown_outcome_is_settled_by_evidence_and_may_rest_until_then(bench):
    position = bench.protected()
    wait = bench.runtime.event()

    async def settle(order):
        bench.settled.append(order)
        await wait.wait()

    bench.settle = settle
    bench.venue.rules.append(Rule("submit", errors.OutcomeUnknown, "t"))
    assert bench.place(position) is Rested.RESTS
    order = bench.resting.of(position)
    assert bench.settled == [order]
    assert bench.place(position) is Rested.RESTS
    assert bench.settled == 2 * [order], "asked again with the next look"
    assert len(bench.limits()) == 1


def test_an_order_that_its_execution_shows_needs_no_settling(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("submit", errors.OutcomeUnknown, "t", applied=True))
    bench.venue.silent = True
    submit = bench.venue._submit

    def in_part(request):
        acked = submit(request)
        placed = bench.venue.orders[request.client_order_id]
        bench.venue._fill(request.client_order_id, placed.report, D("0.002"))
        bench.services.orders.on_fill("binance", bench.venue.fills[-1])
        return acked

    bench.venue._submit = in_part
    assert bench.place(position) is Rested.RESTS
    order = bench.resting.of(position)
    assert order.seen
    assert order.row.venue_order_id == ""
    assert bench.settled == []


def test_an_acknowledged_order_needs_no_settling(bench):
    position = bench.protected()
    bench.venue.silent = True
    assert bench.place(position) is Rested.RESTS
    assert bench.settled == []


# ---------------------------------------------------------------- the band


@pytest.mark.parametrize(
    ("side", "price", "factor", "inside"),
    [
        (LONG, "41000", "0.99", "41580"),
        (LONG, "41581", "0.99", "41581"),
        (LONG, "41000", "0", "41000"),
        (SHORT, "43000", "1.01", "42420"),
        (SHORT, "42419", "1.01", "42419"),
        (SHORT, "43000", "0", "43000"),
    ],
)
def test_a_price_outside_the_band_is_moved_to_its_edge(bench, side, price, factor, inside):
    position = bench.filled(side=side)
    edge = {"price_band_down": D(factor)} if side is LONG else {"price_band_up": D(factor)}
    bench.instrument(**edge)
    assert bench.resting.inside_band(position, D(price)) == D(inside)


def test_without_a_mark_there_is_no_band(bench):
    position = bench.filled()
    bench.instrument(price_band_down=D("0.99"))
    bench.prices.ticks.clear()
    assert bench.resting.inside_band(position, D(41000)) == 41000
    bench.instrument(price_band_up=D("1.01"))
    short = bench.filled(side=SHORT, symbol="ETHUSDT")
    bench.services.desks["binance"].instruments["ETHUSDT"] = bench.services.desks[
        "binance"
    ].instruments["BTCUSDT"]
    bench.prices.ticks.clear()
    assert bench.resting.inside_band(short, D(43000)) == 43000


def test_the_band_is_that_of_the_mark(bench):
    position = bench.filled()
    bench.instrument(price_band_down=D("0.99"))
    asked = []
    last = bench.prices.last

    def noted(venue, symbol, source):
        asked.append(source)
        return last(venue, symbol, source)

    bench.prices.last = noted
    bench.resting.inside_band(position, D(41000))
    assert asked == [PriceSource.MARK]


def test_an_edge_that_is_no_tick_is_rounded_to_the_better_side(bench):
    position = bench.filled()
    bench.instrument(price_band_down=D("0.99001"))
    assert bench.resting.inside_band(position, D(41000)) == 41581


# ---------------------------------------------------------------- withdrawing


def test_withdrawing_nothing_is_done_at_once(bench):
    assert bench.withdraw(bench.protected()) is True
    assert bench.took_ns == 0
    assert bench.kinds("exit.withdrawn") == []


def test_a_withdrawn_exit_is_proven_over_and_said_once(bench):
    position = bench.protected()
    bench.place(position)
    assert bench.withdraw(position) is True
    assert bench.resting.of(position) is None
    (said,) = bench.kinds("exit.withdrawn")
    assert said.cause == "given up"
    assert len(bench.cancels()) == 1


def test_executions_are_read_only_where_the_end_tells_of_more_than_arrived(bench):
    position = bench.filled()
    position.transition(PositionState.ACTIVE, "no keeper looks after it")
    bench.place(position)
    bench.withdraw(position)
    assert bench.venue.requests("executions") == []
    bench.place(position)
    bench.venue.silent = True
    placed = bench.venue.orders[bench.resting.of(position).client_order_id]
    bench.venue._fill(placed.report.client_order_id, placed.report, D("0.002"))
    placed.report = msgspec.structs.replace(placed.report, status=OrderStatus.PARTIALLY_FILLED)
    placed.live = True
    bench.services.orders.on_report("binance", placed.report)
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111", times=2))
    assert bench.withdraw(position) is True
    ((at, _),) = bench.venue.requests("executions")
    assert at > bench.venue.requests("cancel")[-1][0]


def test_a_cancel_that_fails_is_tried_four_times_with_growing_pauses(bench):
    position = bench.protected()
    bench.place(position)
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111"))
    assert bench.withdraw(position) is False
    step = 60 * MS
    assert bench.cancels() == [
        0, step + 500 * MS, 2 * step + 1500 * MS, 3 * step + 3500 * MS,
    ]  # fmt: skip
    assert len(bench.kinds("exit.withdrawn")) == 1


def test_what_filled_before_the_cancel_is_booked(bench):
    position = bench.protected()
    bench.place(position)
    bench.venue.silent = True
    order = bench.resting.of(position)
    placed = bench.venue.orders[order.client_order_id]
    bench.venue._fill(order.client_order_id, placed.report, D("0.002"))
    assert bench.withdraw(position) is True
    assert position.qty == D("0.003")


def test_executions_that_cannot_be_read_do_not_keep_the_exit(bench):
    position = bench.protected()
    bench.place(position)
    bench.venue.silent = True
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown))
    order = bench.resting.of(position)
    placed = bench.venue.orders[order.client_order_id]
    bench.venue._fill(order.client_order_id, placed.report, D("0.002"))
    assert bench.withdraw(position) is True
    assert position.qty == D("0.005")


def test_while_something_faster_closes_the_exit_is_withdrawn_beside_it(bench):
    position = bench.protected()
    bench.resting.withdraw_soon(position, "nothing rests")
    bench.place(position)
    bench.began = bench.runtime.now()
    bench.resting.withdraw_soon(position, "the stop fired")
    bench.run(bench.began + SECOND)
    assert bench.cancels() == [0]
    assert bench.resting.of(position) is None
    assert [one.cause for one in bench.kinds("exit.withdrawn")] == ["the stop fired"]


def test_only_a_limit_of_the_aged_leg_is_a_resting_exit(bench):
    position = bench.protected()
    assert bench.resting.of(position) is None, "the stop is none"
    orders = bench.services.orders
    bench.place(position)
    order = bench.resting.of(position)
    order.update(order_type=OrderType.MARKET)
    assert bench.resting.of(position) is None
    order.update(order_type=OrderType.LIMIT)
    assert bench.resting.of(position) is order
    at_touch = {"cause": "at the touch", "price": D(42001)}
    bench.spawn(bench.resting._orders.send(position, D("0.001"), **at_touch))
    orders.conclude(order, OrderStatus.CANCELED, "test")
    bench.run(bench.runtime.now() + SECOND)
    assert len(bench.limits()) == 2
    assert bench.resting.of(position) is None, "an order at the touch is none"
    orders.conclude(order, OrderStatus.CANCELED, "test")
    assert bench.resting.of(position) is None
