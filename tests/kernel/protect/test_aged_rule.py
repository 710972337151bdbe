"""The numbers of the rule for aged positions, sentence by sentence (SPEC §6)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.config import Settings
from kernel.model.orders import PositionSide
from kernel.model.units import HOUR, MINUTE, SECOND
from kernel.protect.aged_rule import AgedRule
from venues.sim.instruments import make_instrument

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
RULE = AgedRule.of(Settings.load({}))
"""The owner's numbers: 3 h, then 8 h of grace, 0.5 % an hour, × 1.2 past 10 h, at most 10 %."""
TICK = make_instrument("binance", "BTCUSDT", tick_size=D("0.1"), qty_step=D("0.001"),
                       max_qty=D(100))  # fmt: skip


def after_grace(hours):
    """An age so many hours past the grace period."""
    return 11 * HOUR + int(D(hours) * HOUR)


@pytest.mark.parametrize(
    ("age_ns", "aged"),
    [(0, False), (3 * HOUR - 1, False), (3 * HOUR, False), (3 * HOUR + 1, True)],
)
def test_aged_is_what_is_older_than_the_age(age_ns, aged):
    assert RULE.is_aged(age_ns) is aged


@pytest.mark.parametrize(
    ("hours", "percent"),
    [
        ("-8", "0"),
        ("0", "0"),
        ("0.5", "0.25"),
        ("1", "0.5"),
        ("10", "5"),
        ("10.5", "6.3"),  # 0.5 × 10.5 × 1.2
        ("16", "9.6"),
        ("16.5", "9.9"),
        ("17", "10"),  # 10.2 without the cap
        ("500", "10"),
    ],
)
def test_the_tolerance_grows_by_the_hour_is_accelerated_past_ten_and_capped(hours, percent):
    assert RULE.tolerance_percent(after_grace(hours)) == D(percent)


@pytest.mark.parametrize(
    ("side", "age_ns", "target"),
    [
        (LONG, 3 * HOUR + 1, "42042"),  # breakeven: the commission of the round trip
        (SHORT, 3 * HOUR + 1, "41958"),
        (LONG, after_grace(0) - 1, "42042"),
        (LONG, after_grace(0), "42000"),
        (SHORT, after_grace(0), "42000"),
        (LONG, after_grace(1), "41790"),
        (SHORT, after_grace(1), "42210"),
        (LONG, after_grace(100), "37800"),
        (SHORT, after_grace(100), "46200"),
    ],
)
def test_the_target_is_breakeven_in_grace_and_gives_way_after_it(side, age_ns, target):
    assert RULE.target(side, entry=D(42000), age_ns=age_ns) == D(target)


@pytest.mark.parametrize(("side", "limit"), [(LONG, "100.2"), (SHORT, "99.9")])
def test_the_limit_is_rounded_so_that_it_is_not_worse_than_the_target(side, limit):
    """Of 100.03 the targets are 100.13003 and 99.92997."""
    assert RULE.limit(TICK, side, entry=D("100.03"), age_ns=4 * HOUR) == D(limit)


@pytest.mark.parametrize(
    ("hours", "was"), [("16.9", False), ("17", False), ("17.7", True), ("18", True)]
)
def test_the_cap_counts_when_it_was_reached_at_the_check_before(hours, was):
    """The cap is reached at 16.67 h, and checks are an hour apart."""
    assert RULE.was_at_cap(after_grace(hours)) is was


def test_a_cap_of_nothing_ends_a_position_one_check_after_the_grace_period():
    rule = AgedRule.of(Settings.load({"aged_max_loss_percent": "0", "aged_loss_step_percent": "0"}))
    assert not rule.was_at_cap(after_grace("0.9"))
    assert rule.was_at_cap(after_grace(1))


@pytest.mark.parametrize(
    ("hours", "rested_ns", "stale"),
    [
        ("5", 0, False),
        ("5", HOUR - 14 * 10**6, False),  # found unfilled for the first time
        ("5", 3 * HOUR // 2 - 1, False),
        ("5", 3 * HOUR // 2, True),
        ("5", 2 * HOUR - 14 * 10**6, True),  # for the second; it was placed 14 ms after its check
        ("1", 9 * HOUR, False),  # it rested through the grace period
        ("2", 9 * HOUR, True),
        ("-1", 6 * HOUR, False),
    ],
)
def test_an_exit_is_stale_when_two_checks_past_grace_found_it_unfilled(hours, rested_ns, stale):
    assert RULE.is_stale(age_ns=after_grace(hours), rested_ns=rested_ns) is stale


def test_the_tolerance_grows_from_the_end_of_the_grace_period_on():
    assert RULE.tolerance_percent(after_grace(0)) == 0
    assert 0 < RULE.tolerance_percent(after_grace(0) + 1) < D("1e-9")


ages = st.integers(0, 40 * 60).map(lambda minutes: 3 * HOUR + minutes * MINUTE + SECOND)


@given(ages, ages, st.sampled_from((LONG, SHORT)))
def test_a_target_never_gets_harder_to_reach_with_age(one, other, side):
    younger, older = sorted((one, other))
    before = RULE.target(side, entry=D(42000), age_ns=younger)
    after = RULE.target(side, entry=D(42000), age_ns=older)
    assert (after - before) * side.sign <= 0
    assert abs(after - 42000) * 100 <= 42000 * 10
