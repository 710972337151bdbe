"""The position guard: how healthy each position is, and what is done where it is not (SPEC §8).

1. Each position of ours that is ACTIVE is evaluated every `GUARD_INTERVAL_SECONDS`. An input that
   is missing or older than two minutes: no verdict and no act, and that is told once until there
   is a verdict again. The best price since the entry is the best of these looks and of the closed
   candles between them.
2. A level holds for two evaluations before it counts. Reaching it is told; whether something is
   done is `GUARD_ACTIONS`. What is done is done once a position and level, across restarts too;
   a close is announced by the state of the position alone, so that none is lost in a crash, and a
   half-close is recorded with its order: one that is proven never placed was not done.
3. The guard owns no order: it asks the stop owner to tighten and `Exits` to reduce or close.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from kernel.model.orders import OrderClass, OrderType
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import DAY, HOUR, MINUTE, SECOND, ZERO, Price, Qty, TsNs, text
from kernel.protect.health_score import (
    Concern,
    ConcernLevel,
    Health,
    HealthInputs,
    HealthRules,
    concern_at,
    evaluate,
)
from kernel.protect.volatility import INTERVAL_NS, Volatility, candles_since
from kernel.trade import stop_levels
from kernel.trade.sizing import spread_percent

if TYPE_CHECKING:
    from kernel.model.instrument import Instrument
    from kernel.model.messages import QuoteRead
    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner
    from kernel.trade.tracked_order import TrackedOrder

FRESH_NS = 2 * MINUTE
"""What is older says nothing about now."""
QUOTE_KEPT_NS = 75 * SECOND
"""A quote as young as this is used again while the level stays; a change of it asks anew."""
FAILURES = 3
"""So many errors about one position; then it is guarded no more."""
_TENTH = Decimal("0.1")


class _Guarded:
    """What the guard remembers of one position."""

    __slots__ = ("acting", "best", "blind", "failures", "level", "seen_ns")

    def __init__(self, level: Concern) -> None:
        self.level = ConcernLevel(level)
        self.best: Price = ZERO
        self.seen_ns = TsNs(0)
        """The candles that closed until then are in `best`."""
        self.blind = ""
        self.acting = False
        self.failures = 0


class _Market:
    """What the guard knows of one market, for the positions on it and for the next one."""

    __slots__ = ("quote", "spread", "volatility")

    def __init__(self) -> None:
        self.volatility = Volatility()
        self.quote: QuoteRead | None = None
        self.spread: Decimal | None = None


class Guard:
    """Evaluates every position of ours; acts where it is told to."""

    def __init__(self, services: Services, stops: StopOwner, exits: Exits) -> None:
        settings = services.settings
        self._services = services
        self._stops = stops
        self._exits = exits
        self._source = settings.stop_source
        self._acts = tuple(Concern[name.upper()] for name in settings.guard_actions)
        hours = settings.max_position_age_hours + settings.aged_grace_period_hours
        self._rules = HealthRules(
            stop_percent=settings.stop_loss_percent,
            activation_percent=settings.trailing_activation_percent,
            max_spread_percent=settings.max_spread_percent,
            lifetime_ns=int(hours * HOUR),
        )
        self._looked_at: list[Position] = []
        self._guarded: dict[str, _Guarded] = {}
        self._markets: dict[tuple[str, str], _Market] = {}

    async def run(self) -> None:
        """Evaluate for ever; supervised. Returns at once where the guard is switched off."""
        settings, runtime = self._services.settings, self._services.runtime
        if not settings.guard_enabled:
            return
        period_ns = settings.guard_interval_seconds * SECOND
        while True:
            self._stops.kept.clear()
            if not self._watched():
                await self._stops.kept.wait()
            ticker = runtime.ticker(period_ns)
            while watched := self._watched():
                await ticker.next()
                self._round(watched)

    def _watched(self) -> list[Position]:
        """Positions of ours under a stop."""
        desks = self._services.desks
        return [one for venue in desks for one in self._stops.watched(venue) if one.ours]

    def _round(self, watched: list[Position]) -> None:
        if watched != self._looked_at:
            self._looked_at = watched
            self._forget_others(watched)
        for position in watched:
            if self._is_due(position):
                guarded = self._guarded.get(position.id) or self._begin(position)
                if guarded.failures <= FAILURES:
                    self._look_safely(position, guarded)

    def _look_safely(self, position: Position, guarded: _Guarded) -> None:
        """An error about one position is told, and ends the guard of no other."""
        try:
            self._look(position, guarded)
        except Exception as error:  # noqa: BLE001 - the failure domain of one position
            guarded.failures += 1
            self._services.on_crash(f"guard {position.id}", error, guarded.failures, position)

    def _begin(self, position: Position) -> _Guarded:
        guarded = _Guarded(max(_acted(position), default=Concern.LOW))
        self._guarded[position.id] = guarded
        if Concern.HIGH in _acted(position):
            self._settle_half(position)
        return guarded

    def _settle_half(self, position: Position) -> None:
        """Prove what became of a half-close whose outcome is open; what never left is undone."""
        if any(order.row.intent_open for order in self._halves(position)):
            self._services.supervise(
                f"settle half {position.id}", partial(self._resolve, position), position=position
            )

    async def _resolve(self, position: Position) -> None:
        for order in self._halves(position):
            if order.row.intent_open:
                await self._exits.settler.settle(order)
        if position.state.terminal or any(order.seen for order in self._halves(position)):
            return
        rest = [one.name for one in _acted(position) if one is not Concern.HIGH]
        position.update(guard_acted=",".join(rest))
        self._services.persist((position.row,))
        self._decide("guard.undone", "its half-close was never placed", position)

    def _halves(self, position: Position) -> list[TrackedOrder]:
        """The orders that closed a part at market, or were meant to."""
        return [
            order
            for order in self._services.orders.of_position(position.id)
            if order.row.reduce_only
            and order.row.order_class is OrderClass.PLAIN
            and order.row.order_type is OrderType.MARKET
        ]

    def _forget_others(self, watched: list[Position]) -> None:
        """Keep nothing of positions that ended, and no market whose candles are all too old."""
        kept = {position.id: None for position in watched}
        for position_id in [one for one in self._guarded if one not in kept]:
            del self._guarded[position_id]
        oldest_ns = self._services.runtime.ts() - DAY
        markets = self._markets
        for place in [one for one in markets if markets[one].volatility.closed_ns < oldest_ns]:
            del markets[place]

    def _is_due(self, position: Position) -> bool:
        """Whether there is something to look at: neither flat by executions nor being closed."""
        active = position.state is PositionState.ACTIVE and position.qty > 0
        return active and not self._exits.in_progress(position)

    # ------------------------------------------------------------ looking

    def _look(self, position: Position, guarded: _Guarded) -> None:
        health = self._health(position, guarded, quote_age_ns=QUOTE_KEPT_NS)
        if not isinstance(health, str) and concern_at(health.score) is not guarded.level.level:
            health = self._health(position, guarded, quote_age_ns=0)
        if isinstance(health, str):
            self._not_seen(position, guarded, health)
            return
        guarded.blind = ""
        if guarded.level.see(health.score):
            self._tell(position, guarded.level.level, health)
        self._act(position, guarded)

    def _health(self, position: Position, guarded: _Guarded, *, quote_age_ns: int) -> Health | str:
        inputs = self._inputs(position, guarded, quote_age_ns=quote_age_ns)
        return inputs if isinstance(inputs, str) else evaluate(inputs, self._rules)

    def _inputs(
        self, position: Position, guarded: _Guarded, *, quote_age_ns: int
    ) -> HealthInputs | str:
        """Everything that a verdict needs, or why there is none."""
        services, row = self._services, position.row
        now = services.runtime.ts()
        if not row.first_fill_ns:
            return "the age of the position is not known"
        if row.entry_price <= 0:
            return "the entry of the position is not known"
        market = self._market(position, guarded, now)
        volatility = market.volatility
        ratio = volatility.ratio()
        if ratio is None:
            return "less than six hours of whole candles"
        if now - volatility.closed_ns > INTERVAL_NS + FRESH_NS:
            return "the newest candle is too old"
        price = services.prices.last(position.venue, position.symbol, self._source)
        if not price.price or now - price.ts_ns > FRESH_NS:
            return "no price of the last two minutes"
        quote = market.quote
        if quote is None or now - quote.ts_ns >= quote_age_ns:
            quote = market.quote = services.prices.quote(position.venue, position.symbol)
            market.spread = spread_percent(quote)
        if market.spread is None or now - quote.ts_ns > FRESH_NS:
            return "no quote of the last two minutes"
        self._see(position, guarded, price.price)
        return HealthInputs(
            side=position.side,
            entry=row.entry_price,
            price=price.price,
            best=guarded.best,
            age_ns=now - row.first_fill_ns,
            volatility_ratio=ratio,
            spread_percent=market.spread,
            top_qty=quote.bid_qty if position.side.sign > 0 else quote.ask_qty,
            qty=position.qty,
        )

    def _see(self, position: Position, guarded: _Guarded, price: Price) -> None:
        """Keep the best price since the entry."""
        best = guarded.best or position.row.entry_price
        guarded.best = price if stop_levels.is_better(position.side, price, best) else best

    def _market(self, position: Position, guarded: _Guarded, now: TsNs) -> _Market:
        """The position's market, its candles up to date; they may hold a better price too."""
        place = (position.venue, position.symbol)
        known = self._markets.get(place)
        if known is None:
            known = self._markets[place] = _Market()
        if now - guarded.seen_ns < INTERVAL_NS:
            return known
        first_ns = position.row.first_fill_ns
        unseen = candles_since(max(guarded.seen_ns, first_ns), now)
        wanted = max(unseen, known.volatility.wanted(now))
        if wanted > 0:
            candles = self._services.prices.candles(*place, self._source, INTERVAL_NS, wanted)
            known.volatility.take(candles)
            for candle in candles:
                guarded.seen_ns = TsNs(candle.open_ns + INTERVAL_NS)
                if candle.open_ns >= first_ns:
                    top = candle.high if position.side.sign > 0 else candle.low
                    self._see(position, guarded, top)
        return known

    # ------------------------------------------------------------ telling

    def _not_seen(self, position: Position, guarded: _Guarded, why: str) -> None:
        """No verdict: told once for each reason."""
        guarded.level.blind()
        if guarded.blind == why:
            return
        guarded.blind = why
        self._decide("guard.blind", why, position)

    def _tell(self, position: Position, level: Concern, health: Health) -> None:
        parts = {
            name: text(getattr(health, name).quantize(_TENTH))
            for name in ("score", "pnl", "drawdown", "volatility", "time", "liquidity")
        }
        self._decide("guard.level", level.name.lower(), position, **parts)
        if level >= Concern.CRITICAL:
            self._services.alert(
                "WARNING",
                "guard.level",
                f"the health of the position is {parts['score']}: {level.name}",
                venue=position.venue,
                symbol=position.symbol,
                dedupe=f"guard.level|{position.id}|{level.name}",
            )

    # ------------------------------------------------------------ acting

    def _act(self, position: Position, guarded: _Guarded) -> None:
        """Do what the level asks for, once."""
        level = guarded.level.level
        if level not in self._acts or guarded.acting or level in _acted(position):
            return
        guarded.acting = True
        self._services.supervise(
            f"guard {position.id}",
            lambda: self._do(position, guarded, level),
            position=position,
        )

    async def _do(self, position: Position, guarded: _Guarded, level: Concern) -> None:
        if level < Concern.CRITICAL:
            names = [*position.row.guard_acted.split(","), level.name]
            position.update(guard_acted=",".join(name for name in names if name))
        if level is Concern.MEDIUM:
            await self._services.commit_protect((position.row,))
        self._decide("guard.act", level.name.lower(), position)
        try:
            if level is Concern.MEDIUM:
                await self._tighten(position)
            elif level is Concern.HIGH:
                await self._halve(position)
            else:
                await self._exits.close(
                    position,
                    CloseReason.GUARD,
                    f"the guard's level is {level.name}",
                    at_touch=level is Concern.CRITICAL,
                )
        finally:
            guarded.acting = False

    async def _tighten(self, position: Position) -> None:
        """The stop halfway to breakeven; its owner moves it only where that is tighter."""
        row = position.row
        halfway = (row.protected_level + row.entry_price) / 2
        level = stop_levels.tighter_side(self._instrument(position), position.side, halfway)
        await self._stops.tighten(position, level, "guard: halfway to breakeven")

    async def _halve(self, position: Position) -> None:
        """Close half; not where a half is less than the venue takes."""
        instrument = self._instrument(position)
        half = instrument.qty_down(position.qty / 2)
        price = self._services.prices.last(
            position.venue, position.symbol, self._services.settings.stop_source
        ).price
        if not _tradable(half, price, instrument.min_qty, instrument.min_notional):
            self._decide("guard.skipped", "half is below the venue's minimum", position)
            self._services.persist((position.row,))
            return
        if not await self._exits.reduce(position, half, "guard: half of the position"):
            self._settle_half(position)

    def _instrument(self, position: Position) -> Instrument:
        return self._services.desks[position.venue].instruments[position.symbol]

    def _decide(self, kind: str, cause: str, position: Position, **values: object) -> None:
        self._services.decide(
            kind,
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            client_order_id="",
            **values,
        )


def _acted(position: Position) -> tuple[Concern, ...]:
    """The levels that were acted on already."""
    return tuple(Concern[name] for name in position.row.guard_acted.split(",") if name)


def _tradable(qty: Qty, price: Price, min_qty: Qty, min_notional: Decimal) -> bool:
    return qty > 0 and qty >= min_qty and qty * price >= min_notional
