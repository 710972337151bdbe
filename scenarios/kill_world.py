"""The world of one round of kills: drawn prices, waves every quarter of an hour, a swarm of faults.

Everything is a function of the seed. The prices move enough that stops fire, trailing starts and
positions come and go; every leg has jitter; a fault begins every ten minutes on each venue.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from kernel.config import Settings
from kernel.model.draws import draw
from kernel.model.instrument import Instrument
from kernel.model.units import MINUTE, MS, SECOND
from kernel.signals.timestamps import parse_utc
from scenarios.files import BOTH
from scenarios.markets import Frame, make_market
from scenarios.replay_setup import ReplayPlan, instruments_hash
from scenarios.replay_swarm import with_swarm
from scenarios.schema import VENUES, PricePart, Walk
from scenarios.signal_items import signal_item
from scenarios.world import WorldSetup
from venues.sim.account import AccountRules
from venues.sim.instruments import known_instrument
from venues.sim.legs import Delay, Legs
from venues.sim.signal_server import Posted
from venues.sim.venue import VenueSetup

START_NS = parse_utc("2026-01-05T12:00:00Z")
CANDLE_NS = 15 * MINUTE
FAULT_EVERY_NS = 10 * MINUTE
DEATH_EVERY_NS = 6 * MINUTE
"""A round lasts so long for each of its deaths, and a quarter more to converge."""
SHORTEST_NS = 60 * MINUTE
FIRST_PRICES = {
    "BTCUSDT": "42000", "ETHUSDT": "2250", "SOLUSDT": "98.5", "XRPUSDT": "0.575",
    "ADAUSDT": "0.52", "LINKUSDT": "14.2",
}  # fmt: skip
JITTER = Legs(
    request=Delay(5 * MS, 200 * MS), reply=Delay(5 * MS, 300 * MS), fill=Delay(6 * MS, 400 * MS),
    order=Delay(6 * MS, 400 * MS), position=Delay(9 * MS, 900 * MS),
    balance=Delay(9 * MS, 900 * MS),
)  # fmt: skip
SETTINGS = {
    "POSITION_SIZE_USD": "200",
    "MAX_POSITIONS": "6",
    "WAVE_CHECK_DURATION_SECONDS": "180",
    "MAX_POSITION_AGE_HOURS": "1",
}


def venue_of_round(seed: int) -> str:
    """Where a round trades: each venue and both, by turns."""
    return (*VENUES, BOTH)[seed % 3]


def round_plan(seed: int, deaths: int) -> ReplayPlan:
    """The plan of a round that is to hold so many deaths."""
    venue = venue_of_round(seed)
    venues = VENUES if venue == BOTH else (venue,)
    span_ns = max(SHORTEST_NS, deaths * DEATH_EVERY_NS * 5 // 4)
    instruments = [known_instrument(name, symbol) for name in venues for symbol in FIRST_PRICES]
    frame = Frame(start_ns=START_NS, end_ns=START_NS + span_ns, seed=seed, folder=Path())
    posted = _posted(seed, venues, span_ns)
    plan = ReplayPlan(
        settings=Settings.load(SETTINGS),
        setup=WorldSetup(
            start_ns=START_NS,
            markets=[make_market(one, _prices(one), frame) for one in instruments],
            instruments=instruments,
            setups={
                name: VenueSetup(
                    account=AccountRules(deposit=Decimal(10_000)),
                    legs=JITTER,
                    slippage_bps=Decimal(1),
                    seed=seed,
                    origin_ns=START_NS,
                )
                for name in venues
            },
            posted=tuple(posted),
        ),
        seed=seed,
        end_ns=START_NS + span_ns,
        ticks=len(instruments) * (span_ns // (2 * SECOND) + 1),
        signals=len(posted),
        waves=span_ns // CANDLE_NS,
        data_digest="drawn",
        instruments_hash=instruments_hash(instruments),
        notes=(),
    )
    with_swarm(plan, seed, every_ns=FAULT_EVERY_NS)
    return plan


def _prices(instrument: Instrument) -> PricePart:
    start = Decimal(FIRST_PRICES[instrument.symbol])
    walk = Walk(start=start, step_bps=Decimal(18))
    return PricePart(walk=walk, every=2, spread_bps=Decimal(2))


def _posted(seed: int, venues: tuple[str, ...], span_ns: int) -> list[Posted]:
    """Three to five signals for each candle, five and a half to eight minutes after its close."""
    made = []
    for n, close_ns in enumerate(range(START_NS, START_NS + span_ns, CANDLE_NS)):
        arrives = 330 * SECOND + draw(seed, "signals arrive", n, 150) * SECOND
        for place in range(3 + draw(seed, "signals", n, 3)):
            at = n * 8 + place
            symbol = tuple(FIRST_PRICES)[draw(seed, "signal symbol", at, len(FIRST_PRICES))]
            item = signal_item(
                close_ns - CANDLE_NS,
                symbol,
                ("BUY", "SELL")[draw(seed, "signal side", at, 2)],
                week=Decimal(60 + draw(seed, "signal score", at, 40)),
                month=Decimal(70),
                more={"exchange": venues[draw(seed, "signal venue", at, len(venues))]},
            )
            made.append(Posted(close_ns + arrives, item))
    return sorted(made, key=lambda one: one.ts_ns)
