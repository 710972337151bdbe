"""The entry of one line: what it meets between its lock and its saga, and how its room ends."""

from decimal import Decimal

import pytest

from kernel.model.orders import OrderStatus, PositionSide
from kernel.model.units import SECOND, MonoNs, TsNs
from kernel.signals.selection import FilterRules
from kernel.trade.wave_entry import WaveEntry
from kernel.trade.wave_lines import Stage, WaveLines
from tests.kernel.trade.parts import order_row
from tests.kernel.trade.wave_bench import SYMBOLS, WaveBench, signal

ONE = SYMBOLS[0]
EXPIRES = 100 * SECOND


class Saga:
    """Opens a position after a time, or leaves what it was told to."""

    def __init__(self, bench):
        self.bench = bench
        self.plans = []
        self.leaves = "position"
        self.entries_held = 0

    async def open(self, signal, plan):
        services = self.bench.services
        self.plans.append(plan)
        self.entries_held = self.bench.desk.gateway.limiter.buckets["orders"].entries_held
        if self.leaves == "order":
            services.orders.register(order_row("c1", symbol=plan.symbol))
        if self.leaves == "crash":
            raise RuntimeError("a bug")
        if self.leaves != "position":
            return None
        position = services.book.create(self.bench.saga.row(plan, signal))
        await services.runtime.sleep(SECOND)
        return position


class Entry:
    """One entry at a time on a bench of waves."""

    def __init__(self, **settings):
        self.bench = WaveBench(**settings)
        self.bench.risk.note_available("binance", Decimal(100_000), Decimal(100_000))
        self.saga = Saga(self.bench)
        self.claims: dict[str, None] = {}
        self.lines = WaveLines(FilterRules(), self.claims, lambda *_: None)
        self.lines.add([signal(ONE)])
        (self.line,) = self.lines
        self.line.stage = Stage.TRIED
        self.entry = WaveEntry(
            self.bench.services,
            self.saga,
            self.lines,
            wave_ns=TsNs(5),
            expires_ns=TsNs(self.bench.start_ns + EXPIRES),
            claims=self.claims,
        )
        self.result = []
        self.details: list[str] = []
        self.lines._on_drop = lambda _, detail: self.details.append(detail)

    def begin(self, until=90):
        async def one():
            try:
                self.result.append(await self.entry.enter(self.line))
            except RuntimeError as error:
                self.result.append(str(error))

        self.bench.runtime.spawn(one(), "entry")
        self.bench.until(until)
        return self

    @property
    def reserved(self):
        return self.bench.risk.reserved("binance")


@pytest.fixture(autouse=True)
def _ended():
    yield
    WaveBench.close_all()


@pytest.fixture
def entry():
    return Entry()


def dropped(entry, reason):
    assert entry.result == [None]
    assert (entry.line.stage, entry.line.reason) == (Stage.DROPPED, reason)
    assert entry.reserved == []
    assert entry.bench.desk.gateway.limiter.buckets["orders"].held == 0
    return True


def test_a_line_is_entered_with_what_was_sized_reserved_and_claimed(entry):
    entry.begin()
    (plan,) = entry.saga.plans
    assert entry.result[0].symbol == ONE
    assert (plan.wave_ns, plan.claim.wave_ns, plan.claim.once_key) == (5, 5, signal(ONE).once_key)
    assert plan.claim.claimed_ns == entry.bench.start_ns
    assert plan.expires_ns == entry.bench.start_ns + EXPIRES
    assert entry.claims == {signal(ONE).once_key: None}
    assert entry.saga.entries_held == 1, "the budget of one entry, its stop and its close"
    assert entry.bench.desk.gateway.limiter.buckets["orders"].held == 0
    assert entry.line.stage is Stage.TRIED


def test_a_symbol_that_stays_locked_is_not_entered(entry):
    async def hold():
        async with entry.bench.risk.hold("binance", ONE):
            await entry.bench.runtime.sleep(1000 * SECOND)

    entry.bench.runtime.spawn(hold(), "another")
    entry.bench.settle()
    entry.begin()
    assert dropped(entry, "lock_timeout")
    assert entry.saga.plans == []


def test_what_changed_since_it_was_validated_is_met_again(entry):
    entry.bench.desk.block_entries("resync")
    entry.begin()
    assert dropped(entry, "entries_blocked")
    assert entry.details == ["resync"]


def test_without_a_rate_budget_nothing_is_entered(entry):
    entry.bench.desk.gateway.limiter.exhaust("orders", MonoNs(1000 * SECOND))
    entry.begin(29)
    assert len(entry.reserved) == 1
    entry.bench.until(31)
    assert dropped(entry, "no_rate_budget")
    assert "no budget for entry and stop" in entry.details[0]


@pytest.mark.parametrize(
    ("at", "stops", "reason"),
    [(100, False, ""), (101, False, "expired"), (50, True, "stopping"), (101, True, "stopping")],
)
def test_time_and_a_stop_are_asked_once_more_when_the_budget_came(at, stops, reason):
    entry = Entry()
    entry.bench.until(80)
    entry.bench.desk.gateway.limiter.exhaust("orders", MonoNs(max(at, 81) * SECOND))

    def stop():
        entry.bench.services.stopping = stops

    entry.bench.runtime.call_at(MonoNs(81 * SECOND), stop)
    entry.begin(109)
    if reason:
        assert dropped(entry, reason)
        assert entry.saga.plans == []
        assert entry.claims == {}
    else:
        assert entry.result[0] is not None


def test_what_another_claimed_meanwhile_is_not_entered(entry):
    entry.bench.desk.gateway.limiter.exhaust("orders", MonoNs(SECOND))
    entry.begin(0)
    entry.claims[signal(ONE).once_key] = None
    entry.bench.until(2)
    assert dropped(entry, "already_tried")
    assert entry.saga.plans == []


def test_an_entry_that_left_nothing_frees_its_room(entry):
    entry.saga.leaves = "nothing"
    entry.begin()
    assert entry.bench.risk.under_way("binance") == 0
    assert dropped(entry, "entry_failed")


@pytest.mark.parametrize(
    ("leaves", "reserved"), [("order", 1), ("position", 0), ("nothing", 0), ("crash", 0)]
)
def test_room_is_kept_as_long_as_an_order_is_not_proven_to_have_ended(leaves, reserved):
    entry = Entry()
    entry.saga.leaves = leaves
    entry.begin()
    assert len(entry.reserved) == reserved
    assert entry.bench.desk.gateway.limiter.buckets["orders"].held == 0
    if leaves == "order":
        (order,) = entry.bench.services.orders.open_orders()
        entry.bench.services.orders.conclude(order, OrderStatus.REJECTED, "never placed")
        assert entry.reserved == []


@pytest.mark.parametrize(
    ("leaves", "refusal"), [("position", "margin"), ("order", "margin"), ("nothing", "")]
)
def test_the_margin_of_an_entry_is_free_again_only_where_it_left_nothing(leaves, refusal):
    entry = Entry()
    entry.bench.risk.note_available("binance", Decimal(60), Decimal(60))
    entry.saga.leaves = leaves
    entry.begin()
    next_one = ("binance", SYMBOLS[1], PositionSide.LONG, Decimal(200))
    assert entry.bench.risk.refusal(*next_one) == refusal
