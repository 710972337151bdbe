"""From the signals of one wave to an ordered list of candidates (SPEC §1). Pure: no venue, no time.

The order of the filter is the SPEC's: stop list, duplicates and conflicts, week score, month
score. (Malformed items never get here: `kernel.signals.wire`.) Every signal that is dropped is
returned with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

from kernel.config import Settings
from kernel.model.signal import Signal


class DropReason(StrEnum):
    """Why the filter dropped a signal."""

    STOPLIST = "stoplist"
    CONFLICT = "conflicting_sides"
    DUPLICATE = "duplicate"
    WEEK_SCORE = "score_week"
    MONTH_SCORE = "score_month"


class FilterRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the filter is set to."""

    stoplist: tuple[str, ...] = ()
    min_score_week: Decimal = Decimal(0)
    min_score_month: Decimal = Decimal(50)

    @classmethod
    def of(cls, settings: Settings) -> FilterRules:
        """The rules that the settings ask for."""
        return cls(
            stoplist=settings.stoplist_symbols,
            min_score_week=settings.min_score_week,
            min_score_month=settings.min_score_month,
        )


class Dropped(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A signal, its place in the order of arrival, and why it is no candidate."""

    index: int
    signal: Signal
    reason: DropReason


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What the filter left, best first, and what it dropped, in order of arrival."""

    candidates: tuple[Signal, ...]
    dropped: tuple[Dropped, ...]
    without_month_score: int
    """Candidates whose month score was absent and so not checked."""


def select(signals: Sequence[Signal], rules: FilterRules) -> Selection:
    """Filter and sort the signals of one wave, given in order of arrival.

    Of two equal (venue, symbol, side) the first wins. A symbol with both sides loses all of its
    signals, on whichever venue: nobody can say which one was meant.
    """
    sides: dict[str, dict[str, None]] = {}
    for signal in signals:
        sides.setdefault(signal.symbol, {})[signal.side.value] = None
    taken: dict[str, None] = {}
    candidates: list[Signal] = []
    dropped: list[Dropped] = []
    for index, signal in enumerate(signals):
        reason = _reason(signal, rules, len(sides[signal.symbol]), taken)
        taken[signal.once_key] = None
        if reason is None:
            candidates.append(signal)
        else:
            dropped.append(Dropped(index, signal, reason))
    return Selection(
        candidates=tuple(sorted(candidates, key=rank)),
        dropped=tuple(dropped),
        without_month_score=sum(signal.score_month is None for signal in candidates),
    )


def _reason(
    signal: Signal, rules: FilterRules, sides: int, taken: dict[str, None]
) -> DropReason | None:
    if signal.symbol.upper() in rules.stoplist:
        return DropReason.STOPLIST
    if sides > 1:
        return DropReason.CONFLICT
    if signal.once_key in taken:
        return DropReason.DUPLICATE
    if signal.score_week < rules.min_score_week:
        return DropReason.WEEK_SCORE
    if signal.score_month is not None and signal.score_month < rules.min_score_month:
        return DropReason.MONTH_SCORE
    return None


def rank(signal: Signal) -> tuple[Decimal, bool, Decimal, str, str, str]:
    """Sorting key: week score descending, month score descending, symbol ascending.

    An absent month score ranks below every present one. Venue and side only make the order total.
    """
    month = signal.score_month
    return (
        -signal.score_week,
        month is None,
        -(month or Decimal(0)),
        signal.symbol,
        signal.venue,
        signal.side.value,
    )


def target_of(settings: Settings, free_slots: int) -> int:
    """Positions that a wave may open: the limit a wave and the free slots, over all venues."""
    target = min(settings.max_trades_per_15min, max(free_slots, 0))
    if settings.max_positions_per_wave:
        target = min(target, settings.max_positions_per_wave)
    return target


def first_slice(target: int, buffer_percent: int) -> int:
    """Candidates to validate first: target·(100 + buffer) // 100; 10 and 33 give 13."""
    return target * (100 + buffer_percent) // 100


def further_slice(missing: int, buffer_percent: int) -> int:
    """Candidates to validate next: the ceiling of missing·(100 + buffer)/100; 2 and 33 give 3."""
    return -(-missing * (100 + buffer_percent) // 100)
