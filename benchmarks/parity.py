"""The whole kernel on the workloads of the reference strategy, against that reference in one run.

    python -m benchmarks.parity [WORKLOAD ...] [--perf FOLDER] [--repeat N] [--json]

The *parity* profile is the strategy of the reference and nothing else: market entry of 200 USD, at
most 10 positions, stop 2 %, trailing 1.5 / 0.5, moved by 0.1 % and once a minute, closed by the
operator after 11 hours, taker 0.05 %, periodic checks and idle polls off, legs of zero. Journal and
invariants are on, and every rule of the kernel that is no periodic check.

The reference rounds a level away from the market, the rules towards it; so it is run a second time
with the rounding of the rules, which is the run that the kernel's trades should equal. Ticks: a
market order waits for the next one, as in the reference. Bars: the kernel sees closed candles.

The reference, its data and its constants are found in `--perf` or `$PERF_DIR`; without them there
is nothing to compare with and the program says so. All times are moved by a minute, because the
owner's table expects the wave of a quarter of an hour from its second minute on.

Each workload runs in a process of its own, so that its peak of memory is its own. Times are of the
processor, not of the wall: the machine may be shared. A run that is not timed comes first; shares
are medians over runs with and without a part, in turn.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.sinks import Counts, Earned
from kernel.config import Settings
from kernel.model.messages import Input, StepResult
from kernel.model.units import HOUR, MINUTE, SECOND, install_decimal_context
from replay.journal import Header, Recorder
from scenarios.driver import Driver, Sink, no_collector
from scenarios.invariants import Checker
from scenarios.kernels import LocalKernel
from scenarios.protection_checks import Limits
from scenarios.replay_run import JournalSink, Tally
from scenarios.signal_items import signal_item
from scenarios.world import World, WorldSetup
from venues.sim.account import AccountRules
from venues.sim.bars import BarTape
from venues.sim.feed import FeedModel
from venues.sim.instruments import make_instrument
from venues.sim.legs import Delay, Legs
from venues.sim.market import Market
from venues.sim.quotes import Spread
from venues.sim.signal_server import Posted, SignalServerSetup
from venues.sim.tape import Tape
from venues.sim.venue import VenueSetup

WORKLOADS = ("t1x5M", "t20x5M", "t20x20M", "b100x30")
NAUTILUS = {"t1x5M": 0.27e6, "t20x5M": 0.26e6, "t20x20M": 0.26e6, "b100x30": 0.089e6}
"""Events a second of Nautilus' Rust engine on a machine like the one of the targets."""
TARGETS = {"t1x5M": 40, "t20x5M": 150, "t20x20M": 150, "b100x30": 10}
"""How many times faster than that this is to be."""
SHIFT = MINUTE
CANDLE = 15 * MINUTE
MAX_AGE = 11 * HOUR
VENUE = "binance"
TICK, STEP = Decimal("0.01"), Decimal("0.0001")
NONE = Delay(0)
LEGS = Legs(
    request=NONE, reply=NONE, connect=NONE, order=NONE, fill=NONE, position=NONE, balance=NONE,
    lag_history=0,
)  # fmt: skip
SETTINGS = {
    "POSITION_SIZE_USD": "200",
    "MAX_POSITIONS": "10",
    "WAVE_CHECK_MINUTES": "1,16,31,46",
    "WAVE_CHECK_DURATION_SECONDS": "1",
    "WAVE_CONCURRENCY": "10",
    "SIGNAL_REQUEST_INTERVAL_SECONDS": "60",
    "SIGNAL_IDLE_REQUEST_INTERVAL_SECONDS": "0",
    "STOP_TRIGGER_PRICE": "last",
    "TRAILING_EMERGENCY_IMPROVEMENT_PERCENT": "50",
    "VISIBILITY_LAG_SECONDS": "0",
    "PROTECTION_BULK_SECONDS": "0",
    "STOP_CHECK_INTERVAL_SECONDS": "0",
    "SYNC_INTERVAL_SECONDS": "0",
    "GUARD_ENABLED": "false",
    "MAX_POSITION_AGE_HOURS": "720",
    "PERFORMANCE_SNAPSHOT_MINUTES": "0",
}
BAR_SETTINGS = {"TRAILING_MIN_UPDATE_INTERVAL_SECONDS": "59"}
"""The reference moves a stop at each close; its confirmation comes milliseconds behind a close."""


def symbol_of(number: int) -> str:
    """The name of a symbol; the order of names is the order of numbers."""
    return f"C{number:03d}USDT"


def markets_of(gen: Any, spec: Any, workload: str) -> tuple[list[Market], int]:
    """Markets of a workload and the last time of their prices."""
    told, folder = spec.parse(workload), Path(gen.generate(workload))
    made: list[Market] = []
    end_ns = 0
    minutes = spec.T0 + SHIFT + np.arange(told["n"], dtype=np.int64) * MINUTE
    for number in range(told["S"]):
        tape: Tape | BarTape
        if told["kind"] == "bars":
            ohlc = np.load(folder / f"ohlc{number}.npy")
            columns = [np.ascontiguousarray(ohlc[:, place]) for place in range(4)]
            # All symbols share one column of times; nothing copies it.
            tape = BarTape(minutes, *columns, bar_ns=MINUTE, tick_size=TICK)
            end_ns = max(end_ns, int(minutes[-1]) + MINUTE)
        else:
            times = np.load(folder / f"ts{number}.npy")
            times += SHIFT
            tape = Tape(times, np.load(folder / f"px{number}.npy"), TICK)
            end_ns = max(end_ns, int(times[-1]))
        made.append(
            Market(
                VENUE, symbol_of(number), tape,
                mark=None, mark_is_last=True, spread=Spread(Decimal(0), Decimal(1_000_000)),
                feed=FeedModel(candle_ns=MINUTE if told["kind"] == "bars" else 0),
            )
        )
    return made, end_ns


def posted_of(gen: Any, workload: str) -> tuple[Posted, ...]:
    """Signals of a workload, each at the server a second before its wave is checked."""
    rows = np.load(Path(gen.generate(workload)) / "signals.npy").tolist()
    made = []
    for place, (at_ns, number, side) in enumerate(rows):
        item = signal_item(
            at_ns - CANDLE, symbol_of(number), "BUY" if side > 0 else "SELL",
            week=Decimal(len(rows) - place),
        )
        made.append(Posted(at_ns + SHIFT - SECOND, item))
    return tuple(made)


class Ages:
    """The operator who closes each position 11 hours after it became ACTIVE."""

    def __init__(self) -> None:
        self.driver: Driver | None = None
        self.commands = 0

    def step(self, item: Input, result: StepResult) -> None:
        """See `Sink.step`."""
        for decision in result.decisions:
            if decision.kind == "position.state" and decision.values.get("after") == "ACTIVE":
                self._plan(decision.symbol, decision.position_id)

    def _plan(self, symbol: str, position_id: str) -> None:
        driver = self.driver
        assert driver is not None
        agenda = driver.world.agenda

        def close() -> None:
            kernel = driver.kernel
            assert isinstance(kernel, LocalKernel)
            held = kernel.services.book.by_symbol(VENUE, symbol)
            if held is not None and held.id == position_id:
                self.commands += 1
                driver.operator("close", symbol)

        agenda.push(agenda.now_ns + MAX_AGE, 2, close)

    def born(self, kernel: object) -> None:
        """See `Sink.born`."""

    def died(self, reason: str) -> None:
        """See `Sink.died`."""


def run_kernel(
    markets: list[Market],
    posted: tuple[Posted, ...],
    *,
    start_ns: int,
    end_ns: int,
    bars: bool,
    journal: Path | None,
    invariants: bool,
) -> dict[str, Any]:
    """One run of the whole kernel over the markets."""
    began, wall = process_time(), perf_counter()
    setup = WorldSetup(
        start_ns=start_ns,
        markets=markets,
        instruments=[
            make_instrument(VENUE, market.symbol, tick_size=TICK, qty_step=STEP)
            for market in markets
        ],
        setups={
            VENUE: VenueSetup(
                account=AccountRules(keep_ledger=False), legs=LEGS,
                market_fill="last" if bars else "next",
            )
        },
        posted=posted,
        feed=SignalServerSetup(leg_ns=0, connect_ns=0, kept_ns=MINUTE),
    )
    world, settings = World(setup), Settings.load(SETTINGS | (BAR_SETTINGS if bars else {}))
    tally, counts, ages, earned = Tally(world), Counts(), Ages(), Earned()
    world.venues[VENUE].subscribe(earned.hear)
    checker = Checker(world, settings, Limits(faults=False), level="sim") if invariants else None
    recorder = None if journal is None else Recorder(journal, Header())
    sinks: list[Sink] = []
    if recorder is not None:
        sinks.append(JournalSink(recorder))
    if checker is not None:
        sinks.append(checker)
    driver = Driver(world, settings, sinks=(*sinks, ages, counts))
    ages.driver = driver
    driver.start()
    driver.run(end_ns)
    if checker is not None:
        checker.finish()
    if recorder is not None:
        recorder.close()
    assert not driver.crashes, driver.crashes
    return {
        "cpu_s": process_time() - began,
        "wall_s": perf_counter() - wall,
        "steps": driver.steps,
        "records": 0 if recorder is None else recorder.records,
        "requests": counts.requests,
        "trades": tally.closed,
        "stop_moves": counts.stop_moves,
        "aged": ages.commands,
        "pnl": float(earned.closed),
        "violations": {} if checker is None else dict(checker.violations.counts),
    }


def run_reference(ref: Any, gen: Any, spec: Any, workload: str) -> dict[str, Any]:
    """The dense reference on the same data; compiled where numba can be imported."""
    data, bars = gen.load(workload), spec.parse(workload)["kind"] == "bars"
    compiled = hasattr(ref, "bars_numba" if bars else "ticks_numba")
    run: Callable[[], Any]
    if bars and compiled:
        ohlc = np.ascontiguousarray(np.stack(data["ohlc"], axis=1))
        run = lambda: ref.bars_numba(data, ohlc)  # noqa: E731
    elif bars:
        run = lambda: ref.bars_python(data)  # noqa: E731
    else:
        stream = ref.merged(data)
        dense = ref.ticks_numba if compiled else ref.ticks_python
        run = lambda: dense(data, stream)  # noqa: E731
    if compiled:
        run()
    began = process_time()
    trades, moves = run()
    told = {
        "ref": "numba" if compiled else "python",
        "ref_s": process_time() - began,
        "ref_trades": len(trades), "ref_moves": moves, "ref_pnl": ref.summary(trades)[1],
    }  # fmt: skip
    dense = ref.bars_python if bars else ref.ticks_python
    kept = ref.stop_from_entry, ref.candidate
    ref.stop_from_entry, ref.candidate = tighter_stop(spec), tighter_candidate(spec)
    trades, moves = dense(data)
    ref.stop_from_entry, ref.candidate = kept
    return told | {
        "tight_trades": len(trades), "tight_moves": moves, "tight_pnl": ref.summary(trades)[1],
    }  # fmt: skip


def tighter_stop(spec: Any) -> Callable[[int, int], int]:
    """The first stop of the reference, rounded as the rules say: to the tighter side."""
    num, den = spec.SL_NUM, spec.SL_DEN
    return lambda side, e: -(e * (num - den) // den) if side > 0 else e * (den + num) // den


def tighter_candidate(spec: Any) -> Callable[[int, int], int]:
    """The level that trails a peak, rounded to the tighter side."""
    num, den = spec.CB_NUM, spec.CB_DEN
    return lambda side, p: -(p * (num - den) // den) if side > 0 else p * (den + num) // den


def child(workload: str, perf: Path, repeat: int, scratch: Path) -> dict[str, Any]:
    """All runs of one workload."""
    sys.path.insert(0, str(perf))
    gen, spec, ref = (importlib.import_module(name) for name in ("gen", "spec", "ref"))
    install_decimal_context()
    gen.generate(workload)
    base_mb = peak_mb()
    markets, end_ns = markets_of(gen, spec, workload)
    posted = posted_of(gen, workload)
    events = spec.parse(workload)["n_events"]
    bars = spec.parse(workload)["kind"] == "bars"

    def once(*, journal: bool = True, invariants: bool = True) -> dict[str, Any]:
        for market in markets:
            market.last.index = None  # its making is part of the time
        gc.collect()
        with no_collector():
            return run_kernel(
                markets, posted, start_ns=spec.T0, end_ns=end_ns, bars=bars,
                journal=scratch / f"{workload}.journal" if journal else None,
                invariants=invariants,
            )  # fmt: skip

    once()
    made_mb = peak_mb()
    runs, bare, blind = [], [], []
    for _ in range(repeat):  # in turn, as a shared machine changes its speed meanwhile
        runs.append(once())
        bare.append(once(journal=False))
        blind.append(once(invariants=False))
    took = median(run["cpu_s"] for run in runs)
    told = runs[0] | {"workload": workload, "events": events, "cpu_s": took}
    told["journal_percent"] = share(runs, bare)
    told["invariants_percent"] = share(runs, blind)
    told["events_per_s"] = events / took
    told["us_per_record"] = took / told["records"] * 1e6
    told["peak_mb"] = made_mb
    told["bytes_per_event"] = (made_mb - base_mb) * (1 << 20) / events
    told |= run_reference(ref, gen, spec, workload)
    told["times_ref"] = told["ref_s"] / took
    told["times_nautilus"] = told["events_per_s"] / NAUTILUS[workload]
    return told


def share(runs: list[dict[str, Any]], without: list[dict[str, Any]]) -> float:
    """What a part takes of the time, percent, by runs without it, each beside one with it."""
    pairs = zip(runs, without, strict=True)
    return 100 - 100 * float(median(bare["cpu_s"] / run["cpu_s"] for run, bare in pairs))


def peak_mb() -> float:
    """Peak of resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def against(told: dict[str, Any], name: str) -> str:
    """Trades, moves and PnL of a reference, and by how much the kernel differs."""
    trades, moves = told[f"{name}_trades"], told[f"{name}_moves"]
    return (
        f"{trades} ({100 * (told['trades'] / trades - 1):+.1f} %),"
        f" {moves} ({100 * (told['stop_moves'] / moves - 1):+.1f} %), {told[f'{name}_pnl']:.2f}"
    )


def line_of(told: dict[str, Any]) -> str:
    """One workload as text."""
    target = TARGETS[told["workload"]]
    return (
        f"{told['workload']:8} {told['events_per_s'] / 1e6:7.2f} M events/s"
        f"  {told['times_nautilus']:6.1f} x Nautilus Rust (target {target})"
        f"  {told['times_ref']:7.2f} x dense {told['ref']}\n"
        f"         trades {told['trades']}, stop moves {told['stop_moves']}, PnL {told['pnl']:.2f},"
        f" closed for age {told['aged']}\n"
        f"         reference {against(told, 'ref')}\n"
        f"         ... rounded to the tighter side {against(told, 'tight')}\n"
        f"         steps {told['steps']}, records {told['records']}, requests {told['requests']},"
        f" {told['us_per_record']:.1f} us a record, processor {told['cpu_s']:.3f} s\n"
        f"         journal {told['journal_percent']:.0f} %, invariants"
        f" {told['invariants_percent']:.0f} % of the time, violations {told['violations']}\n"
        f"         peak {told['peak_mb']:.0f} MB, {told['bytes_per_event']:.1f} bytes an event\n"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the workloads; each in a process of its own."""
    parser = argparse.ArgumentParser(description="the kernel against the reference strategy")
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--perf", type=Path, default=os.environ.get("PERF_DIR", "../shared/perf"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    perf = Path(args.perf)
    if not (perf / "ref.py").exists():
        sys.stdout.write(f"skipped: no reference strategy in {perf}; name its folder in --perf\n")
        return 0
    if args.child is not None:
        told = child(args.workloads[0], perf, args.repeat, args.child)
        sys.stdout.write(json.dumps(told) + "\n")
        return 0
    return _parent(args, perf)


def _parent(args: argparse.Namespace, perf: Path) -> int:
    for workload in args.workloads:
        with TemporaryDirectory() as scratch:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.parity", workload, "--perf", str(perf),
                 "--repeat", str(args.repeat), "--child", scratch],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        if done.returncode:
            sys.stderr.write(done.stderr)
            return 1
        told = json.loads(done.stdout.splitlines()[-1])
        sys.stdout.write(json.dumps(told) + "\n" if args.json else line_of(told))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
