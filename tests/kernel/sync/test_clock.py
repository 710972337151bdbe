"""The venue's clock against ours: when it is asked, and which offset blocks entries."""

from dataclasses import dataclass

import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.units import MINUTE, MS, SECOND
from kernel.model.venue import EffectClass
from kernel.sync.clock import OFFSET, ClockCheck
from tests.kernel.fakes import Rule
from tests.kernel.sync.whole import Whole

WAY_NS = 20 * MS
"""Half of the round trip."""
LIMIT_NS = 500 * MS


@dataclass
class Bench(Whole):
    """With a clock check of its own, which runs."""

    def __post_init__(self):
        super().__post_init__()
        self.clock = ClockCheck(self.services)


def begun(ahead_ns=0, venue_names=("binance",), **settings):
    values = {"CLOCK_OFFSET_LIMIT_MS": "500"} | settings
    bench = Bench(settings=Settings.load(values), venue_names=venue_names)
    bench.venue.clock_ns = ahead_ns
    bench.spawn(bench.clock.run())
    return bench


def asked(bench, name="binance"):
    return [
        at for at, request in bench.venues[name].sent if type(request).__name__.endswith("Time")
    ]


def test_the_offset_is_the_venues_clock_without_the_way():
    bench = begun(300 * MS)
    bench.after(1)
    assert bench.clock.offsets == {"binance": 300 * MS}
    assert bench.venue.classes == [EffectClass.QUERY]
    assert bench.desk.block_reasons == ()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("over_ns", "blocked"), [(0, False), (1, True)])
def test_an_offset_above_the_bound_and_the_half_way_blocks_entries(sign, over_ns, blocked):
    bench = begun(sign * (LIMIT_NS + WAY_NS + over_ns))
    bench.after(1)
    assert (OFFSET in bench.desk.block_reasons) is blocked
    assert [one.severity for one in bench.alerts("clock.offset")] == ["ERROR"] * blocked
    if blocked:
        assert bench.alerts("clock.offset")[0].text.startswith("the venue's clock is")


def test_an_offset_that_stays_is_told_of_once_and_lifted_when_it_is_gone():
    bench = begun(SECOND)
    bench.after(3 * 3600)
    assert len(bench.alerts("clock.offset")) == 1
    bench.venue.clock_ns = 0
    bench.after(5 * 60)
    assert bench.desk.block_reasons == ()


def test_each_venue_is_asked_every_five_minutes_for_itself():
    bench = begun(venue_names=("binance", "bybit"))
    bench.venues["bybit"].rules.append(Rule("time", errors.OutcomeUnknown, delay_ns=3 * SECOND))
    bench.after(11 * 60)
    first, second, third = asked(bench)
    assert (second - first, third - second) == (5 * MINUTE + 2 * WAY_NS,) * 2
    assert len(asked(bench, "bybit")) == 3


def test_without_a_periodic_sync_it_is_asked_when_the_wall_clock_moved():
    bench = begun(SYNC_INTERVAL_SECONDS="0")
    bench.after(30 * 60)
    assert len(asked(bench)) == 1
    bench.clock.stepped(0)
    bench.after(60)
    assert len(asked(bench)) == 2


def test_a_wall_clock_that_moved_is_compared_at_once():
    bench = begun()
    bench.after(60)
    bench.clock.stepped(0)
    bench.after(0)
    assert asked(bench) == [0, MINUTE]
    bench.after(4 * 60)
    assert len(asked(bench)) == 2


def test_a_venue_that_does_not_answer_changes_nothing():
    bench = begun(SECOND)
    bench.after(60)
    bench.venue.rules.append(Rule("time", errors.OutcomeUnknown, times=1))
    bench.clock.stepped(0)
    bench.after(60)
    assert OFFSET in bench.desk.block_reasons
    assert bench.clock.offsets == {"binance": SECOND}
    assert [one.venue for one in bench.kinds("clock.unread")] == ["binance"]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("off_ns", "corrected_ns"), [(0, 0), (WAY_NS, 0), (WAY_NS + MS, MS)])
def test_of_an_offset_no_more_is_corrected_than_is_proven(sign, off_ns, corrected_ns):
    bench = begun(sign * off_ns)
    bench.after(1)
    assert bench.venue.clock_offset_ns == sign * corrected_ns


def test_a_step_of_our_clock_is_taken_out_of_the_signatures_at_once():
    bench = begun(0)
    bench.after(1)
    bench.clock.stepped(2 * SECOND)
    assert bench.venue.clock_offset_ns == -2 * SECOND


def test_a_refused_request_has_the_clock_looked_at_but_not_each_one():
    bench = begun(0)
    bench.after(1)
    for _ in range(3):
        bench.desk.gateway.on_unread(bench.desk)
        bench.after(1)
    assert len(asked(bench)) == 2
    bench.after(10)
    bench.desk.gateway.on_unread(bench.desk)
    bench.after(1)
    assert len(asked(bench)) == 3
