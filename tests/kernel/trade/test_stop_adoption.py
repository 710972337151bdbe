"""Stops that are found: what counts as a position's own, and what becomes of the rest."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg, OrderIdParts, client_order_id, symbol_hash
from kernel.model.orders import (
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.positions import Origin
from kernel.model.units import MINUTE, SECOND, TsNs
from kernel.model.venue import OrderPage
from kernel.trade.stop_adoption import Adoption
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal
LEVEL = D(41160)
MARK, LAST = PriceSource.MARK, PriceSource.LAST


class Judging(Bench):
    """A filled position without a stop, and a list of what is found."""

    def __init__(self, venue="binance", **given):
        super().__init__(venue_names=(venue,))
        self.protection()
        self.run(100 * SECOND)
        self.position = self.filled(**given)
        self.adoption = Adoption(self.services)
        self.found: list[OrderReport] = []
        self.venue._open = lambda request: OrderPage(orders=tuple(self.found))  # type: ignore[method-assign]

    def own(self, leg=Leg.STOP, wave=0, symbol="BTCUSDT", generation=5):
        """An id of ours of a process whose store lost the row."""
        row = self.position.row
        parts = OrderIdParts(
            epoch=0, wave_minute=(row.wave_ns or row.opened_ns) // MINUTE + wave,
            symbol_hash=symbol_hash(row.venue, symbol), leg=leg, child=0, generation=generation,
        )  # fmt: skip
        return client_order_id(parts)

    def stop(self, client=None, **changes: Any):
        given = {
            "symbol": "BTCUSDT", "venue_order_id": f"a{len(self.found)}",
            "client_order_id": self.own() if client is None else client,
            "order_class": OrderClass.CONDITIONAL, "order_type": OrderType.STOP_MARKET,
            "side": self.position.side.exit_side, "status": OrderStatus.NEW, "qty": D("0.005"),
            "trigger_price": LEVEL, "trigger_by": MARK, "reduce_only": True,
            "created_ns": TsNs(WALL + 50 * SECOND),
        }  # fmt: skip
        report = OrderReport(**(given | changes))
        self.found.append(report)
        return report

    def judged(self, level=LEVEL):
        task = self.spawn(self.adoption.judge(self.position, level))
        self.run(self.runtime.now() + SECOND)
        return task.result()

    def refused(self):
        self.run(self.runtime.now())
        return [one.cause for one in self.kinds("stop.refused")]


@pytest.fixture
def bench():
    made = Judging()
    yield made
    assert made.crashes == []


def test_a_stop_of_its_own_is_kept_and_said(bench):
    report = bench.stop()
    assert bench.judged() == LEVEL
    (stop,) = bench.position.stops.live()
    row = stop.order.row
    assert (row.client_order_id, row.position_id) == (report.client_order_id, bench.position.id)
    assert (row.trigger_price, row.qty, row.side) == (LEVEL, D("0.005"), Side.SELL)
    assert (row.venue_order_id, row.trigger_by) == ("a0", MARK)
    assert row.created_ns == row.updated_ns == WALL + 100 * SECOND + 40_000_000
    assert (row.order_class, row.reduce_only) == (OrderClass.CONDITIONAL, True)
    ((_, asked),) = bench.venue.requests("open_orders")
    assert (asked.symbol, asked.order_class) == ("BTCUSDT", OrderClass.CONDITIONAL)
    (said,) = bench.kinds("stop.adopted")
    assert said.client_order_id == report.client_order_id
    assert row in bench.store.rows
    assert bench.judged() == LEVEL
    assert len(bench.position.stops.open()) == 1, "found twice, kept once"


def test_nothing_found_is_no_level(bench):
    assert bench.judged() == 0


def test_the_tightest_of_several_is_the_level(bench):
    bench.stop()
    bench.stop(bench.own(generation=6), trigger_price=D(41200))
    bench.stop(bench.own(generation=7), trigger_price=D(41100))
    assert bench.judged() == 41200


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order_type": OrderType.TAKE_PROFIT_MARKET}, "not a live stop"),
        ({"status": OrderStatus.TRIGGERED}, "not a live stop"),
        ({"side": Side.BUY}, "wrong side"),
        ({"reduce_only": False}, "not closing-only"),
        ({"trigger_by": LAST}, "another price series"),
        ({"trigger_price": D(42000)}, "wrong side of the market"),
        ({"qty": D("0.004")}, "does not cover the quantity"),
        ({"trigger_price": D(39000)}, "too far from the level"),
    ],
    ids=str,
)
def test_a_stop_that_does_not_count_is_put_aside_with_its_reason(bench, changes, reason):
    report = bench.stop(**changes)
    assert bench.judged() == 0
    assert bench.refused() == [reason]
    (stop,) = bench.position.stops.open()
    assert (stop.client_order_id, stop.wanted) == (report.client_order_id, False)
    assert stop.order.row.trigger_by is report.trigger_by


def test_a_stop_that_closes_all_covers_every_quantity(bench):
    bench.stop(qty=D(0), close_position=True, reduce_only=False)
    assert bench.judged() == LEVEL


@pytest.mark.parametrize("price", ["41999", "42000", "59999"])
def test_a_tighter_stop_counts_however_far_it_is(bench, price):
    bench.prices.push("BTCUSDT", "60000")
    bench.stop(trigger_price=D(price))
    assert bench.judged() == D(price)


def test_a_looser_stop_counts_within_the_tolerance(bench):
    tolerance = bench.settings.stop_reuse_tolerance_percent
    edge = (LEVEL * (100 - tolerance) / 100).to_integral_value(rounding="ROUND_CEILING")
    bench.stop(trigger_price=edge)
    assert bench.judged() == edge
    bench.found.clear()
    bench.stop(bench.own(generation=9), trigger_price=edge - 2)
    assert bench.judged() == 0


@pytest.mark.parametrize(
    "whose",
    [{"leg": Leg.EXIT}, {"wave": 1}, {"wave": -1}, {"symbol": "ETHUSDT"}],
    ids=str,
)
def test_an_id_of_ours_tells_whose_stop_it_is(bench, whose):
    bench.stop(bench.own(**whose))
    assert bench.judged() == 0
    assert bench.refused() == ["not this position's"]


def test_without_a_wave_the_minute_of_the_opening_tells(bench):
    bench.position.update(wave_ns=TsNs(0), opened_ns=TsNs(WALL + 7 * MINUTE))
    bench.stop(bench.own())
    assert bench.judged() == LEVEL


@pytest.mark.parametrize("own", [True, False])
def test_a_stop_that_is_known_is_its_positions(bench, own):
    other = bench.position.id if own else "another"
    report = bench.stop(bench.services.orders.new_id(bench.position, Leg.STOP))
    bench.found.clear()
    bench.adoption.put_aside(bench.position, report, "test")
    order = bench.services.orders.by_client_id("binance", report.client_order_id)
    order.update(position_id=other)
    bench.position.stops.find(report.client_order_id).wanted = True
    bench.found.append(report)
    assert bench.judged() == (LEVEL if own else 0)


def test_a_persons_stop_is_not_ours_and_is_let_alone(bench):
    bench.stop("hand")
    assert bench.judged() == 0
    assert bench.refused() == ["not this position's"]
    assert bench.position.stops.open() == []


@pytest.mark.parametrize(("opened", "counts"), [(None, True), (40, True), (50, True), (51, False)])
def test_a_persons_stop_counts_for_a_foreign_position_that_is_not_younger(opened, counts):
    bench = Judging(origin=Origin.FOREIGN)
    if opened is not None:
        bench.position.report = PositionReport(
            symbol="BTCUSDT", side=PositionSide.LONG, qty=D("0.005"),
            opened_ns=TsNs(WALL + opened * SECOND), updated_ns=TsNs(WALL),
        )  # fmt: skip
    report = bench.stop("hand")
    assert bench.judged() == (LEVEL if counts else 0)
    live = bench.position.stops.live()
    assert [one.client_order_id for one in live] == counts * ["hand"]
    assert [one.order.report for one in live] == counts * [report]
    assert all(one.order.row in bench.store.rows for one in live)


def test_a_persons_stop_of_unknown_age_counts_where_that_of_the_position_is_unknown():
    bench = Judging(origin=Origin.FOREIGN)
    bench.stop("hand", created_ns=TsNs(0))
    assert bench.judged() == LEVEL


def test_an_order_of_another_leg_is_nobodys_business_here(bench):
    bench.stop(position_side="LONG")
    assert bench.judged() == 0
    assert bench.refused() == []


def test_what_ended_is_not_put_aside(bench):
    report = bench.stop(status=OrderStatus.CANCELED)
    bench.found.clear()
    bench.adoption.put_aside(bench.position, report, "surplus")
    assert bench.services.orders.by_client_id("binance", report.client_order_id) is None
    assert bench.refused() == ["surplus"]


def test_what_is_put_aside_twice_is_one(bench):
    report = bench.stop()
    for _ in range(2):
        bench.adoption.put_aside(bench.position, report, "surplus")
    (stop,) = bench.position.stops.to_cancel()
    assert stop.order.report == report
    bench.run(bench.runtime.now() + SECOND)
    assert stop.order.row in bench.store.rows


def test_a_read_without_value_concludes_nothing(bench):
    bench.venue.rules.append(Rule("open_orders", errors.OutcomeUnknown))
    bench.stop()
    failed = []

    async def one():
        try:
            await bench.adoption.judge(bench.position, LEVEL)
        except errors.VenueError as error:
            failed.append(error)

    bench.spawn(one())
    bench.run(bench.runtime.now() + SECOND)
    assert len(failed) == 1


def test_a_short_is_judged_from_the_other_side():
    bench = Judging(side=PositionSide.SHORT)
    bench.stop(trigger_price=D(42840))
    assert bench.judged(D(42840)) == 42840
    bench.found.clear()
    bench.stop(bench.own(generation=8), trigger_price=D(42000))
    assert bench.judged(D(42840)) == 0


# ---------------------------------------------------------------- attached


def attached(stop="41160", by=MARK, mark="42000"):
    bench = Judging("bybit")
    held = bench.venue.held["BTCUSDT"]
    held.stop, held.stop_by = D(stop), by
    bench.prices.push("BTCUSDT", mark)
    return bench


def test_an_attached_stop_near_the_level_counts():
    assert attached().judged() == LEVEL
    assert attached("41300").judged() == 41300
    assert attached("0").judged() == 0
    assert attached("39000").judged() == 0, "too far"
    assert attached(mark="41160").judged() == 0, "through"


def test_without_a_position_no_attached_stop_counts():
    bench = attached()
    bench.venue.held.clear()
    assert bench.judged() == 0


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"order_class": OrderClass.CONDITIONAL}, False),
        ({"position_side": "LONG"}, False),
        ({"trigger_price": D(41161)}, False),
        ({"trigger_by": LAST}, False),
    ],
    ids=str,
)
def test_the_order_of_an_attached_stop_tells_its_series_where_the_row_does_not(changes, counts):
    bench = attached(by=LAST)
    bench.stop("", order_class=OrderClass.ATTACHED)
    bench.found[0] = msgspec.structs.replace(bench.found[0], **changes)
    assert bench.judged() == (LEVEL if counts else 0)


def test_one_order_of_several_tells_the_series_of_an_attached_stop():
    bench = attached(by=LAST)
    bench.stop("", order_class=OrderClass.ATTACHED, trigger_price=D(43000))
    bench.stop("", order_class=OrderClass.ATTACHED)
    assert bench.judged() == LEVEL
    ((_, asked),) = bench.venue.requests("open_orders")
    assert (asked.symbol, asked.order_class) == ("BTCUSDT", OrderClass.CONDITIONAL)
