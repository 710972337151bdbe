"""Random markets and random watch programmes, played on either price service; used by tests."""

import random
from decimal import Decimal
from functools import partial

from kernel.model.messages import WatchSet
from kernel.model.orders import PriceSource
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.bars import PATHS, BarTape
from venues.sim.feed import FeedModel
from venues.sim.market import Market
from venues.sim.quotes import QuoteTape, Spread
from venues.sim.tape import Tape

TICK_SIZES = (Decimal("0.1"), Decimal("0.05"), Decimal(1), Decimal("0.00025"), Decimal(20))


def walk(r, rows, coarse, jumpy):
    """Prices in ticks: small steps on a coarse grid, with jumps."""
    px, out = r.randint(30, 300), []
    for _ in range(rows):
        px += r.randint(-3, 3) if r.random() > jumpy else r.randint(-60, 60)
        px = min(max(px, 1), 2000)
        out.append(max(1, px // coarse * coarse))
    return out


def tape(r, start, span):
    rows = r.choice((1, 7, 9, 40, 120, 400))
    step = max(span // rows, 1)
    kind = r.random()
    ts, now = [], start + r.randint(0, step)
    for _ in range(rows):
        ts.append(now)
        if kind < 0.4:
            now += r.randint(0, 2) * step  # many ties
        elif kind < 0.8:
            now += r.randint(0, 2 * step)
        else:
            now += 0 if r.random() < 0.8 else 5 * step  # bursts
    px = walk(r, rows, r.choice((1, 1, 5, 20)), r.choice((0.0, 0.05, 0.3)))
    return Tape(ts, px, r.choice(TICK_SIZES))


def bar_tape(r, start, span):
    rows = r.choice((1, 3, 10, 30))
    length = max(span // rows // r.choice((1, 2)), 4)
    if r.random() < 0.2:
        length = r.randint(4, 60)  # prices move by several ticks a nanosecond
    columns: list[list[int]] = [[], [], [], [], []]
    now, last = start + r.randint(0, length), r.randint(30, 300)
    for _ in range(rows):
        first = last if r.random() < 0.6 else max(1, last + r.randint(-40, 40))
        last = max(1, first + r.randint(-20, 20)) if r.random() < 0.8 else first
        wick = r.choice((0, 0, 5, 30))
        low = max(1, min(first, last) - r.randint(0, wick))
        high = max(first, last) + r.randint(0, wick)
        for column, value in zip(columns, (now, first, high, low, last), strict=True):
            column.append(value)
        now += length * (1 if r.random() < 0.85 else r.randint(2, 4)) + (r.random() < 0.1)
    return BarTape(*columns, bar_ns=length, tick_size=r.choice(TICK_SIZES), path=r.choice(PATHS))


def prices(r, start, span):
    return (tape if r.random() < 0.6 else bar_tape)(r, start, span)


def times(tape):
    """When prices were made: the instants at which an edge of a gap matters."""
    if isinstance(tape, Tape):
        return list(tape.ts)
    return [at for bar in range(len(tape)) for at in tape.corner_times(bar)]


def feed(r, start, span, made, *, candles=False):
    delays, gaps = [], []
    at = start - r.randint(0, span // 4)
    for _ in range(r.choice((0, 1, 2, 4))):
        delays.append((at, r.choice((0, 1, span // 50, span // 10, span // 3))))
        at += r.randint(1, span // 2)
    for _ in range(r.choice((0, 0, 1, 3))):
        at = start + r.randint(-span // 10, span)
        end = at + r.randint(1, span // 6)
        if r.random() < 0.6:  # from one price, or just beside it, to another
            at = r.choice(made) + r.randint(-1, 1)
            end = max(at + 1, r.choice(made) + r.randint(-1, 1))
            end = min(end, at + span // 6 + 1)
        gaps.append((at, end))
    candle = 0
    if candles and r.random() < 0.7:
        candle = max(1, span // r.choice((3, 10, 30, 100, 1000)))
    return FeedModel(tuple(delays), tuple(gaps), candle)


def quotes(r, start, span):
    rows = r.choice((1, 10, 50))
    ts = sorted(start + r.randint(0, span) for _ in range(rows))
    bid = [r.randint(1, 300) for _ in range(rows)]
    ask = [px + r.randint(1, 4) for px in bid]
    qty = tuple(Decimal(r.randint(1, 9)) for _ in range(rows))
    tick_size = r.choice(TICK_SIZES)
    return QuoteTape(ts, bid, ask, bid_qty=qty, ask_qty=(Decimal(2),), tick_size=tick_size)


def markets(r, start, span, *, candles=False):
    """One to four markets on two venues, every kind of series and feed."""
    out = []
    for number in range(r.randint(1, 4)):
        is_last = r.random() < 0.4
        last = prices(r, start, span)
        out.append(
            Market(
                ("north", "south")[number % 2],
                ("AUSDT", "BUSDT")[number // 2],
                last,
                mark=None if is_last else prices(r, start, span),
                mark_is_last=is_last,
                quotes=quotes(r, start, span) if r.random() < 0.3 else None,
                spread=Spread(r.choice((Decimal(0), Decimal(3), Decimal("120.5"))), Decimal(5)),
                feed=feed(r, start, span, times(last), candles=candles),
            )
        )
    return out


class Programme:
    """Acts at random whenever it is called: sets, clears, reads; writes down all that it sees."""

    def __init__(self, seed, service_type, world, *, start, span, acts):
        self.r = random.Random(f"acts {seed}")
        self.agenda = Agenda(start - span // 20 - 1)
        self.markets = world
        self.span, self.acts_left = span, acts
        self.trace = []
        self.firings = 0
        self.encoded = b""
        self.prices = service_type(self.agenda, world, self.on_fired)
        timers = range(self.r.randint(0, 25))
        self.timers = sorted(start + self.r.randint(-span // 20, span) for _ in timers)
        for n in range(self.r.randint(1, 12)):
            due = start + self.r.randint(-1, span)
            if self.r.random() < 0.5:  # at the instant of a price, where order matters
                one = self.r.choice(world)
                due = one.feed.arrival(self.r.choice(times(one.last))) + self.r.randint(0, 1)
            self.agenda.push(due, RANK_MESSAGE, partial(self.act, f"message {n}"))

    def run(self):
        agenda = self.agenda
        for due in self.timers:
            while (ahead := agenda.next_due()) is not None and ahead <= due:
                agenda.pop_run()
            agenda.advance(due)
            self.act("timer")
        while agenda.pop_run():
            pass
        self.encoded = "\n".join(self.trace).encode()

    def on_fired(self, fired):
        self.firings += 1
        self.act(f"fired {fired}")

    def on_price(self, name):
        def action(read):
            self.firings += 1
            self.act(f"{name} {read}")

        return action

    def act(self, cause):
        self.note(cause)
        if self.acts_left <= 0:
            return
        self.acts_left -= 1
        for _ in range(self.r.choice((1, 1, 2, 4))):
            self.one_act()

    def note(self, what):
        self.trace.append(f"{self.agenda.now_ns} {what}")

    def one_act(self):
        r, market = self.r, self.r.choice(self.markets)
        source = r.choice((PriceSource.LAST, PriceSource.MARK))
        at_venue = self.prices.at_venue(market.venue)
        roll = r.random()
        if roll < 0.40:
            above, below = self.bounds(market, source)
            watch = WatchSet(
                watch_id=f"w{r.randint(0, 7)}",
                venue=market.venue,
                symbol=market.symbol,
                source=source,
                at_or_above=above,
                at_or_below=below,
            )
            self.note(watch)
            self.prices.watch(watch, self.agenda.now_ns)
        elif roll < 0.62:
            above, below = self.bounds(market, source)
            name = f"t{r.randint(0, 5)}"
            self.note(f"trigger {market.venue} {name} {market.symbol} {source} {above} {below}")
            at_venue.trigger(
                name, market.symbol, source, above=above, below=below,
                action=self.on_price(f"triggered {market.venue} {name}"),
            )
        elif roll < 0.66:
            if r.random() < 0.1:
                self.prices.clear_all()
            self.prices.clear(f"w{r.randint(0, 7)}")
        elif roll < 0.70:
            at_venue.clear(f"t{r.randint(0, 5)}")
        elif roll < 0.76:
            self.note(at_venue.next_tick(market.symbol, self.on_price("next tick")))
        elif roll < 0.82:
            delay = r.choice((0, 0, 1, self.span // 100, self.span // 7))
            self.agenda.push(
                self.agenda.now_ns + delay, RANK_MESSAGE, lambda: self.act("answer")
            )
        else:
            self.read(market, source, at_venue)

    def read(self, market, source, at_venue):
        since = self.agenda.now_ns - self.r.randint(-2, self.span)
        edges = [at for gap in market.feed.gaps for at in gap] + times(market.last)
        if self.r.random() < 0.5:
            since = self.r.choice(edges) + self.r.randint(-2, 1)
        self.note(self.prices.last(market.venue, market.symbol, source))
        self.note(self.prices.quote(market.venue, market.symbol))
        self.note(self.prices.extremes(market.venue, market.symbol, source, since))
        interval = max(self.span // self.r.choice((3, 20, 60)), 7)
        count = self.r.randint(1, 9)
        self.note(self.prices.candles(market.venue, market.symbol, source, interval, count))
        self.note(at_venue.last(market.symbol, source))
        self.note(at_venue.quote(market.symbol))

    def bounds(self, market, source):
        """Levels near the price that the kernel sees, between two ticks, or behind the price."""
        r = self.r
        series = market.mark if source is PriceSource.MARK and market.mark else market.last
        seen = self.prices.last(market.venue, market.symbol, source).price or series.tick_size * 100
        reach = r.choice((1, 3, 10, 40, 1000))
        up, down = (series.tick_size * r.randint(-1, reach) for _ in range(2))
        off_grid = series.tick_size / 3 if r.random() < 0.3 else Decimal(0)
        above, below = seen + up + off_grid, seen - down - off_grid
        side = r.random()
        return (above, None) if side < 0.35 else (None, below) if side < 0.7 else (above, below)


def play(seed, service_type, acts=60, *, candles=False):
    """Play one random world; gives the programme (with its trace) after the run."""
    r = random.Random(f"world {seed}")
    start = r.choice((1_000, 1_700_000_000_000_000_000))
    span = r.choice((400, 100_000, 60_000_000_000, 86_400_000_000_000))
    world = markets(r, start, span, candles=candles)
    programme = Programme(seed, service_type, world, start=start, span=span, acts=acts)
    programme.run()
    return programme
