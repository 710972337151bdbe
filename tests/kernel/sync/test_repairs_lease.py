"""Repairs while only protection is allowed, and what a new size is followed by."""

import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.positions import PositionRow
from kernel.model.rows import StoredState
from tests.kernel.fakes import D, Rule
from tests.kernel.sync.test_repairs import Bench
from tests.kernel.sync.whole import execution, own_id


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


def taken_over(bench):
    """The lease was another instance's: what the venue has may be its business."""
    lease = bench.services.lease
    lease.begin("a")
    lease.loaded(bench.runtime.now(), StoredState(epoch=1, lease_of="b"))
    bench.after(0)
    return bench


def test_while_only_protection_is_allowed_nobody_elses_position_is_touched(bench):
    row = taken_over(bench).unknown()
    for _ in range(3):
        bench.read(row, seconds=10)
    assert bench.services.book.open() == []
    assert bench.asked("place_stop") == []
    assert bench.count("position.untracked") == 0


def test_while_only_protection_is_allowed_own_positions_are_mended(bench):
    position = bench.active()
    taken_over(bench)
    bench.venue.held["BTCUSDT"].qty = D("0.003")
    for _ in range(2):
        bench.read(bench.row(), seconds=10)
    assert position.qty == D("0.003")


def test_a_new_size_is_durable_before_the_stop_is_seen_to(bench):
    position = bench.active()
    bench.venue.held["BTCUSDT"].qty = D("0.003")
    ensured = []

    async def ensure(one, why):
        rows = [row for row in bench.store.rows if isinstance(row, PositionRow)]
        ensured.append((one, why, rows[-1].closed_qty))

    bench.stops.ensure = ensure
    for _ in range(2):
        bench.read(bench.row(), seconds=10)
    assert (position, "size changed on the venue", D("0.002")) in ensured


def test_before_the_store_was_read_a_found_position_is_protected_and_not_judged(bench):
    """The store may know more of it."""
    bench.services.unloaded = True
    row = bench.unknown()
    for _ in range(4):
        bench.read(row, seconds=10)
    (position,) = bench.services.book.open()
    assert len(bench.venue.stops()) == 1
    assert bench.count("position.untracked") == 0
    bench.services.unloaded = False
    bench.read(row, seconds=10)
    assert bench.count("position.untracked") == 1
    assert position.qty == D("0.005")


def test_before_the_store_was_read_own_positions_are_mended(bench):
    position = bench.active()
    bench.services.unloaded = True
    bench.venue.held["BTCUSDT"].qty = D("0.003")
    for _ in range(2):
        bench.read(bench.row(), seconds=10)
    assert position.qty == D("0.003")


def unloaded_and_only_told_of():
    """By policy nothing foreign is touched, and the store was not read."""
    bench = Bench(values={"UNTRACKED_POLICY": "alert"})
    bench.services.unloaded = True
    bench.unknown()
    bench.after(1)
    return bench


def test_before_the_store_was_read_nothing_is_called_foreign():
    bench = unloaded_and_only_told_of()
    bench.venue.fills = [execution(1, client_order_id="web_1")]
    for _ in range(4):
        bench.read(bench.row())
    assert bench.count("position.untracked") == 0
    bench.services.unloaded = False
    bench.read(bench.row())
    assert bench.count("position.untracked") == 1
    assert bench.crashes == []


def test_before_the_store_was_read_what_is_found_to_be_ours_later_is_guarded_by_a_later_read():
    bench = unloaded_and_only_told_of()
    bench.venue.fills = [execution(1, client_order_id=own_id(Leg.ENTRY))]
    rule = Rule("executions", errors.OutcomeUnknown)
    bench.venue.rules.append(rule)
    bench.read(bench.row()).read(bench.row())
    assert bench.services.book.open() == []
    bench.venue.rules.remove(rule)
    bench.read(bench.row())
    assert len(bench.services.book.open()) == 1
    assert len(bench.venue.stops()) == 1
    assert bench.crashes == []
