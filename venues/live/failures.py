"""How error tables are written and read: one row a raw code, each with what it means."""

from __future__ import annotations

import msgspec

from kernel.errors import VENUE_ERRORS, Rejected
from kernel.model.venue import Failure

UNCHANGED = "Unchanged"
"""`Failure.kind` of an answer that is raised as `Unchanged`."""


class Unchanged(Rejected):
    """The setting was so already: success, to whoever wanted it so."""


class Code(msgspec.Struct, frozen=True, gc=False):
    """One row of an error table.

    Attributes:
        kind: A class of `kernel.errors.VENUE_ERRORS`, or `UNCHANGED`.
        meaning: The venue's words, shortened.
    """

    kind: str
    meaning: str

    def __post_init__(self) -> None:
        if self.kind != UNCHANGED and self.kind not in VENUE_ERRORS:
            raise ValueError(f"{self.kind!r} names no venue error")


def unlisted(code: str, text: str) -> Failure:
    """A code that is in no table: anything may have happened, and an alert is due."""
    return Failure(kind="OutcomeUnknown", code=code, text=text, listed=False)
