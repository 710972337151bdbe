"""Every kind of alert: how often it may come, what ends it, what it means, what to do.

Three sorts. A *state* lasts: it is told once for each place (venue and symbol), reminded of every
hour where it is CRITICAL, and its end is told. *Each* is told every time. *Often* is told once an
hour for equal keys, and the next one says how many were left out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from kernel.model.positions import PositionState

if TYPE_CHECKING:
    from kernel.model.messages import Decision


class Sort(StrEnum):
    """How often an alert is told."""

    STATE = "state"
    EACH = "each"
    OFTEN = "often"


class End(msgspec.Struct, frozen=True, gc=False):
    """A decision that ends a state, where its venue and symbol fit.

    With `cause`, only a decision of this cause; with `field`, only one whose value is among
    `values`.
    """

    kind: str
    cause: str = ""
    field: str = ""
    values: tuple[str, ...] = ()

    def fits(self, decision: Decision) -> bool:
        """Whether a decision of this kind is one that ends the state."""
        if self.cause and decision.cause != self.cause:
            return False
        return not self.field or decision.values.get(self.field) in self.values


class AlertKind(msgspec.Struct, frozen=True, gc=False):
    """One kind of alert; `meaning` and `act` are for people.

    Where `part` is not empty, states are also told apart by the alert's `dedupe`, and that is what
    a decision that ends one has as its value of this name.
    """

    sort: Sort
    meaning: str
    act: str
    ends: tuple[End, ...] = ()
    part: str = ""


_OVER = End(
    "position.state",
    field="after",
    values=(PositionState.CLOSED.value, PositionState.ROLLED_BACK.value),
)
_PROTECTED = (
    End("stop.confirmed"), End("stop.set"), End("stop.moved"), End("stop.adopted"), _OVER,
)  # fmt: skip
_S, _E, _O = Sort.STATE, Sort.EACH, Sort.OFTEN

ALERTS: dict[str, AlertKind] = {
    # positions and their protection
    "aged.emergency": AlertKind(
        _E,
        "An aged position is closed at market: its exits were refused or unfilled, or its"
        " tolerance was at its cap.",
        "Nothing at once; read why in the event log.",
    ),
    "aged.found": AlertKind(
        _S,
        "A position is older than `MAX_POSITION_AGE_HOURS` and is brought to its end.",
        "Nothing; its stop stays.",
        (_OVER,),
    ),
    "aged.unknown": AlertKind(
        _S,
        "Nobody tells when a position was opened, so it is never aged.",
        "Close it by hand when it is too old.",
        (_OVER,),
    ),
    "emergency_close": AlertKind(
        _O,
        "A position is closed at market because it could not be protected.",
        "Nothing at once; read why in the event log.",
    ),
    "exit.not_flat": AlertKind(
        _S,
        "A close did not end flat; it is tried on, up the exit ladder.",
        "Look at the venue; close by hand if it stays.",
        (_OVER,),
    ),
    "exit.refused": AlertKind(
        _O,
        "The venue refuses a close by its filters.",
        "Look at the position on the venue.",
    ),
    "exit.unexplained": AlertKind(
        _E,
        "A position is gone at the venue and no execution tells why.",
        "Compare with the venue's history.",
    ),
    "leftovers": AlertKind(
        _E,
        "Orders of a closed position are not proven cancelled; it is tried on.",
        "Cancel them on the venue if they stay.",
    ),
    "epoch.foreign": AlertKind(
        _E,
        "An order under our prefix was sent by a process that is not this one.",
        "End the other process, look at the account, then `resume`.",
    ),
    "order.reappeared": AlertKind(
        _E, "An order that was declared never placed is alive.", "Watch the symbol; a resync runs."
    ),
    "position.last_resort": AlertKind(
        _O,
        "The task of a position failed; protection of last resort verifies its stop or closes.",
        "Report it: this is an error of the program.",
    ),
    "position.unprotected": AlertKind(
        _S,
        "A position has had no confirmed stop for longer than `UNPROTECTED_DEADLINE_SECONDS`.",
        "Look at the venue at once; set a stop or close by hand if nothing moves.",
        _PROTECTED,
    ),
    "position.untracked": AlertKind(
        _S,
        "A position is on the venue and not in our books; `UNTRACKED_POLICY` says what follows.",
        "Find out who opened it.",
        (_OVER, End("sync.gone")),
    ),
    "rollback": AlertKind(
        _E,
        "An entry is undone: what filled is closed again.",
        "Nothing at once; read why in the event log.",
    ),
    "stop.breaker": AlertKind(
        _S,
        "Equal stop failures in a row: no entries on the venue until a stop is confirmed; after"
        " VENUE_BREAKER_MINUTES one entry at a time is tried.",
        "Read the code; it may need a change of the account.",
        (End("entries.unblocked", cause="equal stop failures in a row"),),
    ),
    "stop.drift": AlertKind(
        _E,
        "The market ran against the entry before the stop stood: the risk is larger than set.",
        "Nothing, or close by hand.",
    ),
    "guard.level": AlertKind(
        _O,
        "The health of a position fell to CRITICAL or EMERGENCY; the guard closes it where "
        "`GUARD_ACTIONS` names the level.",
        "Nothing where it is closed; else look at the position.",
    ),
    "stop.gap": AlertKind(
        _O,
        "A position was without a confirmed stop while it was moved or repaired, for longer than "
        "`TRAILING_ALERT_IF_UNPROTECTED_WINDOW_MS`.",
        "Nothing at once; many of them mean a slow venue or network.",
    ),
    "stop.loose": AlertKind(
        _S,
        "A stop stands within `STOP_REUSE_TOLERANCE_PERCENT` of its level, and the venue takes no"
        " move to the level.",
        "Nothing at once; it is tried on.",
        _PROTECTED,
    ),
    "stop.not_seen": AlertKind(
        _S,
        "Reads do not show the stop and another one cannot be placed.",
        "Look at the venue: is the stop there?",
        _PROTECTED,
    ),
    "stop.through_breaker": AlertKind(
        _S,
        "Several closes in a minute because stops were already through: no entries there.",
        "Look at the market; `resume` lifts it.",
        (End("entries.unblocked", cause="stops are already through"),),
    ),
    "stop.unsound": AlertKind(
        _O, "The venue holds another stop than was asked for; it is replaced.", "Nothing at once."
    ),
    "trailing.stuck": AlertKind(
        _S,
        "Trailing should have moved the stop for 5 minutes; the protected level holds.",
        "Read why moving fails.",
        (End("trailing.moved"), _OVER),
    ),
    # signals and waves
    "feed.auth_failed": AlertKind(
        _S, "The signal server refuses the token.", "Check `SIGNAL_WS_TOKEN`.", (End("feed.ready"),)
    ),
    "feed.down": AlertKind(
        _S, "No signals can come for minutes.", "Look at the signal server.", (End("feed.ready"),)
    ),
    "feed.ended": AlertKind(
        _S,
        "The feed is down and the settings forbid another try.",
        "Restart when the signal server is back.",
        (End("feed.ready"),),
    ),
    "feed.malformed": AlertKind(
        _O, "Signals could not be read and were dropped.", "Show the raw text to the sender."
    ),
    "signal.late": AlertKind(
        _E,
        "Signals came after their check and are not traded.",
        "If it comes often, set `WAVE_CHECK_DURATION_SECONDS` to 180.",
    ),
    "wave.missing": AlertKind(
        _E, "An expected wave never came.", "If it comes often, look at the signal server."
    ),
    # what ends entries
    "kill_switch": AlertKind(
        _E,
        "A kill switch tripped: no entries until its time is over or an operator resumes.",
        "Look at the results before `resume`.",
    ),
    "operator.nothing": AlertKind(_E, "A command found nothing to act on.", "Check its arguments."),
    "operator.unknown": AlertKind(_E, "There is no such command.", "Check its name."),
    "symbol_setup": AlertKind(
        _O,
        "Leverage or margin mode are not as wanted: no entries on the symbol.",
        "Set them on the venue.",
    ),
    # the process, its store and clock
    "clock.offset": AlertKind(
        _S,
        "The venue's clock is too far from ours: no entries there.",
        "Repair the time synchronisation of the machine.",
        (End("entries.unblocked", cause="clock offset"),),
    ),
    "clock.stepped": AlertKind(
        _O, "Wall time jumped: entries wait for a resync.", "Repair the time synchronisation."
    ),
    "health.critical": AlertKind(
        _S,
        "A part of the bot is critical (see Health).",
        "Look up the part under Health.",
        (End("health.changed", field="after", values=("ok", "degraded")),),
        part="part",
    ),
    "kernel.stalled": AlertKind(
        _O,
        "The process stood still: entries wait for a resync.",
        "Look at the load and the memory of the machine.",
    ),
    "recovery.blind": AlertKind(
        _S,
        "The venue's positions cannot be read at start.",
        "Look at the venue and the network.",
        (End("venue.open"),),
    ),
    "recovery.frozen": AlertKind(
        _S,
        "A position that was interrupted is not resolved after `MAX_RECOVERY_ATTEMPTS`.",
        "Look at the symbol on the venue.",
        (End("position.state"), End("outcome.settled")),
    ),
    "store.damaged": AlertKind(
        _O,
        "Something stored is damaged, refused, or older than it should be: the venue decides.",
        "Look at the positions and at `spool/refused` in the data folder.",
    ),
    "store.failing": AlertKind(
        _S,
        "The database does not commit: no entries, protection goes on, rows wait on the disk.",
        "Repair the database.",
        (End("store.recovered"),),
    ),
    "store.unloaded": AlertKind(
        _S,
        "The database did not load at start: protection only.",
        "Repair the database.",
        (End("recovery.loaded"),),
    ),
    "store.volatile": AlertKind(
        _S,
        "Neither database nor disk takes rows: protection goes on from memory alone.",
        "Make room on the disk, repair the database; do not end the process before.",
        (End("store.kept"),),
    ),
    "lease.held": AlertKind(
        _S,
        "Another instance trades the account: this one waits and does nothing.",
        "End one of the two; `--force` ends the other one.",
        (End("recovery.loaded"),),
    ),
    "lease.lost": AlertKind(
        _S,
        "The lease of the account ran out, the store does not renew it: protection only.",
        "Repair the database.",
        (End("lease.renewed"),),
    ),
    "lease.strangers": AlertKind(
        _S,
        "Orders that the holder before left are in no row: protection only.",
        "Look at the orders on the venue, then `resume`.",
        (End("entries.unblocked", cause="lease taken over"),),
    ),
    "lease.superseded": AlertKind(
        _E,
        "Another instance has the lease: this one ends, the other one protects.",
        "Nothing where that was meant; else end the other one and start this one again.",
    ),
    "lease.taken": AlertKind(
        _E,
        "The lease of another instance ran out and was taken over.",
        "Find out why the other instance ended.",
    ),
    "task.crashed": AlertKind(
        _O,
        "A task failed unexpectedly; it is begun again, its position is protected.",
        "Report it: this is an error of the program.",
    ),
    # venues
    "event.refused": AlertKind(
        _O, "An event of a venue could not be handled; a resync follows.", "Report it."
    ),
    "stream.down": AlertKind(
        _S,
        "No private events for minutes: no entries there, protection by reads.",
        "Look at the venue's status and the network.",
        (End("stream.up"),),
    ),
    "zombies": AlertKind(
        _S,
        "A read shows more zombie orders than `ZOMBIE_THRESHOLD`.",
        "Look at the open orders on the venue: does something else trade on the account?",
        (End("zombie.few"),),
    ),
    "venue.banned": AlertKind(
        _S,
        "The venue takes no request of ours until its time; stops on it stay.",
        "Watch the positions that it names on the venue.",
        (End("venue.unbanned"),),
    ),
    "venue.code_unlisted": AlertKind(
        _O, "The venue answered with a code that no table lists.", "Report the code."
    ),
    "venue.refused": AlertKind(
        _E, "The account is not fit for entries (its mode, rights of the keys).", "Change that."
    ),
    "venue.unauthorized": AlertKind(
        _S,
        "The venue refuses the keys: no entries there.",
        "Check the keys, their rights and addresses; then `resume`.",
        (End("entries.unblocked", cause="unauthorized"),),
    ),
    "venue.unread": AlertKind(
        _S,
        "What a start needs of a venue cannot be read; it is tried on.",
        "Look at the venue and the network.",
        (End("venue.open"),),
    ),
    "venue.*": AlertKind(
        _O,
        "The venue tells of something that has no part of its own (margin call, change of the "
        "account or of an instrument, unreadable event); a resync follows.",
        "A margin call needs money or fewer positions; else nothing.",
    ),
}
"""Kind → what is known of it; "venue.*" stands for the other notices of a venue."""

EMERGENCY = "emergency_close"


def alert_kind(kind: str) -> AlertKind | None:
    """What the table says of a kind."""
    known = ALERTS.get(kind)
    if known is None and kind.startswith("venue."):
        return ALERTS["venue.*"]
    return known
