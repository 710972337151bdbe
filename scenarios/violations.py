"""Violations of invariants: what, when, where; the first of each kind and place counts most."""

from __future__ import annotations

import msgspec

from kernel.model.units import MS
from kernel.signals.timestamps import format_utc

TEXTS: dict[str, str] = {
    "I1": "bounded nakedness",
    "I2": "exposure cap",
    "I3": "one intent, one order",
    "I4": "no flip",
    "I5": "unknown is not failed",
    "I6": "absence needs proof",
    "I7": "a stop never loosens",
    "I8": "no gap on replace",
    "I9": "no orphans, no leaks",
    "I10": "exact books",
    "I11": "convergence",
    "I12": "no entries on a suspect stream",
    "I13": "nothing during a ban",
    "I14": "no storms",
    "I15": "a signal at most once",
    "I16": "signals are fresh",
    "I17": "unlisted codes alert",
    "I18": "legal orders",
    "I19": "modes are read back",
    "I20": "isolation: no task crashes",
    "I21": "write ahead",
}
"""Invariant → its name (hazards §2); I13 and I17 to I21 as far as they show from outside."""

MAX_KEPT = 50


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One broken invariant."""

    invariant: str
    ts_ns: int
    venue: str
    symbol: str
    text: str

    def __str__(self) -> str:
        clock = f"{format_utc(self.ts_ns)[11:19]}.{self.ts_ns // MS % 1000:03}"
        place = " ".join(part for part in (self.venue, self.symbol) if part)
        return f"{self.invariant} {TEXTS[self.invariant]}: {clock} {place}: {self.text}"


class Violations:
    """What was found in one run.

    Attributes:
        found: The first of them, in the order in which they were found.
        counts: How many there were of each invariant, those of `found` included.
    """

    def __init__(self) -> None:
        self.found: list[Violation] = []
        self.counts: dict[str, int] = {}

    def add(self, invariant: str, ts_ns: int, venue: str, symbol: str, text: str) -> None:
        """Note one."""
        self.counts[invariant] = self.counts.get(invariant, 0) + 1
        if len(self.found) < MAX_KEPT:
            self.found.append(
                Violation(
                    invariant=invariant, ts_ns=ts_ns, venue=venue, symbol=symbol, text=text
                )
            )
