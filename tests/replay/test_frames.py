"""Recorded frames of public streams become trades and quotes of each symbol."""

import gzip
import json
from decimal import Decimal

from replay.datasets import open_data
from replay.layouts import Kind
from replay.sources import SourceOptions, read_series
from replay.tapes import quote_tape, tick_tape
from tests.replay.made import START_MS

NAME = "binance_um-BTCUSDT-20250504T1530-raw-ws.txt"


def trade(ident, at, price, *, symbol="BTCUSDT", event="trade", maker=False, **more):
    key = "t" if event == "trade" else "a"
    data = {"e": event, "s": symbol, key: ident, "p": price, "q": "0.5", "T": START_MS + at}
    return {"stream": "x", "data": data | {"m": maker} | more}


def quote(at, bid, ask, *, symbol="BTCUSDT"):
    data = {"e": "bookTicker", "s": symbol, "b": bid, "B": "2.5", "a": ask, "A": "3"}
    return {"stream": "x", "data": data | {"T": START_MS + at, "E": START_MS + at}}


def recording(write_file, *frames, first="wss://stream <-> 1746372600.1", form="{at} {frame}"):
    lines = [first] + [
        form.format(at=1746372600 + number, frame=json.dumps(frame, separators=(",", ":")))
        for number, frame in enumerate(frames)
    ]
    return write_file(NAME + ".gz", "\n".join(lines) + "\n")


def test_trades_and_quotes_of_every_symbol_are_read(write_file):
    path = recording(
        write_file,
        quote(0, "94212.4", "94212.5"),
        trade(7, 1, "94212.5"),
        {"stream": "x", "data": {"e": "depthUpdate", "b": [["1", "2"]], "a": []}},
        trade(5, 2, "1.011", symbol="CTKUSDT", event="aggTrade", maker=True),
        trade(8, 3, "94212.4", maker=True),
        form="{at}.25: {frame}",
    )
    data = open_data([path], SourceOptions())
    btc, ctk = data.trades
    assert (btc.symbol, btc.px.tolist(), btc.taker.tolist()) == (
        "BTCUSDT", [942125, 942124], [1, -1],
    )
    assert (ctk.symbol, ctk.px.tolist(), ctk.taker.tolist()) == ("CTKUSDT", [1011], [-1])
    (quotes,) = data.quotes
    book = quote_tape(quotes).read(0)
    assert (book.bid, book.ask) == (Decimal("94212.4"), Decimal("94212.5"))
    assert (book.bid_qty, book.ask_qty) == (Decimal("2.5"), Decimal(3))
    assert len(tick_tape(btc)) == 2


def test_problems_name_the_line_of_the_recording(write_file):
    path = recording(write_file, trade(7, 1, "5"), quote(2, "5", "5"), trade(9, 3, "5"))
    report = read_series([path], SourceOptions()).report
    assert sorted((problem.code, problem.line) for problem in report.problems) == [
        ("gap", 4), ("impossible row", 3),
    ]


def test_single_trades_are_preferred_to_aggregates(write_file):
    path = recording(
        write_file, trade(7, 1, "5"), trade(8, 1, "6"), trade(3, 1, "5", event="aggTrade")
    )
    (trades,) = open_data([path], SourceOptions()).trades
    assert trades.px.tolist() == [5, 6]


def test_what_is_no_trade_in_the_book_is_left_out_and_is_no_gap(write_file):
    path = recording(
        write_file, trade(7, 1, "5"), trade(8, 2, "0", X="INSURANCE_FUND"), trade(9, 3, "6")
    )
    (trades,) = open_data([path], SourceOptions()).trades
    assert (trades.px.tolist(), trades.gaps) == ([5, 6], ())


def test_a_broken_frame_is_named_by_its_line(write_file, tmp_path):
    path = tmp_path / (NAME + ".gz")
    path.write_bytes(gzip.compress(b'1 {"data":{"e":"trade","s":"B"\n'))
    report = read_series([path], SourceOptions()).report
    assert [(problem.code, problem.line) for problem in report.problems] == [
        ("broken recording", 1)
    ]
    path.write_bytes(gzip.compress(b"nothing\n"))
    assert [problem.code for problem in read_series([path], SourceOptions()).report.problems] == [
        "no data"
    ]


def test_only_the_asked_for_kind_is_read(write_file):
    path = recording(write_file, trade(7, 1, "5"), quote(2, "5", "6"))
    data = open_data([path], SourceOptions(kinds=(Kind.QUOTES,)))
    assert [one.kind for one in data.series] == [Kind.QUOTES]


def test_minute_bars_of_a_day_take_the_day_from_their_name(write_file):
    trades = write_file(
        "bybit-BTCUSDT-1m-trade-20250504.csv.gz",
        "ms_of_day_utc,open,high,low,close,volume\n0,10,11,9,10.5,1\n60000,10.5,11,10,11,2\n",
    )
    quotes = write_file(
        "bybit-BTCUSDT-1m-bidask-20250504.csv.gz",
        "ms_of_day_utc,bid_open,bid_high,bid_low,bid_close,bid_size,"
        "ask_open,ask_high,ask_low,ask_close,ask_size\n0,1,1,1,10,5,2,2,2,10.5,6\n",
    )
    data = open_data([trades, quotes], SourceOptions())
    midnight = 1_746_316_800_000_000_000
    assert data.candles[0].first_ns == midnight
    # The closing quote of a bar is known when the bar ends.
    assert data.quotes[0].first_ns == midnight + 60_000_000_000
    assert (data.quotes[0].bid.tolist(), data.quotes[0].ask.tolist()) == ([100], [105])
    assert data.series[0].venue == "bybit"


def test_quotes_survive_an_import(write_file, tmp_path):
    from replay.datasets import write_all

    path = recording(write_file, quote(0, "5", "6"), quote(0, "5.1", "6"))
    series = read_series([path], SourceOptions()).series
    write_all(tmp_path / "out", series, {}, {}, replace=False)
    mapped = open_data([tmp_path / "out"], SourceOptions())
    assert mapped.digest() == open_data([path], SourceOptions()).digest()
