"""Sets of stops: confirmed before the old ones go, never a third, split by what one may have."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import errors
from kernel.model.orders import (
    OrderStatus,
    PriceSource,
    Side,
)
from kernel.model.units import MS, SECOND
from kernel.trade.protective_set import StopPhase
from kernel.trade.stop_orders import StopsCrowded, split_qty
from kernel.trade.stop_placement import StopUnconfirmed
from tests.kernel.fakes import INSTRUMENT, Rule
from tests.kernel.trade.parts import fill
from tests.kernel.trade.sets import ENTRY, Sets, at_cap, refuse_cancels, sent_stop, show

D = Decimal


@pytest.fixture
def bench():
    made = Sets()
    made.open()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- splitting


@given(st.integers(1, 10_000), st.integers(1, 500))
def test_parts_are_whole_steps_within_the_maximum_and_make_up_the_whole(steps, most):
    instrument = msgspec.structs.replace(
        INSTRUMENT, max_market_qty=D(most) / 1000, qty_step=D("0.001")
    )
    qty = D(steps) / 1000
    parts = split_qty(instrument, qty)
    assert sum(parts) == qty
    assert all(0 < part <= D(most) / 1000 for part in parts)
    assert len(parts) == -(-steps // most)
    assert max(parts) - min(parts[:-1] or parts) == 0, "all but the last are equal"


def test_without_a_maximum_there_is_one_part_and_nothing_is_not_split():
    instrument = msgspec.structs.replace(INSTRUMENT, max_market_qty=D(0))
    assert split_qty(instrument, D(10_000)) == [D(10_000)]
    assert split_qty(INSTRUMENT, D(100)) == [D(100)]
    for nothing in (D(0), D(-1)):
        with pytest.raises(ValueError, match="nothing to split"):
            split_qty(INSTRUMENT, nothing)


# ---------------------------------------------------------------- a move


def test_a_set_is_confirmed_and_said(bench):
    assert bench.establish() is None
    stops = bench.position.stops
    assert bench.shown() == [("41160", ENTRY)]
    assert (stops.confirmed, stops.exposed_since_ns) == (41160, None)
    (said,) = bench.kinds("stop.confirmed")
    assert said.client_order_id == stops.live()[0].client_order_id
    assert bench.asked() == ["PlaceStop"]


def test_a_move_confirms_the_new_one_cancels_the_old_one_and_looks_at_the_position(bench):
    bench.establish()
    assert bench.establish("41500") is None
    assert bench.asked() == ["PlaceStop", "CancelOrder", "QueryPositions"]
    assert bench.shown() == [("41500", ENTRY)]


def test_a_stop_that_fired_during_the_swap_is_booked(bench):
    bench.establish()

    def fire():
        old = next(one for one in bench.venue.stops() if one.trigger_price == 41160)
        bench.venue.silent = True
        bench.venue.trigger(old.client_order_id)

    bench.at(bench.runtime.now() + 30 * MS, fire)
    bench.establish("41500")
    assert bench.asked()[-2:] == ["QueryPositions", "QueryExecutions"]
    assert bench.position.qty == 0


def test_a_read_after_the_swap_that_fails_undoes_nothing(bench):
    bench.establish()
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    assert bench.establish("41500") is None
    assert bench.shown() == [("41500", ENTRY)]


def test_what_stands_already_is_confirmed_without_a_request(bench):
    bench.establish()
    assert bench.establish() is None
    assert bench.asked() == []
    assert len(bench.kinds("stop.confirmed")) == 2


def test_a_growing_position_gets_the_larger_stop_before_the_smaller_goes(bench):
    bench.establish()
    bench.position.apply_fill(fill("more", Side.BUY, "0.003", "42000"))
    assert bench.establish() is None
    assert bench.asked()[:2] == ["PlaceStop", "CancelOrder"]
    assert bench.shown() == [("41160", "0.008")]


def test_while_a_position_grows_on_the_old_set_stays(bench):
    bench.establish()
    grow = fill("more", Side.BUY, "0.003", "42000")
    bench.at(bench.runtime.now() + 10 * MS, lambda: bench.position.apply_fill(grow))
    assert bench.establish("41500") is None
    assert bench.shown() == [("41160", ENTRY), ("41500", ENTRY)]
    assert "CancelOrder" not in bench.asked()


def test_a_tighter_stop_that_was_confirmed_meanwhile_is_not_loosened(bench):
    bench.establish("41500")
    outcome = bench.establish("41160")
    assert isinstance(outcome, StopUnconfirmed)
    assert bench.asked() == []
    assert bench.shown() == [("41500", ENTRY)]


# ---------------------------------------------------------------- at most two sets


def test_no_third_set_is_placed_while_an_old_one_is_not_proven_terminal(bench):
    bench.establish()
    refuse_cancels(bench)
    bench.establish("41500")
    assert len(bench.shown()) == 2
    assert isinstance(bench.establish("41700"), StopsCrowded)
    assert len(bench.shown()) == 2
    assert [one.wanted for one in bench.position.stops.open()] == [False, True]


def test_a_cancel_that_is_due_makes_room_before_the_next_set(bench):
    bench.establish()
    refuse_cancels(bench, times=1)
    bench.establish("41500")
    assert bench.establish("41700") is None
    assert bench.shown() == [("41700", ENTRY)]


def test_what_is_doubtful_is_looked_up_before_the_next_set(bench):
    bench.establish()
    bench.position.stops.add(sent_stop(bench))
    assert isinstance(bench.establish("41500"), StopsCrowded)
    assert bench.asked() == ["QueryOrder"]
    bench.services.orders.conclude(
        bench.position.stops.doubtful()[0].order, OrderStatus.REJECTED, "proven absent"
    )
    assert bench.establish("41500") is None


def test_while_no_stop_is_live_getting_one_comes_before_looking(bench):
    bench.position.stops.add(sent_stop(bench))
    assert bench.establish() is None
    assert bench.asked()[0] == "PlaceStop"


def test_a_move_that_a_look_up_confirms_late_is_the_protected_level(bench):
    bench.establish()
    bench.venue.silent = True
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013", times=4))
    assert isinstance(bench.establish("41500", seconds=10), StopUnconfirmed)
    bench.venue.silent = False
    assert bench.establish("41700", seconds=10) is None
    (said,) = bench.kinds("stop.moved")
    assert (said.values["before"], said.values["level"]) == ("41160", "41500")
    assert bench.shown() == [("41700", ENTRY)]


# ---------------------------------------------------------------- sets of several


def test_a_quantity_above_the_maximum_is_a_set_and_grows_by_what_is_missing():
    bench = Sets()
    bench.open(qty="250")
    assert bench.establish() is None
    assert bench.shown() == [("41160", "83.334"), ("41160", "83.334"), ("41160", "83.332")]
    bench.position.apply_fill(fill("more", Side.BUY, "20", "42000"))
    assert bench.establish() is None
    assert sum(D(qty) for _, qty in bench.shown()) == 270
    assert len(bench.shown()) == 3


def test_a_smaller_position_gets_a_smaller_stop(bench):
    bench.establish()
    bench.position.apply_fill(fill("less", Side.SELL, "0.003", "42000"))
    assert bench.establish() is None
    assert bench.asked()[:2] == ["PlaceStop", "CancelOrder"]
    assert bench.shown() == [("41160", "0.002")]


def test_of_too_many_those_that_fit_are_kept():
    bench = Sets()
    bench.open(qty="250")
    bench.establish()
    bench.position.apply_fill(fill("less", Side.SELL, "83.334", "42000"))
    assert bench.establish() is None
    assert bench.shown() == [("41160", "83.334"), ("41160", "83.332")]
    assert "PlaceStop" not in bench.asked()


# ---------------------------------------------------------------- at the cap


def test_at_the_cap_orphans_are_swept_once_and_it_is_tried_again(bench):
    at_cap(bench)
    assert bench.establish() is None
    assert bench.asked() == ["PlaceStop", "QueryOpenOrders", "PlaceStop"]


def test_at_the_cap_without_a_stop_of_its_own_it_fails(bench):
    at_cap(bench, 2)
    assert isinstance(bench.establish(), errors.TooManyOpenOrders)
    assert bench.asked() == ["PlaceStop", "QueryOpenOrders", "PlaceStop"]


def test_at_the_cap_the_old_set_goes_first_and_the_new_one_follows_at_once(bench):
    bench.establish()
    at_cap(bench, 2)
    assert bench.establish("41500") is None
    assert bench.asked()[:5] == [
        "PlaceStop", "QueryOpenOrders", "PlaceStop", "CancelOrder", "PlaceStop",
    ]  # fmt: skip
    assert bench.shown() == [("41500", ENTRY)]
    assert bench.position.stops.gap_ns > 0


def test_at_the_cap_a_new_stop_that_fails_brings_the_old_level_back(bench):
    bench.establish()
    at_cap(bench, 3)
    outcome = bench.establish("41500")
    assert isinstance(outcome, StopUnconfirmed)
    assert "old level" in str(outcome)
    assert bench.shown() == [("41160", ENTRY)]
    stops = bench.position.stops
    assert (stops.confirmed, stops.exposed_since_ns) == (41160, None)


def test_at_the_cap_nothing_is_placed_beside_an_old_set_that_may_live(bench):
    bench.establish()
    at_cap(bench, 2)
    refuse_cancels(bench)
    assert isinstance(bench.establish("41500"), StopsCrowded)
    assert bench.shown() == [("41160", ENTRY)]


# ---------------------------------------------------------------- cancels and look-ups


def test_cancels_of_a_set_come_with_growing_pauses(bench):
    bench.establish()
    refuse_cancels(bench)
    bench.establish("41500")
    began = bench.cancels()[0]
    for _ in range(70):
        bench.result(bench.style.discard(bench.position), 1)
    cancels = [round((at - began) / SECOND) for at in bench.cancels()]
    apart = [later - earlier for earlier, later in pairwise(cancels)]
    assert apart[1:4] == [2, 5, 15]
    assert apart[4] == 30


def test_a_cancel_waits_half_a_second_for_its_event_then_looks(bench):
    bench.establish()
    bench.venue.silent = True
    (stop,) = bench.position.stops.open()
    stop.wanted = False
    bench.result(bench.style.discard(bench.position))
    cancel, look = [at for at, _ in bench.venue.sent][-2:]
    assert look - cancel == 500 * MS
    assert stop.order.terminal


def test_a_persons_stop_is_let_alone(bench):
    bench.establish()
    (stop,) = bench.position.stops.open()
    stop.wanted = False
    bench.position.stops.forget(stop)
    stop.order.update(client_order_id="hand")
    bench.position.stops.add(stop)
    bench.result(bench.style.discard(bench.position))
    assert bench.cancels() == []
    assert bench.position.stops.open() == []


def test_a_look_that_finds_a_missing_stop_proves_that_the_list_lied(bench):
    bench.establish()
    (stop,) = bench.position.stops.open()
    stop.missing = True
    assert bench.result(bench.style.probe(bench.position)) is None
    assert not stop.missing
    assert bench.position.stops.list_lied_ns is not None


def test_a_missing_stop_that_is_over_or_unknown_proves_nothing(bench):
    bench.establish()
    (stop,) = bench.position.stops.open()
    stop.missing = True
    bench.venue.silent = True
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013", times=1))
    bench.result(bench.style.probe(bench.position))
    assert stop.missing
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.result(bench.style.probe(bench.position))
    assert stop.phase is StopPhase.GONE
    assert bench.position.stops.list_lied_ns is None


# ---------------------------------------------------------------- what holds


@pytest.mark.parametrize(
    ("level", "qty", "covers", "fits"),
    [
        ("41160", "0.005", True, True),
        ("41160", "0.004", True, False),
        ("41160", "0.006", False, False),
        ("41000", "0.005", True, False),
        ("41161", "0.005", False, False),
    ],
)
def test_a_set_covers_what_it_closes_at_its_level_or_a_looser_one(bench, level, qty, covers, fits):
    bench.establish()
    assert bench.style.covers(bench.position, D(level), D(qty)) is covers
    assert bench.style.fits(bench.position, D(level), D(qty)) is fits


def test_two_live_sets_cover_and_do_not_fit(bench):
    bench.establish()
    refuse_cancels(bench)
    bench.establish("41500")
    for stop in bench.position.stops.open():
        stop.wanted = True
    assert bench.style.covers(bench.position, D(41160), D("0.01"))
    assert not bench.style.fits(bench.position, D(41160), D("0.01"))
    assert not bench.style.fits(bench.position, D(41500), D(ENTRY))


def test_a_stop_that_closes_all_fits_whatever_the_size(bench):
    bench.establish()
    show(bench, close_position=True)
    assert bench.style.covers(bench.position, D(41160), D(99))
    assert bench.style.fits(bench.position, D(41160), D(99))
    assert bench.establish(qty="99") is None
    assert bench.asked() == []


@pytest.mark.parametrize(
    "changes", [{"trigger_by": PriceSource.LAST}, {"side": Side.BUY}, {"reduce_only": False}]
)
def test_an_unsound_stop_covers_nothing(bench, changes):
    bench.establish()
    show(bench, **changes)
    assert bench.style.covering(bench.position, D(41160)) == []
    assert not bench.style.covers(bench.position, D(41160), D(ENTRY))
