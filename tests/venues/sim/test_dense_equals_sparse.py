"""Dense and sparse give the same calls with the same values, in the same order, byte for byte.

Random markets with ties, jumps, gaps, delays, marks of their own, ticks and bars; random programs
that set, clear and read from within whatever is called. 200 worlds in a run by hand, 1 200 with CI
or WAVE_KERNEL_FULL=1 set; each block of 100 must see at least 1 000 firings.
"""

import os

import pytest

from tests.venues.sim.worlds import play
from venues.sim.dense import DensePriceService
from venues.sim.prices import PriceService

FULL = bool(os.environ.get("CI") or os.environ.get("WAVE_KERNEL_FULL"))
BLOCKS = 12 if FULL else 2
WORLDS_A_BLOCK = 100


@pytest.mark.parametrize("block", range(BLOCKS))
def test_dense_trace_equals_sparse_trace_byte_for_byte(block):
    """Looking up the next firing is only allowed because nothing can tell it from playing."""
    firings = 0
    for seed in range(block * WORLDS_A_BLOCK, (block + 1) * WORLDS_A_BLOCK):
        sparse, dense = play(seed, PriceService), play(seed, DensePriceService)
        assert sparse.encoded == dense.encoded, f"world {seed}: {first_difference(sparse, dense)}"
        firings += sparse.firings
    assert firings >= WORLDS_A_BLOCK * 10  # of both kinds: watches and triggers


def test_a_feed_of_closed_candles_is_the_same_dense_and_sparse():
    """A candle is one event; what it crosses, what it hides and what is set at it are alike."""
    firings = 0
    for seed in range(5_000, 5_000 + (1_000 if FULL else 150)):
        sparse = play(seed, PriceService, candles=True)
        dense = play(seed, DensePriceService, candles=True)
        assert sparse.encoded == dense.encoded, f"world {seed}: {first_difference(sparse, dense)}"
        firings += sparse.firings
    assert firings >= 1_000


def first_difference(sparse, dense):
    for i, (a, b) in enumerate(zip(sparse.trace, dense.trace, strict=False)):
        if a != b:
            before = "\n".join(sparse.trace[max(0, i - 6) : i])
            return f"\n{before}\nsparse: {a}\ndense:  {b}"
    return f"lengths {len(sparse.trace)} and {len(dense.trace)}"
