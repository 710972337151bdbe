"""Judges a run by what its scenario expects; every difference is one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from kernel.model.messages import Decision
from kernel.model.positions import Origin, PositionRow
from kernel.model.units import MS, text
from scenarios.durations import duration_text
from scenarios.invariants import Checker
from scenarios.observation import Observation
from scenarios.schema import DecisionPart, ExpectPart, PositionPart, Scenario
from scenarios.world import World
from venues.sim.venue import SimVenue

_LEGS = "ESXAR"


class Verdict:
    """Compares one run with its expectations.

    Args:
        scenario: What was expected.
        world: At the end of the run.
        seen: What the run showed.
        checker: After its `finish`.
        stopped: Whether the last kernel ended in an orderly way.
    """

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        *,
        seen: Observation,
        checker: Checker,
        stopped: bool,
    ) -> None:
        self._scenario = scenario
        self._expect: ExpectPart = scenario.expect
        self._world = world
        self._seen = seen
        self._checker = checker
        self._stopped = stopped

    def differences(self) -> list[str]:
        """What is not as expected, invariants first; empty: the scenario passed."""
        return [
            *self._invariants(),
            *self._counts(),
            *self._positions(),
            *self._decisions(),
            *self._sequence(),
            *self._signals(),
            *self._alerts(),
            *self._faults(),
        ]

    # ------------------------------------------------------------ invariants

    def _invariants(self) -> Iterator[str]:
        violations = self._checker.violations
        excused = [*self._expect.fails, *self._scenario.allow]
        for violation in violations.found:
            if violation.invariant not in excused:
                yield str(violation)
        for name in self._expect.fails:
            if name not in violations.counts:
                yield f"{name} should have failed and holds"
        limit = self._expect.max_unprotected
        longest = self._checker.protection.max_unprotected_ns
        if limit is not None and longest > limit:
            yield (
                f"unprotected for {duration_text(longest - longest % MS)},"
                f" at most {duration_text(limit)} is expected"
            )

    # ------------------------------------------------------------ counts and positions

    def _counts(self) -> Iterator[str]:
        rows = self._seen.positions()
        filled = [row for row in rows if row.filled_qty and row.origin is Origin.OURS]
        closed = [row for row in filled if row.state.terminal]
        for name, expected, found in (
            ("opened", self._expect.opened, len(filled)),
            ("closed", self._expect.closed, len(closed)),
        ):
            if expected is not None and expected != found:
                yield f"{name}: {found} positions, expected {expected}"
        if self._expect.flat is not None:
            held = [symbol for venue in self._world.venues.values() for symbol in _open(venue)]
            if bool(held) is self._expect.flat:
                yield f"flat: the venue holds {', '.join(held) or 'nothing'}"
        if self._expect.stopped is not None and self._expect.stopped is not self._stopped:
            yield f"stopped: {self._stopped}, expected {self._expect.stopped}"
        for name, expected_count in self._expect.orders.items():
            if name in _LEGS:
                count = len(self._seen.order_ids[name])
            else:
                count = self._seen.requests.get(name, 0)
            if count != expected_count:
                yield f"orders.{name}: {count}, expected {expected_count}"

    def _positions(self) -> Iterator[str]:
        used: dict[tuple[str, str], int] = {}
        rows = self._seen.positions()
        for number, part in enumerate(self._expect.positions):
            venue = part.venue or next(iter(self._world.venues))
            place = (venue, part.symbol)
            nth = used.get(place, 0)
            used[place] = nth + 1
            found = [row for row in rows if (row.venue, row.symbol) == place]
            if nth >= len(found):
                yield f"positions.{number}: no position {nth + 1} of {part.symbol} on {venue}"
                continue
            yield from self._compare(number, part, found[nth], nth)

    def _compare(
        self, number: int, part: PositionPart, row: PositionRow, nth: int
    ) -> Iterator[str]:
        pairs = (
            ("state", part.state, row.state.value),
            ("reason", part.reason, row.close_reason),
            ("qty", part.qty, row.filled_qty),
            ("entry", part.entry, row.entry_price),
            ("exit", part.exit, row.exit_price),
            ("pnl", part.pnl, row.realized_pnl),
            ("funding", part.funding, row.funding),
            ("fees", part.fees, row.fees),
            ("level", part.level, row.protected_level),
        )
        for name, expected, found in pairs:
            if expected is not None and expected != found:
                shown = found if isinstance(found, str) else text(found)
                yield f"positions.{number}.{name}: {shown}, expected {expected}"
        if part.stops is not None:
            lives = self._seen.stop_prices.get((row.venue, row.symbol), [[]])
            path = tuple(lives[nth]) if nth < len(lives) else ()
            if path != part.stops:
                shown = ", ".join(map(text, path)) or "none"
                yield (
                    f"positions.{number}.stops: {shown},"
                    f" expected {', '.join(map(text, part.stops))}"
                )

    # ------------------------------------------------------------ decisions

    def _decisions(self) -> Iterator[str]:
        for name, parts in (("present", self._expect.present), ("absent", self._expect.absent)):
            for number, part in enumerate(parts):
                by_ns = None if part.by is None else self._scenario.start + part.by
                count = sum(
                    1
                    for at_ns, decision in self._seen.decisions
                    if _fits(part, decision) and (by_ns is None or at_ns <= by_ns)
                )
                if name == "absent":
                    wrong = count > 0
                else:
                    wrong = count == 0 if part.count is None else count != part.count
                if wrong:
                    yield f"{name}.{number}: {_shown(part)}: {count} times"

    def _sequence(self) -> Iterator[str]:
        kinds = iter(decision.kind for _, decision in self._seen.decisions)
        for place, pattern in enumerate(self._expect.sequence):
            if not any(fnmatchcase(kind, pattern) for kind in kinds):
                yield f"sequence.{place}: no {pattern} after what comes before it"
                return

    def _signals(self) -> Iterator[str]:
        for symbol, pattern in self._expect.dropped.items():
            reasons = [
                decision.cause
                for _, decision in self._seen.decisions
                if decision.kind in ("signal.dropped", "entry.dropped")
                and decision.symbol == symbol
            ]
            globs = pattern.split("|")
            if not any(fnmatchcase(reason, glob) for reason in reasons for glob in globs):
                yield f"dropped.{symbol}: {', '.join(reasons) or 'not dropped'}, expected {pattern}"

    def _alerts(self) -> Iterator[str]:
        kinds = [
            alert.kind if alert.state == "raised" else f"{alert.kind} {alert.state}"
            for _, alert in self._seen.alerts
        ]
        for pattern in self._expect.alerts:
            if not any(fnmatchcase(kind, pattern) for kind in kinds):
                yield f"alerts: no {pattern}, only {', '.join(dict.fromkeys(kinds)) or 'none'}"
        for pattern in self._expect.no_alerts:
            hit = [kind for kind in dict.fromkeys(kinds) if fnmatchcase(kind, pattern)]
            if hit:
                yield f"no_alerts: {', '.join(hit)}"
        for kind, times in self._expect.told.items():
            if kinds.count(kind) != times:
                yield f"told.{kind}: {kinds.count(kind)} times, expected {times}"

    def _faults(self) -> Iterator[str]:
        books = {name: venue.faults.fired for name, venue in self._world.venues.items()}
        books["the feed"] = self._world.feed_fired()
        for name, fired in books.items():
            for fault, times in fired.items():
                if not times and fault not in self._expect.unfired:
                    yield f"fault {fault} on {name} was never met: the scenario tests nothing of it"


def _open(venue: SimVenue) -> list[str]:
    return [symbol for symbol, _ in venue.account.open]


def _fits(part: DecisionPart, decision: Decision) -> bool:
    return (
        fnmatchcase(decision.kind, part.kind)
        and fnmatchcase(decision.cause, part.cause)
        and fnmatchcase(decision.symbol, part.symbol)
        and fnmatchcase(decision.venue, part.venue)
        and all(
            fnmatchcase(decision.values.get(name, ""), pattern)
            for name, pattern in part.values.items()
        )
    )


def _shown(part: DecisionPart) -> str:
    values = " ".join(f"{name}={value}" for name, value in part.values.items())
    count = "" if part.count is None else f" × {part.count}"
    symbol = "" if part.symbol == "*" else part.symbol
    venue = "" if part.venue == "*" else part.venue
    cause = "" if part.cause == "*" else f"({part.cause})"
    by = "" if part.by is None else f"by {duration_text(part.by)}"
    words = (part.kind, cause, venue, symbol, values, by)
    return " ".join(word for word in words if word) + count
