"""Refusals: raw codes as the venue says them, and what each code means to a caller."""

from __future__ import annotations

from kernel.model.units import TsNs
from kernel.model.venue import Done, Failure

NOT_MODIFIED = "NotModified"
"""Kind of the codes that say "it is so already": success."""


class Refused(Exception):  # it says what the venue did
    """The venue refuses a request.

    Attributes:
        code: The raw code.
        text: The venue's words.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class CodeTable:
    """The codes of one venue.

    Args:
        kinds: Raw code → name in `kernel.errors.VENUE_ERRORS`, or `NOT_MODIFIED`.
        words: (code, part of the text, kind): for codes of many meanings, the first part found
            in the text decides before `kinds` does.
    """

    def __init__(
        self, kinds: dict[str, str], words: tuple[tuple[str, str, str], ...] = ()
    ) -> None:
        self._kinds = kinds
        self._words = words

    def kind(self, code: str, text: str) -> str | None:
        """What a code means; None: it is in no table."""
        for known, part, kind in self._words:
            if known == code and part in text:
                return kind
        return self._kinds.get(code)

    def reply(
        self, code: str, text: str, *, retry_at_ns: int = 0, banned: bool = False
    ) -> Failure | Done:
        """The reply that carries this code; `Done(already=True)` where it means success."""
        kind = self.kind(code, text)
        if kind == NOT_MODIFIED:
            return Done(already=True)
        return Failure(
            kind=kind or "OutcomeUnknown",
            code=code,
            text=text,
            retry_at_ns=TsNs(retry_at_ns),
            banned=banned,
            listed=kind is not None,
        )
