"""The figures of a replay as text for a terminal, the worst first."""

from __future__ import annotations

from decimal import Decimal

from kernel.signals.timestamps import format_utc
from replay.runs import ReplayResult
from scenarios.replay_setup import ReplayPlan


def summary(plan: ReplayPlan, result: ReplayResult) -> str:
    """Lines of the form `name      value`, ending with a newline."""
    days = result.simulated_s / 86_400
    speed = f", {days / result.wall_s:.1f} simulated days a second" if result.wall_s else ""
    count = f"{result.positions_opened} opened, {result.positions_closed} closed"
    rows = [
        ("period", f"{format_utc(plan.setup.start_ns)} to {format_utc(plan.end_ns)}"),
        ("prices", f"{result.ticks} ({len(plan.setup.markets)} symbols)"),
        ("signals", f"{result.signals} in {result.waves} waves"),
        ("positions", f"{count}, {result.open_positions} open at the end"),
        ("PnL", f"{result.realized_pnl} before fees {result.fees} and funding {result.funding}"),
        ("no stop", f"{result.max_unprotected_ms} ms at most, {result.unprotected_s:.3f} s in all"),
        ("starts", f"{result.kernel_starts}, {result.crashes} of them after a crash"),
        ("faults", ", ".join(f"{n} {name}" for name, n in _kinds(result).items()) or "none"),
        ("run", f"{result.steps} steps in {result.wall_s:.1f} s{speed}"),
        ("digest", f"{result.digest}, state {result.state_digest}"),
    ]  # fmt: skip
    bad = [f"VIOLATED  {line}" for line in result.violations]
    bad += [f"CRASHED   {line}" for line in result.task_crashes]
    notes = [f"note      {note}" for note in plan.notes]
    lines = bad + [f"{name:<9} {value}" for name, value in rows] + notes
    return "\n".join(lines) + "\n"


def _kinds(result: ReplayResult) -> dict[str, int]:
    """How often each kind of fault struck, all hours together."""
    counts: dict[str, int] = {}
    for name, count in result.faults_fired.items():
        kind = name.partition(" in hour")[0]
        counts[kind] = counts.get(kind, 0) + count
    return counts


def figures(plan: ReplayPlan, result: ReplayResult) -> list[tuple[str, str, str]]:
    """(name, value, hint) for the tiles of a report, the ones that matter most first."""
    net = Decimal(result.realized_pnl) - Decimal(result.fees) + Decimal(result.funding)
    return [
        ("invariants broken", str(result.invariant_violations), "must be 0"),
        ("longest without a stop", f"{result.max_unprotected_ms} ms", "at the venue, in truth"),
        ("without a stop in all", f"{result.unprotected_s:.2f} s", "summed over positions"),
        ("net result", f"{net:+.2f} USD", "realised, after fees and funding"),
        ("PnL before fees", f"{Decimal(result.realized_pnl):+.2f} USD", result.realized_pnl),
        ("fees", f"{Decimal(result.fees):.2f} USD", result.fees),
        ("funding", f"{Decimal(result.funding):.2f} USD", "received is positive"),
        ("positions", f"{result.positions_opened}", f"{result.positions_closed} closed"),
        ("open at the end", str(result.open_positions), "they keep their stops"),
        ("waves", f"{result.waves}", f"{result.signals} signals"),
        ("faults that struck", str(sum(result.faults_fired.values())), "by the seed of the swarm"),
        ("starts of the kernel", str(result.kernel_starts), f"{result.crashes} after a crash"),
        ("simulated", f"{result.simulated_s / 86_400:.2f} days", f"in {result.wall_s:.1f} s"),
        ("prices", str(result.ticks), f"{len(plan.setup.markets)} symbols"),
    ]
