"""The to-cancel ledger, in whole lives on a simulated venue."""

from kernel.model.messages import VenueCall
from kernel.model.units import SECOND
from kernel.model.venue import CancelOrder
from tests.kernel.lives import FLAT, START_NS, Life, left_stops
from venues.sim.fault_kinds import Reject, Target, When

UNTIL = When(to_ns=700 * SECOND)


def refused(count: int) -> Life:
    """So many of our stops are left, and for a time none of them can be cancelled."""
    cancel = Reject(target=Target(kinds=("cancel",)), code="-2011", when=UNTIL)
    return Life(("binance",), FLAT, faults=(cancel, *left_stops(count)))


def cancels(life: Life) -> list[int]:
    """When each cancel left, in nanoseconds after the start."""
    return [
        item.ts_ns - START_NS
        for item, result in life.steps
        if any(
            isinstance(effect.body, VenueCall) and isinstance(effect.body.request, CancelOrder)
            for effect in result.effects
        )
    ]


def test_cancels_that_fail_on_one_symbol_are_seconds_apart_however_many_orders_wait() -> None:
    life = refused(30)
    life.until(600)
    times = cancels(life)
    assert len(times) > 30
    for first in times:
        assert sum(1 for at in times if first <= at < first + 60 * SECOND) <= 20


def test_what_could_not_be_cancelled_is_cancelled_when_the_venue_lets_it() -> None:
    life = refused(3)
    life.until(600)
    assert len(life.kernel.services.orders.open_orders("binance")) == 3
    life.until(900)
    assert life.kernel.services.orders.open_orders("binance") == []
    assert sum(1 for one in life.decisions if one.kind == "zombie.cleared") == 3
