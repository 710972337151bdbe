"""Start after a crash: the venue's positions are protected first, then every story is ended.

Order (SPEC §3 "Start"):

1. The stored rows become working objects again.
2. First act, before streams and signals, concurrently for each symbol: list the venue's positions
   (all pages) and make sure of a stop for each.
3. Every position stored in PENDING_ENTRY, ENTRY_PLACED, PENDING_SL, ROLLBACK or CLOSING goes on
   from there by its client ids; an open intent is settled by evidence, never sent again.
4. What cannot be resolved in `MAX_RECOVERY_ATTEMPTS` tries freezes its symbol, loudly, and is
   tried again at each sync.

Nothing is concluded from a failed read, and nothing is cancelled by absence (hazards R03).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.orders import Fill, FillKind, PositionReport
from kernel.model.positions import ENTERING, CloseReason, PositionState
from kernel.model.units import SECOND, MonoNs
from kernel.trade import evidence
from kernel.trade.router import describe

if TYPE_CHECKING:
    from kernel.model.rows import FillRow, StoredState
    from kernel.sync.adoption import Adoption
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.entry import Entries
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner
    from kernel.trade.tracked_order import TrackedOrder

RETRY_NS = (SECOND // 5, SECOND // 2, SECOND, 2 * SECOND)
FROZEN = "recovery failed"
AGAIN_NS = 120 * SECOND
"""Until a frozen symbol is tried again where there is no periodic sync."""


class Recovery:
    """Brings a kernel from its store and its venues back to where it can go on."""

    def __init__(
        self,
        services: Services,
        *,
        entries: Entries,
        stops: StopOwner,
        exits: Exits,
        adoption: Adoption,
    ) -> None:
        self._services = services
        self._entries = entries
        self._stops = stops
        self._exits = exits
        self._adoption = adoption

    # ------------------------------------------------------------ rows → objects

    def load(self, state: StoredState) -> None:
        """Make the working objects of everything that was not finished."""
        services = self._services
        services.epoch = services.orders.epoch = state.epoch
        fills: dict[str, list[Fill]] = {}
        for row in state.fills:
            fills.setdefault(row.position_id, []).append(fill_of(row))
        for position_row in state.positions:
            made = services.book.create(position_row, fills.get(position_row.position_id, ()))
            made.stored = True
        for order_row in state.orders:
            order = services.orders.register(order_row)
            for fill in fills.get(order_row.position_id, ()):
                if fill.client_order_id == order_row.client_order_id:
                    order.fills[fill.trade_id] = fill
        services.decide(
            "recovery.loaded",
            "start",
            epoch=state.epoch,
            positions=len(state.positions),
            orders=len(state.orders),
        )

    # ------------------------------------------------------------ the first act

    async def protect_venue(self, desk: VenueDesk) -> None:
        """Make sure of a stop for each position of a venue, and resolve what is stored of it.

        Returns when every symbol is protected or was handed to a task that goes on.
        """
        services = self._services
        reports = await self._positions(desk)
        shown = {(one.symbol, one.hedge_leg): one for one in reports if one.qty}
        tasks = []
        for position in services.book.on_venue(desk.name):
            report = shown.pop((position.symbol, position.leg), None)
            if position.state is PositionState.ACTIVE:
                secure = partial(self._secure, position, report)
                tasks.append(
                    services.supervise(f"secure {position.id}", secure, position=position)
                )
            else:
                self.resume(position, report)
        for report in shown.values():
            take = partial(self._take, desk.name, report)
            tasks.append(services.supervise(f"take {desk.name} {report.symbol}", take))
        self._take_up_orders(desk)
        for task in tasks:  # one that fails holds up no other
            await task.wait()

    def _take_up_orders(self, desk: VenueDesk) -> None:
        """Orders that outlived their saga or their position: each is settled, and ended."""
        services = self._services
        left_behind: dict[str, None] = {}
        for order in services.orders.open_orders(desk.name):
            position = services.book.by_id(order.row.position_id)
            over = position is None or position.state.terminal
            if not order.row.position_id:
                services.cancels.take(order)
            elif order.row.reduce_only:
                if over:
                    left_behind[order.row.position_id] = None
            elif over or (position is not None and position.state is PositionState.ACTIVE):
                settle = partial(self._exits.settler.settle, order)
                services.supervise(f"settle {order.client_order_id}", settle)
        for position_id in left_behind:
            self._exits.sweep(position_id)

    async def _positions(self, desk: VenueDesk) -> tuple[PositionReport, ...]:
        """The venue's positions; asked until an answer comes, for a start cannot do without."""
        failures = 0
        while True:
            try:
                reports = await desk.gateway.positions("")
            except VenueError as error:
                failures += 1
                if failures == self._services.settings.max_recovery_attempts:
                    self._services.alert(
                        "CRITICAL",
                        "recovery.blind",
                        f"the venue's positions cannot be read at start: {error}",
                        venue=desk.name,
                    )
                await self._services.runtime.sleep(RETRY_NS[min(failures, len(RETRY_NS)) - 1])
                continue
            for report in reports:
                desk.hear_position(report)
            return reports

    async def _take(self, venue: str, report: PositionReport) -> None:
        if not self._services.lease.protect_only:
            await self._adoption.guard(venue, report, "found at start")

    async def _secure(self, position: Position, report: PositionReport | None) -> None:
        """An ACTIVE position: its stop first, then what happened while nobody looked."""
        if report is not None:
            position.hear(report)
        for attempt in range(self._services.settings.max_recovery_attempts):
            try:
                await evidence.read_executions(self._services, position)
            except VenueError:
                if report is not None:  # the venue shows it: its stop first
                    await self._stops.ensure(position, "start")
                await self._services.runtime.sleep(RETRY_NS[min(attempt, len(RETRY_NS) - 1)])
                continue
            break
        if position.qty > 0:
            await self._stops.ensure(position, "start")
        else:
            await self._exits.close(position, CloseReason.STOP_LOSS, "closed while not running")

    # ------------------------------------------------------------ the stories that go on

    def resume(self, position: Position, report: PositionReport | None = None) -> None:
        """Go on with a position whose story was interrupted, by a crash of its task or of us."""
        if report is not None:
            position.hear(report)
            self._believe(position, report)
        self._services.runtime.supervise(
            lambda: self._resolve(position),
            f"recover {position.id}",
            on_failure=lambda _name, error, n: self._failed(position, error, n),
            max_restarts=self._services.settings.max_recovery_attempts,
        )

    def _believe(self, position: Position, report: PositionReport) -> None:
        """What the venue shows of an entry is protected before its executions can be read."""
        if position.state in ENTERING and report.side is position.side:
            qty = min(report.qty, position.row.intended_qty or report.qty)
            if qty > position.row.filled_qty and report.entry_price:
                position.infer(qty, report.entry_price, "the venue shows the position")

    async def _resolve(self, position: Position) -> None:
        """Go on from the stored state."""
        children = entry_children(self._services, position)
        state = position.state
        self._services.decide(
            "recovery.resume",
            state.value,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            qty=position.qty,
        )
        unknown = [order for order in children if not order.terminal]
        if state in (PositionState.PENDING_ENTRY, PositionState.ENTRY_PLACED):
            await self._entries.carry_on(position, children, unknown)
        elif state is PositionState.PENDING_SL:
            await self._read_executions(position)
            if children:
                await self._entries.carry_on(position, children, unknown)
            else:  # it was found on the venue: no entry of ours is to be judged
                await self._adoption.protect(position)
        elif state is PositionState.ROLLBACK:
            await self._entries.roll_back(position, "resumed after start")
        elif state is PositionState.CLOSING:
            await self._exits.close(position, CloseReason.EXTERNAL, "resumed after start")

    async def _read_executions(self, position: Position) -> None:
        """What happened meanwhile; a fill that is known is protected without it all the same."""
        try:
            await evidence.read_executions(self._services, position)
        except VenueError:
            if position.qty <= 0:
                raise

    def _failed(self, position: Position, error: BaseException, failures: int) -> None:
        self._services.decide(
            "recovery.failed",
            describe(error),
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            failures=failures,
        )
        if failures > self._services.settings.max_recovery_attempts:
            position.frozen = FROZEN
            self._services.alert(
                "CRITICAL",
                "recovery.frozen",
                f"{position.symbol} is not resolved after {failures} tries: {describe(error)}",
                venue=position.venue,
                symbol=position.symbol,
            )
            interval_ns = self._services.settings.sync_interval_seconds * SECOND or AGAIN_NS
            due = MonoNs(self._services.runtime.now() + interval_ns)
            self._services.runtime.call_at(due, lambda: self._again(position))

    def _again(self, position: Position) -> None:
        """A frozen symbol is tried again at each sync."""
        if position.frozen == FROZEN and not position.state.terminal:
            position.frozen = ""
            self.resume(position)


def entry_children(services: Services, position: Position) -> list[TrackedOrder]:
    """The entry orders of a position."""
    return [
        order
        for order in services.orders.of_position(position.id)
        if not order.row.reduce_only
    ]


def fill_of(row: FillRow) -> Fill:
    """A stored execution as the venue's message said it."""
    return Fill(
        symbol=row.symbol,
        trade_id=row.trade_id,
        venue_order_id=row.venue_order_id,
        client_order_id=row.client_order_id,
        side=row.side,
        qty=row.qty,
        price=row.price,
        fee=row.fee,
        realized_pnl=row.realized_pnl,
        kind=FillKind(row.kind),
        ts_ns=row.ts_ns,
    )
