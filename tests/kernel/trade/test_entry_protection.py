"""What is filled of an entry is protected from the first fill on; ACTIVE comes last."""

from decimal import Decimal

import pytest

from kernel.config import Settings
from kernel.model.orders import OrderStatus, Side
from kernel.model.positions import PositionRow, PositionState
from kernel.trade.entry_protection import Entering, EntryProtection
from tests.kernel.trade.opening import Opening
from tests.kernel.trade.parts import fill

D = Decimal
PARTLY, FILLED, CANCELED = (
    OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.CANCELED,
)  # fmt: skip
PENDING_ENTRY, ENTRY_PLACED = PositionState.PENDING_ENTRY, PositionState.ENTRY_PLACED
PENDING_SL, ACTIVE = PositionState.PENDING_SL, PositionState.ACTIVE
ROLLBACK = PositionState.ROLLBACK


class Stops:
    """A stop owner that answers what it is told."""

    def __init__(self, bench):
        self.bench = bench
        self.answer = True
        self.is_due = False
        self.asked = []
        self.meanwhile = lambda: None

    async def protect(self, position):
        self.asked.append((self.bench.ms, position.state))
        await self.bench.runtime.sleep(10_000_000)
        self.is_due = False
        self.meanwhile()
        return self.answer

    def due(self, position):
        return self.is_due


class Fills:
    """Whether the position is shown, and what is asked of who watches the fills."""

    def __init__(self, bench):
        self.bench = bench
        self.is_shown = True
        self.looks = []
        self.infers = []

    def shown(self, position):
        return self.is_shown and position.qty > 0

    async def look_for(self, position):
        self.looks.append(self.bench.ms)
        assert len(self.looks) < 200, "it looks without a pause"

    def infer(self, position, children):
        self.infers.append(self.bench.ms)
        assert len(self.infers) < 200, "it infers without a pause"


class Protecting(Opening):
    """A bench on which one entry is seen through."""

    def __init__(self, *children, state=ENTRY_PLACED, deadline=30):
        super().__init__(Settings.load({"UNPROTECTED_DEADLINE_SECONDS": str(deadline)}))
        self.owner, self.watch = Stops(self), Fills(self)
        self.position, self.children = self.entry(*(children or ("0.005",)), state=state)
        self.entering = Entering(self.runtime, self.position, self.children)
        self.saga = EntryProtection(self.services, self.owner, self.watch)  # type: ignore[arg-type]

    def see(self, seconds=5.0):
        """What came of it by then, and when; None: it goes on."""
        return self.result(self.saga.see_through(self.entering), seconds)

    def fills_first(self, qty="0.005"):
        self.fills(self.children[0], qty)
        return self

    def stored(self):
        return [row.state for row in self.store.rows if isinstance(row, PositionRow)]


@pytest.fixture
def bench():
    return Protecting()


# ---------------------------------------------------------------- the stop


@pytest.mark.parametrize("state", [PENDING_ENTRY, ENTRY_PLACED])
def test_a_stop_is_asked_for_as_soon_as_a_fill_is_known(state):
    bench = Protecting(state=state)
    bench.later(70, bench.fills_first)
    assert bench.see(1) is None, "the entry is not settled"
    assert bench.owner.asked == [(70, PENDING_SL)]
    assert bench.position.state is PENDING_SL
    assert bench.stored()[-1] is PENDING_SL
    before = [one.values["after"] for one in bench.kinds("position.state")]
    assert before == (["ENTRY_PLACED"] if state is PENDING_ENTRY else []) + ["PENDING_SL"]


def test_what_fills_later_is_asked_for_again_where_the_stop_is_not_its_own(bench):
    bench.fills_first("0.002")

    def more(due):
        bench.owner.is_due = due
        bench.fills(bench.children[0], "0.001")

    bench.later(100, lambda: more(False))
    bench.later(200, lambda: more(True))
    bench.see(1)
    assert [at for at, _ in bench.owner.asked] == [0, 200]


def test_nothing_is_asked_for_while_nothing_is_filled(bench):
    bench.owner.is_due = True
    assert bench.see(1) is None
    bench.entering.settled = True
    bench.position.changed.set()
    bench.after(1)
    assert bench.owner.asked == []
    assert bench.position.state is ENTRY_PLACED


def test_once_it_is_confirmed_and_the_entry_is_settled_the_position_is_active(bench):
    bench.fills_first()
    bench.later(100, lambda: bench.entering.judge(""))
    assert bench.see(1) == ("", 100)
    assert bench.position.state is ACTIVE
    assert bench.stored()[-1] is ACTIVE
    (*_, last) = bench.kinds("position.state")
    assert last.cause == "stop confirmed"


def test_an_entry_that_was_settled_first_is_active_after_its_stop(bench):
    bench.fills_first().entering.judge("")
    assert bench.see(1) == ("", 10)
    assert len(bench.owner.asked) == 1


def test_a_stop_that_is_not_confirmed_ends_the_entry(bench):
    bench.fills_first().owner.answer = False
    assert bench.see(1) == ("the stop was not confirmed", 10)
    assert bench.position.state is PENDING_SL


def test_a_stop_of_what_ended_meanwhile_is_no_reason_to_roll_back(bench):
    bench.fills_first().owner.answer = False
    bench.owner.meanwhile = lambda: bench.position.transition(PositionState.CLOSED, "test")
    assert bench.see(1) == ("", 10)


def test_a_close_while_the_stop_is_placed_is_told_as_the_cause(bench):
    bench.fills_first()
    bench.owner.meanwhile = lambda: bench.position.transition(ROLLBACK, "by hand")
    assert bench.see(1) == ("a close was asked for while it was entering", 10)


# ---------------------------------------------------------------- what speaks against it


def test_a_verdict_ends_it_at_once(bench):
    bench.fills_first()
    bench.later(100, lambda: bench.entering.judge("too little"))
    assert bench.see(1) == ("too little", 100)
    assert bench.position.state is PENDING_SL


def test_a_close_of_what_was_judged_is_told_with_the_verdict(bench):
    bench.fills_first()

    def both():
        bench.position.transition(ROLLBACK, "by hand")
        bench.entering.judge("too little")

    bench.later(100, both)
    assert bench.see(1) == ("too little", 100)


@pytest.mark.parametrize("refused", ["", "nothing filled"])
def test_an_entry_that_ended_is_not_rolled_back(bench, refused):
    bench.entering.refused = refused
    bench.position.transition(PositionState.ROLLED_BACK, "test")
    assert bench.see(1) == ("", 0)


def test_a_stop_that_fired_while_it_was_entering_ends_it(bench):
    bench.fills_first()

    def fires():
        bench.position.stops.fired = bench.children[0]
        bench.position.changed.set()

    bench.later(100, fires)
    assert bench.see(1) == ("its stop was triggered while it was entering", 100)


@pytest.mark.parametrize("qty", ["0.005", "0.007"])
def test_one_that_was_closed_while_it_was_entering_is_over(bench, qty):
    bench.fills_first()
    closed = fill("x", Side.SELL, qty, "42000", ts_ns=bench.runtime.ts())
    bench.later(100, lambda: bench.position.apply_fill(closed))
    assert bench.see(1) == ("its stop was triggered while it was entering", 100)


@pytest.mark.parametrize("qty", ["0.001", "2"])
def test_what_is_left_after_a_part_was_closed_is_still_an_entry(qty):
    bench = Protecting("3")
    bench.fills_first("3")
    closed = fill("x", Side.SELL, qty, "42000", ts_ns=bench.runtime.ts())
    bench.later(100, lambda: bench.position.apply_fill(closed))
    assert bench.see(1) is None


# ---------------------------------------------------------------- what is not visible


def test_what_must_be_visible_and_is_not_is_looked_for_and_not_protected(bench):
    bench.watch.is_shown = False
    bench.fills_first()
    assert bench.see(2.2) is None
    assert bench.watch.looks == [500, 1000, 1500, 2000]
    assert bench.owner.asked == []
    bench.watch.is_shown = True
    bench.position.changed.set()
    bench.after(0.1)
    assert len(bench.owner.asked) == 1


def test_news_that_come_before_the_look_begin_its_pause_anew(bench):
    bench.watch.is_shown = False
    bench.fills_first()
    bench.later(300, bench.position.changed.set)
    bench.see(1)
    assert bench.watch.looks == [800]


def test_who_is_looked_for_by_another_is_not_looked_for_here(bench):
    bench.watch.is_shown = False
    bench.fills_first().entering.polled = True
    assert bench.see(2) is None
    assert bench.watch.looks == []


def test_nothing_is_looked_for_where_nothing_is_filled(bench):
    bench.watch.is_shown = False
    bench.see(2)
    assert bench.watch.looks == []


def test_nothing_is_looked_for_that_is_shown(bench):
    bench.fills_first()
    bench.see(2)
    assert bench.watch.looks == []


def test_one_that_is_settled_is_protected_although_it_is_not_shown(bench):
    bench.watch.is_shown = False
    bench.fills_first().entering.judge("")
    assert bench.see(1) == ("", 10)


@pytest.mark.parametrize(("deadline", "ends"), [(30, 25_000), (12, 7000)])
def test_one_that_is_not_visible_is_closed_five_seconds_before_the_deadline(deadline, ends):
    bench = Protecting(deadline=deadline)
    bench.watch.is_shown = False
    bench.fills_first()
    told = "not visible in time although executions prove a fill"
    assert bench.see(40) == (told, ends)


def test_one_that_is_shown_late_is_not_closed(bench):
    bench.watch.is_shown = False
    bench.fills_first()
    bench.later(24_900, lambda: setattr(bench.watch, "is_shown", True))
    assert bench.see(40) is None
    assert len(bench.owner.asked) == 1


# ---------------------------------------------------------------- what is only reported


def test_executions_of_a_reported_fill_are_waited_for_and_then_inferred(bench):
    bench.later(50, lambda: bench.reports(bench.children[0], FILLED, "0.005", "42000"))
    bench.see(1.3)
    assert bench.watch.infers == [350, 650, 950, 1250]
    assert bench.watch.looks == []


def test_news_that_tell_nothing_of_it_do_not_put_it_off(bench):
    bench.later(50, lambda: bench.reports(bench.children[0], FILLED, "0.005", "42000"))
    bench.later(200, bench.position.changed.set)
    bench.see(0.5)
    assert bench.watch.infers == [350]


def test_executions_that_come_in_time_need_nothing_in_their_place(bench):
    bench.later(50, lambda: bench.reports(bench.children[0], FILLED, "0.005", "42000"))
    bench.later(200, bench.fills_first)
    bench.see(3)
    assert bench.watch.infers == []
    assert bench.watch.looks == []
    assert [at for at, _ in bench.owner.asked] == [200]


def test_the_wait_for_the_executions_of_a_second_report_is_its_own(bench):
    bench.reports(bench.children[0], PARTLY, "0.002", "42000")
    bench.later(100, lambda: bench.fills_first("0.002"))
    bench.later(200, lambda: bench.reports(bench.children[0], FILLED, "0.005", "42000"))
    bench.see(0.55)
    assert bench.watch.infers == [500]


def test_what_is_reported_and_not_shown_is_first_inferred(bench):
    bench.watch.is_shown = False
    bench.fills_first("0.002")
    bench.reports(bench.children[0], FILLED, "0.005", "42000")
    bench.see(0.7)
    assert bench.watch.infers == [300, 600]
    assert bench.watch.looks == []


# ---------------------------------------------------------------- an entry under way


def test_an_entry_is_answered_once_all_are_sent_or_all_have_ended():
    bench = Protecting("0.002", "0.003")
    entering = bench.entering
    assert entering.lives
    assert not entering.answered
    bench.reports(bench.children[0], CANCELED)
    assert not entering.answered
    bench.reports(bench.children[1], CANCELED)
    assert entering.answered
    other = Protecting()
    other.entering.sent.set()
    assert other.entering.answered


def test_a_new_entry_is_neither_polled_nor_settled_nor_refused(bench):
    entering = bench.entering
    assert (entering.polled, entering.settled, entering.refused) == (False, False, "")
    assert entering.missing_ns is None
    bench.position.changed.clear()
    entering.judge("why")
    assert (entering.settled, entering.refused) == (True, "why")
    assert bench.position.changed.is_set
    bench.position.transition(ROLLBACK, "test")
    assert not entering.lives
