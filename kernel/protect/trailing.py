"""The trailing stop: activation, ratchet, timing (SPEC §5). It asks the stop owner to tighten.

1. INACTIVE until the position is ACTIVE under a confirmed stop, WAITING until the activation
   price, then ACTIVE: the stop follows the best price since, as the rule of `TRAILING_STRATEGY`
   wants (`kernel.protect.trailing_rules`); all else is the same for every rule.
2. The level only tightens. An update needs the minimum interval since the last confirmation and
   the minimum improvement over the confirmed stop; an improvement of the emergency size, and the
   first stop at activation, go at once.
3. Nothing is polled. One watch stands at the price at which the next act is due, and one timer at
   the time at which a suppressed improvement may go; the best price between is looked up.
4. Where the market is through the level that is due: `TRAILING_ON_PASSED` = close | hold.
5. State is stored at every change and goes on from there after a start, with the best price of
   the whole candles since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.positions import CloseReason, PositionState, TrailingState
from kernel.model.rows import TrailingRow
from kernel.model.units import MINUTE, SECOND, ZERO, MonoNs, Price, TsNs, text
from kernel.protect.trailing_reads import hour_of, missed_best, next_hour_ns, read_atr
from kernel.protect.trailing_rules import TrailView, rule_of
from kernel.trade import evidence, stop_levels

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from kernel.model.instrument import Instrument
    from kernel.model.messages import PriceRead
    from kernel.runtime.primitives import Event
    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner
    from kernel.trade.watches import Watch

RETRY_NS = (5 * SECOND, 10 * SECOND, 20 * SECOND, 40 * SECOND, 60 * SECOND)
"""Pauses after failed updates; the last one repeats."""
STUCK_NS = 5 * MINUTE
"""An update that is due for so long and does not succeed is told (SPEC §5)."""
HOLD_NS = 60 * SECOND


class _Trail:
    """The trailing of one position while it runs."""

    __slots__ = (
        "atr", "atr_hour", "best", "due_since_ns", "failures", "first", "looked_ns", "seen_ts_ns",
        "wake",
    )  # fmt: skip

    def __init__(self, wake: Event) -> None:
        self.wake = wake
        self.atr: Decimal = ZERO
        self.atr_hour = 0
        self.best: Price = ZERO
        self.seen_ts_ns = TsNs(0)
        """When the newest price that was looked at was made; later ones may be on their way."""
        self.looked_ns = TsNs(0)
        """When it was looked."""
        self.first = False
        """Just activated: the first level goes at once."""
        self.failures = 0
        self.due_since_ns: MonoNs | None = None


class Trailing:
    """Trails the stops of all positions of ours."""

    def __init__(self, services: Services, stops: StopOwner, exits: Exits) -> None:
        self._services = services
        self._stops = stops
        self._exits = exits
        self._rule = rule_of(services.settings)
        self._trails: dict[str, _Trail] = {}
        self._stored: dict[str, TrailingRow] = {}
        stops.on_kept = self.start
        stops.on_released = self.stop

    # ------------------------------------------------------------ life

    def restore(self, rows: Iterable[TrailingRow]) -> None:
        """Remember the stored states; each goes on when its position is kept again."""
        for row in rows:
            self._stored[row.position_id] = row

    def start(self, position: Position) -> None:
        """Begin to trail a position of ours; a foreign one is only protected."""
        if position.id in self._trails or not position.ours:
            return
        trail = _Trail(self._services.runtime.event())
        self._trails[position.id] = trail
        self._services.supervise(
            f"trail {position.id}", lambda: self._run(position, trail), position=position
        )

    def stop(self, position: Position) -> None:
        """The position ended."""
        trail = self._trails.pop(position.id, None)
        if trail is None:
            return
        trail.wake.set()
        if position.row.trailing is not TrailingState.INACTIVE:
            self._move(position, TrailingState.TRIGGERED, trail, position.row.close_reason)

    async def _run(self, position: Position, trail: _Trail) -> None:
        while position.state is not PositionState.ACTIVE:
            position.changed.clear()
            if position.state.terminal:
                return
            await position.changed.wait()
        self._begin(position, trail)
        while position.id in self._trails:
            trail.wake.clear()
            if position.row.trailing is TrailingState.WAITING:
                await self._wait_for_activation(position, trail)
            else:
                await self._trail(position, trail)

    def _begin(self, position: Position, trail: _Trail) -> None:
        """Go on from the stored state, or begin to wait."""
        stored = self._stored.pop(position.id, None)
        trail.seen_ts_ns = trail.looked_ns = self._services.runtime.ts()
        if position.row.trailing is TrailingState.INACTIVE:
            self._move(position, TrailingState.WAITING, trail, "the stop is confirmed")
        elif position.row.trailing is TrailingState.ACTIVE:
            trail.best = trail.best or position.row.best_price
            if stored is not None:
                self._catch_up(position, trail, stored.updated_ns)

    def _catch_up(self, position: Position, trail: _Trail, stored_ns: TsNs) -> None:
        """Take the best price that was missed while no process ran."""
        services, source = self._services, self._services.settings.stop_source
        trail.best = missed_best(services, position, stored_ns, trail.best)
        last = services.prices.last(position.venue, position.symbol, source)
        trail.seen_ts_ns = last.ts_ns or trail.seen_ts_ns
        if stop_levels.is_better(position.side, last.price, trail.best):
            trail.best = last.price

    # ------------------------------------------------------------ waiting

    async def _wait_for_activation(self, position: Position, trail: _Trail) -> None:
        entry, side = position.row.entry_price, position.side
        activation = self._rule.activation(side, entry)
        price = self._price(position)
        best = self._best_since(position, trail)
        if stop_levels.is_better(side, best, price):
            price = best
        if price and stop_levels.reaches(side, price, activation):
            self._activate(position, trail, price)
            return
        target = activation
        breakeven = self._breakeven_trigger(position)
        pause_ns: int | None = None
        if breakeven is not None:
            if price and stop_levels.reaches(side, price, breakeven):
                level = stop_levels.tighter_side(self._instrument(position), side, entry)
                if await self._stops.tighten(position, level, "breakeven"):
                    return
                pause_ns = self._pause(trail)
            else:
                target = breakeven
        await self._sleep(position, trail, target=target, pause_ns=pause_ns)

    def _breakeven_trigger(self, position: Position) -> Decimal | None:
        """The price of the breakeven move; None: switched off, or done."""
        percent = self._services.settings.trailing_breakeven_percent
        entry = position.row.entry_price
        level = stop_levels.tighter_side(self._instrument(position), position.side, entry)
        done = not stop_levels.is_tighter(position.side, level, position.row.protected_level)
        if percent is None or done:
            return None
        return stop_levels.profit_price(position.side, entry=entry, percent=percent)

    def _activate(self, position: Position, trail: _Trail, price: Price) -> None:
        trail.best = price
        trail.first = True
        trail.failures = 0
        self._services.decide(
            "trailing.activated",
            "activation price reached",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            price=text(price),
            entry=text(position.row.entry_price),
        )
        self._move(position, TrailingState.ACTIVE, trail, "activation price reached")

    # ------------------------------------------------------------ trailing

    async def _trail(self, position: Position, trail: _Trail) -> None:
        """Do what is due, or sleep until the next act may be due."""
        services, settings = self._services, self._services.settings
        best = self._best_since(position, trail)
        if stop_levels.is_better(position.side, best, trail.best):
            trail.best = best
        instrument, side = self._instrument(position), position.side
        confirmed = position.row.protected_level
        view = TrailView(
            instrument=instrument,
            side=side,
            entry=position.row.entry_price,
            best=trail.best,
            atr=self._atr(position, trail),
        )
        level = self._rule.level(view)

        interval_ns = settings.trailing_min_update_interval_seconds * SECOND
        allowed_ns = (position.stops.confirmed_ns or 0) + interval_ns
        early = services.runtime.now() < allowed_ns
        percent = settings.trailing_emergency_improvement_percent
        if not early:
            percent = min(percent, settings.trailing_min_improvement_percent)
        next_level = stop_levels.improved_level(instrument, side, old=confirmed, percent=percent)
        due = not stop_levels.is_tighter(side, next_level, level)
        if trail.first:
            trail.first = False
            due = stop_levels.is_tighter(side, level, confirmed)
        if due:
            await self._update(position, trail, level)
            return
        trail.due_since_ns = None
        target = self._rule.best_for(view, next_level) or None
        pause_ns = allowed_ns - services.runtime.now() if early else None
        if self._rule.needs_atr:
            hour_ns = next_hour_ns(services.runtime.ts())
            pause_ns = hour_ns if pause_ns is None else min(hour_ns, pause_ns)
        await self._sleep(position, trail, target=target, pause_ns=pause_ns)

    def _atr(self, position: Position, trail: _Trail) -> Decimal:
        """The average true range, read once an hour; ZERO: not needed, or not known yet."""
        hour = hour_of(self._services.runtime.ts())
        if self._rule.needs_atr and hour != trail.atr_hour:
            trail.atr_hour, trail.atr = hour, read_atr(self._services, position)
        return trail.atr

    async def _update(self, position: Position, trail: _Trail, level: Price) -> None:
        """Send the level that is due."""
        runtime = self._services.runtime
        if trail.due_since_ns is None:
            trail.due_since_ns = runtime.now()
        price = self._price(position)
        if stop_levels.is_through(position.side, level, price):
            await self._passed(position, trail, level, price)
            return
        if await self._stops.tighten(position, level, "trailing"):
            trail.failures = 0
            trail.due_since_ns = None
            self._services.decide(
                "trailing.moved",
                "trailing",
                venue=position.venue,
                symbol=position.symbol,
                position_id=position.id,
                best=text(trail.best),
                level=text(level),
            )
            self._store(position, trail)
            return
        await self._told_if_stuck(position, trail)
        await self._sleep(position, trail, target=None, pause_ns=self._pause(trail))

    async def _passed(self, position: Position, trail: _Trail, level: Price, price: Price) -> None:
        """The market is through the level that should have been set."""
        policy = self._services.settings.trailing_on_passed
        self._services.decide(
            "trailing.passed",
            policy,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            level=text(level),
            price=text(price),
        )
        if policy == "close":
            cause = f"{text(price)} is through the trailing level {text(level)}"
            await self._exits.close(position, CloseReason.TRAILING_STOP, cause)
        await self._sleep(position, trail, target=None, pause_ns=HOLD_NS)

    async def _told_if_stuck(self, position: Position, trail: _Trail) -> None:
        """The owner's fallback: hold and verify the protected level."""
        runtime = self._services.runtime
        if trail.due_since_ns is None or runtime.now() - trail.due_since_ns < STUCK_NS:
            return
        trail.due_since_ns = runtime.now()
        self._services.alert(
            "WARNING",
            "trailing.stuck",
            "the trailing stop should have moved for 5 minutes: the protected level holds",
            venue=position.venue,
            symbol=position.symbol,
        )
        await self._stops.ensure(position, "trailing is stuck")

    # ------------------------------------------------------------ looking and sleeping

    def _best_since(self, position: Position, trail: _Trail) -> Price:
        """The best price since the last look, as far as the feed knows; ZERO: none."""
        services = self._services
        now_ts = services.runtime.ts()
        if now_ts <= trail.looked_ns:
            return ZERO
        trail.looked_ns = now_ts
        seen = services.prices.extremes(
            position.venue, position.symbol, services.settings.stop_source, trail.seen_ts_ns
        )
        trail.seen_ts_ns = max(trail.seen_ts_ns, seen.ts_ns)
        return seen.high if position.side.sign > 0 else seen.low

    def _price(self, position: Position) -> Price:
        services = self._services
        source = services.settings.stop_source
        return services.prices.last(position.venue, position.symbol, source).price

    async def _sleep(
        self, position: Position, trail: _Trail, *, target: Decimal | None, pause_ns: int | None
    ) -> None:
        """Sleep until the price is at the target, the time has come, or the position ended."""
        watch = None if target is None else self._watch(position, trail, target)
        try:
            if pause_ns is None:
                await trail.wake.wait()
            else:
                runtime = self._services.runtime
                await evidence.wait_until(runtime, trail.wake, runtime.now() + pause_ns)
        finally:
            if watch is not None:
                watch.clear()

    def _watch(self, position: Position, trail: _Trail, target: Decimal) -> Watch:
        services, instrument = self._services, self._instrument(position)
        source, up = services.settings.stop_source, position.side.sign > 0

        def reached(price: PriceRead) -> None:
            if stop_levels.is_better(position.side, price.price, trail.best) and trail.best:
                trail.best = price.price
            trail.wake.set()

        return services.watches.set(
            position.venue,
            position.symbol,
            source,
            reached,
            at_or_above=instrument.price_up(target) if up else None,
            at_or_below=None if up else instrument.price_down(target),
            purpose="trailing",
        )

    def _pause(self, trail: _Trail) -> int:
        trail.failures += 1
        return RETRY_NS[min(trail.failures, len(RETRY_NS)) - 1]

    # ------------------------------------------------------------ books

    def _move(self, position: Position, state: TrailingState, trail: _Trail, cause: str) -> None:
        self._services.decide(
            "trailing.state",
            cause or "ended",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            before=position.row.trailing.value,
            after=state.value,
        )
        position.update(trailing=state)
        self._store(position, trail)

    def _store(self, position: Position, trail: _Trail) -> None:
        services = self._services
        position.update(best_price=trail.best)
        activation = self._rule.activation(position.side, position.row.entry_price)
        now = services.runtime.ts()
        services.persist(
            (
                position.row,
                TrailingRow(
                    position_id=position.id,
                    state=position.row.trailing,
                    activation_price=activation,
                    best_price=trail.best,
                    confirmed_stop=position.row.protected_level,
                    last_update_ns=now,
                    updated_ns=now,
                ),
            )
        )

    def _instrument(self, position: Position) -> Instrument:
        return self._services.desks[position.venue].instruments[position.symbol]
