"""The stop owner against a scripted venue with stops as orders of their own."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg, OrderIdParts, client_order_id, symbol_hash
from kernel.model.orders import OrderClass, OrderStatus, OrderType, PositionSide, PriceSource
from kernel.model.positions import CloseReason, Origin, PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import MINUTE, MS, SECOND, ZERO
from kernel.model.venue import PlaceStop
from tests.kernel.fakes import Bench, Rule

D = Decimal


@pytest.fixture
def bench():
    made = Bench().protection()
    yield made
    assert made.crashes == []


def protect(bench, position, seconds=40):
    task = bench.spawn(bench.stops.protect(position))
    bench.run(bench.runtime.now() + seconds * SECOND)
    assert task.done
    return task.result()


def test_the_first_stop_is_live_at_the_level_with_the_filled_quantity(bench):
    position = bench.filled()
    assert protect(bench, position) is True
    (stop,) = bench.venue.stops()
    assert (stop.trigger_price, stop.qty, stop.reduce_only) == (D(41160), D("0.005"), True)
    assert stop.trigger_by is PriceSource.MARK
    assert position.row.protected_level == D(41160)
    assert position.stops.verified


def test_an_acknowledgement_is_not_a_stop(bench):
    position = bench.filled()
    bench.venue.silent = True
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013"))
    assert protect(bench, position) is False
    assert not position.stops.verified


def test_a_stop_is_confirmed_by_a_query_when_the_stream_is_silent(bench):
    position = bench.filled()
    bench.venue.silent = True
    assert protect(bench, position) is True
    assert len(bench.venue.stops()) == 1


def test_an_unknown_outcome_is_sent_again_under_the_same_id(bench):
    position = bench.filled()
    bench.venue.rules.append(Rule("place_stop", errors.OutcomeUnknown, "timeout", times=2))
    assert protect(bench, position) is True
    ids = [request.client_order_id for _, request in bench.venue.requests("place_stop")]
    assert len(ids) == 3
    assert len(dict.fromkeys(ids)) == 1
    assert len(bench.venue.stops()) == 1


def test_a_stop_that_was_taken_and_is_not_to_be_seen_is_joined_by_one_more_at_most(bench):
    position = bench.filled()
    bench.venue.silent = True
    bench.venue.rules.append(Rule("query_order", errors.UnknownOrder, "-2013"))
    assert protect(bench, position) is False
    ids = [request.client_order_id for _, request in bench.venue.requests("place_stop")]
    assert len(ids) == 2
    assert len(dict.fromkeys(ids)) == 2


def test_an_unknown_outcome_that_was_applied_is_found_and_not_doubled(bench):
    position = bench.filled()
    bench.venue.silent = True
    bench.venue.rules.append(
        Rule("place_stop", errors.OutcomeUnknown, "timeout", applied=True, times=1)
    )
    assert protect(bench, position) is True
    assert len(bench.venue.requests("place_stop")) == 1
    assert len(bench.venue.stops()) == 1


def test_a_new_stop_is_confirmed_before_the_old_one_is_cancelled(bench):
    position = bench.protected()
    least = []
    venue = bench.venue
    original = venue.apply

    def watched(request):
        reply = original(request)
        least.append(len(venue.stops()))
        return reply

    venue.apply = watched
    task = bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert task.result() is True
    assert min(least) >= 1
    assert max(least) == 2
    assert [stop.trigger_price for stop in venue.stops()] == [D(41500)]
    assert position.row.protected_level == D(41500)


def test_a_looser_level_is_never_placed(bench):
    position = bench.protected()
    task = bench.spawn(bench.stops.tighten(position, D(41000), "test"))
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert task.result() is False
    assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41160)]


def test_a_failed_move_keeps_the_old_stop(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("place_stop", errors.FilterViolation, "-1111"))
    task = bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert task.result() is False
    assert position.row.protected_level == D(41160)
    assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41160)]


def test_an_unproven_cancel_stays_in_the_ledger_until_terminal(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, "timeout", times=3))
    bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(bench.runtime.now() + 2 * SECOND)
    assert len(bench.venue.stops()) == 2
    assert len(position.stops.to_cancel()) == 1
    bench.run(bench.runtime.now() + 30 * SECOND)
    assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41500)]
    assert position.stops.to_cancel() == []


def test_at_most_two_stops_are_open_while_an_old_cancel_is_unproven(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, "timeout"))
    bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(bench.runtime.now() + 2 * SECOND)
    task = bench.spawn(bench.stops.tighten(position, D(41700), "test"))
    bench.run(bench.runtime.now() + 20 * SECOND)
    assert task.result() is False
    assert len(bench.venue.stops()) == 2


def test_a_stop_that_the_venue_cancels_is_placed_again_at_once(bench):
    position = bench.protected()
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.CANCELED)
    lost = bench.runtime.now()
    bench.run(lost + SECOND)
    assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41160)]
    assert position.row.protected_level == D(41160)
    placed = bench.venue.requests("place_stop")[-1][0]
    assert placed - lost < 200 * MS


def test_a_lost_stop_that_the_market_passed_means_close_at_market(bench):
    position = bench.protected()
    (stop,) = bench.venue.stops()
    bench.venue.silent = True
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.price("41000")
    bench.venue.silent = False
    bench.venue._say(bench.venue.orders[stop.client_order_id].report)
    bench.run(bench.runtime.now() + 10 * SECOND)
    assert position.state is PositionState.CLOSED
    assert bench.venue.held == {}


def test_a_triggered_stop_ends_the_position_flat_with_its_fill_booked(bench):
    position = bench.protected()
    bench.price("41160")
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.STOP_LOSS
    assert position.row.exit_price == D(41160)
    assert position.row.realized_pnl == D("-4.2")
    assert bench.venue.requests("submit") == []
    assert bench.services.orders.open_orders() == []


def test_a_triggered_stop_that_does_not_fill_is_closed_at_market_after_three_seconds(bench):
    position = bench.protected()
    bench.venue.trigger_fills = False
    bench.price("41160")
    fired = bench.runtime.now()
    bench.run(fired + 2900 * MS)
    assert bench.venue.requests("submit") == []
    bench.run(fired + 10 * SECOND)
    (sent, _), *_ = bench.venue.requests("submit")
    assert 3 * SECOND <= sent - fired <= 3500 * MS
    assert position.state is PositionState.CLOSED


def test_a_stop_that_the_venue_passes_over_is_noticed_and_closed_at_market(bench):
    position = bench.protected()
    bench.venue.trigger = lambda client_order_id: None
    bench.price("41100")
    passed = bench.runtime.now()
    bench.run(passed + 2900 * MS)
    assert bench.venue.requests("submit") == []
    bench.run(passed + 10 * SECOND)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.STOP_LOSS
    assert len(bench.venue.requests("submit")) == 1


def test_a_feed_that_is_through_the_level_alone_closes_nothing(bench):
    position = bench.protected()
    original = bench.venue.position_report
    bench.venue.position_report = lambda symbol: msgspec.structs.replace(
        original(symbol), mark_price=D(42000)
    )
    bench.venue.trigger = lambda client_order_id: None
    bench.price("41100")
    bench.run(bench.runtime.now() + 60 * SECOND)
    assert position.state is PositionState.ACTIVE
    assert len(bench.venue.requests("executions")) <= 5
    bench.price("42000")
    bench.run(bench.runtime.now() + 60 * SECOND)
    assert position.state is PositionState.ACTIVE


def test_a_triggered_stop_is_never_moved(bench):
    position = bench.protected()
    bench.venue.trigger_fills = False
    bench.price("41160")
    bench.run(bench.runtime.now() + 100 * MS)
    task = bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(bench.runtime.now() + SECOND)
    assert task.result() is False


def test_a_rejected_stop_with_the_market_back_above_the_level_is_placed_again(bench):
    position = bench.protected()
    bench.venue.trigger_fills = False
    bench.price("41160")
    (stop,) = bench.venue.stops()
    bench.price("41800")
    bench.venue.end(stop.client_order_id, OrderStatus.REJECTED)
    bench.run(bench.runtime.now() + 3 * SECOND)
    assert position.state is PositionState.ACTIVE
    assert [s.trigger_price for s in bench.venue.stops()] == [D(41160)]


def test_a_growing_position_gets_the_larger_stop_before_the_smaller_one_goes(bench):
    position = bench.protected()
    bench.venue.held["BTCUSDT"].qty = D("0.008")
    bench.venue._say_position("BTCUSDT")
    bench.run(bench.runtime.now() + 70 * SECOND)
    bench.spawn(bench.stops.ensure(position, "size"))
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert [stop.qty for stop in bench.venue.stops()] == [D("0.008")]


def test_a_quantity_above_the_market_maximum_is_a_protective_set(bench):
    position = bench.filled(qty="250")
    assert protect(bench, position) is True
    stops = bench.venue.stops()
    assert sum(stop.qty for stop in stops) == D(250)
    assert max(stop.qty for stop in stops) <= D(100)
    assert len(dict.fromkeys(stop.trigger_price for stop in stops)) == 1


def test_at_the_cap_orphans_are_swept_and_the_stop_is_placed(bench):
    bench.cap_conditionals(1)
    old = bench.protected()
    (stop,) = bench.venue.stops()
    del bench.venue.held["BTCUSDT"]
    old.transition(PositionState.CLOSED, "test")
    position = bench.filled()
    assert protect(bench, position) is True
    assert len(bench.venue.stops()) == 1
    assert bench.venue.stops()[0].client_order_id != stop.client_order_id


def test_at_the_cap_with_nothing_to_sweep_the_old_stop_goes_first_and_comes_back_on_failure(bench):
    position = bench.protected()
    bench.cap_conditionals(1)
    task = bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(bench.runtime.now() + 10 * SECOND)
    assert task.result() is True
    assert [s.trigger_price for s in bench.venue.stops()] == [D(41500)]
    bench.venue.rules.append(
        Rule("place_stop", errors.FilterViolation, "-1111", when=lambda r: r.trigger_price > 41600)
    )
    task = bench.spawn(bench.stops.tighten(position, D(41700), "test"))
    bench.run(bench.runtime.now() + 10 * SECOND)
    assert task.result() is False
    assert [s.trigger_price for s in bench.venue.stops()] == [D(41500)]
    assert position.row.protected_level == D(41500)


def test_a_stop_that_fires_during_the_swap_leaves_nothing_behind(bench):
    position = bench.protected()
    start = bench.runtime.now()
    bench.spawn(bench.stops.tighten(position, D(41900), "test"))
    bench.at(start + 30 * MS, lambda: bench.price("41160"))
    bench.run(start + 20 * SECOND)
    assert position.state is PositionState.CLOSED
    assert bench.venue.stops() == []
    assert bench.venue.held == {}


def test_events_of_an_old_stop_do_not_touch_the_new_one(bench):
    position = bench.protected()
    (old,) = bench.venue.stops()
    bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(bench.runtime.now() + 5 * SECOND)
    before = len(bench.venue.requests("place_stop"))
    bench.venue._say(bench.venue.orders[old.client_order_id].report)
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert len(bench.venue.requests("place_stop")) == before
    assert position.stops.verified


def test_a_short_is_protected_above_the_market(bench):
    position = bench.filled(side=PositionSide.SHORT)
    assert protect(bench, position) is True
    (stop,) = bench.venue.stops()
    assert stop.trigger_price == D(42840)
    assert stop.side.value == "BUY"


def test_protection_waits_for_a_stalled_store_no_longer_than_its_limit(bench):
    bench.store.delay_ns = 60 * SECOND
    position = bench.filled()
    bench.spawn(bench.stops.protect(position))
    bench.run(SECOND)
    (sent, _), *_ = bench.venue.requests("place_stop")
    assert sent <= 100 * MS


class TestFoundStops:
    """What stands on the venue after a start."""

    def restarted(self, bench, **given):
        return bench.filled(state=PositionState.ACTIVE, level=D(41160), **given)

    def stop_order(self, bench, position, trigger, qty="0.005", client_id=""):
        made = client_id or bench.services.orders.new_id(position, Leg.STOP)
        bench.venue.apply(
            PlaceStop(
                symbol=position.symbol,
                side=position.side.exit_side,
                qty=D(qty),
                trigger_price=D(trigger),
                trigger_by=PriceSource.MARK,
                client_order_id=made,
            )
        )
        return made

    def test_a_stop_of_an_earlier_wave_is_not_this_positions(self, bench):
        position = self.restarted(bench)
        parts = OrderIdParts(
            epoch=1,
            wave_minute=position.row.wave_ns // MINUTE - 15,
            symbol_hash=symbol_hash("binance", "BTCUSDT"),
            leg=Leg.STOP,
            child=0,
            generation=1,
        )
        found = self.stop_order(bench, position, "41160", client_id=client_order_id(parts))
        bench.spawn(bench.stops.ensure(position, "start"))
        bench.run(bench.runtime.now() + 20 * SECOND)
        (stop,) = bench.venue.stops()
        assert stop.client_order_id != found
        assert position.stops.verified

    def test_a_stop_whose_row_the_store_lost_is_known_by_its_id(self, bench):
        position = self.restarted(bench)
        found = self.stop_order(bench, position, "41300")
        bench.spawn(bench.stops.ensure(position, "start"))
        bench.run(bench.runtime.now() + 20 * SECOND)
        assert [stop.client_order_id for stop in bench.venue.stops()] == [found]
        assert position.row.protected_level == D(41300)

    def test_a_stop_of_this_position_at_the_level_is_kept(self, bench):
        position = self.restarted(bench)
        found = self.register_stop(bench, position, "41160")
        bench.spawn(bench.stops.ensure(position, "start"))
        bench.run(bench.runtime.now() + 20 * SECOND)
        assert [stop.client_order_id for stop in bench.venue.stops()] == [found]
        assert len(bench.venue.requests("place_stop")) == 0

    def test_a_looser_stop_of_this_position_is_moved_to_the_level(self, bench):
        position = self.restarted(bench)
        self.register_stop(bench, position, "41000")
        bench.spawn(bench.stops.ensure(position, "start"))
        bench.run(bench.runtime.now() + 20 * SECOND)
        assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41160)]

    def test_a_tighter_stop_of_this_position_is_kept_and_becomes_the_level(self, bench):
        position = self.restarted(bench)
        self.register_stop(bench, position, "41300")
        bench.spawn(bench.stops.ensure(position, "start"))
        bench.run(bench.runtime.now() + 20 * SECOND)
        assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41300)]
        assert position.row.protected_level == D(41300)

    def register_stop(self, bench, position, trigger):
        made = bench.services.orders.new_id(position, Leg.STOP)
        bench.services.orders.register(
            OrderRow(
                venue="binance",
                client_order_id=made,
                symbol=position.symbol,
                position_id=position.id,
                order_class=OrderClass.CONDITIONAL,
                order_type=OrderType.STOP_MARKET,
                side=position.side.exit_side,
                qty=D("0.005"),
                reduce_only=True,
                trigger_price=D(trigger),
            )
        )
        return self.stop_order(bench, position, trigger, client_id=made)

    def test_a_persons_stop_on_a_foreign_position_counts_and_is_never_cancelled(self, bench):
        position = bench.filled(origin=Origin.FOREIGN)
        self.stop_order(bench, position, "41500", client_id="person-1")
        assert protect(bench, position) is True
        assert [stop.client_order_id for stop in bench.venue.stops()] == ["person-1"]
        assert position.row.protected_level == D(41500)
        position.transition(PositionState.ACTIVE, "stop confirmed")
        bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "test"))
        bench.run(bench.runtime.now() + 20 * SECOND)
        assert position.state is PositionState.CLOSED
        assert [stop.client_order_id for stop in bench.venue.stops()] == ["person-1"]

    def test_a_persons_looser_stop_is_joined_by_ours_and_left_alone(self, bench):
        position = bench.filled(origin=Origin.FOREIGN)
        self.stop_order(bench, position, "41000", client_id="person-1")
        assert protect(bench, position) is True
        assert sorted(stop.trigger_price for stop in bench.venue.stops()) == [D(41000), D(41160)]
        bench.run(bench.runtime.now() + 120 * SECOND)
        assert len(bench.venue.stops()) == 2

    def test_without_any_stop_the_protected_level_is_placed(self, bench):
        position = self.restarted(bench)
        bench.spawn(bench.stops.ensure(position, "start"))
        bench.run(bench.runtime.now() + 20 * SECOND)
        assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41160)]
        assert position.row.protected_level != ZERO
