"""Event rows: every decision once, in batches, lost rather than late."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.messages import Decision, Input, StepResult, Tick
from kernel.model.rows import EventRow, row_key
from kernel.model.units import DAY, SECOND, MonoNs, TsNs
from kernel.store.backend import Retention
from kernel.store.memory import MemoryBackend
from kernel.store.simulated import SimulatedStore
from kernel.watch.events import BATCH, EVERY_NS, WAITING, EventLog, event_row


class Shelf:
    """An event store that can refuse."""

    def __init__(self) -> None:
        self.open = True
        self.rows: list[EventRow] = []
        self.batches: list[int] = []

    def take_events(self, rows: tuple[EventRow, ...]) -> bool:
        if self.open:
            self.rows += rows
            self.batches.append(len(rows))
        return self.open


def item(seq: int, at_ns: int = 0) -> Input:
    return Input(seq, TsNs(10 * DAY + at_ns), MonoNs(at_ns), "k", Tick())


def decided(count: int = 1) -> StepResult:
    return StepResult([], [Decision(kind="stop.set", cause=str(n)) for n in range(count)], [])


def test_a_row_says_what_when_where_and_why() -> None:
    values = {"level": str(Decimal(41160)), "wave": "2026-01-05T12:00:00Z", "quote": '"'}
    decision = Decision(
        kind="stop.set",
        cause="first stop",
        venue="binance",
        symbol="BTCUSDT",
        position_id="p",
        client_order_id="c",
        values=values,
    )
    row = event_row(item(7, 5), 2, decision)
    assert (row.seq, row.place, row.ts_ns) == (7, 2, 10 * DAY + 5)
    assert (row.level, row.text) == ("INFO", "protected at 41160: first stop")
    assert row.wave == "2026-01-05T12:00:00Z"
    assert msgspec.json.decode(row.values) == values


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2 * SECOND)), max_size=60))
def test_every_decision_becomes_one_row_in_its_order(steps: list[tuple[int, int]]) -> None:
    shelf = Shelf()
    log = EventLog(shelf)
    now = expected = 0
    for seq, (count, pause) in enumerate(steps):
        now += pause
        log.step(item(seq, now), decided(count))
        expected += count
    log.died("stopped")
    keys = [row_key(row) for row in shelf.rows]
    assert len(keys) == len(dict.fromkeys(keys)) == expected
    assert [(row.seq, row.place) for row in shelf.rows] == sorted(
        (row.seq, row.place) for row in shelf.rows
    )
    assert all(size <= BATCH for size in shelf.batches)


def test_rows_wait_for_others_and_not_for_ever() -> None:
    shelf = Shelf()
    log = EventLog(shelf)
    log.step(item(1, 0), decided())
    log.step(item(2, EVERY_NS - 1), decided())
    assert shelf.rows == []
    log.step(item(3, EVERY_NS), decided(0))
    assert shelf.batches == [2]


def test_a_crash_loses_what_waits() -> None:
    shelf = Shelf()
    log = EventLog(shelf)
    log.step(item(1), decided())
    log.died("crash")
    log.flush()
    assert shelf.rows == []


def test_a_store_that_takes_none_costs_the_oldest_rows_only() -> None:
    shelf = Shelf()
    shelf.open = False
    log = EventLog(shelf)
    for seq in range(WAITING // 100 + 3):
        log.step(item(seq, seq * EVERY_NS), decided(100))
    assert log.lost > 0
    shelf.open = True
    log.flush()
    assert len(shelf.rows) == WAITING
    assert shelf.rows[-1].seq == WAITING // 100 + 2


def test_the_memory_store_keeps_events_apart_and_forgets_old_ones() -> None:
    store = SimulatedStore(MemoryBackend())
    old = event_row(item(1), 0, Decision(kind="stop.set", cause="x"))
    new = event_row(item(2, Retention().events_ns + 1), 0, Decision(kind="stop.set", cause="x"))
    assert store.take_events((old,))
    assert list(store.backend.events()) == [old]
    assert store.take_events((new,))
    assert list(store.backend.events()) == [new]
    assert list(store.rows()) == []


def test_a_store_that_is_down_takes_no_events() -> None:
    store = SimulatedStore(MemoryBackend())
    store.down(10 * DAY, 10 * DAY + SECOND)
    row = event_row(item(1), 0, Decision(kind="stop.set", cause="x"))
    assert not store.take_events((row,))
    assert store.take_events((event_row(item(2, SECOND), 0, Decision(kind="a", cause="x")),))
