"""The entry saga: a position comes into being with its stop, or not at all (SPEC §3).

    PENDING_ENTRY → ENTRY_PLACED → PENDING_SL → ACTIVE;  on failure → ROLLBACK → ROLLED_BACK

1. Claim, position and every order intent are durable, in one commit, before anything is sent.
2. One intent has one client id for life. An unknown outcome is settled by evidence under that id;
   nothing is sent again, and the symbol stays taken until the proof is there.
3. Quantity and average entry come from executions, never from a request or an acknowledgement.
4. From the first known fill the stop owner's deadline runs, and what is filled is protected,
   whatever answers are still awaited (`kernel.trade.entry_protection`). Whatever fails after a fill
   ends in a reduce-only close that is verified flat; cancellation from outside does not interrupt.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from kernel.errors import StoreError
from kernel.model.orders import OrderStatus
from kernel.model.positions import CloseReason, PositionRow, PositionState
from kernel.model.units import MS, SECOND, Price, Qty
from kernel.trade.entry_fill import FillWatch
from kernel.trade.entry_orders import EntryOrders, all_terminal, ended
from kernel.trade.entry_protection import CLOSE_MARGIN_NS, Entering, EntryProtection

if TYPE_CHECKING:
    from kernel.model.rows import Row
    from kernel.model.signal import Signal
    from kernel.runtime.groups import TaskGroup
    from kernel.trade.book import Position
    from kernel.trade.entry_orders import Settler
    from kernel.trade.entry_plan import EntryPlan
    from kernel.trade.entry_protection import Stops
    from kernel.trade.services import Services
    from kernel.trade.symbol_setup import SymbolSetup
    from kernel.trade.tracked_order import TrackedOrder

_CAME_TO_LIFE = (PositionState.ACTIVE, PositionState.CLOSING, PositionState.CLOSED)
"""A position that was ACTIVE, whatever became of it since."""


class Closer(Protocol):
    """What the saga needs of the exit ladder."""

    async def close(self, position: Position, reason: CloseReason, cause: str) -> bool:
        """Close at market; True: proven flat."""
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
        self._exits = exits
        self._setup = setup
        self._orders = EntryOrders(services, settler)
        self._fills = FillWatch(services, self._orders)
        self._protection = EntryProtection(services, stops, self._fills)
        deadline = services.settings.unprotected_deadline_seconds
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
        orders = self._orders.register(position, plan)
        if not await self._make_durable(position, orders, plan):
            return None
        return await self.run(position, plan)

    async def run(self, position: Position, plan: EntryPlan) -> Position | None:
        """Send the children, and protect what fills while they are sent."""
        desk = self._services.desks[position.venue]
        reason = self._orders.too_late(desk, position, plan)
        if reason:
            self._never(position, reason)
            return None
        children = self._services.orders.of_position(position.id)
        entering = Entering(self._services.runtime, position, children)
        runtime = self._services.runtime
        with runtime.shield():
            async with runtime.group() as group:
                group.spawn(self._send(entering, plan, group), f"send {position.id}")
                await self._carry(entering, group)
        return position if position.state in _CAME_TO_LIFE else None

    async def carry_on(
        self, position: Position, children: list[TrackedOrder], unknown: list[TrackedOrder]
    ) -> Position | None:
        """From "sent" to ACTIVE or rolled back, after a crash."""
        runtime = self._services.runtime
        entering = Entering(runtime, position, children)
        entering.sent.set()
        with runtime.shield():
            async with runtime.group() as group:
                self._settle(unknown, group)
                await self._carry(entering, group)
        return position if position.state in _CAME_TO_LIFE else None

    async def _send(self, entering: Entering, plan: EntryPlan, group: TaskGroup) -> None:
        position, desk = entering.position, self._services.desks[entering.position.venue]
        unknown = await self._orders.send(desk, position, entering.children, plan)
        entering.sent.set()
        position.changed.set()
        self._settle(unknown, group)

    def _settle(self, unknown: list[TrackedOrder], group: TaskGroup) -> None:
        for order in unknown:
            group.spawn(self._orders.settle(order), f"settle {order.client_order_id}")

    async def _carry(self, entering: Entering, group: TaskGroup) -> None:
        """Follow the children to their end, and protect what fills of them meanwhile."""
        position = entering.position
        group.spawn(self._protect(entering), f"protect {position.id}")
        while entering.lives and not entering.answered:
            position.changed.clear()
            await position.changed.wait()
        if entering.lives:
            await self._follow(entering)

    async def _protect(self, entering: Entering) -> None:
        cause = await self._protection.see_through(entering)
        if cause:
            await self._roll_back(entering, cause)

    async def _follow(self, entering: Entering) -> None:
        """See what fills of the children, and judge whether it is kept."""
        position, children = entering.position, entering.children
        entering.polled = True
        if position.state is PositionState.PENDING_ENTRY:
            position.transition(PositionState.ENTRY_PLACED, "children sent")
            self._services.persist((position.row,))  # the next act makes it durable with itself
        deadline_ns = self._services.runtime.now() + self._close_after_ns
        visible = await self._fills.wait(position, children)
        filled_late = not position.row.filled_qty
        while not position.row.filled_qty and not all(ended(order) for order in children):
            await self._orders.give_up(children)
            late = self._services.runtime.now() >= deadline_ns
            missing = any(order.executions_missing for order in children)
            if not position.row.filled_qty and missing and late and all_terminal(children):
                entering.judge("reported filled, and no execution is shown in time")
                return
        if not entering.lives:
            return
        if position.state is PositionState.PENDING_SL and not position.row.filled_qty:
            entering.judge("stored as filled, and no execution of it is known")
            return
        if not position.row.filled_qty:
            self._never(position, "nothing filled")
            return
        if filled_late:  # the polls for visibility count from a fill
            visible = await self._fills.wait(position, children)
        entering.judge(self._unusable(position, visible=visible))
        if not entering.refused:  # a roll-back ends them itself
            await self._orders.give_up(children)

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
        )

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

    def _unusable(self, position: Position, *, visible: bool) -> str:
        """Why a filled position is not kept; "": it is."""
        row = position.row
        desk = self._services.desks[position.venue]
        minimum = self._services.settings.min_position_size_usd
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

    async def _roll_back(self, entering: Entering, cause: str) -> None:
        """Close what filled, prove it flat, end every child; not done before all of that.

        What fills of the children while they are being ended is closed at once.
        """
        services, position = self._services, entering.position
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
        async with services.runtime.group() as group:
            group.spawn(self._end_children(entering), f"end children {position.id}")
            flat = False
            while True:
                position.changed.clear()
                all_ended = all(ended(order) for order in entering.children)
                if flat and position.qty <= 0 and not all_ended:
                    await position.changed.wait()
                    continue
                flat = await self._exits.close(position, CloseReason.ROLLBACK, cause)
                if flat and all_ended:
                    break  # nothing can fill after the proof
                if not flat:
                    await services.runtime.sleep(SECOND)  # the ladder goes on; ask how it stands
        if not position.state.terminal:
            position.transition(PositionState.ROLLED_BACK, "proven flat")
        await services.commit_protect((position.row,))

    async def _end_children(self, entering: Entering) -> None:
        """Cancel and look up what is open, once nothing more is sent."""
        await entering.sent.wait()
        while not all(ended(order) for order in entering.children):
            await self._orders.give_up(entering.children)
            entering.position.changed.set()

    async def roll_back(self, position: Position, cause: str) -> None:
        """Roll back from wherever it stands (recovery)."""
        orders = self._services.orders.of_position(position.id)
        children = [order for order in orders if not order.row.reduce_only]
        entering = Entering(self._services.runtime, position, children)
        entering.sent.set()
        with self._services.runtime.shield():
            await self._roll_back(entering, cause)


def _notional(qty: Qty, price: Price) -> Decimal:
    return qty * price
