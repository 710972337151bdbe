"""When funding is asked for that no event told of, and which results wait for it."""

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import Fill, FillKind, Side
from kernel.model.positions import Origin, PositionState
from kernel.model.units import HOUR, MINUTE, SECOND, ZERO, TsNs
from kernel.sync.funding import EDGE_NS, PATIENCE_NS, SETTLED_NS
from kernel.trade.funding import PAID_WITHIN_NS
from tests.kernel.fakes import D, Rule
from tests.kernel.sync.whole import SYMBOL, Whole, execution


def payment(ts_ns, paid="0.3", **changes):
    made = Fill(
        symbol=SYMBOL,
        trade_id="9689322393",
        venue_order_id="",
        client_order_id="",
        side=Side.BUY,
        qty=ZERO,
        price=ZERO,
        fee=D(paid),
        kind=FillKind.FUNDING,
        ts_ns=TsNs(ts_ns),
    )
    return msgspec.structs.replace(made, **changes)


class Bench(Whole):
    """A position that was opened ten minutes before a full hour."""

    def __post_init__(self):
        super().__post_init__()
        self.ledger = self.parts.funding[self.venue_names[0]]
        self.hour_ns = (self.runtime.ts() // HOUR + 1) * HOUR
        self.until(-10 * MINUTE)
        self.position = self.filled(state=PositionState.ACTIVE)

    def until(self, apart_ns):
        """Let it be so long after the full hour."""
        self.run(self.runtime.now() + self.hour_ns + apart_ns - self.runtime.ts())
        return self

    def catch_up(self):
        task = self.spawn(self.ledger.catch_up())
        self.after(1)
        task.result()
        return self

    def reads(self):
        return [one.since_ns for _, one in self.asked("funding")]

    def end(self, **changes):
        """The position ends now."""
        self.position.update(closed_ns=TsNs(self.runtime.ts()), **changes)
        self.position.row = msgspec.structs.replace(
            self.position.row, state=PositionState.CLOSED, closed_qty=self.position.row.filled_qty
        )
        return self


@pytest.mark.parametrize(("apart_ns", "asked"), [(SETTLED_NS - 1, 0), (SETTLED_NS, 1)])
def test_the_ledger_is_asked_behind_a_full_hour_once_it_has_its_payments(apart_ns, asked):
    bench = Bench().until(apart_ns).catch_up()
    assert len(bench.reads()) == asked


def test_it_is_asked_once_an_hour():
    bench = Bench().until(SETTLED_NS)
    for _ in range(3):
        bench.catch_up()
    assert len(bench.reads()) == 1
    bench.until(HOUR + SETTLED_NS).catch_up()
    assert len(bench.reads()) == 2


def test_nothing_is_asked_where_no_position_was_open():
    bench = Bench()
    bench.position.update(filled_qty=ZERO)
    assert bench.until(SETTLED_NS).catch_up().reads() == []


def test_a_position_that_was_opened_behind_the_full_hour_asks_nothing():
    bench = Bench()
    bench.position.update(opened_ns=TsNs(bench.hour_ns + EDGE_NS))
    assert bench.until(SETTLED_NS).catch_up().reads() == []


def test_a_position_that_was_opened_just_behind_the_full_hour_may_have_paid():
    bench = Bench()
    bench.position.update(opened_ns=TsNs(bench.hour_ns + EDGE_NS - 1))
    assert len(bench.until(SETTLED_NS).catch_up().reads()) == 1


def test_a_position_opened_later_hides_no_payment_of_an_earlier_one():
    bench = Bench().until(MINUTE)
    bench.filled(state=PositionState.ACTIVE, symbol="ETHUSDT")
    assert len(bench.until(SETTLED_NS).catch_up().reads()) == 1


def test_an_hour_that_was_too_young_at_the_last_read_is_asked_for_again():
    bench = Bench().until(HOUR + MINUTE).catch_up()
    assert len(bench.reads()) == 1
    assert len(bench.until(HOUR + SETTLED_NS).catch_up().reads()) == 2
    bench = Bench().until(HOUR + MINUTE).catch_up().end()
    assert bench.ledger.lacks(bench.position)


def test_where_funding_is_an_execution_those_of_the_position_are_read():
    bench = Bench(venue_names=("bybit",))
    bench.venue.fills.append(payment(bench.hour_ns))
    bench.until(SETTLED_NS).catch_up()
    assert len(bench.asked("executions")) == 1
    assert bench.reads() == []
    assert bench.position.row.funding == D("-0.3")


def test_a_payment_in_the_ledger_is_no_sign_of_a_stream_that_is_deaf():
    bench, unheard = Bench(), []
    bench.services.orders.on_unheard = lambda *told: unheard.append(told)
    bench.venue.payments = [payment(bench.hour_ns)]
    bench.until(SETTLED_NS).catch_up()
    assert (bench.position.row.funding, unheard) == (D("-0.3"), [])


def test_what_the_ledger_tells_is_booked_to_who_paid_it_once():
    bench = Bench()
    bench.venue.payments = [payment(bench.hour_ns), payment(bench.hour_ns, symbol="ETHUSDT")]
    bench.until(SETTLED_NS).catch_up()
    bench.until(HOUR + SETTLED_NS).catch_up()
    assert bench.position.row.funding == D("-0.3")


def test_what_came_before_the_position_is_not_its_own():
    bench = Bench()
    bench.venue.payments = [payment(bench.position.row.opened_ns - 1)]
    bench.until(SETTLED_NS).catch_up()
    assert bench.position.row.funding == 0


def test_a_read_that_fails_is_tried_again():
    bench = Bench()
    bench.venue.payments = [payment(bench.hour_ns)]
    bench.venue.rules.append(Rule("funding", errors.OutcomeUnknown, times=1))
    bench.until(SETTLED_NS).catch_up()
    assert bench.position.row.funding == 0
    assert len(bench.kinds("funding.unread")) == 1
    assert bench.catch_up().position.row.funding == D("-0.3")


# ---------------------------------------------------------------- which results wait


@pytest.mark.parametrize(
    ("ended_ns", "awaited"),
    [(-EDGE_NS - SECOND, False), (-EDGE_NS, True), (0, True), (20 * MINUTE, True)],
)
def test_a_result_waits_where_a_full_hour_passed_whose_payment_is_not_known(ended_ns, awaited):
    bench = Bench().until(ended_ns).end()
    assert bench.ledger.lacks(bench.position) is awaited


def test_without_syncs_a_result_waits_for_nothing():
    off = Settings.load({"SYNC_INTERVAL_SECONDS": "0"})
    bench = Bench(settings=off).until(MINUTE).end()
    assert not bench.ledger.lacks(bench.position)
    assert Bench().until(MINUTE).end().ledger.lacks(bench.position)


def test_it_waits_no_more_once_the_payment_is_known():
    bench = Bench().until(SECOND)
    bench.position.apply_fill(payment(bench.hour_ns))
    assert not bench.end().ledger.lacks(bench.position)


@pytest.mark.parametrize(("apart_ns", "awaited"), [(0, False), (1, True)])
def test_a_payment_is_of_a_full_hour_within_a_minute_of_it(apart_ns, awaited):
    bench = Bench().until(SECOND)
    bench.position.apply_fill(payment(bench.hour_ns + PAID_WITHIN_NS + apart_ns))
    assert bench.end().ledger.lacks(bench.position) is awaited


def test_an_execution_at_the_full_hour_is_no_payment():
    bench = Bench().until(SECOND)
    bench.position.apply_fill(execution(9, ts_ns=TsNs(bench.hour_ns)))
    assert bench.end().ledger.lacks(bench.position)


def test_one_that_opened_just_behind_the_full_hour_waits_for_its_payment():
    bench = Bench()
    bench.position.update(opened_ns=TsNs(bench.hour_ns + EDGE_NS - 1))
    assert bench.until(MINUTE).end().ledger.lacks(bench.position)


def test_one_whose_end_has_no_time_yet_waits_as_if_it_ended_now():
    bench = Bench()
    assert not bench.ledger.lacks(bench.position)
    assert bench.until(20 * MINUTE).ledger.lacks(bench.position)


def test_it_waits_no_more_once_the_venue_was_asked_late_enough():
    bench = Bench().until(SECOND).end()
    bench.until(SETTLED_NS - SECOND)
    assert bench.ledger.lacks(bench.position)
    bench.until(SETTLED_NS).catch_up()
    assert not bench.ledger.lacks(bench.position)


@pytest.mark.parametrize(("late_ns", "awaited"), [(-1, True), (0, False)])
def test_it_waits_a_quarter_of_an_hour(late_ns, awaited):
    bench = Bench().until(SECOND).end().until(SECOND + PATIENCE_NS + late_ns)
    assert bench.ledger.lacks(bench.position) is awaited


@pytest.mark.parametrize("changes", [{"origin": Origin.FOREIGN}, {"filled_qty": ZERO}], ids=str)
def test_what_is_no_result_of_ours_waits_for_nothing(changes):
    bench = Bench().until(SECOND).end(**changes)
    assert not bench.ledger.lacks(bench.position)
