"""The simulated signal server speaks docs/signal-feed.md, and fails as it is told to."""

import json
from typing import Any

import msgspec
import pytest

from kernel.model.messages import (
    FeedAuth,
    FeedClose,
    FeedDown,
    FeedOpen,
    FeedSend,
    FeedText,
    FeedUp,
)
from kernel.model.units import MS, SECOND
from tests.venues.sim.desk import T0
from venues.sim.agenda import Agenda
from venues.sim.fault_kinds import When
from venues.sim.feed_faults import (
    FeedAuthRefused,
    FeedAway,
    FeedDelay,
    FeedDrop,
    FeedDup,
    FeedFlood,
    FeedGarbage,
    FeedReorder,
    FeedReplay,
    FeedSilent,
    FeedTruncate,
    FeedWrongCandle,
    decode_feed_fault,
)
from venues.sim.signal_server import Posted, SignalServer, SignalServerSetup

ITEM = '{"timestamp": "2026-01-05T12:45:00Z", "symbol": "BTCUSDT", "side": "BUY"}'
REQUEST = FeedSend(text='{"type": "request_signals"}')


class Listener:
    """One connection to a server, all of whose inputs are kept."""

    def __init__(self, *faults: Any, posted: tuple[Posted, ...] | None = None) -> None:
        self.agenda = Agenda(T0)
        self.heard: list[tuple[int, Any]] = []
        setup = SignalServerSetup(faults=faults, origin_ns=T0)
        self.server = SignalServer(
            self.agenda,
            (Posted(T0 + SECOND, ITEM),) if posted is None else posted,
            lambda _, body: self.heard.append(((self.agenda.now_ns - T0) // MS, body)),
            setup,
        )

    def run_to(self, ms: int) -> "Listener":
        end = T0 + ms * MS
        while (due := self.agenda.next_due()) is not None and due <= end:
            self.agenda.pop_run()
        self.agenda.advance(max(end, self.agenda.now_ns))
        return self

    def ready(self) -> "Listener":
        self.server.accept(FeedOpen())
        self.run_to(60)
        self.server.accept(FeedAuth())
        self.run_to(100)
        self.heard.clear()
        return self

    def ask(self, at: int) -> "Listener":
        self.run_to(at)
        self.server.accept(REQUEST)
        return self

    def texts(self) -> list[tuple[int, str]]:
        return [(at, body.text) for at, body in self.heard if isinstance(body, FeedText)]

    def batches(self) -> list[tuple[int, int]]:
        return [(at, len(json.loads(text)["signals"])) for at, text in self.texts()]


def test_the_conversation_begins_with_the_token() -> None:
    one = Listener()
    one.server.accept(FeedOpen())
    one.run_to(60)
    assert one.heard == [(50, FeedUp()), (55, FeedText(text='{"type": "auth_required"}'))]
    one.server.accept(FeedAuth())
    assert one.run_to(100).texts()[-1] == (65, '{"type": "auth_success"}')


def test_a_request_is_answered_with_what_the_server_has_by_then() -> None:
    one = Listener().ready().ask(999).ask(1000)
    one.run_to(2000)
    assert one.batches() == [(1004, 0), (1005, 1)]


def test_old_signals_are_no_longer_sent_but_a_replay_sends_them() -> None:
    two_hours = 2 * 3_600_000
    one = Listener(FeedReplay(age_ns=9_000 * SECOND, when=When(nth=2))).ready()
    one.ask(two_hours).ask(two_hours + 10).run_to(two_hours + 100)
    assert [count for _, count in one.batches()] == [0, 1]


def test_a_refused_token_is_said_with_its_reason() -> None:
    one = Listener(FeedAuthRefused(reason='bad "token"'))
    one.server.accept(FeedOpen())
    one.run_to(60)
    one.server.accept(FeedAuth())
    last = json.loads(one.run_to(100).texts()[-1][1])
    assert last == {"type": "auth_failed", "reason": 'bad "token"'}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (FeedDrop(when=When(nth=1)), [(2005, 1)]),
        (FeedDup(dt_ns=10 * MS, when=When(nth=1)), [(1005, 1), (1015, 1), (2005, 1)]),
        (FeedDelay(dt_ns=1500 * MS, when=When(nth=1)), [(2505, 1), (2505, 1)]),
        (FeedReorder(dt_ns=1500 * MS, when=When(nth=1)), [(2005, 1), (2505, 1)]),
        (FeedFlood(copies=3, when=When(nth=2)), [(1005, 1)] + [(2005, 1)] * 4),
        (FeedSilent(when=When(nth=1)), [(2005, 1)]),
    ],
)
def test_a_message_is_lost_doubled_held_or_multiplied(fault, expected) -> None:
    one = Listener(fault).ready().ask(1000).ask(2000)
    assert one.run_to(5000).batches() == expected


def test_text_is_cut_off_or_replaced_by_garbage() -> None:
    one = Listener(
        FeedTruncate(keep_ppm=500_000, when=When(nth=1)),
        FeedGarbage(raw="NaN", replaces=True, when=When(nth=2)),
    ).ready().ask(1000).ask(2000)
    first, second = (text for _, text in one.run_to(3000).texts())
    with pytest.raises(json.JSONDecodeError):
        json.loads(first)
    assert second == "NaN"


def test_signals_may_carry_the_wrong_candle() -> None:
    one = Listener(FeedWrongCandle(timestamp="2026-01-05T12:30:00Z")).ready().ask(1000)
    ((_, text),) = one.run_to(2000).texts()
    assert json.loads(text)["signals"][0]["timestamp"] == "2026-01-05T12:30:00Z"


def test_a_server_that_is_away_ends_connections_and_refuses_new_ones() -> None:
    one = Listener(FeedAway(when=When(from_ns=SECOND, to_ns=2 * SECOND))).ready()
    one.run_to(1500)
    one.server.accept(FeedOpen())
    one.run_to(1900)
    assert one.heard == [
        (1000, FeedDown(reason="the server went away")),
        (1550, FeedDown(reason="connection refused")),
    ]
    one.run_to(2000)
    one.server.accept(FeedOpen())
    assert one.run_to(2060).heard[2] == (2050, FeedUp())


def test_a_client_that_hangs_up_hears_no_more() -> None:
    one = Listener().ready().ask(1000)
    one.server.accept(FeedClose())
    assert one.run_to(2000).heard == []


def test_a_server_can_be_sent_away_at_any_moment() -> None:
    one = Listener().ready()
    one.server.away(T0 + SECOND)
    one.server.accept(FeedOpen())
    one.run_to(970)
    one.server.accept(FeedOpen())
    assert one.run_to(2000).heard == [
        (100, FeedDown(reason="the server went away")),
        (150, FeedDown(reason="connection refused")),
        (1020, FeedUp()),
        (1025, FeedText(text='{"type": "auth_required"}')),
    ]


def test_faults_of_the_feed_come_from_plain_data() -> None:
    fault = decode_feed_fault({"fault": "feed_flood", "copies": 3, "when": {"nth": 2}})
    assert fault == FeedFlood(copies=3, when=When(nth=2))
    with pytest.raises(msgspec.ValidationError, match="copiez"):
        decode_feed_fault({"fault": "feed_flood", "copiez": 3})
