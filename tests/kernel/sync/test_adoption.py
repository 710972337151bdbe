"""Positions that nobody here knows: guarded at once, identified by proof, handled by policy."""

from dataclasses import dataclass
from itertools import pairwise

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.ids import Leg
from kernel.model.orders import PositionSide
from kernel.model.positions import CloseReason, Origin, PositionState
from kernel.model.units import MINUTE, SECOND
from kernel.sync.adoption import Adoption
from tests.kernel.fakes import WALL, D, Rule
from tests.kernel.sync.whole import SYMBOL, Whole, execution, own_id

ENTRY = own_id(Leg.ENTRY, minute=28_333_300)


@dataclass
class Bench(Whole):
    """A venue with a position that is not in the books."""

    policy: str = "protect"

    def __post_init__(self):
        self.settings = Settings.load({"UNTRACKED_POLICY": self.policy})
        super().__post_init__()
        self.adoption = Adoption(self.services, self.stops, self.exits)
        self.after(5)
        self.prices.push(SYMBOL, "42000")
        self.venue.open(SYMBOL, PositionSide.LONG, "0.005", "42000")
        self.venue.fills = [execution(1, client_order_id="web_7")]
        self.failed = []

    def own(self):
        """It turns out to be ours."""
        self.venue.fills = [execution(1, client_order_id=ENTRY, fee=D("0.1"))]
        return self

    def report(self, **changes):
        return msgspec.structs.replace(self.venue.position_report(SYMBOL), **changes)

    def _do(self, coroutine, seconds):
        async def act():
            try:
                return await coroutine
            except errors.VenueError as error:
                self.failed.append(error)

        task = self.spawn(act())
        self.after(seconds)
        return task

    def guard(self, seconds=3, **changes):
        report = self.report(**changes)
        return self._do(self.adoption.guard("binance", report, "one read"), seconds)

    def take(self, seconds=3):
        return self._do(self.adoption.take("binance", self.report(), "two reads"), seconds)

    def refuse_stops(self, times=1_000_000):
        self.venue.rules.append(Rule("place_stop", errors.Rejected, times=times))

    def told(self):
        return [
            (one.values["policy"], one.values["ours"]) for one in self.kinds("position.untracked")
        ]

    @property
    def held(self):
        (position,) = self.services.book.open()
        return position


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


def begun(policy):
    return Bench(policy=policy)


# ---------------------------------------------------------------- guarded


def test_one_that_nobody_knows_is_in_the_book_as_foreign_with_a_stop(bench):
    begun_ns = bench.runtime.ts()
    position = bench.guard().result()
    assert position is bench.held
    assert position.id == f"binance:BTCUSDT:1:u{(begun_ns + 40_000_000) // 1_000_000}"
    row = position.row
    assert (position.state, row.origin) == (PositionState.ACTIVE, Origin.FOREIGN)
    assert (row.side, row.symbol, row.venue, row.hedge_leg) == (
        PositionSide.LONG, SYMBOL, "binance", "BOTH")  # fmt: skip
    assert (row.intended_qty, row.filled_qty, row.entry_price) == (D("0.005"), D("0.005"), 42000)
    assert (row.opened_ns, row.first_fill_ns) == (begun_ns + 40_000_000,) * 2
    assert (row.wave_ns, position.report.qty) == (0, D("0.005"))
    assert len(bench.venue.stops()) == 1
    (found,) = bench.kinds("position.found")
    assert (found.cause, found.venue, found.symbol) == ("one read", "binance", SYMBOL)
    assert found.position_id == position.id
    stored = [one.state for one in bench.store.rows if hasattr(one, "origin")]
    assert (stored[0], stored[-1]) == (PositionState.PENDING_SL, PositionState.ACTIVE)


def test_what_the_venue_says_of_its_opening_is_kept(bench):
    position = bench.guard(opened_ns=WALL - MINUTE).result()
    assert position.row.first_fill_ns == WALL - MINUTE


def test_the_minute_of_an_entry_of_ours_tells_which_stops_are_its_own(bench):
    assert bench.own().guard().result().row.wave_ns == 28_333_300 * MINUTE


def test_two_legs_found_at_one_instant_have_two_ids(bench):
    position = bench.guard(hedge_leg="LONG").result()
    assert position.id.endswith(":LONG")
    assert position.leg == "LONG"


def test_one_that_is_known_is_not_taken_again(bench):
    first = bench.guard().result()
    assert bench.guard().result() is None
    assert bench.held is first


def test_of_two_that_guard_at_once_one_takes_it(bench):
    tasks = [
        bench.spawn(bench.adoption.guard("binance", bench.report(), "one read")) for _ in range(2)
    ]
    bench.after(3)
    assert [task.result() for task in tasks] == [bench.held, None]


def test_protection_does_not_wait_for_executions_that_cannot_be_read(bench):
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown))
    position = bench.guard().result()
    assert position.state is PositionState.ACTIVE
    assert position.row.wave_ns == 0


def test_where_policy_is_to_tell_nothing_is_guarded():
    bench = begun("alert")
    assert bench.guard().result() is None
    assert bench.asked() == []
    assert bench.services.book.open() == []


def test_a_foreign_one_is_tried_until_its_stop_stands_and_never_closed(bench):
    bench.refuse_stops()
    bench.guard(seconds=180)
    assert bench.held.state is PositionState.PENDING_SL
    assert bench.asked("submit") == []
    bench.venue.rules.clear()
    bench.after(45)
    assert bench.held.state is PositionState.ACTIVE
    assert len(bench.venue.stops()) == 1


def test_efforts_for_a_foreign_one_are_ten_seconds_apart(bench):
    bench.refuse_stops()
    bench.guard(seconds=300)
    times = [at for at, _ in bench.asked("place_stop")]
    gaps = [b - a for a, b in pairwise(times) if b - a >= 10 * SECOND]
    assert len(gaps) >= 4
    assert max(gaps) < 13 * SECOND


def test_a_foreign_one_that_is_proven_gone_before_its_stop_stands_is_over(bench):
    bench.refuse_stops()
    task = bench.guard(seconds=1)
    position = bench.held
    del bench.venue.held[SYMBOL]
    while not position.state.terminal:
        bench.after(0.1)
    assert task.done
    assert position.row.close_reason == "EXTERNAL"
    assert task.result() is position
    assert bench.asked("submit") == []


def test_one_of_ours_that_cannot_be_protected_is_closed_and_rolled_back(bench):
    bench.own().refuse_stops()
    task = bench.guard(seconds=120)
    assert bench.services.book.open() == []
    position = task.result()
    assert position.state is PositionState.ROLLED_BACK
    assert position.row.close_reason == "UNPROTECTED"
    assert len(bench.asked("submit")) == 1
    assert SYMBOL not in bench.venue.held
    assert bench.store.rows[-1].state is PositionState.ROLLED_BACK


def test_a_sync_does_not_wait_for_the_close_of_one_that_cannot_be_protected(bench):
    bench.own().refuse_stops()
    bench.venue.rules.append(Rule("submit", errors.Rejected))
    task = bench.guard(seconds=60)
    assert task.done
    assert not task.result().state.terminal
    bench.venue.rules.clear()
    bench.after(60)
    assert task.result().state is PositionState.ROLLED_BACK


def test_a_foreign_one_that_nothing_explains_is_over_only_after_another_effort(bench):
    bench.refuse_stops()
    bench.guard(seconds=0.2)
    position = bench.held
    del bench.venue.held[SYMBOL]
    while not position.state.terminal:
        bench.after(0.1)
    placed = [at for at, _ in bench.asked("place_stop")]
    assert bench.runtime.now() - placed[0] > 10 * SECOND
    assert len(bench.alerts("exit.unexplained")) == 1


@pytest.mark.parametrize("policy", ["protect", "alert"])
def test_one_that_was_found_is_durable_before_its_stop_is_asked_for(policy):
    bench = begun(policy).own()
    bench.take(seconds=0.041)
    stored = [one.state for one in bench.store.rows if hasattr(one, "origin")]
    assert stored == [PositionState.PENDING_SL]
    assert bench.asked("place_stop") == []


def test_should_its_protection_crash_the_position_is_handed_to_the_last_resort(bench):
    crashed = []
    bench.services.on_crash = lambda task, error, n, position: crashed.append((task, position))

    def broken(position):
        raise ValueError("a mistake")

    bench.stops.protect = broken
    bench.guard(seconds=1)
    assert crashed[0] == (f"adopt {bench.held.id}", bench.held)


def test_should_its_close_crash_the_position_is_handed_to_the_last_resort():
    bench = begun("protect").own()
    bench.refuse_stops()
    crashed = []
    bench.services.on_crash = lambda task, error, n, position: crashed.append((task, position))

    def broken(position, reason, cause):
        raise ValueError("a mistake")

    bench.exits.close = broken
    bench.guard(seconds=60)
    assert (f"end {bench.held.id}", bench.held) in crashed


def test_what_was_placed_in_vain_is_tidied_after_each_effort(bench):
    bench.refuse_stops()
    tidied = []
    tidy = bench.stops.tidy

    async def noted(position):
        tidied.append((bench.runtime.now(), len(bench.asked("place_stop"))))
        await tidy(position)

    bench.stops.tidy = noted
    bench.guard(seconds=180)
    efforts = dict(tidied)
    assert len(efforts) >= 4
    assert sorted(efforts.values()) == list(efforts.values())
    assert len(dict.fromkeys(efforts.values())) == len(efforts), "one after each effort"


@pytest.mark.parametrize("ours", [True, False])
def test_one_that_was_found_before_a_restart_gets_its_first_stop(bench, ours):
    origin = Origin.OURS if ours else Origin.FOREIGN
    position = bench.filled(origin=origin)
    bench._do(bench.adoption.protect(position), 5)
    assert position.state is PositionState.ACTIVE
    assert len(bench.venue.stops()) == 1


@pytest.mark.parametrize("ours", [True, False])
def test_only_one_of_ours_is_closed_where_its_first_stop_cannot_be_placed(bench, ours):
    position = bench.filled(origin=Origin.OURS if ours else Origin.FOREIGN)
    bench.refuse_stops()
    bench._do(bench.adoption.protect(position), 120)
    assert position.state is (PositionState.ROLLED_BACK if ours else PositionState.PENDING_SL)


def test_one_that_somebody_ended_before_its_close_is_not_ended_again(bench):
    bench.own().refuse_stops()

    async def over(position, reason, cause):
        position.transition(PositionState.CLOSED, "by a sync")
        return True

    bench.exits.close = over
    bench.guard(seconds=120)
    assert bench.services.book.open() == []
    assert bench.kinds("position.state")[-1].cause == "by a sync"


def test_a_close_that_comes_while_the_stop_is_placed_wins(bench):
    bench.venue.rules.append(Rule("place_stop", delay_ns=SECOND, times=1))
    bench.guard(seconds=0.5)
    position = bench.held
    bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "by a person"))
    bench.after(60)
    assert position.state is PositionState.ROLLED_BACK


# ---------------------------------------------------------------- identified


def test_a_proven_foreign_one_is_told_of_and_only_protected(bench):
    position = bench.take().result()
    assert position.row.origin is Origin.FOREIGN
    assert bench.told() == [("protect", "False")]
    (told,) = bench.kinds("position.untracked")
    assert (told.venue, told.symbol, told.cause) == ("binance", SYMBOL, "two reads")
    assert [(one.severity, one.venue) for one in bench.alerts("position.untracked")] == [
        ("ERROR", "binance")
    ]
    assert not bench.adoption.is_unproven(position)
    assert bench.asked("submit") == []


def test_one_that_is_guarded_and_not_identified_is_unproven_until_it_is(bench):
    position = bench.guard().result()
    assert bench.adoption.is_unproven(position)
    bench._do(bench.adoption.identify(position, "two reads"), 1)
    assert not bench.adoption.is_unproven(position)
    bench.adoption.forget(position)
    assert bench.adoption.is_unproven(position)
    bench.adoption.forget(position)


def test_one_of_ours_is_never_unproven(bench):
    assert not bench.adoption.is_unproven(bench.filled())


def test_a_proven_one_of_ours_is_adopted_with_its_entry_and_trailed(bench):
    position = bench.own().take().result()
    assert position.row.origin is Origin.OURS
    assert bench.told() == [("adopt", "True")]
    assert [one.severity for one in bench.alerts("position.untracked")] == ["WARNING"]
    assert list(position.fills) == ["t1"]
    assert (position.row.fees, position.qty) == (D("0.1"), D("0.005"))
    assert any(getattr(one, "origin", "") is Origin.OURS for one in bench.store.rows)
    bench.price("45000")
    bench.after(5)
    assert len(bench.kinds("trailing.activated")) == 1


def test_by_policy_a_foreign_one_is_adopted():
    bench = begun("adopt")
    assert bench.take().result().row.origin is Origin.OURS
    assert bench.told() == [("adopt", "False")]
    stored = [one.origin for one in bench.store.rows if hasattr(one, "origin")]
    assert stored[-1] is Origin.OURS


def test_that_it_was_adopted_is_durable_whoever_looks_after_it_then():
    bench = begun("adopt")
    bench.stops.adopted = lambda position: None
    bench.take()
    bench.after(1)
    stored = [one.origin for one in bench.store.rows if hasattr(one, "origin")]
    assert stored[-1] is Origin.OURS


def test_by_policy_a_foreign_one_is_closed():
    bench = begun("close")
    position = bench.take(10).result()
    assert (position.state, position.row.close_reason) == (PositionState.CLOSED, "OPERATOR")
    assert bench.told() == [("close", "False")]
    (sent,) = bench.asked("submit")
    assert sent[1].reduce_only
    (announced,) = [
        one for one in bench.kinds("position.state") if one.values["after"] == "CLOSING"
    ]
    assert announced.cause == "two reads: policy close"


def test_by_policy_a_foreign_one_is_only_told_of():
    bench = begun("alert")
    assert bench.take().result() is None
    assert bench.told() == [("alert", "False")]
    assert bench.services.book.open() == []
    assert bench.asked("place_stop") == []


def test_whatever_the_policy_one_of_ours_is_adopted():
    bench = begun("alert").own()
    position = bench.take().result()
    assert (position.row.origin, position.state) == (Origin.OURS, PositionState.ACTIVE)
    assert bench.told() == [("adopt", "True")]
    assert bench.take().result() is position
    assert bench.held is position


def test_one_of_ours_that_cannot_be_protected_is_closed_by_any_policy():
    bench = begun("alert").own()
    bench.refuse_stops()
    position = bench.take(120).result()
    assert position.state is PositionState.ROLLED_BACK
    assert bench.told() == []


def test_where_its_executions_cannot_be_read_it_stays_unproven(bench):
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown))
    position = bench.take().result()
    assert bench.adoption.is_unproven(position)
    (told,) = bench.kinds("position.unidentified")
    assert (told.venue, told.symbol, told.position_id) == ("binance", SYMBOL, position.id)
    assert bench.told() == []


def test_where_policy_is_to_tell_and_nobody_knows_whose_it_is_that_is_said():
    bench = begun("alert")
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown))
    bench.take()
    assert len(bench.failed) == 1
    assert bench.told() == []


def test_one_that_is_known_already_is_not_taken_a_second_time(bench):
    bench.guard()
    assert bench.take().result() is None
    assert bench.told() == []


def test_one_that_ended_before_its_stop_stood_is_not_identified(bench):
    bench.refuse_stops()
    task = bench.take(seconds=1)
    del bench.venue.held[SYMBOL]
    bench.after(200)
    assert task.result().state.terminal
    assert bench.told() == []


def test_one_of_which_the_venue_said_nothing_is_not_identified(bench):
    position = bench.guard().result()
    position.report = None
    asked = len(bench.asked())
    bench._do(bench.adoption.identify(position, "two reads"), 1)
    assert len(bench.asked()) == asked
    assert bench.adoption.is_unproven(position)
