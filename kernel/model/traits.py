"""What is different between the venues and does not come from an answer (SPEC §10)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from kernel.model.orders import FillKind
from kernel.model.units import SECOND


class StopStyle(StrEnum):
    """How a position's stop is held."""

    CONDITIONAL = "CONDITIONAL"
    """An order of its own: new before old (Binance algo service)."""
    ATTACHED = "ATTACHED"
    """A property of the position: moved in one call (Bybit trading-stop)."""


class VenueTraits(msgspec.Struct, frozen=True, kw_only=True):
    """Constants of a venue; budgets are starting values until the venue states its own.

    Source: SPEC §10; venue-binance.md §3, §5; venue-bybit.md §5, §8.
    """

    name: str
    stop_style: StopStyle
    attached_entry_stop: bool
    """Whether a stop rides with the entry."""
    plain_cap: int
    """Open plain orders a symbol."""
    conditional_cap: int
    conditional_cap_per_symbol: bool
    """False: the cap counts over the account."""
    orders_per_window: int
    order_window_ns: int
    queries_per_window: int
    query_window_ns: int
    unknown_proof_ns: int
    """Shortest time of empty look-ups before an unknown outcome may be called negative."""
    position_needed_for_stop: bool
    """Whether a stop is refused while the venue shows no position."""
    per_endpoint_budget: bool
    """True: each endpoint has a budget of its own."""
    queries_per_endpoint: int
    """Queries a second of one endpoint; 0: only all together count."""
    history_by_id: bool
    """Whether ended orders have a surface of their own (Bybit order/history)."""
    funding_is_an_execution: bool
    """Whether executions tell of funding; else the balance does."""
    forced_ids: tuple[tuple[str, FillKind], ...] = ()
    """How client ids of orders begin that the venue makes itself, where only they tell it."""

    def forced(self, client_order_id: str) -> FillKind | None:
        """What an order of the venue itself was for; None: somebody sent it."""
        for prefix, kind in self.forced_ids:
            if client_order_id.startswith(prefix):
                return kind
        return None


TRAITS: dict[str, VenueTraits] = {
    "binance": VenueTraits(
        name="binance",
        stop_style=StopStyle.CONDITIONAL,
        attached_entry_stop=False,
        plain_cap=200,
        conditional_cap=200,
        conditional_cap_per_symbol=False,
        orders_per_window=50,
        order_window_ns=10 * SECOND,
        queries_per_window=1200,
        query_window_ns=60 * SECOND,
        unknown_proof_ns=60 * SECOND,
        position_needed_for_stop=False,
        per_endpoint_budget=False,
        queries_per_endpoint=0,
        history_by_id=False,
        funding_is_an_execution=False,
        forced_ids=(
            ("autoclose-", FillKind.LIQUIDATION),
            ("adl_autoclose", FillKind.ADL),
            ("settlement_autoclose-", FillKind.SETTLEMENT),
        ),
    ),
    "bybit": VenueTraits(
        name="bybit",
        stop_style=StopStyle.ATTACHED,
        attached_entry_stop=True,
        plain_cap=500,
        conditional_cap=10,
        conditional_cap_per_symbol=True,
        orders_per_window=10,
        order_window_ns=SECOND,
        queries_per_window=120,
        query_window_ns=SECOND,
        unknown_proof_ns=10 * SECOND,
        position_needed_for_stop=True,
        per_endpoint_budget=True,
        queries_per_endpoint=50,
        history_by_id=True,
        funding_is_an_execution=True,
    ),
}
