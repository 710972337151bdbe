"""The rules of the price service, each on both implementations."""

from decimal import Decimal

import pytest

from kernel.errors import InvariantViolation, SettingsError
from kernel.model.candle import Candle
from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead, WatchSet
from kernel.model.orders import PriceSource
from kernel.model.units import TsNs
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.bars import BarTape
from venues.sim.dense import DensePriceService
from venues.sim.feed import FeedModel
from venues.sim.market import Market
from venues.sim.prices import PriceService
from venues.sim.quotes import QuoteTape, Spread
from venues.sim.tape import Tape

LAST, MARK = PriceSource.LAST, PriceSource.MARK
ONE = Decimal(1)


class World:
    """An agenda, a price service, and what came out of it: (now, what, price)."""

    def __init__(self, kind, *markets):
        self.agenda = Agenda()
        self.seen = []
        self.then = {}
        self.prices = kind(self.agenda, list(markets), self.on_fired)
        self.venue = self.prices.at_venue("v")

    def on_fired(self, fired):
        self.seen.append((self.agenda.now_ns, fired.watch_id, int(fired.price)))
        if fired.watch_id in self.then:
            self.then[fired.watch_id](fired)

    def watch(self, name, *, above=None, below=None, symbol="A", source=LAST):
        effect = WatchSet(
            watch_id=name, venue="v", symbol=symbol, source=source,
            at_or_above=above and Decimal(above), at_or_below=below and Decimal(below),
        )
        self.prices.watch(effect, self.agenda.now_ns)

    def trigger(self, name, *, above=None, below=None, symbol="A", source=LAST):
        self.venue.trigger(
            name, symbol, source, above=above and Decimal(above), below=below and Decimal(below),
            action=lambda read: self.seen.append((self.agenda.now_ns, name, int(read.price))),
        )

    def at(self, ts_ns, action):
        self.agenda.push(ts_ns, RANK_MESSAGE, action)

    def run(self):
        while self.agenda.pop_run():
            pass
        return self.seen


def market(*ticks, symbol="A", **settings):
    if "mark" not in settings:
        settings["mark_is_last"] = True
    return Market("v", symbol, tape(*ticks), **settings)


def tape(*ticks):
    return Tape([ts for ts, _ in ticks], [px for _, px in ticks], ONE)


def price(value, ts_ns):
    return PriceRead(Decimal(value), TsNs(ts_ns))


def extremes(low, high, covered_from_ns, *, has_gap, ts_ns):
    covered = TsNs(covered_from_ns)
    return ExtremesRead(Decimal(low), Decimal(high), covered, has_gap, TsNs(ts_ns))


@pytest.fixture(params=[PriceService, DensePriceService], ids=["sparse", "dense"])
def kind(request):
    return request.param


def test_a_watch_fires_once_at_the_first_price_that_reaches_a_bound(kind):
    world = World(kind, market((10, 100), (20, 104), (30, 111), (40, 120), (50, 90)))
    world.watch("up", above=110)
    world.watch("down", below=95)
    world.watch("never", above=121)
    assert world.run() == [(30, "up", 111), (50, "down", 90)]


def test_a_watch_sees_nothing_of_the_instant_at_which_a_message_sets_it(kind):
    world = World(kind, market((10, 120), (20, 100), (30, 120)))
    world.at(10, lambda: world.watch("up", above=110))
    assert world.run() == [(30, "up", 120)]


def test_a_watch_set_while_a_tick_is_processed_sees_the_next_tick_of_the_same_instant(kind):
    """Prints of one millisecond share a stamp; a spike among them must not be missed."""
    world = World(kind, market((10, 100), (20, 110), (20, 130), (20, 100)))
    world.then["first"] = lambda _: world.watch("second", above=120)
    world.watch("first", above=110)
    assert world.run() == [(20, "first", 110), (20, "second", 130)]


def test_the_price_now_ends_at_the_tick_that_is_processed(kind):
    world = World(kind, market((10, 100), (20, 110), (20, 130), (20, 90)))
    reads = []
    world.then["first"] = lambda _: reads.extend(
        [world.prices.last("v", "A", LAST), world.prices.extremes("v", "A", LAST, 5)]
    )
    world.watch("first", above=110)
    world.run()
    assert reads == [
        price(110, 20),
        extremes(100, 110, 10, has_gap=False, ts_ns=20),
    ]


def test_extremes_begin_after_their_start(kind):
    world = World(kind, market((10, 300), (20, 100), (30, 120)))
    reads = []
    world.at(40, lambda: reads.append(world.prices.extremes("v", "A", LAST, 10)))
    world.at(40, lambda: reads.append(world.prices.extremes("v", "A", LAST, 30)))
    world.run()
    assert reads == [
        extremes(100, 120, 10, has_gap=False, ts_ns=30),
        ExtremesRead(covered_from_ns=TsNs(30)),
    ]


def test_at_one_nanosecond_the_venue_acts_before_a_watch_fires_before_a_message(kind):
    world = World(kind, market((10, 100), (20, 90)), market((5, 1), (20, 9), symbol="B"))
    world.at(20, lambda: world.seen.append((20, "message", 0)))
    world.watch("watch", below=95)
    world.trigger("stop of B", above=9, symbol="B")
    world.trigger("stop", below=95)
    assert [what for _, what, _ in world.run()] == ["stop", "stop of B", "watch", "message"]


def test_on_one_tick_calls_come_in_the_order_of_setting(kind):
    world = World(kind, market((10, 100), (20, 90)))
    for name in ("c", "a", "b"):
        world.watch(name, below=95)
    assert [what for _, what, _ in world.run()] == ["c", "a", "b"]


def test_a_call_may_clear_another_one_of_the_same_tick(kind):
    world = World(kind, market((10, 100), (20, 90)))
    world.then["first"] = lambda _: world.prices.clear("second")
    world.watch("first", below=95)
    world.watch("second", below=95)
    assert world.run() == [(20, "first", 90)]


def test_a_watch_under_an_id_in_use_takes_its_place(kind):
    world = World(kind, market((10, 100), (20, 90), (30, 80)))
    world.watch("w", below=95)
    world.watch("w", below=85)
    assert world.run() == [(30, "w", 80)]


def test_clearing_what_fired_or_never_was_changes_nothing(kind):
    world = World(kind, market((10, 100), (20, 90), (30, 80)))
    world.then["w"] = lambda _: (world.prices.clear("w"), world.watch("next", below=85))
    world.prices.clear("unknown")
    world.venue.clear("unknown")
    world.watch("w", below=95)
    assert world.run() == [(20, "w", 90), (30, "next", 80)]


def test_the_watches_of_a_dead_kernel_are_gone_while_the_stops_of_the_venue_stay(kind):
    world = World(kind, market((10, 100), (20, 90), (30, 80)))
    world.watch("first", below=95)
    world.watch("second", below=85)
    world.trigger("stop", below=95)
    world.at(15, world.prices.clear_all)
    assert world.run() == [(20, "stop", 90)]


def test_a_trigger_that_is_through_already_waits_for_the_next_price(kind):
    world = World(kind, market((10, 100), (20, 90), (30, 80)))
    world.at(20, lambda: world.trigger("late", below=95))
    assert world.run() == [(30, "late", 80)]


def test_the_venue_sees_the_tape_while_the_feed_is_late(kind):
    feed = FeedModel(((0, 15),))
    world = World(kind, market((10, 100), (20, 90), feed=feed))
    reads = []
    world.watch("watch", below=95)
    world.trigger("stop", below=95)
    world.at(34, lambda: reads.append((world.prices.last("v", "A", LAST), world.venue.last("A"))))
    assert world.run() == [(20, "stop", 90), (35, "watch", 90)]
    assert reads == [(price(100, 10), price(90, 20))]


def test_a_price_inside_a_gap_reaches_the_venue_and_never_the_kernel(kind):
    feed = FeedModel(gaps=((15, 25),))
    world = World(kind, market((10, 100), (20, 90), (30, 99), (40, 94), feed=feed))
    reads = []
    world.watch("watch", below=95)
    world.trigger("stop", below=95)
    world.at(25, lambda: reads.append(world.prices.last("v", "A", LAST)))
    for ts, since in ((12, 0), (30, 5), (30, 26)):
        world.at(ts, lambda s=since: reads.append(world.prices.extremes("v", "A", LAST, s)))
    assert world.run() == [(20, "stop", 90), (40, "watch", 94)]
    assert reads == [
        extremes(100, 100, 10, has_gap=False, ts_ns=10),
        price(100, 10),
        extremes(99, 100, 10, has_gap=True, ts_ns=30),
        extremes(99, 99, 26, has_gap=False, ts_ns=30),
    ]


def test_mark_and_last_are_watched_apart(kind):
    mark = tape((10, 100), (20, 99), (30, 94))
    world = World(kind, market((10, 100), (15, 90), mark=mark))
    world.watch("last", below=95)
    world.watch("mark", below=95, source=MARK)
    world.trigger("stop by mark", below=95, source=MARK)
    assert world.run() == [(15, "last", 90), (30, "stop by mark", 94), (30, "mark", 94)]


def test_a_mark_declared_equal_to_last_is_the_same_series(kind):
    world = World(kind, market((10, 100), (20, 90)))
    world.watch("mark", below=95, source=MARK)
    world.watch("last", below=95)
    assert [what for _, what, _ in world.run()] == ["mark", "last"]


def test_a_market_must_say_where_its_mark_comes_from():
    with pytest.raises(SettingsError, match="not neither"):
        Market("v", "A", tape((1, 1)))
    with pytest.raises(SettingsError, match="not both"):
        Market("v", "A", tape((1, 1)), mark=tape((1, 1)), mark_is_last=True)


def test_missing_bars_are_a_gap_for_the_kernel(kind):
    bars = BarTape(
        [0, 300], [100, 80], [110, 90], [95, 70], [105, 85], bar_ns=100, tick_size=ONE
    )
    world = World(kind, Market("v", "A", bars, mark_is_last=True))
    reads = []
    for ts, since in ((99, 10), (120, 90), (350, 320)):
        world.at(ts, lambda s=since: reads.append(world.prices.extremes("v", "A", LAST, s).has_gap))
    world.watch("down", below=90)
    assert world.run() == [(300, "down", 80)]
    assert reads == [False, True, False]


def test_a_bar_fires_at_the_level_itself(kind):
    bars = BarTape([0], [100], [120], [90], [110], bar_ns=60_000, tick_size=ONE)
    world = World(kind, Market("v", "A", bars, mark_is_last=True))
    world.watch("dip", below="95.5")
    world.trigger("stop", above=111)
    assert world.run() == [(10_000, "dip", 95), (34_000, "stop", 111)]


def test_the_next_tick_is_the_next_recorded_price(kind):
    world = World(kind, market((10, 100), (20, 90), (20, 91)))
    got = []

    def note(read):
        got.append((world.agenda.now_ns, int(read.price)))
        if len(got) < 2:
            world.venue.next_tick("A", note)

    world.at(10, lambda: world.venue.next_tick("A", note))
    world.at(20, lambda: got.append(world.venue.next_tick("A", note)))
    world.run()
    assert got == [(20, 90), (20, 91), False]


def test_quotes_are_modeled_around_the_last_price_of_each_side(kind):
    settings = {"spread": Spread(Decimal(200), Decimal(3)), "feed": FeedModel(((0, 15),))}
    world = World(kind, market((10, 100), (20, 200), **settings))
    reads = [world.prices.quote("v", "A"), world.venue.quote("A")]
    world.at(25, lambda: reads.extend([world.prices.quote("v", "A"), world.venue.quote("A")]))
    world.run()
    three = Decimal(3)
    assert reads == [
        QuoteRead(),
        QuoteRead(),
        QuoteRead(Decimal(99), Decimal(101), three, three, TsNs(10)),
        QuoteRead(Decimal(198), Decimal(202), three, three, TsNs(20)),
    ]


def test_recorded_quotes_are_late_and_lost_as_prices_are(kind):
    book = QuoteTape(
        [10, 20, 30], [98, 97, 96], [99, 98, 97],
        bid_qty=(ONE,), ask_qty=(ONE,), tick_size=ONE,
    )
    feed = FeedModel(((0, 5),), gaps=((20, 30),))
    world = World(kind, market((10, 100), quotes=book, feed=feed))
    reads = []
    for ts in (14, 15, 25, 34, 35):
        world.at(ts, lambda: reads.append(
            (int(world.prices.quote("v", "A").bid), int(world.venue.quote("A").bid))
        ))
    world.run()
    assert reads == [(0, 98), (98, 98), (98, 97), (98, 96), (96, 96)]


def test_nothing_is_known_before_the_first_price(kind):
    world = World(kind, market((10, 100)))
    assert world.prices.last("v", "A", LAST) == PriceRead()
    assert world.venue.last("A") == PriceRead()
    assert world.prices.quote("v", "A") == QuoteRead()
    assert world.prices.extremes("v", "A", LAST, 0) == ExtremesRead(covered_from_ns=TsNs(10))


def test_what_cannot_be_meant_is_refused(kind):
    world = World(kind, market((10, 100)))
    with pytest.raises(InvariantViolation, match="needs a bound"):
        world.watch("w")
    with pytest.raises(InvariantViolation, match="needs a bound"):
        world.trigger("t")
    with pytest.raises(InvariantViolation, match="no prices for v B"):
        world.watch("w", above=1, symbol="B")
    with pytest.raises(InvariantViolation, match="no prices for v B"):
        world.venue.last("B")
    effect = WatchSet(watch_id="w", venue="v", symbol="A", source=LAST, at_or_above=ONE)
    with pytest.raises(InvariantViolation, match="advance the agenda"):
        world.prices.watch(effect, 5)
    with pytest.raises(SettingsError, match="markets 0 and 1 are both v A"):
        World(kind, market((1, 1)), market((1, 1)))


def test_after_an_advance_everything_of_that_instant_has_been_seen(kind):
    world = World(kind, market((10, 100), (20, 90)))
    while (due := world.agenda.next_due()) is not None and due <= 20:
        world.agenda.pop_run()
    world.agenda.advance(20)
    assert world.prices.last("v", "A", LAST) == price(90, 20)
    assert world.venue.last("A") == price(90, 20)


def candles_at(kind, ts_ns, count, market_):
    """Candles of 10 ns as they are read at an instant: (open time, o, h, l, c, complete)."""
    world, reads = World(kind, market_), []
    world.at(ts_ns, lambda: reads.extend(world.prices.candles("v", "A", LAST, 10, count)))
    world.run()
    return [
        (c.open_ns, *map(int, (c.open, c.high, c.low, c.close)), c.complete)
        for c in reads
        if isinstance(c, Candle)
    ]


def test_candles_hold_what_was_made_from_their_opening_to_the_instant_before_the_next(kind):
    prices = market((10, 100), (13, 104), (19, 97), (19, 99), (20, 105), (30, 90))
    assert candles_at(kind, 30, 9, prices) == [
        (10, 100, 104, 97, 99, True),
        (20, 105, 105, 105, 105, True),
    ]


def test_the_newest_candles_are_given_and_none_before_its_end_is_reached(kind):
    prices = market((10, 100), (20, 101), (30, 102), (38, 103))
    assert candles_at(kind, 39, 1, prices) == [(20, 101, 101, 101, 101, True)]
    assert candles_at(kind, 40, 1, prices) == [(30, 102, 103, 102, 103, True)]


def test_a_candle_without_a_price_is_flat_and_one_in_which_the_record_begins_is_not_whole(kind):
    prices = market((13, 100), (17, 108), (35, 90))
    assert candles_at(kind, 40, 9, prices) == [
        (10, 100, 108, 100, 108, False),
        (20, 108, 108, 108, 108, True),
        (30, 90, 90, 90, 90, True),
    ]


def test_candles_of_bars_with_a_hole_say_that_they_are_not_whole(kind):
    bars = BarTape(
        [10, 30, 40], [100, 90, 91], [101, 92, 95], [99, 88, 91], [101, 91, 93],
        bar_ns=5, tick_size=ONE,
    )
    found = candles_at(kind, 60, 9, Market("v", "A", bars, mark_is_last=True))
    assert found == [
        (10, 100, 101, 99, 101, False),
        (20, 101, 101, 101, 101, False),
        (30, 90, 92, 88, 91, False),
        (40, 91, 95, 91, 93, True),
        (50, 93, 93, 93, 93, True),
    ]


def test_candles_come_from_the_venues_history_late_by_the_delay_of_the_feed_but_without_its_gaps(
    kind,
):
    feed = FeedModel(((0, 5),), ((22, 26),))
    prices = market((10, 100), (23, 150), (27, 99), feed=feed)
    assert candles_at(kind, 34, 1, prices) == [(10, 100, 100, 100, 100, True)]
    assert candles_at(kind, 36, 1, prices) == [(20, 150, 150, 99, 99, True)]
