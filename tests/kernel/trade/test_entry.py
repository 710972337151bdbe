"""The entry saga: what is durable before it is sent, what is kept, and what never was."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import OrderStatus, OrderType, PositionSide
from kernel.model.positions import CloseReason, PositionState
from kernel.model.rows import ClaimRow, OrderRow
from kernel.model.units import MS, SECOND
from kernel.ports.store import Committed
from tests.kernel.fakes import INSTRUMENT, WALL, Rule
from tests.kernel.trade.entering import Entered

D = Decimal
ACTIVE, CLOSED = PositionState.ACTIVE, PositionState.CLOSED
ROLLED_BACK = PositionState.ROLLED_BACK
CANCELED, FILLED, REJECTED = OrderStatus.CANCELED, OrderStatus.FILLED, OrderStatus.REJECTED


@pytest.fixture
def bench():
    made = Entered()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- before anything is sent


def test_an_entry_becomes_a_position_with_a_stop(bench):
    position, _ = bench.open("0.005")
    assert position.state is ACTIVE
    assert position.qty == D("0.005")
    assert len(bench.venue.stops()) == 1
    states = [one.values["after"] for one in bench.kinds("position.state")]
    assert states == ["ENTRY_PLACED", "PENDING_SL", "ACTIVE"]


def test_claim_position_and_intents_are_one_commit_before_anything_is_sent(bench):
    commits, sent = [], []
    commit = bench.store.commit

    async def noted(rows, cls):
        commits.append(rows)
        sent.append(len(bench.venue.sent))
        return await commit(rows, cls)

    bench.store.commit = noted
    bench.services.epoch = 7
    opened_ns = bench.runtime.ts()
    position, _ = bench.open("0.002", "0.003")
    claim, row, *orders = commits[0]
    assert sent[0] == 0
    assert isinstance(claim, ClaimRow)
    assert [one.qty for one in orders] == [D("0.002"), D("0.003")]
    assert all(isinstance(one, OrderRow) for one in orders)
    assert row.position_id == position.id == f"binance:BTCUSDT:7:{opened_ns // MS}"
    assert (row.venue, row.symbol, row.side) == ("binance", "BTCUSDT", PositionSide.LONG)
    assert (row.state, row.intended_qty) == (PositionState.PENDING_ENTRY, D("0.005"))
    assert (row.wave_ns, row.once_key) == (WALL, bench.signal.once_key)
    assert (row.opened_ns, row.updated_ns) == (opened_ns, opened_ns)


def test_a_symbol_that_is_not_set_up_is_not_entered(bench):
    bench.reason = "leverage differs"
    assert bench.open("0.005")[0] is None
    (told,) = bench.kinds("entry.dropped")
    assert (told.cause, told.venue, told.symbol) == ("leverage differs", "binance", "BTCUSDT")
    assert bench.services.book.open() == []
    assert bench.venue.sent == []
    assert bench.store.rows == []


def never(bench, cause):
    """The one position was given up before anything was sent, and that is stored."""
    bench.after(1)
    (position,) = [bench.services.book.by_id(one) for one in bench.positions()]
    assert position.state is ROLLED_BACK
    assert position.row.close_reason == CloseReason.NEVER_FILLED
    orders = bench.services.orders.of_position(position.id)
    assert [one.row.status for one in orders] == [REJECTED] * len(orders)
    assert {one.cause for one in bench.kinds("order.concluded")} == {cause}
    assert bench.kinds("position.state")[-1].cause == cause
    assert bench.venue.requests("submit") == []
    return position


def test_without_a_durable_intent_nothing_is_sent(bench):
    async def down(rows, cls):
        raise errors.StoreError("down")

    commit, bench.store.commit = bench.store.commit, down
    assert bench.open("0.002", "0.003")[0] is None
    bench.store.commit = commit
    bench.after(10)
    position = never(bench, "the intent is not durable: down")
    assert bench.stored(position)[-1].state is ROLLED_BACK


def test_what_was_tried_before_is_not_tried_again(bench):
    commit = bench.store.commit

    async def claimed(rows, cls):
        if isinstance(rows[0], ClaimRow):
            return Committed(won=False)
        return await commit(rows, cls)

    bench.store.commit = claimed
    assert bench.open("0.005")[0] is None
    position = never(bench, "already tried")
    assert bench.stored(position)[-1].state is ROLLED_BACK


def test_what_expired_before_it_could_be_sent_is_not_sent(bench):
    bench.store.delay_ns = 2 * SECOND
    assert bench.open("0.005", lasts=1)[0] is None
    never(bench, "signal expired before the entry was sent")


# ---------------------------------------------------------------- what fills


def test_an_entry_of_which_nothing_fills_is_none(bench):
    bench.refuse(errors.Rejected, "-1")
    assert bench.open("0.005")[0] is None
    (position_id,) = bench.positions()
    position = bench.services.book.by_id(position_id)
    assert (position.state, position.row.close_reason) == (ROLLED_BACK, CloseReason.NEVER_FILLED)
    assert bench.stored(position)[-1].state is ROLLED_BACK
    assert bench.kinds("position.state")[-1].cause == "nothing filled"
    assert [one.cause for one in bench.kinds("order.concluded")] == ["Rejected -1"]
    assert bench.alerts("rollback") == []
    assert bench.venue.requests("place_stop") == []


def test_a_child_that_the_venue_ended_unfilled_keeps_its_own_end(bench):
    bench.venue.rests = (OrderType.MARKET,)
    bench.later(50, lambda: bench.venue.end(bench.sent(0), CANCELED))
    assert bench.open("0.005")[0] is None
    (order,) = bench.services.orders.of_position(bench.positions()[0])
    assert order.row.status is CANCELED
    assert bench.kinds("order.concluded") == []


def test_the_state_says_that_it_was_sent_before_anything_fills(bench):
    bench.venue.rests = (OrderType.MARKET,)
    bench.open("0.005", seconds=0.09)
    (position,) = bench.services.book.open()
    assert position.state is PositionState.ENTRY_PLACED
    bench.after(0.3)
    assert bench.stored(position)[-1].state is PositionState.ENTRY_PLACED


@pytest.mark.parametrize(
    ("children", "changes", "settings", "refused"),
    [
        (("0.003", "0.003"), {}, {}, ""),
        (("0.003", "0.004"), {}, {}, "only 0.003 of 0.007 filled"),
        (("0.003", "0.002"), {"min_qty": D("0.003")}, {}, ""),
        (("0.003", "0.002"), {"min_qty": D("0.004")}, {},
         "filled 0.003 is below the venue's minimum"),
        (("0.003", "0.002"), {}, {"MIN_POSITION_SIZE_USD": "126"}, ""),
        (("0.003", "0.002"), {}, {"MIN_POSITION_SIZE_USD": "126.1"},
         "filled notional is below 126.1 USD"),
    ],
)  # fmt: skip
def test_what_filled_is_kept_where_it_is_half_and_no_less_than_the_minima(
    children, changes, settings, refused
):
    bench = Entered(**settings)
    desk = bench.services.desks["binance"]
    desk.instruments["BTCUSDT"] = msgspec.structs.replace(INSTRUMENT, **changes)
    bench.refuse(errors.Rejected, "-1", when=lambda one: one.qty == D(children[1]) and
                 one.client_order_id.split("-")[3] == "E1")  # fmt: skip
    position, _ = bench.open(*children, seconds=60)
    alerts = [alert.text for alert in bench.alerts("rollback")]
    if refused:
        assert position is None
        assert alerts == [f"entry rolled back: {refused}"]
        assert bench.venue.held == {}
        assert bench.venue.stops() == []
    else:
        assert position.state is ACTIVE
        assert alerts == []


def test_where_it_must_be_visible_and_is_not_it_is_rolled_back():
    bench = Entered("bybit")
    bench.venue.rules.append(Rule("positions", empty=True, times=18))
    bench.hides()
    assert bench.open("0.005", seconds=90)[0] is None
    told = "entry rolled back: not visible after ten polls although executions prove a fill"
    assert [alert.text for alert in bench.alerts("rollback")] == [told]


def test_while_its_fills_are_polled_nobody_else_asks_for_the_position():
    bench = Entered("bybit")
    bench.venue.latency_ns = 0
    bench.venue.rules.append(Rule("positions", empty=True))
    bench.hides()
    bench.open("0.005", seconds=3)
    assert bench.when("positions") == [100, 300, 700, 1500, 2500]


def test_a_fill_that_comes_late_has_ten_polls_of_its_own_to_be_visible():
    bench = Entered("bybit")
    bench.venue.rests = (OrderType.MARKET,)
    bench.cancels_fail(until=60_000)
    bench.venue.rules.append(Rule("positions", empty=True, times=3))

    def fills():
        placed = bench.venue.orders[bench.sent(0)]
        bench.hides()
        bench.venue._fill(bench.sent(0), placed.report, D("0.005"))

    bench.later(8000, fills)
    position, _ = bench.open("0.005", seconds=60)
    assert position.state is ACTIVE
    assert bench.alerts("rollback") == []


def test_what_filled_of_an_entry_is_active_before_the_rest_is_given_up(bench):
    bench.rests("E1")
    position, at = bench.open("0.003", "0.002", seconds=20)
    assert position.state is ACTIVE
    (active,) = bench.became("ACTIVE")
    assert 2500 <= active < 3000
    cancels = bench.when("cancel")
    assert len(cancels) == 1
    assert active <= cancels[0] < at
    (_, child) = bench.services.orders.of_position(position.id)[:2]
    assert child.row.status is CANCELED


# ---------------------------------------------------------------- what is not known


def test_an_unknown_outcome_is_settled_and_polled_meanwhile(bench):
    bench.settling_ns = 5 * SECOND
    bench.refuse(errors.OutcomeUnknown)
    position, at = bench.open("0.005", seconds=30)
    assert position is None
    assert [when for when, _ in bench.settled] == [20]
    assert bench.when("executions")[:3] == [120, 360, 800]
    assert 5020 <= at < 6000, "nothing filled, as was proven"
    assert bench.kinds("position.state")[-1].cause == "nothing filled"


def test_an_entry_that_filled_under_an_unknown_outcome_is_kept(bench):
    bench.settling_ns = 20 * SECOND
    bench.refuse(errors.OutcomeUnknown, applied=True)
    position, _ = bench.open("0.005", seconds=30)
    assert position.state is ACTIVE
    assert bench.alerts("rollback") == []


def test_what_is_reported_filled_and_never_shown_is_given_up_before_the_deadline(bench):
    bench.only_reported("0.005")
    position, _ = bench.open("0.005", seconds=60)
    assert position is None
    (alert,) = bench.alerts("rollback")
    told = "reported filled, and no execution is shown in time"
    assert alert.text == f"entry rolled back: {told}"
    assert (alert.severity, alert.symbol) == ("CRITICAL", "BTCUSDT")
    (at,) = bench.became("ROLLBACK")
    assert 25_000 <= at < 33_500


def test_one_child_that_ended_says_nothing_of_another(bench):
    bench.settling_ns = 20 * SECOND
    bench.refuse(errors.Rejected, "-1", times=1)
    bench.refuse(errors.OutcomeUnknown)
    _, at = bench.open("0.002", "0.003", seconds=60)
    assert bench.became("ROLLED_BACK")[0] >= 20_000
    assert at >= 20_000


def test_one_child_whose_executions_are_never_shown_is_enough_to_give_up(bench):
    bench.refuse(errors.Rejected, "-1", times=1)
    bench.only_reported("0.003")
    bench.open("0.002", "0.003", seconds=60)
    (at,) = bench.became("ROLLBACK")
    assert 25_000 <= at < 33_500


def test_a_child_that_is_open_is_followed_also_after_that(bench):
    """A part is reported, the rest may still fill: it is cancelled first."""
    bench.only_reported("0.002")
    bench.cancels_fail(until=40_000)
    bench.open("0.005", seconds=38)
    assert bench.alerts("rollback") == []
    bench.after(30)
    assert len(bench.alerts("rollback")) == 1


def test_what_ends_unfilled_after_that_is_none_all_the_same(bench):
    bench.venue.rests = (OrderType.MARKET,)
    bench.cancels_fail(until=30_000)
    assert bench.open("0.005", seconds=60)[0] is None
    assert bench.alerts("rollback") == []
    assert bench.kinds("position.state")[-1].cause == "nothing filled"


def test_executions_that_come_at_the_last_moment_count(bench):
    bench.only_reported("0.005")

    def comes():
        (order,) = bench.services.orders.open_orders() or bench.children()
        bench.fills(order, "0.003")

    bench.later(25_500, comes)
    position, _ = bench.open("0.005", seconds=90)
    assert position.state is ACTIVE


# ---------------------------------------------------------------- ends meanwhile


@pytest.mark.parametrize("refused", [True, False])
def test_a_position_that_was_active_is_returned_whatever_became_of_it(bench, refused):
    bench.rests("E1")
    child = lambda one: one.client_order_id == bench.sent(1)
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1", times=4, when=child))
    bench.later(4000, lambda: bench.by_hand(refused=refused))
    position, at = bench.open("0.003", "0.002", seconds=30)
    assert at > 5000, "its child is given up for so long"
    assert position is not None
    assert position.state is (PositionState.CLOSING if refused else CLOSED)


def test_a_close_while_nothing_is_known_rolls_it_back(bench):
    bench.settling_ns = 5 * SECOND
    bench.refuse(errors.OutcomeUnknown, times=1)
    bench.later(1000, bench.by_hand)
    position, at = bench.open("0.005", seconds=30)
    assert position is None
    (alert,) = bench.alerts("rollback")
    assert alert.text == "entry rolled back: a close was asked for while it was entering"
    assert at >= 5000, "not before its child has ended"
    assert bench.kinds("position.state")[-1].cause == "proven flat"
    assert bench.services.book.open() == []


def test_a_close_while_it_is_being_sent_cancels_nothing_before_the_answer(bench):
    bench.venue.rules.append(Rule("submit", delay_ns=3 * SECOND))
    bench.later(1000, bench.by_hand)
    bench.venue.rests = (OrderType.MARKET,)
    position, _ = bench.open("0.005", seconds=30)
    assert position is None
    assert min(bench.when("cancel")) >= 3020
    assert bench.venue.held == {}


# ---------------------------------------------------------------- after a crash


def carried(bench, state, unknown=False, qty=""):
    position, children = bench.entry("0.005", state=state)
    if qty:
        bench.venue.open("BTCUSDT", position.side, qty, "42000")
        bench.fills(children[0], qty)
    return position, bench.result(
        bench.entries.carry_on(position, children, children if unknown else []), 60
    )


def test_an_entry_that_was_sent_is_carried_on_to_active(bench):
    position, (outcome, _) = carried(bench, PositionState.ENTRY_PLACED, qty="0.005")
    assert outcome is position
    assert position.state is ACTIVE
    assert bench.venue.requests("submit") == []


def test_what_is_unknown_of_an_entry_that_was_sent_is_settled(bench):
    bench.settling_ns = SECOND
    position, (outcome, at) = carried(bench, PositionState.ENTRY_PLACED, unknown=True)
    assert outcome is None
    assert position.state is ROLLED_BACK
    assert [when for when, _ in bench.settled] == [0]
    assert 1000 <= at < 1700


def test_one_that_was_stored_as_filled_without_executions_is_rolled_back(bench):
    position, children = bench.entry("0.005", state=PositionState.PENDING_SL)
    bench.reports(children[0], CANCELED)
    outcome, _ = bench.result(bench.entries.carry_on(position, children, []), 60)
    assert outcome is None
    assert position.state is ROLLED_BACK
    (alert,) = bench.alerts("rollback")
    assert alert.text.endswith("stored as filled, and no execution of it is known")
