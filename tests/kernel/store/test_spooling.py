"""The spool before a database: order, nothing stale, nothing lost, nothing of an entry."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import RowsRefused, StoreError, StoreFenced
from kernel.model.rows import ClaimRow, EventRow, LockRow, Row, StoredState, row_key
from kernel.model.units import TsNs
from kernel.store.backend import NEW, Mark
from kernel.store.spool_queue import MemorySpool
from kernel.store.spooling import SpoolingStore


class Database:
    """Rows by key; fails when it is away, and refuses the symbol POISON for good."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.taken = 0
        """The highest epoch that somebody took."""
        self.since = 0
        self.mark = NEW
        self.away = False
        self.fail_after: int | None = None
        """So many more commits are taken."""

    def client(self) -> "Client":
        return Client(self)


class Client:
    """One process on the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.epoch = 0
        self.mark = NEW

    def ask_mark(self) -> Mark:
        self._ask()
        return self.database.mark

    def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        self._ask()
        whose = epoch or self.epoch
        if whose and whose < self.database.taken:
            raise StoreFenced("a later process")
        if any(isinstance(row, LockRow) and row.symbol == "POISON" for row in rows):
            raise RowsRefused("POISON is refused")
        if self.database.fail_after is not None:
            if self.database.fail_after == 0:
                raise StoreError("away in the middle")
            self.database.fail_after -= 1
        self.database.rows.update({row_key(row): row for row in rows})
        self.mark = self.database.mark = self.database.mark._replace(
            commits=self.database.mark.commits + 1
        )
        return tuple(True for row in rows if isinstance(row, ClaimRow))

    def load(
        self, now_ns: int, ask=None, *, least_epoch: int = 1, anew: bool = False
    ) -> StoredState:
        self._ask()
        held = self.database.taken
        if not self.database.since or anew or held + 1 < least_epoch:
            self.database.since = now_ns
        if not self.database.mark.first_ns:
            self.database.mark = self.database.mark._replace(first_ns=now_ns)
        self.mark = self.database.mark
        self.epoch = self.database.taken = max(held + 1, least_epoch)
        return StoredState(epoch=self.epoch, since_ns=TsNs(self.database.since))

    def _ask(self) -> None:
        if self.database.away:
            raise StoreError("away")


def lock(symbol: str, value: int) -> LockRow:
    return LockRow(venue="binance", symbol=symbol, reason=str(value), until_ns=TsNs(value))


def claim() -> ClaimRow:
    return ClaimRow(once_key="k", wave_ns=TsNs(0), claimed_ns=TsNs(0))


def event() -> EventRow:
    words: dict[str, Any] = dict.fromkeys(
        ("venue", "symbol", "position_id", "client_order_id", "cause"), ""
    )
    return EventRow(ts_ns=TsNs(1), kind="store.probe", values="{}", **words)


def values(database: Database) -> dict[str, int]:
    return {row.symbol: row.until_ns for row in database.rows.values() if type(row) is LockRow}


def begun(database: Database, spool: MemorySpool, now: int = 1) -> SpoolingStore:
    store = SpoolingStore(database.client(), spool)
    store.load(now)
    return store


def test_rows_wait_in_the_spool_and_go_out_in_their_order_before_anything_else():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    database.away = True
    for value in (1, 2):
        assert store.commit((lock("A", value),), entry=False).spooled == "away"
    database.away = False
    answer = store.commit((lock("B", 3),), entry=False)
    assert (answer.spooled, answer.drained) == ("", 2)
    assert values(database) == {"A": 2, "B": 3}
    assert spool.recover().payloads == ()


@pytest.mark.parametrize(
    ("rows", "entry"),
    [((lock("A", 1),), True), ((claim(), lock("A", 1)), False), ((event(),), False)],
)
def test_no_entry_no_claim_and_no_mere_event_is_spooled(rows, entry):
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    database.away = True
    with pytest.raises(StoreError, match="away"):
        store.commit(rows, entry=entry)
    assert spool.recover().payloads == ()


def test_an_entry_writes_what_is_spooled_before_itself():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    store.commit((lock("A", 1),), entry=False, away="not asked")
    assert store.commit((claim(), lock("A", 2)), entry=True).claimed == (True,)
    assert values(database) == {"A": 2}


def test_a_full_disk_is_told_beside_the_database_that_is_away():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    database.away = spool.full = True
    with pytest.raises(StoreError, match="away; the disk is full"):
        store.commit((lock("A", 1),), entry=False)


def test_what_an_earlier_process_spooled_is_there_before_a_load():
    database, spool = Database(), MemorySpool()
    begun(database, spool).commit((lock("A", 1),), entry=False, away="not asked")
    later = SpoolingStore(database.client(), spool)
    database.away = True
    with pytest.raises(StoreError, match="away"):
        later.load(2)
    assert spool.recover().payloads
    database.away = False
    loaded = later.load(3)
    assert (loaded.drained, loaded.state.epoch, values(database)) == (1, 2, {"A": 1})


def test_a_death_between_commit_and_delete_writes_the_same_again():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    for value in (1, 2, 3):
        store.commit((lock("A", value),), entry=False, away="not asked")
    database.fail_after = 2
    assert store.commit((lock("B", 1),), entry=False).spooled == "away in the middle"
    database.fail_after = None
    assert len(spool.recover().payloads) == 4
    assert begun(database, spool, 2).load(3).drained == 0
    assert values(database) == {"A": 3, "B": 1}


def test_a_spool_that_cannot_be_cleared_lets_nothing_newer_into_the_database(monkeypatch):
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    store.commit((lock("A", 1),), entry=False, away="not asked")

    def fail() -> None:
        raise StoreError("the disk is broken")

    with monkeypatch.context() as broken:
        broken.setattr(spool, "clear", fail)
        assert store.commit((lock("A", 2),), entry=False).spooled == "the disk is broken"
        with pytest.raises(StoreError):
            store.commit((lock("A", 3),), entry=True)
        assert spool.recover().payloads
    store.commit((lock("A", 4),), entry=True)
    assert values(database) == {"A": 4}
    assert spool.recover().payloads == ()


def test_rows_of_a_process_after_which_another_one_loaded_are_set_aside():
    database, spool, elsewhere = Database(), MemorySpool(), MemorySpool()
    begun(database, spool).commit((lock("A", 1),), entry=False, away="not asked")
    begun(database, elsewhere).commit((lock("A", 2),), entry=False)
    loaded = SpoolingStore(database.client(), spool).load(3)
    assert values(database) == {"A": 2}
    assert loaded.damage == ("1 rows are set aside: a later process",)
    assert "binance" in spool.aside[0]


def test_a_process_that_was_replaced_writes_nothing_not_into_the_spool_either():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    begun(database, MemorySpool())
    with pytest.raises(StoreFenced):
        store.commit((lock("A", 1),), entry=False)
    assert spool.recover().payloads == ()


def test_rows_that_are_refused_for_good_are_set_aside_and_the_others_written():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    store.commit((lock("A", 1), lock("POISON", 1)), entry=False, away="not asked")
    answer = store.commit((lock("POISON", 2), lock("B", 2)), entry=False)
    assert values(database) == {"A": 1, "B": 2}
    assert answer.damage == ("1 rows are set aside: POISON is refused",) * 2
    with pytest.raises(RowsRefused):
        store.commit((lock("POISON", 3),), entry=True)


def test_a_commit_that_cannot_be_read_is_set_aside_and_the_others_written():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    store.commit((lock("A", 1),), entry=False, away="not asked")
    spool.append(b"of another program")
    loaded = SpoolingStore(database.client(), spool).load(2)
    assert values(database) == {"A": 1}
    assert ["cannot be read" in one for one in loaded.damage] == [True]
    assert b"of another program".hex() in spool.aside[0]


def test_no_epoch_is_taken_twice_and_a_restored_backup_begins_anew():
    database, spool = Database(), MemorySpool()
    for now in (1, 2, 3):
        begun(database, spool, now)
    database.taken, database.rows = 1, {}  # a backup of the first run
    loaded = SpoolingStore(database.client(), spool).load(9)
    assert loaded.state.epoch == 4
    assert loaded.state.since_ns == 9
    assert ["knew nothing of run epoch 3" in one for one in loaded.damage] == [True]


def test_a_backup_gets_what_is_spooled():
    database, spool = Database(), MemorySpool()
    begun(database, spool)
    begun(database, spool).commit((lock("A", 5),), entry=False, away="not asked")
    database.taken, database.rows = 1, {}
    SpoolingStore(database.client(), spool).load(9)
    assert values(database) == {"A": 5}


def test_an_epoch_that_cannot_be_noted_is_not_used():
    database, spool = Database(), MemorySpool()
    spool.full = True
    store = SpoolingStore(database.client(), spool)
    with pytest.raises(StoreError, match="full"):
        store.load(1)
    spool.full = False
    assert database.taken == 0
    assert store.load(2).state.epoch == 1


STEPS = st.lists(
    st.sampled_from(["write", "entry", "away", "back", "die", "full", "room", "cut", "whole"]),
    max_size=40,
)


@given(STEPS)
def test_whatever_fails_the_database_has_what_was_answered_newest_last(steps):
    database, spool = Database(), MemorySpool()
    store = SpoolingStore(database.client(), spool)
    asked = answered = 0
    running = False
    for step in [*steps, "back", "room", "whole", "die", "write"]:
        match step:
            case "away" | "back":
                database.away = step == "away"
            case "full" | "room":
                spool.full = step == "full"
            case "cut" | "whole":
                database.fail_after = 1 if step == "cut" else None
            case "die":
                store, running = SpoolingStore(database.client(), spool), False
            case _:
                try:
                    if not running:
                        store.load(asked + 1)
                        running = True
                        assert values(database).get("A", 0) >= answered
                    asked += 1
                    store.commit((lock("A", asked),), entry=step == "entry")
                    answered = asked
                except StoreError:
                    continue
    assert values(database)["A"] == answered == asked


# ------------------------------------------------------------------------ which database, how far


def test_a_database_with_fewer_commits_is_an_earlier_state_and_begins_now():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    for value in (1, 2, 3):
        store.commit((lock("A", value),), entry=False)
    database.mark = database.mark._replace(commits=2)
    later = SpoolingStore(database.client(), spool).load(50)
    assert later.state.since_ns == 50
    assert "has 2 of the 3 commits" in later.damage[0]


def test_one_that_has_every_commit_that_was_made_goes_on():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    store.commit((lock("A", 1),), entry=False)
    again = SpoolingStore(database.client(), spool).load(50)
    assert (again.state.since_ns, again.damage) == (1, ())


def test_another_database_gets_nothing_of_what_was_spooled_and_is_told():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    database.away = True
    store.commit((lock("A", 1),), entry=False)
    other = Database()
    begun(other, MemorySpool(), now=7)
    loaded = SpoolingStore(other.client(), spool).load(50)
    assert values(other) == {}
    assert len(spool.aside) == 1
    assert loaded.state.since_ns == 50
    assert "not the one that this data folder was used with" in loaded.damage[-1]
    assert spool.recover().payloads == ()


def test_what_was_spooled_before_its_database_was_named_is_written():
    database, spool = Database(), MemorySpool()
    begun(database, spool)
    unnamed = msgspec.msgpack.encode([1, [lock("A", 4)]])
    spool.append(unnamed)
    SpoolingStore(database.client(), spool).load(50)
    assert values(database) == {"A": 4}


def test_a_commit_is_taken_though_its_number_cannot_be_noted():
    database, spool = Database(), MemorySpool()
    store = begun(database, spool)
    spool.full = True
    assert store.commit((lock("A", 1),), entry=False).spooled == ""
    assert values(database) == {"A": 1}
