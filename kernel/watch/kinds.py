"""Every kind of decision: how serious it is, and its sentence for people.

The one table for the event rows, the log file, the timeline and the docs. Levels are the owner's
(SPEC §12): INFO start and stop, open and close, activation, successful operations; WARNING aged,
missing stop, retries, degraded performance; ERROR interfaces, database, failed stops, broken
streams; CRITICAL unprotected, emergency close, roll-back, margin call. DEBUG says little to
somebody who reads what happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.model.positions import CloseReason, PositionState

if TYPE_CHECKING:
    from kernel.model.messages import Decision

DEBUG, INFO, WARNING, ERROR, CRITICAL = "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"
LEVELS = (DEBUG, INFO, WARNING, ERROR, CRITICAL)
"""From least to most serious."""

EMERGENCIES = (
    CloseReason.UNPROTECTED.value,
    CloseReason.ALREADY_THROUGH.value,
    CloseReason.ROLLBACK.value,
)
"""Reasons for which a close is an emergency."""
INTERRUPTED = "interrupted by the end of a process"


class Except(msgspec.Struct, frozen=True, gc=False):
    """Another level where a field has one of these values; `field` may be "cause".

    `sentence` replaces that of the kind, where it is not empty.
    """

    field: str
    values: tuple[str, ...]
    level: str
    sentence: str = ""

    def fits(self, decision: Decision) -> bool:
        """Whether it holds for a decision."""
        if self.field == "cause":
            return decision.cause in self.values
        return decision.values.get(self.field) in self.values


class Kind(msgspec.Struct, frozen=True, gc=False):
    """One kind: its level and its sentence.

    In `sentence`, `{cause}` and `{name}` stand for the cause and the values; one that a decision
    has not becomes "?". The first exception that fits gives the level.
    """

    level: str
    sentence: str
    exceptions: tuple[Except, ...] = ()


_ROLLBACKS = (PositionState.ROLLBACK.value, PositionState.ROLLED_BACK.value)

KINDS: dict[str, Kind] = {
    # the process
    "clock.stepped": Kind(WARNING, "{cause}: entries wait for a resync"),
    "clock.unread": Kind(WARNING, "the venue's time was not read: {cause}"),
    "kernel.stalled": Kind(WARNING, "the process stood still, {cause}: entries wait for a resync"),
    "kernel.started": Kind(INFO, "started ({cause}), settings {settings}"),
    "operator": Kind(INFO, "operator: {cause} {args}"),
    "recovery.failed": Kind(ERROR, "what was interrupted is not resolved yet: {cause}"),
    "recovery.loaded": Kind(INFO, "loaded {positions} positions and {orders} orders"),
    "recovery.resume": Kind(DEBUG, "goes on from {cause} with {qty}"),
    "task.crashed": Kind(CRITICAL, "a task failed unexpectedly: {cause}"),
    "watch.failed": Kind(ERROR, "watching failed and goes on: {cause}"),
    # the store
    "store.damaged": Kind(ERROR, "{cause}"),
    "store.drained": Kind(INFO, "wrote {commits} commits from the spool to the database"),
    "store.failing": Kind(ERROR, "the database does not commit: {cause}"),
    "store.kept": Kind(INFO, "{cause}"),
    "store.late": Kind(WARNING, "{cause}"),
    "store.recovered": Kind(INFO, "the database commits again"),
    "store.unloaded": Kind(CRITICAL, "the database did not load: {cause}"),
    "store.volatile": Kind(CRITICAL, "neither database nor disk takes rows: {cause}"),
    # the lease
    "lease.held": Kind(CRITICAL, "nothing begins: {cause}"),
    "lease.lost": Kind(CRITICAL, "the lease is lost, protection only: {cause}"),
    "lease.renewed": Kind(INFO, "the lease is ours again: {cause}"),
    "lease.strangers": Kind(CRITICAL, "protection only: {cause}: {orders}"),
    "lease.superseded": Kind(CRITICAL, "this instance ends: {cause}"),
    "lease.taken": Kind(WARNING, "the lease is taken over: {cause}"),
    # the feed, its signals and waves
    "feed.auth_failed": Kind(ERROR, "the signal server refuses the token: {cause}"),
    "feed.down": Kind(ERROR, "the signal feed is gone: {cause}"),
    "feed.ready": Kind(DEBUG, "the signal feed is ready"),
    "feed.refused": Kind(WARNING, "the signal server sent {cause}"),
    "feed.unknown": Kind(WARNING, "{cause}: {type}"),
    "signal.dropped": Kind(INFO, "signal {side} of {wave} is not traded: {cause}"),
    "signal.malformed": Kind(WARNING, "a malformed signal is dropped: {cause}; {raw}"),
    "wave.balance": Kind(DEBUG, "balance {cause}"),
    "wave.closed": Kind(
        INFO,
        "wave {wave} is over ({cause}): {active} of {target} opened, {received} received",
        (
            Except("cause", ("missing",), DEBUG),
            Except("cause", (INTERRUPTED,), WARNING, "wave {wave} is over: {cause}"),
        ),
    ),
    "wave.expected": Kind(DEBUG, "wave {wave} is expected until {until}"),
    "wave.missing": Kind(DEBUG, "wave {wave} did not come"),
    "wave.selected": Kind(INFO, "wave {wave}: {cause}, {candidates} candidates for {target}"),
    "wave.slice": Kind(DEBUG, "wave {wave}: {passed} of a slice of {size} passed"),
    "wave.waits": Kind(WARNING, "wave {wave} waits: {cause}"),
    # whether there may be entries
    "entries.blocked": Kind(DEBUG, "no entries: {cause}"),
    "entries.locked": Kind(WARNING, "no entries: {cause}"),
    "entries.paused": Kind(WARNING, "entries are paused: {cause}"),
    "entries.resumed": Kind(INFO, "entries go on: {cause}"),
    "entries.unblocked": Kind(DEBUG, "no longer in the way of entries: {cause}"),
    "entries.unlocked": Kind(INFO, "entries are unlocked: {cause}"),
    "entry.queued": Kind(WARNING, "the entry waits for its rate budget: {cause}"),
    "entry.dropped": Kind(WARNING, "entry {side} is dropped: {cause}"),
    "symbol.ready": Kind(DEBUG, "{cause}: leverage {leverage}"),
    # orders and executions
    "funding.unread": Kind(WARNING, "the ledger of funding cannot be read: {cause}"),
    "fill.booked": Kind(INFO, "executed ({cause}): {side} {qty} at {price}, fee {fee}"),
    "fill.inferred": Kind(WARNING, "{qty} at {price} counts as executed: {cause}"),
    "fill.parked": Kind(DEBUG, "an execution waits for its order"),
    "fill.stray": Kind(ERROR, "{cause}: {side} {qty} at {price}"),
    "order.concluded": Kind(WARNING, "the order is {status}: {cause}"),
    "order.reappeared": Kind(CRITICAL, "{cause}: {status}"),
    "order.submitted": Kind(INFO, "{cause} order {side} {qty} is sent"),
    "outcome.settled": Kind(INFO, "the outcome is settled, {outcome}: {cause}"),
    "outcome.unknown": Kind(WARNING, "what became of the request is not known: {cause}"),
    "parked.dropped": Kind(DEBUG, "{cause}"),
    # the guard
    "guard.act": Kind(WARNING, "the guard acts on level {cause}"),
    "guard.blind": Kind(INFO, "the guard has no verdict: {cause}"),
    "guard.level": Kind(
        INFO,
        "health {score}: level {cause}",
        (Except("cause", ("critical", "emergency"), WARNING),),
    ),
    "guard.undone": Kind(WARNING, "the guard may act on that level again: {cause}"),
    "guard.skipped": Kind(INFO, "the guard does nothing: {cause}"),
    # positions
    "aged.found": Kind(
        WARNING, "{hours} h old, tolerated loss {tolerance} %: to end at {target}, market {market}"
    ),
    "aged.trailed": Kind(INFO, "{hours} h old, {cause}, whose stop holds {target} or better"),
    "aged.unknown": Kind(WARNING, "its age is not known: {cause}"),
    "exit.failed": Kind(ERROR, "the close was refused: {cause}"),
    "exit.flat": Kind(INFO, "flat at {exit_price}, result {realized_pnl} before fees {fees}"),
    "exit.submitted": Kind(
        INFO,
        "close of {qty} is sent: {cause}",
        (Except("reason", EMERGENCIES, CRITICAL), Except("cause", ("last resort",), CRITICAL)),
    ),
    "exit.unexplained": Kind(ERROR, "{cause}, and no execution tells why {qty} is gone"),
    "exit.withdrawn": Kind(INFO, "the limit at {price} is cancelled: {cause}"),
    "position.last_resort": Kind(CRITICAL, "protection of last resort takes over: {cause}"),
    "position.result": Kind(
        INFO,
        "closed ({reason}): net {net}, of that fees {fees} and funding {funding}",
        (Except("reason", (CloseReason.LIQUIDATION.value,), CRITICAL),),
    ),
    "results.loaded": Kind(INFO, "{closed} closed positions so far, net {total}"),
    "position.state": Kind(
        INFO, "{before} becomes {after}: {cause}", (Except("after", _ROLLBACKS, CRITICAL),)
    ),
    "position.found": Kind(WARNING, "{side} {qty} is not in our books: protected; {cause}"),
    "position.unidentified": Kind(WARNING, "nobody can tell yet whose it is: {cause}"),
    "position.untracked": Kind(WARNING, "{side} {qty} was not in our books ({cause}): {policy}"),
    # stops
    "stop.adopted": Kind(INFO, "a stop at {level} counts as this position's: {cause}"),
    "stop.breaker_closed": Kind(INFO, "entries are as usual again: {cause}"),
    "stop.breaker_probes": Kind(WARNING, "one entry at a time is tried again: {cause}"),
    "stop.confirmed": Kind(
        INFO,
        "a stop stands at {level}: {cause}",
        (Except("cause", ("first stop", "trailing"), DEBUG),),
    ),
    "stop.deadline": Kind(CRITICAL, "no stop in time, so it is closed: {cause}"),
    "stop.ended": Kind(WARNING, "the stop ended: {cause}", (Except("wanted", ("False",), DEBUG),)),
    "stop.failed": Kind(ERROR, "the stop was not set, try {attempt}: {cause}"),
    "stop.first": Kind(DEBUG, "first stop {level} from {base}"),
    "stop.liquidation": Kind(WARNING, "{cause}: {level} becomes {inside}"),
    "stop.missing": Kind(WARNING, "no sound stop at {level}: {cause}"),
    "stop.moved": Kind(
        INFO,
        "stop moved from {before} to {level}: {cause}",
        (Except("cause", ("trailing",), DEBUG),),
    ),
    "stop.placed": Kind(DEBUG, "a stop at {level} is sent: {cause}"),
    "stop.refused": Kind(WARNING, "a stop at {level} does not count: {cause}"),
    "stop.set": Kind(INFO, "protected at {level}: {cause}"),
    "stop.swept": Kind(WARNING, "an old stop is cancelled: {cause}"),
    "stop.triggered": Kind(INFO, "the stop at {level} was triggered: {cause}"),
    "stop.unchecked": Kind(WARNING, "the stops of {positions} positions were not read: {cause}"),
    "stop.unlisted": Kind(WARNING, "the stop is missing: {cause}"),
    "stop.waits": Kind(WARNING, "the stop waits: {cause}"),
    "trailing.activated": Kind(INFO, "trailing begins at {price}, entry {entry}"),
    "trailing.atr": Kind(DEBUG, "average true range {atr}: {cause}"),
    "trailing.moved": Kind(INFO, "trailing: best {best}, stop to {level}"),
    "trailing.passed": Kind(WARNING, "{price} is through the level {level} already: {cause}"),
    "trailing.state": Kind(
        INFO,
        "trailing {before} becomes {after}: {cause}",
        (Except("cause", ("the stop is confirmed", "activation price reached"), DEBUG),),
    ),
    # orders that should not be there
    "cancel.settled": Kind(DEBUG, "an order that had to go is over: {cause}"),
    "zombie.blind": Kind(WARNING, "zombie orders are not looked for: {cause}"),
    "zombie.cleared": Kind(INFO, "zombie order cleared, {cleared} of {found}: {cause}"),
    "zombie.few": Kind(INFO, "few zombie orders again: {cause}"),
    "zombie.found": Kind(WARNING, "zombie order {side} {qty} is cancelled: {cause}"),
    "zombie.refused": Kind(WARNING, "the attached stop is cancelled under its id: {cause}"),
    # venues and their streams
    "epoch.foreign": Kind(CRITICAL, "another process sends orders as us: {cause}"),
    "event.refused": Kind(ERROR, "{event} could not be handled: {cause}"),
    "health.changed": Kind(
        WARNING,
        "health of {part} is {after}: {cause}",
        (Except("after", ("ok",), INFO), Except("after", ("critical",), CRITICAL)),
    ),
    "instruments.read": Kind(INFO, "{cause}; changed: {changed}"),
    "resync.due": Kind(DEBUG, "a resync is due: {cause}"),
    "resync.failed": Kind(ERROR, "the resync failed and is tried again: {cause}"),
    "stream.down": Kind(ERROR, "the private stream broke: {cause}"),
    "stream.suspect": Kind(WARNING, "the private stream is connected anew: {cause}"),
    "stream.unreliable": Kind(WARNING, "the venue is read more often: {cause}"),
    "stream.up": Kind(INFO, "the private stream is up: {cause}"),
    "sync.gone": Kind(INFO, "{qty} of somebody else is gone: {cause}"),
    "sync.phantom": Kind(ERROR, "ours alone knows of {qty}: {cause}"),
    "sync.side": Kind(ERROR, "our side is wrong: {cause}"),
    "sync.size": Kind(ERROR, "our quantity is wrong: {cause}"),
    "venue.banned": Kind(CRITICAL, "the venue takes no request: {cause}"),
    "venue.limit": Kind(DEBUG, "rate budget {bucket} is {capacity}: {cause}"),
    "venue.notice": Kind(
        WARNING,
        "the venue tells of {cause}: {raw}",
        (Except("cause", ("margin_call",), CRITICAL), Except("cause", ("config_change",), DEBUG)),
    ),
    "venue.open": Kind(DEBUG, "its positions are seen to and its stream is opened"),
    "venue.throttled": Kind(WARNING, "the rate budget {bucket} is used up: {cause}"),
    "venue.unbanned": Kind(INFO, "the venue takes requests again: {cause}"),
    "venue.unread": Kind(WARNING, "try {attempt} failed, {cause}"),
}


class _Values(dict[str, str]):
    """The fields of a sentence; what a decision has not is a question mark."""

    def __missing__(self, name: str) -> str:
        return "?"


def level_of(decision: Decision) -> str:
    """How serious a decision is; a kind of no entry is a WARNING."""
    return _entry(decision)[0]


def sentence_of(decision: Decision) -> str:
    """A decision as a sentence; a kind of no entry is told by its name and cause."""
    values = _Values(decision.values)
    values.setdefault("cause", decision.cause)
    return _entry(decision)[1].format_map(values).rstrip()


def _entry(decision: Decision) -> tuple[str, str]:
    """Level and sentence."""
    kind = KINDS.get(decision.kind)
    if kind is None:
        return WARNING, f"{decision.kind}: {{cause}}"
    for exception in kind.exceptions:
        if exception.fits(decision):
            return exception.level, exception.sentence or kind.sentence
    return kind.level, kind.sentence
