"""Instruments for simulations: the well-known contracts with each venue's own filters.

Values are those of the venues' instrument lists (venue-binance.md §2.1, venue-bybit.md §3.1) where
they are stated there, and typical ones for the other symbols. Datasets bring their own.
"""

from __future__ import annotations

from decimal import Decimal

from kernel.errors import SettingsError
from kernel.model.instrument import Instrument
from kernel.model.units import ZERO

_BYBIT_MIN_NOTIONAL = Decimal(5)

# symbol: tick, step, least qty, largest limit order, largest market order, least notional (Binance)
_CONTRACTS: dict[str, tuple[str, str, str, str, str, str]] = {
    "BTCUSDT": ("0.1", "0.001", "0.001", "1000", "120", "50"),
    "ETHUSDT": ("0.01", "0.001", "0.001", "10000", "2000", "20"),
    "SOLUSDT": ("0.01", "0.1", "0.1", "100000", "5000", "5"),
    "XRPUSDT": ("0.0001", "0.1", "0.1", "10000000", "2000000", "5"),
    "DOGEUSDT": ("0.00001", "1", "1", "50000000", "30000000", "5"),
    "ADAUSDT": ("0.0001", "1", "1", "20000000", "3000000", "5"),
    "LINKUSDT": ("0.001", "0.1", "0.1", "200000", "20000", "5"),
    "AVAXUSDT": ("0.001", "0.1", "0.1", "300000", "20000", "5"),
    "BLASTUSDT": ("0.000001", "1", "1", "100000000", "30000000", "5"),
    "1000PEPEUSDT": ("0.0000001", "1", "1", "1000000000", "100000000", "5"),
}


def make_instrument(
    venue: str,
    symbol: str,
    *,
    tick_size: Decimal,
    qty_step: Decimal,
    min_qty: Decimal | None = None,
    max_qty: Decimal = ZERO,
    max_market_qty: Decimal = ZERO,
    min_notional: Decimal = ZERO,
) -> Instrument:
    """A USDT or USDC perpetual with bands and leverage as most have them.

    Raises:
        SettingsError: The symbol ends in neither USDT nor USDC.
    """
    quote = next((name for name in ("USDT", "USDC") if symbol.endswith(name)), "")
    if not quote:
        raise SettingsError([f"instrument {symbol}: must end in USDT or USDC"])
    return Instrument(
        venue=venue,
        symbol=symbol,
        base=symbol.removesuffix(quote),
        quote=quote,
        tick_size=tick_size,
        qty_step=qty_step,
        min_qty=qty_step if min_qty is None else min_qty,
        max_qty=max_qty,
        max_market_qty=max_market_qty,
        min_notional=min_notional,
        price_band_up=Decimal("1.05") if venue == "binance" else ZERO,
        price_band_down=Decimal("0.95") if venue == "binance" else ZERO,
        max_leverage=Decimal(100),
        funding_interval_h=8,
    )


def known_instrument(venue: str, symbol: str) -> Instrument:
    """One of the well-known contracts on "binance" or "bybit".

    Raises:
        SettingsError: The symbol is not among them.
    """
    row = _CONTRACTS.get(symbol)
    if row is None:
        raise SettingsError(
            [f"instrument {symbol}: not known; one of {', '.join(_CONTRACTS)}, or make_instrument"]
        )
    tick, step, least, most, most_market, notional = (Decimal(text) for text in row)
    return make_instrument(
        venue,
        symbol,
        tick_size=tick,
        qty_step=step,
        min_qty=least,
        max_qty=most,
        max_market_qty=most_market,
        min_notional=_BYBIT_MIN_NOTIONAL if venue == "bybit" else notional,
    )


def known_symbols() -> tuple[str, ...]:
    """The symbols that `known_instrument` knows."""
    return tuple(_CONTRACTS)
