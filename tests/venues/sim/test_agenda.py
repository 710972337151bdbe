from functools import partial

import pytest

from kernel.errors import InvariantViolation
from venues.sim.agenda import RANK_MESSAGE, RANK_VENUE_PRICE, RANK_WATCH, Agenda


def run_all(agenda):
    while agenda.pop_run():
        pass


def test_one_nanosecond_runs_venue_prices_then_watches_then_messages_as_created():
    agenda, ran = Agenda(), []
    agenda.push(5, RANK_MESSAGE, lambda: ran.append("first message"))
    agenda.push(5, RANK_MESSAGE, lambda: ran.append("second message"))
    agenda.push(5, RANK_WATCH, lambda: ran.append("watch"), (0, 0, 1))
    agenda.push(5, RANK_VENUE_PRICE, lambda: ran.append("lane 1"), (1, 0, 1))
    agenda.push(5, RANK_VENUE_PRICE, lambda: ran.append("lane 0, tick 7"), (0, 7, 1))
    agenda.push(5, RANK_VENUE_PRICE, lambda: ran.append("lane 0, tick 2"), (0, 2, 9))
    agenda.push(4, RANK_MESSAGE, lambda: ran.append("earlier"))
    run_all(agenda)
    assert ran == [
        "earlier",
        "lane 0, tick 2",
        "lane 0, tick 7",
        "lane 1",
        "watch",
        "first message",
        "second message",
    ]


def test_pop_run_runs_exactly_one_entry_and_moves_to_it():
    agenda, ran = Agenda(), []
    agenda.push(3, RANK_MESSAGE, lambda: ran.append(agenda.now_ns))
    agenda.push(8, RANK_MESSAGE, lambda: ran.append(agenda.now_ns))
    assert agenda.next_due() == 3
    assert agenda.pop_run()
    assert (ran, agenda.now_ns, agenda.next_due()) == ([3], 3, 8)
    assert agenda.pop_run()
    assert not agenda.pop_run()
    assert (ran, agenda.now_ns, agenda.next_due()) == ([3, 8], 8, None)


def test_a_canceled_entry_never_runs_and_is_never_due():
    agenda, ran = Agenda(), []
    later = agenda.push(9, RANK_MESSAGE, lambda: ran.append("later"))
    agenda.push(9, RANK_MESSAGE, lambda: ran.append("kept"))
    agenda.push(2, RANK_MESSAGE, later.cancel)
    assert len(agenda) == 3
    agenda.pop_run()
    later.cancel()
    assert len(agenda) == 1
    assert not later.pending
    run_all(agenda)
    assert ran == ["kept"]


def test_a_purge_of_canceled_entries_keeps_the_others_in_order():
    agenda = Agenda()
    ran: list[int] = []
    entries = [
        agenda.push(1_000 - i, RANK_MESSAGE, partial(ran.append, i)) for i in range(500)
    ]
    for i, entry in enumerate(entries):
        if i % 10:
            entry.cancel()
    assert len(agenda) == 50
    run_all(agenda)
    assert ran == list(range(490, -1, -10))
    assert len(agenda) == 0


def test_a_message_may_be_due_now_but_nothing_may_be_due_before():
    agenda, ran = Agenda(10), []
    agenda.push(20, RANK_MESSAGE, lambda: agenda.push(20, RANK_MESSAGE, lambda: ran.append(20)))
    run_all(agenda)
    assert ran == [20]
    with pytest.raises(InvariantViolation, match="lies before the present"):
        agenda.push(19, RANK_MESSAGE, lambda: None)


def test_a_price_may_not_be_planned_before_the_price_that_is_being_processed():
    agenda = Agenda()

    def act():
        agenda.push(5, RANK_VENUE_PRICE, lambda: None, (1, 5, 0))
        agenda.push(5, RANK_WATCH, lambda: None, (0, 0, 0))
        with pytest.raises(InvariantViolation):
            agenda.push(5, RANK_VENUE_PRICE, lambda: None, (1, 3, 0))

    agenda.push(5, RANK_VENUE_PRICE, act, (1, 4, 0))
    assert agenda.pop_run()
    assert len(agenda) == 2


def test_advance_goes_neither_back_nor_over_a_planned_entry():
    agenda = Agenda(10)
    agenda.push(20, RANK_MESSAGE, lambda: None)
    agenda.advance(19)
    assert agenda.now_ns == 19
    with pytest.raises(InvariantViolation, match="cannot advance"):
        agenda.advance(20)
    with pytest.raises(InvariantViolation, match="cannot go back"):
        agenda.advance(18)
