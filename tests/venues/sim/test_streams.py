"""The private stream loses, doubles, delays and reorders exactly what it is told to."""

from typing import Any

import pytest

from kernel.model.messages import StreamClose, StreamOpen
from kernel.model.orders import BalanceReport, Fill, OrderReport, PositionReport
from kernel.model.units import MS, SECOND
from kernel.model.venue import StreamDown, StreamUp, VenueNotice
from tests.venues.sim.desk import Desk, market_order
from venues.sim.fault_kinds import (
    HalfOpen,
    StreamDelay,
    StreamDup,
    StreamGap,
    StreamGarbage,
    StreamReorder,
    Target,
    When,
)
from venues.sim.legs import Delay, Legs
from venues.sim.link import SimVenueLink

FLAT = [(0, "60000"), (60_000, "60000")]
FILLS = Target(topic="fill")


def desk(*faults: Any, **more: Any) -> Desk:
    return Desk("binance", FLAT, faults=faults, **more).connect().run_to(100)


def fills(one: Desk) -> list[tuple[int, str]]:
    return [(at, fill.client_order_id) for at, fill in one.said(Fill)]


def buy(one: Desk, *cids: str) -> Desk:
    for cid in cids:
        one.market("0.01", cid=cid)
    return one


def test_nothing_is_told_before_the_stream_is_up_and_nothing_is_replayed() -> None:
    one = Desk("binance", FLAT).connect()
    buy(one, "e-1")
    assert one.run_to(49).said() == []
    one.run_to(50)
    assert one.said() == [(50, StreamUp(connection=1))]
    buy(one, "e-2")
    assert fills(one.run_to(1000)) == [(56, "e-2")]


def test_a_gap_loses_what_is_told_inside_and_says_nothing() -> None:
    gap = StreamGap(target=FILLS, when=When(from_ns=SECOND, to_ns=2 * SECOND))
    one = desk(gap)
    for at, cid in ((999, "e-1"), (1000, "e-2"), (1999, "e-3"), (2000, "e-4")):
        buy(one.run_to(at), cid)
    one.run_to(3000)
    assert fills(one) == [(1005, "e-1"), (2006, "e-4")]
    assert len(one.said(PositionReport)) == 4, "the other topics are whole"
    assert one.said(StreamDown) == []


def test_a_closed_gap_says_so_at_its_start_and_refuses_connections_until_its_end() -> None:
    one = desk(StreamGap(closed=True, when=When(from_ns=SECOND, to_ns=2 * SECOND)))
    buy(one.run_to(998), "e-1")
    one.run_to(1500)
    one.link.accept("open/2", StreamOpen(venue="binance", stream="private", connection=2, path=""))
    one.run_to(1600)
    one.link.accept("open/3", StreamOpen(venue="binance", stream="private", connection=3, path=""))
    buy(one.run_to(1960), "e-2")
    one.run_to(1999)
    downs = [(at, event.reason) for at, event in one.said(StreamDown)]
    assert downs == [
        (1000, "closed by the venue"), (1550, "connection refused"), (1650, "connection refused"),
    ]  # fmt: skip
    assert fills(one) == [], "what is on its way when the connection ends is lost"
    one.link.accept("open/4", StreamOpen(venue="binance", stream="private", connection=4, path=""))
    one.run_to(2100)
    assert one.said(StreamUp)[-1] == (2049, StreamUp(connection=4))


def test_a_stream_can_be_closed_at_an_event() -> None:
    one = desk(StreamGap(closed=True, target=FILLS, when=When(nth=2)))
    buy(one, "e-1", "e-2")
    one.run_to(200)
    assert [at for at, _ in one.said(StreamDown)] == [100]
    assert fills(one) == []


def test_a_duplicate_comes_again() -> None:
    one = buy(desk(StreamDup(target=FILLS, dt_ns=50 * MS)), "e-1")
    assert fills(one.run_to(1000)) == [(106, "e-1"), (156, "e-1")]


def test_a_delay_holds_up_what_follows_on_its_topic() -> None:
    one = buy(desk(StreamDelay(target=FILLS, dt_ns=SECOND, when=When(nth=1))), "e-1", "e-2")
    one.run_to(5000)
    assert fills(one) == [(1106, "e-1"), (1106, "e-2")]
    assert [at for at, _ in one.said(PositionReport)] == [109, 109]


def test_a_reordered_event_is_overtaken() -> None:
    one = buy(desk(StreamReorder(target=FILLS, dt_ns=SECOND, when=When(nth=1))), "e-1", "e-2")
    assert fills(one.run_to(5000)) == [(106, "e-2"), (1106, "e-1")]


@pytest.mark.parametrize("replaces", [True, False])
def test_garbage_comes_before_an_event_or_in_its_place(replaces) -> None:
    one = buy(desk(StreamGarbage(target=FILLS, raw="{{", replaces=replaces)), "e-1")
    one.run_to(1000)
    assert one.said(VenueNotice) == [(106, VenueNotice(kind="malformed", raw="{{"))]
    assert len(fills(one)) == (0 if replaces else 1)


def test_a_half_open_stream_is_deaf_until_it_is_opened_anew() -> None:
    one = desk(HalfOpen(when=When(from_ns=SECOND)))
    buy(one.run_to(1000), "e-1")
    buy(one.run_to(2000), "e-2")
    assert fills(one.run_to(3000)) == []
    one.link.accept("open/2", StreamOpen(venue="binance", stream="private", connection=2, path=""))
    buy(one.run_to(3100), "e-3")
    assert fills(one.run_to(4000)) == [(3106, "e-3")]


def test_jitter_keeps_the_order_of_a_topic_and_is_the_same_in_every_run() -> None:
    def run() -> list[tuple[int, Any]]:
        legs = Legs(fill=Delay(5 * MS, 50 * MS), order=Delay(5 * MS, 50 * MS))
        one = desk(legs=legs, seed=3)
        buy(one, *(f"e-{n}" for n in range(20)))
        return one.run_to(1000).said()

    first = run()
    assert first == run()
    order = [event.client_order_id for _, event in first if isinstance(event, Fill)]
    assert order == [f"e-{n}" for n in range(20)]
    times = [at for at, event in first if isinstance(event, Fill)]
    assert len(list(dict.fromkeys(times))) > 1


def test_a_kernel_that_is_gone_hears_nothing_and_its_requests_still_arrive() -> None:
    one = desk()
    one.call(market_order("0.01"))
    one.link.cut()
    one.run_to(1000)
    assert one.answers() == []
    assert len(one.said()) == 1, "only that the stream was up"
    assert one.qty() > 0


def test_a_new_kernel_hears_only_its_own_stream() -> None:
    one = desk()
    one.link.cut()
    heard: list[Any] = []
    link = SimVenueLink(one.venue, one.agenda, lambda _, body: heard.append(body))
    link.accept("open/1", StreamOpen(venue="binance", stream="private", connection=1, path=""))
    buy(one.run_to(500), "e-1")
    one.run_to(1000)
    assert len(one.said()) == 1
    kinds = [type(body.event) for body in heard]
    assert kinds == [StreamUp, OrderReport, Fill, OrderReport, PositionReport, BalanceReport]
    link.accept("close/1", StreamClose(venue="binance", stream="private", connection=1))
    buy(one, "e-2").run_to(2000)
    assert len(heard) == 6
