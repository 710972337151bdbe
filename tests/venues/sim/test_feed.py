import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import SettingsError
from venues.sim.feed import FeedModel

steps = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=5)


def delays_of(steps):
    at, out = -5, []
    for wait, delay in steps:
        at += wait + 1
        out.append((at, delay))
    return tuple(out)


def piped(delays, ts):
    """A pipe, instant by instant: each arrives after its delay, none before an earlier one."""
    through = None
    for t in range(-10, ts + 1):
        in_force = [delay for start, delay in delays if start <= t]
        due = t + (in_force[-1] if in_force else 0)
        through = due if through is None else max(through, due)
    return through


@given(steps, st.integers(-10, 300))
def test_prices_arrive_after_the_delay_in_force_and_never_overtake(steps, ts):
    delays = delays_of(steps)
    assert FeedModel(delays).arrival(ts) == piped(delays, ts)


@given(steps, st.integers(-5, 400))
def test_reached_is_the_last_instant_that_has_arrived(steps, now):
    feed = FeedModel(delays_of(steps))
    reached = feed.reached(now)
    assert feed.arrival(reached) <= now < feed.arrival(reached + 1)


@given(steps, st.integers(-5, 400), st.integers(1, 50))
def test_reached_is_the_end_of_the_last_candle_that_has_arrived(steps, now, candle):
    feed = FeedModel(delays_of(steps), candle_ns=candle)
    reached = feed.reached(now)
    assert feed.arrival(reached) <= now < feed.arrival(reached + 1)
    assert (reached + 1) % candle == 0


@given(steps, st.integers(-10, 300), st.integers(1, 50))
def test_a_candle_leaves_at_its_end_and_arrives_as_one(steps, ts, candle):
    delays = delays_of(steps)
    end = (ts // candle + 1) * candle
    assert FeedModel(delays, candle_ns=candle).arrival(ts) == piped(delays, end)


def test_when_the_delay_drops_prices_arrive_together_behind_the_slow_ones():
    feed = FeedModel(((0, 100), (50, 10)))
    assert [feed.arrival(ts) for ts in (0, 49, 50, 60, 139, 140)] == [100, 149, 149, 149, 149, 150]


def test_gaps_that_touch_are_one_and_end_before_their_end():
    feed = FeedModel(gaps=((20, 30), (10, 20), (40, 41)))
    assert feed.gaps == ((10, 30), (40, 41))
    assert [feed.gap_at(ts) for ts in (9, 10, 29, 30, 40, 41)] == [
        None, (10, 30), (10, 30), None, (40, 41), None,
    ]


def test_every_bad_delay_and_gap_is_named_at_once():
    with pytest.raises(SettingsError) as caught:
        FeedModel(((10, -1), (10, 5)), ((7, 7),), -1)
    assert len(caught.value.problems) == 4
