"""The parts around a wave: real risk, book, orders, gateway and store writer; a scripted venue,
store and entry saga; virtual time in seconds since the start."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

import msgspec

from kernel.config import Settings
from kernel.errors import StoreError, VenueError
from kernel.model.instrument import Instrument
from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead
from kernel.model.orders import BalanceReport, Side
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import ClaimRow, SignalRow, StoredState, WaveRow
from kernel.model.signal import Signal
from kernel.model.traits import TRAITS
from kernel.model.units import SECOND, TsNs, install_decimal_context
from kernel.model.venue import QueryBalance
from kernel.ports.outbox import Outbox
from kernel.ports.prices import JournaledPrices
from kernel.ports.store import Committed
from kernel.runtime.scheduler import Runtime
from kernel.signals.buffer import Batch, SignalBuffer
from kernel.signals.schedule import WaveSchedule
from kernel.signals.timestamps import parse_utc
from kernel.trade.book import PositionBook
from kernel.trade.desk import VenueDesk
from kernel.trade.orders import OrderRegistry
from kernel.trade.risk import Risk
from kernel.trade.services import Services
from kernel.trade.watches import Watches
from kernel.trade.wave import Waves
from kernel.trade.writer import StoreWriter

D = Decimal
WAVE = "2026-01-05T12:00:00Z"
"""Expected by the check at 12:20."""
SYMBOLS = tuple(f"S{number:02}USDT" for number in range(1, 41))


def instrument(symbol, venue="binance", **changes):
    fields = {
        "venue": venue,
        "symbol": symbol,
        "base": symbol[:-4],
        "quote": "USDT",
        "tick_size": D("0.01"),
        "qty_step": D("0.001"),
        "min_qty": D("0.001"),
        "max_qty": D(1000),
        "max_market_qty": D(100),
        "min_notional": D(5),
    }
    return Instrument(**(fields | changes))


def signal(symbol, score=10, side=Side.BUY, wave=WAVE, **changes):
    fields = {
        "source": "feed",
        "venue": "binance",
        "symbol": symbol,
        "side": side,
        "candle_ns": parse_utc(wave),
        "score_week": D(score),
        "score_month": D(60),
    }
    return Signal(**(fields | changes))


def ranked(count):
    """Signals of the first so many symbols, the first with the best score."""
    return [signal(symbol, 100 - place) for place, symbol in enumerate(SYMBOLS[:count])]


class Quotes:
    """A price reader with one quote for all, and exceptions."""

    def __init__(self):
        self.bid, self.ask = D("99.99"), D("100.01")
        self.special: dict[str, tuple[Decimal, Decimal]] = {}

    def last(self, venue, symbol, source):
        return PriceRead(D(100), TsNs(1))

    def quote(self, venue, symbol):
        bid, ask = self.special.get(symbol, (self.bid, self.ask))
        return QuoteRead(bid, ask, D(10), D(10), TsNs(1))

    def extremes(self, venue, symbol, source, since_ns):
        return ExtremesRead()

    def candles(self, venue, symbol, source, interval_ns, count):
        return ()


class Account:
    """A venue that knows its balance and nothing else."""

    def __init__(self, runtime, name, available):
        self.traits = TRAITS[name]
        self.clock_offset_ns = 0
        self.events = runtime.channel()
        self.available = D(available)
        self.fails: VenueError | None = None
        self.asked = 0

    async def ask(self, request, cls, entity):
        assert isinstance(request, QueryBalance)
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return BalanceReport(asset="USDT", wallet=self.available, available=self.available)

    def start(self):
        """Nothing to connect."""

    def reconnect(self, reason):
        """Nothing to connect."""

    def take(self, body):
        raise AssertionError(f"no stream carries {body} here")


class Rows:
    """A store that keeps rows in order of commit and refuses claims that it has."""

    def __init__(self):
        self.commits = []
        self.claims = {}
        self.down = False

    async def commit(self, rows, cls):
        if self.down:
            raise StoreError("down")
        keys = [row.once_key for row in rows if isinstance(row, ClaimRow)]
        if any(key in self.claims for key in keys):
            return Committed(won=False)
        self.claims.update(dict.fromkeys(keys))
        self.commits.append(rows)
        return Committed()

    async def load(self, terms=None):
        raise StoreError("down")

    async def lease(self, terms, epoch):
        raise StoreError("no lease is kept")

    def all(self, kind):
        return [row for rows in self.commits for row in rows if isinstance(row, kind)]


@dataclass
class Saga:
    """An entry saga: by symbol "fail", "crash" or seconds until ACTIVE (0.5 unless told)."""

    services: Services
    script: dict[str, str | float] = field(default_factory=dict)
    plans: list = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    holds_budget: list = field(default_factory=list)

    async def open(self, signal, plan):
        services = self.services
        self.plans.append(plan)
        if not await services.commit_entry((plan.claim,)):
            return None
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        what = self.script.get(plan.symbol, 0.5)
        position = services.book.create(self.row(plan, signal))
        seconds = 0.5 if isinstance(what, str) else what
        await services.runtime.sleep(int(seconds * SECOND))
        self.busy -= 1
        if what == "crash":
            position.transition(PositionState.ROLLED_BACK, "crash")
            raise RuntimeError("a bug")
        if what == "fail":
            position.transition(PositionState.ROLLED_BACK, "refused")
            return None
        for state in ("ENTRY_PLACED", "PENDING_SL", "ACTIVE"):
            position.transition(PositionState(state), "script")
        return position

    def row(self, plan, signal):
        return PositionRow(
            position_id=f"{plan.venue}:{plan.symbol}",
            venue=plan.venue,
            symbol=plan.symbol,
            side=plan.side,
            state=PositionState.PENDING_ENTRY,
            wave_ns=plan.wave_ns,
            once_key=signal.once_key,
            intended_qty=plan.qty,
            filled_qty=plan.qty,
            entry_price=plan.reference_price,
            opened_ns=self.services.runtime.ts(),
        )


class WaveBench:
    """Starts at 12:19:00 unless told otherwise: the check of `WAVE` runs from second 60 to 180.

    Attributes:
        made: Every bench of the running test; `close_all` throws their tasks away.
    """

    made: ClassVar[list["WaveBench"]] = []

    @classmethod
    def close_all(cls):
        for bench in cls.made:
            bench.runtime.close()
        cls.made.clear()

    def __init__(
        self, start="2026-01-05T12:19:00Z", venues=("binance",), available=100_000, **settings
    ):
        install_decimal_context()
        self.made.append(self)
        self.start_ns = parse_utc(start)
        self.settings = Settings.model_validate(settings)
        self.runtime = runtime = Runtime(0, self.start_ns)
        self.outbox = outbox = Outbox(runtime)
        self.quotes = Quotes()
        self.store = Rows()
        book = PositionBook(runtime, outbox)
        self.services = Services(
            runtime=runtime,
            outbox=outbox,
            settings=self.settings,
            store=self.store,
            prices=JournaledPrices(self.quotes, outbox),
            book=book,
            orders=OrderRegistry(runtime, outbox, book, epoch=1),
            watches=Watches(runtime, outbox),
            writer=StoreWriter(runtime, outbox, self.settings, self.store),
        )
        self.crashes: list[tuple[str, BaseException]] = []
        self.services.on_crash = lambda name, error, *_: self.crashes.append((name, error))
        self.services.epoch = 1
        self.accounts = {}
        for name in venues:
            self.accounts[name] = Account(runtime, name, available)
            desk = VenueDesk(runtime, outbox, self.settings, self.accounts[name])
            desk.instruments = {symbol: instrument(symbol, name) for symbol in SYMBOLS}
            self.services.desks[name] = desk
        self.desk = self.services.desks[venues[0]]
        self.risk = self.services.risk = Risk(self.services)
        self.saga = Saga(self.services)
        self.schedule = WaveSchedule.of(self.settings)
        self.buffer = SignalBuffer(self.settings.signal_buffer_size)
        self.waves = Waves(self.services, self.saga, self.schedule, self.buffer)
        self.decisions = []
        self.effects = []
        self.services.supervise("writer", self.services.writer.run)

    def start(self, **state):
        """Begin as after a start that read this from the store."""
        stored = StoredState(epoch=1, **state)
        self.services.supervise("waves", lambda: self.waves.run(stored))
        self.settle()
        return self

    def until(self, second):
        """Let time pass, timers in order."""
        end_ns = int(second * SECOND)
        runtime = self.runtime
        self.settle()
        while (due := runtime.next_deadline()) is not None and due <= end_ns:
            due = max(due, runtime.now())
            runtime.set_time(due, self.start_ns + due)
            runtime.fire_due(due, inclusive=True)
            self.settle()
        runtime.set_time(end_ns, self.start_ns + end_ns)
        return self

    def settle(self):
        self.runtime.run_ready()
        effects, decisions, _ = self.outbox.drain()
        self.effects += effects
        self.decisions += decisions

    def arrive(self, *signals, flaws=()):
        """A message of the feed, as `Feed` hands it on."""
        now = self.runtime.ts()
        stamped = tuple(_stamped(one, now) for one in signals)
        window = self.schedule.window_at(now) or self.schedule.next_window(now)
        batch = Batch(arrived_ns=now, signals=stamped, flaws=flaws)
        fresh = self.buffer.add(batch, window.wave_ns)
        self.waves.on_batch(fresh)
        self.settle()
        return self

    def kinds(self, kind):
        return [decision for decision in self.decisions if decision.kind == kind]

    def drops(self):
        """Symbol → reason."""
        return {one.symbol: one.cause for one in self.kinds("signal.dropped")}

    def alerts(self):
        return [effect.body.kind for effect in self.effects if hasattr(effect.body, "severity")]

    def active(self):
        return [position.symbol for position in self.services.book.open()]

    def wave_row(self) -> WaveRow:
        return self.store.all(WaveRow)[-1]

    def signal_rows(self) -> dict[str, str]:
        """Symbol → last recorded drop reason."""
        return {row.symbol: row.drop_reason for row in self.store.all(SignalRow)}


def _stamped(one: Signal, now) -> Signal:
    return msgspec.structs.replace(one, arrived_ns=now)
