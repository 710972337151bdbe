"""`status` says everything that a person needs, and asking changes nothing."""

from decimal import Decimal
from itertools import chain

import msgspec
import pytest

from kernel.model.messages import StatusReport
from kernel.model.positions import TrailingState
from kernel.model.rows import PerformanceRow
from kernel.model.status import Status
from kernel.model.units import HOUR, SECOND
from tests.kernel.lives import FALL, FLAT, RISE, START_NS, Life, left_stops


def asked(life: Life) -> Status:
    """The answer to an operator."""
    life.driver.operator("status")
    body = life.effects[-1].body
    assert isinstance(body, StatusReport)
    return body.status


def test_before_the_first_wave_there_is_nothing_open() -> None:
    life = Life(("binance", "bybit"), FLAT)
    life.until(60)
    status = asked(life)
    assert status.health.level == "ok"
    assert (status.positions, status.alerts, status.locks) == ((), (), ())
    assert [venue.name for venue in status.venues] == ["binance", "bybit"]
    assert all(venue.stream_up and not venue.blocks for venue in status.venues)
    assert all(venue.clock_offset_ms == "0" and venue.budgets for venue in status.venues)
    assert status.limits.positions == 0
    assert status.started_ns == START_NS


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_an_open_position_is_told_with_its_stop_its_result_and_its_trailing(venue: str) -> None:
    life = Life((venue,), RISE)
    life.until(1590)
    (position,) = asked(life).positions
    (row,) = [one.row for one in life.kernel.services.book.open()]
    (stop,) = life.truth(venue).stops
    assert (position.qty, position.entry) == (row.filled_qty, row.entry_price)
    assert position.entry > 42000
    assert position.mark == Decimal(42690)
    assert position.pnl == row.filled_qty * (42690 - row.entry_price) - row.fees
    assert position.stop_level == stop.trigger_price
    assert position.protected
    assert position.trailing is TrailingState.ACTIVE
    assert position.stop_id == stop.venue_order_id
    assert 1590 - 372 <= position.age_s <= 1590 - 360
    status = asked(life)
    assert status.limits.positions == 1
    assert status.limits.exposure == row.filled_qty * 42690
    assert [wave.active for wave in status.waves] == [0, 1]


def test_what_was_closed_is_told_as_results() -> None:
    life = Life(("binance",), RISE)
    life.until(3000)
    status = asked(life)
    assert status.positions == ()
    venue, whole = status.results
    assert (venue.closed, venue.wins, venue.win_rate) == (1, 1, "1")
    (stored,) = [
        row
        for row in life.world.store.rows()
        if isinstance(row, PerformanceRow) and row.period == "running" and not row.venue
    ]
    assert stored.net == whole.net == status.limits.today
    assert whole.net > 0
    assert whole.fees > 0


def test_zombies_found_and_cleared_are_counted() -> None:
    life = Life(("binance",), FLAT, faults=left_stops(2))
    life.until(400)
    venue = asked(life).venues[0]
    assert (venue.zombies_found, venue.zombies_cleared) == (2, 2)


def test_blocks_locks_and_alerts_are_told() -> None:
    life = Life(("binance",), FALL)
    life.until(500)
    life.driver.operator("pause", "holiday")
    life.world.store.down(START_NS + 900 * SECOND, START_NS + 3000 * SECOND)
    life.until(1700)
    status = asked(life)
    assert status.limits.paused == "holiday"
    assert status.venues[0].blocks == ("store",)
    assert {alert.kind: alert.severity for alert in status.alerts}["store.failing"] == "ERROR"
    assert status.health.level == "critical"
    assert status.rows_waiting == 0, "what protects is in the spool"


def test_asking_changes_no_decision() -> None:
    quiet, asking = Life(("binance",), RISE), Life(("binance",), RISE)
    quiet.until(3600)
    for second in range(0, 3600, 100):
        asking.until(second)
        asked(asking)
    asking.until(3600)
    assert asking.decisions == quiet.decisions
    assert asking.kernel.state_digest() == quiet.kernel.state_digest()


def test_a_status_can_be_written_and_read_again() -> None:
    life = Life(("binance",), RISE)
    life.until(1590)
    status = asked(life)
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(status), type=Status) == status


def test_results_are_kept_at_each_interval_and_at_the_end_of_a_day() -> None:
    life = Life(("binance",), RISE, PERFORMANCE_SNAPSHOT_MINUTES="10")
    life.until(3900)
    rows = [row for row in life.world.store.rows() if isinstance(row, PerformanceRow)]
    kept = [row.ts_ns - START_NS for row in rows if row.period == "interval" and not row.venue]
    assert [at // (60 * SECOND) for at in kept] == [10, 20, 30, 40]
    assert [row.positions for row in rows if row.period == "interval" and row.venue] == [
        *(1, 1, 1),
        0,
    ]


def test_where_nothing_is_open_no_row_is_written() -> None:
    life = Life(("binance",), FLAT, MAX_POSITIONS="1", MIN_SCORE_WEEK="99")
    life.until(3 * HOUR // SECOND)
    rows = life.world.store.rows()
    assert [row for row in rows if isinstance(row, PerformanceRow)] == []
    assert list(chain(life.alerts)) != []




def test_the_budgets_are_told_as_they_are_now_and_not_as_they_were_when_last_used() -> None:
    life = Life(("binance",), FLAT)
    life.until(115)
    (venue,) = asked(life).venues
    (queries,) = [one for one in venue.budgets if one.bucket == "queries"]
    bucket = life.kernel.services.desks["binance"].gateway.limiter.buckets["queries"]
    now = life.kernel.services.runtime.now()
    assert queries.used == bucket.in_use(now)
    assert bucket.in_use(now + bucket.window_ns) == bucket.held
