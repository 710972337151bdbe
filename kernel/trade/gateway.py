"""The one chokepoint: every request to a venue passes here.

1. A request goes out only inside its budget, never during a ban, and an entry never while entries
   are forbidden: the gate is asked last, right before the request leaves.
   So is the lease, where one is kept.
2. One call sends at most one request. A time-out is `OutcomeUnknown`, for queries too; a budget
   that did not come in time is `NotSent`.
3. A throttling answer closes the exhausted bucket until its time, a ban the whole venue. What
   was refused and protects goes before any entry.
4. A code that no table lists raises an alert (hazards I17).

The requests by name are those of `VenueCalls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import (
    FilterViolation,
    InvariantViolation,
    NotSent,
    OutcomeUnknown,
    Throttled,
    Unauthorized,
    VenueError,
)
from kernel.model.messages import Alert
from kernel.model.units import MINUTE, SECOND, MonoNs, TsNs
from kernel.model.venue import (
    EffectClass,
    PlaceStop,
    QueryOpenOrders,
    SetPositionStop,
    SubmitOrder,
    VenueReply,
    VenueRequest,
)
from kernel.ports.direct import request_kind
from kernel.runtime.errors import TimedOut
from kernel.trade.budgets import Cost, cost, exhausted
from kernel.trade.limiter import Limiter, Reservation
from kernel.trade.venue_calls import VenueCalls, always

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.config import Settings
    from kernel.ports.outbox import Outbox
    from kernel.runtime.scheduler import Runtime
    from kernel.trade.desk import VenueDesk
    from kernel.trade.lease import Lease

NO_BUDGET = "no-budget"
UNWANTED = "unwanted"
"""Code of a request that found no rate budget in time."""
BAN_NS = 10 * MINUTE
"""A ban whose end the venue does not state (Bybit 403: ten minutes)."""


class Gateway(VenueCalls):
    """Sends requests to one venue.

    Attributes:
        calls: Requests by kind, for people.
        failures: Errors by class name, for people.
        banned_until_ns: Monotonic; nothing is sent before it.
        on_ban: Told of a ban, to name the positions whose stop is not verified.
    """

    def __init__(
        self, runtime: Runtime, outbox: Outbox, settings: Settings, desk: VenueDesk
    ) -> None:
        super().__init__(runtime, desk.name)
        self._outbox = outbox
        self._desk = desk
        self._venue = desk.venue
        self._traits = desk.traits
        self.limiter = Limiter(runtime, desk.traits)
        orders_ns = settings.order_timeout_seconds * SECOND
        self._timeouts = {
            EffectClass.PROTECT: settings.protection_call_timeout_seconds * SECOND,
            EffectClass.EXIT: orders_ns,
            EffectClass.ENTRY: orders_ns,
            EffectClass.QUERY: settings.query_timeout_seconds * SECOND,
        }
        self._costs: dict[type, Cost] = {}
        self.calls: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.banned_until_ns = MonoNs(0)
        self.on_ban: Callable[[VenueDesk, Throttled], None] = _ignore
        self.on_unread: Callable[[VenueDesk], None] = _unheard
        """Told that the venue refused a request without looking at it: the clock may be why."""
        self.lease: Lease | None = None
        """Where one is kept: asked before each request."""

    # ------------------------------------------------------------ the chokepoint

    async def ask(
        self,
        request: VenueRequest,
        cls: EffectClass,
        *,
        entity: str,
        timeout_ns: int | None = None,
        wanted: Callable[[], bool] = always,
    ) -> VenueReply:
        """Send one request and return its reply.

        Args:
            request: What to ask.
            cls: What it may wait for and how urgent it is.
            entity: Of its content key: client order id, symbol, or "account".
            timeout_ns: For the answer, and as long again for a budget; None: by the class.
            wanted: Asked again after a wait for a budget.

        Raises:
            NotSent: No budget in time, a gate is closed, not wanted any more: proven not executed.
            Throttled: The venue refuses requests: proven not executed.
            OutcomeUnknown: No answer in time, or the venue does not know.
            VenueError: What the venue said.
        """
        kind = request_kind(request)
        if self.lease is not None and not self.lease.permits(cls):
            await self.lease.settle(self._desk.name, kind, cls)
        limit_ns = self._timeouts[cls] if timeout_ns is None else timeout_ns
        self._check(request, cls, kind)
        budget = self._cost(request)
        if not self.limiter.take(budget, cls):
            if not await self.limiter.wait(budget, cls, limit_ns):
                raise NotSent(self._desk.name, kind, NO_BUDGET, "no rate budget in time")
            if self.lease is not None and not self.lease.permits(cls):
                await self.lease.settle(self._desk.name, kind, cls)
            self._check(request, cls, kind)
            if not wanted():
                raise NotSent(self._desk.name, kind, UNWANTED, "not wanted any more")
        if symbol := _protects(request):
            self.limiter.protecting(symbol)
        self.calls[kind] = self.calls.get(kind, 0) + 1
        try:
            with self._runtime.timeout(limit_ns):
                reply = await self._venue.ask(request, cls, entity)
        except TimedOut:
            error = OutcomeUnknown(
                self._desk.name, kind, "timeout", f"no answer within {limit_ns} ns"
            )
            self._count(error)
            raise error from None
        except VenueError as failure:
            self._count(failure)
            self._react(request, failure)
            raise
        return reply

    def _cost(self, request: VenueRequest) -> Cost:
        """What a request costs, remembered by its kind."""
        kind = type(request)
        if kind is QueryOpenOrders:
            return cost(self._traits, request)
        known = self._costs.get(kind)
        if known is None:
            known = self._costs[kind] = cost(self._traits, request)
        return known

    def _check(self, request: VenueRequest, cls: EffectClass, kind: str) -> None:
        """The gates. Asked before waiting for a budget and again right before sending."""
        if type(request) is SubmitOrder:
            opens = not request.reduce_only and request.position_side == "BOTH"
            if opens and cls is not EffectClass.ENTRY:
                raise InvariantViolation(f"{request.client_order_id} opens, but is sent as {cls}")
        if self._runtime.now() < self.banned_until_ns:
            raise Throttled(
                self._desk.name,
                kind,
                "banned",
                "nothing is sent to this venue before the ban ends",
                retry_at_ns=self._wall(self.banned_until_ns),
                banned=True,
            )
        if cls is EffectClass.ENTRY and not self._desk.entries_allowed:
            reasons = ", ".join(self._desk.block_reasons)
            raise NotSent(self._desk.name, kind, "entries-blocked", f"no entries: {reasons}")

    def _react(self, request: VenueRequest, error: VenueError) -> None:
        if isinstance(error, Throttled):
            self._throttled(request, error)
        if isinstance(error, NotSent):
            self.on_unread(self._desk)
        if isinstance(error, FilterViolation):
            self._desk.filters_doubtful = True
        if isinstance(error, Unauthorized):
            self._desk.block_entries("unauthorized")
            self._alert("CRITICAL", "venue.unauthorized", error)
        if not error.listed:
            self._alert("ERROR", "venue.code_unlisted", error)

    def _throttled(self, request: VenueRequest, error: Throttled) -> None:
        now = self._runtime.now()
        wait_ns = error.retry_at_ns - self._runtime.ts()  # what is not stated is long past
        if error.banned:
            until = MonoNs(now + (wait_ns if wait_ns > 0 else BAN_NS))
            first = now >= self.banned_until_ns
            self.banned_until_ns = MonoNs(max(until, self.banned_until_ns))
            if first:
                self._outbox.record(
                    "venue.banned", f"{error.code} {error.text}".strip(), venue=self._desk.name
                )
                self.on_ban(self._desk, error)
            return
        bucket = exhausted(self._traits, request, error)
        window_ns = self.limiter.buckets[bucket].window_ns
        until = MonoNs(now + (wait_ns if wait_ns > 0 else window_ns))
        self.limiter.exhaust(bucket, until)
        if symbol := _protects(request):
            self.limiter.owe(bucket, symbol, until)
        self._outbox.record(
            "venue.throttled",
            f"{error.code} {error.text}".strip() or "throttled",
            venue=self._desk.name,
            bucket=bucket,
            wait_ns=until - now,
        )

    def _alert(self, severity: str, kind: str, error: VenueError) -> None:
        self._outbox.alert(
            Alert(
                severity=severity,
                kind=kind,
                text=str(error),
                venue=self._desk.name,
                dedupe=f"{kind}|{self._desk.name}|{error.code}",
            )
        )

    def _count(self, error: VenueError) -> None:
        name = type(error).__name__
        self.failures[name] = self.failures.get(name, 0) + 1

    def _wall(self, mono_ns: MonoNs) -> TsNs:
        return TsNs(self._runtime.ts() + mono_ns - self._runtime.now())

    # ------------------------------------------------------------ budgets

    async def reserve(self, entries: int, timeout_ns: int = 30 * SECOND) -> Reservation:
        """Keep the rate budget of entries, their stops and their closes until it is released.

        Raises:
            NotSent: The budget did not come in time.
        """
        made = await self.limiter.reserve(entries, timeout_ns)
        if made is None:
            raise NotSent(self._desk.name, "reserve", NO_BUDGET, "no budget for entry and stop")
        return made


def _protects(request: VenueRequest) -> str:
    """The symbol that a request protects or closes at once, else ""; a resting exit may wait."""
    if type(request) is SubmitOrder:
        return request.symbol if request.reduce_only and not request.price else ""
    if type(request) is PlaceStop or type(request) is SetPositionStop:
        return request.symbol
    return ""


def _unheard(_desk: VenueDesk) -> None:
    """Before the kernel is wired nobody is told."""


def _ignore(desk: VenueDesk, error: Throttled) -> None:
    """Before the kernel is wired nobody is told."""
