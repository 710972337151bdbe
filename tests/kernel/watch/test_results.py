"""Results: exact sums, compared with a plain reading of the definitions; restarts go on."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.messages import StoreCommit, StoreLoad, StoreLoaded
from kernel.model.orders import PositionSide
from kernel.model.positions import Origin, PositionRow, PositionState
from kernel.model.rows import PerformanceRow, row_key
from kernel.model.units import DAY, HOUR, ZERO, TsNs, text
from kernel.store.memory import MemoryBackend
from kernel.store.simulated import SimulatedStore
from kernel.watch.results import RUNNING, YEAR, ResultBook, Tally, counts

MONEY = st.decimals(-500, 500, places=2)
CLOSES = st.lists(st.tuples(st.integers(0, 60), MONEY, st.decimals(0, 5, places=3)), max_size=40)


def ended(pnl: Decimal, fees: Decimal = ZERO, funding: Decimal = ZERO) -> PositionRow:
    return PositionRow(
        position_id="p",
        venue="binance",
        symbol="BTCUSDT",
        side=PositionSide.LONG,
        state=PositionState.CLOSED,
        filled_qty=Decimal(1),
        realized_pnl=pnl,
        fees=fees,
        funding=funding,
    )


def at(hours: int) -> TsNs:
    return TsNs(20_000 * DAY + hours * HOUR)


def test_net_counts_fees_and_funding() -> None:
    tally = Tally("binance")
    tally.add(ended(Decimal(10), Decimal(1), Decimal("-0.5")), at(0))
    tally.add(ended(Decimal("0.5"), Decimal(1)), at(1))
    found = tally.results(at(1))
    assert (found.net, found.fees, found.funding) == (Decimal(8), Decimal(2), Decimal("-0.5"))
    assert (found.closed, found.wins, found.win_rate) == (2, 1, "0.5")
    assert found.profit_factor == "17"
    assert found.drawdown == Decimal("0.5")


def test_what_is_not_known_yet_is_empty() -> None:
    found = Tally("").results(at(0))
    assert (found.win_rate, found.profit_factor, found.sharpe) == ("", "", "")


def test_the_ratio_of_daily_results_worked_by_hand() -> None:
    """Days of 3, 1, -1: mean 1, standard deviation 2, so half of √365; then a day without any."""
    tally = Tally("")
    for day, net in enumerate((3, 1, -1)):
        tally.add(ended(Decimal(net)), at(24 * day))
    assert tally.results(at(24 * 3)).sharpe == "9.552487"
    expected = Decimal("0.75") / (Decimal("8.75") / 3).sqrt() * YEAR.sqrt()
    assert tally.results(at(24 * 4)).sharpe == text(expected.quantize(Decimal("0.000001")))


def test_equal_days_and_a_single_day_have_no_ratio() -> None:
    tally = Tally("")
    tally.add(ended(Decimal(5)), at(0))
    assert tally.results(at(24)).sharpe == ""
    tally.add(ended(Decimal(5)), at(24))
    assert tally.results(at(48)).sharpe == ""


@given(CLOSES)
def test_sums_are_what_the_definitions_say(closes: list[tuple[int, Decimal, Decimal]]) -> None:
    tally, hour = Tally(""), 0
    nets: list[tuple[int, Decimal]] = []
    for wait, pnl, fee in closes:
        hour += wait
        tally.add(ended(pnl, fee), at(hour))
        nets.append((hour // 24, pnl - fee))
    found = tally.results(at(hour))
    total = peak = worst = ZERO
    for _, net in nets:
        total += net
        peak = max(peak, total)
        worst = max(worst, peak - total)
    assert (found.net, found.drawdown) == (total, worst)
    assert found.wins == sum(1 for _, net in nets if net > 0)
    if nets:
        days = range(nets[0][0], hour // 24)
        daily = [sum((net for of, net in nets if of == day), ZERO) for day in days]
        assert (found.sharpe == "") is (len(daily) < 2 or len(dict.fromkeys(daily)) == 1)


@given(CLOSES, st.integers(0, 40))
def test_a_restart_changes_no_figure(
    closes: list[tuple[int, Decimal, Decimal]], cut: int
) -> None:
    whole, store = ResultBook(("binance",)), SimulatedStore(MemoryBackend())
    split, hour = ResultBook(("binance",)), 0
    for number, (wait, pnl, fee) in enumerate(closes):
        hour += wait
        whole.add(ended(pnl, fee), at(hour))
        if number == cut:
            split = ResultBook(("binance",))
            split.restore(loaded(store))
        rows = split.add(ended(pnl, fee), at(hour))
        store.submit("c", StoreCommit(rows=rows), hour)
        store.complete("c", hour)
    assert split.whole.results(at(hour)) == whole.whole.results(at(hour))


def loaded(store: SimulatedStore) -> tuple[PerformanceRow, ...]:
    store.submit("load", StoreLoad(), 0)
    answer = store.complete("load", 0)
    assert isinstance(answer, StoreLoaded)
    return answer.state.performance


def test_only_filled_positions_of_ours_count() -> None:
    row = ended(Decimal(1))
    assert counts(row)
    assert not counts(msgspec.structs.replace(row, filled_qty=ZERO))
    assert not counts(msgspec.structs.replace(row, origin=Origin.FOREIGN))


def test_the_sums_are_one_row_a_venue_and_snapshots_are_kept_apart() -> None:
    tally = Tally("binance")
    tally.add(ended(Decimal(5)), at(0))
    first, later = (tally.snapshot(at(hour), period="interval", positions=1) for hour in (1, 2))
    assert row_key(first) != row_key(later)
    assert row_key(tally.row) == row_key(Tally("binance").row) != row_key(first)
    assert (first.win_rate, first.positions) == ("1", 1)
    assert tally.row.period == RUNNING
