"""The store writer: order, coalescing, entries fail closed, protection waits a bounded time."""

from kernel.errors import StoreError
from kernel.model.rows import LockRow
from kernel.model.units import MS, SECOND, TsNs
from kernel.model.venue import EffectClass
from kernel.ports.store import Committed
from kernel.trade.writer import HOLD_NS, StoreWriter
from tests.kernel.trade.parts import Bench


class ScriptedStore:
    """Commits after a delay, or fails."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.delay_ns = MS
        self.down = False
        self.away = False
        """Rows are spooled, but not those of entries, nor events."""
        self.commits: list[list[str]] = []

    async def commit(self, rows, cls):
        await self.bench.runtime.sleep(self.delay_ns)
        if self.down:
            raise StoreError("down")
        if self.away and (cls is EffectClass.ENTRY or not any(row.symbol for row in rows)):
            raise StoreError("away")
        self.commits.append([f"{row.symbol}={row.reason}" for row in rows if row.symbol])
        return Committed(spooled="away" if self.away else "")

    async def load(self, terms=None):
        raise StoreError("nothing to load")

    async def lease(self, terms, epoch):
        raise StoreError("no lease is kept")


def lock(symbol: str, reason: str) -> LockRow:
    return LockRow(venue="binance", symbol=symbol, reason=reason, until_ns=TsNs(1))


class Writing:
    def __init__(self) -> None:
        self.bench = Bench()
        self.store = ScriptedStore(self.bench)
        self.writer = StoreWriter(
            self.bench.runtime, self.bench.outbox, self.bench.settings, self.store
        )
        self.health: list[bool] = []
        self.writer.on_health = self.health.append
        self.bench.runtime.spawn(self.writer.run(), "writer")

    def run(self, coro, at: int):
        outcome: list[object] = []

        async def one() -> None:
            try:
                outcome.append(await coro)
            except StoreError as error:
                outcome.append(error)
            outcome.append(self.bench.runtime.now())

        self.bench.runtime.spawn(one(), "ask")
        self.bench.at(at)
        return outcome


def test_rows_behind_a_running_commit_are_written_together_newest_first_of_each_key():
    writing = Writing()
    writing.writer.persist((lock("A", "1"),))
    writing.bench.at(0)
    writing.writer.persist((lock("B", "1"),))
    writing.writer.persist((lock("B", "2"), lock("C", "1")))
    writing.bench.at(SECOND)
    assert writing.store.commits == [["A=1"], ["B=2", "C=1"]]
    assert writing.writer.waiting == 0


def test_rows_of_an_operation_that_nobody_waits_for_are_written_together_at_its_end():
    writing = Writing()
    with writing.writer.held():
        writing.writer.persist((lock("A", "1"),))
        writing.bench.at(10 * MS)
        writing.writer.persist((lock("A", "2"), lock("B", "1")))
        writing.bench.at(20 * MS)
        assert writing.store.commits == []
    writing.bench.at(30 * MS)
    assert writing.store.commits == [["A=2", "B=1"]]


def test_an_operation_that_lasts_holds_rows_a_quarter_of_a_second_at_most():
    writing = Writing()
    with writing.writer.held():
        writing.writer.persist((lock("A", "1"),))
        writing.bench.at(HOLD_NS - MS)
        assert writing.store.commits == []
        writing.bench.at(HOLD_NS + 2 * MS)
        assert writing.store.commits == [["A=1"]]
        writing.writer.persist((lock("B", "1"),))
        writing.bench.at(HOLD_NS + 2 * MS + HOLD_NS + 2 * MS)
        assert writing.store.commits == [["A=1"], ["B=1"]]


def test_who_waits_inside_an_operation_takes_the_held_rows_along():
    writing = Writing()
    with writing.writer.held():
        writing.writer.persist((lock("A", "1"),))
        writing.run(writing.writer.commit_protect((lock("S", "1"),)), 5 * MS)
        assert writing.store.commits == [["A=1", "S=1"]]
        writing.writer.persist((lock("B", "1"),))
        writing.run(writing.writer.commit_entry((lock("E", "1"),)), 20 * MS)
        assert writing.store.commits == [["A=1", "S=1"], ["B=1"], ["E=1"]]


def test_who_waits_behind_a_running_commit_is_held_up_by_no_row_that_joins_later():
    writing = Writing()
    writing.store.delay_ns = 20 * MS
    with writing.writer.held():
        writing.run(writing.writer.commit_entry((lock("A", "1"),)), 0)
        outcome = writing.run(writing.writer.commit_protect((lock("S", "1"),)), 5 * MS)
        writing.writer.persist((lock("B", "1"),))
        writing.bench.at(60 * MS)
        assert outcome == [True, 40 * MS]
    assert writing.store.commits == [["A=1"], ["S=1", "B=1"]]


def test_an_operation_inside_another_ends_nothing():
    writing = Writing()
    with writing.writer.held():
        with writing.writer.held():
            writing.writer.persist((lock("A", "1"),))
        writing.bench.at(10 * MS)
        assert writing.store.commits == []
    writing.bench.at(20 * MS)
    assert writing.store.commits == [["A=1"]]


def test_an_entry_commits_alone_and_after_what_was_asked_before():
    writing = Writing()
    writing.writer.persist((lock("A", "1"),))
    outcome = writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    assert writing.store.commits == [["A=1"], ["E=1"]]
    assert outcome[0] is True


def test_an_entry_fails_closed_and_the_next_one_at_once():
    writing = Writing()
    writing.store.down = True
    first = writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    assert isinstance(first[0], StoreError)
    second = writing.run(writing.writer.commit_entry((lock("F", "1"),)), SECOND)
    assert isinstance(second[0], StoreError)
    assert second[1] == SECOND
    assert writing.health == [True]


def test_entries_may_go_on_when_the_store_is_back_although_nothing_else_is_written():
    writing = Writing()
    writing.store.down = True
    writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    writing.store.down = False
    writing.bench.at(10 * SECOND)
    assert writing.health == [True, False]
    again = writing.run(writing.writer.commit_entry((lock("F", "1"),)), 11 * SECOND)
    assert again[0] is True


def test_protection_waits_a_bounded_time_and_its_row_is_written_in_the_end():
    writing = Writing()
    writing.store.down = True
    outcome = writing.run(writing.writer.commit_protect((lock("S", "1"),)), SECOND)
    assert outcome == [False, writing.bench.settings.store_wait_ms * MS]
    writing.store.down = False
    writing.bench.at(20 * SECOND)
    assert writing.store.commits == [["S=1"]]


def test_a_store_that_never_answers_refuses_waiting_entries():
    writing = Writing()
    writing.store.delay_ns = 3600 * SECOND
    writing.writer.persist((lock("A", "1"),))
    outcome = writing.run(writing.writer.commit_entry((lock("E", "1"),)), 10 * SECOND)
    assert isinstance(outcome[0], StoreError)
    assert outcome[1] == 5 * SECOND


def test_rows_that_were_spooled_are_durable_and_no_entry_follows():
    writing = Writing()
    writing.store.away = True
    outcome = writing.run(writing.writer.commit_protect((lock("S", "1"),)), SECOND)
    assert outcome == [True, MS]
    assert writing.health == [True]
    assert not writing.writer.volatile
    entry = writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    assert isinstance(entry[0], StoreError)
    writing.store.away = False
    writing.bench.at(5 * SECOND)
    assert writing.health == [True, False]


def test_an_entry_behind_rows_that_are_spooled_is_refused():
    writing = Writing()
    writing.store.away = True
    writing.writer.persist((lock("A", "1"),))
    outcome = writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    assert isinstance(outcome[0], StoreError)
    assert writing.store.commits == [["A=1"]]


def test_no_row_that_protects_waits_behind_a_probe():
    writing = Writing()
    writing.store.down = True
    writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    writing.bench.at(10 * SECOND)  # some probes have failed
    writing.store.down, writing.store.away = False, True
    outcome = writing.run(writing.writer.commit_protect((lock("S", "1"),)), 11 * SECOND)
    assert outcome[0] is True
    assert outcome[1] <= 10 * SECOND + 2 * MS


def test_what_neither_database_nor_spool_takes_is_told_until_it_is_durable():
    writing = Writing()
    writing.store.down = True
    writing.writer.persist((lock("S", "1"),))
    writing.bench.at(SECOND)
    assert writing.writer.volatile
    writing.store.down, writing.store.away = False, True
    writing.bench.at(10 * SECOND)
    assert not writing.writer.volatile
    assert writing.writer.failing
    assert writing.store.commits == [["S=1"]]
