"""Waits for a budget that are given up together."""

from __future__ import annotations

from kernel.model.traits import TRAITS
from kernel.runtime.scheduler import Runtime
from kernel.trade.limiter import Limiter


def test_reservations_that_are_given_up_together_leave_the_queue_once() -> None:
    """A cancelled wave must not crash the limiter or leak its budget."""
    runtime = Runtime()
    limiter = Limiter(runtime, TRAITS["binance"])
    ended: list[int] = []

    async def many() -> None:
        with runtime.scope() as scope:
            async with runtime.group() as group:
                for number in range(40):
                    group.spawn(one(number), f"reserve {number}")
                await runtime.sleep(1)
                scope.cancel()

    async def one(number: int) -> None:
        try:
            await limiter.reserve(1, 10_000_000_000)
        finally:
            ended.append(number)

    runtime.spawn(many(), "many")
    runtime.run_ready()
    runtime.set_time(1, 1)
    runtime.fire_due(1, inclusive=True)
    assert sorted(ended) == list(range(40))
