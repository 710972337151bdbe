"""Waves of a replay: signals with the time at which they arrived, one JSON object a line.

    {"arrival_ns": 1746375660000000000, "source": "feed", "timestamp": "2025-05-04T16:15:00Z",
     "symbol": "BTCUSDT", "side": "BUY", "score_week": 81.5, "score_month": 64, "exchange":
     "binance", "id": "7", "anything": "else"}

`arrival` (ISO-8601 with Z) may stand for `arrival_ns`. `score_month`, `exchange`, `id` are
optional, unknown fields are kept. `docs/data.md` says more.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from kernel.model.orders import Side
from kernel.model.signal import Signal
from kernel.model.units import MINUTE, SECOND, TsNs
from replay.layouts import EARLIEST_S, LATEST_S
from replay.outputs import write_whole
from replay.problems import Problem, Report, Treatment

CANDLE_NS = 15 * MINUTE
"""A wave belongs to one closed candle of this length."""
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_WORD = re.compile(r"[^\s|\x00-\x1f\x7f]{1,40}")
_SCORE_LIMIT = Decimal(10) ** 15
_FIELDS = (
    "arrival_ns",
    "arrival",
    "source",
    "timestamp",
    "symbol",
    "side",
    "score_week",
    "score_month",
    "exchange",
    "id",
)


def _is_score(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return False
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    return abs(number) < _SCORE_LIMIT and isinstance(exponent, int) and exponent >= -15


class SignalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One signal and when it arrived. `candle_ns` is the open time of its 15-minute candle."""

    arrival_ns: TsNs
    source: str
    candle_ns: TsNs
    symbol: str
    side: Side
    score_week: Decimal
    score_month: Decimal | None = None
    exchange: str = ""
    """"": the feed does not say; the first configured venue is meant (SPEC §1)."""
    id: str = ""
    extra: dict[str, Any] = {}

    def payload(self) -> dict[str, Any]:
        """The signal as the feed sends it: without arrival and source."""
        fields: dict[str, Any] = {
            "timestamp": iso_text(self.candle_ns),
            "symbol": self.symbol,
            "side": self.side.value,
            "score_week": self.score_week,
        }
        if self.score_month is not None:
            fields["score_month"] = self.score_month
        if self.exchange:
            fields["exchange"] = self.exchange
        if self.id:
            fields["id"] = self.id
        return fields | {name: self.extra[name] for name in sorted(self.extra)}

    def line(self) -> bytes:
        """Its line in a file of waves, without the newline; one form only."""
        head = {"arrival_ns": self.arrival_ns, "source": self.source}
        return _ENCODER.encode(head | self.payload())

    def signal(self, default_venue: str) -> Signal:
        """The kernel's form of the signal."""
        extra = {name: self.extra[name] for name in sorted(self.extra)}
        return Signal(
            source=self.source,
            venue=self.exchange or default_venue,
            symbol=self.symbol,
            side=self.side,
            candle_ns=self.candle_ns,
            score_week=self.score_week,
            score_month=self.score_month,
            signal_id=self.id,
            arrived_ns=self.arrival_ns,
            extra=_ENCODER.encode(extra).decode(),
        )


def iso_text(ts_ns: int) -> str:
    """`2025-05-04T16:15:00Z`: whole seconds, as signals carry their candle."""
    moment = datetime.fromtimestamp(ts_ns // SECOND, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_ns(text: str) -> int | None:
    """Nanoseconds of an ISO-8601 time with a zone; None where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    past = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (past.days * 86_400 + past.seconds) * SECOND + past.microseconds * 1_000


def read_waves(paths: list[Path], treatment: Treatment | None = None) -> list[SignalRow]:
    """Signals of these files by arrival; equal arrivals keep the order of the files.

    Raises:
        DataError: With every problem of every line that the treatment does not cover.
    """
    rows, report = check_waves(paths, treatment or Treatment())
    report.refuse()
    return rows


def check_waves(paths: list[Path], treatment: Treatment) -> tuple[list[SignalRow], Report]:
    """As `read_waves`, with a report instead of an error."""
    report = Report()
    rows: list[SignalRow] = []
    for path in paths:
        reader = _WaveReader(path)
        try:
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            reader.problem("unreadable file", 0, str(error), "a readable file", "another path")
            content = b""
        report.files += 1
        rows.extend(reader.read(content))
        report.add(_treated(reader.problems, treatment, str(path), report))
    report.rows = len(rows)
    rows.sort(key=lambda row: row.arrival_ns)
    return rows, report


def read_lines(name: str, lines: Iterable[bytes]) -> tuple[list[SignalRow], list[Problem]]:
    """Signals of these lines by arrival, and what is wrong with those that are none."""
    reader = _WaveReader(Path(name))
    rows = reader.read(b"\n".join(lines))
    rows.sort(key=lambda row: row.arrival_ns)
    return rows, reader.problems


def _treated(
    problems: list[Problem], treatment: Treatment, path: str, report: Report
) -> list[Problem]:
    dropped = {
        "malformed row": treatment.malformed == "drop",
        "impossible row": treatment.impossible == "drop",
        "unordered row": treatment.unordered == "sort",
    }
    left = [problem for problem in problems if not dropped.get(problem.code, False)]
    for code, treated in dropped.items():
        count = sum(problem.code == code for problem in problems)
        if treated and count:
            report.notes.append(f"{path}: {count} {code}s treated as told")
    return left


def write_waves(path: Path, rows: Iterable[SignalRow]) -> int:
    """Write signals by arrival, all or nothing; returns how many."""
    ordered = sorted(rows, key=lambda row: row.arrival_ns)
    body = b"".join(row.line() + b"\n" for row in ordered)
    if path.suffix == ".gz":
        body = gzip.compress(body, mtime=0)
    write_whole(path, body)
    return len(ordered)


def between(
    rows: Iterable[SignalRow], from_ns: int, to_ns: int, symbols: tuple[str, ...] = ()
) -> list[SignalRow]:
    """Signals that arrived in [from_ns, to_ns), of these symbols only (() = all)."""
    return [
        row
        for row in rows
        if from_ns <= row.arrival_ns < to_ns and (not symbols or row.symbol in symbols)
    ]


class _WaveReader:
    """Reads one file of waves; collects what is wrong with every line and every field."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.line = 0

    def problem(self, code: str, line: int, value: str, allowed: str, fix: str) -> None:
        self.problems.append(
            Problem(
                code=code,
                file=str(self.path),
                line=line,
                value=value[:120],
                allowed=allowed,
                fix=fix,
            )
        )

    def read(self, content: bytes) -> list[SignalRow]:
        rows: list[SignalRow] = []
        newest = 0
        for number, line in enumerate(content.splitlines(), start=1):
            if not line.strip():
                continue
            self.line = number
            row = self._row(line)
            if row is None:
                continue
            if row.arrival_ns < newest:
                self.problem(
                    "unordered row",
                    number,
                    f"arrival {row.arrival_ns} after {newest}",
                    "arrivals that do not go back",
                    "--unordered sort",
                )
            newest = max(newest, row.arrival_ns)
            rows.append(row)
        return rows

    def _row(self, line: bytes) -> SignalRow | None:
        try:
            fields = _DECODER.decode(line)
        except msgspec.DecodeError as error:
            self._malformed(f"{error}: {line[:80].decode('utf-8', 'replace')}", "a JSON object")
            return None
        before = len(self.problems)
        arrival_ns = self._arrival(fields)
        candle_ns = self._candle(fields)
        symbol = self._text(fields, "symbol", required=True)
        side = self._field(
            fields,
            "side",
            lambda value: isinstance(value, str) and value in list(Side),
            "BUY or SELL",
        )
        week = self._score(fields, "score_week")
        month = None
        if fields.get("score_month") is not None:
            month = self._score(fields, "score_month")
        source = self._text(fields, "source", required=True)
        exchange = self._text(fields, "exchange", required=False)
        identity = fields.get("id", "")
        if len(self.problems) > before or week is None:
            return None
        if arrival_ns < candle_ns + CANDLE_NS:
            self.problem(
                "impossible row",
                self.line,
                f"arrival {arrival_ns} before its candle closes",
                f"{candle_ns + CANDLE_NS} or later",
                "repair the line, or --impossible drop",
            )
            return None
        return SignalRow(
            arrival_ns=TsNs(arrival_ns),
            source=source,
            candle_ns=TsNs(candle_ns),
            symbol=symbol,
            side=Side(side),
            score_week=week,
            score_month=month,
            exchange=exchange,
            id=str(identity if identity is not None else ""),
            extra={name: value for name, value in fields.items() if name not in _FIELDS},
        )

    def _malformed(self, value: str, allowed: str) -> None:
        self.problem(
            "malformed row", self.line, value, allowed, "repair the line, or --malformed drop"
        )

    def _field(
        self, fields: dict[str, Any], name: str, good: Callable[[Any], bool], allowed: str
    ) -> Any:
        value = fields.get(name)
        if not good(value):
            self._malformed(f"{name} {value!r}" if name in fields else f"no {name}", allowed)
            return None
        return value

    def _text(self, fields: dict[str, Any], name: str, *, required: bool) -> str:
        value = fields.get(name)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or _WORD.fullmatch(value) is None:
            self._malformed(
                f"{name} {value!r}" if name in fields else f"no {name}",
                "1 to 40 characters without spaces, control characters or a vertical bar",
            )
            return ""
        return value

    def _score(self, fields: dict[str, Any], name: str) -> Decimal | None:
        value = self._field(
            fields,
            name,
            _is_score,
            "a JSON number below 10^15, at most 15 digits after the point",
        )
        return None if value is None else Decimal(value)

    def _arrival(self, fields: dict[str, Any]) -> int:
        least, most = EARLIEST_S * SECOND, LATEST_S * SECOND
        value = fields.get("arrival_ns")
        if value is None and isinstance(fields.get("arrival"), str):
            value = iso_ns(fields["arrival"])
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < most:
            told = {name: fields[name] for name in ("arrival_ns", "arrival") if name in fields}
            self._malformed(
                f"arrival {told}",
                f"arrival_ns {least} to {most} (nanoseconds), or arrival as ISO-8601 with Z",
            )
            return 0
        return value

    def _candle(self, fields: dict[str, Any]) -> int:
        value = fields.get("timestamp")
        candle_ns = iso_ns(value) if isinstance(value, str) else None
        if candle_ns is None or candle_ns % CANDLE_NS or candle_ns <= 0:
            self._malformed(
                f"timestamp {value!r}", "ISO-8601 with Z, at minute 00, 15, 30 or 45 exactly"
            )
            return 0
        return candle_ns
