"""What a replay gives: the figures of its run, as people and scripts read them."""

from __future__ import annotations

from typing import Any

import msgspec


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one replay. Money is canonical decimal text in the quote currency.

    `digest` is that of the journal, `state_digest` that of the kernel that lived last. `ticks`
    counts recorded prices: trades, and four corners of each candle. `wall_s` is the only figure
    that differs between two runs.
    """

    digest: str
    state_digest: str
    ticks: int
    wall_s: float
    positions_opened: int
    positions_closed: int
    realized_pnl: str
    fees: str
    max_unprotected_ms: int
    invariant_violations: int
    waves: int
    funding: str = "0"
    steps: int = 0
    kernel_starts: int = 1
    crashes: int = 0
    task_crashes: tuple[str, ...] = ()
    faults_fired: dict[str, int] = {}
    violations: tuple[str, ...] = ()
    open_positions: int = 0
    simulated_s: int = 0
    signals: int = 0
    data_digest: str = ""
    unprotected_s: float = 0.0

    def contract(self) -> dict[str, Any]:
        """The fields that scripts depend on, in their order."""
        return {name: getattr(self, name) for name in CONTRACT}


CONTRACT = (
    "digest",
    "state_digest",
    "ticks",
    "wall_s",
    "positions_opened",
    "positions_closed",
    "realized_pnl",
    "fees",
    "max_unprotected_ms",
    "invariant_violations",
    "waves",
)
"""Fields of `--json`, nothing else."""
