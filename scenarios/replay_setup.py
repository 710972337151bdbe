"""From market data and signals to the world of a replay.

Instruments are the well-known contracts, or rows of a file of steps, or (for other symbols) made
from the data: its tick, and a quantity step that is worth at most about one unit of the quote
currency at the first price. Which of the three it was stands in the notes of the plan.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from pathlib import Path

import msgspec

from kernel.config import Settings
from kernel.errors import SettingsError
from kernel.model.instrument import Instrument
from kernel.model.units import DAY, ONE, text
from kernel.signals.timestamps import format_utc
from replay.datasets import MarketData
from replay.momentum import Recipe, generate
from replay.series import CandleSet, FundingSet, QuoteSet, Series, TradeSet
from replay.sources import BOTH, VENUES
from replay.tapes import bar_tape, feed_gaps, quote_tape, tick_tape
from replay.waves import SignalRow, between
from scenarios.world import WorldSetup
from venues.sim.account import AccountRules
from venues.sim.bars import BarTape
from venues.sim.bars import Path as BarPath
from venues.sim.fault_kinds import AnyFault, Cue, VenueAct
from venues.sim.feed import FeedModel
from venues.sim.instruments import known_instrument, known_symbols, make_instrument
from venues.sim.market import Market
from venues.sim.matching import MarketFill
from venues.sim.quotes import Spread
from venues.sim.signal_server import Posted
from venues.sim.tape import Tape
from venues.sim.venue import VenueSetup

TAIL_NS = 240_000_000_000
"""Quiet time behind the last price, in which everything must converge."""

NO_SIGNALS = (
    "no signal lies in the period; generated ones need --fewest (16) quarter hours of history"
)
LONGEST_HOLE_NS = DAY
"""Longer without a price of any symbol is a mistake in the choice of files."""


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller says of a replay besides data and waves."""

    venue: str = ""
    """Trade all data on this venue, or on both; "": each series on its own."""
    from_ns: int = 0
    to_ns: int = 0
    """0: to the end of the data."""
    path: BarPath = "close-rule"
    dense: bool = False
    seed: int = 0
    spread_bps: Decimal = ONE
    slippage_bps: Decimal = Decimal(0)
    deposit: Decimal = Decimal(100_000)
    steps_file: Path | None = None
    """CSV with symbol, tick_size, lot_size and perhaps min_order_size."""
    market_fill: MarketFill = "last"
    feed_candle_ns: int = 0
    """The kernel sees closed candles of this length; 0: every price."""


class ReplayPlan(msgspec.Struct, kw_only=True):
    """Everything that a replay is made of. `end_ns` is where its prices end."""

    settings: Settings
    setup: WorldSetup
    seed: int
    end_ns: int
    ticks: int
    signals: int
    waves: int
    data_digest: str
    instruments_hash: str
    notes: tuple[str, ...]


def plan_replay(
    settings: Settings,
    data: MarketData,
    rows: list[SignalRow] | None,
    options: ReplayOptions,
    recipe: Recipe | None = None,
) -> ReplayPlan:
    """The plan of a replay.

    Args:
        settings: Of the kernel.
        data: Every series of the run.
        rows: Recorded signals; None: generated from closed candles with `options.seed`.
        options: Period, venue, how bars are walked.
        recipe: Of generated waves.

    Raises:
        SettingsError: Every problem of period, symbols and instruments.
    """
    series = _on_venue(data.series, options.venue)
    start_ns, end_ns = _period(series, options)
    _refuse_holes(series, start_ns, end_ns)
    if rows is None:
        candles = [one for one in series if isinstance(one, CandleSet) and one.price == "last"]
        rows = generate(options.seed, candles, recipe)
    elif options.venue and options.venue != BOTH:
        rows = [msgspec.structs.replace(row, exchange=options.venue) for row in rows]
    rows = between(rows, start_ns, end_ns)
    cut = [one for each in series if len(one := each.between(start_ns, end_ns))]
    notes: list[str] = [] if rows else [NO_SIGNALS]
    instruments = _instruments(cut, options, notes)
    markets = _markets(cut, options, notes)
    venues = list(dict.fromkeys(market.venue for market in markets))
    account = AccountRules(deposit=options.deposit, keep_ledger=False)
    setups = {
        venue: VenueSetup(
            account=account,
            slippage_bps=options.slippage_bps,
            market_fill=options.market_fill,
            seed=options.seed,
            faults=_funding(cut, venue, start_ns),
            origin_ns=start_ns,
        )
        for venue in venues
    }
    setup = WorldSetup(
        start_ns=start_ns,
        markets=markets,
        instruments=instruments,
        setups=setups,
        posted=tuple(_arrival(row) for row in rows),
        dense=options.dense,
    )
    return ReplayPlan(
        settings=settings,
        setup=setup,
        seed=options.seed,
        end_ns=end_ns,
        ticks=sum(_ticks(market.last) for market in markets),
        signals=len(rows),
        waves=len(dict.fromkeys(row.candle_ns for row in rows)),
        data_digest=data.digest(),
        instruments_hash=instruments_hash(instruments),
        notes=tuple(notes),
    )


def instruments_hash(instruments: list[Instrument]) -> str:
    """32 hexadecimal characters that stand for the instruments, in their order."""
    return blake2b(msgspec.msgpack.encode(instruments), digest_size=16).hexdigest()


def _arrival(row: SignalRow) -> Posted:
    return Posted(row.arrival_ns, msgspec.json.Encoder(decimal_format="number")
                   .encode(row.payload()).decode())  # fmt: skip


def _on_venue(series: tuple[Series, ...], venue: str) -> list[Series]:
    """Every series on a venue, on both, or each on its own."""
    if not venue:
        return list(series)
    venues = VENUES if venue == BOTH else (venue,)
    return [replace(one, venue=name) for name in venues for one in series]


def _period(series: list[Series], options: ReplayOptions) -> tuple[int, int]:
    priced = [one for one in series if not isinstance(one, FundingSet)]
    if not priced:
        line = "data: no prices of the chosen symbols and kinds; give candles or trades"
        raise SettingsError([line])
    first = min(one.first_ns for one in priced)
    last = max(one.end_ns for one in priced)
    start = max(first, options.from_ns)
    end = min(last, options.to_ns or last)
    inside = [one for each in priced if len(one := each.between(start, end))]
    if start >= end or not inside:
        told = format_utc(options.from_ns or first), format_utc(options.to_ns or last)
        asked = f"period: {told[0]} to {told[1]} holds no prices"
        held = f"the data lies in {format_utc(first)} to {format_utc(last)}"
        raise SettingsError([f"{asked}: {held}; choose a part of it"])
    return min(one.first_ns for one in inside), max(one.end_ns for one in inside)


def _refuse_holes(series: list[Series], start_ns: int, end_ns: int) -> None:
    """Raise `SettingsError` where no series has any price for longer than a day."""
    spans = [
        (max(one.first_ns, start_ns), min(one.end_ns, end_ns))
        for one in series
        if not isinstance(one, FundingSet)
    ]
    reached = start_ns
    problems = []
    for first, last in sorted(spans):
        if first < last and first - reached > LONGEST_HOLE_NS:
            hole = f"{format_utc(reached)} to {format_utc(first)}"
            problems.append(f"data: no prices from {hole}; choose a part with --from and --to")
        reached = max(reached, last)
    if problems:
        raise SettingsError(problems)


# ---------------------------------------------------------------- instruments


def _instruments(
    series: list[Series], options: ReplayOptions, notes: list[str]
) -> list[Instrument]:
    steps = _read_steps(options.steps_file) if options.steps_file else {}
    made: dict[tuple[str, str], Instrument] = {}
    problems: list[str] = []
    derived: list[str] = []
    for one in series:
        if isinstance(one, FundingSet) or (one.venue, one.symbol) in made:
            continue
        try:
            made[(one.venue, one.symbol)] = _instrument(one, steps, derived)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    if derived:
        notes.append(f"instruments made from the data: {', '.join(derived)}")
    return list(made.values())


def _instrument(
    one: Series, steps: dict[str, tuple[Decimal, Decimal, Decimal]], derived: list[str]
) -> Instrument:
    assert not isinstance(one, FundingSet)
    venue, symbol, tick = one.venue, one.symbol, one.tick_size
    if symbol in known_symbols():
        known = known_instrument(venue, symbol)
        finer = min(known.tick_size, tick)
        return msgspec.structs.replace(known, tick_size=finer)
    if symbol in steps:
        told_tick, step, least = steps[symbol]
        return make_instrument(
            venue, symbol, tick_size=min(told_tick, tick), qty_step=step, min_qty=least
        )
    price = Decimal(_first_price(one)) * tick
    step = _step_worth_one(price)
    derived.append(f"{symbol} (tick {text(tick)}, step {text(step)})")
    return make_instrument(
        venue, symbol, tick_size=tick, qty_step=step, min_notional=Decimal(5)
    )


def _first_price(one: CandleSet | TradeSet | QuoteSet) -> int:
    if isinstance(one, CandleSet):
        return int(one.open[0])
    return int(one.px[0]) if isinstance(one, TradeSet) else int(one.bid[0])


def _step_worth_one(price: Decimal) -> Decimal:
    """The largest power of ten of base units that is worth at most one unit of the quote."""
    step = Decimal(1).scaleb(-price.adjusted())
    return step if step * price <= 1 else step.scaleb(-1)


def _read_steps(path: Path) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    found: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    problems: list[str] = []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for line, row in enumerate(csv.DictReader(stream), start=2):
                try:
                    tick, step = Decimal(row["tick_size"]), Decimal(row["lot_size"])
                    least = Decimal(row.get("min_order_size") or row["lot_size"])
                    if min(tick, step, least) <= 0:
                        raise InvalidOperation
                    found[row["symbol"]] = (tick, step, least)
                except (KeyError, TypeError, InvalidOperation):
                    problems.append(
                        f"{path}:{line}: needs symbol, tick_size, lot_size above 0; correct it"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError([f"{path}: cannot be read: {error}"]) from error
    if problems:
        raise SettingsError(problems)
    return found


# ---------------------------------------------------------------- markets


def _markets(series: list[Series], options: ReplayOptions, notes: list[str]) -> list[Market]:
    """One market for each symbol with prices: trades where there are some, else candles."""
    by_symbol: dict[tuple[str, str], dict[str, Series]] = {}
    for one in series:
        kind = str(one.kind)
        if isinstance(one, CandleSet) and one.price == "mark":
            kind = "mark"
        held = by_symbol.setdefault((one.venue, one.symbol), {})
        finest = held.get(kind)
        if not _is_coarser(one, finest):
            held[kind] = one
    made = []
    unmarked: list[str] = []
    for (venue, symbol), held in sorted(by_symbol.items()):
        last = held.get("trades") or held.get("candles")
        if last is None:
            continue
        mark = held.get("mark")
        if mark is None:
            unmarked.append(symbol)
        quotes = held.get("quotes")
        made.append(
            Market(
                venue,
                symbol,
                _tape(last, options.path),
                mark=None if mark is None else _tape(mark, options.path),
                mark_is_last=mark is None,
                quotes=quote_tape(quotes) if isinstance(quotes, QuoteSet) else None,
                spread=Spread(options.spread_bps, Decimal(1_000_000)),
                feed=FeedModel(gaps=feed_gaps(last.gaps), candle_ns=options.feed_candle_ns),
            )
        )
    if unmarked:
        notes.append(f"no mark prices, the mark is the last price: {', '.join(unmarked)}")
    return made


def _is_coarser(one: Series, held: Series | None) -> bool:
    both = isinstance(one, CandleSet) and isinstance(held, CandleSet)
    return both and one.interval_ns >= held.interval_ns  # type: ignore[union-attr]


def _tape(one: Series, path: BarPath) -> Tape | BarTape:
    if isinstance(one, CandleSet):
        return bar_tape(one, path)
    assert isinstance(one, TradeSet)
    return tick_tape(one)


def _ticks(tape: Tape | BarTape) -> int:
    return 4 * len(tape.columns[0]) if isinstance(tape, BarTape) else len(tape.ts)


def _funding(series: list[Series], venue: str, start_ns: int) -> tuple[AnyFault, ...]:
    """Recorded settlements as acts of the venue; the rate is of the value at the mark."""
    return tuple(
        VenueAct(
            name=f"funding {one.symbol}",
            cue=Cue(at_ns=ts_ns - start_ns),
            act="funding",
            symbol=one.symbol,
            rate=rate,
        )
        for one in series
        if isinstance(one, FundingSet) and one.venue == venue
        for ts_ns, rate in one.rates()
    )
