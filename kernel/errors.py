"""The error tree, split by what the caller must do, not by what the wire said.

    KernelError
    ├── SettingsError            wrong settings or files: all problems at once, exit code 2
    ├── InvariantViolation       our bug: the run stops
    ├── StoreError               the store did not commit
    │   ├── StoreFenced          a later process has loaded: nothing of this one is written
    │   └── RowsRefused          the store takes these rows neither now nor later
    ├── LeaseHeld                another instance trades the account
    └── VenueError               carries venue, request, raw code and text
        ├── NotSent              proven not executed: may be sent again under the same id
        ├── OutcomeUnknown       may have executed: gather evidence under the same id (SPEC §3)
        ├── Throttled            proven not executed: wait until `retry_at_ns`
        ├── Unauthorized         keys, permissions, bans: entries halt, alert
        ├── StreamLost           the private stream is not trustworthy
        └── Rejected             a definite no
            ├── WouldTriggerNow          the market is already through the trigger
            ├── NoPositionYet            a position-level stop, and the venue shows no position
            ├── InsufficientMargin
            ├── ReduceOnlyRefused        re-read the position; this is not "flat"
            ├── TooManyOpenOrders        a cap (500 / 200 / 10)
            ├── DuplicateClientOrderId   an earlier send exists: look it up
            ├── UnknownOrder             a question, not an answer (hazards I6)
            ├── FilterViolation          tick, step, notional, price band
            └── EntriesForbidden         symbol, account or venue accepts only closing orders

"Not modified" answers are success and raise nothing.
"""

from __future__ import annotations

import sys


class KernelError(Exception):
    """Base of every error that this project raises on purpose."""


class SettingsError(KernelError):
    """Settings, a scenario or a data file are wrong.

    Args:
        problems: One sentence each: what, where, the value, the allowed range, the fix.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def missing_package(error: ModuleNotFoundError) -> str:
    """What to do where a package of `requirements.lock` is not installed.

    Raises:
        ModuleNotFoundError: The module is one of this project.
    """
    package = (error.name or "").partition(".")[0]
    if package in ("kernel", "venues", "replay", "scenarios"):
        raise error
    return (
        f"package {package} is not installed for {sys.executable}:"
        " run `make setup`, then start with .venv/bin/python"
    )


class InvariantViolation(KernelError):
    """A rule that must hold always was broken: a bug of ours."""


class StoreError(KernelError):
    """The store did not commit: nothing may be assumed to be durable."""


class StoreFenced(StoreError):
    """A later process has loaded this store: nothing of an earlier one is written any more."""


class RowsRefused(StoreError):
    """The store works and takes these rows neither now nor later; nothing of them was written."""


class LeaseHeld(KernelError):
    """Another instance has the lease of the accounts.

    Attributes:
        holder: Which one.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} has the lease of the account")
        self.holder = holder


class VenueError(KernelError):
    """A venue's answer, or the lack of one.

    Attributes:
        venue: Which venue.
        request: The kind of the request, as in `kernel.model.venue`.
        code: The venue's raw code as text ("-2021", "110093", "http-503", "timeout").
        text: The venue's words, without secrets.
        listed: False: the code is in no table; then an alert is due (hazards I17).
    """

    listed: bool = True

    def __init__(self, venue: str, request: str, code: str = "", text: str = "") -> None:
        super().__init__(f"{venue} {request}: {code} {text}".strip())
        self.venue = venue
        self.request = request
        self.code = code
        self.text = text


class NotSent(VenueError):
    """Proven not executed: the same intent may be sent again under the same id."""


class OutcomeUnknown(VenueError):
    """May have executed: only evidence under the same id ends this (SPEC §3)."""


class Throttled(VenueError):
    """Proven not executed because a budget is used up.

    Attributes:
        retry_at_ns: Wall time before which nothing may be sent from this bucket (0: unknown).
        banned: True where the whole venue refuses requests (418, Bybit 403).
    """

    def __init__(
        self,
        venue: str,
        request: str,
        code: str = "",
        text: str = "",
        *,
        retry_at_ns: int = 0,
        banned: bool = False,
    ) -> None:
        super().__init__(venue, request, code, text)
        self.retry_at_ns = retry_at_ns
        self.banned = banned


class Unauthorized(VenueError):
    """Keys, permissions or region: entries halt, a human is needed."""


class StreamLost(VenueError):
    """The private stream ended or may have lost events: resync before any entry."""


class Rejected(VenueError):
    """A definite no: nothing was placed or changed."""


class WouldTriggerNow(Rejected):
    """The market is already through the trigger price."""


class NoPositionYet(Rejected):
    """A position-level stop was refused because the venue shows no position."""


class InsufficientMargin(Rejected):
    """Not enough free margin."""


class ReduceOnlyRefused(Rejected):
    """A closing order was refused: re-read the position, never conclude flat."""


class TooManyOpenOrders(Rejected):
    """A cap on open or conditional orders is reached."""


class DuplicateClientOrderId(Rejected):
    """The id is in use: an earlier send of the same intent exists."""


class UnknownOrder(Rejected):
    """The venue does not show this order now; that proves nothing (hazards I6)."""


class FilterViolation(Rejected):
    """Tick, step, minimum, maximum or price band."""


class EntriesForbidden(Rejected):
    """Symbol, account or venue accepts only closing orders."""


VENUE_ERRORS: dict[str, type[VenueError]] = {
    kind.__name__: kind
    for kind in (
        NotSent,
        OutcomeUnknown,
        Throttled,
        Unauthorized,
        StreamLost,
        Rejected,
        WouldTriggerNow,
        NoPositionYet,
        InsufficientMargin,
        ReduceOnlyRefused,
        TooManyOpenOrders,
        DuplicateClientOrderId,
        UnknownOrder,
        FilterViolation,
        EntriesForbidden,
    )
}
"""Name → class: `Failure.kind` in the journal is one of these names."""
