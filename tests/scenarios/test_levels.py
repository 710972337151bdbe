"""Level "wire" decides what level "sim" decides, in the same order, and ends in the same state.

Times are left out (an HTTP detour such as listenKey shifts them), and so are the venue's words.
"""

import re
from functools import partial
from typing import Any

import msgspec
import pytest

from kernel.model.messages import Decision
from kernel.model.orders import OrderClass
from kernel.model.positions import PositionRow
from kernel.model.rows import FillRow, OrderRow, TrailingRow
from scenarios.assembly import assemble
from scenarios.files import Entry, read_suites
from scenarios.run import Run
from scenarios.wire_compose import CORES
from venues.sim.wire.binance import BinanceCore

ENTRIES = {entry.name: entry for entry in read_suites()}

NOT_AT_BOTH_LEVELS = {
    ("binance", "limits/pages-of-one"): "no list of this venue has pages",
    ("binance", "limits/ban"): "the ban is told in the venue's own words",
    ("binance", "venues/ban-ends-at-its-time"): "the ban is told in the venue's own words",
    ("binance", "venues/address-refused"): "the refusal is told in the venue's own words",
    ("binance", "venues/unreliable-stream"): "a connection is made in more steps in bytes",
    ("bybit", "venues/unreliable-stream"): "a connection is made in more steps in bytes",
    ("binance", "streams/half-open"): "a dead connection is noticed by a probe without an answer",
    ("binance", "watch/unprotected-for-long"): "the counters of used weight stand in headers",
    ("bybit", "sync/hedge-legs-are-protected"): "the row of a position does not say which series "
    "fires its stop: the leg that asks for it first goes second",
    ("bybit", "recovery/foreign-without-its-stop"): "in bytes the account takes three questions:"
    " the resync that its fill asks for is over before the start is",
    ("bybit", "limits/ban"): "a 403 does not say when the ban ends",
    ("bybit", "limits/slow-answers"): "three slow questions at the start, where one is enough",
    ("bybit", "streams/half-open"): "a dead connection is noticed by its missing pong",
    ("bybit", "waves/owners-top-up"): "what does not trade is not listed, and so not known",
}
"""(venue, scenario) → why decisions may differ there; the end of it must be the same."""

DRAWN_FOR_EACH_MESSAGE = "swarm/"
"""Chances are drawn for each message, and the levels have different messages."""

GATE = ("entries.", "venue.", "stream.", "resync.", "health.")


def cases() -> list[Any]:
    return [
        pytest.param(entry, venue, id=f"{name}-{venue}")
        for name, entry in ENTRIES.items()
        for venue in entry.venues
        if venue != "both" and not name.startswith(DRAWN_FOR_EACH_MESSAGE)
        and set(entry.scenario(venue).levels) == {"sim", "wire"}
    ]


def played(entry: Entry, venue: str, level: str) -> Run:
    scenario = entry.scenario(venue)
    run = Run(assemble(scenario, venue, seed=scenario.seed), level=level)
    assert run.play() == []
    return run


def decided(run: Run) -> list[Decision]:
    """Decisions without times.

    A stream that is down already goes down no second time.
    """
    told: list[Decision] = []
    down: dict[str, bool] = {}
    for _, decision in run.seen.decisions:
        kind, venue = decision.kind, decision.venue
        if kind == "stream.down" and down.get(venue):
            continue
        down[venue] = kind == "stream.down" or (down.get(venue, False) and kind != "stream.up")
        values = {
            name: value
            for name, value in decision.values.items()
            if not name.endswith(("_ns", "_ms")) and name != "raw"
        }
        place = _timeless(decision.position_id)
        told.append(msgspec.structs.replace(decision, values=values, position_id=place))
    return told


def _timeless(value: Any) -> Any:
    """The id of a position that was found is made of the time at which it was found."""
    return re.sub(r":u\d+$", ":u", value) if isinstance(value, str) else value


def _left_out(row: Any) -> tuple[str, ...]:
    ids = ("trade_id", "venue_order_id")
    if isinstance(row, OrderRow) and row.order_class is OrderClass.CONDITIONAL:
        # What a conditional came to is told by the fills of the order that it became.
        return (*ids, "filled_qty", "avg_price")
    if isinstance(row, FillRow) and row.venue == "bybit":
        return (*ids, "realized_pnl")  # the list of executions does not tell it, the stream does
    return ids


def ended(run: Run) -> list[dict[str, Any]]:
    """What the store keeps in the end, table by table, without times and the venue's ids."""
    kept = []
    for row in sorted(run.world.store.rows(), key=lambda row: type(row).__name__):
        if isinstance(row, PositionRow | OrderRow | FillRow | TrailingRow):
            fields = msgspec.structs.asdict(row)
            kept.append({
                name: _timeless(value)
                for name, value in fields.items()
                if not name.endswith("_ns") and name not in _left_out(row)
            })
    return kept


def lanes(decisions: list[Decision]) -> list[list[Decision]]:
    """Trading, the gate of entries, the feed: three things that go on side by side.

    In bytes a start takes more questions (listenKey; Bybit's account takes three) and a reconnect
    takes effect one call later, so the three interleave in another way; each keeps its order.
    """
    found: dict[str, list[Decision]] = {"trading": [], "gate": [], "feed": []}
    for decision in decisions:
        gate = "gate" if decision.kind.startswith(GATE) else "trading"
        found["feed" if decision.kind.startswith("feed.") else gate].append(decision)
    _fill_first(found["trading"])
    return list(found.values())


def _fill_first(trading: list[Decision]) -> None:
    """A fill told right behind the placing of its symbol's stop is put before it.

    A start places the stop of what the venue shows while the executions are still being read.
    """
    for at in range(1, len(trading)):
        stop, fill = trading[at - 1 : at + 1]
        if (stop.kind, fill.kind) == ("stop.placed", "fill.booked") and stop.symbol == fill.symbol:
            trading[at - 1 : at + 1] = fill, stop


@pytest.mark.parametrize(("entry", "venue"), cases())
def test_wire_decides_what_sim_decides(entry, venue):
    sim, wire = played(entry, venue, "sim"), played(entry, venue, "wire")
    if (venue, entry.name) not in NOT_AT_BOTH_LEVELS:
        assert lanes(decided(wire)) == lanes(decided(sim))
    assert ended(wire) == ended(sim)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, entry in ENTRIES.items()
        if name.startswith(("life/", "stops/", "trailing/")) and "binance" in entry.venues
    ],
)
def test_a_fired_stop_is_followed_whatever_the_venue_calls_its_child(name, monkeypatch):
    # The venue's documents leave open whether the child carries the stop's own client id.
    monkeypatch.setitem(CORES, "binance", partial(BinanceCore, own_child_ids=True))
    run = played(ENTRIES[name], "binance", "wire")
    assert run.seen.decisions
