"""The lines of one wave: which are candidates, which passed, which were dropped and why."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kernel.signals.selection import FilterRules, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kernel.model.signal import Signal

ALREADY_TRIED = "already_tried"


class Stage(StrEnum):
    """Where a line stands; TRIED and DROPPED are final for the filter."""

    CANDIDATE = "CANDIDATE"
    PASSED = "PASSED"
    TRIED = "TRIED"
    DROPPED = "DROPPED"


class Line:
    """One signal of the wave."""

    __slots__ = ("reason", "signal", "stage")

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.stage = Stage.CANDIDATE
        self.reason = ""

    @property
    def waits(self) -> bool:
        """It may still be tried."""
        return self.stage in (Stage.CANDIDATE, Stage.PASSED)


class WaveLines:
    """All signals of one wave, in order of arrival.

    Args:
        rules: Of the filter.
        claims: Once-keys that were tried, now or before; shared by all waves.
        on_drop: Told of each line that is dropped, with a detail.

    Attributes:
        passed: Validated lines that wait for their entry, best first.
    """

    def __init__(
        self,
        rules: FilterRules,
        claims: dict[str, None],
        on_drop: Callable[[Line, str], None],
    ) -> None:
        self._rules = rules
        self._claims = claims
        self._on_drop = on_drop
        self._lines: list[Line] = []
        self._seen: dict[str, None] = {}
        self._candidates: list[Line] = []
        self._is_stale = False
        self.passed: list[Line] = []
        self.without_month_score = 0

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines)

    def add(self, signals: Iterable[Signal]) -> None:
        """Take signals; a copy of one that is there changes nothing."""
        for signal in signals:
            identity = f"{signal.once_key}|{signal.score_week}|{signal.score_month}"
            if identity not in self._seen:
                self._seen[identity] = None
                self._lines.append(Line(signal))
                self._is_stale = True

    def mark_tried(self, once_keys: Iterable[str]) -> None:
        """These became positions in the process before."""
        tried = dict.fromkeys(once_keys)
        for line in self._lines:
            if line.signal.once_key in tried:
                line.stage = Stage.TRIED

    def filter(self) -> None:
        """Filter and sort anew if something was added since.

        What was tried stays as it is. A late opposite signal takes its symbol's waiting line
        with it.
        """
        if not self._is_stale:
            return
        self._is_stale = False
        selection = select([line.signal for line in self._lines], self._rules)
        self.without_month_score = selection.without_month_score
        for dropped in selection.dropped:
            line = self._lines[dropped.index]
            if line.waits:
                self.drop(line, dropped.reason.value)
        first: dict[str, Line] = {}
        for line in self._lines:
            first.setdefault(line.signal.once_key, line)
        self._candidates = []
        for signal in selection.candidates:
            line = first[signal.once_key]
            if line.stage is not Stage.CANDIDATE:
                continue
            if signal.once_key in self._claims:
                self.drop(line, ALREADY_TRIED)
            else:
                self._candidates.append(line)

    def best(self, count: int, venues: tuple[str, ...]) -> list[Line]:
        """The best candidates of these venues. They stay candidates until they pass or drop."""
        return [line for line in self.candidates() if line.signal.venue in venues][:count]

    def candidates(self) -> list[Line]:
        """Lines that were not validated yet, best first."""
        self._candidates = [line for line in self._candidates if line.stage is Stage.CANDIDATE]
        return self._candidates

    def passes(self, line: Line) -> None:
        """A line was validated."""
        line.stage = Stage.PASSED
        self.passed.append(line)

    def next_passed(self, full: tuple[str, ...] = ()) -> Line | None:
        """The best validated line that waits for none of the venues `full`; tried from now on."""
        waiting = self.waiting_passed()
        line = next((line for line in waiting if line.signal.venue not in full), None)
        if line is not None:
            line.stage = Stage.TRIED
        return line

    def waiting_passed(self) -> list[Line]:
        """Validated lines that wait, in the order in which they passed."""
        self.passed = [line for line in self.passed if line.stage is Stage.PASSED]
        return self.passed

    def drop(self, line: Line, reason: str, detail: str = "") -> None:
        """A line is out, with its reason."""
        line.stage = Stage.DROPPED
        line.reason = reason
        self._on_drop(line, detail)

    def drop_waiting(self, reason: str) -> None:
        """Everything that was never tried is out."""
        for line in self._lines:
            if line.waits:
                self.drop(line, reason)

    def drop_counts(self) -> dict[str, int]:
        """How many were dropped, by reason."""
        counts: dict[str, int] = {}
        for line in self._lines:
            if line.stage is Stage.DROPPED:
                counts[line.reason] = counts.get(line.reason, 0) + 1
        return dict(sorted(counts.items()))

    def selected(self) -> list[Signal]:
        """What passed or was tried, in order of arrival: what the store keeps before an entry."""
        kept = (Stage.PASSED, Stage.TRIED)
        return [line.signal for line in self._lines if line.stage in kept]
