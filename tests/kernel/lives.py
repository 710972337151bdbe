"""Whole lives: one kernel after another, on a simulated venue, over a short market.

Wall times are given in seconds after 08:00. Waves come from the check at 08:06.
"""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from kernel.config import Settings
from kernel.model.messages import Alert, Decision, Effect, Input, StepResult
from kernel.model.orders import PriceSource, Side
from kernel.model.units import MINUTE, SECOND, install_decimal_context
from kernel.model.venue import PlaceStop
from scenarios.driver import Driver
from scenarios.signal_items import signal_item
from scenarios.world import World, WorldSetup
from venues.sim.fault_kinds import Cue, SecondActor
from venues.sim.instruments import known_instrument
from venues.sim.market import Market
from venues.sim.signal_server import Posted
from venues.sim.tape import Tape
from venues.sim.venue import VenueSetup

START_NS = 1_763_798_400 * SECOND
CANDLE_NS = START_NS - 15 * MINUTE
RISE = ((0, 42000), (900, 42000), (1600, 42700), (2000, 42300), (3600, 42300))
"""Activates a trailing stop and stops it out."""
FALL = ((0, 42000), (900, 42000), (1600, 41000), (3600, 41000))
FLAT = ((0, 42000), (3600, 42000))


def ramp(corners: tuple[tuple[int, int], ...]) -> Tape:
    """A tick a second on straight lines."""
    times: list[int] = []
    prices: list[int] = []
    for (at, price), (end, last) in pairwise(corners):
        for second in range(at, end):
            times.append(START_NS + second * SECOND)
            prices.append(price + (last - price) * (second - at) // (end - at))
    return Tape(np.array(times, np.int64), np.array(prices, np.int64), Decimal(1))


class Life:
    """A world with a driver, and everything that the kernels of it decided."""

    def __init__(
        self,
        venues: tuple[str, ...] = ("binance",),
        corners: tuple[tuple[int, int], ...] = RISE,
        *,
        faults: tuple[Any, ...] = (),
        level: str = "sim",
        **settings: str,
    ) -> None:
        install_decimal_context()
        tape = ramp(corners)
        instruments = []
        for venue in venues:
            known = known_instrument(venue, "BTCUSDT")
            assert known is not None
            instruments.append(msgspec.structs.replace(known, tick_size=Decimal(1)))
        self.world = World(
            WorldSetup(
                start_ns=START_NS,
                markets=[
                    Market(venue=venue, symbol="BTCUSDT", last=tape, mark_is_last=True)
                    for venue in venues
                ],
                instruments=instruments,
                setups={
                    venue: VenueSetup(faults=faults, origin_ns=START_NS) for venue in venues
                },
                posted=tuple(
                    Posted(
                        START_NS + 370 * SECOND,
                        signal_item(
                            CANDLE_NS, "BTCUSDT", "BUY", week=Decimal(80), more={"exchange": venue}
                        ),
                    )
                    for venue in venues
                ),
            )
        )
        self.decisions: list[Decision] = []
        self.alerts: list[Alert] = []
        self.effects: list[Effect] = []
        self.steps: list[tuple[Input, StepResult]] = []
        self.deaths: list[str] = []
        values = {"POSITION_SIZE_USD": "210"} | settings
        self.driver = Driver(self.world, Settings.load(values), level=level, sinks=(self,))
        self.driver.start()

    # ------------------------------------------------------------ as a sink

    def step(self, item: Input, result: StepResult) -> None:
        self.steps.append((item, result))
        self.decisions += result.decisions
        self.effects += result.effects
        self.alerts += [one.body for one in result.effects if isinstance(one.body, Alert)]

    def born(self, kernel: Any) -> None:
        """Nothing to remember."""

    def died(self, reason: str) -> None:
        self.deaths.append(reason)

    # ------------------------------------------------------------ driving and looking

    @property
    def kernel(self) -> Any:
        assert self.driver.kernel is not None
        return self.driver.kernel

    def until(self, seconds: float) -> None:
        self.driver.run(START_NS + int(seconds * SECOND))

    def kinds(self) -> list[str]:
        return [decision.kind for decision in self.decisions]

    def states(self) -> list[str]:
        return [
            decision.values["after"]
            for decision in self.decisions
            if decision.kind == "position.state"
        ]

    def sent(self, kind: str) -> list[Effect]:
        return [effect for effect in self.effects if effect.key.startswith(f"{kind}/")]

    def truth(self, venue: str = "binance") -> Any:
        return self.world.venues[venue].snapshot_truth()

    def crashes(self) -> list[str]:
        return self.driver.crashes + list(self.driver.kernel.crashes if self.driver.kernel else ())


def left_stops(count: int) -> tuple[SecondActor, ...]:
    """Stops of ours on a flat symbol, placed half a minute after the start."""
    return tuple(
        SecondActor(
            cue=Cue(at_ns=30 * SECOND),
            request=PlaceStop(
                symbol="BTCUSDT",
                side=Side.SELL,
                qty=Decimal("0.005"),
                trigger_price=Decimal(38000),
                trigger_by=PriceSource.MARK,
                client_order_id=f"wk5-1b-abcdef-S0-{number}",
            ),
        )
        for number in range(count)
    )
