"""Leverage and margin mode of a symbol, set when flat and read back (SPEC §2, hazards I19, H03).

An answer to "set" proves nothing; only what the venue shows afterwards counts. A mismatch blocks
the symbol for this run, and says so once.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from kernel.errors import Rejected, VenueError
from kernel.model.venue import (
    EffectClass,
    QuerySymbolConfig,
    SetLeverage,
    SetMarginMode,
    SymbolConfig,
)

if TYPE_CHECKING:
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services

READBACKS = 3


class SymbolSetup:
    """Asks once a symbol and run; remembers what was confirmed."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ready: dict[tuple[str, str], str] = {}

    async def blocked(self, desk: VenueDesk, symbol: str) -> str:
        """Why entries on the symbol are refused; "": leverage and margin mode are confirmed."""
        known = self._ready.get((desk.name, symbol))
        if known is not None:
            return known
        try:
            reason = await self._set_up(desk, symbol)
        except VenueError as error:
            return f"leverage and margin mode not confirmed: {error}"
        self._ready[(desk.name, symbol)] = reason
        if reason:
            self._services.alert(
                "ERROR", "symbol_setup", reason, venue=desk.name, symbol=symbol, dedupe=symbol
            )
        return reason

    async def _set_up(self, desk: VenueDesk, symbol: str) -> str:
        wanted_leverage = Decimal(self._services.settings.leverage)
        wanted_isolated = self._services.settings.margin_mode == "isolated"
        per_symbol_mode = desk.traits.name == "binance"
        config = await self._read(desk, symbol)
        if _matches(config, wanted_leverage, wanted_isolated):
            return ""
        if config.isolated is not wanted_isolated and per_symbol_mode:
            await self._try(desk, SetMarginMode(symbol=symbol, isolated=wanted_isolated))
        if config.leverage != wanted_leverage:
            await self._try(desk, SetLeverage(symbol=symbol, leverage=wanted_leverage))
        for _ in range(READBACKS):
            config = await self._read(desk, symbol)
            if _matches(config, wanted_leverage, wanted_isolated):
                self._services.decide(
                    "symbol.ready",
                    "leverage and margin mode read back",
                    venue=desk.name,
                    symbol=symbol,
                    leverage=config.leverage,
                )
                return ""
            await self._services.runtime.sleep(1_000_000_000)
        return (
            f"{symbol}: the venue shows leverage {config.leverage}, "
            f"{'isolated' if config.isolated else 'cross'}; wanted {wanted_leverage}, "
            f"{'isolated' if wanted_isolated else 'cross'}"
        )

    @staticmethod
    async def _try(desk: VenueDesk, request: SetLeverage | SetMarginMode) -> None:
        with suppress(Rejected):  # the read-back decides
            await desk.gateway.ask(request, EffectClass.QUERY, entity=request.symbol)

    @staticmethod
    async def _read(desk: VenueDesk, symbol: str) -> SymbolConfig:
        reply = await desk.gateway.ask(
            QuerySymbolConfig(symbol=symbol), EffectClass.QUERY, entity=symbol
        )
        assert isinstance(reply, SymbolConfig)
        return reply


def _matches(config: SymbolConfig, leverage: Decimal, isolated: bool) -> bool:  # noqa: FBT001
    return config.leverage == leverage and config.isolated is isolated
