"""From a scenario to the parts of its run: settings, instruments, markets, faults, waves.

What a file cannot say wrong by itself is checked here, again with every problem at once.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec

from kernel.config import Settings
from kernel.errors import SettingsError
from kernel.model.instrument import Instrument
from kernel.model.units import MINUTE, TsNs, install_decimal_context
from scenarios.durations import parse_duration
from scenarios.files import BOTH, SUITES, for_venue
from scenarios.markets import Frame, make_market
from scenarios.schema import VENUES, InstrumentPart, Scenario, WavePart
from scenarios.signal_items import signal_item
from scenarios.world import WorldSetup
from venues.sim.account import AccountRules
from venues.sim.fault_kinds import Act, AnyFault, Matched
from venues.sim.faults import decode_fault
from venues.sim.feed_faults import AnyFeedFault, decode_feed_fault
from venues.sim.instruments import known_instrument, known_symbols, make_instrument
from venues.sim.legs import Delay, Legs
from venues.sim.market import Market
from venues.sim.signal_server import Posted, SignalServerSetup
from venues.sim.venue import VenueSetup

CANDLE_NS = 15 * MINUTE
_SPANS = ("at", "after", "from", "to", "dt", "lag", "retry", "age", "delist")
"""Names of fault fields in nanoseconds; a file writes them without `_ns`, as durations."""


class Assembly(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run of a scenario is made of.

    `end_ns` is the wall time at which it ends: the duration, or the heal phase behind the last
    fault where that is later.
    """

    scenario: Scenario
    settings: Settings
    setup: WorldSetup
    venues: tuple[str, ...]
    has_faults: bool
    end_ns: int
    seed: int


def problems_of(scenario: Scenario, venue: str, folder: Path) -> list[str]:
    """What `assemble` would refuse, told without generating a price or reading data."""
    try:
        assemble(scenario, venue, seed=scenario.seed, folder=folder, dry=True)
    except SettingsError as error:
        return list(error.problems)
    return []


def assemble(
    scenario: Scenario, venue: str, *, seed: int, folder: Path = SUITES, dry: bool = False
) -> Assembly:
    """The parts of a run on a venue ("both": on both at once); `folder` is that of its file.

    With `dry` everything is checked, and prices are neither generated nor read.

    Raises:
        SettingsError: Every problem of settings, instruments, prices, legs, faults and waves.
    """
    install_decimal_context()
    problems: list[str] = []
    where = f"{scenario.name} on {venue}"

    def tried[T](build: Callable[[], T]) -> T | None:
        try:
            return build()
        except SettingsError as error:
            problems.extend(f"{where}: {line}" for line in error.problems)
        return None

    venues = VENUES if venue == BOTH else (venue,)
    settings = tried(lambda: Settings.load(scenario.settings))
    instruments, unknown = _instruments(scenario, venues)
    problems += [f"{where}: {line}" for line in unknown]
    faults = tried(lambda: {name: _faults(scenario, name) for name in venues})
    legs = tried(lambda: _legs(scenario.legs))
    end_ns = _end(scenario, faults or {})
    until_ns = scenario.start if dry else end_ns
    frame = Frame(start_ns=scenario.start, end_ns=until_ns, seed=seed, folder=folder)
    markets = tried(lambda: _markets(scenario, instruments, frame))
    feed_faults = tried(lambda: _feed_faults(scenario))
    if problems or settings is None or faults is None or legs is None:
        raise SettingsError(problems)
    setups = {
        name: VenueSetup(
            account=_account(scenario),
            legs=legs,
            slippage_bps=scenario.money.slippage_bps,
            market_fill=scenario.money.market_fill,
            funding_rate=scenario.money.funding_rate,
            seed=seed,
            faults=faults[name],
            origin_ns=scenario.start,
        )
        for name in venues
    }
    setup = WorldSetup(
        start_ns=scenario.start,
        markets=markets or [],
        instruments=instruments,
        setups=setups,
        posted=tuple(_posted(scenario.waves)),
        feed=SignalServerSetup(faults=feed_faults or (), seed=seed, origin_ns=scenario.start),
    )
    return Assembly(
        scenario=scenario,
        settings=settings,
        setup=setup,
        venues=venues,
        has_faults=any(faults.values())
        or bool(feed_faults)
        or any(_disturbs(one) for one in scenario.timeline),
        end_ns=end_ns,
        seed=seed,
    )


def _disturbs(happening: Any) -> bool:
    return not happening.operator and happening.host is None


def _account(scenario: Scenario) -> AccountRules:
    money = scenario.money
    return AccountRules(
        deposit=money.deposit,
        taker_fee=money.taker_fee_percent / 100,
        maker_fee=money.maker_fee_percent / 100,
        leverage=money.leverage,
        isolated=money.isolated,
        hedge_mode=money.hedge_mode,
    )


# ---------------------------------------------------------------- instruments and markets


def _instruments(
    scenario: Scenario, venues: tuple[str, ...]
) -> tuple[list[Instrument], list[str]]:
    """Those that can be made, and the problems of the others."""
    made: list[Instrument] = []
    problems = [
        f"instruments.{symbol}: has no prices; add it to prices or remove it"
        for symbol in scenario.instruments
        if symbol not in scenario.prices
    ]
    for venue in venues:
        for symbol in scenario.prices:
            part = scenario.instruments.get(symbol, InstrumentPart())
            try:
                made.append(_instrument(venue, symbol, part, scenario.start))
            except SettingsError as error:
                problems += error.problems
    return made, problems


def _instrument(venue: str, symbol: str, part: InstrumentPart, start_ns: int) -> Instrument:
    given = {
        name: value
        for name, value in part.model_dump().items()
        if value is not None and name != "delist"
    }
    if part.delist is not None:
        given["delist_ns"] = TsNs(start_ns + part.delist)
    if symbol in known_symbols():
        return msgspec.structs.replace(known_instrument(venue, symbol), **given)
    if part.tick_size is None or part.qty_step is None:
        raise SettingsError(
            [f"instruments.{symbol}: not a known one: give tick_size and qty_step at least"]
        )
    made = make_instrument(venue, symbol, tick_size=part.tick_size, qty_step=part.qty_step)
    return msgspec.structs.replace(made, **given)


def _markets(
    scenario: Scenario, instruments: list[Instrument], frame: Frame
) -> list[Market]:
    made: list[Market] = []
    problems: list[str] = []
    for instrument in instruments:
        part = scenario.prices[instrument.symbol]
        if part.data and frame.end_ns == frame.start_ns:
            continue
        try:
            made.append(make_market(instrument, part, frame))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return made


# ---------------------------------------------------------------- faults and legs


def _faults(scenario: Scenario, venue: str) -> tuple[AnyFault, ...]:
    made: list[AnyFault] = []
    problems: list[str] = []
    for place, raw in enumerate(scenario.faults):
        given = dict(for_venue(raw, venue))
        if given.pop("venue", venue) != venue:
            continue
        try:
            made.append(decode_fault(_in_ns(given)))
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(f"faults.{place}: {error}{_known_faults(str(error), AnyFault)}")
    if problems:
        raise SettingsError(problems)
    return tuple(made)


def _feed_faults(scenario: Scenario) -> tuple[AnyFeedFault, ...]:
    made: list[AnyFeedFault] = []
    problems: list[str] = []
    for place, raw in enumerate(scenario.feed_faults):
        try:
            made.append(decode_feed_fault(_in_ns(raw)))
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(
                f"feed_faults.{place}: {error}{_known_faults(str(error), AnyFeedFault)}"
            )
    if problems:
        raise SettingsError(problems)
    return tuple(made)


def _known_faults(words: str, union: Any) -> str:
    """The kinds of faults, where the kind is what is wrong."""
    if not words.endswith("`$.fault`") and "`fault`" not in words:
        return ""
    kinds = sorted(kind.__struct_config__.tag for kind in get_args(union.__value__))
    return f"; one of {', '.join(kinds)}"


def _in_ns(value: Any) -> Any:
    """Durations as whole nanoseconds under the names that the fault types have."""
    if isinstance(value, list):
        return [_in_ns(item) for item in value]
    if not isinstance(value, dict):
        return str(value) if isinstance(value, Decimal) else value
    out: dict[str, Any] = {}
    for name, held in value.items():
        if name in _SPANS:
            out[f"{name}_ns"] = parse_duration(held)
        elif name == "chance_percent":
            out["chance_ppm"] = int(Decimal(str(held)) * 10_000)
        else:
            out[str(name)] = _in_ns(held)
    return out


def _legs(raw: dict[str, Any]) -> Legs:
    given: dict[str, Any] = {}
    problems = []
    for name, value in raw.items():
        if name not in Legs.__struct_fields__:
            known = ", ".join(Legs.__struct_fields__)
            problems.append(f"legs.{name}: no such leg; one of {known}")
            continue
        try:
            if name.startswith("lag_"):
                given[name] = parse_duration(value)
            elif isinstance(value, list):
                given[name] = Delay(*(parse_duration(part) for part in value))
            else:
                given[name] = Delay(parse_duration(value))
        except (ValueError, TypeError) as error:
            problems.append(f"legs.{name}: {error}")
    if problems:
        raise SettingsError(problems)
    return Legs(**given)


def _end(scenario: Scenario, faults: dict[str, tuple[AnyFault, ...]]) -> int:
    """The duration, or later where the heal phase behind the last fault asks for it."""
    last = 0
    for known in faults.values():
        for fault in known:
            if isinstance(fault, Matched) and fault.when.to_ns < 1 << 61:
                last = max(last, fault.when.to_ns + scenario.heal)
            elif isinstance(fault, Act) and not fault.cue.event:
                last = max(last, fault.cue.at_ns + scenario.heal)
    for happening in scenario.timeline:
        spans = (happening.stall, happening.store_down, happening.store_stall, happening.feed_down)
        length = sum(span for span in spans if span)
        for death in (happening.crash, happening.restart):
            length += death.down if death is not None else 0
        if happening.at is not None and _disturbs(happening):
            last = max(last, happening.at + length + scenario.heal)
    return scenario.start + max(scenario.duration, last)


# ---------------------------------------------------------------- waves


def _posted(waves: tuple[WavePart, ...]) -> list[Posted]:
    made = []
    for wave in waves:
        arrives_ns = wave.candle + CANDLE_NS + wave.arrives
        for signal in wave.signals:
            more: dict[str, object] = dict(signal.extra)
            if signal.exchange:
                more["exchange"] = signal.exchange
            if signal.id:
                more["id"] = signal.id
            item = signal_item(
                wave.candle,
                signal.symbol,
                signal.side,
                week=signal.week,
                month=signal.month,
                more=more,
            )
            made.append(Posted(arrives_ns, item))
    return made
