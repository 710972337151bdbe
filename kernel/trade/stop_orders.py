"""Stops that are orders of their own (Binance algo orders): place, confirm, swap, cancel.

1. A stop is confirmed when the venue shows it live with the right side, size, trigger, series and
   closing-only; its acknowledgement confirms nothing.
2. A new stop is confirmed before an old one is cancelled: the gap of a move is zero (hazards P01).
3. A send with an unknown outcome is looked up and sent again under the same id, never as a second
   intent (T02). A stop that a read misses may be joined by another one (L03).
4. At most two sets are open while one replaces the other; while no stop is confirmed, getting one
   comes first.
5. A cancel proves nothing: what was cancelled stays in the ledger until a terminal report (P02).

Source: venue-binance.md §3 (POST/GET/DELETE /fapi/v1/algoOrder, openAlgoOrders, life cycle).
"""

from __future__ import annotations

from contextlib import suppress
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from kernel.errors import (
    KernelError,
    TooManyOpenOrders,
    VenueError,
)
from kernel.model.ids import is_ours
from kernel.model.instrument import Instrument
from kernel.model.units import MS, SECOND, ZERO, MonoNs, Price, Qty, text
from kernel.model.venue import CancelOrder
from kernel.trade import evidence
from kernel.trade.protective_set import StopOrder, StopPhase
from kernel.trade.stop_levels import is_tighter, tighter_of
from kernel.trade.stop_placement import StopPlacement, StopUnconfirmed
from kernel.trade.stop_sweep import sweep

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services

CANCEL_PAUSES_NS = (SECOND, 2 * SECOND, 5 * SECOND, 15 * SECOND, 30 * SECOND)
"""Between attempts to cancel the same stop; the last one repeats."""
CANCEL_WAIT_NS = 500 * MS
"""How long a cancel waits for its event before the order is looked up."""


class StopsCrowded(KernelError):
    """Two sets are open already and the old one is not proven terminal: nothing was placed."""


def split_qty(instrument: Instrument, qty: Qty) -> list[Qty]:
    """`qty` in parts that a market order may have, in whole steps, as equal as they can be.

    Raises:
        ValueError: `qty` is not positive.
    """
    if qty <= 0:
        raise ValueError(f"nothing to split: {qty}")
    most = instrument.max_market_qty
    if not most or qty <= most:
        return [qty]
    count = int((qty / most).to_integral_value(rounding=ROUND_CEILING))
    part = instrument.qty_up(qty / count)
    parts: list[Decimal] = []
    rest = qty
    while rest > 0:
        parts.append(min(part, rest))
        rest -= parts[-1]
    return parts


class ConditionalStops:
    """Stop orders of their own, for any number of positions."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._placement = StopPlacement(services)

    # ------------------------------------------------------------ what holds

    def covering(self, position: Position, level: Price) -> list[StopOrder]:
        """Live stops of a position that are sound and at `level` or tighter."""
        source = self._services.settings.stop_source
        return [
            stop
            for stop in position.stops.live()
            if stop.sound(source) and not is_tighter(position.side, level, stop.level)
        ]

    def covers(self, position: Position, level: Price, qty: Qty) -> bool:
        """Whether confirmed stops at `level` or tighter close at least `qty`."""
        left = qty
        for stop in self.covering(position, level):
            if stop.whole:
                return True
            left -= stop.qty
        return left <= 0

    def fits(self, position: Position, level: Price, qty: Qty) -> bool:
        """Whether exactly one set of confirmed stops stands, at `level` and for `qty`."""
        found = self.covering(position, level)
        if len(found) != len(position.stops.open()):
            return False
        if any(stop.level != level for stop in found):
            return False
        if any(stop.whole for stop in found):
            return len(found) == 1
        return sum((stop.qty for stop in found), Decimal(0)) == qty

    # ------------------------------------------------------------ making it so

    async def establish(self, position: Position, level: Price, qty: Qty, cause: str) -> None:
        """Make one attempt at a confirmed set of stops at `level` for `qty`.

        What stood before is cancelled after the new set is confirmed, and stays in the ledger
        until that is proven.

        Raises:
            VenueError: The venue refused, or the outcome is unknown and look-ups show nothing.
            StopUnconfirmed: It was taken and is not to be seen, or differs from what was asked.
            StopsCrowded: There is no room for a third set.
        """
        stops, runtime = position.stops, self._services.runtime
        kept, parts = self._standing(position, level, qty)
        if parts:
            await self._make_room(position)
            if is_tighter(position.side, position.row.protected_level, level):
                raise StopUnconfirmed(f"{position.id}: a tighter stop was confirmed meanwhile")
            kept = await self._place_set(position, level, kept, parts, cause=cause)
        stops.cover(level, runtime.now())
        self._services.decide(
            "stop.confirmed",
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            client_order_id=kept[0].client_order_id,
            level=text(level),
            qty=text(qty),
        )
        replaced = False
        grown = position.qty > qty  # meanwhile: a still larger set takes the place of all of them
        for stop in () if grown else stops.open():
            if stop not in kept and stop.wanted:
                stop.wanted = False
                replaced = True
        await self.discard(position)
        if stops.to_cancel():
            position.changed.set()  # its keeper goes after what is not proven terminal
        if replaced:
            await self._look_after_swap(position)

    async def discard(self, position: Position) -> None:
        """Make one attempt at each cancel that is due; what it proves comes as a report."""
        for stop in position.stops.to_cancel():
            if not is_ours(stop.client_order_id):
                position.stops.forget(stop)  # a person's: let alone
                continue
            now = self._services.runtime.now()
            if now >= stop.cancel_due_ns:
                pause_ns = CANCEL_PAUSES_NS[min(stop.cancels, len(CANCEL_PAUSES_NS) - 1)]
                stop.cancel_due_ns = MonoNs(now + pause_ns)
                stop.cancels += 1
                await self._cancel(stop)

    async def probe(self, position: Position) -> None:
        """Look up every stop that was sent or went missing.

        Raises:
            VenueError: A read had no value.
        """
        for stop in position.stops.doubtful():
            if await evidence.look_up(self._services, stop.order):
                if stop.missing and stop.phase is not StopPhase.GONE:
                    position.stops.list_lied_ns = self._services.runtime.now()
                stop.missing = False

    def _standing(
        self, position: Position, level: Price, qty: Qty
    ) -> tuple[list[StopOrder], list[Qty]]:
        """The live stops at `level` that stay, and what is to be placed beside them.

        Where the market maximum asks for several stops anyway, those that stand stay when the
        position grows; a single one is replaced by a larger one.
        """
        found = [stop for stop in self.covering(position, level) if stop.level == level]
        whole = [stop for stop in found if stop.whole]
        if whole:
            return whole[:1], []
        instrument = self._services.desks[position.venue].instruments[position.symbol]
        chosen: list[StopOrder] = []
        rest = qty
        for stop in found:  # where there are too many, those that fit are kept
            if stop.qty <= rest:
                chosen.append(stop)
                rest -= stop.qty
        parts, whole_set = split_qty(instrument, rest) if rest else [], split_qty(instrument, qty)
        if len(chosen) + len(parts) <= len(whole_set):
            return chosen, parts
        return [], whole_set

    async def _place_set(
        self,
        position: Position,
        level: Price,
        kept: list[StopOrder],
        parts: list[Qty],
        *,
        cause: str,
    ) -> list[StopOrder]:
        """Place the parts beside what is kept; all of them."""
        made = list(kept)
        swept = False
        while len(made) < len(kept) + len(parts):
            part = parts[len(made) - len(kept)]
            try:
                made.append(
                    await self._placement.place(position, level, part, child=len(made), cause=cause)
                )
            except TooManyOpenOrders:
                if not swept:
                    swept = True
                    await sweep(self._services, position.venue)
                elif position.stops.live() and not kept:
                    return await self._cancel_first(position, level, sum(parts, ZERO), cause)
                else:
                    raise
        return made

    # ------------------------------------------------------------ room, cancels, caps

    async def _make_room(self, position: Position) -> None:
        """See that at most two sets will be open.

        Raises:
            VenueError: What is doubtful could not be looked up.
            StopsCrowded: A confirmed stop stands, and it is not proven that it is the only one.
        """
        stops = position.stops
        if not stops.live():
            return
        await self.probe(position)
        self._put_looser_aside(position)
        await self.discard(position)
        if stops.to_cancel() or stops.doubtful():
            raise StopsCrowded(f"{position.id}: an old stop is not proven terminal")

    def _put_looser_aside(self, position: Position) -> None:
        """Where a move was confirmed only by this look-up, its level is the protected one now."""
        live = position.stops.live()
        best = position.row.protected_level
        for stop in live:
            best = tighter_of(position.side, stop.level, best)
        if best == position.row.protected_level or not self.covers(position, best, position.qty):
            return
        self._services.decide(
            "stop.moved",
            "an earlier move was confirmed late",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            before=text(position.row.protected_level),
            level=text(best),
        )
        position.update(protected_level=best)
        position.stops.cover(best, self._services.runtime.now())
        for stop in live:
            stop.wanted = stop.level == best

    async def _cancel(self, stop: StopOrder) -> None:
        services, order, row = self._services, stop.order, stop.order.row
        request = CancelOrder(
            symbol=row.symbol,
            order_class=row.order_class,
            client_order_id=row.client_order_id,
            venue_order_id=row.venue_order_id,
        )
        asked_ns = services.runtime.now()
        try:
            await services.desks[row.venue].gateway.cancel(request)
        except VenueError:
            await self._placement.look_up(stop)  # a cancel error is a question, not an answer
            return
        while stop.phase is not StopPhase.GONE:
            order.changed.clear()
            if not await evidence.wait_until(
                services.runtime, order.changed, asked_ns + CANCEL_WAIT_NS
            ):
                await self._placement.look_up(stop)
                return

    async def _look_after_swap(self, position: Position) -> None:
        """The old stop may have fired meanwhile: then the position is flat (hazards P03)."""
        with suppress(VenueError):  # the next check reads again
            found = await evidence.read_position(self._services, position)
            if not found.qty:
                await evidence.read_executions(self._services, position)

    async def _cancel_first(
        self, position: Position, level: Price, qty: Qty, cause: str
    ) -> list[StopOrder]:
        """At the cap there is no room for two: cancel the old set, place the new one.

        Where that fails the old level is placed again, and the failure goes on.
        """
        services, stops = self._services, position.stops
        old = stops.live()
        old_level = old[0].level
        for stop in old:
            stop.wanted = False
        await self.discard(position)
        if stops.to_cancel():
            raise StopsCrowded(f"{position.id}: the old stop is not proven cancelled")
        stops.expose(services.runtime.now())
        parts = split_qty(services.desks[position.venue].instruments[position.symbol], qty)
        try:
            return await self._place_all(position, level, parts, cause)
        except (VenueError, StopUnconfirmed) as error:
            await self._place_all(position, old_level, parts, "the old level again")
            stops.cover(old_level, services.runtime.now())
            raise StopUnconfirmed(f"{position.id}: the old level stands again") from error

    async def _place_all(
        self, position: Position, level: Price, parts: list[Qty], cause: str
    ) -> list[StopOrder]:
        return [
            await self._placement.place(position, level, part, child=child, cause=cause)
            for child, part in enumerate(parts)
        ]
