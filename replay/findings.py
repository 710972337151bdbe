"""Findings: what somebody has to see first, worst first, made from the data of a report."""

from __future__ import annotations

from replay.report import BAD, NOTED, WORST, Finding, Report, Story

SHOWN_EACH = 6
"""Findings of one kind that are named; the rest is a count."""
SLOW_MS = 5_000
"""Longer without a stop than this deserves a look (SPEC §4: ≤ 5 s without faults)."""
LATE_MS = 30_000


def find(
    report: Report,
    violations: list[tuple[int, str, str, str]],
    crashed: list[tuple[int, str]],
) -> list[Finding]:
    """All findings of a report.

    Args:
        report: With positions, alerts and drops already in it.
        violations: (ms, venue, symbol, text) of broken invariants.
        crashed: (ms, text) of tasks that failed unexpectedly; ms -1 where the time is unknown.
    """
    found = [
        Finding(
            rank=WORST,
            title="Invariant broken",
            text=text,
            at_ms=at_ms,
            position=_position_at(report, venue, symbol, at_ms),
        )
        for at_ms, venue, symbol, text in violations[:SHOWN_EACH]
    ]
    found += _more(WORST, "Invariant broken", len(violations))
    found += [
        Finding(rank=WORST, title="Task crashed", text=text, at_ms=at_ms)
        for at_ms, text in crashed[:SHOWN_EACH]
    ]
    found += _more(WORST, "Task crashed", len(crashed))
    found += _naked(report.positions)
    found += _alerts(report)
    found += _endings(report.positions)
    found += _losses(report.positions)
    found += _drops(report)
    return sorted(found, key=lambda one: one.rank)


def _more(rank: int, title: str, count: int) -> list[Finding]:
    rest = count - SHOWN_EACH
    return [Finding(rank=rank, title=title, text=f"{rest} more of them")] if rest > 0 else []


def _position_at(report: Report, venue: str, symbol: str, at_ms: int) -> int:
    for story in report.positions:
        ended = story.closed_ms if story.closed_ms >= 0 else report.end_ms
        if (story.venue, story.symbol) == (venue, symbol) and (
            story.opened_ms <= at_ms <= ended + 300_000
        ):
            return story.number
    return -1


def _naked(positions: list[Story]) -> list[Finding]:
    slow = sorted((one for one in positions if one.naked_ms > SLOW_MS), key=lambda s: -s.naked_ms)
    found = [
        Finding(
            rank=WORST if one.naked_ms > LATE_MS else BAD,
            title="Without a stop",
            text=f"{one.venue} {one.symbol} for {one.naked_ms / 1000:.1f} s",
            at_ms=one.naked[0].from_ms,
            position=one.number,
        )
        for one in slow[:SHOWN_EACH]
    ]
    return found + _more(BAD, "Without a stop", len(slow))


def _alerts(report: Report) -> list[Finding]:
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for at_ms, severity, kind, text in report.alerts:
        groups.setdefault((severity, kind), []).append((at_ms, text))
    found = []
    for (severity, kind), told in groups.items():
        times = f"{len(told)} times, first: " if len(told) > 1 else ""
        found.append(
            Finding(
                rank=BAD if severity == "CRITICAL" else NOTED,
                title=f"Alert {kind}",
                text=f"{severity}: {times}{told[0][1]}",
                at_ms=told[0][0],
            )
        )
    return found


def _endings(positions: list[Story]) -> list[Finding]:
    """Positions that ended in a way that a healthy trade does not."""
    usual = ("STOP_LOSS", "TRAILING_STOP", "AGED", "open", "")
    odd = [one for one in positions if one.reason not in usual]
    groups: dict[str, list[Story]] = {}
    for one in odd:
        groups.setdefault(one.reason, []).append(one)
    return [
        Finding(
            rank=BAD,
            title=f"Closed as {reason}",
            text=f"{len(ones)} positions, first {ones[0].venue} {ones[0].symbol}",
            at_ms=ones[0].closed_ms,
            position=ones[0].number,
        )
        for reason, ones in groups.items()
    ]


def _losses(positions: list[Story]) -> list[Finding]:
    ended = (one for one in positions if one.closed_ms >= 0 and one.net < 0)
    losing = sorted(ended, key=lambda one: one.net)
    return [
        Finding(
            rank=NOTED,
            title="Largest loss",
            text=f"{one.venue} {one.symbol} {one.side} {one.net:+.2f} USD, {one.reason}",
            at_ms=one.closed_ms,
            position=one.number,
        )
        for one in losing[:2]
    ]


def _drops(report: Report) -> list[Finding]:
    reasons: dict[str, int] = {}
    for one in report.dropped:
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    if not reasons:
        return []
    told = ", ".join(
        f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda r: -r[1])
    )
    return [Finding(rank=NOTED, title="Signals dropped", text=f"{len(report.dropped)}: {told}")]
