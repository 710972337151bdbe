"""A position whose end the stream never told holds neither a slot nor its symbol for ever."""

import pytest

from kernel.model.units import SECOND
from tests.kernel.lives import FALL, Life
from venues.sim.fault_kinds import StreamGap, Target, When


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_a_lost_end_of_a_position_frees_its_slot_after_two_complete_reads(venue: str) -> None:
    window = When(from_ns=1_400 * SECOND, to_ns=1_700 * SECOND)
    life = Life((venue,), FALL, faults=(StreamGap(target=Target(topic="position"), when=window),))
    life.until(1_400)
    assert life.kernel.services.risk.free_slots() == 9
    life.until(2_400)
    assert life.truth(venue).positions == ()
    assert life.kernel.services.book.open() == []
    assert life.kernel.services.risk.free_slots() == 10
    (gone,) = [one for one in life.decisions if one.kind == "sync.gone"]
    assert (gone.symbol, gone.cause) == ("BTCUSDT", "two complete reads show no position")
