"""Sinks that benchmarks share."""

from __future__ import annotations

from kernel.model.messages import Input, StepResult, VenueCall


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
