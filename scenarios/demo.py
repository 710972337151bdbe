"""`run_sim.py demo`: one wave through the whole life of its positions, with two faults, in seconds.

Prices are made here: for each symbol a path of corners in percent of its first price, with a draw
at each second. The wave, the faults and the seed are fixed, so the demo is the same on every day.
"""

from __future__ import annotations

import argparse
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np

from kernel.config import Settings
from kernel.errors import SettingsError
from kernel.model.draws import draw
from kernel.model.instrument import Instrument
from kernel.model.units import MINUTE, SECOND, install_decimal_context
from kernel.signals.timestamps import format_utc, parse_utc
from replay.data_cli import Subparsers
from replay.outside import seconds
from replay.report import Story
from replay.report_html import write_report
from replay.runs import ReplayResult
from replay.timeline import Fact, Timeline
from scenarios.replay_cli import header_of, report_of
from scenarios.replay_run import Extras, run_replay
from scenarios.replay_setup import ReplayPlan, instruments_hash
from scenarios.signal_items import signal_item
from scenarios.world import WorldSetup
from venues.sim.account import AccountRules
from venues.sim.fault_kinds import AttachedLost, RequestDrop, StreamGap, Target, When
from venues.sim.instruments import known_instrument
from venues.sim.market import Market
from venues.sim.quotes import Spread
from venues.sim.signal_server import Posted
from venues.sim.tape import Tape
from venues.sim.venue import VenueSetup

OK, BAD_INPUT, VIOLATED = 0, 2, 10
SEED = 7
START_NS = parse_utc("2026-01-05T12:18:00Z")
CANDLE_NS = parse_utc("2026-01-05T12:00:00Z")
SPAN_NS = 80 * MINUTE
ARRIVAL_NS = parse_utc("2026-01-05T12:20:40Z")
LATE_NS = parse_utc("2026-01-05T12:23:30Z")

type Corners = tuple[tuple[int, str], ...]
"""(minute, percent of the first price)."""

PRICES: dict[str, tuple[str, Corners]] = {
    "BTCUSDT": ("42000", ((0, "0"), (12, "0.3"), (30, "1.2"), (38, "1.9"), (46, "2.7"),
                          (52, "2.4"), (62, "3.3"), (68, "2.4"), (80, "2.1"))),
    "ETHUSDT": ("2250", ((0, "0"), (9, "-0.5"), (20, "-0.9"), (28, "-1.6"), (34, "-2.4"),
                         (50, "-2.9"), (80, "-2.2"))),
    "SOLUSDT": ("98.5", ((0, "0"), (10, "0.4"), (24, "-1.2"), (34, "-2.2"), (44, "-2.6"),
                         (50, "-1.9"), (80, "-1.4"))),
    "XRPUSDT": ("0.575", ((0, "0"), (20, "0.7"), (40, "-0.6"), (60, "0.9"), (80, "0.4"))),
    "ADAUSDT": ("0.52", ((0, "0"), (80, "0.8"))),
    "DOGEUSDT": ("0.081", ((0, "0"), (80, "-0.5"))),
    "LINKUSDT": ("14.2", ((0, "0"), (80, "1.1"))),
    "AVAXUSDT": ("35.4", ((0, "0"), (80, "-1.0"))),
}  # fmt: skip
SIGNALS: tuple[tuple[str, str, str, str], ...] = (
    ("BTCUSDT", "BUY", "91.5", "74"),
    ("ETHUSDT", "BUY", "88.2", "69"),
    ("SOLUSDT", "SELL", "84.0", "71"),
    ("AVAXUSDT", "BUY", "79.9", "66"),
    ("XRPUSDT", "BUY", "77.3", "61"),
    ("DOGEUSDT", "SELL", "75.1", "31"),
    ("ADAUSDT", "BUY", "70.4", "58"),
    ("ADAUSDT", "SELL", "66.6", "57"),
)
"""(symbol, side, score_week, score_month); LINKUSDT comes after the check and is late."""
WIDE = ("AVAXUSDT", Decimal(300))
"""The symbol whose spread is too wide, and the spread in bps."""
LOST_STOP = {
    "binance": "the request for the first stop of ETHUSDT is lost",
    "bybit": "the stop that rode with the entry of ETHUSDT is not created",
}
CUT_STREAM = "the private stream is cut off"
CUT_NS = (31 * MINUTE, 33 * MINUTE)


def register(subparsers: Subparsers) -> None:
    """Add the command `demo`; it leaves its function in `args.func`."""
    parser = subparsers.add_parser("demo", help="one wave, two faults, a timeline and a report")
    parser.add_argument("--venue", choices=("binance", "bybit"), default="binance")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the report")
    parser.set_defaults(func=cmd_demo)


def cmd_demo(args: argparse.Namespace) -> int:
    """`demo`: run it, tell it, write the report."""
    install_decimal_context()
    plan = demo_plan(args.venue)
    timeline = Timeline()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        journal = args.out / "demo.journal"
        extras = Extras(
            journal=journal,
            header=header_of(plan, "demo"),
            sinks=(timeline,),
            collect=True,
            seconds=seconds,
        )
        replayed = run_replay(plan, extras)
        report = report_of(
            plan,
            replayed,
            title=f"Demo: one wave on {args.venue}, two faults",
            reproduce=f"demo --venue {args.venue}",
        )
        page = args.out / "demo.html"
        write_report(page, report)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    paint = _painted if sys.stdout.isatty() else _plain
    for line, fact in _lines(timeline.facts):
        sys.stdout.write(paint(line, fact) + "\n")
    sys.stdout.write("\n" + _ending(replayed.result, report.positions, page, journal))
    return VIOLATED if replayed.result.invariant_violations else OK


def demo_plan(venue: str) -> ReplayPlan:
    """The world of the demo on a venue."""
    instruments = [known_instrument(venue, symbol) for symbol in PRICES]
    faults = (
        RequestDrop(
            name=LOST_STOP[venue],
            target=Target(kinds=("place_stop",), symbol="ETHUSDT"),
            when=When(times=1),
        )
        if venue == "binance"
        else AttachedLost(name=LOST_STOP[venue], target=Target(symbol="ETHUSDT")),
        StreamGap(
            name=CUT_STREAM, when=When(from_ns=CUT_NS[0], to_ns=CUT_NS[1]), closed=True
        ),
    )
    setup = WorldSetup(
        start_ns=START_NS,
        markets=[_market(instrument) for instrument in instruments],
        instruments=instruments,
        setups={
            venue: VenueSetup(
                account=AccountRules(deposit=Decimal(10_000)),
                slippage_bps=Decimal(1),
                seed=SEED,
                faults=faults,
                origin_ns=START_NS,
            )
        },
        posted=tuple(_posted()),
    )
    return ReplayPlan(
        settings=Settings.load({}),
        setup=setup,
        seed=SEED,
        end_ns=START_NS + SPAN_NS,
        ticks=len(PRICES) * (SPAN_NS // SECOND + 1),
        signals=len(SIGNALS) + 1,
        waves=1,
        data_digest="made by the demo",
        instruments_hash=instruments_hash(instruments),
        notes=(
            "Prices are made by the demo; the mark is the last price.",
            "Injected: " + "; ".join(
                (LOST_STOP[venue], f"{CUT_STREAM} from {_clock(CUT_NS[0])} to {_clock(CUT_NS[1])}")
            ),
        ),
    )  # fmt: skip


def _clock(span_ns: int) -> str:
    return format_utc(START_NS + span_ns)[11:16]


def _market(instrument: Instrument) -> Market:
    symbol = instrument.symbol
    first, corners = PRICES[symbol]
    start = int(Decimal(first) / instrument.tick_size)
    ticks = []
    drift = 0
    for second in range(SPAN_NS // SECOND + 1):
        drift += draw(SEED, f"demo/{symbol}", second, 7) - 3
        drift -= drift // 12
        hundredths = _percent(corners, second)
        ticks.append(start + start * (hundredths + drift) // 10_000)
    times = START_NS + np.arange(len(ticks), dtype=np.int64) * SECOND
    spread = WIDE[1] if symbol == WIDE[0] else Decimal(2)
    return Market(
        instrument.venue,
        symbol,
        Tape(times, np.array(ticks, dtype=np.int64), instrument.tick_size),
        mark_is_last=True,
        spread=Spread(spread, Decimal(10_000)),
    )


def _percent(corners: Corners, second: int) -> int:
    """The path at a second, in hundredths of a percent."""
    for (at, level), (end, following) in pairwise(corners):
        if second <= end * 60:
            here, there = int(Decimal(level) * 100), int(Decimal(following) * 100)
            return here + (there - here) * (second - at * 60) // ((end - at) * 60)
    return int(Decimal(corners[-1][1]) * 100)


def _posted() -> list[Posted]:
    signals = [*SIGNALS, ("LINKUSDT", "BUY", "82.8", "63")]
    return [
        Posted(
            LATE_NS if symbol == "LINKUSDT" else ARRIVAL_NS,
            signal_item(CANDLE_NS, symbol, side, week=Decimal(week), month=Decimal(month)),
        )
        for symbol, side, week, month in signals
    ]


# ---------------------------------------------------------------- the terminal


def _lines(facts: list[Fact]) -> list[tuple[str, Fact | None]]:
    rows: list[tuple[str, Fact | None]] = [(format_utc(START_NS)[:10], None)]
    rows += [(fact.text(), fact) for fact in facts]
    return rows


def _plain(line: str, _fact: Fact | None) -> str:
    return line


def _painted(line: str, fact: Fact | None) -> str:
    colors = {"warning": "33", "critical": "1;31"}
    color = colors.get(fact.level, "") if fact is not None else "1"
    return f"\x1b[{color}m{line}\x1b[0m" if color else line


def _ending(
    result: ReplayResult, positions: list[Story], page: Path, journal: Path
) -> str:
    net = Decimal(result.realized_pnl) - Decimal(result.fees)
    story = next(one for one in positions if one.symbol == "ETHUSDT")
    lost = LOST_STOP[story.venue]
    return (
        f"{result.positions_opened} positions opened, {result.positions_closed} closed, net"
        f" {net:+.2f} USD; {result.invariant_violations} invariants broken; {result.steps} steps"
        f" in {result.wall_s:.1f} s; digest {result.digest}\n"
        f"journal {journal} (run_sim.py journal replay {journal} checks it bit for bit)\n"
        f"Open {page} and look at ETHUSDT: {lost}, so it stands {story.naked_ms} ms without"
        " protection until the kernel has proof and places it again; later its stop fires while"
        " the stream is cut off, and a read finds out.\n"
    )
