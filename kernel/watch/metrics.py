"""The owner's metrics, exact: families with labels, rendered as Prometheus text (SPEC §12).

Counters are whole numbers, gauges exact decimals, histograms count whole nanoseconds; only the
text has seconds. A family of this module may be read by any exporter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal

from kernel.errors import InvariantViolation
from kernel.model.units import MS, SECOND, ZERO, text

type Labels = tuple[str, ...]

LATENCY_BOUNDS_NS = (
    5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS,
    SECOND, 5 * SECOND // 2, 5 * SECOND, 10 * SECOND,
)  # fmt: skip
"""Upper bounds of the buckets, inclusive; one without a bound follows."""


class Family(ABC):
    """One metric of the registry: a name, a sentence, and names of labels."""

    kind = ""

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels

    def check(self, values: Labels) -> None:
        """Whether these are values for the labels.

        Raises:
            InvariantViolation: There are more or fewer than names.
        """
        if len(values) != len(self.labels):
            raise InvariantViolation(f"{self.name} has the labels {self.labels}, not {values}")

    @abstractmethod
    def lines(self) -> list[str]:
        """Samples as text, in the order in which the label values were first seen."""

    def _sample(self, values: Labels, value: str, suffix: str = "", more: str = "") -> str:
        pairs = [
            f'{name}="{_escaped(one)}"' for name, one in zip(self.labels, values, strict=True)
        ]
        pairs += [more] if more else []
        inside = f"{{{','.join(pairs)}}}" if pairs else ""
        return f"{self.name}{suffix}{inside} {value}"


class Counter(Family):
    """Only ever grows, within a process."""

    kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        super().__init__(name, help_text, labels)
        self._counts: dict[Labels, int] = {}

    def add(self, *values: str, by: int = 1) -> None:
        """Count; `values` are those of the labels."""
        known = self._counts.get(values)
        if known is None:
            self.check(values)
            known = 0
        self._counts[values] = known + by

    def value(self, *values: str) -> int:
        """What was counted for these values."""
        return self._counts.get(values, 0)

    def lines(self) -> list[str]:
        """See `Family.lines`."""
        counts = self._counts or ({} if self.labels else {(): 0})
        return [self._sample(values, str(count)) for values, count in counts.items()]


class Gauge(Family):
    """The present value."""

    kind = "gauge"

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        super().__init__(name, help_text, labels)
        self._values: dict[Labels, Decimal] = {} if labels else {(): ZERO}

    def set(self, value: Decimal, *values: str) -> None:
        """The value from now on."""
        self.check(values)
        self._values[values] = value

    def value(self, *values: str) -> Decimal:
        """The value; ZERO where none was set."""
        return self._values.get(values, ZERO)

    def lines(self) -> list[str]:
        """See `Family.lines`."""
        return [self._sample(values, text(value)) for values, value in self._values.items()]


class Histogram(Family):
    """How long things took."""

    kind = "histogram"

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        super().__init__(name, help_text, labels)
        self._seen: dict[Labels, list[int]] = {}
        """Values of the labels → counts of each bucket, then the sum in nanoseconds."""

    def observe(self, span_ns: int, *values: str) -> None:
        """Count one span."""
        seen = self._seen.get(values)
        if seen is None:
            self.check(values)
            seen = self._seen[values] = [0] * (len(LATENCY_BOUNDS_NS) + 2)
        place = 0
        for bound in LATENCY_BOUNDS_NS:
            if span_ns <= bound:
                break
            place += 1
        seen[place] += 1
        seen[-1] += span_ns

    def count(self, *values: str) -> int:
        """How many spans were counted for these values."""
        return sum(self._seen.get(values, [0])[:-1])

    def lines(self) -> list[str]:
        """See `Family.lines`."""
        told: list[str] = []
        for values, seen in self._seen.items():
            so_far = 0
            for bound, count in zip(LATENCY_BOUNDS_NS, seen, strict=False):
                so_far += count
                more = f'le="{_seconds(bound)}"'
                told.append(self._sample(values, str(so_far), "_bucket", more))
            so_far += seen[-2]
            told.append(self._sample(values, str(so_far), "_bucket", 'le="+Inf"'))
            told.append(self._sample(values, _seconds(seen[-1]), "_sum"))
            told.append(self._sample(values, str(so_far), "_count"))
        return told


class Registry:
    """The owner's metrics, by their names."""

    def __init__(self) -> None:
        self.opened = Counter("positions_opened_total", "Positions that became ACTIVE.", ("venue",))
        self.closed = Counter(
            "positions_closed_total", "Filled positions that ended.", ("venue", "reason")
        )
        self.stops_triggered = Counter(
            "stop_losses_triggered_total", "Stops that the venue triggered.", ("venue",)
        )
        self.trailing = Counter(
            "trailing_stops_activated_total", "Trailing stops that became ACTIVE.", ("venue",)
        )
        self.pnl = Gauge(
            "total_pnl_gauge", "Realised result of all positions, fees and funding included, USD."
        )
        self.win_rate = Gauge("win_rate_gauge", "Share of closed positions above zero, 0 to 1.")
        self.messages = Counter(
            "websocket_messages_total", "Messages of private streams and the feed.", ("source",)
        )
        self.calls = Counter(
            "api_calls_total", "Answered requests to venues.", ("venue", "kind", "outcome")
        )
        self.latency = Histogram(
            "api_latency_histogram", "Seconds from a request to its answer.", ("venue", "kind")
        )
        self.queries = Histogram(
            "db_query_duration_histogram", "Seconds from a query to its answer.", ("kind",)
        )
        self.health = Gauge(
            "health_check_status", "0 ok, 1 degraded, 2 critical; part all: the worst.", ("part",)
        )
        self.families: tuple[Family, ...] = (
            self.opened, self.closed, self.stops_triggered, self.trailing, self.pnl,
            self.win_rate, self.messages, self.calls, self.latency, self.queries, self.health,
        )  # fmt: skip

    def render(self) -> str:
        """Everything in Prometheus text format 0.0.4."""
        told: list[str] = []
        for family in self.families:
            told.append(f"# HELP {family.name} {family.help}")
            told.append(f"# TYPE {family.name} {family.kind}")
            told += family.lines()
        return "\n".join(told) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(span_ns: int) -> str:
    return text(Decimal(span_ns) / SECOND)
