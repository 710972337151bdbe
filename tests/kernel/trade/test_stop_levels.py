from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel.model.instrument import Instrument
from kernel.model.orders import PositionSide
from kernel.model.units import ZERO
from kernel.trade import stop_levels

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
SIDES = st.sampled_from([LONG, SHORT])
TICKS = st.sampled_from([D("0.1"), D("0.5"), D("1"), D("0.0001"), D("0.025")])


ONE = D(1)


def instrument(tick=ONE):
    return Instrument(
        venue="binance",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        tick_size=tick,
        qty_step=D("0.001"),
        min_qty=D("0.001"),
        max_qty=D(1000),
        max_market_qty=D(100),
    )


def prices(tick):
    return st.integers(min_value=2000, max_value=10_000_000).map(lambda n: n * tick)


percents = st.decimals(min_value=D("0.1"), max_value=D(20), places=2)


def test_first_stop_of_a_long_is_two_percent_under_the_entry_rounded_up():
    stop = stop_levels.first_stop(
        instrument(), LONG, entry=D("42000.5"), market=D(42000), percent=D(2)
    )
    assert stop.level == D(41161)
    assert not stop.drifted


def test_first_stop_of_a_short_is_rounded_down():
    stop = stop_levels.first_stop(
        instrument(), SHORT, entry=D("42000.5"), market=D(42000), percent=D(2)
    )
    assert stop.level == D(42840)


def test_drift_of_exactly_the_percentage_keeps_the_entry_as_base():
    stop = stop_levels.first_stop(instrument(), LONG, entry=D(100), market=D(98), percent=D(2))
    assert (stop.base, stop.drifted) == (D(100), False)


def test_adverse_drift_rebases_on_the_market_and_tells_the_risk():
    stop = stop_levels.first_stop(instrument(), LONG, entry=D(10000), market=D(9700), percent=D(2))
    assert (stop.base, stop.level, stop.adverse) == (D(9700), D(9506), True)
    assert stop.risk_percent == D("4.94")


def test_drift_in_favour_is_not_adverse():
    stop = stop_levels.first_stop(instrument(), SHORT, entry=D(10000), market=D(9700), percent=D(2))
    assert (stop.base, stop.drifted, stop.adverse) == (D(9700), True, False)


def test_an_unknown_market_leaves_the_entry_as_base():
    stop = stop_levels.first_stop(instrument(), LONG, entry=D(10000), market=ZERO, percent=D(2))
    assert (stop.base, stop.drifted) == (D(10000), False)


def test_a_stop_without_an_entry_price_is_refused():
    with pytest.raises(ValueError, match="entry 0"):
        stop_levels.first_stop(instrument(), LONG, entry=ZERO, market=D(1), percent=D(2))


def test_owners_example_activates_at_42630_and_moves_the_stop_to_42417():
    price = stop_levels.profit_price(LONG, entry=D(42000), percent=D("1.5"))
    assert price == D(42630)
    level = stop_levels.trailing_level(instrument(), LONG, best=D(42630), callback_percent=D("0.5"))
    assert level == D(42417)


@given(st.data(), SIDES, TICKS, percents)
def test_first_stop_is_on_the_grid_and_never_looser_than_the_percentage(data, side, tick, percent):
    entry, market = data.draw(prices(tick)), data.draw(prices(tick))
    contract = instrument(tick)
    stop = stop_levels.first_stop(contract, side, entry=entry, market=market, percent=percent)
    exact = stop.base * (100 - side.sign * percent) / 100
    assert stop.level % tick == 0
    assert 0 <= (stop.level - exact) * side.sign < tick
    assert stop.drifted == (abs(market - entry) / entry > percent / 100)


@given(st.data(), SIDES, TICKS, percents)
def test_best_for_level_is_the_exact_inverse_of_the_trailing_level(data, side, tick, callback):
    level = data.draw(prices(tick))
    contract = instrument(tick)
    best = stop_levels.best_for_level(contract, side, level=level, callback_percent=callback)

    def trail(price):
        return stop_levels.trailing_level(contract, side, best=price, callback_percent=callback)

    assert best % tick == 0
    assert (trail(best) - level) * side.sign >= 0
    assert (trail(best - side.sign * tick) - level) * side.sign < 0


@given(st.data(), SIDES, TICKS, percents)
def test_improved_level_is_the_loosest_that_improves_enough(data, side, tick, percent):
    old = data.draw(prices(tick))
    assume(old > 100 * tick)
    contract = instrument(tick)
    new = stop_levels.improved_level(contract, side, old=old, percent=percent)
    assert stop_levels.is_tighter(side, new, old)
    assert stop_levels.improvement_percent(side, old=old, new=new) >= percent
    before = new - side.sign * tick
    too_loose = not stop_levels.is_tighter(side, before, old)
    assert too_loose or stop_levels.improvement_percent(side, old=old, new=before) < percent


@given(st.data(), SIDES, TICKS)
def test_liquidation_bound_only_tightens_and_leaves_the_buffer(data, side, tick):
    level, liquidation = data.draw(prices(tick)), data.draw(prices(tick))
    contract = instrument(tick)
    kept = stop_levels.inside_liquidation(
        contract, side, level=level, liquidation=liquidation, buffer_percent=D("0.5")
    )
    assert not stop_levels.is_tighter(side, level, kept)
    bound = liquidation * (100 + side.sign * D("0.5")) / 100
    assert (kept - bound) * side.sign >= 0


@given(st.data(), SIDES, TICKS)
def test_a_stop_is_through_exactly_when_the_venue_would_trigger_it(data, side, tick):
    level, price = data.draw(prices(tick)), data.draw(prices(tick))
    triggers = price <= level if side is LONG else price >= level
    assert stop_levels.is_through(side, level, price) == triggers


@given(st.data(), SIDES, TICKS)
def test_the_ratchet_refuses_every_looser_level(data, side, tick):
    level, protected = data.draw(prices(tick)), data.draw(prices(tick))
    if stop_levels.is_tighter(side, protected, level):
        with pytest.raises(AssertionError, match="loosens"):
            stop_levels.ratchet(side, level, protected)
    else:
        assert stop_levels.ratchet(side, level, protected) == level
        assert stop_levels.tighter_of(side, level, protected) == level


def test_any_level_is_tighter_than_none():
    assert stop_levels.is_tighter(LONG, D(1), ZERO)
    assert not stop_levels.is_tighter(LONG, ZERO, ZERO)
    assert stop_levels.ratchet(SHORT, D(5), ZERO) == D(5)


@pytest.mark.parametrize(
    ("entry", "percent", "legal"),
    [("0", "2", False), ("-5", "2", False), ("0.5", "2", True), ("100", "0", False),
     ("100", "100", False), ("100", "99.5", True), ("100", "0.5", True)],
)  # fmt: skip
def test_the_bounds_of_what_a_stop_can_be_made_from(entry, percent, legal):
    given = {"entry": D(entry), "market": ZERO, "percent": D(percent)}
    if legal:
        assert stop_levels.first_stop(instrument(D("0.1")), LONG, **given).level > 0
    else:
        with pytest.raises(ValueError, match="must be above 0"):
            stop_levels.first_stop(instrument(D("0.1")), LONG, **given)


def test_prices_below_one_drift_as_any_others():
    stop = stop_levels.first_stop(
        instrument(D("0.0001")), SHORT, entry=D("0.5"), market=D("0.6"), percent=D(2)
    )
    assert (stop.base, stop.drifted, stop.adverse) == (D("0.6"), True, True)
    assert (stop.level, stop.risk_percent) == (D("0.612"), D("22.4"))


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_a_fraction_of_a_point_is_tighter_better_and_through(side):
    near = D(50) + side.sign * D("0.5")
    assert stop_levels.is_tighter(side, near, D(50))
    assert not stop_levels.is_tighter(side, D(50), near)
    assert not stop_levels.is_tighter(side, D(50), D(50))
    assert stop_levels.is_better(side, near, D(50))
    assert not stop_levels.is_better(side, D(50), near)
    assert not stop_levels.is_better(side, D(50), D(50))
    assert stop_levels.is_through(side, near, D(50))
    assert stop_levels.is_through(side, D(50), D(50))
    assert not stop_levels.is_through(side, D(50), near)
    assert stop_levels.reaches(side, near, D(50))
    assert stop_levels.reaches(side, D(50), D(50))
    assert not stop_levels.reaches(side, D(50), near)


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_no_price_is_better_than_no_price_and_none_is_through(side):
    assert stop_levels.is_better(side, D(1), ZERO)
    assert not stop_levels.is_better(side, ZERO, ZERO)
    assert not stop_levels.is_better(side, ZERO, D(1))
    assert not stop_levels.is_tighter(side, ZERO, D(1))
    assert not stop_levels.is_tighter(side, ZERO, ZERO)
    assert not stop_levels.is_through(side, D(1), ZERO)
    assert stop_levels.is_through(side, D("0.5"), D("0.5"))


@pytest.mark.parametrize("price", ["1", "3"])
def test_for_no_side_no_price_is_better_than_another(price):
    assert not stop_levels.is_better(PositionSide.FLAT, D(price), D(2))


def test_a_tolerance_holds_to_both_sides_and_to_its_end():
    def near(found, percent="5"):
        return stop_levels.within_tolerance(level=D(200), found=D(found), percent=D(percent))

    assert near("190")
    assert near("210")
    assert not near("189.99")
    assert not near("210.01")
    assert near("200", "0")


def test_a_liquidation_price_below_one_counts_and_none_leaves_the_level():
    def inside(side, level, liquidation):
        return stop_levels.inside_liquidation(
            instrument(D("0.01")),
            side,
            level=D(level),
            liquidation=D(liquidation),
            buffer_percent=D(10),
        )

    assert inside(LONG, "0.5", "0.6") == D("0.66")
    assert inside(LONG, "0.66", "0.6") == D("0.66")
    assert inside(SHORT, "0.9", "0.8") == D("0.72")
    assert inside(SHORT, "0.9", "0") == D("0.9")
    assert inside(SHORT, "0.9", "-1") == D("0.9")


def test_an_improvement_is_in_percent_of_the_old_level():
    assert stop_levels.improvement_percent(LONG, old=D(50), new=D(51)) == 2
    assert stop_levels.improvement_percent(SHORT, old=D(50), new=D(51)) == -2


def test_a_profit_is_in_percent_of_the_entry():
    assert stop_levels.profit_price(LONG, entry=D(50), percent=D(2)) == 51
    assert stop_levels.profit_price(SHORT, entry=D(50), percent=D(2)) == 49


def test_an_improvement_is_a_tick_at_least_and_a_short_cannot_improve_below_nothing():
    def improved(side, old, percent):
        return stop_levels.improved_level(
            instrument(D("0.5")), side, old=D(old), percent=D(percent)
        )

    assert improved(LONG, "100", "0") == D("100.5")
    assert improved(SHORT, "100", "0") == D("99.5")
    assert improved(SHORT, "100", "100") == D("0.5")
    assert improved(SHORT, "100", "99.5") == D("0.5")


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_any_level_is_tighter_than_none_and_none_than_nothing(side):
    assert stop_levels.is_tighter(side, D(5), D(0))
    assert not stop_levels.is_tighter(side, D(0), D(0))
    assert not stop_levels.is_tighter(side, D(0), D(5))


@pytest.mark.parametrize(
    ("market", "adverse"), [("0.0007", True), ("0.0009", True), ("0.0013", False)]
)
def test_drift_is_adverse_where_it_costs_however_small_the_prices(market, adverse):
    found = stop_levels.first_stop(
        instrument(D("0.00001")), LONG, entry=D("0.001"), market=D(market), percent=D(2)
    )
    assert found.drifted
    assert found.adverse is adverse


def test_a_market_against_the_entry_that_did_not_drift_is_not_adverse():
    found = stop_levels.first_stop(
        instrument(), LONG, entry=D(42000), market=D(41900), percent=D(2)
    )
    assert not found.drifted
    assert not found.adverse
