"""The whole kernel with every rule at its default interval: days, lives, faults, growth, imports.

    python -m benchmarks.full [--repeat N]

Journal (digest of every step) and invariants are on unless a line says otherwise. Times are of the
processor, medians; a fixed loop before and after tells a disturbed core from a slow program.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from statistics import median
from time import process_time

from benchmarks.worlds import Measured, lived, measure, swinging, troubled, walking
from kernel.model.units import HOUR, MINUTE

FORBIDDEN = ("ccxt", "pandas", "numba")
OPEN = {"MAX_POSITION_AGE_HOURS": "720"}
"""What is measured with open positions keeps them open: aged ones would be closed after hours."""
PARITY = {
    "GUARD_ENABLED": "false",
    "MAX_POSITION_AGE_HOURS": "720",
    "PERFORMANCE_SNAPSHOT_MINUTES": "0",
    "PROTECTION_BULK_SECONDS": "0",
    "STOP_CHECK_INTERVAL_SECONDS": "0",
    "SYNC_INTERVAL_SECONDS": "0",
    "SIGNAL_IDLE_REQUEST_INTERVAL_SECONDS": "0",
}
_IMPORTS = """
import sys, time
began = time.process_time()
import scenarios.run, scenarios.replay_run, replay.timeline
took = time.process_time() - began
print(took, *[name for name in {forbidden!r} if name in sys.modules])
"""


def calibration() -> float:
    """A fixed loop: iterations a microsecond of processor time; about 17 on a quiet core."""
    began, x = process_time(), 0
    for i in range(1_000_000):
        x += i & 3
    return 1 / (process_time() - began)


def best_of(repeat: int, once: Callable[[], Measured]) -> Measured:
    """The run of median cost."""
    runs = sorted((once() for _ in range(repeat)), key=lambda run: run.cpu_s)
    return runs[len(runs) // 2]


def told(name: str, target: str, run: Measured, figure: str) -> None:
    """One line."""
    wrong = f"  {run.violations} VIOLATIONS" if run.violations else ""
    sys.stdout.write(
        f"{name:34} {figure:>18}  (target {target})  {run.steps} steps,"
        f" {run.cpu_s / run.steps * 1e6:.1f} us a step, {run.requests} requests{wrong}\n"
    )
    sys.stdout.flush()


def days(repeat: int) -> None:
    """Simulated days a second, and what journal and invariants take of it."""
    for venue in ("binance", "bybit"):
        for positions, target in ((1, ">= 5"), (10, ">= 3")):
            hours = 12
            setup = swinging(positions, hours, venue)
            span = hours * HOUR
            run = best_of(repeat, lambda: measure(setup, span, settings=OPEN))  # noqa: B023
            rate = f"{hours / 24 / run.cpu_s:.2f} days/s"
            told(f"{venue}, {positions} open", f"{target} days/s", run, rate)
            if venue == "binance":
                bare = best_of(
                    repeat, lambda: measure(setup, span, settings=OPEN, journal=False)  # noqa: B023
                )
                blind = best_of(
                    repeat, lambda: measure(setup, span, settings=OPEN, invariants=False)  # noqa: B023
                )
                for name, other in (("journal", bare), ("invariants", blind)):
                    share = 100 * (1 - other.cpu_s / run.cpu_s)
                    told(f"  share of the {name}", "<= 20 %", other, f"{share:.0f} %")


def lives(repeat: int) -> None:
    """One whole life of ten minutes, and six hours with a fault an hour."""
    run = best_of(5 * repeat, lambda: measure(lived(), 16 * MINUTE))
    told("life of 10 minutes", "<= 4 ms", run, f"{run.cpu_s * 1e3:.1f} ms")
    for venue in ("binance", "bybit"):
        run = best_of(
            repeat, lambda: measure(troubled(venue), 6 * HOUR, settings=OPEN)  # noqa: B023
        )
        told(f"6 hours of faults, {venue}", "<= 25 ms", run, f"{run.cpu_s * 1e3:.0f} ms")


def growth(repeat: int) -> None:
    """Time a trade for once, twice and four times the trades."""
    first = 0.0
    for times in (1, 2, 4):
        count = 2 * times
        run = best_of(
            repeat, lambda: measure(walking(count), count * 24 * HOUR, settings=PARITY)  # noqa: B023
        )
        each = run.cpu_s / max(run.closed, 1)
        first = first or each
        told(
            f"{count} days, {run.closed} trades", "x 1.1 at most", run,
            f"{each * 1e3:.2f} ms, x {each / first:.2f}",
        )


def imports(repeat: int) -> None:
    """Processor time of the imports of the simulation path, and what must not be among them."""
    command = [sys.executable, "-c", _IMPORTS.format(forbidden=FORBIDDEN)]
    lines = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(repeat)
    ]
    took = median(Decimal(line[0]) for line in lines)
    found = ", ".join(lines[0][1:]) or f"none of {', '.join(FORBIDDEN)}"
    sys.stdout.write(f"{'imports':34} {took:>16.2f} s  (target <= 1 s)  {found}\n")


def main(argv: list[str] | None = None) -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description="the kernel with every rule at its interval")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args(argv)
    sys.stdout.write(f"calibration {calibration():.1f} iterations/us (quiet core: about 17)\n")
    for part in (imports, lives, days, growth):
        part(args.repeat)
    sys.stdout.write(f"calibration {calibration():.1f} iterations/us\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
