"""The only code that closes a position: a ladder of reduce-only orders that ends flat by evidence.

1. Every order is reduce-only: nothing here can turn a position round (hazards I4).
2. Flat is proven by our executions *and* by a complete read of the position that was asked after
   the last of them. A refusal ("nothing to reduce") is a question and leads to a read (E12).
3. The stop stays until the position is flat (P07); then every order of ours on the symbol is
   cancelled, and only then the position is CLOSED.
4. Rungs: market, in parts of the market maximum → cancel own exits, read again, market for what
   the venue shows → in halves → the venue's close-all form. Between rungs a growing pause; an alert
   at every rung, CRITICAL until flat. It never gives up; `close` answers False after the last rung
   and the work goes on.
5. One close a position: a second call joins the first. It runs in a task of its own, so whoever
   asked may be cancelled.
6. Before it comes to that, one reduce-only limit may wait for a better price
   (`kernel.trade.resting_exit`); it is cancelled beside the first market order.

Source: SPEC §3.4, §4; venue-binance.md §3.2 (-2022), venue-bybit.md §4.2 (110017).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.orders import OrderClass
from kernel.model.positions import ENTERING, CloseReason, PositionState
from kernel.model.traits import StopStyle
from kernel.model.units import MS, SECOND, ZERO, Qty, text
from kernel.trade import evidence
from kernel.trade.cancel_ledger import CancelLedger
from kernel.trade.close_reason import ended_by
from kernel.trade.exit_orders import ExitOrders
from kernel.trade.leftovers import Leftovers
from kernel.trade.resting_exit import RestingExits
from kernel.trade.stop_breaker import StopBreaker
from kernel.trade.stop_orders import split_qty

if TYPE_CHECKING:
    from kernel.runtime.primitives import Event
    from kernel.trade.book import Position
    from kernel.trade.cancel_ledger import Settler
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

POLLS_NS = (100 * MS, 200 * MS, 400 * MS, 800 * MS, *(6 * (SECOND,)))
"""Pauses between the ten polls for "flat"."""
PATIENCE_NS = 10 * SECOND
"""The polls of one rung take no longer than this while quantity is left."""
PAUSES_NS = (0, 500 * MS, SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND)
"""Before each rung; the last one repeats."""
UNEXPLAINED_NS = 45 * SECOND
"""A position that is gone, and no execution tells why, is not ended for so long: lists may be late,
and what of ours filled may be told late. Its stop stays until then (hazards L05, L09)."""
ABSENT_NS = 5 * SECOND
"""Least pause between reads that show no position."""
RUNGS = 4
TOUCH_NS = 10 * SECOND
"""How long an order rests at the touch before the rest goes at market (SPEC §8)."""
_ENDS_CLOSED = (PositionState.PENDING_SL, PositionState.ACTIVE, PositionState.CLOSING)
MAX_RESTARTS = 3


class _Closing:
    """One close in progress."""

    __slots__ = ("answered", "at_touch", "crashes", "flat", "hurry", "orders", "rung")

    def __init__(
        self, answered: Event, *, orders: bool = True, at_touch: bool = False, rung: int = 0
    ) -> None:
        self.at_touch = at_touch
        self.rung = rung
        self.answered = answered
        self.orders = orders
        self.flat = False
        self.hurry = False
        """Somebody wants it at market now."""
        self.crashes = 0


class Exits:
    """Closes positions; any number of them concurrently, each once."""

    def __init__(self, services: Services, *, settler: Settler) -> None:
        self._services = services
        self._closing: dict[str, _Closing] = {}
        self.settler = settler
        self._orders = ExitOrders(services)
        self._breaker = StopBreaker(services)
        services.cancels = CancelLedger(services, settler)
        self._leftovers = Leftovers(services)
        self.resting = RestingExits(services, self._orders, settler)
        """The exits that wait for a better price; placed and cancelled by nobody else."""

    def sweep(self, position_id: str) -> None:
        """End the closing orders that a position left behind; nothing where there are none."""
        self._leftovers.sweep(position_id)

    def in_progress(self, position: Position) -> bool:
        """Whether this position is being closed now."""
        return position.id in self._closing

    async def reduce(self, position: Position, qty: Qty, cause: str) -> bool:
        """Close a part at market; the position stays ACTIVE and its stop is resized by its keeper.

        More than the market maximum goes in several orders, one after the other.

        Returns:
            Whether all of it was seen to fill. False also where it is being closed as a whole.
        """
        instrument = self._services.desks[position.venue].instruments[position.symbol]
        for child, part in enumerate(split_qty(instrument, qty)):
            if position.state is not PositionState.ACTIVE or self.in_progress(position):
                return False
            order = await self._orders.send(position, part, child=child, cause=cause)
            if order is None or not await self._ended(position, order) or order.filled_qty < part:
                return False
        return True

    async def close(
        self,
        position: Position,
        reason: CloseReason,
        cause: str,
        *,
        at_touch: bool = False,
        doubtful: bool = False,
    ) -> bool:
        """Close a position at market, or prove that it is flat already.

        Where a close is in progress already that one goes on, but rests no longer for one that
        does not ask for it.

        Args:
            position: The position.
            reason: Why, unless an execution tells otherwise.
            cause: The same for people.
            at_touch: It rests for `TOUCH_NS` at the best price of its own side of the book first.
            doubtful: A refusal showed that the position is not what is known: own exits are
                cancelled and it is read again before anything is sent.

        Returns:
            True: proven flat. An ACTIVE position is then CLOSED and nothing of ours is left on
            its symbol; one that never was ACTIVE stays in ROLLBACK for the entry saga to end.
            False: the ladder's last rung failed; it goes on, and alerts, until flat.
        """
        running = self._closing.get(position.id)
        while running is not None and not running.orders:
            await running.answered.wait()
            running = self._closing.get(position.id)
        if position.state.terminal:
            return True
        if running is None:
            running = _Closing(
                self._services.runtime.event(), at_touch=at_touch, rung=int(doubtful)
            )
            self._closing[position.id] = running
            self._begin(position, reason, cause)
            self._services.supervise(
                f"close {position.id}",
                lambda: self._guarded(position, running, cause),
                position=position,
            )
        elif not at_touch and not running.hurry:
            running.hurry = True
            position.changed.set()
        await running.answered.wait()
        return running.flat

    async def conclude(
        self, position: Position, reason: CloseReason, *, unexplained: bool
    ) -> bool:
        """End a position that the venue does not show any more, without an order.

        Args:
            position: What the reads do not show.
            reason: Where its executions do not tell.
            unexplained: Enough reads do not show it: end it although no execution tells why.

        Returns:
            True: proven flat, booked by its executions, nothing of ours left on the symbol.
            False: it is not, or it is being closed: nothing was changed.
        """
        if position.id in self._closing or position.state.terminal:
            return position.state.terminal
        answered = self._services.runtime.event()
        running = self._closing[position.id] = _Closing(answered, orders=False)
        try:
            with self._services.held():
                verdict = await self._look(position, [], deep=True)
            if verdict is None and unexplained:
                self._external(position)
            if verdict or (verdict is None and unexplained):
                if not position.row.close_reason:
                    position.update(close_reason=reason.value)
                await self._finish(position)
        finally:
            self._closing.pop(position.id, None)
            running.answered.set()
        return position.state.terminal

    async def _guarded(self, position: Position, running: _Closing, cause: str) -> None:
        """Run, and let no caller wait for a task that crashed for good."""
        try:
            with self._services.held():
                await self._run(position, running, cause)
        except Exception:
            running.crashes += 1
            if running.crashes > MAX_RESTARTS:
                self._closing.pop(position.id, None)
                running.answered.set()
            raise

    def _begin(self, position: Position, reason: CloseReason, cause: str) -> None:
        """The state that announces the act."""
        if not position.row.close_reason:
            position.update(close_reason=reason.value)
        if position.state in ENTERING:
            position.transition(PositionState.ROLLBACK, cause)
        elif position.state is PositionState.ACTIVE and position.qty > 0:
            position.transition(PositionState.CLOSING, cause)

    # ------------------------------------------------------------ the ladder

    async def _run(self, position: Position, running: _Closing, cause: str) -> None:
        services = self._services
        await services.commit_protect((position.row,))
        rung, left, filled = running.rung, position.qty, position.row.filled_qty
        if running.at_touch:
            running.at_touch = False
            await self.resting.withdraw(position, cause)
            await self._rest_at_touch(position, running, cause)
            rung = 1  # what is left of it is cancelled and read before anything else is sent
        self.resting.withdraw_soon(position, cause)
        while not await self._climb(position, rung, cause):
            rung = 1 if position.qty < left else rung + 1  # what works is done again at once
            if position.row.filled_qty > filled:  # more of its entry filled meanwhile
                rung = 0
            else:
                self._alarm(position, rung)
            left, filled = position.qty, position.row.filled_qty
            if rung >= RUNGS:
                running.answered.set()
            await services.runtime.sleep(PAUSES_NS[min(rung, len(PAUSES_NS) - 1)])
        await self._finish(position)
        running.flat = True
        self._closing.pop(position.id, None)
        running.answered.set()

    async def _rest_at_touch(self, position: Position, running: _Closing, cause: str) -> None:
        """One order at the touch, for a while; what it leaves the ladder takes.

        It may never fill, so it does not stand in for a stop: without one it rests no longer.
        """
        instrument = self._services.desks[position.venue].instruments.get(position.symbol)
        quote = self._services.prices.quote(position.venue, position.symbol)
        price = quote.ask if position.side.sign > 0 else quote.bid
        if not price or instrument is None or position.qty <= 0:
            return
        runtime, stops = self._services.runtime, position.stops
        until_ns = runtime.now() + TOUCH_NS
        qty = split_qty(instrument, position.qty)[0]
        order = await self._orders.send(position, qty, cause=f"{cause}: at the touch", price=price)
        if order is None:
            return
        while not order.terminal and position.qty > 0:
            position.changed.clear()
            if running.hurry or stops.exposed_since_ns is not None:
                return
            if not await evidence.wait_until(runtime, position.changed, until_ns):
                return

    async def _ended(self, position: Position, order: TrackedOrder) -> bool:
        """Wait for the end of a market order, with all its executions; False: not seen."""
        runtime = self._services.runtime
        for pause_ns in POLLS_NS:
            position.changed.clear()
            if order.terminal and not order.executions_missing:
                return True
            if not await evidence.wait_until(runtime, position.changed, runtime.now() + pause_ns):
                with suppress(VenueError):  # a read without value: the next one tells
                    await evidence.look_up(self._services, order)
                    await evidence.read_executions(self._services, position)
        return order.terminal

    async def _climb(self, position: Position, rung: int, cause: str) -> bool:
        """One rung; True: proven flat."""
        sent: list[TrackedOrder] = []
        filled = position.row.filled_qty
        if rung:
            qty = await self._read_again(position)
        else:
            qty = max(position.qty, ZERO)
        if qty:
            for child, part in enumerate(self._parts(position, qty, rung)):
                order = await self._orders.send(position, part, child=child, cause=cause)
                if order is not None:
                    sent.append(order)
        return await self._prove_flat(position, sent, filled)

    def _parts(self, position: Position, qty: Qty, rung: int) -> list[Qty]:
        """The quantities of a rung's orders; [ZERO] is the close-all form."""
        desk = self._services.desks[position.venue]
        instrument = desk.instruments.get(position.symbol)
        if instrument is None:
            return [qty]  # not in the universe any more: the venue knows its own limits
        parts = split_qty(instrument, qty)
        if rung < 2:
            return parts
        if rung % 2 and desk.traits.stop_style is StopStyle.ATTACHED:
            return [ZERO]
        half = instrument.qty_up(qty / 2)
        return split_qty(instrument, half) + (
            split_qty(instrument, qty - half) if qty > half else []
        )

    async def _read_again(self, position: Position) -> Qty:
        """Cancel own exits, book what was missed, and see what the venue still shows."""
        services = self._services
        try:
            reports = await evidence.read_open_orders(
                services, position.venue, position.symbol, OrderClass.PLAIN
            )
            for report in reports:
                order = services.orders.by_client_id(position.venue, report.client_order_id)
                if order is not None and order.row.order_class is OrderClass.PLAIN:
                    await self._orders.cancel(order)
            await evidence.read_executions(services, position)
            found = await evidence.read_position(services, position)
        except VenueError:
            return max(position.qty, ZERO)
        return found.qty

    # ------------------------------------------------------------ proof

    async def _prove_flat(
        self, position: Position, sent: list[TrackedOrder], filled: Qty
    ) -> bool:
        """Poll until executions and a later read agree on "flat"; False: after ten polls.

        Where nothing was sent, or all that was sent has ended with quantity left, one complete
        look decides; where more than `filled` of the entry fills meanwhile, none does. On a slow
        venue ten looks may take longer than a position may be naked: after `PATIENCE_NS` with
        quantity left the next rung comes, reduce-only as this one.
        """
        runtime = self._services.runtime
        patience_ns = runtime.now() + PATIENCE_NS
        unexplained, since_ns = 0, runtime.now()
        for number, pause_ns in enumerate(POLLS_NS):
            position.changed.clear()
            if position.qty > 0 and not _over(sent):
                await evidence.wait_until(runtime, position.changed, runtime.now() + pause_ns)
            verdict = await self._look(position, sent, deep=number > 1 or _over(sent))
            if position.row.filled_qty > filled and position.qty > 0:
                return False
            if verdict is True:
                return True
            if verdict is None:
                unexplained += 1
                if unexplained > 1 and runtime.now() - since_ns >= UNEXPLAINED_NS:
                    self._external(position)
                    return True
                lag_ns = self._services.settings.visibility_lag_seconds * SECOND
                await self._pause(position, filled, max(lag_ns, ABSENT_NS))
            elif position.qty > 0 and (_over(sent) or runtime.now() >= patience_ns):
                return False
            elif position.qty <= 0:
                await self._pause(position, filled, pause_ns)
        return False

    async def _pause(self, position: Position, filled: Qty, pause_ns: int) -> None:
        """Sleep, but no longer than until more of its entry fills."""
        runtime = self._services.runtime
        due_ns = runtime.now() + pause_ns
        while position.row.filled_qty <= filled:
            position.changed.clear()
            if not await evidence.wait_until(runtime, position.changed, due_ns):
                return

    async def _look(
        self, position: Position, sent: list[TrackedOrder], *, deep: bool
    ) -> bool | None:
        """One look: True flat; False not flat, or unknown; None: gone, but not by executions."""
        services = self._services
        if position.qty > 0 and not deep:
            return False
        try:
            if position.qty > 0:
                for order in sent:
                    if not order.terminal:
                        await evidence.look_up(services, order)
                await evidence.read_executions(services, position)
            found = await evidence.read_position(services, position)
        except VenueError:
            return False
        if found.qty:
            return False
        if position.qty <= 0:
            return True
        return None if all(order.terminal or not order.seen for order in sent) else False

    def _external(self, position: Position) -> None:
        """Two complete reads show nothing, and no execution tells why."""
        self._services.alert(
            "ERROR",
            "exit.unexplained",
            f"the venue shows no position, but {text(position.qty)} was never seen closing",
            venue=position.venue,
            symbol=position.symbol,
            dedupe=position.id,
        )
        self._services.decide(
            "exit.unexplained",
            "two complete reads show no position",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            qty=text(position.qty),
        )

    async def _finish(self, position: Position) -> None:
        """Proven flat: nothing of ours stays on the symbol, then the end is booked."""
        await self._leftovers.clear(position)
        self._end(position)

    def _end(self, position: Position) -> None:
        """Book the end; the saga of a rolled back entry ends it itself."""
        services = self._services
        position.stops.exposed_since_ns = None
        reason = position.row.close_reason
        found = ended_by(services, position)
        if found is not None and position.qty <= 0:
            reason = found.value  # not ours: the stop, the venue, or somebody else was faster
        again = bool(position.row.closed_ns)  # a roll-back may prove it flat more than once
        if reason == CloseReason.ALREADY_THROUGH and not again:
            self._breaker.through(position.venue)
        position.update(closed_ns=services.runtime.ts(), close_reason=reason)
        services.decide(
            "exit.flat",
            "executions and a later read agree",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            reason=position.row.close_reason,
            exit_price=text(position.row.exit_price),
            realized_pnl=text(position.row.realized_pnl),
            fees=text(position.row.fees),
            funding=text(position.row.funding),
        )
        if position.state in _ENDS_CLOSED:
            position.transition(PositionState.CLOSED, position.row.close_reason)
        services.persist((position.row,))

    def _alarm(self, position: Position, rung: int) -> None:
        self._services.alert(
            "CRITICAL",
            "exit.not_flat",
            f"close attempt {rung} did not end flat: {text(position.qty)} left, trying on",
            venue=position.venue,
            symbol=position.symbol,
            dedupe=f"exit.not_flat|{position.id}|{rung}",
        )


def _over(sent: list[TrackedOrder]) -> bool:
    """Nothing that was sent can still fill."""
    return all(order.terminal and not order.executions_missing for order in sent)
