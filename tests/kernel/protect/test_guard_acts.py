"""The guard: what it looks at, what it tells, and what it does once."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.candle import Candle
from kernel.model.messages import PriceRead, QuoteRead
from kernel.model.orders import OrderType, PositionSide, PriceSource
from kernel.model.positions import CloseReason, Origin, PositionRow, PositionState
from kernel.model.units import HOUR, MINUTE, SECOND, TsNs
from kernel.protect.guard import Guard
from kernel.protect.volatility import INTERVAL_NS
from tests.kernel.fakes import INSTRUMENT, WALL, Bench, Rule

D = Decimal
ALL = "medium,high,critical,emergency"
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTED = "guard.act"
NOW = TsNs(WALL + 31 * HOUR)


class Guarded(Bench):
    """A protected position at 42000 and a market of which every part can be told.

    Healthy it is at 87. Old alone: 72, MEDIUM. Old and near its stop: 46, HIGH; illiquid too: 31,
    CRITICAL; wild too: EMERGENCY.
    """

    def __init__(self, actions=ALL, side=LONG, *, venues=("binance",), **settings):
        super().__init__(Settings.load({"GUARD_ACTIONS": actions} | settings), venues)
        self.protection()
        self.run(30 * HOUR)
        self.position = self.protected(side=side)
        self.low = self.illiquid = self.wild = False
        self.side = side
        self.age_of = {"price": 0, "quote": 0}
        self.asked: Any = {"candles": [], "quote": 0}
        self.prices.last = self.last  # type: ignore[method-assign]
        self.prices.quote = self.quote  # type: ignore[method-assign]
        self.prices.candles = self.candles  # type: ignore[method-assign]
        self.short_by = 0
        self.guard = Guard(self.services, self.stops, self.exits)
        self.mark()

    def mark(self):
        self.began = self.runtime.now()

    def now_price(self):
        return D(42000 - 800 * self.side.sign) if self.low else D(42000)

    def last(self, venue, symbol, source):
        assert source is PriceSource.MARK
        return PriceRead(self.now_price(), TsNs(self.runtime.ts() - self.age_of["price"]))

    def quote(self, venue, symbol):
        self.asked["quote"] += 1
        price, wide = self.now_price(), D(500) if self.illiquid else D(0)
        # the side of the book that a close would meet is thin; the other one is deep
        thin = D("0.0001") if self.illiquid else D(10)
        bid, ask = (thin, D(10)) if self.side is LONG else (D(10), thin)
        at = TsNs(self.runtime.ts() - self.age_of["quote"])
        return QuoteRead(price - wide, price + wide, bid, ask, at)

    def candles(self, venue, symbol, source, interval_ns, count):
        self.asked["candles"].append(count)
        end = self.runtime.ts() // interval_ns * interval_ns
        opens = range(end - count * interval_ns, end, interval_ns)
        wild_ns = end - HOUR if self.wild else end
        return tuple(
            self.candle(at, 100 * (1 + at // interval_ns % 2) if at >= wild_ns else 0)
            for at in opens
            if at >= end - (count - self.short_by) * interval_ns
        )

    def tell(self, **answers):
        """The feed answers these questions always so."""
        for name, answer in answers.items():
            setattr(self.prices, name, lambda *given, answer=answer: answer)

    def candle(self, at, move):
        price = D(42000 + move)
        return Candle(TsNs(at), price, price, price, price, True)

    def old(self):
        self.position.update(first_fill_ns=TsNs(self.runtime.ts() - 100 * HOUR))

    def look(self, rounds=2, *, watched=None, **parts):
        """So many evaluations of a market like that: what was decided."""
        for name, value in parts.items():
            setattr(self, name, value)
        known = len(self.decisions)
        for _ in range(rounds):
            self.guard._round([self.position] if watched is None else list(watched))
            self.run(self.runtime.now() + 30 * SECOND)
        return [
            (one.kind, one.cause) for one in self.decisions[known:]
            if one.kind.startswith("guard.")
        ]  # fmt: skip


@pytest.fixture
def bench():
    made: Any = Guarded()
    yield made
    assert made.crashes == []


def at_level(bench, level, rounds=2):
    """The market and the age that make such a level."""
    bench.old()
    low = level in ("high", "critical", "emergency")
    return bench.look(
        rounds, low=low, illiquid=level in ("critical", "emergency"), wild=level == "emergency"
    )


# ---------------------------------------------------------------- levels


def test_a_healthy_position_is_not_spoken_of(bench):
    assert bench.look(5) == []


@pytest.mark.parametrize("level", ["medium", "high", "critical", "emergency"])
def test_a_level_that_two_evaluations_agree_on_is_told_with_its_parts(level):
    bench: Any = Guarded("none")
    assert at_level(bench, level, 1) == []
    assert bench.look(1) == [("guard.level", level)]
    assert bench.look(3) == []
    (said,) = bench.kinds("guard.level")
    assert sorted(said.values) == sorted(
        ("score", "pnl", "drawdown", "volatility", "time", "liquidity")
    )
    assert said.values["time"] == "0"
    assert (said.values["volatility"] == "100") is (level != "emergency")
    alerts = bench.alerts("guard.level")
    assert len(alerts) == (level in ("critical", "emergency"))
    assert all(one.severity == "WARNING" for one in alerts)
    assert bench.kinds(ACTED) == []


def test_a_position_that_recovers_is_told_too(bench):
    at_level(bench, "medium")
    bench.position.update(first_fill_ns=bench.runtime.ts())
    assert bench.look(2) == [("guard.level", "low")]


def test_a_short_is_judged_from_its_own_side():
    bench: Any = Guarded("none", SHORT)
    assert at_level(bench, "critical") == [("guard.level", "critical")]


def test_the_best_price_since_the_entry_is_kept():
    bench: Any = Guarded("none")
    bench.old()
    bench.look(1)
    healthy = bench.prices.last
    bench.prices.last = lambda *given: PriceRead(D(44000), bench.runtime.ts())
    bench.look(1)
    bench.prices.last = healthy
    bench.look(2)
    (said,) = bench.kinds("guard.level")[-1:]
    assert D(said.values["drawdown"]) == 0, "4.5 % below its best"


# ---------------------------------------------------------------- no verdict


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda b: b.position.update(first_fill_ns=TsNs(0)),
            "the age of the position is not known",
        ),
        (lambda b: b.position.update(entry_price=D(0)), "the entry of the position is not known"),
        (lambda b: setattr(b, "short_by", 10_000), "less than six hours of whole candles"),
        (lambda b: b.age_of.update(price=2 * MINUTE + 1), "no price of the last two minutes"),
        (lambda b: b.age_of.update(quote=2 * MINUTE + 1), "no quote of the last two minutes"),
        (lambda b: b.tell(last=PriceRead(D(0), NOW)), "no price of the last two minutes"),
        (
            lambda b: b.tell(quote=QuoteRead(D(0), D(0), D(0), D(0), NOW)),
            "no quote of the last two minutes",
        ),
    ],
    ids=["age", "entry", "candles", "old price", "old quote", "no price", "no quote"],
)
def test_without_what_it_needs_there_is_no_verdict_and_that_is_told_once(bench, change, why):
    change(bench)
    assert bench.look(3) == [("guard.blind", why)]


def test_what_is_two_minutes_old_is_young_enough(bench):
    bench.age_of.update(price=2 * MINUTE, quote=2 * MINUTE)
    assert bench.look(2) == []


def test_an_evaluation_that_was_not_possible_begins_the_count_anew(bench):
    at_level(bench, "medium", 1)
    bench.age_of["price"] = HOUR
    bench.look(1)
    bench.age_of["price"] = 0
    assert bench.look(1) == []
    assert bench.look(1)[0] == ("guard.level", "medium")
    bench.age_of["price"] = HOUR
    assert bench.look(1) == [("guard.blind", "no price of the last two minutes")], "told again"


# ---------------------------------------------------------------- acting


def test_at_medium_the_stop_moves_halfway_to_breakeven_once(bench):
    said = at_level(bench, "medium", 4)
    assert said == [("guard.level", "medium"), (ACTED, "medium")]
    assert bench.position.row.protected_level == 41580
    assert bench.position.row.guard_acted == "MEDIUM"
    stored = [one for one in bench.store.rows if isinstance(one, PositionRow)]
    assert any(one.guard_acted and one.protected_level == 41160 for one in stored), "before it"


def test_at_medium_a_stop_moves_halfway_from_where_it_is(bench):
    task = bench.spawn(bench.stops.tighten(bench.position, D(41900), "test"))
    bench.run(bench.runtime.now() + 2 * SECOND)
    assert task.result() is True
    placed = len(bench.venue.requests("place_stop"))
    at_level(bench, "medium")
    assert len(bench.venue.requests("place_stop")) == placed + 1
    assert bench.position.row.protected_level == 41950


def test_at_high_half_is_closed_once(bench):
    assert (ACTED, "high") in at_level(bench, "high", 4)
    assert [str(one.qty) for _, one in bench.venue.requests("submit")] == ["0.002"]
    assert bench.position.qty == D("0.003")
    assert bench.position.row.guard_acted == "HIGH"
    assert bench.position.state is PositionState.ACTIVE


@pytest.mark.parametrize(
    ("changes", "skipped"),
    [
        ({"min_qty": D("0.002")}, False),
        ({"min_qty": D("0.0021")}, True),
        ({"min_notional": D("82.4")}, False),
        ({"min_notional": D("82.5")}, True),
        ({"qty_step": D("0.004"), "min_qty": D(0)}, True),
    ],
    ids=str,
)
def test_a_half_below_the_minimum_of_the_venue_is_not_closed(changes, skipped):
    bench: Any = Guarded()
    instrument = msgspec.structs.replace(INSTRUMENT, **changes)
    bench.services.desks["binance"].instruments["BTCUSDT"] = instrument
    said = at_level(bench, "high", 3)
    assert (("guard.skipped", "half is below the venue's minimum") in said) is skipped
    assert bool(bench.venue.requests("submit")) is not skipped
    assert any(getattr(one, "guard_acted", "") == "HIGH" for one in bench.store.rows), "once"


@pytest.mark.parametrize(
    ("level", "limits"), [("critical", [OrderType.LIMIT]), ("emergency", [OrderType.MARKET])]
)
def test_at_the_worst_levels_it_is_closed_at_the_touch_or_at_market(bench, level, limits):
    assert (ACTED, level) in at_level(bench, level)
    assert [one.order_type for _, one in bench.venue.requests("submit")] == limits
    assert bench.position.state is PositionState.CLOSED
    assert bench.position.row.close_reason == CloseReason.GUARD
    assert bench.position.row.guard_acted == ""
    (said,) = bench.kinds("exit.submitted")
    assert level.upper() in said.cause


def test_a_level_that_it_is_not_told_to_act_on_is_only_told():
    bench: Any = Guarded("high")
    at_level(bench, "medium", 4)
    assert bench.kinds(ACTED) == []
    at_level(bench, "high", 4)
    assert [one.cause for one in bench.kinds(ACTED)] == ["high"]


def test_what_was_acted_on_before_a_start_is_not_done_again(bench):
    bench.position.update(guard_acted="MEDIUM,HIGH")
    assert at_level(bench, "high", 4) == [], "nor told: it goes on from the worst of them"
    assert bench.venue.requests("submit") == []


def test_without_a_level_nothing_moves(bench):
    bench.position.row = msgspec.structs.replace(bench.position.row, protected_level=D(0))
    moved = len(bench.venue.requests("place_stop"))
    bench.spawn(bench.guard._tighten(bench.position))
    bench.run(bench.runtime.now())
    assert len(bench.venue.requests("place_stop")) == moved


# ---------------------------------------------------------------- rounds


def test_rounds_come_every_half_minute_while_a_position_of_ours_is_kept():
    bench: Any = Guarded("none")
    rounds = []
    bench.guard._round = lambda watched: rounds.append(bench.runtime.now() - bench.began)
    bench.services.supervise("guard", bench.guard.run)
    bench.run(bench.began + 95 * SECOND)
    assert rounds == [30 * SECOND, 60 * SECOND, 90 * SECOND]
    bench.position.update(origin=Origin.FOREIGN)
    bench.run(bench.began + 300 * SECOND)
    assert len(rounds) <= 4


def test_a_guard_that_is_switched_off_looks_at_nothing():
    bench: Any = Guarded(GUARD_ENABLED="false")
    task = bench.spawn(bench.guard.run())
    bench.run(bench.runtime.now() + HOUR)
    assert task.done
    assert bench.asked["quote"] == 0


@pytest.mark.parametrize("why", ["closing", "concluded", "flat", "not active"])
def test_what_is_over_or_in_other_hands_is_not_looked_at(bench, why):
    if why == "closing":
        bench.venue.rules.append(Rule("submit", errors.Rejected, "-1"))
        bench.spawn(bench.exits.close(bench.position, CloseReason.OPERATOR, "test"))
        bench.run(bench.runtime.now() + SECOND)
    elif why == "concluded":
        bench.exits.in_progress = lambda position: True
    else:
        changes = {"filled_qty": D(0)} if why == "flat" else {"state": PositionState.PENDING_SL}
        bench.position.row = msgspec.structs.replace(bench.position.row, **changes)
    assert bench.look(1) == []
    assert bench.asked["quote"] == 0


def test_an_error_about_one_position_is_told_and_after_three_it_is_let_alone():
    bench: Any = Guarded("none")

    def broken(*given):
        raise ValueError("a bug")

    bench.prices.last = broken
    bench.look(8)
    assert [str(error) for _, error in bench.crashes] == 4 * ["a bug"]


def test_a_quote_is_used_again_for_75_seconds_while_the_level_stays(bench):
    bench.look(4)
    asked = bench.asked["quote"]
    assert asked == 2, "at 0 and at 90 seconds"
    bench.look(1, low=True, illiquid=True)
    assert bench.asked["quote"] == asked + 1, "a change of the level asks anew"


def test_candles_are_read_once_for_each_that_closes(bench):
    bench.look(1)
    first = bench.asked["candles"]
    assert len(first) == 1
    assert first[0] * INTERVAL_NS >= 24 * HOUR
    bench.look(22)
    more = bench.asked["candles"][1:]
    assert len(more) == 11 * MINUTE // INTERVAL_NS or len(more) == 11 * MINUTE // INTERVAL_NS + 1
    assert all(1 <= count <= 2 for count in more)
