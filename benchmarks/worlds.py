"""Worlds for benchmarks: some symbols whose prices swing a little, and signals that open them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from time import process_time

import msgspec
import numpy as np

from benchmarks.sinks import Counts
from kernel.config import Settings
from kernel.model.units import HOUR, MINUTE, SECOND
from replay.journal import Header, Recorder
from scenarios.driver import Driver, Sink
from scenarios.invariants import Checker
from scenarios.protection_checks import Limits
from scenarios.replay_run import JournalSink, Tally
from scenarios.signal_items import signal_item
from scenarios.world import World, WorldSetup
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

    wall_s: float
    steps: int
    records: int
    requests: int
    opened: int
    closed: int
    violations: int
    stop_moves: int


def swinging(symbols: int, hours: int, venue: str = "binance") -> WorldSetup:
    """`symbols` markets that never reach a stop, one signal each in the first wave."""
    seconds = np.arange(hours * 3600, dtype=np.int64)
    markets, instruments = [], []
    for number in range(symbols):
        name = f"COIN{number}USDT"
        swing = 0.01 * np.sin(seconds / (700 + 13 * number))
        px = np.rint(PRICE * 10 * (1 + swing)).astype(np.int32)
        tape = Tape(START + seconds * SECOND, px, Decimal("0.1"))
        markets.append(
            Market(
                venue, name, tape,
                mark=None, mark_is_last=True, spread=Spread(Decimal(0), Decimal(100)),
            )
        )
        instruments.append(
            make_instrument(venue, name, tick_size=Decimal("0.1"), qty_step=Decimal("0.001"))
        )
    posted = tuple(
        Posted(
            START + 6 * MINUTE + 5 * SECOND,
            signal_item(
                START - CANDLE, f"COIN{number}USDT", "BUY", week=Decimal(80), month=Decimal(80)
            ),
        )
        for number in range(symbols)
    )
    return WorldSetup(
        start_ns=START,
        markets=markets,
        instruments=instruments,
        setups={venue: VenueSetup()},
        posted=posted,
    )


def measure(
    setup: WorldSetup,
    hours: int,
    *,
    settings: Mapping[str, str] | None = None,
    journal: bool = True,
    invariants: bool = True,
) -> Measured:
    """Run a world once and time it, building of world and kernel excluded."""
    world = World(setup)
    values = Settings.load({"POSITION_SIZE_USD": "210", **(settings or {})})
    tally, counts = Tally(world), Counts()
    sinks: list[Sink] = []
    checker = Checker(world, values, Limits(faults=False), level="sim") if invariants else None
    with Recorder(None, Header()) as recorder:
        if journal:
            sinks.append(JournalSink(recorder))
        if checker is not None:
            sinks.append(checker)
        driver = Driver(world, values, sinks=(*sinks, counts))
        began = process_time()
        driver.start()
        driver.run(setup.start_ns + hours * HOUR)
        wall_s = process_time() - began
        records = recorder.records
    if checker is not None:
        checker.finish()
    assert not driver.crashes, driver.crashes
    return Measured(
        wall_s,
        driver.steps,
        records,
        counts.requests,
        tally.opened,
        tally.closed,
        0 if checker is None else sum(checker.violations.counts.values()),
        counts.stop_moves,
    )
