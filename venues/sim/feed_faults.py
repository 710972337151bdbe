"""Faults of the signal feed, as data (hazards §1, feed). Matched like those of a venue."""

from __future__ import annotations

from typing import Any

import msgspec

from venues.sim.fault_kinds import Matched


class FeedDelay(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_delay"):
    """The message is later, and so is what follows it."""

    dt_ns: int


class FeedReorder(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_reorder"):
    """The message is later, and what follows overtakes it."""

    dt_ns: int


class FeedDup(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_dup"):
    """The message comes again `dt_ns` later."""

    dt_ns: int = 0


class FeedDrop(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_drop"):
    """The message is lost."""


class FeedTruncate(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_truncate"):
    """Only the first `keep_ppm` millionths of the text arrive."""

    keep_ppm: int = 500_000


class FeedGarbage(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_garbage"):
    """Text that is no message comes before it, or in its place (`replaces`)."""

    raw: str = '{"type": "signals", "signals": [{"timestamp": 1'
    replaces: bool = False


class FeedFlood(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_flood"):
    """The message comes `copies` times more, all at once."""

    copies: int = 100


class FeedWrongCandle(
    Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_wrong_candle"
):
    """All signals of the message carry this timestamp (ISO-8601 with Z)."""

    timestamp: str


class FeedReplay(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_replay"):
    """The message holds everything of the last `age_ns`, as after a restart of the server."""

    age_ns: int


class FeedAway(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_away"):
    """The server is gone for the window of `when`: the connection ends, connecting fails."""


class FeedSilent(Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_silent"):
    """Requests are not answered; the socket stays open."""


class FeedAuthRefused(
    Matched, frozen=True, kw_only=True, tag_field="fault", tag="feed_auth_refused"
):
    """The token is refused."""

    reason: str = "invalid token"


type AnyFeedFault = (
    FeedDelay | FeedReorder | FeedDup | FeedDrop | FeedTruncate | FeedGarbage | FeedFlood
    | FeedWrongCandle | FeedReplay | FeedAway | FeedSilent | FeedAuthRefused
)  # fmt: skip


def decode_feed_fault(data: Any) -> AnyFeedFault:
    """A fault of the feed from plain data: {"fault": tag, field: value, …}.

    Raises:
        msgspec.ValidationError: It is none; the message names field and expectation.
    """
    fault: AnyFeedFault = msgspec.convert(data, AnyFeedFault)
    return fault
