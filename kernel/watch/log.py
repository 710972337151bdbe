"""The owner's log line: `2024-01-01 12:00:00 - module.name - LEVEL - message` (SPEC §12).

A line is one line whatever a venue sent: what is not printable is escaped. The kernel never holds
a secret; what looks like one in a text of somebody else is masked all the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kernel.model.units import printable
from kernel.signals.timestamps import format_utc
from kernel.watch.kinds import LEVELS, level_of, sentence_of

if TYPE_CHECKING:
    from kernel.model.messages import Alert, Decision

MASK = "***"
LONGEST = 2_000
"""Characters of a message; what is longer is cut."""

_SECRET = re.compile(
    r"""(?ix) (?P<name> (?:
        secret (?:[_-]?key)? | token | password | passwd | signature | api[_-]?key | listen[_-]?key
        | \b (?: x-bapi- | bapi- )? sign | \b authorization
        ) \b \\* ["']? \s* [:=] \s* \\* (?P<quote> ["'] )? (?: (?: bearer | basic ) \s+ )? )
        (?P<value> (?(quote) (?: (?! (?P=quote) ) (?s:.) )+ | [^\s"'&,;}\]]+ ) )"""
)
_URL = re.compile(
    r"(?i)(?P<head>\b[a-z][a-z0-9+.-]{0,30}://[^\s/:@]{0,256}:)\S{1,256}(?=@)"
)
"""Both take time in proportion to the text: a venue or a sender may say anything at any length."""


def redacted(text: str) -> str:
    """A text in which the values of what is named like a secret are masked."""
    if ":" not in text and "=" not in text:
        return text
    return _SECRET.sub(rf"\g<name>{MASK}", _URL.sub(rf"\g<head>{MASK}", text))


def message(text: str) -> str:
    """A text that may stand in a log: masked, on one line, of bounded length."""
    whole = printable(redacted(text))
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}…"


def line(ts_ns: int, module: str, level: str, text: str) -> str:
    """One line of the log file.

    Args:
        ts_ns: Wall time; told in whole seconds, UTC.
        module: Who speaks, a dotted name.
        level: One of `LEVELS`.
        text: What happened.
    """
    return f"{_clock(ts_ns)} - {module} - {level} - {message(text)}"


def decision_line(ts_ns: int, decision: Decision, *, least: str = "DEBUG") -> str | None:
    """The line of a decision; None where it is less serious than `least`."""
    level = level_of(decision)
    if LEVELS.index(level) < LEVELS.index(least):
        return None
    words = [f"{decision.venue} {decision.symbol}".strip(), sentence_of(decision)]
    text = ": ".join(word for word in words if word)
    if decision.client_order_id:
        text += f" [{decision.client_order_id}]"
    return line(ts_ns, _module(decision.kind), level, text)


def alert_line(ts_ns: int, alert: Alert) -> str:
    """The line of an alert."""
    words = [f"{alert.venue} {alert.symbol}".strip(), alert.text]
    text = ": ".join(word for word in words if word)
    return line(ts_ns, f"alert.{alert.kind}", alert.severity, text)


def _module(kind: str) -> str:
    """`kernel.stop` for "stop.moved": who decides is known by what is decided."""
    return f"kernel.{kind.partition('.')[0]}"


def _clock(ts_ns: int) -> str:
    return format_utc(ts_ns).replace("T", " ").rstrip("Z")
