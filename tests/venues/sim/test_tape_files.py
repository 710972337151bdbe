import random
from decimal import Decimal

import numpy as np
import pytest

from kernel.errors import SettingsError
from tests.venues.sim.worlds import bar_tape, walk
from venues.sim.bars import BarTape
from venues.sim.index import index_of
from venues.sim.tape import Tape
from venues.sim.tape_files import attach_index, load_tape, save_index, save_tape


def ticks(rows=1_000):
    r = random.Random(rows)
    return Tape(list(range(rows)), walk(r, rows, 1, 0.1), Decimal("0.05"))


def same_index(a, b):
    return all(
        np.array_equal(x, y)
        for one, other in zip(index_of(a).levels, b.index.levels, strict=True)
        for x, y in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("rows", [1, 8, 9, 1_000])
def test_a_saved_tape_comes_back_mapped_with_its_index(tmp_path, rows):
    tape = ticks(rows)
    save_tape(tmp_path / "a", tape)
    back = load_tape(tmp_path / "a")
    assert isinstance(back, Tape)
    assert isinstance(back.px_column.base, np.memmap)
    assert list(back.px) == list(tape.px)
    assert list(back.ts) == list(tape.ts)
    assert back.tick_size == tape.tick_size
    assert same_index(tape, back)


def test_saved_bars_come_back_with_length_and_path(tmp_path):
    tape = bar_tape(random.Random(3), 0, 10**12)
    save_tape(tmp_path, tape)
    back = load_tape(tmp_path)
    assert isinstance(back, BarTape)
    assert (back.bar_ns, back.path, back.holes) == (tape.bar_ns, tape.path, tape.holes)
    assert [back.corners(i) for i in range(len(back))] == [
        tape.corners(i) for i in range(len(tape))
    ]
    assert same_index(tape, back)


def test_an_index_can_lie_beside_columns_of_another_format(tmp_path):
    tape, again = ticks(), ticks()
    assert not attach_index(tmp_path, again)
    save_index(tmp_path, tape)
    assert attach_index(tmp_path, again)
    assert same_index(tape, again)


def test_an_index_of_other_prices_is_refused(tmp_path):
    save_index(tmp_path, ticks())
    other = Tape(list(range(1_000)), [2_001] * 1_000, Decimal(1))
    with pytest.raises(SettingsError, match="not the index of these prices"):
        attach_index(tmp_path, other)
    with pytest.raises(SettingsError, match="not the index of these prices"):
        attach_index(tmp_path, ticks(900))


def test_a_torn_or_foreign_folder_is_refused_with_the_file_named(tmp_path):
    with pytest.raises(SettingsError, match=r"tape\.json: is missing"):
        load_tape(tmp_path)
    save_tape(tmp_path, ticks())
    np.save(tmp_path / "px.npy", np.ones(5, np.int32))
    with pytest.raises(SettingsError, match=r"px\.npy: 5 rows"):
        load_tape(tmp_path)
    (tmp_path / "px.npy").write_bytes(b"nothing")
    with pytest.raises(SettingsError, match=r"px\.npy"):
        load_tape(tmp_path)
    (tmp_path / "tape.json").write_text('{"format": 99, "rows": 1, "tick_size": "1"}')
    with pytest.raises(SettingsError, match="format 99"):
        load_tape(tmp_path)
    (tmp_path / "tape.json").write_text("{")
    with pytest.raises(SettingsError, match=r"tape\.json"):
        load_tape(tmp_path)
