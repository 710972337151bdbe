"""Waves of a replay from what a live run recorded in `fas.signals`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from replay.waves import SignalRow, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.model.rows import SignalRow as Recorded

MALFORMED = "malformed"


class StoredWaves(NamedTuple):
    """Signals by arrival, and how many records are none, with the first reason."""

    rows: list[SignalRow]
    left_out: int
    reason: str

    @property
    def note(self) -> str:
        """What to tell of those that are left out; "": nothing was."""
        if not self.left_out:
            return ""
        return f"{self.left_out} recorded signals are none and left out; the first: {self.reason}"


def waves_of(recorded: Iterable[Recorded]) -> StoredWaves:
    """Recorded signals as waves.

    What was malformed when it came is left out. What was dropped for another reason is kept, for a
    replay decides anew.
    """
    lines: list[bytes] = []
    reasons: list[str] = []
    for row in recorded:
        if row.drop_reason.startswith(MALFORMED):
            reasons.append(row.drop_reason)
        else:
            lines.append(_line(row))
    rows, problems = read_lines("fas.signals", lines)
    reasons += [f"{problem.code}: {problem.value}" for problem in problems]
    lost = len(lines) - len(rows)
    malformed = len(reasons) - len(problems)
    return StoredWaves(rows, lost + malformed, reasons[0] if reasons else "")


def _line(row: Recorded) -> bytes:
    """The item as it was kept, behind when it came; its numbers stay as they were written."""
    head = msgspec.json.encode({"arrival_ns": row.arrived_ns, "source": row.source})
    item = " ".join(row.raw.split())
    if not item.startswith("{") or item.replace(" ", "") == "{}":
        return item.encode("utf-8", "replace")
    return head[:-1] + b"," + item[1:].encode("utf-8", "replace")
