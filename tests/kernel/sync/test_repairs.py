"""What is done about each difference between a venue and the books, when, and how often."""

from dataclasses import dataclass, field

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.ids import Leg
from kernel.model.orders import PositionSide, Side
from kernel.model.positions import CloseReason, Origin, PositionState
from kernel.model.units import SECOND, TsNs
from kernel.sync.repairs import Repairs
from kernel.sync.snapshot import VenueSnapshot
from tests.kernel.fakes import D, Rule
from tests.kernel.sync.whole import SYMBOL, Whole, execution, own_id

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


@dataclass
class Bench(Whole):
    """A kernel that holds reads of one venue against its books, with a lag of 2 s."""

    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.settings = Settings.load({"VISIBILITY_LAG_SECONDS": "2"} | self.values)
        super().__post_init__()
        self.repairs = Repairs(
            self.services,
            self.desk,
            adoption=self._adoption(),
            stops=self.stops,
            exits=self.exits,
        )
        self.prices.push(SYMBOL, "42000")
        self.after(100)

    def _adoption(self):
        return self.parts.resyncs["binance"]._repairs._adoption

    def read(self, *rows, seconds=3):
        """One complete read that shows these positions, and what comes of it."""
        self.repairs.compare(
            VenueSnapshot(
                "binance",
                requested_ns=self.runtime.now(),
                requested_ts_ns=self.runtime.ts(),
                positions=rows,
                plain=(),
                conditional=(),
            )
        )
        if seconds is not None:
            self.after(seconds)
        return self

    def row(self, **changes):
        """What the venue shows of its position now."""
        return msgspec.structs.replace(self.venue.position_report(SYMBOL), **changes)

    def unknown(self, side=LONG):
        """The venue has a position that nobody here knows."""
        self.venue.open(SYMBOL, side, "0.005", "42000")
        return self.row()

    def active(self, **given):
        """A protected position whose last execution is a while ago."""
        position = self.protected(**given)
        self.after(5)
        return position

    def count(self, kind):
        return len(self.kinds(kind))


def begun(**values):
    return Bench(values=values)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- nothing differs


def test_before_the_first_read_nothing_waits(bench):
    assert not bench.repairs.waiting
    assert not bench.repairs.mending


def test_where_nothing_differs_nothing_is_done(bench):
    position = bench.active()
    asked = len(bench.asked())
    bench.read(bench.row()).read(bench.row())
    assert len(bench.asked()) == asked
    assert not bench.repairs.waiting
    assert not bench.repairs.mending
    assert position.state is PositionState.ACTIVE


# ---------------------------------------------------------------- a position that is not shown


def test_one_read_that_does_not_show_a_position_ends_nothing(bench):
    position = bench.active()
    bench.venue.held.clear()
    bench.read()
    assert bench.repairs.waiting
    assert not bench.repairs.mending
    assert bench.count("sync.phantom") == 0
    assert position.state is PositionState.ACTIVE


def test_two_reads_that_do_not_show_it_end_it_where_its_executions_tell_why(bench):
    position = bench.active()
    bench.venue.held.clear()
    bench.venue.fills.append(execution(9, Side.SELL, ts_ns=bench.runtime.ts()))
    bench.after(1)
    bench.read().read(seconds=10)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == "EXTERNAL"
    (told,) = bench.kinds("sync.phantom")
    assert (told.venue, told.symbol, told.position_id) == ("binance", SYMBOL, position.id)
    assert (told.cause, told.values["qty"]) == ("two complete reads show no position", "0.005")
    assert bench.asked("submit") == []


def test_one_that_nothing_explains_keeps_its_stop_for_a_minute_and_is_told_of_once(bench):
    position = bench.active()
    held = bench.venue.held.pop(SYMBOL)
    bench.venue.held["HIDDEN"] = held
    begun_ns = bench.runtime.now()
    while bench.runtime.now() - begun_ns < 60 * SECOND:
        bench.read(seconds=5)
    assert position.state is PositionState.ACTIVE
    assert len(bench.venue.stops()) == 1
    bench.read(seconds=10)
    assert (position.state, position.row.close_reason) == (PositionState.CLOSED, "EXTERNAL")
    assert len(bench.alerts("exit.unexplained")) == 1
    assert bench.count("sync.phantom") == 1


def test_one_that_comes_back_and_goes_again_is_told_of_again(bench):
    position = bench.active()
    row, held = bench.row(), bench.venue.held.pop(SYMBOL)
    bench.read().read()
    bench.venue.held[SYMBOL] = held
    bench.read(row)
    assert position.state is PositionState.ACTIVE
    bench.venue.held.clear()
    bench.read().read()
    assert bench.count("sync.phantom") == 2


def test_one_that_waits_to_be_explained_calls_for_more_reads(bench):
    bench.active()
    bench.venue.held.clear()
    bench.read().read()
    assert bench.repairs.mending


# ---------------------------------------------------------------- another side, another size


def test_one_that_has_turned_round_is_over_after_two_reads(bench):
    position = bench.active()
    bench.venue.open(SYMBOL, SHORT, "0.005", "41000")
    bench.read(bench.row())
    assert position.state is PositionState.ACTIVE
    bench.read(bench.row(), seconds=10)
    assert position.state is PositionState.CLOSED
    assert bench.kinds("sync.side")[0].cause == "the venue shows SHORT"
    assert position.row.close_reason == "EXTERNAL"


@pytest.mark.parametrize("qty", ["0.003", "0.008"])
def test_the_venues_size_wins_after_two_reads_and_the_level_stays(bench, qty):
    position = bench.active()
    level = position.row.protected_level
    bench.venue.held[SYMBOL].qty = D(qty)
    row = bench.row(entry_price=D(43000))
    bench.read(row)
    assert position.qty == D("0.005")
    bench.store.rows.clear()
    bench.read(row, seconds=0)
    (stored,) = [one for one in bench.store.rows if hasattr(one, "origin")]
    assert stored.filled_qty - stored.closed_qty == D(qty)
    bench.after(10)
    assert (position.qty, position.row.protected_level) == (D(qty), level)
    assert [one.qty for one in bench.venue.stops()] == [D(qty)]
    assert bench.kinds("sync.size")[0].cause == f"the venue shows {qty}"


def test_what_came_to_it_came_at_the_venues_average(bench):
    position = bench.active()
    bench.venue.held[SYMBOL].qty = D("0.010")
    row = bench.row(entry_price=D(43000))
    bench.read(row).read(row, seconds=10)
    assert position.row.entry_price > 42000


def test_without_an_average_of_the_venue_ours_stays(bench):
    position = bench.active()
    bench.venue.held[SYMBOL].qty = D("0.010")
    row = bench.row(entry_price=D(0))
    bench.read(row).read(row, seconds=10)
    assert position.row.entry_price == 42000


def test_more_than_we_have_is_protected_after_one_read(bench):
    position = bench.active()
    bench.venue.held[SYMBOL].qty = D("0.008")
    bench.venue._say_position(SYMBOL)
    bench.after(1)
    row = bench.row(updated_ns=bench.runtime.ts())
    position.hear(row)
    bench.read(row, seconds=1)
    assert D("0.008") in [one.qty for one in bench.venue.stops()]
    assert position.qty == D("0.005")
    assert bench.count("sync.size") == 0


# ---------------------------------------------------------------- one that nobody knows


def test_one_that_nobody_knows_is_guarded_after_one_read_and_identified_after_two(bench):
    bench.unknown()
    bench.after(1)
    bench.read(bench.row())
    (position,) = bench.services.book.open()
    assert len(bench.venue.stops()) == 1
    assert bench.kinds("position.found")[0].cause == "one read shows it"
    assert bench.count("position.untracked") == 0
    bench.read(bench.row()).read(bench.row()).read(bench.row())
    assert bench.count("position.untracked") == 1
    assert bench.kinds("position.untracked")[0].cause == "on the venue in two complete reads"
    assert position.row.origin is Origin.FOREIGN


def alone():
    """Only told of, by policy."""
    bench = begun(UNTRACKED_POLICY="alert")
    bench.unknown()
    bench.venue.fills = [execution(1, client_order_id="web_1")]
    bench.after(1)
    return bench


def test_one_that_is_only_told_of_is_told_of_once_after_two_reads():
    bench = alone()
    bench.read(bench.row())
    assert bench.repairs.waiting
    assert bench.count("position.untracked") == 0
    for _ in range(4):
        bench.read(bench.row())
    assert bench.count("position.untracked") == 1
    assert bench.services.book.open() == []
    assert not bench.repairs.waiting
    assert not bench.repairs.mending


def test_one_that_is_only_told_of_is_told_of_again_where_it_went_or_turned():
    bench = alone()
    for _ in range(4):
        bench.read(bench.row())
    bench.read()
    for _ in range(3):
        bench.read(bench.row())
    assert bench.count("position.untracked") == 2
    bench.venue.open(SYMBOL, SHORT, "0.005", "42000")
    bench.after(1)
    for _ in range(3):
        bench.read(bench.row())
    assert bench.count("position.untracked") == 3


def test_one_that_is_only_told_of_and_reported_is_not_called_gone():
    bench = alone()
    bench.desk.hear_position(bench.row())
    for _ in range(4):
        bench.read(bench.row())
    assert bench.count("sync.gone") == 0


def test_one_that_is_only_told_of_is_compared_once_a_position_of_the_book_is_there():
    bench = alone()
    for _ in range(4):
        bench.read(bench.row())
    held = bench.venue.held[SYMBOL]
    position = bench.filled(state=PositionState.ACTIVE, qty="0.002")
    bench.venue.held[SYMBOL] = held
    bench.after(5)
    row = bench.row(updated_ns=bench.runtime.ts())
    bench.read(row).read(row)
    assert bench.count("sync.size") == 1
    assert position.qty == D("0.005")


def test_one_of_ours_that_was_taken_is_not_only_told_of():
    bench = begun(UNTRACKED_POLICY="alert")
    bench.unknown()
    bench.venue.fills = [execution(1, client_order_id=own_id(Leg.ENTRY))]
    bench.after(1)
    bench.read(bench.row()).read(bench.row())
    (position,) = bench.services.book.open()
    position.transition(PositionState.CLOSING, "by a test")
    position.transition(PositionState.CLOSED, "by a test")
    bench.after(60)
    bench.read(bench.row()).read(bench.row())
    assert bench.count("position.untracked") == 2


def test_where_nobody_can_tell_whose_it_is_the_next_read_asks_again():
    bench = alone()
    bench.venue.rules.append(Rule("executions", errors.OutcomeUnknown))
    for _ in range(3):
        bench.read(bench.row())
    assert bench.count("position.untracked") == 0
    assert bench.crashes == []
    bench.venue.rules.clear()
    bench.read(bench.row())
    assert bench.count("position.untracked") == 1


# ---------------------------------------------------------------- one that was reported


def test_one_that_was_reported_and_never_ours_is_forgotten_after_two_reads(bench):
    bench.unknown()
    bench.desk.hear_position(bench.row())
    bench.venue.held.clear()
    bench.after(5)
    bench.read()
    assert (SYMBOL, "BOTH") in bench.desk.reported
    assert bench.repairs.waiting
    bench.read()
    assert (SYMBOL, "BOTH") not in bench.desk.reported
    (gone,) = bench.kinds("sync.gone")
    assert (gone.venue, gone.symbol, gone.values["qty"]) == ("binance", SYMBOL, "0.005")
    assert gone.cause == "two complete reads show no position"
    bench.read().read()
    assert bench.count("sync.gone") == 1


def test_a_report_without_quantity_is_nothing_to_forget(bench):
    bench.unknown()
    bench.desk.hear_position(bench.row(qty=D(0)))
    bench.venue.held.clear()
    bench.after(5)
    bench.read().read()
    assert bench.count("sync.gone") == 0
    assert not bench.repairs.waiting


def test_a_report_that_was_forgotten_meanwhile_is_nothing_to_tell(bench):
    bench.unknown()
    bench.desk.hear_position(bench.row())
    bench.venue.held.clear()
    bench.after(5)
    bench.read()
    bench.read(seconds=0)
    bench.repairs._forget(SYMBOL, "BOTH")
    assert bench.count("sync.gone") == 1


# ---------------------------------------------------------------- what is in progress


def busy(bench, how):
    """A position that the venue does not show, with something in progress."""
    position = bench.filled() if how == "no stop yet" else bench.active()
    if how == "an operation":
        bench.spawn(hold(bench, position.lock))
    elif how == "its stop":
        bench.spawn(hold(bench, position.stops.lock))
    bench.after(5)
    bench.venue.held.clear()
    return position


async def hold(bench, lock):
    async with lock:
        await bench.runtime.sleep(10**13)


@pytest.mark.parametrize("how", ["no stop yet", "an operation", "its stop"])
def test_where_something_is_in_progress_nothing_is_said_and_another_read_comes(bench, how):
    position = busy(bench, how)
    bench.read()
    assert not bench.repairs.waiting
    bench.read().read()
    assert bench.count("sync.phantom") == 0
    assert not position.state.terminal
    assert bench.repairs.mending
    assert not bench.repairs.waiting
    assert bench.repairs.busy_symbols() == [SYMBOL]


def test_while_its_end_is_being_proven_a_position_is_busy(bench):
    position = bench.active()
    bench.venue.rules.append(Rule("executions", delay_ns=SECOND))
    bench.spawn(bench.exits.conclude(position, CloseReason.EXTERNAL, unexplained=False))
    bench.after(0.01)
    assert position.state is PositionState.ACTIVE
    assert bench.repairs.busy_symbols() == [SYMBOL]


def test_while_the_sending_of_a_stop_has_an_unknown_outcome_a_position_is_busy(bench):
    position = bench.active()
    bench.venue.rules.append(Rule("place_stop", errors.OutcomeUnknown))
    bench.venue.rules.append(Rule("query_order", errors.OutcomeUnknown))
    bench.venue.rules.append(Rule("open_orders", errors.OutcomeUnknown))
    bench.spawn(bench.stops.tighten(position, D(41500), "by a test"))
    while not position.stops.doubtful() or position.stops.lock.locked:
        bench.after(0.1)
    assert bench.repairs.busy_symbols() == [SYMBOL]


@pytest.mark.parametrize("what", ["phantom", "gone", "unknown"])
def test_a_symbol_is_busy_from_the_moment_a_read_calls_for_a_repair(bench, what):
    if what == "phantom":
        bench.active()
    else:
        bench.unknown()
    rows = (bench.row(),) if what == "unknown" else ()
    if what == "gone":
        bench.desk.hear_position(bench.row())
    bench.venue.held.clear()
    bench.after(5)
    if what != "unknown":
        bench.read()
    bench.read(*rows, seconds=None)
    assert bench.repairs.busy_symbols() == [SYMBOL]
    bench.after(1)


def test_a_mend_that_is_begun_again_after_a_crash_is_busy_again():
    bench = begun(UNTRACKED_POLICY="alert")
    bench.unknown()
    bench.after(1)
    tries = []

    async def broken(venue, report, cause):
        tries.append(cause)
        if len(tries) == 1:
            raise ValueError("a mistake")
        await bench.runtime.sleep(1000 * SECOND)

    bench.repairs._adoption.guard = broken
    bench.read(bench.row(), seconds=0)
    while len(tries) < 2:
        bench.after(0.1)
    assert bench.repairs.busy_symbols() == [SYMBOL]


def test_one_that_is_closed_by_policy_is_not_resized_as_well():
    bench = begun(UNTRACKED_POLICY="close")
    bench.unknown()
    bench.after(1)
    bench.read(bench.row())
    (position,) = bench.services.book.open()
    bench.after(1)
    row = bench.row(qty=D("0.004"))
    bench.read(row)
    bench.venue.rules.append(Rule("submit", delay_ns=SECOND))
    bench.read(row, seconds=20)
    assert position.state is PositionState.CLOSED
    assert bench.count("sync.size") == 0


def test_where_nothing_is_in_progress_no_symbol_is_busy(bench):
    bench.active()
    assert bench.repairs.busy_symbols() == []


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        ({"position_id": "other"}, False),
        ({"position_id": ""}, True),
        ({"position_id": "other", "reduce_only": True}, True),
    ],
)
def test_where_an_entry_of_ours_is_not_settled_nothing_is_compared(bench, changes, compared):
    bench.unknown()
    bench.after(1)
    bench.order(own_id(Leg.ENTRY), **changes)
    bench.read(bench.row())
    assert bool(bench.kinds("position.found")) is compared


def test_a_symbol_is_busy_while_it_is_mended_and_is_not_mended_twice(bench):
    bench.unknown()
    bench.after(1)
    bench.venue.rules.append(Rule("executions", delay_ns=3 * SECOND))
    bench.read(bench.row(), seconds=1)
    assert bench.repairs.busy_symbols() == [SYMBOL]
    bench.read(bench.row(), seconds=5)
    assert bench.count("position.found") == 1
    assert bench.repairs.busy_symbols() == []


def test_a_mend_that_crashes_leaves_its_symbol_free():
    bench = begun(UNTRACKED_POLICY="alert")
    bench.unknown()
    bench.after(1)

    def broken(venue, report, cause):
        raise ValueError("a mistake")

    bench.repairs._adoption.guard = broken
    bench.read(bench.row(), seconds=300)
    assert bench.repairs.busy_symbols() == []
    assert len(bench.crashes) > 0


# ---------------------------------------------------------------- what was executed


def test_a_read_asked_before_the_last_execution_says_nothing(bench):
    position = bench.active()
    bench.venue.held.clear()
    late = execution(9, Side.BUY, "0.001", ts_ns=TsNs(bench.runtime.ts() + 4 * SECOND))
    position.apply_fill(late)
    bench.read().read()
    assert bench.count("sync.phantom") == 0
    bench.read().read()
    assert bench.count("sync.phantom") == 1


def test_an_execution_that_the_stream_told_counts_like_one_of_the_books(bench):
    bench.active()
    bench.venue.held.clear()
    late = execution(9, Side.BUY, "0.001", symbol=SYMBOL, ts_ns=bench.runtime.ts() + 4 * SECOND)
    bench.services.orders.executed.hear("binance", late)
    bench.read().read()
    assert bench.count("sync.phantom") == 0
    bench.read().read()
    assert bench.count("sync.phantom") == 1


def test_a_row_that_is_older_than_an_execution_of_the_books_is_not_compared(bench):
    position = bench.active()
    row = bench.row(qty=D("0.009"))
    late = execution(9, Side.BUY, "0.001", ts_ns=TsNs(row.updated_ns + 2 * SECOND))
    position.apply_fill(late)
    bench.read(row).read(row)
    assert bench.count("sync.size") == 0
    assert bench.repairs.mending
