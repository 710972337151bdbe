"""Metrics: the owner's names, exact figures, valid text; a run's figures are those of its end."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import InvariantViolation
from kernel.model.messages import (
    Effect,
    HttpFailed,
    HttpReply,
    HttpRequest,
    Input,
    StepResult,
    StoreCommit,
    Tick,
)
from kernel.model.units import MS, SECOND, MonoNs, TsNs
from kernel.model.venue import EffectClass
from kernel.watch.metering import Metering
from kernel.watch.metrics import LATENCY_BOUNDS_NS, Counter, Gauge, Histogram, Registry
from scenarios.driver import Driver
from tests.kernel.lives import FALL, RISE, START_NS, Life

OWNERS = (
    "positions_opened_total",
    "positions_closed_total",
    "stop_losses_triggered_total",
    "trailing_stops_activated_total",
    "total_pnl_gauge",
    "win_rate_gauge",
    "websocket_messages_total",
    "api_calls_total",
    "api_latency_histogram",
    "db_query_duration_histogram",
    "health_check_status",
)
SAMPLE = re.compile(
    r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*"(,[a-z]+="([^"\\\n]|\\["\\n])*")*)\})?'
    r" (-?[0-9]+(\.[0-9]+)?)"
)


def metered(corners: tuple[tuple[int, int], ...], venue: str = "binance") -> tuple[Life, Registry]:
    """A life with a metering beside it, from its first step on."""
    life = Life((venue,), corners)
    meter = Metering()
    for item, result in life.steps:
        meter.step(item, result)
    driver: Driver = life.driver
    driver.sinks = (*driver.sinks, meter)
    driver._seers = (*driver._seers, meter.step)
    life.until(3700)
    return life, meter.registry


def test_the_owners_metrics_are_there_by_their_names() -> None:
    assert tuple(family.name for family in Registry().families) == OWNERS


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_a_life_is_counted(venue: str) -> None:
    life, registry = metered(RISE, venue)
    assert registry.opened.value(venue) == 1
    assert registry.trailing.value(venue) == 1
    assert registry.stops_triggered.value(venue) == 1
    assert registry.closed.value(venue, "TRAILING_STOP") == 1
    (net,) = [one.values["net"] for one in life.decisions if one.kind == "position.result"]
    assert registry.pnl.value() == Decimal(net) > 0
    assert registry.win_rate.value() == 1
    commits = sum(isinstance(effect.body, StoreCommit) for effect in life.effects)
    assert registry.queries.count("commit") == commits
    assert registry.calls.value(venue, "submit", "ok") == 1
    assert registry.messages.value(venue) > 5
    assert registry.messages.value("feed") > 5


def test_a_loss_makes_the_result_negative_and_the_rate_zero() -> None:
    _, registry = metered(FALL)
    assert registry.pnl.value() < 0
    assert registry.win_rate.value() == 0
    assert registry.closed.value("binance", "STOP_LOSS") == 1


def test_the_health_is_told_by_part_and_as_a_whole() -> None:
    life = Life(("binance",), FALL)
    meter = Metering()
    life.until(300)
    life.driver._seers = (*life.driver._seers, meter.step)
    life.world.store.down(START_NS + 300 * SECOND, START_NS + 3000 * SECOND)
    life.until(400)
    assert meter.registry.health.value("database") == 1
    life.until(1000)
    assert meter.registry.health.value("database") == meter.registry.health.value("all") == 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (HttpReply(venue="bybit", status=200, headers=(), body=b""), "ok"),
        (HttpReply(venue="bybit", status=429, headers=(), body=b""), "4xx"),
        (HttpReply(venue="bybit", status=503, headers=(), body=b""), "5xx"),
        (HttpFailed(venue="bybit", reason="reset"), "no answer"),
    ],
)
def test_a_request_in_bytes_is_timed_and_counted_by_its_end(
    answer: HttpReply | HttpFailed, outcome: str
) -> None:
    meter = Metering()
    request = HttpRequest(venue="bybit", method="GET", path="/v5/market/time", params=())
    left = StepResult([Effect("k", EffectClass.QUERY, request)], [], [])
    meter.step(Input(1, TsNs(0), MonoNs(0), "tick", Tick()), left)
    for _ in range(2):  # the same answer once more is nobody's
        meter.step(Input(2, TsNs(0), MonoNs(7 * MS), "k", answer), StepResult([], [], []))
    kind = "GET /v5/market/time"
    assert meter.registry.calls.value("bybit", kind, outcome) == 1
    assert meter.registry.latency.count("bybit", kind) == 1


@given(
    st.lists(st.tuples(st.text(max_size=8), st.integers(0, 20 * SECOND)), max_size=30),
    st.decimals(-(10**9), 10**9, places=4),
)
def test_every_line_of_the_text_is_valid(seen: list[tuple[str, int]], money: Decimal) -> None:
    registry = Registry()
    for label, span_ns in seen:
        registry.latency.observe(span_ns, label, "submit")
        registry.calls.add(label, "submit", "ok")
    registry.pnl.set(money)
    for line in registry.render().split("\n")[:-1]:
        assert line.startswith("# ") or SAMPLE.fullmatch(re.sub(r"\s", " ", line)), line


@given(st.lists(st.integers(0, 20 * SECOND), min_size=1, max_size=50))
def test_buckets_are_cumulative_and_sums_exact(spans: list[int]) -> None:
    histogram = Histogram("h", "help")
    for span_ns in spans:
        histogram.observe(span_ns)
    lines = histogram.lines()
    counts = [int(line.rsplit(" ", 1)[1]) for line in lines[:-2]]
    bounds = [*LATENCY_BOUNDS_NS, max(spans)]
    assert counts == [sum(one <= bound for one in spans) for bound in bounds[:-1]] + [len(spans)]
    assert Decimal(lines[-2].rsplit(" ", 1)[1]) * SECOND == sum(spans)
    assert lines[-1] == f"h_count {len(spans)}"


def test_a_bucket_is_named_in_seconds() -> None:
    histogram = Histogram("h", "help", ("venue",))
    histogram.observe(5 * MS, "binance")
    assert histogram.lines()[0] == 'h_bucket{venue="binance",le="0.005"} 1'


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(InvariantViolation, match="labels"):
        Counter("c", "help", ("venue",)).add()
    with pytest.raises(InvariantViolation, match="labels"):
        Gauge("g", "help").set(Decimal(1), "binance")
    with pytest.raises(InvariantViolation, match="labels"):
        Histogram("h", "help", ("a", "b")).observe(1, "a")


def test_what_a_label_says_cannot_break_the_text() -> None:
    counter = Counter("c", "help", ("a",))
    counter.add('x"} 1\ny{a="')
    assert counter.lines() == ['c{a="x\\"} 1\\ny{a=\\""} 1']
