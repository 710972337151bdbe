"""Routes what a venue says to whoever owns the fact.

Events come in any order between kinds, doubled and late; nothing here concludes anything from
one of them. An event that cannot be handled is counted, told, and followed by a resync: the next
one is handled all the same (hazards W11, R07).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kernel.model.orders import (
    BalanceReport,
    Fill,
    OrderClass,
    OrderReport,
    PositionReport,
)
from kernel.model.units import MINUTE, MonoNs
from kernel.model.venue import RateLimit, StreamDown, StreamUp, VenueEvent, VenueNotice
from kernel.trade import funding

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.model.rows import OrderRow
    from kernel.runtime.timers import TimerHandle
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services

FUNDING = "FUNDING_FEE"
"""Reason of a balance that changed by funding."""
RESYNC = "resync"
"""Reason under which entries are blocked until a resync is complete."""

_QUIET_NOTICES = ("config_change",)
"""Notices that a person need not see; they are followed by a resync all the same."""


class StopListener(Protocol):
    """What the routing needs of the stop owner."""

    def on_report(self, position: Position, report: OrderReport) -> None:
        """Stop events by venue id."""
        ...

    def on_position(self, position: Position) -> None:
        """What the venue now says of the position."""
        ...


class Router:
    """The events of one venue."""

    def __init__(
        self,
        services: Services,
        desk: VenueDesk,
        *,
        stops: StopListener,
        resync: Callable[[str, str], None],
    ) -> None:
        """`resync(venue, reason)` asks for a resync; entries stay blocked until it is complete."""
        self._services = services
        self._desk = desk
        self._stops = stops
        self._resync = resync
        self._alarm: TimerHandle | None = None

    async def run(self) -> None:
        """Route for ever; supervised by the kernel."""
        events = self._desk.venue.events
        while True:
            event = await events.get()
            try:
                self.route(event)
            except Exception as error:  # noqa: BLE001 - one bad event must not stop the others
                self._poisoned(event, error)

    def route(self, event: VenueEvent) -> None:
        """Apply one event."""
        match event:
            case OrderReport():
                self.on_order(event, streamed=True)
            case Fill():
                self._services.orders.on_fill(self._desk.name, event, streamed=True)
            case PositionReport():
                self.on_position(event)
            case BalanceReport():
                self._on_balance(event)
            case StreamUp():
                self._on_up(event)
            case StreamDown():
                self._on_down(event)
            case VenueNotice():
                self._on_notice(event)
            case RateLimit():
                self._on_limit(event)

    def _on_balance(self, report: BalanceReport) -> None:
        """Keep a balance; funding belongs to the position that paid it.

        Where executions tell of funding too (Bybit), they are what is booked. A payment without
        its symbol (cross margin) is found in the ledger, by the next sync after the full hour.
        """
        self._desk.hear_balance(report)
        told_here = not self._desk.traits.funding_is_an_execution
        if report.reason == FUNDING and told_here:
            paid = funding.of_balance(report)
            self._services.orders.on_fill(self._desk.name, paid, streamed=True)

    def on_order(self, report: OrderReport, *, streamed: bool = False) -> None:
        """Apply an order report, from the stream or from a read."""
        services, venue = self._services, self._desk.name
        order = services.orders.on_report(venue, report, streamed=streamed)
        position = None
        if order is not None:
            if is_protective(order.row):
                position = services.book.by_id(order.row.position_id)
        elif report.order_class is not OrderClass.PLAIN:
            position = services.book.by_symbol(venue, report.symbol, report.position_side)
        if position is not None:
            self._stops.on_report(position, report)

    def on_position(self, report: PositionReport) -> None:
        """Apply a position report, from the stream or from a read."""
        if not self._desk.hear_position(report):
            return
        book = self._services.book
        position = book.by_symbol(self._desk.name, report.symbol, report.hedge_leg)
        if position is not None and position.hear(report):
            self._stops.on_position(position)

    # ------------------------------------------------------------ the stream itself

    def _on_up(self, event: StreamUp) -> None:
        self._desk.stream_up = True
        self._desk.stream_up_ts_ns = self._services.runtime.ts()
        self._desk.stream_generation += 1
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._services.decide(
            "stream.up",
            "every topic is confirmed",
            venue=self._desk.name,
            connection=event.connection,
        )
        self._desk.block_entries(RESYNC)
        self._desk.unblock_entries("stream")
        self._resync(self._desk.name, "stream up")

    def _on_down(self, event: StreamDown) -> None:
        was_up, self._desk.stream_up = self._desk.stream_up, False
        self._desk.stream_generation += 1
        self._services.decide("stream.down", event.reason or "no reason", venue=self._desk.name)
        self._desk.block_entries("stream")
        if was_up and self._desk.hear_stream_loss():
            self._services.decide(
                "stream.unreliable", "it broke again and again", venue=self._desk.name
            )
        if self._alarm is None:
            runtime = self._services.runtime
            patience_ns = self._services.settings.stream_down_alert_minutes * MINUTE
            self._alarm = runtime.call_at(MonoNs(runtime.now() + patience_ns), self._sound)

    def _sound(self) -> None:
        self._alarm = None
        minutes = self._services.settings.stream_down_alert_minutes
        self._services.alert(
            "ERROR",
            "stream.down",
            f"no private events for {minutes} minutes",
            venue=self._desk.name,
        )

    def _on_notice(self, event: VenueNotice) -> None:
        self._desk.hear_notice(event)
        self._services.decide(
            "venue.notice",
            event.kind,
            venue=self._desk.name,
            symbol=event.symbol,
            raw=event.raw[:200],
        )
        if event.kind not in _QUIET_NOTICES:
            severity = "CRITICAL" if event.kind == "margin_call" else "WARNING"
            self._services.alert(
                severity,
                f"venue.{event.kind}",
                event.raw[:200] or event.kind,
                venue=self._desk.name,
                symbol=event.symbol,
            )
        self._desk.block_entries(RESYNC)
        self._resync(self._desk.name, f"notice: {event.kind}")

    def _on_limit(self, event: RateLimit) -> None:
        """The venue's own figures correct ours; its counters include every other client."""
        limiter = self._desk.gateway.limiter
        if event.bucket not in limiter.buckets:
            return
        limiter.correct(
            event.bucket,
            capacity=event.capacity,
            window_ns=event.window_ns,
            used=event.used,
        )
        if event.capacity:
            self._services.decide(
                "venue.limit",
                "stated by the venue",
                venue=self._desk.name,
                bucket=event.bucket,
                capacity=event.capacity,
                window_ns=event.window_ns,
            )

    def _poisoned(self, event: VenueEvent, error: Exception) -> None:
        kind = type(event).__name__
        symbol = str(getattr(event, "symbol", ""))
        self._services.decide(
            "event.refused", describe(error), venue=self._desk.name, symbol=symbol, event=kind
        )
        self._services.alert(
            "ERROR",
            "event.refused",
            f"{kind} could not be handled: {describe(error)}",
            venue=self._desk.name,
            symbol=symbol,
        )
        self._desk.block_entries(RESYNC)
        self._resync(self._desk.name, f"{kind} could not be handled")


def describe(error: BaseException) -> str:
    """An error for decisions and alerts: its kind and words, nothing that differs between runs."""
    return f"{type(error).__name__}: {error}".rstrip(": ")


def is_protective(row: OrderRow) -> bool:
    """Whether an order of ours is a stop."""
    return row.order_class is not OrderClass.PLAIN
