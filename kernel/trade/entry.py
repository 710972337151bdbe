"""The entry saga: a position comes into being with its stop, or not at all (SPEC §3).

    PENDING_ENTRY → ENTRY_PLACED → PENDING_SL → ACTIVE;  on failure → ROLLBACK → ROLLED_BACK

1. Claim, position and every order intent are durable, in one commit, before anything is sent.
2. One intent has one client id for life. An unknown outcome is settled by evidence under that id;
   nothing is sent again, and the symbol stays taken until the proof is there.
3. Quantity and average entry come from executions, never from a request or an acknowledgement.
4. From the first known fill the stop owner's deadline runs. Whatever fails after a fill ends in a
   reduce-only close that is verified flat; cancellation from outside does not interrupt it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from kernel.errors import (
    DuplicateClientOrderId,
    NotSent,
    Rejected,
    StoreError,
    Throttled,
    Unauthorized,
    UnknownOrder,
    VenueError,
)
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType, TimeInForce
from kernel.model.positions import CloseReason, PositionRow, PositionState
from kernel.model.rows import OrderRow, Row
from kernel.model.units import MS, SECOND, ZERO, MonoNs, Price, Qty, canonical
from kernel.model.venue import (
    CancelOrder,
    EffectClass,
    ExecutionPage,
    OrderSurface,
    PositionPage,
    QueryExecutions,
    QueryOrder,
    QueryPositions,
    SubmitOrder,
)
from kernel.trade.stop_levels import first_stop

if TYPE_CHECKING:
    from kernel.model.signal import Signal
    from kernel.runtime.primitives import Event
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.entry_plan import EntryPlan
    from kernel.trade.orders import TrackedOrder
    from kernel.trade.services import Services
    from kernel.trade.symbol_setup import SymbolSetup

POLLS_NS = (100 * MS, 200 * MS, 400 * MS, 800 * MS, *(6 * (SECOND,)))
"""The ten polls after the entry was placed (owner)."""
_CAME_TO_LIFE = (PositionState.ACTIVE, PositionState.CLOSING, PositionState.CLOSED)
"""A position that was ACTIVE, whatever became of it since."""
POLLS_FOR_EXECUTIONS = 3
"""So many polls may pass before an order's report stands in for its executions (hazards W09)."""
POLLS_FOR_CHILDREN = 4
"""So many polls may pass before what is filled is protected, whatever else is open."""
CLOSE_MARGIN_NS = 5 * SECOND
"""Before the deadline of an unprotected position: a read and a close must fit."""
CANCEL_RETRY_NS = (200 * MS, 400 * MS, 800 * MS, 1600 * MS, 5 * SECOND)


class Stops(Protocol):
    """What the saga needs of the stop owner."""

    async def protect(self, position: Position) -> bool:
        """Place and verify the first stop; True: confirmed live."""
        ...


class Closer(Protocol):
    """What the saga needs of the exit ladder."""

    async def close(self, position: Position, reason: CloseReason, cause: str) -> bool:
        """Close at market; True: proven flat."""
        ...


class Settler(Protocol):
    """What the saga needs of whoever settles unknown outcomes."""

    async def settle(self, order: TrackedOrder) -> object:
        """Return when the outcome is proven; the proof is in the order."""
        ...


class Entries:
    """Opens positions; one saga a position, any number of them concurrently."""

    def __init__(
        self,
        services: Services,
        *,
        stops: Stops,
        exits: Closer,
        settler: Settler,
        setup: SymbolSetup,
    ) -> None:
        self._services = services
        self._stops = stops
        self._exits = exits
        self._settler = settler
        self._setup = setup
        self._settling: dict[str, Event] = {}
        deadline = services.settings.unprotected_deadline_seconds
        self._poll_ns = services.settings.protection_call_timeout_seconds * SECOND
        self._close_after_ns = deadline * SECOND - CLOSE_MARGIN_NS

    # ------------------------------------------------------------ the saga

    async def open(self, signal: Signal, plan: EntryPlan) -> Position | None:
        """Carry one entry to its end.

        Returns:
            The ACTIVE position; None where there is proof that nothing of it is left.
        """
        desk = self._services.desks[plan.venue]
        blocked = await self._setup.blocked(desk, plan.symbol)
        if blocked:
            self._drop(plan, blocked)
            return None
        position = self._services.book.create(self._first_row(signal, plan))
        orders = self._intents(position, plan)
        if not await self._make_durable(position, orders, plan):
            return None
        return await self.run(position, plan)

    async def run(self, position: Position, plan: EntryPlan) -> Position | None:
        """Send the children and go on to the stop."""
        desk = self._services.desks[position.venue]
        closed = "closed" if position.state is PositionState.ROLLBACK else ""
        reason = closed or self._too_late(desk, plan)
        if reason:
            self._never(position, reason)
            return None
        children = self._services.orders.of_position(position.id)
        unknown = await self._send(desk, position, children, plan)
        return await self.carry_on(position, children, unknown)

    async def carry_on(
        self, position: Position, children: list[TrackedOrder], unknown: list[TrackedOrder]
    ) -> Position | None:
        """From "sent" to ACTIVE or rolled back; recovery joins here after a crash."""
        runtime = self._services.runtime
        with runtime.shield():
            async with runtime.group() as group:
                for order in unknown:
                    group.spawn(self._settle(order), f"settle {order.client_order_id}")
                await self._after_send(position, children)
        return position if position.state in _CAME_TO_LIFE else None

    async def _after_send(
        self, position: Position, children: list[TrackedOrder]
    ) -> Position | None:
        if position.state is PositionState.PENDING_ENTRY:
            position.transition(PositionState.ENTRY_PLACED, "children sent")
            await self._services.commit_protect((position.row,))
        deadline_ns = self._services.runtime.now() + self._close_after_ns
        visible = await self._await_fill(position, children)
        filled_late = position.qty <= 0
        while position.qty <= 0 and not all(_ended(order) for order in children):
            await self._give_up(position, children)
            late = self._services.runtime.now() >= deadline_ns
            missing = any(order.executions_missing for order in children)
            if position.qty <= 0 and missing and late and _all_terminal(children):
                reason = "reported filled, and no execution is shown in time"
                await self._roll_back(position, children, reason)
                return None
        if position.qty <= 0:
            self._never(position, "nothing filled")
            return None
        if filled_late:  # the polls for visibility count from a fill
            visible = await self._await_fill(position, children)
        reason = self._unusable(position, visible=visible)
        if reason:
            await self._roll_back(position, children, reason)
            return None
        async with self._services.runtime.group() as group:
            if not _all_terminal(children):
                group.spawn(self._give_up(position, children), f"end children {position.id}")
            return await self.protect(position, children)
        return None

    async def protect(self, position: Position, children: list[TrackedOrder]) -> Position | None:
        """PENDING_SL: the stop, or the roll-back."""
        if position.state is PositionState.ENTRY_PLACED:
            position.transition(PositionState.PENDING_SL, "filled")
            await self._services.commit_protect((position.row,))
        confirmed = await self._stops.protect(position)
        confirmed = confirmed and position.state is not PositionState.ROLLBACK  # an operator's
        if confirmed and position.qty > 0:
            if position.state is PositionState.PENDING_SL:
                position.transition(PositionState.ACTIVE, "stop confirmed")
                await self._services.commit_protect((position.row,))
            return position
        if position.state.terminal:
            return None
        await self._roll_back(position, children, "the stop was not confirmed")
        return None

    # ------------------------------------------------------------ before sending

    def _first_row(self, signal: Signal, plan: EntryPlan) -> PositionRow:
        now = self._services.runtime.ts()
        return PositionRow(
            position_id=f"{plan.venue}:{plan.symbol}:{self._services.epoch}:{now // MS}",
            venue=plan.venue,
            symbol=plan.symbol,
            side=plan.side,
            state=PositionState.PENDING_ENTRY,
            wave_ns=plan.wave_ns,
            once_key=signal.once_key,
            intended_qty=plan.qty,
            opened_ns=now,
            updated_ns=now,
        )

    def _intents(self, position: Position, plan: EntryPlan) -> list[TrackedOrder]:
        orders = []
        for child, qty in enumerate(plan.children):
            row = OrderRow(
                venue=plan.venue,
                client_order_id=self._services.orders.new_id(position, Leg.ENTRY, child),
                symbol=plan.symbol,
                position_id=position.id,
                order_class=OrderClass.PLAIN,
                order_type=OrderType.MARKET,
                side=plan.side.entry_side,
                qty=qty,
                reduce_only=False,
                created_ns=self._services.runtime.ts(),
            )
            orders.append(self._services.orders.register(row))
        return orders

    async def _make_durable(
        self, position: Position, orders: list[TrackedOrder], plan: EntryPlan
    ) -> bool:
        rows: tuple[Row, ...] = (plan.claim, position.row, *(order.row for order in orders))
        try:
            claimed = await self._services.commit_entry(rows)
        except StoreError as error:
            self._never(position, f"the intent is not durable: {error}")
            return False
        if not claimed:
            self._never(position, "already tried")
        return claimed

    def _too_late(self, desk: VenueDesk, plan: EntryPlan) -> str:
        """Why what was not sent is not sent any more; "": it is."""
        if self._services.runtime.ts() > plan.expires_ns:
            return "signal expired before the entry was sent"
        if not desk.entries_allowed:
            return f"entries blocked: {', '.join(desk.block_reasons)}"
        return ""

    def _drop(self, plan: EntryPlan, reason: str) -> None:
        self._services.decide(
            "entry.dropped", reason, venue=plan.venue, symbol=plan.symbol, side=plan.side.value
        )

    def _never(self, position: Position, cause: str) -> None:
        """End a position of which there is proof that nothing was filled."""
        for order in self._services.orders.of_position(position.id):
            if not order.seen and not order.row.status.terminal:
                self._services.orders.conclude(order, OrderStatus.REJECTED, cause)
        position.update(close_reason=CloseReason.NEVER_FILLED.value)
        position.transition(PositionState.ROLLED_BACK, cause)
        self._services.persist((position.row,))

    # ------------------------------------------------------------ sending

    async def _send(
        self, desk: VenueDesk, position: Position, children: list[TrackedOrder], plan: EntryPlan
    ) -> list[TrackedOrder]:
        """Send every child; returns those whose outcome is unknown."""
        stop_loss = self._attached_stop(desk, position)
        unknown: list[TrackedOrder] = []
        for order in children:
            if order is not children[0] and self._too_late(desk, plan):
                self._services.orders.conclude(order, OrderStatus.REJECTED, "not sent")
                continue
            if not await self._send_one(desk, order, stop_loss):
                unknown.append(order)
        return unknown

    async def _send_one(self, desk: VenueDesk, order: TrackedOrder, stop_loss: Price) -> bool:
        """Send one child; False: the outcome is unknown."""
        services, row = self._services, order.row
        request = SubmitOrder(
            symbol=row.symbol,
            side=row.side,
            qty=row.qty,
            order_type=OrderType.MARKET,
            client_order_id=row.client_order_id,
            time_in_force=TimeInForce.GTC,
            stop_loss=stop_loss,
            stop_trigger_by=services.settings.stop_source,
        )
        services.decide(
            "order.submitted",
            "entry",
            venue=row.venue,
            symbol=row.symbol,
            position_id=row.position_id,
            client_order_id=row.client_order_id,
            side=row.side.value,
            qty=row.qty,
            stop_loss=stop_loss,
        )
        try:
            ack = await desk.gateway.submit(request, EffectClass.ENTRY)
        except DuplicateClientOrderId:
            return False  # an earlier send of this intent exists: look it up
        except (Rejected, NotSent, Throttled, Unauthorized) as error:
            if not order.seen:
                services.orders.conclude(
                    order, OrderStatus.REJECTED, f"{type(error).__name__} {error.code}"
                )
            return True
        except VenueError:
            return False
        services.orders.acked(order, ack.venue_order_id)
        return True

    def _attached_stop(self, desk: VenueDesk, position: Position) -> Price:
        """Bybit: the stop that rides with the entry, from the series that triggers it."""
        if not desk.traits.attached_entry_stop:
            return ZERO
        settings = self._services.settings
        market = self._services.prices.last(desk.name, position.symbol, settings.stop_source).price
        if not market:
            return ZERO
        return first_stop(
            desk.instruments[position.symbol],
            position.side,
            entry=market,
            market=market,
            percent=settings.stop_loss_percent,
        ).level

    async def _settle(self, order: TrackedOrder) -> None:
        """Settle an order once, whoever asks for it."""
        running = self._settling.get(order.client_order_id)
        if running is not None:
            await running.wait()
            return
        if order.terminal:
            return
        done = self._settling[order.client_order_id] = self._services.runtime.event()
        try:
            await self._settler.settle(order)
        finally:
            del self._settling[order.client_order_id]
            done.set()

    # ------------------------------------------------------------ fill and visibility

    async def _await_fill(self, position: Position, children: list[TrackedOrder]) -> bool:
        """Ten polls, each woken early by an event; True: the position is visible where it must be.

        Ends as soon as every child is terminal with all its executions.
        """
        desk = self._services.desks[position.venue]
        for number, wait_ns in enumerate(POLLS_NS):
            if self._complete(desk, position, children):
                return True
            await self._wait(position, wait_ns)
            if self._complete(desk, position, children):
                return True
            await self._poll(desk, position, children)
            if number >= POLLS_FOR_EXECUTIONS:
                self._infer(position, children)
            if number >= POLLS_FOR_CHILDREN and self._usable_now(desk, position):
                return True
        return self._complete(desk, position, children) or not desk.traits.position_needed_for_stop

    def _complete(self, desk: VenueDesk, position: Position, children: list[TrackedOrder]) -> bool:
        if not _all_terminal(children):
            return False
        if _reported(children) > position.row.filled_qty:
            return False
        if position.qty <= 0 or not desk.traits.position_needed_for_stop:
            return True
        return position.report is not None and position.report.qty >= position.qty

    def _usable_now(self, desk: VenueDesk, position: Position) -> bool:
        """Whether what is filled can be protected while the rest is still open."""
        if position.qty <= 0:
            return False
        report = position.report
        visible = report is not None and report.qty >= position.qty
        return visible or not desk.traits.position_needed_for_stop

    def _infer(self, position: Position, children: list[TrackedOrder]) -> None:
        """Protect what the reports say is filled; its executions come when they come."""
        qty = _reported(children)
        if qty <= position.row.filled_qty:
            return
        paid = sum((order.reported_qty * order.row.avg_price for order in children), ZERO)
        known = all(order.row.avg_price for order in children if order.reported_qty)
        market = self._services.prices.last(
            position.venue, position.symbol, self._services.settings.stop_source
        ).price
        price = paid / qty if known else market
        if price:
            position.infer(qty, canonical(price), "reported filled, executions are not shown")

    async def _wait(self, position: Position, wait_ns: int) -> None:
        runtime = self._services.runtime
        position.changed.clear()
        with runtime.scope() as scope:
            timer = runtime.call_at(MonoNs(runtime.now() + wait_ns), scope.cancel)
            await position.changed.wait()
            timer.cancel()

    async def _poll(
        self, desk: VenueDesk, position: Position, children: list[TrackedOrder]
    ) -> None:
        """Look every open question up at once; an answer that does not come is no answer."""
        async with self._services.runtime.group() as group:
            for order in children:
                name = order.client_order_id
                if not order.row.status.terminal:
                    group.spawn(self._query(desk, order), f"look up {name}")
                if not _ended(order):
                    group.spawn(self._executions(desk, order), f"executions of {name}")
            if position.qty > 0 and desk.traits.position_needed_for_stop:
                group.spawn(self._position(desk, position), f"position {position.id}")

    async def _query(self, desk: VenueDesk, order: TrackedOrder) -> None:
        row = order.row
        if row.client_order_id in self._settling:
            return  # it is looked up already
        surfaces = (OrderSurface.PLAIN, OrderSurface.HISTORY)
        for surface in surfaces if desk.traits.history_by_id else surfaces[:1]:
            request = QueryOrder(
                symbol=row.symbol,
                surface=surface,
                client_order_id=row.client_order_id,
                venue_order_id=row.venue_order_id,
            )
            try:
                report = await desk.gateway.ask(
                    request,
                    EffectClass.EXIT,
                    entity=row.client_order_id,
                    timeout_ns=self._poll_ns,
                )
            except UnknownOrder:
                continue
            except VenueError:
                return
            assert isinstance(report, OrderReport)
            self._services.orders.on_report(desk.name, report)
            return

    async def _executions(self, desk: VenueDesk, order: TrackedOrder) -> None:
        row = order.row
        request = QueryExecutions(
            symbol=row.symbol,
            client_order_id=row.client_order_id,
            venue_order_id=row.venue_order_id,
        )
        try:
            page = await desk.gateway.ask(
                request, EffectClass.EXIT, entity=row.client_order_id, timeout_ns=self._poll_ns
            )
        except VenueError:
            return
        assert isinstance(page, ExecutionPage)
        for fill in page.fills:
            self._services.orders.on_fill(desk.name, fill)

    async def _position(self, desk: VenueDesk, position: Position) -> None:
        request = QueryPositions(symbol=position.symbol)
        try:
            page = await desk.gateway.ask(
                request, EffectClass.EXIT, entity=position.symbol, timeout_ns=self._poll_ns
            )
        except VenueError:
            return
        assert isinstance(page, PositionPage)
        for report in page.positions:
            if report.symbol == position.symbol and report.side is position.side:
                position.hear(report)

    def _unusable(self, position: Position, *, visible: bool) -> str:
        """Why a filled position is not kept; "": it is."""
        row = position.row
        desk = self._services.desks[position.venue]
        minimum = self._services.settings.min_position_size_usd
        if position.state is PositionState.ROLLBACK:
            return "a close was asked for while it was entering"
        if not visible:
            return "not visible after ten polls although executions prove a fill"
        if row.filled_qty * 2 < row.intended_qty:
            return f"only {row.filled_qty} of {row.intended_qty} filled"
        if row.filled_qty < desk.instruments[position.symbol].min_qty:
            return f"filled {row.filled_qty} is below the venue's minimum"
        if _notional(row.filled_qty, row.entry_price) < minimum:
            return f"filled notional is below {minimum} USD"
        return ""

    # ------------------------------------------------------------ giving up and rolling back

    async def _give_up(self, position: Position, children: list[TrackedOrder]) -> None:
        """Nothing filled in ten polls: cancel what still works and wait for the proof."""
        desk = self._services.desks[position.venue]
        for order in children:
            if not _ended(order):
                await self._end_child(desk, order)

    async def _end_child(self, desk: VenueDesk, order: TrackedOrder) -> None:
        """Cancel one entry child and look until it is terminal: a cancel error is a question."""
        for wait_ns in CANCEL_RETRY_NS:
            if _ended(order):
                return
            if not order.row.status.terminal:
                await self._cancel(desk, order)
                await self._query(desk, order)
            if order.executions_missing:
                await self._executions(desk, order)
            if _ended(order):
                return
            await self._services.runtime.sleep(wait_ns)
        await self._settle(order)

    async def _cancel(self, desk: VenueDesk, order: TrackedOrder) -> None:
        request = CancelOrder(
            symbol=order.row.symbol,
            order_class=order.row.order_class,
            client_order_id=order.row.client_order_id,
            venue_order_id=order.row.venue_order_id,
        )
        try:
            await desk.gateway.ask(request, EffectClass.PROTECT, entity=order.row.client_order_id)
        except VenueError:
            return  # the look-up that follows tells

    async def _roll_back(
        self, position: Position, children: list[TrackedOrder], cause: str
    ) -> None:
        """Close what filled, prove it flat, end every child; not done before all of that."""
        services = self._services
        desk = services.desks[position.venue]
        if position.state is not PositionState.ROLLBACK:
            position.transition(PositionState.ROLLBACK, cause)
        services.alert(
            "CRITICAL",
            "rollback",
            f"entry rolled back: {cause}",
            venue=position.venue,
            symbol=position.symbol,
        )
        await services.commit_protect((position.row,))
        while True:
            ended = all(_ended(order) for order in children)
            flat = await self._exits.close(position, CloseReason.ROLLBACK, cause)
            if flat and ended:
                break  # nothing can fill after the proof
            for order in children:
                if not _ended(order):
                    await self._end_child(desk, order)
            if not flat:
                await services.runtime.sleep(SECOND)  # the ladder goes on; ask how it stands
        if not position.state.terminal:
            position.transition(PositionState.ROLLED_BACK, "proven flat")
        await services.commit_protect((position.row,))

    async def roll_back(self, position: Position, cause: str) -> None:
        """Roll back from wherever it stands (recovery)."""
        orders = self._services.orders.of_position(position.id)
        children = [order for order in orders if not order.row.reduce_only]
        with self._services.runtime.shield():
            await self._roll_back(position, children, cause)


def _ended(order: TrackedOrder) -> bool:
    """Nothing more can happen to it, and every execution that its reports tell of is booked."""
    return (order.terminal or not order.row.intent_open) and not order.executions_missing


def _reported(children: list[TrackedOrder]) -> Qty:
    return sum((order.reported_qty for order in children), ZERO)


def _all_terminal(children: list[TrackedOrder]) -> bool:
    return all(order.terminal or not order.row.intent_open for order in children)


def _notional(qty: Qty, price: Price) -> Decimal:
    return qty * price
