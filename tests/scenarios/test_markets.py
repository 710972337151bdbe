from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import SettingsError
from kernel.model.units import SECOND
from scenarios.markets import Frame, make_market
from scenarios.schema import PricePart
from venues.sim.instruments import known_instrument
from venues.sim.tape import Tape

BTC = known_instrument("binance", "BTCUSDT")
FRAME = Frame(start_ns=10**18, end_ns=10**18 + 600 * SECOND, seed=1, folder=Path())


def ticks(part, frame=FRAME):
    tape = make_market(BTC, PricePart.model_validate(part), frame).last
    assert isinstance(tape, Tape)
    return [(ts - frame.start_ns, px) for ts, px in zip(tape.ts, tape.px, strict=True)]


def test_a_ramp_meets_its_corners_and_walks_straight_between_them():
    made = ticks({"path": [["0s", "100"], ["4s", "100.4"], ["6s", "100.2"]]})
    assert made == [(0, 1000), (SECOND, 1001), (2 * SECOND, 1002), (3 * SECOND, 1003),
                    (4 * SECOND, 1004), (5 * SECOND, 1003), (6 * SECOND, 1002)]  # fmt: skip


def test_steps_are_the_points_alone():
    made = ticks({"path": [["0s", "100"], ["9s", "101"]], "shape": "steps"})
    assert made == [(0, 1000), (9 * SECOND, 1010)]


def test_a_price_off_the_tick_is_told_with_its_place():
    with pytest.raises(SettingsError, match=r"prices.BTCUSDT.path.1: price 100.05 is no multiple"):
        ticks({"path": [["0s", "100"], ["9s", "100.05"]]})


def test_a_walk_depends_on_the_seed_alone():
    part = {"walk": {"start": "100", "step_bps": "20"}}
    other = Frame(start_ns=FRAME.start_ns, end_ns=FRAME.end_ns, seed=2, folder=Path())
    assert ticks(part) == ticks(part)
    assert ticks(part) != ticks(part, other)


@given(st.lists(st.integers(1, 3000), min_size=2, max_size=6))
def test_no_tick_of_a_ramp_lies_outside_of_its_corners(corners):
    path = [[f"{3 * at}s", str(Decimal(px) / 10)] for at, px in enumerate(corners)]
    made = ticks({"path": path})
    assert min(corners) == min(px for _, px in made)
    assert max(corners) == max(px for _, px in made)


@pytest.mark.parametrize(
    "part", [{}, {"path": [[0, 1]], "walk": {"start": 1}}, {"path": [[5, 1], [4, 1]]}]
)
def test_a_series_is_one_of_path_walk_and_data_and_ascends(part):
    with pytest.raises(ValueError, match=r"exactly one|ascend"):
        PricePart.model_validate(part)
