"""Worlds for benchmarks: some symbols whose prices swing a little, and signals that open them."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from decimal import Decimal
from time import process_time

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.sinks import Counts
from kernel.config import Settings
from kernel.model.units import HOUR, MINUTE, SECOND
from replay.journal import Header, Recorder
from scenarios.driver import Driver, Sink, no_collector
from scenarios.invariants import Checker
from scenarios.protection_checks import Limits
from scenarios.replay_run import JournalSink, Tally
from scenarios.replay_swarm import swarm
from scenarios.signal_items import signal_item
from scenarios.world import World, WorldSetup
from venues.sim.fault_kinds import AnyFault
from venues.sim.instruments import make_instrument
from venues.sim.market import Market
from venues.sim.quotes import Spread
from venues.sim.signal_server import Posted
from venues.sim.tape import Tape
from venues.sim.venue import VenueSetup

START = 1_767_225_600 * SECOND
"""2026-01-01T00:00Z."""
CANDLE = 15 * MINUTE
PRICE = 42_000


class Measured(msgspec.Struct, frozen=True):
    """What one run cost and what it did."""

    cpu_s: float
    steps: int
    records: int
    requests: int
    opened: int
    closed: int
    violations: int
    stop_moves: int


def swinging(
    symbols: int, hours: int, venue: str = "binance", faults: tuple[AnyFault, ...] = ()
) -> WorldSetup:
    """`symbols` markets that never reach a stop, one signal each in the first wave."""
    seconds = np.arange(hours * 3600, dtype=np.int64)
    paths = [
        PRICE * (1 + 0.01 * np.sin(seconds / (700 + 13 * number))) for number in range(symbols)
    ]
    return world_of(venue, seconds, paths, first_wave(symbols), faults)


def lived(venue: str = "binance") -> WorldSetup:
    """One life of ten minutes: entry, activation, trailing moves, the stop."""
    seconds = np.arange(1000, dtype=np.int64)
    corners = (0, 400, 500, 640, 700, 800, 1000)
    shape = np.interp(seconds, corners, (1.0, 1.0, 1.016, 1.016, 1.03, 1.0, 1.0))
    return world_of(venue, seconds, [PRICE * shape], first_wave(1))


def troubled(venue: str = "binance") -> WorldSetup:
    """Six hours of an open position with a fault an hour, as a swarm draws them."""
    return swinging(1, 6, venue, swarm(7, venue, 6 * HOUR))


def walking(days: int, symbols: int = 10) -> WorldSetup:
    """A random walk of each symbol, every five seconds, and a signal for each in every wave."""
    seconds = np.arange(0, days * 86_400, 5, dtype=np.int64)
    paths = []
    for number in range(symbols):
        moves = np.random.default_rng(number).standard_normal(len(seconds)) * 0.0004
        walk = np.cumsum(moves)
        paths.append(PRICE * np.exp(walk - np.linspace(0.0, walk[-1], len(walk))))
    posted = tuple(
        post(START + wave * CANDLE, number, "BUY" if (wave + number) % 3 else "SELL")
        for wave in range(days * 96 - 1)
        for number in range(symbols)
    )
    return world_of("binance", seconds, paths, posted)


def first_wave(symbols: int) -> tuple[Posted, ...]:
    """A signal for each symbol in the first wave of the day."""
    return tuple(post(START - CANDLE, number, "BUY") for number in range(symbols))


def post(candle_ns: int, number: int, side: str) -> Posted:
    """A signal that the server has six minutes after its candle closed."""
    item = signal_item(candle_ns, name_of(number), side, week=Decimal(80), month=Decimal(80))
    return Posted(candle_ns + CANDLE + 6 * MINUTE + 5 * SECOND, item)


def name_of(number: int) -> str:
    """The symbol of a market."""
    return f"COIN{number}USDT"


def world_of(
    venue: str,
    seconds: NDArray[np.int64],
    paths: list[NDArray[np.float64]],
    posted: tuple[Posted, ...],
    faults: tuple[AnyFault, ...] = (),
) -> WorldSetup:
    """Markets with these prices at these seconds of the day."""
    markets, instruments = [], []
    for number, path in enumerate(paths):
        px = np.rint(path * 10).astype(np.int32)
        tape = Tape(START + seconds * SECOND, px, Decimal("0.1"))
        spread = Spread(Decimal(0), Decimal(100))
        symbol = name_of(number)
        markets.append(Market(venue, symbol, tape, mark=None, mark_is_last=True, spread=spread))
        instruments.append(
            make_instrument(venue, symbol, tick_size=Decimal("0.1"), qty_step=Decimal("0.001"))
        )
    return WorldSetup(
        start_ns=START,
        markets=markets,
        instruments=instruments,
        setups={venue: VenueSetup(faults=faults, origin_ns=START)},
        posted=posted,
    )


def measure(
    setup: WorldSetup,
    span_ns: int,
    *,
    settings: Mapping[str, str] | None = None,
    journal: bool = True,
    invariants: bool = True,
) -> Measured:
    """Run a world once and time it, the making of world and kernel included.

    The automatic collector waits until the run is over, as in a replay.
    """
    gc.collect()
    with no_collector():
        return _measured(setup, span_ns, settings or {}, journal=journal, invariants=invariants)


def _measured(
    setup: WorldSetup,
    span_ns: int,
    settings: Mapping[str, str],
    *,
    journal: bool,
    invariants: bool,
) -> Measured:
    began = process_time()
    world = World(setup)
    values = Settings.load({"POSITION_SIZE_USD": "210", **settings})
    tally, counts = Tally(world), Counts()
    sinks: list[Sink] = []
    has_faults = any(one.faults for one in setup.setups.values())
    checker = Checker(world, values, Limits(faults=has_faults), level="sim") if invariants else None
    with Recorder(None, Header()) as recorder:
        if journal:
            sinks.append(JournalSink(recorder))
        if checker is not None:
            sinks.append(checker)
        driver = Driver(world, values, sinks=(*sinks, counts))
        driver.start()
        driver.run(setup.start_ns + span_ns)
        if checker is not None:
            checker.finish()
        cpu_s = process_time() - began
        records = recorder.records
    assert not driver.crashes, driver.crashes
    return Measured(
        cpu_s,
        driver.steps,
        records,
        counts.requests,
        tally.opened,
        tally.closed,
        0 if checker is None else sum(checker.violations.counts.values()),
        counts.stop_moves,
    )
