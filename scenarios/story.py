"""The story of a run that failed: the few facts that a person reads first.

Of all that was told until it went wrong: nothing of symbols that the first broken invariant is not
about, nothing of waves that nobody sent unless a problem speaks of waves, and what is told again
and again only once, with how often.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from replay.timeline import Fact, clock_text
from scenarios.violations import Violation

FACTS = 25
"""So many are told."""
_UNSENT = ("wave.missing", "alert.wave.missing")


def story_of(
    facts: Iterable[Fact], problems: Sequence[str], first: Violation | None
) -> list[Fact]:
    """The last facts that matter, in their order.

    Args:
        facts: All facts of the run.
        problems: What is wrong with it.
        first: The first broken invariant; None: an expectation failed.
    """
    of_waves = any("wave" in problem for problem in problems)
    wanted = [
        fact
        for fact in facts
        if (first is None or _concerns(fact, first))
        and (of_waves or fact.kind not in _UNSENT)
    ]
    return _condensed(wanted)[-FACTS:]


def _concerns(fact: Fact, first: Violation) -> bool:
    if fact.ts_ns > first.ts_ns:
        return False
    here = fact.symbol in ("", first.symbol) and fact.venue in ("", first.venue)
    return here or not first.symbol


def _condensed(facts: list[Fact]) -> list[Fact]:
    """Each fact that says what the one before on its place said is counted there."""
    told: list[Fact] = []
    again: dict[tuple[str, str], tuple[int, int]] = {}
    for fact in facts:
        place = (fact.venue, fact.symbol)
        at, count = again.get(place, (-1, 0))
        if at >= 0 and _same(told[at], fact):
            again[place] = (at, count + 1)
            values = dict(told[at].values)
            values["again"] = f"{count + 1} times until {clock_text(fact.ts_ns)}"
            told[at] = msgspec.structs.replace(told[at], values=values)
            continue
        again[place] = (len(told), 0)
        told.append(fact)
    return told


def _same(known: Fact, fact: Fact) -> bool:
    """Whether nothing but the time is new."""
    values = {name: value for name, value in known.values.items() if name != "again"}
    return (known.what, known.why, known.client_order_id, values) == (
        fact.what,
        fact.why,
        fact.client_order_id,
        fact.values,
    )
