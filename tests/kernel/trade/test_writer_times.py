"""The store writer: when each commit is tried, under which class, and what is said of it."""

import pytest

from kernel.errors import StoreError
from kernel.model.messages import Alert
from kernel.model.rows import EventRow
from kernel.model.units import MS, SECOND, TsNs
from kernel.model.venue import EffectClass
from kernel.trade import writer as writing_module
from kernel.trade.writer import StoreWriter
from tests.kernel.trade.parts import Bench
from tests.kernel.trade.test_writer import ScriptedStore, Writing, lock

ENTRY, PROTECT, BEHIND = EffectClass.ENTRY, EffectClass.PROTECT, EffectClass.QUERY


class Timed(Writing):
    """A writer whose commits are noted: when they begin, their class and their rows."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[tuple[int, EffectClass, tuple[str, ...]]] = []
        commit = self.store.commit

        async def noted(rows, cls):
            names = tuple(getattr(row, "symbol", "") or row.kind for row in rows)
            self.tried.append((self.bench.runtime.now(), cls, names))
            return await commit(rows, cls)

        self.store.commit = noted  # type: ignore[method-assign]

    def kinds(self) -> list[str]:
        return self.bench.kinds()

    def alerts(self) -> list[Alert]:
        return [one.body for one in self.bench.outbox.effects if isinstance(one.body, Alert)]


def event(number: int) -> EventRow:
    return EventRow(
        ts_ns=TsNs(number), kind="seen", venue="", symbol="", position_id="", client_order_id="",
        cause="", values="{}",
    )  # fmt: skip


@pytest.fixture
def writing():
    return Timed()


def test_where_nothing_was_asked_all_is_durable_also_before_the_writer_runs():
    bench = Bench()
    writer = StoreWriter(bench.runtime, bench.outbox, bench.settings, ScriptedStore(bench))
    drained = []

    async def drain():
        drained.append(await writer.drain(0))

    bench.runtime.spawn(drain(), "drain")
    bench.at(0)
    assert drained == [True]


def test_rows_that_wait_behind_an_entry_are_never_written_with_it(writing):
    writing.writer.persist((lock("A", "1"),))
    writing.bench.at(0)
    writing.writer.persist((lock("B", "1"),))
    writing.run(writing.writer.commit_entry((lock("E", "1"),)), 0)
    writing.writer.persist((lock("C", "1"),))
    writing.bench.at(SECOND)
    assert [names for _, _, names in writing.tried] == [("A",), ("B",), ("E",), ("C",)]


def test_each_commit_goes_under_the_class_of_who_asked(writing):
    writing.writer.persist((lock("A", "1"),))
    writing.bench.at(2 * MS)
    writing.run(writing.writer.commit_protect((lock("S", "1"),)), 5 * MS)
    writing.run(writing.writer.commit_entry((lock("E", "1"),)), 9 * MS)
    assert [(cls, rows) for _, cls, rows in writing.tried] == [
        (BEHIND, ("A",)),
        (PROTECT, ("S",)),
        (ENTRY, ("E",)),
    ]


def test_nothing_is_written_for_no_rows(writing):
    writing.writer.persist(())
    writing.bench.at(SECOND)
    assert writing.tried == []
    assert writing.writer.waiting == 0


def test_what_waits_is_counted_in_rows(writing):
    writing.writer.persist((lock("A", "1"), lock("B", "1")))
    assert writing.writer.waiting == 2
    writing.bench.at(0)
    assert writing.writer.waiting == 0, "its commit is running"
    writing.writer.persist((lock("A", "2"), lock("A", "3")))
    assert writing.writer.waiting == 1


def test_a_drain_ends_when_all_is_durable_or_its_time_is_over(writing):
    assert writing.run(writing.writer.drain(SECOND), 0) == [True, 0]
    writing.store.delay_ns = 20 * MS
    writing.writer.persist((lock("A", "1"),))
    assert writing.run(writing.writer.drain(10 * MS), 10 * MS) == [False, 10 * MS]
    assert writing.run(writing.writer.drain(SECOND), SECOND) == [True, 20 * MS]


@pytest.mark.parametrize("kind", ["persist", "commit_protect", "commit_entry"])
def test_a_drain_waits_for_whatever_was_asked(writing, kind):
    writing.bench.at(0)
    writing.store.delay_ns = 20 * MS
    with writing.writer.held():
        if kind == "persist":
            writing.writer.persist((lock("A", "1"),))
        else:
            writing.run(getattr(writing.writer, kind)((lock("A", "1"),)), 0)
        outcome = writing.run(writing.writer.drain(5 * SECOND), 5 * MS)
        assert outcome == []
    writing.bench.at(SECOND)
    assert outcome[0] is True
    assert outcome[1] >= 20 * MS


# ---------------------------------------------------------------- failing


def test_a_commit_that_fails_is_tried_again_with_growing_pauses(writing):
    writing.store.delay_ns = 0
    writing.store.down = True
    writing.writer.persist((lock("A", "1"),))
    writing.bench.at(20 * SECOND)
    pauses = (0, 200 * MS, 500 * MS, SECOND, 2 * SECOND, 5 * SECOND, 5 * SECOND, 5 * SECOND)
    assert [at for at, _, _ in writing.tried] == [sum(pauses[: n + 1]) for n in range(8)]
    writing.store.down = False
    writing.bench.at(30 * SECOND)
    assert writing.store.commits == [["A=1"]]
    assert len(writing.tried) == 9


def test_a_commit_without_an_answer_has_failed_after_five_seconds(writing):
    writing.store.delay_ns = 3600 * SECOND
    outcome = writing.run(writing.writer.commit_entry((lock("E", "1"),)), 6 * SECOND)
    assert isinstance(outcome[0], StoreError)
    assert outcome[1] == 5 * SECOND
    assert "no answer" in str(outcome[0])


def test_a_store_that_fails_is_said_once_and_its_return_once(writing):
    writing.store.delay_ns = 0
    writing.store.down = True
    writing.writer.persist((lock("A", "1"),))
    writing.bench.at(SECOND)
    assert writing.writer.failing
    writing.store.down = False
    writing.bench.at(3 * SECOND)
    writing.writer.persist((lock("B", "1"),))
    writing.bench.at(4 * SECOND)
    told = [one for one in writing.kinds() if one in ("store.failing", "store.recovered")]
    assert told == ["store.failing", "store.recovered"]
    assert writing.health == [True, False]
    alert = writing.alerts()[0]
    assert (alert.severity, alert.kind, alert.dedupe) == ("ERROR",) + 2 * ("store.failing",)


def test_an_idle_writer_asks_a_failing_store_every_two_seconds(writing):
    writing.store.delay_ns = 0
    writing.store.down = True
    writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    assert [at for at, _, _ in writing.tried] == [0]
    writing.bench.at(2 * SECOND)
    assert writing.tried[1:] == [(2 * SECOND, BEHIND, ("store.probe",))]
    writing.store.down = False
    writing.bench.at(60 * SECOND)
    assert len(writing.tried) == 3, "it is back: nothing more is asked"
    assert writing.health == [True, False]


def test_a_row_ends_the_wait_for_the_next_probe(writing):
    writing.store.delay_ns = 0
    writing.store.down = True
    writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    writing.store.down = False
    writing.writer.persist((lock("A", "1"),))
    writing.bench.at(SECOND + MS)
    assert writing.tried[1:] == [(SECOND, BEHIND, ("A",))]


def test_entries_behind_a_batch_that_fails_are_refused_at_once_and_nothing_else_is(writing):
    writing.store.down = True
    writing.writer.persist((lock("A", "1"),))
    first = writing.run(writing.writer.commit_entry((lock("E", "1"),)), 0)
    writing.writer.persist((lock("B", "1"),))
    second = writing.run(writing.writer.commit_entry((lock("F", "1"),)), 10 * MS)
    for outcome in (first, second):
        assert isinstance(outcome[0], StoreError)
        assert outcome[1] == MS
    writing.store.down = False
    writing.bench.at(10 * SECOND)
    assert writing.store.commits == [["A=1"], ["B=1"]]


def test_a_protective_act_that_goes_first_says_so_and_one_in_time_does_not(writing):
    outcome = writing.run(writing.writer.commit_protect((lock("S", "1"),)), SECOND)
    assert outcome == [True, MS]
    assert writing.kinds() == []
    writing.store.delay_ns = 4 * SECOND
    late = writing.run(writing.writer.commit_protect((lock("S", "2"),)), 10 * SECOND)
    assert late == [False, SECOND + writing.bench.settings.store_wait_ms * MS]
    assert writing.kinds() == ["store.late"]


def test_an_entry_behind_rows_that_are_spooled_is_refused_without_being_tried(writing):
    writing.store.away = True
    writing.writer.persist((lock("A", "1"),))
    outcome = writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    assert isinstance(outcome[0], StoreError)
    assert outcome[1] == MS
    assert [names for _, _, names in writing.tried if names == ("E",)] == []


def test_what_is_in_memory_only_is_told_once_until_it_is_durable(writing):
    writing.store.down = True
    writing.writer.persist((lock("S", "1"),))
    writing.bench.at(5 * SECOND)
    assert writing.kinds().count("store.volatile") == 1
    (alert,) = [one for one in writing.alerts() if one.kind == "store.volatile"]
    assert (alert.severity, alert.dedupe) == ("CRITICAL", "store.volatile")
    assert "store.kept" not in writing.kinds()
    writing.store.down = False
    writing.bench.at(20 * SECOND)
    assert writing.kinds().count("store.kept") == 1


# ---------------------------------------------------------------- events


def test_events_beside_what_protects_are_kept_with_it(writing):
    writing.store.down = True
    writing.writer.persist((lock("S", "1"), event(1)))
    writing.bench.at(SECOND)
    writing.store.down = False
    writing.bench.at(20 * SECOND)
    assert ("S", "seen") in [names for _, _, names in writing.tried[1:]]


def test_a_probe_that_failed_makes_room_for_events(writing, monkeypatch):
    monkeypatch.setattr(writing_module, "EVENTS_LIMIT", 2)
    writing.store.down = True
    writing.run(writing.writer.commit_entry((lock("E", "1"),)), SECOND)
    writing.bench.at(20 * SECOND)
    assert len(writing.tried) > 5, "probes"
    writing.writer.persist((event(1), event(2)))
    assert writing.writer.waiting == 2


def test_event_rows_beyond_the_limit_are_left_out_and_never_others(writing, monkeypatch):
    monkeypatch.setattr(writing_module, "EVENTS_LIMIT", 2)
    writing.writer.persist(tuple(event(n) for n in range(3)))
    writing.writer.persist((event(3), lock("A", "1")))
    assert writing.writer.waiting == 3
    writing.bench.at(SECOND)
    assert len(writing.tried[0][2]) == 3
    writing.writer.persist(tuple(event(n) for n in range(4, 7)))
    assert writing.writer.waiting == 2, "what is written makes room"


def test_rows_that_are_no_events_make_no_room_for_any(writing, monkeypatch):
    monkeypatch.setattr(writing_module, "EVENTS_LIMIT", 2)
    writing.writer.persist((event(0),))
    writing.bench.at(0)
    writing.writer.persist((event(1), lock("A", "1"), lock("B", "1")))
    writing.bench.at(MS)
    writing.bench.at(SECOND)
    writing.writer.persist(tuple(event(n) for n in range(2, 6)))
    assert writing.writer.waiting == 2


# ---------------------------------------------------------------- holds


def test_a_hold_that_ended_by_its_time_is_over_for_the_next_row(writing):
    hold = writing_module.HOLD_NS
    with writing.writer.held():
        writing.writer.persist((lock("A", "1"),))
        writing.bench.at(10 * MS)
        writing.writer.persist((lock("B", "1"),))
        writing.bench.at(hold + 10 * MS)
        assert writing.tried == [(hold, BEHIND, ("A", "B"))], "from the first of them on"
        writing.writer.persist((lock("C", "1"),))
    writing.bench.at(hold + 20 * MS)
    assert writing.tried[1:] == [(hold + 10 * MS, BEHIND, ("C",))]


def test_what_is_held_is_not_durable(writing):
    drained = []

    async def drain():
        drained.append((await writing.writer.drain(SECOND), writing.bench.runtime.now()))

    with writing.writer.held():
        writing.writer.persist((lock("A", "1"),))
        writing.bench.at(10 * MS)
        writing.bench.runtime.spawn(drain(), "drain")
        writing.bench.at(100 * MS)
        assert drained == []
    writing.bench.at(SECOND)
    assert drained == [(True, 101 * MS)]


def test_an_entry_does_not_wait_for_the_rows_that_an_operation_holds(writing):
    writing.store.delay_ns = 50 * MS
    writing.writer.persist((lock("A", "1"),))
    writing.bench.at(0)
    with writing.writer.held():
        writing.run(writing.writer.commit_entry((lock("E", "1"),)), 10 * MS)
        writing.writer.persist((lock("B", "1"),))
        writing.bench.at(SECOND)
        assert [at for at, _, _ in writing.tried] == [0, 50 * MS, 100 * MS]


def test_who_waits_behind_an_entry_is_held_up_by_no_row_that_joins(writing):
    writing.store.delay_ns = 50 * MS
    writing.writer.persist((lock("A", "1"),))
    writing.bench.at(0)
    writing.run(writing.writer.commit_entry((lock("E", "1"),)), 10 * MS)
    writing.run(writing.writer.commit_protect((lock("S", "1"),)), 20 * MS)
    writing.bench.at(60 * MS)
    with writing.writer.held():
        writing.writer.persist((lock("B", "1"),))
        writing.bench.at(SECOND)
        assert [at for at, _, _ in writing.tried] == [0, 50 * MS, 100 * MS]


def test_the_end_of_an_operation_takes_its_time_along(writing):
    with writing.writer.held():
        writing.writer.persist((lock("A", "1"),))
    writing.bench.at(10 * MS)
    with writing.writer.held():
        writing.bench.at(200 * MS)
        writing.writer.persist((lock("B", "1"),))
        writing.bench.at(writing_module.HOLD_NS + 50 * MS)
        assert len(writing.tried) == 1, "the hold of the first operation ended with it"


def test_rows_that_join_a_batch_that_somebody_waits_for_are_held_no_longer(writing):
    writing.store.delay_ns = 50 * MS
    with writing.writer.held():
        writing.run(writing.writer.commit_entry((lock("E", "1"),)), 0)
        writing.writer.persist((lock("A", "1"),))
        writing.run(writing.writer.commit_protect((lock("S", "1"),)), 10 * MS)
        writing.bench.at(60 * MS)
        writing.writer.persist((lock("B", "1"),))
        writing.bench.at(SECOND)
        assert [at for at, _, _ in writing.tried] == [0, 50 * MS, 60 * MS + writing_module.HOLD_NS]
