"""The entry of one line of a wave: symbol lock, second check, reservation, rate budget, saga."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kernel.errors import NotSent
from kernel.model.rows import ClaimRow
from kernel.trade.entry_plan import EntryPlan
from kernel.trade.validation import Refusal, Validator, position_side
from kernel.trade.wave_lines import ALREADY_TRIED

if TYPE_CHECKING:
    from kernel.model.signal import Signal
    from kernel.model.units import TsNs
    from kernel.trade.book import Position
    from kernel.trade.risk import Reservation
    from kernel.trade.services import Services
    from kernel.trade.sizing import Sized
    from kernel.trade.wave_lines import Line, WaveLines


class Opener(Protocol):
    """What a wave needs of the entry saga."""

    async def open(self, signal: Signal, plan: EntryPlan) -> Position | None:
        """The ACTIVE position; None where none came of it."""
        ...


class WaveEntry:
    """Enters lines of one wave, any number of them concurrently."""

    def __init__(
        self,
        services: Services,
        opener: Opener,
        lines: WaveLines,
        *,
        wave_ns: TsNs,
        expires_ns: TsNs,
        claims: dict[str, None],
    ) -> None:
        self._services = services
        self._opener = opener
        self._lines = lines
        self._wave_ns = wave_ns
        self._expires_ns = expires_ns
        self._claims = claims
        self._validator = Validator(services)

    async def enter(self, line: Line) -> Position | None:
        """Hold the symbol, reserve, open; None: the line was dropped with its reason."""
        signal, risk = line.signal, self._services.risk
        async with risk.hold(signal.venue, signal.symbol) as is_held:
            if not is_held:
                return self._refuse(line, "lock_timeout")
            sized = self._validator.check(signal)
            if isinstance(sized, Refusal):
                return self._refuse(line, sized.reason, sized.detail)
            side = position_side(signal)
            reservation = risk.reserve(signal.venue, signal.symbol, side, sized.notional)
            assert not isinstance(reservation, str), "what it checks was checked in this instant"
        try:
            return await self._open(line, sized, reservation)
        finally:
            self._end(reservation)

    async def _open(self, line: Line, sized: Sized, reservation: Reservation) -> Position | None:
        signal = line.signal
        desk = self._services.desks[signal.venue]
        try:
            budget = await desk.gateway.reserve(1)
        except NotSent as error:
            return self._refuse(line, "no_rate_budget", str(error))
        with budget:
            if self._services.stopping or self._services.runtime.ts() > self._expires_ns:
                return self._refuse(line, "stopping" if self._services.stopping else "expired")
            if signal.once_key in self._claims:
                return self._refuse(line, ALREADY_TRIED)
            self._claims[signal.once_key] = None
            position = await self._opener.open(signal, self._plan(signal, sized, reservation))
        if position is None:
            return self._refuse(line, "entry_failed")
        return position

    def _plan(self, signal: Signal, sized: Sized, reservation: Reservation) -> EntryPlan:
        return EntryPlan(
            reservation_id=reservation.reservation_id,
            venue=signal.venue,
            symbol=signal.symbol,
            side=reservation.side,
            wave_ns=self._wave_ns,
            claim=ClaimRow(
                once_key=signal.once_key,
                wave_ns=self._wave_ns,
                claimed_ns=self._services.runtime.ts(),
            ),
            children=sized.children,
            notional=sized.notional,
            reference_price=sized.reference_price,
            expires_ns=self._expires_ns,
        )

    def _end(self, reservation: Reservation) -> None:
        """End a reservation by what the book proves; where it proves nothing, it stays."""
        services = self._services
        position = services.book.by_symbol(reservation.venue, reservation.symbol)
        if position is not None:
            services.risk.opened(reservation.reservation_id)
        elif services.orders.open_orders(reservation.venue, reservation.symbol):
            services.risk.doubtful(reservation.reservation_id)
        else:
            services.risk.absent(reservation.reservation_id)

    def _refuse(self, line: Line, reason: str, detail: str = "") -> Position | None:
        """Drop a line that was about to be entered; nothing came of it."""
        self._lines.drop(line, reason, detail)
        return None
