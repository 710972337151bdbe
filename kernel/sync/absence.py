"""Two reads that agree: the one owner of "proven by reads" (SPEC, "Proof of absence").

What a complete read shows, or does not show, counts when a second complete read says the same:

1. Both were asked after the last execution known on the symbol. A read that is older says nothing,
   and what was remembered from before that execution is forgotten.
2. The second one was asked at least the visibility lag after the first.
3. No complete read between them said otherwise: what one of them does not say is forgotten.

A read that failed or is partial never comes here, so it neither proves nor disproves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from kernel.model.units import MonoNs, TsNs

if TYPE_CHECKING:
    from kernel.sync.snapshot import VenueSnapshot


class ReadStamp(msgspec.Struct, frozen=True, gc=False):
    """When a complete read was asked, before its first request left."""

    asked_ns: MonoNs
    asked_ts_ns: TsNs


type Sightings = Mapping[str, ReadStamp]
"""What was said → the first of the reads in a row that said it."""


def stamp_of(snapshot: VenueSnapshot) -> ReadStamp:
    """When a snapshot was asked."""
    return ReadStamp(snapshot.requested_ns, snapshot.requested_ts_ns)


class Comparison:
    """One complete read, held against what the reads before it said.

    Attributes:
        read: The read.
        sightings: What it said, for the comparison of the next read. Fill it by asking `proven`.
        waiting: Something was said for which a second read is still missing.
        skipped: Something differs where an operation is in progress: nothing is said of it.
    """

    def __init__(self, before: Sightings, read: ReadStamp, lag_ns: int) -> None:
        """`lag_ns`: how far the two reads must be apart."""
        self._before = before
        self._lag_ns = max(lag_ns, 1)
        self.read = read
        self.sightings: dict[str, ReadStamp] = {}
        self.waiting = False
        self.skipped = False

    def proven(self, key: str, *, after_ts_ns: int) -> bool:
        """Remember that this read says `key`; True: an earlier one said it, long enough ago.

        Args:
            key: What it says, e.g. "phantom/ID". All that matters must be in it.
            after_ts_ns: The last execution known on the symbol; 0: none.
        """
        if self.read.asked_ts_ns <= after_ts_ns:
            self.waiting = True
            return False
        first = self._before.get(key, self.read)
        if first.asked_ts_ns <= after_ts_ns:
            first = self.read
        self.sightings[key] = first
        if self.read.asked_ns - first.asked_ns >= self._lag_ns:
            return True
        self.waiting = True
        return False

    def said_for_ns(self, key: str) -> int:
        """For how long reads in a row have said `key`."""
        return self.read.asked_ns - self.sightings.get(key, self.read).asked_ns
