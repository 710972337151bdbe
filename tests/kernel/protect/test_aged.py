"""Positions that are too old: who is looked at, when, and what is done."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.messages import QuoteRead
from kernel.model.orders import FillKind, OrderType, PositionReport, PositionSide
from kernel.model.positions import CloseReason, Origin, PositionState, TrailingState
from kernel.model.units import HOUR, MINUTE, SECOND, ZERO, TsNs
from kernel.protect.aged import AgedPositions, hours
from kernel.trade.protective_set import StopOrder
from tests.kernel.fakes import Bench, Rule
from tests.kernel.trade.parts import fill

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
SETTINGS = {
    "MAX_POSITION_AGE_HOURS": "3", "AGED_GRACE_PERIOD_HOURS": "8",
    "AGED_LOSS_STEP_PERCENT": "0.5", "AGED_MAX_LOSS_PERCENT": "10",
    "AGED_ACCELERATION_FACTOR": "1", "AGED_CHECK_INTERVAL_MINUTES": "60",
}  # fmt: skip


class Aging(Bench):
    """A protected position at 42000, as old as is wished; exits rest."""

    def __init__(self, side=LONG, **settings):
        super().__init__(Settings.load(SETTINGS | settings))
        self.protection()
        self.aged = AgedPositions(self.services, self.stops, self.exits)
        self.run(100 * SECOND)
        self.position = self.protected(side=side)
        self.venue.rests = (OrderType.LIMIT,)
        self.quote("41800", "41810")

    def quote(self, bid, ask, age_ns=0):
        self.prices.quote = lambda venue, symbol: QuoteRead(  # type: ignore[method-assign]
            D(bid), D(ask), D(1), D(1), TsNs(self.runtime.ts() - age_ns)
        )

    def old(self, age_hours):
        """By the word of the venue."""
        self.position.report = PositionReport(
            symbol="BTCUSDT", side=self.position.side, qty=self.position.qty,
            opened_ns=TsNs(self.runtime.ts() - int(D(str(age_hours)) * HOUR)),
            updated_ns=self.runtime.ts(),
        )  # fmt: skip

    def look(self, age_hours=None, seconds=1.0):
        """One check of a position of such an age: what was decided."""
        if age_hours is not None:
            self.old(age_hours)
        known = len(self.decisions)
        self.aged.check("binance")
        self.run(self.runtime.now() + int(seconds * SECOND))
        return [one.kind for one in self.decisions[known:] if one.kind.startswith("aged.")]

    def limits(self):
        return [
            str(one.price) for _, one in self.venue.requests("submit")
            if one.order_type is OrderType.LIMIT
        ]  # fmt: skip

    def closed(self):
        return self.position.state is PositionState.CLOSED


@pytest.fixture
def bench():
    made: Any = Aging()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- who is looked at


def test_a_position_is_aged_when_it_is_older_than_its_age(bench):
    assert bench.look(3) == []
    bench.old(3)
    bench.position.report = msgspec.structs.replace(
        bench.position.report, opened_ns=TsNs(bench.position.report.opened_ns - 1)
    )
    assert bench.look() == ["aged.found"]


@pytest.mark.parametrize(
    "why", ["foreign", "frozen", "stopping", "not active", "flat", "fired", "closing", "reduced"]
)
def test_what_is_not_free_is_let_alone(bench, why):
    position = bench.position
    if why == "foreign":
        position.update(origin=Origin.FOREIGN)
    elif why == "frozen":
        position.frozen = "test"
    elif why == "stopping":
        bench.services.stopping = True
    elif why == "not active":
        position.row = msgspec.structs.replace(position.row, state=PositionState.PENDING_SL)
    elif why == "flat":
        position.row = msgspec.structs.replace(position.row, filled_qty=ZERO)
        assert position.qty == 0
    elif why == "reduced":
        bench.exits.in_progress = lambda position: True
    elif why == "fired":
        position.stops.fired = StopOrder(position.stops.open()[0].order, bench.runtime.now())
    else:
        bench.venue.rules.append(Rule("submit", errors.Rejected, "-1"))
        bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "test"))
        bench.run(bench.runtime.now() + SECOND)
    assert bench.look(99, seconds=0) == []


def test_a_position_is_in_hand_once(bench):
    bench.old(4)
    bench.aged.check("binance")
    assert bench.look() == ["aged.found"]
    assert bench.limits() == ["42042"]
    assert bench.look() == ["aged.found"], "looked at again, later"


def test_positions_of_another_venue_are_not_looked_at(bench):
    bench.old(4)
    bench.aged.check("bybit")
    bench.run(bench.runtime.now() + SECOND)
    assert bench.kinds("aged.found") == []


# ---------------------------------------------------------------- its age


def test_without_the_venues_word_the_first_opening_execution_tells_the_age(bench):
    position = bench.position
    position.report = None
    (entry,) = position.fills.values()
    bench.run(bench.runtime.now() + 3 * HOUR)
    early = msgspec.structs.replace(entry, trade_id="x", ts_ns=TsNs(entry.ts_ns + HOUR))
    position.apply_fill(early)
    for strange in (
        fill("c", position.side.exit_side, "0.001", "42000", ts_ns=TsNs(1)),
        fill("f", position.side.entry_side, "0", "42000", ts_ns=TsNs(1), kind=FillKind.FUNDING),
    ):
        position.apply_fill(strange)
    assert bench.look() == ["aged.found"]
    (said,) = bench.kinds("aged.found")
    assert said.values["hours"] == "3.00"


def test_where_the_venue_tells_no_time_the_first_opening_execution_does(bench):
    bench.run(bench.runtime.now() + 4 * HOUR)
    bench.old(0)
    bench.position.report = msgspec.structs.replace(bench.position.report, opened_ns=TsNs(0))
    assert bench.look() == ["aged.found"]


@pytest.mark.parametrize("word", ["none", "of the other side", "without a time"])
def test_an_age_that_nothing_tells_is_told_and_counts_as_young(bench, word):
    position = bench.position
    bench.old(99)
    if word == "none":
        position.report = None
    elif word == "of the other side":
        position.report = msgspec.structs.replace(position.report, side=SHORT)
    else:
        position.report = msgspec.structs.replace(position.report, opened_ns=TsNs(0))
    position.fills.clear()
    assert bench.look() == ["aged.unknown"]
    (alert,) = bench.alerts("aged.unknown")
    assert (alert.severity, alert.symbol) == ("WARNING", "BTCUSDT")
    assert "age" in alert.text


def test_without_an_entry_price_there_is_no_target(bench):
    bench.position.update(entry_price=ZERO)
    assert bench.look(99) == ["aged.unknown"]
    assert "entry" in bench.alerts("aged.unknown")[0].text


@pytest.mark.parametrize(
    ("age", "words"), [(0, "0.00"), (HOUR, "1.00"), (HOUR // 2, "0.50"), (25 * HOUR - 1, "24.99")]
)
def test_an_age_is_told_in_hours_cut_off_at_hundredths(age, words):
    assert hours(age) == words


# ---------------------------------------------------------------- what is done


def test_in_the_grace_period_an_exit_rests_where_it_costs_nothing(bench):
    assert bench.look(4) == ["aged.found"]
    assert bench.limits() == ["42042"]
    (said,) = bench.kinds("aged.found")
    assert (said.values["hours"], said.values["target"]) == ("4.00", "42042")
    assert (said.values["tolerance"], said.values["market"]) == ("0", "41800")
    (alert,) = bench.alerts("aged.found")
    assert alert.severity == "WARNING"
    assert alert.text == "4.00 h old, to be closed at 42042 or better"
    assert bench.kinds("exit.submitted")[-1].cause == "aged, without a loss"
    assert bench.position.state is PositionState.ACTIVE


def test_after_it_the_tolerated_loss_grows_with_each_hour(bench):
    bench.quote("41200", "41210")
    bench.look(13)
    assert bench.kinds("exit.submitted")[-1].cause == "aged"
    assert bench.limits() == ["41580"]
    assert bench.kinds("aged.found")[-1].values["tolerance"] == "1"


def test_the_grace_ends_with_its_last_hour(bench):
    """At that very moment a loss counts as allowed, though the tolerance is nothing yet."""
    bench.look(11)
    assert bench.kinds("exit.submitted")[-1].cause == "aged"
    assert bench.limits() == ["42000"]


@pytest.mark.parametrize(
    ("side", "quoted"), [(LONG, ("42042", "42100")), (SHORT, ("41900", "41958"))]
)
def test_a_market_at_the_target_closes_at_once(side, quoted):
    bench: Any = Aging(side)
    bench.quote(*quoted)
    bench.look(4, seconds=5)
    assert bench.closed()
    assert bench.position.row.close_reason == CloseReason.AGED
    assert bench.limits() == []


@pytest.mark.parametrize(
    ("side", "quoted"), [(LONG, ("42041", "42100")), (SHORT, ("41900", "41959"))]
)
def test_the_side_of_the_book_that_a_close_would_meet_counts(side, quoted):
    bench: Any = Aging(side)
    bench.quote(*quoted)
    bench.look(4, seconds=5)
    assert not bench.closed()


@pytest.mark.parametrize(("age", "closed"), [(10 * SECOND, True), (10 * SECOND + 1, False)])
def test_a_quote_counts_for_ten_seconds_then_a_fresh_price(bench, age, closed):
    bench.quote("42042", "42100", age)
    bench.look(4, seconds=5)
    assert bench.closed() is closed


def test_a_fresh_price_at_the_target_closes(bench):
    bench.quote("1", "2", age_ns=MINUTE)
    bench.price("42042")
    bench.look(4, seconds=5)
    assert bench.closed()


@pytest.mark.parametrize(("side", "limit"), [(LONG, "42042"), (SHORT, "41958")])
def test_without_any_price_the_exit_rests(side, limit):
    bench: Any = Aging(side)
    bench.quote("0", "0")
    bench.look(4)
    assert bench.limits() == [limit]


@pytest.mark.parametrize("respected", [True, False])
def test_an_active_trailing_stop_at_the_target_or_better_is_left_to_it(respected):
    bench: Any = Aging(AGED_RESPECT_TRAILING="true" if respected else "false")
    bench.look(4)
    position = bench.position
    position.update(trailing=TrailingState.ACTIVE)
    bench.price("42300")
    bench.quote("42000", "42010")
    task = bench.spawn(bench.stops.tighten(position, D(42042), "test"))
    bench.run(bench.runtime.now() + 2 * SECOND)
    assert task.result() is True
    assert bench.look(4, seconds=3) == (["aged.trailed"] if respected else ["aged.found"])
    assert (bench.exits.resting.of(position) is None) is respected


@pytest.mark.parametrize("why", ["waiting", "looser", "uncovered"])
def test_what_trailing_does_not_hold_at_the_target_is_not_left_to_it(bench, why):
    position = bench.position
    position.row = msgspec.structs.replace(
        position.row,
        trailing=TrailingState.WAITING if why == "waiting" else TrailingState.ACTIVE,
        protected_level=D(41160) if why == "looser" else D(42042),
    )
    if why != "uncovered":
        bench.stops.covered = lambda position: True
    assert bench.look(4, seconds=0) == ["aged.found"]


# ---------------------------------------------------------------- the end of patience


def test_one_and_the_same_exit_unfilled_at_two_checks_past_the_grace_is_given_up():
    bench: Any = Aging(AGED_LOSS_STEP_PERCENT="0")
    bench.look(12)
    assert bench.limits() == ["42000"]
    bench.run(bench.runtime.now() + HOUR)
    bench.look(13)
    assert bench.position.state is PositionState.ACTIVE, "found unfilled for the first time"
    bench.run(bench.runtime.now() + HOUR)
    bench.look(14, seconds=10)
    assert bench.closed()
    (alert,) = bench.alerts("aged.emergency")
    assert alert.severity == "CRITICAL"
    assert "unfilled at two checks" in alert.text
    (withdrawn,) = bench.kinds("exit.withdrawn")
    assert withdrawn.cause in alert.text
    assert bench.position.row.close_reason == CloseReason.AGED
    cancelled_ns, _ = bench.venue.requests("cancel")[0]
    closed_ns, closing = bench.venue.requests("submit")[-1]
    assert closing.order_type is OrderType.MARKET
    assert cancelled_ns < closed_ns, "together they would close more than there is"


def test_at_the_cap_of_the_loss_it_is_given_up_at_the_next_check(bench):
    bench.look(60, seconds=10)
    assert bench.closed()
    assert "cap" in bench.alerts("aged.emergency")[0].text
    assert bench.limits() == []


def refuse(bench, error=errors.Rejected, times=1_000_000):
    bench.venue.rules.append(
        Rule("submit", error, "-1", times=times, when=lambda one: one.order_type.value == "LIMIT")
    )


@pytest.mark.parametrize("age", [11, 12])
def test_exits_that_are_refused_at_two_checks_in_a_row_past_the_grace_are_given_up(bench, age):
    bench.quote("41200", "41210")
    refuse(bench)
    bench.look(age)
    assert not bench.closed()
    bench.look(age, seconds=10)
    assert bench.closed()
    assert "refused at two checks" in bench.alerts("aged.emergency")[0].text
    assert bench.aged._refusals == {}, "nothing is kept of a position that ended"


def test_within_the_grace_refusals_are_not_counted(bench):
    refuse(bench)
    for _ in range(4):
        bench.look(10)
    assert not bench.closed()
    assert bench.alerts("aged.emergency") == []


def test_an_exit_that_rests_between_two_refusals_begins_to_count_anew(bench):
    bench.quote("41200", "41210")
    refuse(bench, times=1)
    bench.look(12)
    bench.look(12)
    assert len(bench.limits()) == 2
    refuse(bench, times=1)
    bench.look(14)
    assert not bench.closed()


def test_what_would_not_reduce_is_read_and_closed(bench):
    refuse(bench, errors.ReduceOnlyRefused, times=1)
    bench.look(4, seconds=10)
    assert bench.closed()
    assert bench.position.row.close_reason == CloseReason.AGED
    sent = [type(request).__name__ for _, request in bench.venue.sent]
    refused = sent.index("SubmitOrder")
    assert "QueryPositions" in sent[refused : sent.index("SubmitOrder", refused + 1)]


# ---------------------------------------------------------------- the rhythm


def test_checks_begin_with_the_first_resync_and_come_each_interval(bench):
    checks: list[int] = []
    began = bench.runtime.now()
    bench.aged.check = lambda venue: checks.append((bench.runtime.now() - began) // SECOND)
    desk = bench.services.desks["binance"]
    desk.resynced_mono_ns = 0
    bench.services.supervise("aged", bench.aged.run)
    bench.run(began + 10 * SECOND)
    assert checks == []
    desk.resynced_mono_ns = bench.runtime.now()
    bench.run(began + 12 * SECOND)
    assert checks in ([10], [11])
    bench.run(began + 2 * HOUR + 5 * MINUTE)
    assert len(checks) == 3
    assert checks[2] - checks[1] == 3600
