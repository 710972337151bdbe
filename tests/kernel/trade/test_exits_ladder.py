"""The exit ladder: which rung sends what, when it is looked, and what proves the end."""

from decimal import Decimal
from itertools import pairwise

import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import OrderType
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from kernel.trade.stop_breaker import THROUGH_BLOCK
from tests.kernel.fakes import Rule
from tests.kernel.trade.closing import OPERATOR, Closing

D = Decimal


@pytest.fixture
def bench():
    made = Closing()
    yield made
    assert made.crashes == []


@pytest.fixture
def attached():
    made = Closing(venue_names=("bybit",))
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- what is asked


def test_a_close_that_works_asks_once_reads_once_and_cancels_the_stop(bench):
    assert bench.close(bench.protected()).result() is True
    assert bench.words() == ["0 submit", "40 positions", "80 cancel"]


def test_without_events_the_order_is_looked_up_at_the_third_look(bench):
    position = bench.protected()
    bench.venue.silent = True
    assert bench.close(position).result() is True
    assert bench.words()[:4] == [
        "0 submit", "740 query_order", "780 executions", "820 positions",
    ]  # fmt: skip


def test_the_close_of_a_doubtful_position_begins_with_a_read(bench):
    assert bench.close(bench.protected(), doubtful=True).result() is True
    assert bench.words()[:5] == [
        "0 open_orders", "40 executions", "80 positions", "120 submit", "160 positions",
    ]  # fmt: skip


FULL, HALVES = [["0.005"]], [["0.003", "0.002"]]


def rungs(bench):
    """The quantities of each rung, and when its first order was sent."""
    quantities: list[list[str]] = []
    starts: list[int] = []
    for at, qty in bench.sent():
        if not starts or at - starts[-1] > 100:
            starts.append(at)
            quantities.append([])
        quantities[-1].append(qty)
    return starts, quantities


def test_refused_rungs_are_the_whole_again_then_halves_with_growing_pauses(bench):
    position = bench.protected()
    bench.refuse()
    task = bench.close(position, 60)
    starts, quantities = rungs(bench)
    assert quantities == 2 * FULL + 5 * HALVES
    apart = [later - earlier for earlier, later in pairwise(starts)]
    assert apart[:2] == [500 + 220, 1000 + 220], "a pause, one order, five reads"
    assert apart[2:] == [pause + 240 for pause in (2000, 5000, 10_000, 30_000)]
    assert task.result() is False
    assert position.state is PositionState.CLOSING
    assert bench.exits.in_progress(position)


def test_the_answer_no_comes_with_the_fourth_failed_rung(bench):
    bench.refuse()
    task = bench.close(bench.protected(), 4.2)
    assert not task.done
    assert len(bench.alerts("exit.not_flat")) == 3
    bench.run(bench.began + 4300 * MS)
    assert task.result() is False
    texts = [alert.text for alert in bench.alerts("exit.not_flat")]
    assert texts[0] == "close attempt 1 did not end flat: 0.005 left, trying on"
    assert {alert.severity for alert in bench.alerts("exit.not_flat")} == {"CRITICAL"}
    assert len({alert.dedupe for alert in bench.alerts("exit.not_flat")}) == 4


def test_the_odd_rungs_of_a_venue_with_attached_stops_close_whatever_there_is(attached):
    position = attached.protected(venue="bybit")
    attached.refuse()
    attached.close(position, 60)
    assert rungs(attached)[1] == 2 * FULL + HALVES + [["0"]] + HALVES + [["0"]] + HALVES


def test_an_odd_quantity_is_halved_upwards_and_one_step_is_not_halved(bench):
    position = bench.protected(qty="0.001")
    bench.refuse()
    bench.close(position, 5)
    assert rungs(bench)[1] == 4 * [["0.001"]]


def test_halves_are_split_by_the_market_maximum(bench):
    position = bench.protected(qty="250")
    bench.refuse()
    bench.close(position, 3)
    *_, last = rungs(bench)[1]
    assert sum(map(D, last)) == 250
    assert max(map(D, last)) <= 100


def test_without_an_instrument_the_venue_knows_its_own_limits(bench):
    position = bench.protected(qty="250")
    bench.services.desks["binance"].instruments.clear()
    assert bench.close(position).result() is True
    assert [qty for _, qty in bench.sent()] == ["250"]


def test_what_works_is_done_again_at_once(bench):
    """A part that filled begins the ladder anew, at its second rung."""
    position = bench.protected(qty="250")
    bench.refuse(times=2)
    bench.close(position, 20)
    assert position.state is PositionState.CLOSED
    starts, quantities = rungs(bench)
    assert len(starts) == 2
    assert sum(map(D, quantities[1])) == D("166.668")
    assert 500 <= starts[1] - starts[0] <= 1000


def test_the_next_rung_closes_what_the_venue_shows_and_not_what_is_known(bench):
    position = bench.protected()
    bench.refuse(times=1)
    bench.venue.held["BTCUSDT"].qty = D("0.002")
    bench.close(position, 3)
    assert [qty for _, qty in bench.sent()][:2] == ["0.005", "0.002"]


def test_where_the_read_fails_the_next_rung_closes_what_is_known(bench):
    position = bench.protected()
    bench.refuse(times=1)
    bench.refuse("open_orders", errors.OutcomeUnknown, times=1)
    bench.close(position, 3)
    assert [qty for _, qty in bench.sent()] == ["0.005", "0.005"]
    assert position.state is PositionState.CLOSED


# ---------------------------------------------------------------- looks


def test_flat_by_executions_is_looked_at_ten_times_a_rung(bench):
    position = bench.protected()
    bench.refuse("positions", errors.OutcomeUnknown)
    task = bench.close(position, 7)
    looks = bench.times("positions")
    assert [later - earlier for earlier, later in pairwise(looks)] == [
        pause + 20 for pause in (100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000)
    ]
    assert bench.alerts("exit.not_flat") == []
    bench.run(bench.began + 9 * SECOND)
    assert len(bench.alerts("exit.not_flat")) == 1
    assert not task.done


def test_on_a_slow_venue_the_next_rung_comes_after_ten_seconds(bench):
    """Ten looks would take longer than a position may be naked."""
    position = bench.protected()
    bench.refuse(error=errors.OutcomeUnknown, times=1)
    for kind in ("query_order", "executions", "positions"):
        bench.venue.rules.append(Rule(kind, delay_ns=SECOND))
    bench.close(position, 60)
    first, second = [at for at, _ in bench.sent()]
    assert 10_000 <= bench.times("open_orders")[0] <= 14_500
    assert second > first
    assert position.state is PositionState.CLOSED


def test_an_end_that_no_execution_tells_takes_reads_five_seconds_apart(bench):
    position = bench.protected()
    bench.venue.held.clear()
    task = bench.close(position, 45)
    assert not task.done
    assert position.state is PositionState.CLOSING
    bench.run(bench.began + 47 * SECOND)
    assert task.result() is True
    looks = bench.times("positions")
    assert looks[-1] - looks[0] >= 45_000
    assert [later - earlier for earlier, later in pairwise(looks)] == (len(looks) - 1) * [5080] or (
        {later - earlier for earlier, later in pairwise(looks)} == {5040, 5080}
    )
    (alert,) = bench.alerts("exit.unexplained")
    assert (alert.severity, alert.symbol, alert.dedupe) == ("ERROR", "BTCUSDT", position.id)
    assert len(bench.kinds("exit.unexplained")) == 1
    assert position.row.close_reason == OPERATOR


def test_a_lag_of_the_lists_that_is_longer_than_five_seconds_is_waited_for():
    bench = Closing(Settings.load({"VISIBILITY_LAG_SECONDS": "9"}))
    position = bench.protected()
    bench.venue.held.clear()
    bench.close(position, 60)
    looks = bench.times("positions")
    assert min(later - earlier for earlier, later in pairwise(looks)) >= 9000


def test_an_order_that_may_still_fill_is_no_unexplained_end(bench):
    """It was shown and has not ended: its executions are on the way."""
    position = bench.protected()
    bench.venue.rests = (OrderType.MARKET,)
    bench.at(bench.runtime.now() + 100 * MS, bench.venue.held.clear)
    bench.close(position, 9)
    looks = bench.times("positions")
    assert len(looks) > 5
    assert max(later - earlier for earlier, later in pairwise(looks)) < 1200
    assert position.state is PositionState.CLOSING


# ---------------------------------------------------------------- joining, hurrying, crashing


def test_a_position_that_is_over_needs_no_close(bench):
    position = bench.protected()
    bench.close(position)
    assert bench.close(position).result() is True
    assert bench.asked() == []


def test_the_reason_of_the_first_call_stays(bench):
    position = bench.protected()
    bench.refuse(times=1)
    bench.spawn(bench.exits.close(position, CloseReason.GUARD, "one"))
    bench.close(position)
    assert position.row.close_reason == CloseReason.GUARD
    assert not bench.exits.in_progress(position)


@pytest.mark.parametrize(
    ("state", "during"),
    [
        (PositionState.PENDING_SL, PositionState.ROLLBACK),
        (PositionState.ACTIVE, PositionState.CLOSING),
    ],
)
def test_the_state_announces_the_act_before_it(bench, state, during):
    position = bench.filled()
    if state is PositionState.ACTIVE:
        position.transition(PositionState.ACTIVE, "test")
    seen = []
    original = bench.venue._submit

    def submit(request):
        seen.append(position.state)
        return original(request)

    bench.venue._submit = submit
    bench.close(position)
    assert seen == [during]
    assert bench.store.rows[-1].close_reason == OPERATOR


def test_the_row_of_an_active_position_that_is_flat_already_never_says_closing(bench):
    position = bench.protected()
    bench.venue.silent = True
    (stop,) = bench.venue.stops()
    bench.venue.trigger(stop.client_order_id)
    (fill,) = bench.venue.fills[1:]
    bench.services.orders.on_fill("binance", fill)
    assert position.qty == 0
    states = []
    bench.run(bench.runtime.now())
    bench.close(position)
    states = [one.values["after"] for one in bench.kinds("position.state")]
    assert "CLOSING" not in states
    assert position.state is PositionState.CLOSED
    assert bench.sent() == []


def test_a_close_that_crashes_for_good_lets_nobody_wait(bench):
    position = bench.protected()

    def crash(*_, **__):
        raise RuntimeError("a bug")

    bench.services.commit_protect = crash
    task = bench.close(position, 120)
    assert task.result() is False
    assert not bench.exits.in_progress(position)
    assert len(bench.crashes) == 4
    bench.crashes.clear()


def test_a_close_that_crashes_once_goes_on(bench):
    position = bench.protected()
    real, calls = bench.services.commit_protect, []

    def crash_once(rows):
        calls.append(rows)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return real(rows)

    bench.services.commit_protect = crash_once
    assert bench.close(position, 60).result() is True
    assert len(bench.crashes) == 1
    bench.crashes.clear()


# ---------------------------------------------------------------- ends


def test_the_end_is_stored_and_said_with_its_figures(bench):
    position = bench.protected()
    bench.close(position)
    (said,) = bench.kinds("exit.flat")
    assert (said.position_id, said.values["reason"]) == (position.id, OPERATOR.value)
    ended = [
        row for row in bench.store.rows
        if getattr(row, "state", "") is PositionState.CLOSED
    ]  # fmt: skip
    assert ended[-1].closed_ns > 0
    assert position.stops.exposed_since_ns is None


def test_a_close_because_the_stop_is_through_is_counted_for_its_venue(bench):
    for _ in range(bench.settings.already_through_limit):
        bench.close(bench.protected(), 5, CloseReason.ALREADY_THROUGH)
    assert THROUGH_BLOCK in bench.services.desks["binance"].block_reasons
    other = Closing()
    for _ in range(other.settings.already_through_limit):
        other.close(other.protected(), 5)
    assert THROUGH_BLOCK not in other.services.desks["binance"].block_reasons
