"""Small files of market data, written row by row."""

HEADER = "open_time,open,high,low,close,volume"
START_MS = 1_746_372_600_000
"""2025-05-04 15:30:00 UTC."""


def candle_text(*rows: str, header: str = HEADER) -> str:
    """A candle file: each row is `minute,open,high,low,close[,volume]` from START_MS on."""
    lines = [header] if header else []
    for row in rows:
        minute, *cells = row.split(",")
        if len(cells) == 4:
            cells.append("1")
        lines.append(",".join([str(START_MS + int(minute) * 60_000), *cells]))
    return "\n".join(lines) + "\n"
