"""What became of an entry's children: ten polls, what ends them early, and what stands in."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.messages import PriceRead
from kernel.model.orders import OrderStatus, PositionSide, PriceSource
from kernel.model.positions import PositionState
from kernel.model.units import MS, TsNs
from kernel.trade.entry_fill import FillWatch
from tests.kernel.fakes import Rule
from tests.kernel.trade.opening import Opening

D = Decimal
NEW, PARTLY, FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
CANCELED = OrderStatus.CANCELED
POLLS = [100, 300, 700, 1500, 2500, 3500, 4500, 5500, 6500, 7500]


class Watching(Opening):
    """A bench that notes when which child is looked up, or its executions read."""

    def __init__(self, venue="binance", **settings):
        super().__init__(Settings.load(settings), (venue,))
        self.watch = FillWatch(self.services, self)  # type: ignore[arg-type]
        self.looks = []
        self.at_poll = {}
        """What happens at the poll of a millisecond."""

    async def look_up(self, order):
        self.looks.append((self.ms, "order", order))
        self.at_poll.get(self.ms, lambda: None)()

    async def read_executions(self, order):
        self.looks.append((self.ms, "executions", order))

    def times(self, kind):
        return [at for at, one, _ in self.looks if one == kind]

    def positions(self):
        return [(at - self.began) // MS for at, _ in self.venue.requests("positions")]

    def wait(self, position, children, seconds=30):
        return self.result(self.watch.wait(position, children), seconds)


@pytest.fixture
def bench():
    return Watching()


@pytest.fixture
def needing():
    """A venue on which a stop needs a position that is shown."""
    made = Watching("bybit")
    made.venue.latency_ns = 0
    return made


# ---------------------------------------------------------------- ten polls


def test_ten_polls_with_growing_pauses_look_every_open_child_up(bench):
    position, children = bench.entry("0.002", "0.003")
    assert bench.wait(position, children) == (True, 7500)
    assert bench.times("order") == [at for at in POLLS for _ in range(2)]
    assert bench.times("executions") == bench.times("order")
    assert {id(order) for _, _, order in bench.looks} == {id(order) for order in children}
    assert bench.positions() == []


def test_what_is_not_known_after_ten_polls_is_not_visible_where_that_is_needed(needing):
    position, children = needing.entry("0.005")
    assert needing.wait(position, children) == (False, 7500)
    assert needing.positions() == [], "nothing is filled"


def test_what_the_last_poll_shows_counts(needing):
    position, children = needing.entry("0.005")
    needing.at_poll[7500] = lambda: needing.reports(children[0], CANCELED)
    assert needing.wait(position, children) == (True, 7500)


def test_a_child_that_ended_is_not_looked_up_and_its_executions_are_read_while_they_lack(bench):
    position, children = bench.entry("0.002", "0.003", "0.001")
    ended, lacks, _ = children
    bench.reports(ended, CANCELED)
    bench.reports(lacks, FILLED, "0.003", "42000")
    bench.wait(position, children, 0.2)
    looked = [(kind, children.index(order)) for _, kind, order in bench.looks]
    assert sorted(looked) == [("executions", 1), ("executions", 2), ("order", 2)]


def test_the_position_is_asked_for_where_it_must_be_visible_and_something_filled(needing):
    position, children = needing.entry("0.005")
    needing.fills(children[0], "0.001")
    needing.wait(position, children, 1)
    assert needing.positions() == [100, 300, 700]


# ---------------------------------------------------------------- what ends them early


def test_children_that_are_known_need_no_poll(bench):
    position, children = bench.entry("0.002", "0.003")
    for order, qty in zip(children, ("0.002", "0.003"), strict=True):
        bench.fills(order, qty)
    assert bench.wait(position, children) == (True, 0)
    assert bench.looks == []


def test_news_between_two_polls_are_looked_at_when_they_come(bench):
    position, children = bench.entry("0.002", "0.003")
    bench.later(20, lambda: bench.fills(children[0], "0.002"))
    bench.later(150, lambda: bench.fills(children[1], "0.003"))
    assert bench.wait(position, children) == (True, 150)
    assert bench.times("order") == [100], "the first news ended no pause"


def test_a_child_that_ended_unfilled_is_known_too(bench):
    position, children = bench.entry("0.005")
    bench.later(20, lambda: bench.reports(children[0], CANCELED))
    assert bench.wait(position, children) == (True, 20)


def test_executions_that_a_report_tells_of_are_waited_for(bench):
    position, children = bench.entry("0.005")
    bench.reports(children[0], FILLED, "0.005", "42000")
    bench.later(350, lambda: bench.fills(children[0], "0.005"))
    assert bench.wait(position, children) == (True, 350)


def test_executions_before_the_end_of_the_order_are_not_all_of_them(bench):
    position, children = bench.entry("0.005")
    bench.fills(children[0], "0.001")
    bench.later(350, lambda: bench.reports(children[0], CANCELED, "0.001", "42000"))
    assert bench.wait(position, children) == (True, 350)


@pytest.mark.parametrize("state", [PositionState.ROLLBACK, PositionState.ACTIVE])
def test_an_entry_that_is_over_is_not_waited_for(bench, state):
    position, children = bench.entry("0.005", state=PositionState.PENDING_SL)
    bench.later(250, lambda: position.transition(state, "test"))
    assert bench.wait(position, children) == (True, 250)


def test_after_the_fifth_poll_what_filled_is_the_entry_whatever_is_open(bench):
    position, children = bench.entry("0.002", "0.003")
    bench.fills(children[0], "0.002")
    assert bench.wait(position, children) == (True, 2500)


@pytest.mark.parametrize(
    ("shown", "outcome"),
    [
        ("", (False, 7500)),
        ("0.001", (False, 7500)),
        ("0.002", (True, 2500)),
        ("0.003", (True, 2500)),
    ],
)
def test_what_filled_is_the_entry_only_where_all_of_it_is_visible(needing, shown, outcome):
    position, children = needing.entry("0.002", "0.003")
    needing.fills(children[0], "0.002")
    if shown:
        needing.shows(position, shown)
    assert needing.wait(position, children) == outcome


@pytest.mark.parametrize(
    ("shown", "outcome"),
    [("", (False, 7500)), ("0.004", (False, 7500)), ("0.005", (True, 0)), ("0.006", (True, 0))],
)
def test_children_that_filled_are_complete_once_all_of_it_is_visible(needing, shown, outcome):
    position, children = needing.entry("0.005")
    needing.fills(children[0], "0.005")
    if shown:
        needing.shows(position, shown)
    assert needing.wait(position, children) == outcome


def test_what_did_not_fill_need_not_be_visible(needing):
    position, children = needing.entry("0.005")
    needing.reports(children[0], CANCELED)
    assert needing.wait(position, children) == (True, 0)


# ---------------------------------------------------------------- shown


@pytest.mark.parametrize(
    ("venue", "qty", "report", "shown"),
    [
        ("binance", "", None, False),
        ("binance", "0.002", None, True),
        ("binance", "0.002", ("0.002", PositionSide.SHORT), True),
        ("bybit", "", ("0.002", PositionSide.LONG), False),
        ("bybit", "0.002", None, False),
        ("bybit", "0.002", ("0.001", PositionSide.LONG), True),
        ("bybit", "0.002", ("0", PositionSide.LONG), False),
        ("bybit", "0.002", ("0.002", PositionSide.SHORT), False),
    ],
)
def test_a_stop_may_be_asked_for_once_the_venue_shows_a_part_where_it_must(
    venue, qty, report, shown
):
    bench = Watching(venue)
    position, children = bench.entry("0.005")
    if qty:
        bench.fills(children[0], qty)
    if report is not None:
        bench.shows(position, *report)
    assert bench.watch.shown(position) is shown


@pytest.mark.parametrize("fails", [True, False])
def test_a_look_for_the_position_takes_what_is_shown_and_no_answer_for_nothing(needing, fails):
    position, children = needing.entry("0.005")
    needing.fills(children[0], "0.005")
    needing.venue.open("BTCUSDT", position.side, "0.005", "42000")
    if fails:
        needing.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    needing.result(needing.watch.look_for(position), 1)
    assert needing.watch.shown(position) is not fails


# ---------------------------------------------------------------- what stands in


def test_a_report_stands_in_for_executions_at_its_average(bench):
    position, children = bench.entry("0.002", "0.003", "0.001")
    bench.reports(children[0], FILLED, "0.002", "42000")
    bench.reports(children[1], PARTLY, "0.002", "42010")
    bench.watch.infer(position, children)
    assert (position.qty, position.row.entry_price) == (D("0.004"), D("42005"))
    bench.run(bench.runtime.now())
    (told,) = bench.kinds("fill.inferred")
    assert told.values["qty"] == "0.004"


def test_without_an_average_the_market_stands_in(bench):
    position, children = bench.entry("0.002", "0.003")
    bench.reports(children[0], FILLED, "0.002", "42000")
    bench.reports(children[1], FILLED, "0.003")
    asked = []

    def last(venue, symbol, source):
        asked.append((venue, symbol, source))
        return PriceRead(D(42100), TsNs(bench.runtime.ts()))

    bench.prices.last = last
    bench.watch.infer(position, children)
    assert (position.qty, position.row.entry_price) == (D("0.005"), 42100)
    assert asked == [("binance", "BTCUSDT", PriceSource.MARK)]


def test_without_any_price_nothing_stands_in(bench):
    position, children = bench.entry("0.005")
    bench.reports(children[0], FILLED, "0.005")
    bench.prices.ticks.clear()
    bench.watch.infer(position, children)
    assert position.qty == 0


@pytest.mark.parametrize("reported", ["", "0.001", "0.002"])
def test_what_executions_tell_already_needs_nothing_in_their_place(bench, reported):
    position, children = bench.entry("0.005")
    bench.fills(children[0], "0.002")
    if reported:
        bench.reports(children[0], PARTLY, reported, "42000")
    bench.watch.infer(position, children)
    bench.run(bench.runtime.now())
    assert position.qty == D("0.002")
    assert bench.kinds("fill.inferred") == []
    assert not position.inferred
