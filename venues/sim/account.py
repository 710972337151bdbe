"""The account at a simulated venue: cash, positions, margin; exact in `Decimal`.

1. The wallet is the sum of the ledger, and the ledger moves only by deposits, realized PnL,
fees and funding.
2. A position's quantity is the sum of its trades. Its cost is kept exactly: what a position
realized from flat to flat is what it sold minus what it bought, to the last digit.
3. Realized PnL is before fees. Fees are positive when paid.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from kernel.model.orders import BalanceReport, PositionReport, PositionSide, PriceSource, Side
from kernel.model.units import ONE, ZERO, Price, Qty, TsNs, Usd, canonical
from venues.sim.order import SimOrder, average
from venues.sim.truth import LedgerEntry, LedgerKind

CENT = Decimal("0.00000001")
"""The smallest amount of cash that is booked."""


class AccountRules(msgspec.Struct, frozen=True, kw_only=True):
    """Money rules of an account.

    Ratios are fractions: taker fee 0.0005 is 0.05 % (SPEC §10). `maintenance_rate` is the one
    tier of maintenance margin that all symbols have.
    """

    deposit: Usd = Decimal(100_000)
    asset: str = "USDT"
    taker_fee: Decimal = Decimal("0.0005")
    maker_fee: Decimal = Decimal("0.0002")
    maintenance_rate: Decimal = Decimal("0.005")
    leverage: Decimal = Decimal(5)
    """Of a symbol whose leverage nobody set."""
    isolated: bool = True
    hedge_mode: bool = False
    can_withdraw: bool | None = None
    keep_ledger: bool = True
    """False: only the sums are kept, for runs over years."""


class SimPosition:
    """One position: a symbol in one-way mode, a leg of it in hedge mode."""

    __slots__ = (
        "cost", "hedge_leg", "leverage", "opened_ns", "qty", "realized", "seq", "stop", "symbol",
        "updated_ns",
    )  # fmt: skip

    def __init__(self, symbol: str, hedge_leg: str, leverage: Decimal) -> None:
        self.symbol = symbol
        self.hedge_leg = hedge_leg
        self.leverage = leverage
        self.qty = ZERO
        """Signed: positive is long."""
        self.cost = ZERO
        """Quote currency paid for |qty|, without a sign."""
        self.realized = ZERO
        self.opened_ns = 0
        self.updated_ns = 0
        self.seq = 0
        self.stop: SimOrder | None = None
        """The stop attached to the position, where the venue has such a thing."""

    @property
    def side(self) -> PositionSide:
        """Its direction."""
        if not self.qty:
            return PositionSide.FLAT
        return PositionSide.LONG if self.qty > 0 else PositionSide.SHORT

    @property
    def entry_price(self) -> Decimal:
        """Average price of what is open."""
        return average(self.cost, abs(self.qty))

    @property
    def margin(self) -> Decimal:
        """Initial margin held for it."""
        return (self.cost / self.leverage).quantize(CENT)

    def room_to_close(self, side: Side) -> Decimal:
        """How much an order of this side could close."""
        if not self.qty or (self.qty > 0) == (side is Side.BUY):
            return ZERO
        return abs(self.qty)

    def report(self, liquidation_price: Decimal) -> PositionReport:
        """The position as the venue would show it, without mark price and unrealized PnL."""
        stop = self.stop
        return PositionReport(
            symbol=self.symbol,
            side=self.side,
            qty=canonical(abs(self.qty)),
            entry_price=self.entry_price,
            liquidation_price=liquidation_price,
            leverage=self.leverage,
            stop_price=ZERO if stop is None else stop.trigger_price,
            stop_trigger_by=PriceSource.LAST if stop is None else stop.trigger_by,
            hedge_leg=self.hedge_leg,
            opened_ns=TsNs(self.opened_ns),
            updated_ns=TsNs(self.updated_ns),
            seq=self.seq,
        )


class Booked(msgspec.Struct, frozen=True, gc=False):
    """What one trade did: money, and the signed quantity before and after."""

    realized: Usd
    fee: Usd
    qty_before: Decimal
    qty_after: Decimal


class Account:
    """Cash, positions and margin of one account."""

    def __init__(self, rules: AccountRules, now_ns: int) -> None:
        self.rules = rules
        self.hedge_mode = rules.hedge_mode
        self.can_trade = True
        self.wallet = ZERO
        self.cash: dict[str, Usd] = {kind.value: ZERO for kind in LedgerKind}
        self.ledger: list[LedgerEntry] = []
        self.positions: dict[tuple[str, str], SimPosition] = {}
        self.open: dict[tuple[str, str], SimPosition] = {}
        self.position_margin = ZERO
        self.order_margin = ZERO
        self._leverage: dict[str, Decimal] = {}
        self._isolated: dict[str, bool] = {}
        self.move(now_ns, LedgerKind.DEPOSIT, "", rules.deposit, "deposit")

    # ------------------------------------------------------------------ settings

    def leverage(self, symbol: str) -> Decimal:
        """Leverage in force on a symbol."""
        return self._leverage.get(symbol, self.rules.leverage)

    def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage; open positions take it over with their margin."""
        self._leverage[symbol] = leverage
        for position in self.positions.values():
            if position.symbol == symbol:
                self.position_margin -= position.margin
                position.leverage = leverage
                self.position_margin += position.margin

    def isolated(self, symbol: str) -> bool:
        """Margin mode of a symbol; "" asks for the account's default."""
        return self._isolated.get(symbol, self.rules.isolated)

    def set_isolated(self, symbol: str, *, isolated: bool) -> None:
        """Set the margin mode of a symbol."""
        self._isolated[symbol] = isolated

    # ------------------------------------------------------------------ cash

    @property
    def available(self) -> Usd:
        """Free margin: wallet less the margin of positions and of open orders."""
        return canonical(self.wallet - self.position_margin - self.order_margin)

    def move(self, now_ns: int, kind: LedgerKind, symbol: str, amount: Usd, ref: str) -> None:
        """Book a movement of cash; an amount of zero is not booked."""
        if not amount:
            return
        self.wallet += amount
        self.cash[kind.value] += amount
        if self.rules.keep_ledger:
            self.ledger.append(
                LedgerEntry(ts_ns=TsNs(now_ns), kind=kind, symbol=symbol, amount=amount, ref=ref)
            )

    def balance(self, now_ns: int, reason: str, change: Usd, symbol: str) -> BalanceReport:
        """The wallet as the venue would show it now."""
        return BalanceReport(
            asset=self.rules.asset,
            wallet=canonical(self.wallet),
            available=self.available,
            reason=reason,
            change=canonical(change),
            symbol=symbol,
            updated_ns=TsNs(now_ns),
        )

    # ------------------------------------------------------------------ positions

    def position(self, symbol: str, hedge_leg: str) -> SimPosition:
        """The position of a symbol and leg; flat when there never was one."""
        key = (symbol, hedge_leg)
        held = self.positions.get(key)
        if held is None:
            held = SimPosition(symbol, hedge_leg, self.leverage(symbol))
            self.positions[key] = held
        return held

    def trade(
        self,
        position: SimPosition,
        side: Side,
        qty: Qty,
        price: Price,
        *,
        fee: Usd,
        now_ns: int,
        ref: str,
    ) -> Booked:
        """Book one execution: closes what is open against it first, the rest opens."""
        before = position.qty
        self.position_margin -= position.margin
        closed = min(qty, position.room_to_close(side))
        realized = self._close(position, closed, price) if closed else ZERO
        opened = qty - closed
        position.cost += opened * price
        position.qty += opened * side.sign
        self._stamp(position, before, now_ns)
        self.position_margin += position.margin
        self.move(now_ns, LedgerKind.REALIZED_PNL, position.symbol, realized, ref)
        self.move(now_ns, LedgerKind.FEE, position.symbol, -fee, ref)
        return Booked(realized, fee, before, position.qty)

    def fee(self, value: Decimal, *, maker: bool) -> Usd:
        """The fee on a traded value."""
        rate = self.rules.maker_fee if maker else self.rules.taker_fee
        return canonical((value * rate).quantize(CENT))

    def liquidation_price(self, position: SimPosition) -> Price:
        """Mark price at which the margin is down to maintenance; ZERO: none.

        Isolated: from the position's own margin. Cross: the free margin of the moment is added,
        and the price is computed anew only when this position changes.
        """
        qty = abs(position.qty)
        if not qty:
            return ZERO
        per_unit = self._margin_behind(position) / qty
        entry = position.cost / qty
        rate = self.rules.maintenance_rate
        price = (
            (entry - per_unit) / (ONE - rate)
            if position.qty > 0
            else (entry + per_unit) / (ONE + rate)
        )
        return canonical(price.quantize(CENT)) if price > 0 else ZERO

    def bankruptcy_price(self, position: SimPosition) -> Price:
        """Price at which the margin behind a position is used up; ZERO: none."""
        qty = abs(position.qty)
        if not qty:
            return ZERO
        per_unit = self._margin_behind(position) / qty
        price = position.cost / qty - (per_unit if position.qty > 0 else -per_unit)
        return max(price, ZERO)

    def _margin_behind(self, position: SimPosition) -> Decimal:
        if self.isolated(position.symbol):
            return position.margin
        return position.margin + max(self.available, ZERO)

    @staticmethod
    def _close(position: SimPosition, closed: Qty, price: Price) -> Usd:
        held = abs(position.qty)
        share = position.cost
        if closed != held:
            share = (position.cost * closed / held).quantize(CENT)
        sign = 1 if position.qty > 0 else -1
        realized = (closed * price - share) * sign
        position.cost -= share
        position.qty -= closed * sign
        position.realized += realized
        return realized

    def _stamp(self, position: SimPosition, before: Decimal, now_ns: int) -> None:
        key = (position.symbol, position.hedge_leg)
        position.seq += 1
        position.updated_ns = now_ns
        if not position.qty:
            position.opened_ns = 0
            position.cost = ZERO
            self.open.pop(key, None)
            return
        if not before or (before > 0) != (position.qty > 0):
            position.opened_ns = now_ns
        self.open[key] = position


def unrealized(report: PositionReport) -> Usd:
    """What a position that was shown has gained at its mark price."""
    gain: Decimal = (report.mark_price - report.entry_price) * report.qty
    if report.side is PositionSide.SHORT:
        gain = -gain
    return canonical(gain.quantize(CENT))
