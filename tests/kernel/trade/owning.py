"""A bench that runs one wish at the stop owner."""

from decimal import Decimal

from kernel import errors
from kernel.model.orders import (
    PositionSide,
)
from kernel.model.positions import PositionState
from kernel.model.units import MS, SECOND
from tests.kernel.fakes import Bench, Rule

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


class Owning(Bench):
    """A bench that runs one wish at the owner."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.run(100 * SECOND)

    def result(self, coro, seconds=5):
        self.began = self.runtime.now()
        outcome = []

        async def one():
            outcome.append(await coro)
            self.took_ns = self.runtime.now() - self.began

        self.spawn(one())
        self.run(self.began + int(seconds * SECOND))
        return outcome[0] if outcome else "still at it"

    def tighten(self, position, level="41500", seconds=5):
        return self.result(self.stops.tighten(position, D(level), "why"), seconds)

    def ensure(self, position, seconds=40):
        return self.result(self.stops.ensure(position, "why"), seconds)

    def protect(self, position, seconds=40):
        return self.result(self.stops.protect(position), seconds)

    def times(self, kind):
        """When it was asked since the wish, in milliseconds."""
        return [
            (at - self.began) // MS
            for venue in self.venues.values()
            for at, _ in venue.requests(kind)
            if at >= self.began
        ]

    def fails(self, error=errors.Rejected, kind="place_stop", code="-1", **how):
        rule = Rule(kind, error, code, **how)
        for venue in self.venues.values():
            venue.rules.append(rule)
        return rule

    def unkept(self, **given):
        """An ACTIVE position with a confirmed stop that no keeper looks after."""
        position = self.filled(**given)
        self.stops.keep = lambda position: None  # type: ignore[method-assign]
        assert self.protect(position, 2) is True
        position.transition(ACTIVE, "test")
        return position
