"""One round of the stop watch: what a read must show before anything is repaired."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import ONE_WAY, OrderStatus, PositionReport, PositionSide
from kernel.model.positions import PositionState
from kernel.model.units import SECOND, TsNs
from kernel.protect.stop_check import StopCheck
from tests.kernel.fakes import Rule
from tests.kernel.trade.owning import Owning
from tests.kernel.trade.parts import fill

D = Decimal
LAG = 5 * SECOND


class Read:
    """A complete bulk read, as it is told to be."""

    def __init__(self, requested_ns, conditional, row):
        self.requested_ns = requested_ns
        self.conditional = tuple(conditional)
        self.row = row

    def position(self, symbol, leg=ONE_WAY):
        return self.row if symbol == "BTCUSDT" and leg == ONE_WAY else None

    def stop(self, client_order_id, venue_order_id=""):
        for report in self.conditional:
            if client_order_id and report.client_order_id == client_order_id:
                return report
        return None


class Snapshots:
    """Answers with the read that it is told; fails so many times before."""

    def __init__(self):
        self.answer: Read | None = None
        self.fails = 0
        self.max_age_ns = 0

    async def read(self, venue, max_age_ns=0):
        self.max_age_ns = max_age_ns
        if self.fails:
            self.fails -= 1
            raise errors.OutcomeUnknown(venue, "snapshot", "timeout")
        return self.answer


class Checking(Owning):
    """One position with a confirmed stop, and rounds by hand."""

    def __post_init__(self):
        super().__post_init__()
        self.reader = Snapshots()
        self.check = StopCheck(self.services, self.reader, self.stops)
        self.position = self.unkept(venue=self.venue_names[0])
        (self.stop,) = self.position.stops.open()
        self.run(self.runtime.now() + 60 * SECOND)

    def look(self, conditional=None, *, full=False, row=None, requested_ns=None, seconds=0.0):
        """One round on such a read: the causes of the repairs that it began."""
        shown = [self.stop.order.report] if conditional is None else conditional
        now = self.runtime.now()
        self.reader.answer = Read(now if requested_ns is None else requested_ns, shown, row)
        known = len(self.kinds("stop.missing"))
        name = self.venue_names[0]
        self.ended = self.result(self.check.check(name, [self.position], full=full), seconds)
        return [one.cause for one in self.kinds("stop.missing")[known:]]

    def unlisted(self):
        return len(self.kinds("stop.unlisted"))

    def report(self, **changes):
        return msgspec.structs.replace(self.stop.order.report, **changes)


@pytest.fixture
def bench():
    made = Checking()
    yield made
    assert made.crashes == []


def row(bench, qty="0.005", **changes):
    given = {
        "symbol": "BTCUSDT", "side": PositionSide.LONG, "qty": D(qty),
        "updated_ns": bench.runtime.ts(),
    }  # fmt: skip
    return PositionReport(**(given | changes))


MISSING = ["missing from a bulk read"]
UNCOVERED = ["no confirmed stop covers the position"]
MISFIT = ["level or size of the stop are not what they should be"]


# ---------------------------------------------------------------- a bulk read


def test_a_read_that_shows_the_stop_repairs_nothing(bench):
    for full in (False, True, True):
        assert bench.look(full=full) == []
        assert bench.ended is True
    assert bench.reader.max_age_ns == 5 * SECOND


def test_a_read_without_value_is_said_and_changes_nothing(bench):
    bench.reader.fails = 1
    done = bench.result(bench.check.check("binance", [bench.position], full=False), 0)
    assert done is False
    (said,) = bench.kinds("stop.unchecked")
    assert said.venue == "binance"
    assert bench.position.stops.verified


def test_a_stop_that_is_not_shown_is_a_tombstone_and_joined_by_another(bench):
    assert bench.look([], seconds=1) == MISSING
    assert bench.stop.missing
    assert bench.unlisted() == 1
    assert bench.times("place_stop") == [0]


@pytest.mark.parametrize(("before", "repaired"), [(LAG, True), (LAG - 1, False)])
def test_what_was_confirmed_within_the_lag_before_the_read_is_let_alone(bench, before, repaired):
    asked = bench.position.stops.confirmed_ns + before
    bench.stop.sent_ns = 0
    assert bench.look([], requested_ns=asked) == (MISSING if repaired else [])


@pytest.mark.parametrize(("before", "repaired"), [(LAG, True), (LAG - 1, False)])
def test_a_stop_that_was_sent_within_the_lag_before_the_read_is_let_alone(bench, before, repaired):
    bench.stop.sent_ns = bench.runtime.now() - before
    assert bench.look([]) == (MISSING if repaired else [])
    assert bench.unlisted() == repaired


def test_a_tombstone_that_is_shown_again_is_live(bench):
    bench.stop.missing = True
    bench.position.changed.clear()
    assert bench.look() == []
    assert not bench.stop.missing
    assert bench.position.changed.is_set


def test_what_a_read_shows_otherwise_is_taken_over(bench):
    changed = bench.report(trigger_price=D(40000), updated_ns=TsNs(bench.runtime.ts()))
    assert bench.look([changed]) == [], "its keeper is woken"
    assert bench.stop.level == 40000


@pytest.mark.parametrize("what", ["closing", "fired", "rolled back"])
def test_a_position_in_other_hands_is_not_looked_at(bench, what):
    if what == "closing":
        bench.stops.closing = lambda position: True
    elif what == "fired":
        bench.position.stops.fired = bench.stop
    else:
        bench.position.row = msgspec.structs.replace(
            bench.position.row, state=PositionState.ROLLBACK
        )
    assert bench.look([]) == []
    assert bench.unlisted() == 0


@pytest.mark.parametrize("state", [PositionState.PENDING_SL, PositionState.ACTIVE])
def test_a_position_is_looked_at_from_its_first_stop_on(bench, state):
    bench.position.row = msgspec.structs.replace(bench.position.row, state=state)
    assert bench.look([]) == MISSING


def test_while_an_operation_on_the_stop_is_in_progress_it_is_not_looked_at(bench):
    async def hold():
        async with bench.position.stops.lock:
            await bench.runtime.sleep(SECOND)

    bench.spawn(hold())
    assert bench.look([]) == []


def test_one_repair_of_a_position_runs_at_a_time(bench):
    bench.venue.rules.append(Rule("place_stop", errors.Rejected, "-1"))
    assert bench.look([]) == MISSING
    assert bench.look([]) == []


def test_a_repair_that_ended_may_be_followed_by_another(bench):
    bench.look([], seconds=5)
    for stop in bench.position.stops.open():
        stop.missing = False
        stop.sent_ns = 0
    bench.venue.silent = True
    for stop in bench.venue.stops():
        bench.venue.end(stop.client_order_id, OrderStatus.CANCELED)
    bench.venue.silent = False
    for stop in bench.position.stops.open():
        bench.services.orders.conclude(stop.order, OrderStatus.CANCELED, "test")
    bench.stops.settle(bench.position)
    bench.run(bench.runtime.now() + 20 * SECOND)
    assert bench.look([], seconds=1) == UNCOVERED
    assert len(bench.times("place_stop")) == 1


# ---------------------------------------------------------------- a list that lies


def test_where_the_list_lied_lately_the_stop_is_asked_for_by_its_id(bench):
    bench.position.stops.list_lied_ns = bench.runtime.now()
    assert bench.look([], seconds=1) == []
    assert len(bench.times("query_order")) == 1
    assert bench.times("place_stop") == []
    assert not bench.stop.missing
    assert bench.position.stops.list_lied_ns > bench.began, "proven again"


@pytest.mark.parametrize(("ago", "asked"), [(600 * SECOND - 1, True), (600 * SECOND, False)])
def test_a_list_is_distrusted_for_ten_minutes(bench, ago, asked):
    bench.run(700 * SECOND)
    bench.position.stops.list_lied_ns = bench.runtime.now() - ago
    assert bench.look([]) == ([] if asked else MISSING)


def test_a_stop_that_is_not_to_be_seen_by_its_id_either_is_missing(bench):
    bench.position.stops.list_lied_ns = bench.runtime.now()
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013", times=1))
    bench.look([], seconds=1)
    assert bench.stop.missing
    assert len(bench.times("place_stop")) == 1


@pytest.mark.parametrize("answer", ["no value", "ended"])
def test_a_look_by_id_that_proves_nothing_changes_nothing(bench, answer):
    bench.position.stops.list_lied_ns = lied = bench.runtime.now()
    if answer == "ended":
        bench.venue.silent = True
        bench.venue.end(bench.stop.client_order_id, OrderStatus.CANCELED)
    else:
        bench.venue.rules.append(Rule("query_order", errors.OutcomeUnknown))
    bench.look([], seconds=1)
    assert not bench.stop.missing
    assert bench.position.stops.list_lied_ns == lied
    bench.venue.rules.clear()
    bench.venue.silent = False
    if answer == "no value":
        bench.look([], seconds=1)
        assert len(bench.times("query_order")) == 1, "asked for again"


def test_one_question_about_a_position_is_asked_at_a_time(bench):
    bench.position.stops.list_lied_ns = bench.runtime.now()
    bench.venue.rules.append(Rule("query_order", delay_ns=SECOND))
    bench.look([])
    bench.look([], seconds=0.5)
    assert len(bench.venue.requests("query_order")) == 1


# ---------------------------------------------------------------- a full verification


def test_a_larger_position_is_a_matter_of_the_full_verification(bench):
    larger = row(bench, "0.009")
    assert bench.look(row=larger) == []
    assert bench.look(row=larger, full=True) == MISFIT


def test_the_row_of_the_other_side_is_not_of_this_position(bench):
    other = row(bench, "0.009", side=PositionSide.SHORT)
    assert bench.look(row=other, full=True) == []
    assert bench.position.report is None or bench.position.report.side is PositionSide.LONG


def test_without_a_confirmed_stop_every_round_repairs(bench):
    bench.position.stops.expose(bench.runtime.now())
    assert bench.look() == []
    bench.stop.order.report = bench.report(reduce_only=False)
    assert bench.look() == UNCOVERED


def test_what_passed_is_verified_again_when_anything_of_it_changed(bench):
    assert bench.look(full=True) == []
    stands = []
    original = bench.stops.stands

    def noted(position):
        stands.append(position.id)
        return original(position)

    bench.stops.stands = noted
    assert bench.look(full=True) == []
    assert stands == [], "all is as it was when it last passed"
    changes = (
        lambda: bench.position.update(generation=99),
        lambda: bench.position.hear(row(bench, liquidation_price=D(100))),
        lambda: bench.position.apply_fill(fill("f", bench.position.side.entry_side, "0", "42000")),
        lambda: setattr(bench.position.stops, "confirmed", D(41161)),
        lambda: setattr(bench.position.stops, "exposed_since_ns", 5),
    )
    for number, change in enumerate(changes, 1):
        change()
        bench.look(full=True)
        assert len(stands) == number


def test_what_the_venue_holds_of_a_stop_is_looked_at_when_it_changed(bench):
    bench.look(full=True)
    bench.stop.order.report = bench.report(trigger_price=D(40000))
    assert bench.look([bench.stop.order.report], full=True) == UNCOVERED


def test_a_fault_is_told_again_until_it_is_mended(bench):
    bench.look(full=True)
    bench.stops.stands = lambda position: False
    bench.position.update(generation=99)
    assert bench.look(full=True) == MISFIT
    assert bench.look(full=True) == MISFIT


# ---------------------------------------------------------------- the rhythm


def rhythm(**settings):
    bench = Checking(Settings.load(settings))
    bench.stops.watched = lambda venue: [bench.position]  # type: ignore[method-assign]
    rounds = []
    original = bench.check.check

    async def noted(venue, watched, *, full):
        bench.reader.answer = Read(bench.runtime.now(), [bench.stop.order.report], None)
        rounds.append(((bench.runtime.now() - began) // SECOND, full))
        return await original(venue, watched, full=full)

    bench.check.check = noted  # type: ignore[method-assign]
    began = bench.runtime.now()
    bench.services.supervise("check", bench.check.run)
    return bench, began, rounds


def test_a_round_comes_every_fifteen_seconds_and_each_fourth_is_a_full_one():
    bench, began, rounds = rhythm()
    bench.run(began + 125 * SECOND)
    assert rounds == [(at, at % 60 == 0) for at in range(15, 125, 15)]


def test_a_full_verification_that_could_not_be_read_is_made_up_for_in_the_next_round():
    bench, began, rounds = rhythm()
    bench.run(began + 50 * SECOND)
    bench.reader.fails = 1
    bench.run(began + 80 * SECOND)
    assert rounds[-2:] == [(60, True), (75, True)]


@pytest.mark.parametrize(
    ("name", "rounds_of"),
    [
        ("PROTECTION_BULK_SECONDS", []),
        ("STOP_CHECK_INTERVAL_SECONDS", [(at, False) for at in range(15, 125, 15)]),
    ],
)
def test_zero_switches_rounds_or_full_verifications_off(name, rounds_of):
    bench, began, rounds = rhythm(**{name: "0"})
    bench.run(began + 125 * SECOND)
    assert rounds == rounds_of
    assert bench.crashes == []


def test_rounds_end_with_the_last_position_and_begin_with_the_next():
    bench, began, rounds = rhythm()
    bench.run(began + 20 * SECOND)
    bench.stops.watched = lambda venue: []
    bench.run(began + 100 * SECOND)
    assert len(rounds) == 1
    bench.stops.watched = lambda venue: [bench.position]
    bench.stops.kept.set()
    bench.run(began + 130 * SECOND)
    assert rounds[1:] == [(115, False), (130, False)]


def test_the_rounds_of_a_venue_begin_with_its_own_position():
    """The wake-up is one for all venues."""
    bench, began, rounds = rhythm()
    bench.stops.watched = lambda venue: []
    bench.run(began + 40 * SECOND)
    bench.stops.kept.set()
    bench.run(began + 50 * SECOND)
    bench.stops.watched = lambda venue: [bench.position]
    bench.stops.kept.set()
    bench.run(began + 70 * SECOND)
    assert rounds == [(65, False)]
