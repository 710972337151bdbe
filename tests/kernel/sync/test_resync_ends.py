"""What a resync asks for positions that ended with something untold, and whom it tells."""

import pytest

from kernel.model.ids import Leg
from kernel.model.orders import Side
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import StoredState
from kernel.model.units import DAY, HOUR, MS, SECOND, TsNs
from kernel.sync.funding import PATIENCE_NS, SETTLED_NS
from kernel.trade.lease import TAKEN_OVER
from tests.kernel.fakes import Placed
from tests.kernel.sync.test_resync import READ_NS, Bench
from tests.kernel.sync.whole import execution, order_report, own_id

EXECUTIONS_NS = 40 * MS


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


def end(bench, position):
    position.update(closed_ns=bench.runtime.ts())
    position.transition(PositionState.CLOSED, "by a test")


def ended(bench, late_ns=SECOND):
    """One that ended without the execution that closed it; the next resync is so late for it."""
    position = bench.filled(state=PositionState.ACTIVE)
    bench.venue.held.clear()
    bench.after(1)
    end(bench, position)
    judged_ns = bench.runtime.ts() + READ_NS + EXECUTIONS_NS
    position.update(closed_ns=TsNs(judged_ns - late_ns))
    bench.after(0)
    bench.store.rows.clear()
    return position


def stored(bench):
    """When the results that were written since are said to have been told."""
    return [bool(one.result_ns) for one in bench.store.rows if isinstance(one, PositionRow)]


# ---------------------------------------------------------------- what ended untold


def test_executions_that_an_ended_position_lacks_are_asked_for_and_its_result_is_stored(bench):
    position = ended(bench)
    bench.venue.fills.append(execution(5, Side.SELL, ts_ns=position.row.closed_ns))
    assert bench.once()
    assert len(bench.asked("executions")) == 1
    assert (position.qty, bool(position.row.result_ns)) == (0, True)
    assert stored(bench)[-1]


@pytest.mark.parametrize(("late_ns", "told"), [(SECOND, False), (DAY - 1, False), (DAY, True)])
def test_a_result_without_its_executions_is_told_and_stored_after_a_day(bench, late_ns, told):
    position = ended(bench, late_ns)
    assert bench.once()
    assert len(bench.asked("executions")) == 1
    assert bool(position.row.result_ns) is told
    assert stored(bench) == [True] * told


def test_no_answer_tells_no_result_however_late_it_is(bench):
    position = ended(bench, 2 * DAY)
    rule = bench.failing("executions")
    assert bench.once()
    assert position.row.result_ns == 0
    bench.venue.rules.remove(rule)
    assert bench.once()
    assert position.row.result_ns


def test_a_result_that_waits_for_funding_alone_asks_for_no_executions(bench):
    position = bench.filled(state=PositionState.ACTIVE)
    bench.run((HOUR - bench.runtime.ts() % HOUR) + bench.runtime.now())
    bench.venue.held.clear()
    bench.services.orders.on_fill(
        "binance", execution(5, Side.SELL, ts_ns=bench.runtime.ts()), streamed=True
    )
    end(bench, position)
    assert bench.once(seconds=1)
    assert bench.asked("executions") == []
    assert position.row.result_ns == 0
    bench.run(bench.runtime.now() + PATIENCE_NS)
    bench.store.rows.clear()
    assert bench.once(seconds=1)
    assert bench.asked("executions") == []
    assert stored(bench) == [True]


def test_a_resync_asks_for_the_funding_of_a_full_hour(bench):
    bench.filled(state=PositionState.ACTIVE)
    bench.run(bench.runtime.now() + HOUR - bench.runtime.ts() % HOUR + SETTLED_NS)
    assert bench.asked("funding") == []
    assert bench.once()
    assert len(bench.asked("funding")) == 1


# ---------------------------------------------------------------- who is told


def test_who_waits_for_a_sync_is_told_of_each_that_was_complete(bench):
    told = []
    bench.desk.on_synced.append(lambda: told.append(bench.resync.completed))
    rule = bench.failing(times=1)
    assert bench.once() is False
    assert (told, rule.times) == ([], 0)
    assert bench.once()
    assert bench.once()
    assert told == [1, 2]


def taken_over(bench):
    """The lease was another instance's."""
    lease = bench.services.lease
    lease.begin("a")
    lease.loaded(bench.runtime.now(), StoredState(epoch=1, lease_of="b"))
    bench.after(0)
    return lease


def test_a_complete_sync_without_unknown_orders_ends_the_protection_only_of_a_takeover(bench):
    lease = taken_over(bench)
    known, foreign = own_id(Leg.ENTRY), "web_1"
    bench.order(known)
    bench.venue.orders[known] = Placed(order_report(known))
    bench.venue.orders[foreign] = Placed(order_report(foreign, venue_order_id="78"))
    assert lease.protect_only
    assert bench.desk.block_reasons == (TAKEN_OVER,)
    assert bench.once()
    assert not lease.protect_only
    assert bench.desk.block_reasons == ()
    assert bench.kinds("lease.strangers") == []


def test_orders_of_ours_that_nobody_knows_keep_a_takeover_at_protection_only(bench):
    lease = taken_over(bench)
    stranger = own_id(Leg.ENTRY, generation=9)
    bench.venue.orders[stranger] = Placed(order_report(stranger))
    assert bench.once()
    assert lease.protect_only
    (told,) = bench.kinds("lease.strangers")
    assert told.values["orders"] == stranger
