"""Attached stops: one call, read back; what the row shows later is kept or a loss."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.errors import KernelError
from kernel.model.ids import Leg, leg_of
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
from kernel.model.units import MS, SECOND
from kernel.trade.stop_attached import AttachedStops
from kernel.trade.stop_placement import StopUnconfirmed
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal
LEVEL = D(41160)
MARK, LAST = PriceSource.MARK, PriceSource.LAST


class Attached(Bench):
    """Sets the stop of one filled position by hand; nothing else acts on it."""

    def __init__(self, side=PositionSide.LONG, **given):
        super().__init__(venue_names=("bybit",), **given)
        self.protection()
        self.run(100 * SECOND)
        self.position = self.filled(side=side)
        self.style = AttachedStops(self.services)

    def establish(self, level=LEVEL, seconds=10):
        self.began = self.runtime.now()
        outcome: list[Any] = []

        async def one():
            try:
                await self.style.establish(self.position, level, self.position.qty, "why")
                outcome.append(None)
            except KernelError as error:
                outcome.append(error)

        self.spawn(one())
        self.run(self.began + int(seconds * SECOND))
        return outcome[0] if outcome else "still at it"

    def reads(self):
        return [
            (at - self.began) // MS for at, _ in self.venue.requests("positions")
            if at >= self.began
        ]  # fmt: skip

    def shows(self, stop="41160", by=MARK, **changes):
        """A newer row of the position."""
        self.position.report = PositionReport(
            symbol="BTCUSDT", side=self.position.side, qty=D("0.005"), stop_price=D(stop),
            stop_trigger_by=by, updated_ns=self.runtime.ts(),
        )  # fmt: skip
        self.position.report = msgspec.structs.replace(self.position.report, **changes)
        self.style.observe(self.position)


@pytest.fixture
def bench():
    made = Attached()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- setting


def test_one_call_that_an_event_confirms(bench):
    assert bench.establish() is None
    ((_, request),) = bench.venue.requests("position_stop")
    assert (request.trigger_price, request.trigger_by) == (LEVEL, MARK)
    assert (request.symbol, request.position_side) == ("BTCUSDT", "BOTH")
    assert bench.reads() == []
    assert bench.position.stops.confirmed == LEVEL
    kinds = [one.kind for one in bench.decisions if one.kind.startswith("stop.")]
    assert kinds == ["stop.placed", "stop.confirmed"]
    assert bench.position.row in bench.store.rows


def test_the_level_is_stored_before_it_is_asked_for(bench):
    bench.store.delay_ns = 50 * MS
    bench.establish()
    ((at, _),) = bench.venue.requests("position_stop")
    assert at >= bench.began + 50 * MS


def test_it_is_asked_for_the_positions_leg_and_series():
    bench = Attached(settings=Settings.load({"STOP_TRIGGER_PRICE": "last"}))
    bench.position.leg = "LONG"
    bench.establish()
    request = bench.venue.requests("position_stop")[0][1]
    assert (request.position_side, request.trigger_by) == ("LONG", LAST)


def test_what_wakes_it_without_a_stop_to_be_seen_does_not_hurry_a_read(bench):
    bench.venue.silent = True
    began = bench.runtime.now()
    for at in (60, 100, 140):
        bench.at(began + at * MS, bench.position.changed.set)
    assert bench.establish() is None
    assert bench.reads() == [190]


def test_without_events_it_is_read_back_four_times_then_at_the_time_out(bench):
    bench.venue.silent = True
    original = bench.venue.position_report
    bench.venue.position_report = lambda symbol: msgspec.structs.replace(
        original(symbol), stop_price=D(0)
    )
    assert isinstance(bench.establish(), StopUnconfirmed)
    timeout = bench.settings.protection_call_timeout_seconds * 1000
    assert bench.reads() == [40 + at for at in (150, 500, 1200, 2200, timeout)]
    assert not bench.position.stops.verified


def test_a_read_without_value_is_followed_by_the_next(bench):
    bench.venue.silent = True
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown, times=1))
    assert bench.establish() is None
    assert bench.reads() == [190, 540]


def test_a_row_from_before_confirms_nothing(bench):
    """It may show the same level although the call failed."""
    bench.shows()
    bench.venue.silent = True
    bench.establish()
    assert bench.reads() == [190]


def test_an_unknown_outcome_is_read_back(bench):
    bench.venue.silent = True
    bench.venue.rules.append(Rule("position_stop", errors.OutcomeUnknown, "timeout", applied=True))
    assert bench.establish() is None
    (said,) = bench.kinds("outcome.unknown")
    assert said.cause == "timeout"


def test_a_refusal_goes_to_who_asked(bench):
    bench.venue.rules.append(Rule("position_stop", errors.WouldTriggerNow, "10001"))
    assert isinstance(bench.establish(), errors.WouldTriggerNow)
    assert bench.reads() == []


# ---------------------------------------------------------------- what holds


@pytest.mark.parametrize(
    ("side", "level", "covers", "fits"),
    [
        (PositionSide.LONG, "41160", True, True),
        (PositionSide.LONG, "41159", True, False),
        (PositionSide.LONG, "41161", False, False),
        (PositionSide.LONG, "41160.5", False, False),
        (PositionSide.SHORT, "41161", True, False),
        (PositionSide.SHORT, "41159", False, False),
    ],
)
def test_a_stop_covers_its_level_and_looser_ones(side, level, covers, fits):
    bench = Attached(side)
    qty = bench.position.qty
    assert not bench.style.covers(bench.position, D(level), qty)
    bench.position.stops.cover(LEVEL, bench.runtime.now())
    assert bench.style.covers(bench.position, D(level), qty) is covers
    assert bench.style.fits(bench.position, D(level), qty) is fits
    bench.position.stops.exposed_since_ns = bench.runtime.now()
    assert not bench.style.fits(bench.position, D(level), qty)


# ---------------------------------------------------------------- watching


def confirmed(bench):
    bench.position.update(protected_level=LEVEL)
    bench.position.stops.cover(LEVEL, bench.runtime.now())


def said(bench):
    bench.run(bench.runtime.now())
    return [one.kind for one in bench.decisions if one.kind.startswith("stop.")]


def test_a_row_that_shows_the_stop_says_nothing(bench):
    confirmed(bench)
    bench.shows()
    assert said(bench) == []
    assert bench.position.stops.verified


@pytest.mark.parametrize(
    ("stop", "by"), [("0", MARK), ("41159", MARK), ("41160", LAST), ("41300", LAST)]
)
def test_a_row_that_shows_less_is_a_loss(bench, stop, by):
    confirmed(bench)
    bench.shows(stop, by)
    assert said(bench) == ["stop.missing"]
    assert bench.position.stops.exposed_since_ns is not None
    assert bench.position.row.protected_level == LEVEL
    bench.shows(stop, by)
    assert said(bench) == ["stop.missing"], "told once"


def test_a_tighter_stop_is_kept_and_is_the_level(bench):
    confirmed(bench)
    bench.shows("41300")
    assert said(bench) == ["stop.adopted"]
    assert bench.position.stops.confirmed == bench.position.row.protected_level == 41300
    bench.run(bench.runtime.now() + SECOND)
    assert bench.position.row in bench.store.rows


@pytest.mark.parametrize("why", ["flat", "nothing confirmed", "busy"])
def test_a_row_that_tells_nothing_changes_nothing(bench, why):
    if why != "nothing confirmed":
        confirmed(bench)
    if why == "busy":

        async def hold():
            async with bench.position.stops.lock:
                await bench.runtime.sleep(SECOND)

        bench.spawn(hold())
        bench.run(bench.runtime.now())
    bench.shows("0", **({"qty": D(0)} if why == "flat" else {}))
    assert bench.position.stops.exposed_since_ns is None
    bench.position.report = None
    bench.style.observe(bench.position)
    assert said(bench) == []


# ---------------------------------------------------------------- its order


def order(**changes):
    given: dict[str, Any] = {
        "symbol": "BTCUSDT", "venue_order_id": "s9", "client_order_id": "",
        "order_class": OrderClass.ATTACHED, "order_type": OrderType.STOP_MARKET,
        "side": Side.SELL, "status": OrderStatus.NEW, "qty": D("0.005"),
        "trigger_price": LEVEL, "trigger_by": MARK, "reduce_only": True,
    }  # fmt: skip
    return OrderReport(**(given | changes))


def test_the_order_that_the_venue_made_is_known_under_an_id_of_ours(bench):
    bench.style.adopt(bench.position, order())
    (stop,) = bench.position.stops.open()
    row = stop.order.row
    assert leg_of(row.client_order_id) is Leg.STOP
    assert (row.order_class, row.venue_order_id, row.position_id) == (
        OrderClass.ATTACHED, "s9", bench.position.id,
    )  # fmt: skip
    assert (row.side, row.qty, row.trigger_price, row.trigger_by) == (
        Side.SELL, D("0.005"), LEVEL, MARK,
    )  # fmt: skip
    assert row.reduce_only
    assert row.order_type is OrderType.STOP_MARKET
    assert row.created_ns == row.updated_ns == WALL + 100 * SECOND
    assert stop.order.seen
    bench.style.adopt(bench.position, order())
    assert bench.position.stops.open() == [stop]
    bench.run(bench.runtime.now() + SECOND)
    stored = bench.store.rows
    assert row in stored
    assert bench.position.row in stored


@pytest.mark.parametrize("changes", [{"status": OrderStatus.CANCELED}, {"side": Side.BUY}], ids=str)
def test_an_order_that_ended_or_opens_is_not_known(bench, changes):
    known = bench.services.orders.of_position(bench.position.id)
    bench.style.adopt(bench.position, order(**changes))
    assert bench.position.stops.open() == []
    assert bench.services.orders.of_position(bench.position.id) == known


def test_the_series_of_the_order_is_known_as_the_venue_shows_it(bench):
    bench.style.adopt(bench.position, order(trigger_by=LAST))
    (stop,) = bench.position.stops.open()
    assert stop.order.row.trigger_by is LAST


@pytest.mark.parametrize("why", ["ours", "another's", "ended"])
def test_an_order_that_the_store_knew_is_taken_up_where_it_is_this_positions(bench, why):
    bench.style.adopt(bench.position, order())
    (stop,) = bench.position.stops.open()
    bench.position.stops.forget(stop)
    if why == "another's":
        stop.order.update(position_id="another")
    elif why == "ended":
        bench.services.orders.conclude(stop.order, OrderStatus.CANCELED, "test")
    bench.style.adopt(bench.position, order())
    found = bench.position.stops.find(stop.client_order_id)
    assert (found is not None) is (why == "ours")


def test_an_attached_stop_is_not_cancelled_but_wanted_again(bench):
    bench.style.adopt(bench.position, order())
    (stop,) = bench.position.stops.open()
    stop.wanted = False
    bench.spawn(bench.style.discard(bench.position))
    bench.run(bench.runtime.now())
    assert stop.wanted
    assert bench.venue.requests("cancel") == []


def test_an_order_of_its_own_that_is_unwanted_stays_so(bench):
    """Somebody's doing on a venue of attached stops: the sweep of zombies cancels it."""
    bench.style.adopt(bench.position, order())
    (stop,) = bench.position.stops.open()
    stop.order.update(order_class=OrderClass.CONDITIONAL)
    stop.wanted = False
    bench.spawn(bench.style.discard(bench.position))
    bench.run(bench.runtime.now())
    assert not stop.wanted


def test_probing_reads_the_position(bench):
    bench.spawn(bench.style.probe(bench.position))
    bench.run(bench.runtime.now() + SECOND)
    assert len(bench.venue.requests("positions")) == 1
    assert bench.position.report is not None
