"""Feeds the metrics from the steps of a kernel; stands outside of it, beside the journal.

Requests and queries are timed from the step in which they left to the step in which their answer
came, by the monotonic clock of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from kernel.model.messages import (
    Decision,
    FeedText,
    HttpFailed,
    HttpReply,
    HttpRequest,
    Input,
    StepResult,
    StoreCommit,
    StoreDone,
    StoreFailed,
    StoreLoad,
    StoreLoaded,
    StreamFrame,
    VenueAnswer,
    VenueCall,
    VenueSaid,
)
from kernel.model.positions import PositionState
from kernel.model.venue import Failure
from kernel.watch.health import LEVELS
from kernel.watch.metrics import Registry

ASKED = 10_000
"""Requests that are remembered until their answer; the oldest is forgotten first."""
WHOLE = "all"
"""The part that stands for the whole health."""


class Metering:
    """A sink of steps that keeps a registry."""

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry or Registry()
        self._asked: dict[str, tuple[int, str, str]] = {}
        """Key → (when, venue, kind); venue "": the store."""
        answer = self._answered
        self._inputs: dict[type, Callable[[Input, Any], None]] = {
            VenueAnswer: answer,
            HttpReply: answer,
            HttpFailed: answer,
            StoreDone: answer,
            StoreLoaded: answer,
            StoreFailed: answer,
            VenueSaid: self._said,
            StreamFrame: self._said,
            FeedText: self._fed,
        }
        self._decisions: dict[str, Callable[[Decision], None]] = {
            "position.state": self._on_state,
            "position.result": self._on_result,
            "results.loaded": self._on_sums,
            "stop.triggered": self._on_triggered,
            "trailing.activated": self._on_trailing,
            "health.changed": self._on_health,
        }

    # ------------------------------------------------------------ as a sink

    def step(self, item: Input, result: StepResult) -> None:
        """One step."""
        take = self._inputs.get(type(item.body))
        if take is not None:
            take(item, item.body)
        for decision in result.decisions:
            hear = self._decisions.get(decision.kind)
            if hear is not None:
                hear(decision)
        for effect in result.effects:
            self._left(item, effect.key, effect.body)

    def born(self, _kernel: object) -> None:
        """A kernel starts: nothing is asked yet, and its health is that of its parts."""
        self._asked.clear()
        self.registry.health.set(Decimal(0), WHOLE)

    def died(self, _reason: str) -> None:
        """The kernel is gone: nobody answers it."""
        self._asked.clear()

    # ------------------------------------------------------------ requests and their answers

    def _left(self, item: Input, key: str, body: Any) -> None:
        kind = type(body)
        if kind is VenueCall:
            what = (body.venue, str(body.request.__struct_config__.tag))
        elif kind is HttpRequest:
            what = (body.venue, f"{body.method} {body.path}")
        elif kind is StoreCommit:
            what = ("", "commit")
        elif kind is StoreLoad:
            what = ("", "load")
        else:
            return
        self._asked[key] = (item.mono_ns, *what)
        if len(self._asked) > ASKED:
            del self._asked[next(iter(self._asked))]

    def _answered(self, item: Input, body: Any) -> None:
        asked = self._asked.pop(item.key, None)
        if asked is None:
            return
        asked_ns, venue, kind = asked
        if not venue:
            self.registry.queries.observe(item.mono_ns - asked_ns, kind)
            return
        self.registry.latency.observe(item.mono_ns - asked_ns, venue, kind)
        self.registry.calls.add(venue, kind, _outcome(body))

    def _said(self, _item: Input, body: VenueSaid | StreamFrame) -> None:
        self.registry.messages.add(body.venue)

    def _fed(self, _item: Input, _body: FeedText) -> None:
        self.registry.messages.add("feed")

    # ------------------------------------------------------------ decisions

    def _on_state(self, decision: Decision) -> None:
        before, after = decision.values["before"], decision.values["after"]
        if (before, after) == (PositionState.PENDING_SL, PositionState.ACTIVE):
            self.registry.opened.add(decision.venue)

    def _on_result(self, decision: Decision) -> None:
        self.registry.closed.add(decision.venue, decision.values["reason"])
        self._on_sums(decision)

    def _on_sums(self, decision: Decision) -> None:
        self.registry.pnl.set(Decimal(decision.values["total"]))
        self.registry.win_rate.set(Decimal(decision.values["win_rate"] or "0"))

    def _on_triggered(self, decision: Decision) -> None:
        self.registry.stops_triggered.add(decision.venue)

    def _on_trailing(self, decision: Decision) -> None:
        self.registry.trailing.add(decision.venue)

    def _on_health(self, decision: Decision) -> None:
        values = decision.values
        for part, level in ((values["part"], values["after"]), (WHOLE, values["overall"])):
            self.registry.health.set(Decimal(LEVELS.index(level)), part)


def _outcome(body: VenueAnswer | HttpReply | HttpFailed) -> str:
    """How a request ended: "ok", the name of an error, or the class of an HTTP status."""
    if isinstance(body, VenueAnswer):
        return body.reply.kind if isinstance(body.reply, Failure) else "ok"
    if isinstance(body, HttpFailed):
        return "no answer"
    return "ok" if body.status < 400 else f"{body.status // 100}xx"
