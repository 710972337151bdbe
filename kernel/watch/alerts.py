"""Alerts: each state once, reminders, and the news that it is over (SPEC §12).

Everything that any part tells passes here on its way out. What ends a state is heard from the
decisions of who knows (`kernel.watch.alert_kinds`). Alerts leave as effects that nothing waits
for: a delivery that fails holds up nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.model.messages import Alert
from kernel.model.positions import CloseReason
from kernel.model.units import HOUR, MINUTE, SECOND, MonoNs
from kernel.watch.alert_kinds import ALERTS, EMERGENCY, End, Sort, alert_kind

if TYPE_CHECKING:
    from kernel.model.messages import Decision
    from kernel.ports.outbox import Outbox
    from kernel.runtime.scheduler import Runtime
    from kernel.runtime.timers import TimerHandle

REMIND_NS = HOUR
"""Between two reminders of a state that is CRITICAL."""
OFTEN_NS = HOUR
"""Equal alerts of the sort `often` within this time are counted, not told."""
KEYS = 1_000
"""Keys that are remembered of those; the oldest is forgotten first."""

_EMERGENCIES = (CloseReason.UNPROTECTED.value, CloseReason.ALREADY_THROUGH.value)
"""A roll-back is one too, and has an alert of its own."""

type Place = tuple[str, str, str, str]
"""(kind, venue, symbol, part)."""


class _State:
    """A state that lasts."""

    __slots__ = ("alert", "count", "since_ns", "timer")

    def __init__(self, alert: Alert, since_ns: int) -> None:
        self.alert = alert
        self.since_ns = since_ns
        self.count = 1
        self.timer: TimerHandle | None = None


class Alerts:
    """The one way of alerts out of a kernel."""

    def __init__(self, runtime: Runtime, outbox: Outbox) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._states: dict[Place, _State] = {}
        self._told: dict[str, tuple[int, int]] = {}
        """Key → (when it was told, how many were left out since)."""
        outbox.on_alert = self.take
        outbox.listen("exit.submitted", self._on_exit)
        self._ends: dict[str, list[tuple[str, End]]] = {}
        for kind, known in ALERTS.items():
            for end in known.ends:
                self._ends.setdefault(end.kind, []).append((kind, end))
        for decided in self._ends:
            outbox.listen(decided, self._on_end)

    def take(self, alert: Alert) -> None:
        """An alert of any part: tell it, or count it."""
        known = alert_kind(alert.kind)
        sort = known.sort if known is not None else Sort.OFTEN
        if sort is Sort.EACH:
            self._outbox.tell(alert)
        elif sort is Sort.OFTEN:
            self._take_often(alert)
        else:
            part = alert.dedupe if known is not None and known.part else ""
            self._take_state((alert.kind, alert.venue, alert.symbol, part), alert)

    def states(self) -> list[tuple[Alert, int]]:
        """What lasts now, with the wall time at which it was told first."""
        return [(state.alert, state.since_ns) for state in self._states.values()]

    # ------------------------------------------------------------ states

    def _take_state(self, place: Place, alert: Alert) -> None:
        known = self._states.get(place)
        if known is not None:
            known.alert = alert  # a reminder says what is true by then
            known.count += 1
            return
        state = self._states[place] = _State(alert, self._runtime.ts())
        self._outbox.tell(alert)
        self._remind_later(place, state)

    def _remind_later(self, place: Place, state: _State) -> None:
        if state.alert.severity != "CRITICAL":
            return
        due = MonoNs(self._runtime.now() + REMIND_NS)
        state.timer = self._runtime.call_at(due, lambda: self._remind(place))

    def _remind(self, place: Place) -> None:
        state = self._states.get(place)
        if state is None:
            return
        text = f"for {self._lasted(state)}: {state.alert.text}"
        self._again(state, state="reminder", severity=state.alert.severity, text=text)
        self._remind_later(place, state)

    def _on_end(self, decision: Decision) -> None:
        if not self._states:
            return
        for kind, end in self._ends[decision.kind]:
            if end.fits(decision):
                self._end(kind, decision)

    def _end(self, kind: str, decision: Decision) -> None:
        """A state is over where the decision says where, and everywhere where it does not."""
        part = decision.values.get(ALERTS[kind].part, "")
        for place in [one for one in self._states if one[0] == kind]:
            _, venue, symbol, of = place
            here = venue in ("", decision.venue) and symbol in ("", decision.symbol)
            if not here or part != of:
                continue
            state = self._states.pop(place)
            if state.timer is not None:
                state.timer.cancel()
            text = f"over after {self._lasted(state)}: {state.alert.text}"
            self._again(state, state="recovered", severity="INFO", text=text)

    def _again(self, known: _State, *, state: str, severity: str, text: str) -> None:
        self._outbox.tell(
            msgspec.structs.replace(
                known.alert, state=state, severity=severity, text=text, count=known.count
            )
        )

    def _lasted(self, state: _State) -> str:
        seconds = (self._runtime.ts() - state.since_ns) // SECOND
        if seconds < 2 * MINUTE // SECOND:
            return f"{seconds} s"
        minutes = seconds // 60
        return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"

    # ------------------------------------------------------------ what comes often

    def _take_often(self, alert: Alert) -> None:
        key, now = f"{alert.kind}|{alert.dedupe}", self._runtime.now()
        told_ns, more = self._told.pop(key, (now - OFTEN_NS, 0))
        if now - told_ns < OFTEN_NS:
            self._told[key] = (told_ns, more + 1)
            return
        self._told[key] = (now, 0)
        while len(self._told) > KEYS:
            del self._told[next(iter(self._told))]
        if more:
            text = f"{alert.text} ({more} more like it since the last one was told)"
            alert = msgspec.structs.replace(alert, text=text, count=more + 1)
        self._outbox.tell(alert)

    def _on_exit(self, decision: Decision) -> None:
        """An emergency close, told once for each position."""
        reason = decision.values.get("reason", "")
        if reason not in _EMERGENCIES and decision.cause != "last resort":
            return
        self.take(
            Alert(
                severity="CRITICAL",
                kind=EMERGENCY,
                text=f"closed at market: {decision.cause}",
                venue=decision.venue,
                symbol=decision.symbol,
                dedupe=decision.position_id,
            )
        )
