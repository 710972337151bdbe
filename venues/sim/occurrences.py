"""Occurrences: the n in (seed, label, n), counted per content key in bounded memory."""

from __future__ import annotations

KEPT = 50_000
"""Keys that are remembered; a key that has not come for that many others starts anew."""


class Occurrences:
    """Counts how often each key came."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def next(self, key: str) -> int:
        """0 for the first time a key comes, then 1, 2, …."""
        counts = self._counts
        n = counts.pop(key, 0)
        counts[key] = n + 1
        if len(counts) > KEPT:
            del counts[next(iter(counts))]
        return n
