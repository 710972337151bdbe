"""Dense and sparse give the same calls with the same values, in the same order, byte for byte."""

import os

import pytest

from tests.venues.sim.worlds import play
from venues.sim.dense import DensePriceService
from venues.sim.prices import PriceService

FULL = os.environ.get("WAVE_KERNEL_FULL") == "1"
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
    assert firings >= WORLDS_A_BLOCK * 10


def first_difference(sparse, dense):
    for i, (a, b) in enumerate(zip(sparse.trace, dense.trace, strict=False)):
        if a != b:
            before = "\n".join(sparse.trace[max(0, i - 6) : i])
            return f"\n{before}\nsparse: {a}\ndense:  {b}"
    return f"lengths {len(sparse.trace)} and {len(dense.trace)}"
