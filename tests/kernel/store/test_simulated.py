"""The simulated store on memory: claims once, loses what a crash loses, fails on demand."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kernel.model.messages import StoreCommit, StoreDone, StoreFailed, StoreLoad, StoreLoaded
from kernel.model.orders import PositionSide
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import ClaimRow, LockRow, WaveRow
from kernel.model.units import DAY, MS, SECOND, TsNs
from kernel.store.memory import MemoryBackend
from kernel.store.simulated import PATIENCE_NS, SimulatedStore


def claim(key: str, at: int = 0) -> ClaimRow:
    return ClaimRow(once_key=key, wave_ns=TsNs(0), claimed_ns=TsNs(at))


def position(name: str, state: PositionState) -> PositionRow:
    return PositionRow(
        position_id=name,
        venue="binance",
        symbol="BTCUSDT",
        side=PositionSide.LONG,
        state=state,
        entry_price=Decimal("100.5"),
        result_ns=TsNs(1 if state.terminal else 0),
    )


def commit(store: SimulatedStore, key: str, *rows, now: int = 0):
    due = store.submit(key, StoreCommit(rows=rows), now)
    return store.complete(key, due)


def load(store: SimulatedStore, now: int = 0):
    store.submit("load", StoreLoad(), now)
    answer = store.complete("load", now)
    assert isinstance(answer, StoreLoaded)
    return answer.state


def test_a_claim_that_exists_refuses_the_whole_commit():
    store = SimulatedStore(MemoryBackend())
    assert commit(store, "1", claim("a")) == StoreDone(claimed=(True,))
    refused = commit(store, "2", claim("b"), claim("a"), position("p", PositionState.ACTIVE))
    assert refused == StoreDone(claimed=(True, False))
    assert load(store).positions == ()
    assert commit(store, "3", claim("b")) == StoreDone(claimed=(True,))


def test_a_crash_loses_what_was_not_completed_but_for_what_was_applied():
    store = SimulatedStore(MemoryBackend())
    for name in ("1", "2", "3"):
        store.submit(name, StoreCommit(rows=(position(name, PositionState.ACTIVE),)), 0)
    store.crash(applied=1)
    assert [row.position_id for row in load(store).positions] == ["1"]
    assert store.pending == 0


def test_a_load_takes_the_next_epoch_and_gives_what_is_not_finished():
    store = SimulatedStore(MemoryBackend())
    commit(
        store,
        "1",
        position("live", PositionState.ACTIVE),
        position("over", PositionState.CLOSED),
        claim("old", 0),
        claim("new", DAY),
        WaveRow(source="feed", wave_ns=TsNs(1), state="open", expected_until_ns=TsNs(2)),
        WaveRow(source="feed", wave_ns=TsNs(0), state="closed", expected_until_ns=TsNs(2)),
        LockRow(venue="binance", symbol="X", reason="r", until_ns=TsNs(DAY + 5)),
        LockRow(venue="binance", symbol="Y", reason="r", until_ns=TsNs(3)),
    )
    state = load(store, DAY + 1)
    assert state.epoch == 1
    assert [row.position_id for row in state.positions] == ["live"]
    assert state.positions[0].entry_price == Decimal("100.5")
    assert [row.once_key for row in state.claims] == ["new"]
    assert [row.wave_ns for row in state.waves] == [1]
    assert [row.symbol for row in state.locks] == ["X"]
    assert load(store).epoch == 2
    assert store.get(PositionRow, "over") is not None


def test_while_it_is_down_entries_fail_and_what_protects_is_spooled():
    store = SimulatedStore(MemoryBackend())
    store.down(SECOND, 2 * SECOND)
    store.submit("1", StoreCommit(rows=(position("e", PositionState.ACTIVE),)), SECOND, entry=True)
    assert isinstance(store.complete("1", SECOND), StoreFailed)
    assert isinstance(commit(store, "2", claim("a"), now=SECOND), StoreFailed)
    kept = commit(store, "3", position("p", PositionState.ACTIVE), now=SECOND)
    assert kept == StoreDone(spooled="the store is down")
    assert list(store.rows()) == []
    back = commit(store, "4", claim("a"), now=2 * SECOND)
    assert back == StoreDone(claimed=(True,), drained=1)
    assert [row.position_id for row in load(store).positions] == ["p"]


def test_while_the_disk_is_full_nothing_is_spooled():
    store = SimulatedStore(MemoryBackend())
    store.down(SECOND, 3 * SECOND)
    store.fill_disk(SECOND, 2 * SECOND)
    row = position("p", PositionState.ACTIVE)
    assert commit(store, "1", row, now=SECOND) == StoreFailed(
        reason="the store is down; the disk is full"
    )
    assert commit(store, "2", row, now=2 * SECOND) == StoreDone(spooled="the store is down")


def test_a_crash_leaves_what_was_spooled():
    store = SimulatedStore(MemoryBackend())
    store.down(SECOND, 2 * SECOND)
    commit(store, "1", position("p", PositionState.ACTIVE), now=SECOND)
    for name in ("q", "r"):
        body = StoreCommit(rows=(position(name, PositionState.ACTIVE),))
        store.submit(name, body, SECOND + 1)
    store.crash(applied=1)
    assert [row.position_id for row in load(store, 2 * SECOND).positions] == ["p", "q"]


def test_whoever_waits_too_long_for_a_stalled_store_is_answered_as_if_it_were_down():
    store = SimulatedStore(MemoryBackend())
    store.stall(SECOND, 60 * SECOND)
    body = StoreCommit(rows=(position("p", PositionState.ACTIVE),))
    due = store.submit("1", body, 2 * SECOND)
    assert due == 2 * SECOND + PATIENCE_NS
    assert store.complete("1", due) == StoreDone(spooled="no answer in time")


def test_while_it_is_stalled_answers_come_at_its_end_and_in_order():
    store = SimulatedStore(MemoryBackend())
    store.stall(SECOND, 5 * SECOND)
    first = store.submit("1", StoreCommit(rows=(claim("a"),)), SECOND)
    second = store.submit("2", StoreCommit(rows=(claim("b"),)), 5 * SECOND - 2 * MS)
    assert first == 5 * SECOND
    assert second >= first


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(list(PositionState))), max_size=40))
def test_the_index_of_what_lives_is_what_a_scan_would_find(writes):
    store = SimulatedStore(MemoryBackend())
    for number, (name, state) in enumerate(writes):
        commit(store, str(number), position(f"p{name}", state))
    newest = {f"p{name}": state for name, state in writes}
    live = [name for name, state in newest.items() if not state.terminal]
    assert sorted(row.position_id for row in load(store).positions) == sorted(live)


def test_a_restored_backup_is_known_by_its_epoch_and_begins_anew():
    store = SimulatedStore(MemoryBackend())
    load(store, 1)
    backup = store.snapshot()
    load(store, 2)
    store.restore(backup)
    store.submit("load", StoreLoad(), 9)
    answer = store.complete("load", 9)
    assert isinstance(answer, StoreLoaded)
    assert (answer.state.epoch, answer.state.since_ns) == (3, 9)
    assert ["knew nothing of run epoch 2" in one for one in answer.damage] == [True]


def test_a_restored_backup_is_an_earlier_state():
    store = SimulatedStore(MemoryBackend())
    commit(store, "1", position("p", PositionState.ACTIVE))
    backup = store.snapshot()
    commit(store, "2", position("p", PositionState.CLOSED), claim("a"))
    store.restore(backup)
    state = load(store)
    assert [row.state for row in state.positions] == [PositionState.ACTIVE]
    assert state.claims == ()
