"""The outbox: the one way out of the kernel.

It numbers content keys, collects the effects, decisions and reads of the present step, and hands
answers back to whoever asked. Nothing else in the kernel makes an effect.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from kernel.errors import InvariantViolation
from kernel.model.messages import (
    Alert,
    Decision,
    Effect,
    EffectBody,
    HttpFailed,
    HttpReply,
    LeaseTold,
    Read,
    StoreDone,
    StoreFailed,
    StoreLoaded,
    VenueAnswer,
)
from kernel.model.units import text
from kernel.model.venue import EffectClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.runtime.primitives import Future
    from kernel.runtime.scheduler import Runtime

type Answer = (
    VenueAnswer | HttpReply | HttpFailed | StoreDone | StoreLoaded | StoreFailed | LeaseTold
)
"""Inputs that answer one request."""
type Listener = Callable[[Decision], None]
"""Hears a decision in the instant in which it is made."""


def plain(value: object) -> str:
    """A value of a decision as canonical text."""
    if type(value) is Decimal:
        return text(value)
    return str(value)


class Outbox:
    """Effects of the present step and the requests that wait for an answer."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, Future[Answer]] = {}
        self.effects: list[Effect] = []
        self.decisions: list[Decision] = []
        self.reads: list[Read] = []
        self.on_alert: Callable[[Alert], None] = self.tell
        """Where alerts go first; by default straight out."""
        self._listeners: dict[str, list[Listener]] = {}

    def next_key(self, kind: str, owner: str, entity: str) -> str:
        """A content key: (kind, owner, entity, n-th for that key). `owner` is venue or store."""
        stem = f"{kind}/{owner}/{entity}"
        n = self._counts.get(stem, 0) + 1
        self._counts[stem] = n
        return f"{stem}/{n}"

    def send(self, key: str, body: EffectBody, cls: EffectClass = EffectClass.QUERY) -> None:
        """An effect that expects no answer."""
        self.effects.append(Effect(key, cls, body))

    async def ask(self, key: str, body: EffectBody, cls: EffectClass) -> Answer:
        """An effect and its answer. Cancelling the wait leaves the effect as it is: sent.

        An answer that comes after the wait was given up is dropped here; what it says must be
        found again by evidence.
        """
        future: Future[Answer] = self._runtime.future()
        self._waiting[key] = future
        self.effects.append(Effect(key, cls, body))
        try:
            return await future
        finally:
            self._waiting.pop(key, None)

    def deliver(self, key: str, answer: Answer) -> bool:
        """Hand an answer to its request; False where nobody waits any more."""
        future = self._waiting.pop(key, None)
        if future is None:
            return False
        return future.set_result(answer)

    def decide(self, decision: Decision) -> None:
        """Record a decision with its cause."""
        if not decision.cause:
            raise InvariantViolation(f"decision {decision.kind} without a cause")
        self.decisions.append(decision)
        listeners = self._listeners.get(decision.kind)
        if listeners is not None:
            self._let_hear(listeners, decision)

    def listen(self, kind: str, listener: Listener) -> None:
        """Have decisions of a kind heard as they are made. An error of a listener ends nothing."""
        self._listeners.setdefault(kind, []).append(listener)

    def _let_hear(self, listeners: list[Listener], decision: Decision) -> None:
        for listener in listeners:
            try:
                listener(decision)
            except Exception as error:  # noqa: BLE001 - watching must not stop what it watches
                what = f"{type(error).__name__}: {error} (heard {decision.kind})"
                self.decisions.append(Decision(kind="watch.failed", cause=what))

    def record(
        self,
        kind: str,
        cause: str,
        *,
        venue: str = "",
        symbol: str = "",
        position_id: str = "",
        client_order_id: str = "",
        **values: object,
    ) -> None:
        """Record a decision; `values` become canonical text."""
        self.decide(
            Decision(
                kind=kind,
                cause=cause,
                venue=venue,
                symbol=symbol,
                position_id=position_id,
                client_order_id=client_order_id,
                values={
                    name: value if type(value) is str else plain(value)
                    for name, value in values.items()
                },
            )
        )

    def alert(self, alert: Alert) -> None:
        """Something for a person; `on_alert` decides whether it is news."""
        try:
            self.on_alert(alert)
        except Exception as error:  # noqa: BLE001 - watching must not stop what it watches
            what = f"{type(error).__name__}: {error} (alert {alert.kind})"
            self.decisions.append(Decision(kind="watch.failed", cause=what))
            self.tell(alert)

    def tell(self, alert: Alert) -> None:
        """The effect that brings an alert to a person; nothing waits for it."""
        key = self.next_key("alert", alert.venue or "-", alert.kind)
        self.effects.append(Effect(key, EffectClass.QUERY, alert))

    def drain(self) -> tuple[list[Effect], list[Decision], list[Read]]:
        """What this step gave; the lists start anew."""
        out = (self.effects, self.decisions, self.reads)
        self.effects, self.decisions, self.reads = [], [], []
        return out
