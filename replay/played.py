"""What playing a journal gives: the verdict, the first difference, and its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from kernel.model.messages import Input, VenueAnswer, VenueSaid
from kernel.signals.timestamps import format_utc

IDENTICAL = "identical"
"""Every record is the same to the last byte."""
DECISIONS = "decisions differ"
MECHANICS = "mechanics differ"
"""The same decisions, other requests, timers, writes or reads."""
EXHAUSTED = "exhausted"
"""The code asked what the journal cannot answer; up to there every decision is the same."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `expected` is what the journal says, `actual` what the code does now.

    A decision is its fields; "nothing" stands for none. `index` is the record, `input` what the
    kernel was told in it.
    """

    kind: str
    index: int
    ts_ns: int
    input: str
    expected: Any
    actual: Any
    cause: str


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What came of playing a journal."""

    verdict: str
    records: int
    torn_bytes: int
    digest: str
    state_digest: str
    first: Difference | None = None
    mechanics: tuple[Difference, ...] = ()


def rows_of[T](expected: Sequence[T], actual: Sequence[T]) -> Iterator[tuple[T | None, T | None]]:
    """Both lists side by side; None where one has ended."""
    yield from zip_longest(expected, actual)


def input_words(item: Input) -> str:
    """An input in a few words: what it is and whose answer."""
    body = item.body
    tag = str(body.__struct_config__.tag)
    match body:
        case VenueAnswer(venue=venue, reply=reply):
            return f"{tag} of {venue} to {item.key}: {reply.__struct_config__.tag}"
        case VenueSaid(venue=venue, event=event):
            return f"{venue} says {event.__struct_config__.tag} {getattr(event, 'symbol', '')}"
        case _:
            return f"{tag} {item.key}"


def difference_lines(one: Difference) -> list[str]:
    """A difference as lines for a person."""
    clock = f"{format_utc(one.ts_ns)[:19]}.{one.ts_ns // 1_000_000 % 1000:03}"
    lines = [f"{one.kind} in record {one.index} at {clock}, on {one.input.strip()}"]
    if one.kind == EXHAUSTED:
        return [*lines, f"  journal exhausted: {one.actual} is not in the journal"]
    if isinstance(one.expected, dict) and isinstance(one.actual, dict):
        shared = {
            name: value for name, value in one.expected.items() if one.actual.get(name) == value
        }
        lines.append(f"  same      {_words(shared)}")
        lines.append(f"  journal   {_words(_without(one.expected, shared))}")
        lines.append(f"  now       {_words(_without(one.actual, shared))}")
    else:
        lines += [f"  journal   {_words(one.expected)}", f"  now       {_words(one.actual)}"]
    return [*lines, f"  cause     {one.cause}"]


def _without(told: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in shared}


def _words(told: Any) -> str:
    if not isinstance(told, dict):
        return str(told)
    parts = []
    for name, value in told.items():
        if isinstance(value, dict):
            parts.append(" ".join(f"{key}={held}" for key, held in value.items()))
        else:
            parts.append(f"{name}={value}")
    return "  ".join(parts) or "-"
