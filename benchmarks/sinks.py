"""Sinks that benchmarks share."""

from __future__ import annotations

from decimal import Decimal

from kernel.model.messages import Input, StepResult, VenueCall
from kernel.model.units import ZERO
from venues.sim.truth import Traded, TruthEvent


class Counts:
    """Counts requests to venues and moves of trailing stops."""

    def __init__(self) -> None:
        self.requests = 0
        self.stop_moves = 0

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""
        for effect in result.effects:
            self.requests += type(effect.body) is VenueCall
        for decision in result.decisions:
            self.stop_moves += decision.kind == "trailing.moved"

    def born(self, kernel: object) -> None:
        """See `Sink.born`."""

    def died(self, reason: str) -> None:
        """See `Sink.died`."""


class Earned:
    """What the closed positions of a venue brought, fees included: subscribe `hear` to it."""

    def __init__(self) -> None:
        self.closed = ZERO
        self._open: dict[str, Decimal] = {}

    def hear(self, event: TruthEvent) -> None:
        """One truth event."""
        if type(event) is not Traded:
            return
        fill = event.fill
        sum_now = self._open.pop(fill.symbol, ZERO) + fill.realized_pnl - fill.fee
        if event.position_qty:
            self._open[fill.symbol] = sum_now
        else:
            self.closed += sum_now
