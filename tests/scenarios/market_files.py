"""A small folder of candles for tests of replays: four symbols, four hours, made from draws."""

from pathlib import Path

from kernel.model.draws import draw

START_MS = 1_767_571_200_000
"""2026-01-05 00:00 UTC."""
MINUTES = 240
SYMBOLS = {"BTCUSDT": 4_200_000, "ETHUSDT": 225_000, "SOLUSDT": 9_850, "NEWUSDT": 12_345}


def write_candles(folder: Path, *, minutes: int = MINUTES) -> Path:
    """One-minute candles of every symbol, in cents, below a folder whose name says Binance."""
    place = folder / "binance_made"
    place.mkdir(parents=True, exist_ok=True)
    for symbol, first in SYMBOLS.items():
        px = first
        lines = ["open_time,open,high,low,close,volume"]
        for minute in range(minutes):
            trend = (draw(1, f"trend/{symbol}", minute // 60, 5) - 2) * first // 4_000
            close = px + trend + (draw(1, f"close/{symbol}", minute, 401) - 200) * first // 200_000
            high = max(px, close) + draw(1, f"high/{symbol}", minute, 50) * first // 200_000
            low = min(px, close) - draw(1, f"low/{symbol}", minute, 50) * first // 200_000
            told = ",".join(f"{value // 100}.{value % 100:02}" for value in (px, high, low, close))
            lines.append(f"{START_MS + minute * 60_000},{told},1")
            px = close
        (place / f"{symbol}-1m-20260105-20260105.csv").write_text("\n".join(lines) + "\n")
    return place
