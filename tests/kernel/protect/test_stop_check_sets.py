"""The stop watch: sets of several stops, surplus ones, attached ones, and what it remembers."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, PriceSource
from kernel.model.units import SECOND, MonoNs
from kernel.trade.protective_set import StopOrder
from tests.kernel.protect.test_stop_check_rounds import MISFIT, MISSING, UNCOVERED, Checking, row

D = Decimal


@pytest.fixture
def bench():
    made = Checking()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- several stops


def second(bench, **changes):
    """A second stop, of which the venue showed a report."""
    client = bench.services.orders.new_id(bench.position, Leg.STOP)
    order = bench.services.orders.register(
        msgspec.structs.replace(
            bench.stop.order.row, client_order_id=client, venue_order_id="", intent_open=True
        )
    )
    order.report = bench.report(client_order_id=client, venue_order_id="999")
    made = bench.position.stops.add(StopOrder(order, MonoNs(0)))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("changes", "crowded"), [({"wanted": False}, True), ({"missing": True}, True), ({}, False)]
)
def test_beside_an_open_doubt_a_row_that_is_missing_adds_nothing(bench, changes, crowded):
    second(bench, **changes)
    assert (bench.look([]) == []) is crowded
    assert bench.stop.missing is not crowded


def test_a_second_stop_that_was_never_shown_is_no_doubt_about_the_list(bench):
    second(bench, wanted=False).order.report = None
    assert bench.look([]) == MISSING


def test_a_stop_that_is_to_be_cancelled_need_not_be_shown(bench):
    second(bench, wanted=False)
    assert bench.look() == []
    assert bench.unlisted() == 0


def test_a_stop_that_was_never_shown_is_not_missed(bench):
    sent = second(bench)
    sent.order.report = None
    for shown in (bench.stop.order.report, bench.report()):
        assert bench.look([shown]) == []
    assert bench.unlisted() == 0
    assert not sent.missing


def test_one_of_two_stops_that_is_missing_is_enough(bench):
    second(bench, sent_ns=bench.runtime.now())
    assert bench.look([]) == MISSING


def test_a_read_that_shows_nothing_new_is_not_booked_and_wakes_nobody(bench):
    booked = []
    bench.services.orders.on_report = lambda venue, report: booked.append(report)
    bench.position.changed.clear()
    assert bench.look([bench.report()]) == []
    assert booked == []
    assert not bench.position.changed.is_set


def test_a_stop_that_was_never_confirmed_is_no_newer_than_the_read(bench):
    bench.position.stops.confirmed_ns = None
    assert bench.look([]) == MISSING


# ---------------------------------------------------------------- attached stops


@pytest.mark.parametrize(
    ("price", "repaired"),
    [("41160", []), ("0", ["the position shows another stop", *UNCOVERED])],
)
def test_an_attached_stop_is_looked_for_in_the_row_of_the_position_alone(price, repaired):
    bench = Checking(venue_names=("bybit",))
    shown = row(bench, stop_price=D(price), stop_trigger_by=PriceSource.MARK)
    assert bench.look([], row=shown) == repaired
    assert bench.unlisted() == 0


# ---------------------------------------------------------------- what it draws and remembers


def passive(bench):
    """Repairs are asked for and nothing is done: which ones."""
    asked = []

    async def ensure(position, cause):
        asked.append(cause)
        await bench.runtime.sleep(20 * SECOND)

    bench.stops.ensure = ensure
    return asked


def test_a_stop_that_ended_is_taken_out_and_the_position_known_as_exposed(bench):
    asked = passive(bench)
    bench.services.orders.conclude(bench.stop.order, OrderStatus.CANCELED, "test")
    assert bench.look([], full=True) == UNCOVERED == asked
    assert [one.client_order_id for one in bench.kinds("stop.ended")] == [
        bench.stop.client_order_id
    ]
    assert bench.position.stops.exposed_since_ns == bench.runtime.now()


def test_the_size_of_an_unverified_stop_too_is_a_matter_of_the_full_verification(bench):
    passive(bench)
    bench.position.stops.expose(bench.runtime.now())
    larger = row(bench, "0.009")
    assert bench.look(row=larger) == []
    assert bench.look(row=larger, full=True) == MISFIT


def test_a_repair_that_lasts_is_not_begun_again(bench):
    asked = passive(bench)
    bench.position.stops.expose(bench.runtime.now())
    bench.stop.order.report = bench.report(reduce_only=False)
    assert bench.look() == UNCOVERED
    assert bench.look(seconds=21) == UNCOVERED
    assert asked == UNCOVERED
    bench.look()
    assert asked == 2 * UNCOVERED


def test_nothing_is_remembered_of_a_position_that_is_watched_no_more(bench):
    bench.look(full=True)
    assert list(bench.check._stood["binance"]) == [bench.position.id]
    bench.result(bench.check.check("binance", [], full=True), 0)
    assert bench.check._stood == {"binance": {}}


@pytest.mark.parametrize("task", ["repair", "question"])
def test_what_works_for_a_position_is_known_as_its_task(bench, task):
    owners: dict[str, object] = {}
    supervise = bench.services.supervise

    def noted(name, factory, *, position=None):
        owners.setdefault(name.partition(" ")[0], position)
        return supervise(name, factory, position=position)

    bench.services.supervise = noted
    if task == "question":
        bench.position.stops.list_lied_ns = bench.runtime.now()
    bench.look([])
    assert owners[task] is bench.position


# ---------------------------------------------------------------- surplus stops


def surplus(bench, client="", **changes):
    client = client or bench.services.orders.new_id(bench.position, Leg.STOP)
    return bench.report(client_order_id=client, venue_order_id="777", **changes)


def aside(bench, report, *, full=True):
    """What of a read the owner of the stops is asked to put aside, but for what its set knows."""
    asked = []
    put_aside = bench.stops.put_aside

    def noted(position, one):
        if position.stops.find(one.client_order_id) is None:
            asked.append(one.client_order_id)
        put_aside(position, one)

    bench.stops.put_aside = noted
    bench.look([bench.stop.order.report, report], full=full)
    bench.stops.put_aside = put_aside
    return asked


def test_a_stop_of_ours_that_no_set_knows_is_put_aside_by_a_full_verification(bench):
    report = surplus(bench)
    assert aside(bench, report, full=False) == []
    assert aside(bench, report) == [report.client_order_id]
    assert [one.client_order_id for one in bench.position.stops.to_cancel()] == [
        report.client_order_id
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"client": "hand"},
        {"status": OrderStatus.CANCELED},
        {"symbol": "ETHUSDT"},
        {"position_side": "LONG"},
        {"order_class": OrderClass.ATTACHED},
    ],
    ids=["somebody's", "ended", "another symbol", "another leg", "attached"],
)
def test_what_is_not_a_stop_of_ours_on_a_watched_leg_stays(bench, changes):
    assert aside(bench, surplus(bench, **changes)) == []


@pytest.mark.parametrize("known", ["open", "over", "being cancelled"])
def test_what_is_known_to_be_over_or_is_cancelled_already_stays(bench, known):
    report = surplus(bench)
    order = bench.services.orders.register(
        msgspec.structs.replace(
            bench.stop.order.row, client_order_id=report.client_order_id, venue_order_id="777"
        )
    )
    if known == "over":
        bench.services.orders.conclude(order, OrderStatus.CANCELED, "test")
    bench.services.cancels.holds = lambda venue, client: known == "being cancelled"
    assert aside(bench, report) == ([report.client_order_id] if known == "open" else [])
