"""The registry: what it tells to whom, what it links, and what it lets go of."""

from decimal import Decimal
from typing import Any

import pytest

from kernel.errors import InvariantViolation
from kernel.model.ids import Leg, parse_client_order_id
from kernel.model.orders import OrderClass, OrderStatus, Side
from kernel.model.units import MINUTE, SECOND, TsNs
from kernel.trade import parking
from kernel.trade.orders import OrderRegistry
from tests.kernel.trade.parts import (
    START_TS,
    SYMBOL,
    VENUE,
    Bench,
    fill,
    order_row,
    report,
)

NEW, PART, FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
CANCELED, REJECTED, FINISHED = OrderStatus.CANCELED, OrderStatus.REJECTED, OrderStatus.FINISHED
PLAIN, CONDITIONAL = OrderClass.PLAIN, OrderClass.CONDITIONAL
OURS = "wk7-1b-abcdef-E0-0"


class Told(Bench):
    """A bench that keeps what the registry tells."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []
        orders = self.orders
        orders.on_stray = lambda venue, one: self.told.append(("stray", venue, one.trade_id))
        orders.on_unknown = lambda venue, one: self.told.append(
            ("unknown", venue, one.venue_order_id)
        )
        orders.on_unheard = lambda venue, at: self.told.append(("unheard", venue, at))
        orders.on_reappeared = lambda one: self.told.append(("reappeared", one.client_order_id))

    def say(self, client: str, venue_id: str, status: OrderStatus, at: int = 0, **changes: Any):
        """A report by the stream, of now."""
        one = report(client, venue_id, status, START_TS + at, **changes)
        return self.orders.on_report(VENUE, one, streamed=True)


@pytest.fixture
def bench():
    return Told()


def stop(bench, client="s1"):
    """A conditional that triggered and became the plain order p9."""
    order = bench.orders.register(order_row(client, order_class=CONDITIONAL, side=Side.SELL))
    bench.say(client, "a1", NEW, order_class=CONDITIONAL)
    bench.say(client, "a1", FINISHED, 2, order_class=CONDITIONAL, child_order_id="p9")
    return order


# ---------------------------------------------------------------- ids


def test_an_id_names_the_wave_or_the_minute_of_the_opening(bench):
    position = bench.position()
    position.update(wave_ns=TsNs(START_TS + 30 * MINUTE), opened_ns=TsNs(START_TS + 90 * MINUTE))
    by_wave = parse_client_order_id(bench.orders.new_id(position, Leg.ENTRY))
    position.update(wave_ns=TsNs(0))
    by_opening = parse_client_order_id(bench.orders.new_id(position, Leg.ENTRY))
    assert by_wave is not None
    assert by_opening is not None
    assert by_wave.wave_minute == START_TS // MINUTE + 30
    assert by_opening.wave_minute == START_TS // MINUTE + 90
    assert (by_wave.child, by_opening.child) == (0, 0)


def test_an_id_that_was_used_is_not_given_again(bench):
    position = bench.position()
    first = bench.orders.new_id(position, Leg.ENTRY)
    bench.orders.register(order_row(first))
    position.update(generation=0)
    second = parse_client_order_id(bench.orders.new_id(position, Leg.ENTRY))
    assert second is not None
    assert second.generation == 1
    assert position.row.generation == 2


def test_a_registry_without_an_epoch_has_the_first_one(bench):
    assert OrderRegistry(bench.runtime, bench.outbox, bench.book).epoch == 0


# ---------------------------------------------------------------- from intent to end


@pytest.mark.parametrize("open_", [True, False])
def test_an_order_is_open_where_its_record_is(bench, open_):
    order = bench.orders.register(order_row("c1", intent_open=open_))
    assert bench.orders.open_orders() == ([order] if open_ else [])
    assert bench.orders.of_position("p1") == [order]


def test_open_orders_are_told_by_venue_and_symbol(bench):
    rows = [
        order_row("c1"),
        order_row("c2", venue="bybit"),
        order_row("c3", symbol="ETHUSDT"),
    ]
    one, other, third = [bench.orders.register(row) for row in rows]
    assert bench.orders.open_orders() == [one, other, third]
    assert bench.orders.open_orders(VENUE) == [one, third]
    assert bench.orders.open_orders(symbol="ETHUSDT") == [third]
    assert bench.orders.open_orders("bybit", "ETHUSDT") == []


def test_an_acknowledged_order_is_found_by_the_venues_id_which_never_changes(bench):
    order = bench.orders.register(order_row("c1"))
    bench.orders.acked(order, "")
    assert order.row.venue_order_id == ""
    bench.orders.acked(order, "v1")
    assert bench.orders.by_venue_id(VENUE, PLAIN, "v1") is order
    bench.orders.acked(order, "v2")
    bench.orders.acked(order, "")
    assert order.row.venue_order_id == "v1"
    assert bench.orders.by_venue_id(VENUE, PLAIN, "v2") is None
    assert bench.say("", "v1", PART) is order


def test_what_was_said_under_a_venue_id_is_applied_when_the_id_becomes_known(bench):
    order = bench.orders.register(order_row("c1"))
    assert bench.say("", "v1", CANCELED, -60 * SECOND) is None
    bench.orders.acked(order, "v1")
    assert order.row.status is CANCELED
    assert bench.told == [("unknown", VENUE, "v1")], "late, but by the stream"
    assert bench.orders.parked(VENUE) == []


def test_what_was_said_before_the_order_was_known_came_by_the_stream(bench):
    bench.position()
    old = TsNs(START_TS + 1)
    bench.at(60 * SECOND)
    bench.say(OURS, "v1", PART, 1, filled_qty=Decimal("0.4"))
    early = fill("t1", Side.BUY, "0.4", "100", client_order_id=OURS, ts_ns=old)
    bench.orders.on_fill(VENUE, early, streamed=True)
    bench.told.clear()
    order = bench.orders.register(order_row(OURS))
    assert order.row.status is PART
    assert order.filled_qty == Decimal("0.4")
    assert bench.told == []


def test_a_report_alone_is_kept_until_its_order_is_known(bench):
    bench.say(OURS, "v1", CANCELED)
    assert [one.venue_order_id for one in bench.orders.parked(VENUE)] == ["v1"]
    assert bench.orders.parked("bybit") == []
    order = bench.orders.register(order_row(OURS))
    assert order.terminal
    assert bench.orders.open_orders() == []


def test_only_what_ends_an_order_concludes_it_and_only_once(bench):
    order = bench.orders.register(order_row("c1", updated_ns=TsNs(START_TS - 5)))
    with pytest.raises(InvariantViolation, match="ends nothing"):
        bench.orders.conclude(order, PART, "no end")
    assert order.row.status is NEW
    order.changed.clear()
    bench.orders.conclude(order, REJECTED, "refused")
    assert order.row.status is REJECTED
    assert order.row.updated_ns == START_TS
    assert not order.row.intent_open
    assert bench.stored == [order.row]
    assert order.changed.is_set
    bench.orders.conclude(order, CANCELED, "again")
    assert order.row.status is REJECTED
    assert bench.kinds() == ["order.concluded"]


def test_a_conclusion_is_never_older_than_the_last_report(bench):
    order = bench.orders.register(order_row("c1"))
    bench.say("c1", "v1", PART, 5, filled_qty=Decimal("0.1"))
    bench.orders.conclude(order, CANCELED, "proven absent")
    assert order.row.updated_ns == START_TS + 5


def test_an_order_that_is_shown_live_after_its_end_is_open_again(bench):
    order = bench.orders.register(order_row("c1"))
    bench.orders.conclude(order, CANCELED, "proven absent")
    shown = report("c1", "v1", PART, START_TS + 3)
    bench.orders.reopen(order, shown)
    assert order.report is shown
    assert order.row.status is PART
    assert order.row.intent_open
    assert bench.orders.open_orders() == [order]
    assert bench.orders.by_venue_id(VENUE, PLAIN, "v1") is order


def test_an_order_moves_to_the_position_that_it_opened(bench):
    order = bench.orders.register(order_row("c1"))
    stays = bench.orders.register(order_row("c2"))
    bench.orders.move(order, "p2")
    assert order.row.position_id == "p2"
    assert bench.orders.of_position("p1") == [stays]
    assert bench.orders.of_position("p2") == [order]


# ---------------------------------------------------------------- reports


def test_a_report_wakes_whoever_waits_for_the_order_or_its_position_and_is_stored(bench):
    position = bench.position()
    order = bench.orders.register(order_row("c1"))
    order.changed.clear()
    position.changed.clear()
    bench.say("c1", "v1", PART)
    assert order.changed.is_set
    assert position.changed.is_set
    assert bench.stored == [order.row]
    order.changed.clear()
    bench.say("c1", "v1", PART)
    assert not order.changed.is_set, "nothing new"
    assert len(bench.stored) == 1


def test_a_report_changes_what_it_tells_and_nothing_else(bench):
    order = bench.orders.register(order_row("c1"))
    bench.say("c1", "v1", PART, 5, filled_qty=Decimal("0.4"), avg_price=Decimal(100))
    assert order.row.avg_price == Decimal(100)
    bench.say("c1", "v1", PART, 6, filled_qty=Decimal("0.5"))
    row = order.row
    assert (row.avg_price, row.venue_order_id) == (Decimal(100), "v1")
    assert (row.filled_qty, row.updated_ns) == (Decimal("0.5"), START_TS + 6)
    bench.say("c1", "v1", CANCELED, 4, filled_qty=Decimal("0.3"))
    row = order.row
    assert (row.status, row.filled_qty) == (CANCELED, Decimal("0.5"))
    assert row.updated_ns == START_TS + 6, "the record's time never goes back"


def test_a_report_of_another_order_under_a_used_id_is_not_of_this_one(bench):
    order = bench.orders.register(order_row("c1"))
    bench.say("c1", "v1", FILLED, filled_qty=Decimal(1))
    assert bench.say("c1", "v2", NEW, 9) is None
    assert order.row.venue_order_id == "v1"
    assert ("unknown", VENUE, "v2") in bench.told


def test_a_report_without_an_id_of_ours_belongs_to_no_order_without_one(bench):
    bench.orders.register(order_row(""))
    assert bench.say("", "v1", NEW) is None


def test_what_ended_by_executions_is_not_opened_by_an_older_report(bench):
    bench.position()
    order = bench.orders.register(order_row("c1"))
    bench.orders.on_fill(VENUE, fill("t1", Side.BUY, "1", "100", client_order_id="c1"))
    assert order.row.status is FILLED
    bench.say("c1", "v1", PART, 9)
    assert order.row.status is FILLED
    assert order.report is None
    assert bench.told == []
    bench.say("c1", "v1", FILLED, 9, filled_qty=Decimal(1), avg_price=Decimal(100))
    assert order.row.venue_order_id == "v1", "the report of the same end is news"


def test_a_declared_end_that_the_venue_confirms_is_no_reappearance(bench):
    order = bench.orders.register(order_row("c1"))
    bench.orders.conclude(order, REJECTED, "empty look-ups")
    bench.say("c1", "v1", CANCELED)
    assert order.row.status is CANCELED
    assert bench.told == []
    assert bench.orders.open_orders() == []


def test_an_order_that_reappears_is_open_and_stored_and_said_once(bench):
    order = bench.orders.register(order_row("c1"))
    bench.orders.conclude(order, REJECTED, "empty look-ups")
    bench.say("c1", "v1", NEW)
    bench.say("c1", "v1", PART, 2)
    assert order.row.intent_open
    assert bench.told == [("reappeared", "c1")]
    assert bench.kinds() == ["order.concluded", "order.reappeared"]
    assert bench.stored[-1] == order.row


def test_a_live_order_that_is_reported_for_the_first_time_is_no_reappearance(bench):
    order = bench.orders.register(order_row("c1"))
    bench.say("c1", "v1", NEW)
    assert bench.told == []
    assert not order.terminal


# ---------------------------------------------------------------- children of conditionals


def test_a_child_is_found_by_its_own_id_and_ends_its_parent(bench):
    parent = bench.orders.register(order_row("s1", order_class=CONDITIONAL, side=Side.SELL))
    bench.say("s1", "a1", OrderStatus.TRIGGERED, 1, order_class=CONDITIONAL, child_order_id="p9")
    assert bench.orders.by_venue_id(VENUE, PLAIN, "p9") is parent
    parent.changed.clear()
    assert bench.say("x1", "p9", PART, 3, filled_qty=Decimal("0.4")) is parent
    assert parent.changed.is_set
    bench.say("s1", "a1", FINISHED, 3, order_class=CONDITIONAL, child_order_id="p9")
    assert bench.orders.open_orders() == [parent]
    parent.changed.clear()
    bench.say("x1", "p9", NEW, 2)
    assert not parent.changed.is_set, "older than what is known of the child"
    assert parent.child is not None
    assert parent.child.status is PART
    bench.say("x1", "p9", CANCELED, 4, filled_qty=Decimal("0.4"))
    assert bench.orders.open_orders() == []
    assert not parent.row.intent_open


def test_a_child_that_comes_under_our_id_is_linked_by_its_own(bench):
    """Bybit's triggered stop keeps the client id, and its report may name no parent."""
    parent = bench.orders.register(order_row("s1", order_class=CONDITIONAL, side=Side.SELL))
    bench.say("s1", "p9", NEW, 3)
    assert bench.orders.by_venue_id(VENUE, PLAIN, "p9") is parent
    assert bench.orders.by_venue_id(VENUE, CONDITIONAL, "p9") is None
    assert parent.row.status is NEW


# ---------------------------------------------------------------- executions


@pytest.mark.parametrize("order_class", list(OrderClass))
def test_an_execution_is_found_by_the_venues_id_in_every_class(bench, order_class):
    bench.position()
    order = bench.orders.register(order_row("c1", order_class=order_class, venue_order_id="v1"))
    other = fill("t1", Side.BUY, "0.5", "100", venue_order_id="v1", client_order_id="hand")
    assert bench.orders.on_fill(VENUE, other)
    assert list(order.fills) == ["t1"]


def test_an_execution_without_ids_is_of_no_order(bench):
    bench.position()
    order = bench.orders.register(order_row(""))
    nobodys = fill("t1", Side.BUY, "1", "100", venue_order_id="", client_order_id="")
    assert bench.orders.on_fill(VENUE, nobodys)
    assert order.fills == {}


def test_an_execution_of_an_unknown_order_of_ours_is_told_once_and_waits(bench):
    position = bench.position()
    early = fill("t1", Side.BUY, "1", "100", client_order_id=OURS)
    assert not bench.orders.on_fill(VENUE, early)
    assert not bench.orders.on_fill(VENUE, early)
    assert position.qty == 0
    assert bench.told == [("stray", VENUE, "t1")]
    assert bench.kinds() == ["fill.stray"]


def test_every_execution_is_heard_where_it_was_last(bench):
    bench.orders.on_fill("bybit", fill("t1", Side.BUY, "1", "100"))
    assert bench.orders.executed.on_venue("bybit") == ((SYMBOL, START_TS + 1),)
    assert bench.orders.executed.on_venue(VENUE) == ()


@pytest.mark.parametrize("late", [2 * SECOND, 2 * SECOND + 1])
def test_news_of_a_read_that_are_older_than_two_seconds_are_told(bench, late):
    bench.position()
    bench.orders.register(order_row("c1", qty=Decimal(9)))
    bench.at(60 * SECOND)
    at = TsNs(START_TS + 60 * SECOND - late)
    bench.orders.on_fill(VENUE, fill("t1", Side.BUY, "1", "9", client_order_id="c1", ts_ns=at))
    told = [("unheard", VENUE, at)] if late > 2 * SECOND else []
    assert bench.told == told
    bench.orders.on_fill(VENUE, fill("t1", Side.BUY, "1", "9", client_order_id="c1", ts_ns=at))
    assert bench.told == told, "known news are none"
    bench.orders.on_report(VENUE, report("c1", "v1", PART, at))
    assert bench.told == 2 * told


def test_old_executions_of_the_stream_are_no_proof_of_its_silence(bench):
    bench.position()
    bench.orders.register(order_row("c1"))
    bench.at(60 * SECOND)
    one = fill("t1", Side.BUY, "1", "9", client_order_id="c1")
    assert bench.orders.on_fill(VENUE, one, streamed=True)
    assert bench.told == []


# ---------------------------------------------------------------- what is let go


def test_orders_of_a_position_that_ended_long_ago_are_forgotten_with_all_their_ids(bench):
    position = bench.position()
    parent = stop(bench)
    bench.say("s1", "p9", FILLED, 5, filled_qty=Decimal(1))
    assert parent.terminal
    bench.orders.forget([position])
    assert bench.orders.of_position("p1") == []
    assert bench.orders.by_client_id(VENUE, "s1") is None
    for order_class, venue_id in ((CONDITIONAL, "a1"), (PLAIN, "p9")):
        assert bench.orders.by_venue_id(VENUE, order_class, venue_id) is None
    bench.orders.forget([position])


def test_an_order_that_the_venue_never_showed_is_forgotten_too(bench):
    position = bench.position()
    order = bench.orders.register(order_row("c1"))
    bench.orders.acked(order, "v1")
    bench.orders.conclude(order, REJECTED, "refused")
    bench.orders.forget([position])
    assert bench.orders.by_venue_id(VENUE, PLAIN, "v1") is None
    assert bench.say("c1", "v1", NEW) is None


def test_a_child_that_its_parent_never_named_is_forgotten_with_it(bench):
    position = bench.position()
    order = bench.orders.register(order_row("s1", order_class=CONDITIONAL, side=Side.SELL))
    bench.say("s1", "p9", CANCELED, 3)
    bench.orders.conclude(order, CANCELED, "its child ended")
    bench.orders.forget([position])
    assert bench.orders.by_venue_id(VENUE, PLAIN, "p9") is None


def test_a_triggered_parent_is_forgotten_with_a_child_of_which_nothing_came(bench):
    position = bench.position()
    stop(bench)
    bench.orders.forget([position])
    assert bench.orders.by_venue_id(VENUE, PLAIN, "p9") is None


def test_orders_that_may_still_live_are_never_forgotten(bench):
    position = bench.position()
    live = bench.orders.register(order_row("c1"))
    ended = bench.orders.register(order_row("c2"))
    bench.say("c1", "v1", PART)
    bench.orders.conclude(ended, REJECTED, "refused")
    bench.orders.forget([position])
    assert bench.orders.of_position("p1") == [live]
    assert bench.orders.by_client_id(VENUE, "c1") is live
    assert bench.orders.by_client_id(VENUE, "c2") is None
    assert bench.orders.by_venue_id(VENUE, PLAIN, "v1") is live


# ---------------------------------------------------------------- what is not known


def test_news_of_an_unknown_order_are_told_and_what_is_no_news_is_not(bench):
    bench.say("hand", "v1", PART, 5)
    bench.say("hand", "v1", PART, 5)
    bench.say("hand", "v1", NEW, 4)
    assert bench.told == [("unknown", VENUE, "v1")]
    bench.say("hand", "v1", CANCELED, 6)
    assert bench.told == 2 * [("unknown", VENUE, "v1")]
    assert [one.status for one in bench.orders.parked(VENUE)] == [CANCELED]


def test_what_is_too_much_to_keep_is_said(bench, monkeypatch):
    monkeypatch.setattr(parking, "PARKED_LIMIT", 1)
    bench.say("hand1", "v1", NEW)
    for number in range(2):
        ours = f"wk7-1b-abcdef-E0-{number}"
        bench.orders.on_fill(VENUE, fill(f"t{number}", Side.BUY, "1", "9", client_order_id=ours))
    assert bench.kinds().count("parked.dropped") == 1
    bench.say("hand2", "v2", NEW)
    dropped = [one for one in bench.outbox.decisions if one.kind == "parked.dropped"]
    assert [one.client_order_id for one in dropped] == ["wk7-1b-abcdef-E0-0", "hand1"]


def test_an_order_that_was_seen_and_then_declared_ended_stays_so(bench):
    order = bench.orders.register(order_row("c1"))
    bench.say("c1", "v1", NEW)
    bench.orders.conclude(order, CANCELED, "proven absent")
    stored = len(bench.stored)
    order.changed.clear()
    bench.say("c1", "v1", PART, 5)
    assert order.row.status is CANCELED
    assert bench.told == []
    assert len(bench.stored) == stored
    assert not order.changed.is_set
