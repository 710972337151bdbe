"""What executions tell beyond the position that they change: when, and that the venue forced one.

Liquidation, auto-deleveraging, settlement and delisting are facts: whoever's position it was, the
symbol is closed for entries for a day (SPEC §9; hazards D01, D02, M02).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.orders import Fill, FillKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.model.units import TsNs

FORCED = (FillKind.LIQUIDATION, FillKind.ADL, FillKind.SETTLEMENT)
"""The venue closed it, asked by nobody."""


class Executed:
    """The last execution on each symbol of each venue.

    Attributes:
        on_forced: Told of each execution that the venue forced, perhaps more than once.
    """

    def __init__(self) -> None:
        self._last: dict[str, dict[str, TsNs]] = {}
        self.on_forced: Callable[[str, Fill], None] = _ignore

    def hear(self, venue: str, fill: Fill) -> None:
        """Take an execution, from the stream or a read, for the first time or again."""
        if fill.kind is FillKind.FUNDING:
            return
        last = self._last.setdefault(venue, {})
        last[fill.symbol] = max(last.get(fill.symbol, fill.ts_ns), fill.ts_ns)
        if fill.kind in FORCED:
            self.on_forced(venue, fill)

    def on_venue(self, venue: str) -> tuple[tuple[str, TsNs], ...]:
        """The last execution on each symbol of a venue."""
        return tuple(self._last.get(venue, {}).items())


def _ignore(venue: str, fill: Fill) -> None:
    """Before the kernel is wired nobody is told."""
