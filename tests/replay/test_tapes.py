"""Series become tapes of the simulated venue without a change of value."""

import pytest

from replay.datasets import open_data
from replay.problems import LayoutError, Treatment
from replay.sources import SourceOptions
from replay.tapes import bar_tape, feed_gaps, tick_tape
from tests.replay.made import START_MS, candle_text


def test_candles_become_bars_and_gaps_become_holes(write_file):
    path = write_file(
        "binance/BTCUSDT-1m-20250504.csv",
        candle_text("0,10,12.5,9,11", "1,11,12,9,12", "5,12,13,11,11.5"),
    )
    options = SourceOptions(treatment=Treatment(gaps="feed-gap"))
    (candles,) = open_data([path], options).candles
    bars = bar_tape(candles)
    assert len(bars) == 3
    assert bars.corners(0) == (100, 90, 125, 110)
    assert bars.holes == feed_gaps(candles.gaps)
    assert bars.tick_size == candles.tick_size
    with pytest.raises(LayoutError):
        bar_tape(candles.between(0, 1))


def test_trades_become_ticks(write_file):
    path = write_file(
        "BTCUSDT-aggTrades-2025-05-04.csv",
        f"7,10.5,2,1,1,{START_MS},true\n9,10.4,2,1,1,{START_MS + 5},false\n",
    )
    options = SourceOptions(treatment=Treatment(gaps="feed-gap"))
    (trades,) = open_data([path], options).trades
    tape = tick_tape(trades)
    assert list(tape.px) == [105, 104]
    assert list(tape.ts) == [START_MS * 1_000_000, (START_MS + 5) * 1_000_000]
    assert len(feed_gaps(trades.gaps)) == 1
    with pytest.raises(LayoutError):
        tick_tape(trades.between(0, 1))


def test_mapped_candles_are_not_copied(write_file, tmp_path):
    from replay.datasets import write_all
    from replay.sources import read_series

    path = write_file("binance/BTCUSDT-1m-20250504.csv", candle_text("0,1,2,1,2", "1,2,3,1,2"))
    series = read_series([path], SourceOptions()).series
    write_all(tmp_path / "out", series, {}, {}, replace=False)
    (candles,) = open_data([tmp_path / "out"], SourceOptions()).candles
    assert bar_tape(candles).columns[1].base is not None
