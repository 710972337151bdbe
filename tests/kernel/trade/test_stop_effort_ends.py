"""The effort for a confirmed stop: when it begins, what it is not made for, what it means."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import OrderStatus, PositionSide, Side
from kernel.model.positions import Origin, PositionState
from kernel.model.units import MS, SECOND
from tests.kernel.trade.owning import Owning, shown
from tests.kernel.trade.parts import fill

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- when it begins, when it ends


@pytest.mark.parametrize(
    ("given", "since"), [({}, "the fill"), ({"level": D(41300), "state": ACTIVE}, "the look")]
)
def test_a_first_stop_is_lacking_since_the_fill_a_later_one_since_it_was_looked_for(
    bench, given, since
):
    position = bench.filled(**given)
    filled_ns = bench.runtime.now()
    bench.run(filled_ns + 10 * SECOND)
    bench.fails()
    bench.ensure(position, 1)
    assert position.stops.exposed_since_ns == (filled_ns if since == "the fill" else bench.began)


def test_where_no_fill_is_known_a_first_stop_is_lacking_since_it_was_looked_for(bench):
    position = bench.filled()
    position.filled_mono_ns = None
    bench.run(bench.runtime.now() + SECOND)
    bench.fails()
    bench.ensure(position, 1)
    assert position.stops.exposed_since_ns == bench.began


def test_a_stop_that_merely_is_too_large_leaves_nothing_exposed(bench):
    position = bench.unkept()
    position.apply_fill(fill("x", Side.SELL, "0.002", "42000"))
    bench.fails(delay_ns=SECOND)
    bench.ensure(position, 0.5)
    assert len(bench.times("place_stop")) == 1
    assert position.stops.exposed_since_ns is None
    assert bench.coverage.covered(position)


def test_a_foreign_position_has_all_attempts_however_long_it_was_exposed(bench):
    position = bench.lost(origin=Origin.FOREIGN)
    position.stops.exposed_since_ns = bench.runtime.now() - 25 * SECOND
    bench.ensure(position, 40)
    assert len(bench.times("place_stop")) == 4


def test_where_the_right_stop_stands_nothing_is_said(bench):
    position = bench.unkept()
    bench.run(bench.runtime.now())
    said = len(bench.decisions)
    assert bench.protect(position) is True
    assert len(bench.decisions) == said


def test_a_flat_position_is_not_tried_for(bench):
    position = bench.filled(level=D(41300), state=ACTIVE)
    position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    sent = len(bench.venue.sent)
    assert bench.protect(position) is False
    assert len(bench.venue.sent) == sent


def test_what_ends_while_the_venue_is_read_is_not_tried_for(bench):
    position = bench.filled(level=D(41300), state=ACTIVE)
    closing = fill("x", Side.SELL, "0.005", "42000")
    bench.at(bench.runtime.now() + 10 * MS, lambda: position.apply_fill(closing))
    assert bench.protect(position) is False
    assert bench.times("place_stop") == []
    assert bench.kinds("stop.failed") == []


def test_a_position_that_grows_meanwhile_gets_its_larger_stop_at_once(bench):
    position = bench.filled()
    more = fill("more", Side.BUY, "0.003", "42000")
    bench.at(bench.runtime.now() + 10 * MS, lambda: position.apply_fill(more))

    async def covered():
        return await bench.stops.protect(position) and bench.coverage.covered(position)

    assert bench.result(covered()) is True
    assert bench.took_ns < SECOND
    assert [stop.qty for stop in bench.venue.stops()] == [D("0.008")]


# ---------------------------------------------------------------- a close that does not succeed


def unclosable(**settings):
    """A bench on which every order that closes is refused."""
    bench = Owning(settings=Settings.load(settings))
    bench.fails(kind="submit")
    return bench


def test_what_drifted_and_cannot_be_closed_gets_no_stop_by_this_effort():
    bench = unclosable(STOP_DRIFT_ADVERSE="close")
    position = bench.filled(entry="42000")
    bench.price("41000")
    assert bench.protect(position) is False
    assert bench.times("submit") != []
    assert bench.times("place_stop") == []
    assert bench.kinds("stop.deadline") == []


def test_what_is_through_its_liquidation_bound_and_cannot_be_closed_gets_no_stop():
    bench = unclosable()
    position = bench.filled()
    position.hear(shown(position, liquidation_price=D(41900)))
    bench.price("41910")
    assert bench.protect(position) is False
    assert bench.times("submit") != []
    assert bench.times("place_stop") == []


def test_what_is_through_and_cannot_be_closed_is_tried_once():
    bench = unclosable()
    position = bench.filled()
    bench.at(bench.runtime.now() + 5 * MS, lambda: bench.price("41000"))
    assert bench.protect(position) is False
    assert bench.times("submit") != []
    assert len(bench.times("place_stop")) == 1


def test_where_resting_exit_and_stop_refuse_each_other_it_is_tried_once():
    bench = unclosable()
    bench.venue.rules.clear()
    position = bench.rested()
    bench.fails(kind="submit")
    bench.fails(errors.ReduceOnlyRefused)
    assert bench.protect(position) is False
    assert bench.times("submit") != []
    assert len(bench.times("place_stop")) == 1


# ---------------------------------------------------------------- what a confirmed stop means


def test_the_first_stop_is_computed_anew_while_it_enters_and_forgotten_after(bench):
    position = bench.filled()
    assert bench.protect(position, 2) is True
    assert bench.coverage.first.known(position), "more may fill"
    position.transition(ACTIVE, "test")
    assert bench.tighten(position) is True
    assert not bench.coverage.first.known(position)


def test_a_stop_that_is_placed_again_at_its_level_is_no_move(bench):
    position = bench.lost()
    bench.venue.rules.clear()
    bench.ensure(position, 1)
    assert len(bench.venue.stops()) == 1
    assert bench.kinds("stop.moved") == []


def test_a_first_stop_that_comes_late_is_no_gap_of_a_move(bench):
    position = bench.filled()
    limit = bench.settings.trailing_alert_if_unprotected_window_ms
    bench.run(bench.runtime.now() + limit * MS + SECOND)
    assert bench.protect(position, 5) is True
    assert position.stops.gap_ns > limit * MS
    assert bench.alerts("stop.gap") == []


def test_what_is_confirmed_never_loosens_the_level(bench):
    position = bench.unkept()
    with pytest.raises(AssertionError):
        bench.stops._effort._confirmed(position, D(41159), "a bug")
    assert position.row.protected_level == 41160


def test_a_move_is_confirmed_and_becomes_the_protected_level(bench):
    position = bench.unkept()
    assert bench.tighten(position) is True
    assert position.row.protected_level == 41500
    (said,) = bench.kinds("stop.moved")
    assert (said.cause, said.values["before"], said.values["level"]) == ("why", "41160", "41500")
    assert position.row in bench.store.rows


def test_a_move_that_fails_counts_as_one_failure_and_leaves_the_old_stop(bench):
    position = bench.unkept()
    bench.fails(times=1)
    assert bench.tighten(position) is False
    (said,) = bench.kinds("stop.failed")
    assert said.values["attempt"] == "1"
    assert position.row.protected_level == 41160
    assert bench.times("place_stop") == [0]


def test_a_move_of_what_is_being_closed_meanwhile_is_none(bench):
    position = bench.unkept()
    bench.at(bench.runtime.now() + 10 * MS, lambda: position.transition(CLOSING, "test"))
    assert bench.tighten(position) is False
    assert position.row.protected_level == 41160
    assert bench.kinds("stop.moved") == []


def test_after_a_confirmed_stop_the_next_exposure_is_told_anew(bench):
    position = bench.lost(origin=Origin.FOREIGN)
    bench.ensure(position, 60)
    assert len(bench.alerts("position.unprotected")) == 1
    bench.venue.rules.clear()
    bench.ensure(position, 1)
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.fails()
    bench.ensure(position, 60)
    assert len(bench.alerts("position.unprotected")) == 2


def test_a_confirmed_stop_is_near_no_level_but_at_it(bench):
    position = bench.unkept()
    bench.coverage.stands_near(position, near=True)
    assert bench.tighten(position) is True
    assert not bench.coverage.may_wait(position)
