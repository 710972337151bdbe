"""Each bound is shown from both sides: what keeps it is silent, what breaks it is told."""

from decimal import Decimal
from types import SimpleNamespace

import pytest

from kernel.model.ids import Leg
from kernel.model.orders import Side
from kernel.model.units import SECOND
from scenarios.protection_checks import Limits
from tests.scenarios.worlds import SYMBOL, Bench, own_id

BUY, SELL = Side.BUY, Side.SELL


def protected(bench, qty="0.005"):
    bench.venue.trade(BUY, qty)
    bench.venue.live("41160", qty)
    bench.checks.became_active("binance", SYMBOL)


def test_a_position_without_a_stop_breaks_i1_after_five_seconds():
    bench = Bench()
    bench.venue.trade(BUY, "0.005")
    bench.pass_time(4.9)
    assert bench.broken == []
    bench.pass_time(0.2)
    assert bench.broken == ["I1"]


def test_with_faults_the_bound_is_thirty_seconds():
    bench = Bench(faults=True)
    bench.venue.trade(BUY, "0.005")
    bench.pass_time(30)
    assert bench.broken == []
    bench.pass_time(1)
    assert bench.broken == ["I1"]


def test_unprotected_time_counts_from_the_fill_to_the_stop_in_the_book():
    bench = Bench()
    bench.venue.trade(BUY, "0.005")
    bench.pass_time(2)
    bench.venue.live("41160")
    bench.pass_time(100)
    assert bench.checks.max_unprotected_ns == 2 * SECOND
    assert bench.broken == []


@pytest.mark.parametrize(
    "wrong", [{"qty": "0.004"}, {"side": BUY}, {"reduce_only": False}], ids=str
)
def test_a_stop_that_is_too_small_or_wrong_sided_or_opens_is_no_protection(wrong):
    bench = Bench()
    bench.venue.trade(BUY, "0.005")
    bench.venue.live("41160", **wrong)
    bench.pass_time(6)
    assert bench.broken == ["I1"]


def test_several_stops_together_cover_a_position():
    bench = Bench()
    bench.venue.trade(BUY, "0.005")
    bench.venue.live("41160", "0.003", name="s1")
    bench.venue.live("41160", "0.002", name="s2")
    bench.pass_time(6)
    assert "I1" not in bench.broken


def test_a_stop_that_fired_counts_as_none():
    bench = Bench()
    protected(bench)
    bench.pass_time(60)
    bench.venue.gone("41160")
    bench.pass_time(6)
    assert bench.broken == ["I1"]
    bench.checks.finish()
    assert bench.checks.max_unprotected_ns == 6 * SECOND


def test_a_close_in_flight_gives_time_and_not_for_ever():
    bench = Bench()
    bench.venue.trade(BUY, "0.005")
    bench.pass_time(4)
    bench.checks.closing_sent("binance", SYMBOL)
    bench.pass_time(8)
    assert bench.broken == []
    bench.checks.closing_sent("binance", SYMBOL)
    bench.pass_time(10)
    assert bench.broken == ["I1"]


def test_nothing_is_asked_of_a_dead_process_and_everything_from_its_next_start():
    bench = Bench(faults=True)
    bench.venue.trade(BUY, "0.005")
    bench.checks.died()
    bench.pass_time(300)
    assert bench.broken == []
    bench.checks.born()
    bench.pass_time(31)
    assert bench.broken == ["I1"]


def test_a_quantity_above_the_intended_one_breaks_i2():
    bench = Bench()
    protected(bench)
    bench.venue.trade(BUY, "0.005")
    assert bench.broken == ["I2"]


def test_a_close_that_turns_the_position_breaks_i4():
    bench = Bench()
    protected(bench)
    bench.venue.trade(SELL, "0.006", reduce_only=True)
    assert bench.broken == ["I4"]


def test_a_looser_stop_breaks_i7_and_a_tighter_one_does_not():
    bench = Bench()
    protected(bench)
    bench.venue.live("41500", name="s2")
    assert bench.broken == []
    bench.venue.live("41400", name="s3")
    assert "I7" in bench.broken


def test_the_stop_of_a_short_loosens_upwards():
    bench = Bench()
    bench.venue.trade(SELL, "0.005")
    bench.venue.live("42840", side=BUY)
    bench.checks.became_active("binance", SYMBOL)
    bench.venue.live("42700", side=BUY, name="s2")
    assert bench.broken == []
    bench.venue.live("42800", side=BUY, name="s3")
    assert "I7" in bench.broken


def test_our_own_cancel_of_the_only_stop_breaks_i8():
    bench = Bench()
    protected(bench)
    bench.checks.cancel_sent("binance", "s1")
    bench.venue.gone("41160", reason="canceled")
    assert bench.broken == ["I8"]


def test_at_the_cap_one_stop_may_go_first_and_is_back_in_five_seconds():
    bench = Bench(faults=True)
    protected(bench)
    bench.checks.cap_refused("binance", SYMBOL)
    bench.checks.cancel_sent("binance", "s1")
    bench.venue.gone("41160", reason="canceled")
    assert bench.broken == []
    bench.pass_time(4)
    bench.venue.live("41500", name="s2")
    bench.pass_time(10)
    assert bench.broken == []
    bench.checks.cancel_sent("binance", "s2")
    bench.venue.gone("41500", name="s2", reason="canceled")
    assert bench.broken == ["I8"]


def test_at_the_cap_a_stop_that_does_not_come_back_breaks_i8():
    bench = Bench(faults=True)
    protected(bench)
    bench.checks.cap_refused("binance", SYMBOL)
    bench.checks.cancel_sent("binance", "s1")
    bench.venue.gone("41160", reason="canceled")
    bench.pass_time(6)
    assert bench.broken == ["I8"]


def test_a_stop_that_went_first_has_its_time_again_after_an_unknown_outcome():
    bench = Bench(faults=True)
    protected(bench)
    bench.checks.cap_refused("binance", SYMBOL)
    bench.checks.cancel_sent("binance", "s1")
    bench.venue.gone("41160", reason="canceled")
    bench.pass_time(4)
    bench.checks.outcome_unknown("binance", SYMBOL)
    bench.pass_time(4)
    assert bench.broken == []
    bench.pass_time(2)
    assert bench.broken == ["I8"]


def test_a_fill_that_is_told_is_answered_by_a_request_that_protects():
    bench = Bench(faults=True)
    bench.venue.trade(BUY, "0.005")
    bench.checks.told_of_fill("binance", SYMBOL)
    bench.checks.protecting_sent("binance", SYMBOL)
    bench.pass_time(16)
    assert bench.broken == []
    idle = Bench(faults=True)
    idle.venue.trade(BUY, "0.005")
    idle.checks.told_of_fill("binance", SYMBOL)
    idle.pass_time(16)
    assert idle.broken == ["I20"]


def test_while_a_venue_refuses_requests_a_stop_is_asked_for_after_that():
    bench = Bench(faults=True)
    bench.venue.trade(BUY, "0.005")
    bench.checks.told_of_fill("binance", SYMBOL)
    bench.checks.throttled("binance", bench.agenda.now_ns + 5 * SECOND)
    bench.pass_time(5.9)
    assert bench.broken == []
    bench.pass_time(0.2)
    assert bench.broken == ["I20"]
    later = Bench(faults=True)
    later.checks.throttled("binance", later.agenda.now_ns)
    later.pass_time(5)
    later.venue.trade(BUY, "0.005")
    later.checks.told_of_fill("binance", SYMBOL)
    later.pass_time(1.1)
    assert later.broken == ["I20"]


def test_new_before_old_keeps_i8():
    bench = Bench()
    protected(bench)
    bench.venue.live("41500", name="s2")
    bench.checks.cancel_sent("binance", "s1")
    bench.venue.gone("41160", reason="canceled")
    assert bench.broken == []


def test_a_venue_that_cancels_breaks_no_rule_of_ours():
    bench = Bench()
    protected(bench)
    bench.venue.gone("41160", reason="canceled by the venue")
    bench.venue.live("41160", name="s2")
    assert bench.broken == []


def test_more_than_two_stops_and_two_that_stay_break_i9():
    bench = Bench()
    protected(bench)
    bench.venue.live("41160", name="s2")
    bench.pass_time(31)
    assert bench.broken == ["I9"]
    other = Bench()
    protected(other)
    other.venue.live("41160", name="s2")
    other.venue.live("41160", name="s3")
    assert other.broken == [], "it may just have grown during a move"
    later = Bench()
    protected(later)
    later.pass_time(11)
    later.venue.live("41160", name="s2")
    later.venue.live("41160", name="s3")
    assert later.broken == ["I9"]


def test_a_foreign_position_is_not_ours_to_measure():
    bench = Bench()
    bench.venue.trade(BUY, "7", client="by-hand")
    bench.pass_time(60)
    bench.checks.finish()
    assert bench.broken == []
    assert bench.checks.max_unprotected_ns == 0
    assert bench.checks.qty("binance", SYMBOL) == Decimal(7)


def test_what_is_left_after_flat_has_its_whole_time_from_the_next_start():
    bench = Bench()
    left = SimpleNamespace(position_side="BOTH", client_order_id=own_id(Leg.STOP))
    bench.venue.matching.open = SimpleNamespace(of_symbol=lambda symbol: [left])
    protected(bench)
    bound_s = Limits(faults=False).orphan_ns / 10**9
    bench.venue.trade(SELL, "0.005", client=own_id(Leg.STOP), reduce_only=True)
    bench.checks.died()
    bench.pass_time(3 * bound_s - 1)
    bench.checks.born()
    bench.pass_time(bound_s - 1)
    assert "I9" not in bench.broken
    bench.pass_time(2)
    assert "I9" in bench.broken
