"""The commands of an operator: pause, resume, close, sync, stop; status is a question."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernel.model.positions import CloseReason
from kernel.sync.clock import OFFSET
from kernel.sync.startup import NO_STORE, STARTING
from kernel.trade.lease import LEASE
from kernel.trade.router import RESYNC

if TYPE_CHECKING:
    from kernel.assembly.parts import Parts
    from kernel.assembly.stopping import Stopping
    from kernel.model.messages import Operator
    from kernel.trade.services import Services

LIFTED_BY_TIME = (STARTING, NO_STORE, RESYNC, OFFSET, LEASE, "stream", "store", "stopping")
"""Blocks that end by themselves; an operator's `resume` lifts the others."""


class Commands:
    """Carries out what an operator asks for."""

    def __init__(self, services: Services, parts: Parts, stopping: Stopping) -> None:
        self._services = services
        self._parts = parts
        self._stopping = stopping

    def on_operator(self, body: Operator) -> None:
        """Record one command and carry it out; an unknown one is told."""
        services = self._services
        if body.command == "status":
            self._parts.monitor.tell_status()  # a question: nothing is decided by it
            return
        services.decide("operator", body.command, args=" ".join(body.args))
        match body.command:
            case "pause":
                services.risk.pause(" ".join(body.args))
            case "resume":
                self._resume()
            case "close":
                self._close_symbol(body.args)
            case "sync":
                self._parts.request_resyncs("operator")
            case "stop":
                self._stopping.begin()
            case other:
                services.alert("WARNING", "operator.unknown", f"no such command: {other!r}")

    def _resume(self) -> None:
        self._services.risk.resume()
        self._services.lease.trust()
        for desk in self._services.desks.values():
            for reason in desk.block_reasons:
                if reason not in LIFTED_BY_TIME:
                    desk.unblock_entries(reason)

    def _close_symbol(self, args: tuple[str, ...]) -> None:
        """`close SYMBOL [VENUE]`."""
        services = self._services
        found = [
            position
            for position in services.book.open()
            if args
            and position.symbol == services.desks[position.venue].symbol_of(args[0])
            and args[1:] in ((), (position.venue,))
        ]
        if not found:
            text = f"no open position for: close {' '.join(args)}"
            services.alert("WARNING", "operator.nothing", text)
        for position in found:
            services.supervise(
                f"operator closes {position.id}",
                partial(self._parts.exits.close, position, CloseReason.OPERATOR, "operator"),
                position=position,
            )
