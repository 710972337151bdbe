from decimal import Decimal

import numpy as np
import pytest

from kernel.errors import SettingsError
from venues.sim.index import index_of
from venues.sim.series import Point
from venues.sim.tape import MAX_PX, Tape
from venues.sim.ticks import TickSeries

ONE = Decimal(1)


def test_ties_keep_their_order_and_the_last_of_an_instant_is_its_end():
    series = TickSeries(Tape([10, 20, 20, 30], [5, 6, 7, 8], ONE))
    assert series.last(9) is None
    assert series.last(20) == Point(2, 20, 7)
    assert series.first_at_or_after(20) == Point(1, 20, 6)
    assert series.first_at_or_after(31) is None
    assert series.first_ns == 10


def test_columns_of_the_right_width_are_not_copied():
    ts, px = np.arange(1, 6, dtype=np.int64), np.arange(1, 6, dtype=np.int32)
    tape = Tape(ts, px, ONE)
    assert tape.ts_column is ts
    assert tape.px_column is px


def test_a_tick_costs_at_most_25_bytes_with_its_index():
    n = 10_000
    tape = Tape(np.arange(n, dtype=np.int64), np.arange(1, n + 1, dtype=np.int32), ONE)
    index_of(tape)
    assert tape.nbytes <= 25 * n


def test_every_problem_of_the_columns_is_named_at_once():
    with pytest.raises(SettingsError) as caught:
        Tape([10, 9, 11], [0, MAX_PX + 1], ONE)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "ts has 3 rows and px 2",
        "ts[1] = 9 is before ts[0] = 10",
        "px[0] = 0",
        f"px[1] = {MAX_PX + 1}",
    ]


def test_an_empty_tape_and_fractions_are_refused():
    with pytest.raises(SettingsError, match="at least one tick"):
        Tape([], [], ONE)
    with pytest.raises(SettingsError, match="whole numbers"):
        Tape([1, 2], np.array([1.0, 2.5]), ONE)
    with pytest.raises(SettingsError, match="whole numbers"):
        Tape(np.zeros((2, 2), np.int64), [1, 2], ONE)
