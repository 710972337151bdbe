"""Acts: what the venue, or somebody else on the account, does without being asked.

Liquidation and funding follow from prices and time; the others are faults with a cue.
"""

from __future__ import annotations

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from kernel.errors import SettingsError
from kernel.model.orders import FillKind, OrderClass, PriceSource
from kernel.model.units import HOUR, MINUTE, Price, Qty, TsNs, canonical
from kernel.model.venue import PlaceStop, SubmitOrder
from venues.sim.account import CENT, SimPosition
from venues.sim.agenda import RANK_MESSAGE
from venues.sim.fault_kinds import (
    Act,
    Cue,
    FilterChange,
    ModeSet,
    SecondActor,
    VenueAct,
    VenueCancel,
)
from venues.sim.faults import hits
from venues.sim.truth import (
    Announced,
    BalanceChanged,
    LedgerKind,
    OrderChanged,
    StopLive,
    Traded,
    TruthEvent,
)

if TYPE_CHECKING:
    from venues.sim.venue import SimVenue

CLOSING_ONLY_NS = 30 * MINUTE
"""Before a delisting, positions can only be closed for this long."""
_ACTS = ("liquidation", "adl", "settle", "delist", "funding", "restart")


class _Waiting:
    """An act that waits for an event."""

    __slots__ = ("act", "seen")

    def __init__(self, act: Act) -> None:
        self.act = act
        self.seen = 0


class VenueActs:
    """The acts of one venue."""

    def __init__(self, venue: SimVenue) -> None:
        self._venue = venue
        self._waiting: list[_Waiting] = []
        self._funding_planned = False

    # ------------------------------------------------------------------ cues

    def plan(self, acts: tuple[Act, ...]) -> None:
        """Put acts on the agenda, or let them wait for their events.

        Raises:
            SettingsError: An act that is not known, or due before the present.
        """
        problems = []
        for act in acts:
            problems += self._problems(act)
            if act.cue.event:
                self._waiting.append(_Waiting(act))
        if problems:
            raise SettingsError(problems)
        for act in acts:
            if not act.cue.event:
                self._push(self._venue.faults.origin_ns + act.cue.at_ns, act)

    def heard(self, event: TruthEvent) -> None:
        """A truth event: some acts wait for one, and an opened position waits for funding."""
        if type(event) is Traded and event.position_qty:
            self._plan_funding()
        if not self._waiting:
            return
        due = [waiting for waiting in self._waiting if self._cued(waiting, event)]
        for waiting in due:
            self._waiting.remove(waiting)
            self._push(self._venue.agenda.now_ns + waiting.act.cue.after_ns, waiting.act)

    def _problems(self, act: Act) -> list[str]:
        problems = []
        if isinstance(act, VenueAct) and act.act not in _ACTS:
            problems.append(f"venue_event {act.act!r}: must be one of {', '.join(_ACTS)}")
        due = self._venue.faults.origin_ns + act.cue.at_ns
        if not act.cue.event and due < self._venue.agenda.now_ns:
            problems.append(f"{type(act).__name__} at {act.cue.at_ns} ns lies in the past")
        if act.cue.event not in ("", "order", "fill", "stop", "flat"):
            problems.append(f"cue event {act.cue.event!r}: order, fill, stop, flat or empty")
        return problems

    def _push(self, due_ns: int, act: Act) -> None:
        self._venue.agenda.push(due_ns, RANK_MESSAGE, lambda: self.perform(act))

    def _cued(self, waiting: _Waiting, event: TruthEvent) -> bool:
        cue = waiting.act.cue
        about = _about(cue, event)
        if about is None:
            return False
        symbol, client = about
        if cue.symbol and symbol != cue.symbol:
            return False
        if cue.client_order_id and not fnmatchcase(client, cue.client_order_id):
            return False
        waiting.seen += 1
        return waiting.seen == cue.nth

    # ------------------------------------------------------------------ performing

    def perform(self, act: Act) -> None:
        """Do it now."""
        match act:
            case FilterChange():
                self._change_filter(act)
            case ModeSet():
                self._set_mode(act)
            case VenueCancel():
                self._cancel(act)
            case SecondActor():
                self._by_hand(act)
            case VenueAct():
                self._venue_act(act)
            case _:
                raise SettingsError([f"{type(act).__name__} is no act"])
        self._venue.faults.acted(act)

    def _by_hand(self, act: SecondActor) -> None:
        request = act.request
        if act.copies == 1 or not isinstance(request, SubmitOrder | PlaceStop):
            self._venue.execute(request)
            return
        for number in range(1, act.copies + 1):
            name = f"{request.client_order_id}-{number}"
            self._venue.execute(msgspec.structs.replace(request, client_order_id=name))

    def _venue_act(self, act: VenueAct) -> None:
        match act.act:
            case "restart":
                self._venue.restart()
            case "funding":
                self._fund(act.symbol, act.rate)
            case "delist":
                self._delist(act.symbol)
            case _:
                for position in self._open_of(act.symbol):
                    if act.act == "liquidation":
                        self.liquidate(position)
                    else:
                        self._take_position(act, position)

    def _take_position(self, act: VenueAct, position: SimPosition) -> None:
        venue = self._venue
        kind = FillKind.ADL if act.act == "adl" else FillKind.SETTLEMENT
        instrument = venue.instruments[position.symbol]
        held = abs(position.qty)
        qty = held if act.portion >= 1 else instrument.qty_down(held * act.portion)
        if qty:
            mark = instrument.price_nearest(venue.price(position.symbol, PriceSource.MARK))
            self._force(position, qty, mark, kind)

    def liquidate(self, position: SimPosition) -> None:
        """Close a position at its bankruptcy price; its open plain orders are canceled before."""
        venue = self._venue
        if not position.qty:
            return
        for order in venue.matching.open.of_symbol(position.symbol):
            if order.order_class is OrderClass.PLAIN and order.position_side == position.hedge_leg:
                venue.canceled_by_venue(order, "CancelAllBeforeLiq", silent=False)
        price = venue.matching.bankruptcy_price(position)
        self._force(position, canonical(abs(position.qty)), price, FillKind.LIQUIDATION)

    def _force(self, position: SimPosition, qty: Qty, price: Price, kind: FillKind) -> None:
        venue = self._venue
        client = venue.forced_client_id(kind, position.symbol)
        venue.matching.force(venue.make_own_order(position, qty, client), price, kind)

    def _delist(self, symbol: str) -> None:
        venue = self._venue
        for order in venue.matching.open.of_symbol(symbol):
            if not order.status.terminal:
                venue.canceled_by_venue(order, "CancelBySettle", silent=False)
        settle = VenueAct(act="settle", symbol=symbol)
        for position in self._open_of(symbol):
            self._take_position(settle, position)
        self._put_instrument(symbol, trading=False)

    def plan_delisting(self, symbol: str) -> None:
        """Let an announced delisting happen: opening ends half an hour before it."""
        venue = self._venue
        due, now = venue.instruments[symbol].delist_ns, venue.agenda.now_ns
        if due <= now:
            return

        def stop_opening() -> None:
            if venue.instruments[symbol].delist_ns == due:
                self._put_instrument(symbol, trading=False)

        def delist() -> None:
            if venue.instruments[symbol].delist_ns == due:
                self._delist(symbol)

        venue.agenda.push(max(due - CLOSING_ONLY_NS, now), RANK_MESSAGE, stop_opening)
        venue.agenda.push(due, RANK_MESSAGE, delist)

    def _open_of(self, symbol: str) -> list[SimPosition]:
        return [
            held
            for _, held in sorted(self._venue.account.open.items())
            if not symbol or held.symbol == symbol
        ]

    # ------------------------------------------------------------------ settings

    def _change_filter(self, act: FilterChange) -> None:
        fields = ("tick_size", "qty_step", "min_qty", "max_market_qty", "min_notional", "trading",
                  "delist_ns")  # fmt: skip
        changed = {
            field: getattr(act, field) for field in fields if getattr(act, field) is not None
        }
        if act.delist_ns is not None:
            changed["delist_ns"] = TsNs(self._venue.faults.origin_ns + act.delist_ns)
        self._put_instrument(act.symbol, **changed)
        if act.delist_ns is not None:
            self.plan_delisting(act.symbol)

    def _put_instrument(self, symbol: str, **changed: object) -> None:
        venue = self._venue
        venue.instruments[symbol] = msgspec.structs.replace(venue.instruments[symbol], **changed)
        text = " ".join(f"{field}={value}" for field, value in sorted(changed.items()))
        venue.emit(
            Announced(ts_ns=self._now(), kind="instrument_change", symbol=symbol, text=text)
        )

    def _set_mode(self, act: ModeSet) -> None:
        account = self._venue.account
        if act.hedge_mode is not None:
            account.hedge_mode = act.hedge_mode
        if act.can_trade is not None:
            account.can_trade = act.can_trade
        if act.leverage is not None or act.isolated is not None:
            self._venue.change_margin(act.symbol, leverage=act.leverage, isolated=act.isolated)
        self._venue.emit(
            Announced(ts_ns=self._now(), kind="config_change", symbol=act.symbol, text="")
        )

    def _cancel(self, act: VenueCancel) -> None:
        venue = self._venue
        for order in sorted(venue.matching.open.by_id.values(), key=lambda one: one.ordinal):
            if not order.status.terminal and hits(act.target, venue.about(order, "cancel")):
                venue.canceled_by_venue(order, act.reason, silent=act.silent)

    # ------------------------------------------------------------------ funding

    def _plan_funding(self) -> None:
        venue = self._venue
        if self._funding_planned or not venue.setup.funding_rate:
            return
        self._funding_planned = True
        hour = venue.agenda.now_ns // HOUR + 1
        venue.agenda.push(hour * HOUR, RANK_MESSAGE, self._funding_time)

    def _funding_time(self) -> None:
        # Every full hour while a position is open; a symbol pays at multiples of its own interval.
        venue = self._venue
        self._funding_planned = False
        hour = venue.agenda.now_ns // HOUR
        for position in self._open_of(""):
            if hour % venue.instruments[position.symbol].funding_interval_h == 0:
                self._pay(position, venue.setup.funding_rate)
        if venue.account.open:
            self._plan_funding()

    def _fund(self, symbol: str, rate: Decimal) -> None:
        for position in self._open_of(symbol):
            self._pay(position, rate)

    def _pay(self, position: SimPosition, rate: Decimal) -> None:
        venue = self._venue
        mark = venue.price(position.symbol, PriceSource.MARK)
        paid: Decimal = (position.qty * mark * rate).quantize(CENT)
        now = self._now()
        ref = f"funding/{position.symbol}/{now}"
        venue.account.move(now, LedgerKind.FUNDING, position.symbol, -paid, ref)
        fill = venue.funding_fill(position, paid, mark)
        if fill is not None:
            venue.emit(
                Traded(
                    ts_ns=now, fill=fill, hedge_leg=position.hedge_leg,
                    position_qty=canonical(position.qty), reduce_only=True,
                )
            )  # fmt: skip
        balance = venue.account.balance(now, "FUNDING_FEE", -paid, position.symbol)
        venue.emit(BalanceChanged(ts_ns=now, balance=balance))

    def _now(self) -> TsNs:
        return TsNs(self._venue.agenda.now_ns)


def _about(cue: Cue, event: TruthEvent) -> tuple[str, str] | None:
    """(symbol, client order id) of an event that the cue waits for."""
    match cue.event, event:
        case "order", OrderChanged(first=True, order=order):
            return order.symbol, order.client_order_id
        case "fill", Traded(fill=fill) if fill.kind is not FillKind.FUNDING:
            return fill.symbol, fill.client_order_id
        case "flat", Traded(fill=fill, position_qty=qty) if not qty:
            return fill.symbol, fill.client_order_id
        case "stop", StopLive(stop=stop):
            return stop.symbol, stop.client_order_id
    return None

