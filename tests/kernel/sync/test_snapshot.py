"""Bulk reads: complete or nothing, stamped, shared."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import OrderClass
from kernel.model.units import MS, SECOND
from kernel.model.venue import OrderPage, PositionPage
from tests.kernel.fakes import Bench, Rule

D = Decimal


@pytest.fixture
def bench():
    made = Bench().protection()
    yield made
    assert made.crashes == []


def read(bench, max_age_ns=0, seconds=30):
    task = bench.spawn(bench.snapshots.read("binance", max_age_ns))
    bench.run(bench.runtime.now() + seconds * SECOND)
    return task


def fails(bench, max_age_ns=0):
    caught = []

    async def attempt():
        try:
            await bench.snapshots.read("binance", max_age_ns)
        except errors.VenueError as error:
            caught.append(error)

    bench.spawn(attempt())
    bench.run(bench.runtime.now() + 30 * SECOND)
    return bool(caught)


def test_a_snapshot_has_positions_and_both_lists_and_is_stamped_before_its_first_request(bench):
    bench.protected()
    asked = bench.runtime.now()
    snapshot = read(bench).result()
    assert snapshot.requested_ns == asked
    assert snapshot.position("BTCUSDT").qty == D("0.005")
    assert snapshot.position("ETHUSDT") is None
    (stop,) = bench.venue.stops()
    assert snapshot.stop(stop.client_order_id) == stop
    assert snapshot.orders() == (stop,)


@pytest.mark.parametrize("surface", [OrderClass.PLAIN, OrderClass.CONDITIONAL])
def test_the_failure_of_either_order_list_is_the_failure_of_the_read(bench, surface):
    bench.venue.rules.append(
        Rule("open_orders", errors.OutcomeUnknown, when=lambda r: r.order_class is surface)
    )
    assert fails(bench)


def test_the_failure_of_the_positions_is_the_failure_of_the_read(bench):
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    assert fails(bench)


def test_every_page_is_read(bench):
    bench.protected()
    whole = bench.venue._open

    def paged(request):
        page = whole(request)
        if request.cursor:
            return page
        return OrderPage(orders=(), next_cursor="more")

    bench.venue._open = paged
    snapshot = read(bench).result()
    assert len(snapshot.conditional) == 1


def test_a_failed_second_page_is_the_failure_of_the_read(bench):
    bench.venue._positions = lambda request: PositionPage(positions=(), next_cursor="more")
    bench.venue.rules.append(
        Rule("positions", errors.OutcomeUnknown, when=lambda request: bool(request.cursor))
    )
    assert fails(bench)


def test_young_answers_are_shared(bench):
    first = read(bench, seconds=1).result()
    assert read(bench, 5 * SECOND, seconds=1).result() is first
    assert bench.snapshots.reads == 1
    bench.run(bench.runtime.now() + 10 * SECOND)
    assert read(bench, 5 * SECOND, seconds=1).result() is not first


def test_concurrent_callers_share_one_read_in_flight(bench):
    tasks = [bench.spawn(bench.snapshots.read("binance", 5 * SECOND)) for _ in range(3)]
    bench.run(SECOND)
    assert bench.snapshots.reads == 1
    assert tasks[0].result() is tasks[2].result()


def test_a_stricter_caller_does_not_get_a_read_that_was_asked_too_early(bench):
    bench.spawn(bench.snapshots.read("binance", 0))
    bench.run(5 * MS)
    asked = bench.runtime.now()
    snapshot = read(bench, 0, seconds=1).result()
    assert snapshot.requested_ns >= asked


def test_where_the_caller_that_reads_is_cancelled_the_others_read_anew(bench):
    first = bench.spawn(bench.snapshots.read("binance", 5 * SECOND))
    second = bench.spawn(bench.snapshots.read("binance", 5 * SECOND))
    bench.run(1 * MS)
    first.scope.cancel()
    bench.run(SECOND)
    assert second.result().requested_ns == 1 * MS
    assert bench.snapshots.reads == 2


def test_a_cancelled_caller_that_shared_a_read_takes_nothing_from_the_others(bench):
    tasks = [bench.spawn(bench.snapshots.read("binance", 5 * SECOND)) for _ in range(3)]
    bench.run(1 * MS)
    tasks[1].scope.cancel()
    bench.run(SECOND)
    assert tasks[2].result() is tasks[0].result()
    assert bench.snapshots.reads == 1


def test_a_failed_read_fails_for_everyone_who_shared_it(bench):
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    failed = []

    async def attempt():
        try:
            await bench.snapshots.read("binance", 5 * SECOND)
        except errors.OutcomeUnknown as error:
            failed.append(error)

    for _ in range(3):
        bench.spawn(attempt())
    bench.run(SECOND)
    assert len(failed) == 3
    assert bench.snapshots.reads == 1


def test_rows_without_quantity_are_no_positions(bench):
    bench.protected()
    row = bench.venue.position_report("BTCUSDT")
    empty = msgspec.structs.replace(row, qty=D(0))
    bench.venue._positions = lambda request: PositionPage(positions=(empty,))
    assert read(bench).result().positions == ()


def test_an_answer_is_young_enough_up_to_its_very_age(bench):
    first = read(bench, seconds=1).result()
    bench.run(first.requested_ns + 5 * SECOND)
    assert read(bench, 5 * SECOND, seconds=1).result() is first
    assert read(bench, 5 * SECOND, seconds=1).result() is not first


def test_without_a_need_of_its_own_a_caller_takes_answers_of_five_seconds(bench):
    first = read(bench, seconds=1).result()
    bench.run(first.requested_ns + 5 * SECOND)
    task = bench.spawn(bench.snapshots.read("binance"))
    bench.run(bench.runtime.now() + 1)
    assert task.result() is first
    task = bench.spawn(bench.snapshots.read("binance"))
    bench.run(bench.runtime.now() + SECOND)
    assert task.result() is not first


@pytest.mark.parametrize(("age_ms", "reads"), [(20, 1), (19, 2)])
def test_a_read_in_flight_is_shared_where_it_was_asked_late_enough(bench, age_ms, reads):
    bench.spawn(bench.snapshots.read("binance", 0))
    bench.run(20 * MS)
    bench.spawn(bench.snapshots.read("binance", age_ms * MS))
    bench.run(SECOND)
    assert bench.snapshots.reads == reads


def test_an_older_read_that_comes_later_is_not_the_newest(bench):
    bench.venue.rules.append(Rule("positions", delay_ns=2 * SECOND, times=1))
    older = bench.spawn(bench.snapshots.read("binance", 0))
    bench.run(MS)
    newer = bench.spawn(bench.snapshots.read("binance", 0))
    bench.run(4 * SECOND)
    assert older.result().requested_ns < newer.result().requested_ns
    assert read(bench, 5 * SECOND, seconds=1).result() is newer.result()


def test_a_flight_that_ended_does_not_end_the_one_that_took_its_place(bench):
    bench.spawn(bench.snapshots.read("binance", 0))
    bench.run(MS)
    bench.venue.rules.append(Rule("positions", delay_ns=2 * SECOND))
    bench.spawn(bench.snapshots.read("binance", 0))
    bench.run(SECOND)
    bench.spawn(bench.snapshots.read("binance", 999 * MS))
    bench.run(5 * SECOND)
    assert bench.snapshots.reads == 2


def test_after_a_failure_the_next_caller_reads_anew(bench):
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown, times=1))
    assert fails(bench, 5 * SECOND)
    assert read(bench, 60 * SECOND).result() is not None
    assert bench.snapshots.reads == 2


def test_what_is_open_is_kept_at_the_desk(bench):
    bench.protected()
    snapshot = read(bench).result()
    listed = bench.services.desks["binance"].listed
    assert listed == {OrderClass.PLAIN: (), OrderClass.CONDITIONAL: snapshot.conditional}
    assert len(snapshot.conditional) == 1


def test_the_moment_of_a_read_is_stamped_on_both_clocks(bench):
    bench.run(7 * SECOND)
    asked = (bench.runtime.now(), bench.runtime.ts())
    snapshot = read(bench).result()
    assert (snapshot.requested_ns, snapshot.requested_ts_ns) == asked
    assert snapshot.venue == "binance"


def test_a_stop_is_found_by_either_of_its_ids(bench):
    bench.protected()
    stop = read(bench).result().conditional[0]
    nameless = msgspec.structs.replace(stop, client_order_id="", venue_order_id="v7")
    bench.venue._open = lambda request: OrderPage(
        orders=(nameless, stop) if request.order_class is OrderClass.CONDITIONAL else ()
    )
    snapshot = read(bench).result()
    assert snapshot.stop("", "v7") == nameless
    assert snapshot.stop("somebody", "v7") == nameless
    assert snapshot.stop(stop.client_order_id) == stop
    assert snapshot.stop("somebody") is None
    assert snapshot.position("BTCUSDT", "LONG") is None


def test_the_newest_of_two_reads_is_the_one_that_is_shared(bench):
    read(bench, seconds=1)
    second = read(bench, seconds=1).result()
    assert read(bench, 60 * SECOND, seconds=1).result() is second


def test_where_the_only_one_that_shared_a_read_is_cancelled_another_can_share_it(bench):
    first = bench.spawn(bench.snapshots.read("binance", 5 * SECOND))
    given_up = bench.spawn(bench.snapshots.read("binance", 5 * SECOND))
    bench.run(5 * MS)
    given_up.scope.cancel()
    bench.run(10 * MS)
    other = bench.spawn(bench.snapshots.read("binance", 5 * SECOND))
    bench.run(SECOND)
    assert other.result() is first.result()
    assert bench.snapshots.reads == 1
