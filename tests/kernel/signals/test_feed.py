"""The conversation with the signal server, on virtual time.

The clock starts at 12:10 UTC unless a test says otherwise: the next check begins at 12:20, which
is second 600.
"""

import json
from itertools import pairwise

import pytest

from kernel.model.units import SECOND
from kernel.signals.feed import SILENT_REQUESTS, FeedState
from tests.kernel.signals.server import Server


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    Server.close_all()


def signals(*symbols, wave="2026-01-05T12:00:00Z", score=10):
    items = [
        {"timestamp": wave, "symbol": symbol, "side": "BUY", "score_week": score}
        for symbol in symbols
    ]
    return json.dumps({"type": "signals", "signals": items})


def symbols(server):
    return [signal.symbol for batch in server.batches for signal in batch.signals]


def test_the_token_is_sent_on_demand_and_requests_follow_the_verdict():
    server = Server()
    assert server.sent == [(0, "open"), (0, "auth"), (0, "request")]
    assert server.feed.state is FeedState.READY
    assert server.feed.down_since_ns is None


def test_requests_are_rare_outside_a_check_and_frequent_inside():
    server = Server()
    server.run(900)
    asked = server.did("request")
    assert asked == [*range(0, 600, 60), *range(600, 721, 5), *range(725, 900, 60)]


def test_a_request_goes_out_at_the_very_start_of_a_check():
    server = Server("2026-01-05T12:19:30Z")
    server.run(31)
    assert server.did("request") == [0, 30]


def test_idle_requests_can_be_switched_off():
    server = Server(signal_idle_request_interval_seconds=0)
    server.run(1200)
    assert server.did("request") == list(range(600, 721, 5))


def test_without_idle_requests_nothing_is_looked_at_between_checks():
    server = Server(signal_idle_request_interval_seconds=0)
    assert server.runtime.next_deadline() == 600 * SECOND
    server.run(721)
    assert server.runtime.next_deadline() == 1500 * SECOND


def test_silence_is_noticed_behind_a_check_too():
    server = Server(
        signal_idle_request_interval_seconds=0,
        signal_request_interval_seconds=60,
        wave_check_duration_seconds=SILENT_REQUESTS * 60 - 30,
    )
    server.answer = None
    server.run(600 + SILENT_REQUESTS * 60 + 1)
    assert server.did("close") == [600 + SILENT_REQUESTS * 60]


def test_a_refused_token_alerts_and_is_tried_again_later_and_later():
    server = Server()
    server.verdict = "auth_failed"
    server.drop()
    server.run(5 + 20_000)
    opened = server.did("open")[1:]
    waits = [later - earlier for earlier, later in pairwise(opened)]
    assert waits[:6] == [300, 600, 1200, 2400, 3600, 3600]
    assert server.alerts.count("feed.auth_failed") == len(opened)
    assert server.did("request") == [0]


def test_an_accepted_token_ends_the_growing_waits():
    server = Server()
    server.verdict = "auth_failed"
    server.drop()
    server.run(5 + 300)
    server.verdict = "auth_success"
    server.run(600)
    assert server.feed.state is FeedState.READY
    server.verdict = "auth_failed"
    server.drop()
    opened = len(server.did("open"))
    server.run(5 + 300)
    assert len(server.did("open")) == opened + 2


def test_a_lost_connection_is_made_anew_after_the_interval():
    server = Server(signal_ws_reconnect_interval=7)
    server.run(3)
    server.drop()
    server.run(20)
    assert server.did("open") == [0, 10]
    assert server.feed.state is FeedState.READY


def test_attempts_are_counted_without_a_success_between():
    server = Server(signal_ws_max_reconnect_attempts=2)
    server.drop()
    server.run(10)
    assert server.feed.state is FeedState.READY
    server.reachable = False
    server.drop()
    server.run(3600)
    assert len(server.did("open")) == 2 + 2
    assert str(server.feed.state) == FeedState.ENDED
    assert "feed.ended" in server.alerts


def test_no_reconnect_where_it_is_switched_off():
    server = Server(signal_ws_auto_reconnect=False)
    server.drop()
    server.run(3600)
    assert server.did("open") == [0]
    assert server.alerts == ["feed.ended", "feed.down"]


def test_five_minutes_without_signals_alert_once():
    server = Server()
    server.reachable = False
    server.drop()
    server.run(299)
    assert server.alerts == []
    server.run(3600)
    assert server.alerts == ["feed.down"]
    server.reachable = True
    server.run(10)
    assert server.feed.down_since_ns is None


def test_how_long_signals_may_be_missing_before_it_alerts_is_a_setting():
    server = Server(stream_down_alert_minutes=2, signal_ws_auto_reconnect=False)
    server.run(3)
    server.drop()
    server.run(119)
    assert "feed.down" not in server.alerts
    server.run(2)
    assert "feed.down" in server.alerts


def test_a_connection_that_answers_nothing_is_made_anew():
    """A half-open socket takes every request and delivers nothing."""
    server = Server()
    server.answer = None
    server.run(600 + 15)
    assert ("feed.down", "silent after 3 requests") in server.decisions
    assert len(server.did("open")) > 1


def test_a_server_that_never_demands_or_never_judges_is_left():
    server = Server()
    server.demands = False
    server.drop()
    server.run(15)
    assert server.did("close") == [15]
    server.demands = True
    server.verdict = ""
    server.run(15)
    assert server.did("close") == [15, 30]


def test_a_close_that_is_never_confirmed_is_waited_for_only_shortly():
    server = Server()
    server.closes_at_once = False
    server.answer = None
    server.run(600)
    opened = server.did("open")
    closed = server.did("close")
    assert opened[1] == closed[0] + 5 + 5


def test_signals_are_handed_on_once():
    server = Server()
    server.answer = signals("BTCUSDT", "ETHUSDT")
    server.run(60)
    server.say(signals("ETHUSDT", "SOLUSDT"))
    server.run(60)
    assert symbols(server) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def test_another_score_for_the_same_key_is_another_message_of_it():
    """The filter decides which one wins; the record keeps both."""
    server = Server()
    server.say(signals("BTCUSDT", score=10))
    server.say(signals("BTCUSDT", score=11))
    assert symbols(server) == ["BTCUSDT", "BTCUSDT"]


def test_signals_before_the_verdict_are_refused():
    server = Server()
    server.verdict = ""
    server.drop()
    server.run(6)
    assert server.feed.state is FeedState.AUTHENTICATING
    server.say(signals("BTCUSDT"))
    assert server.feed.refused == 1
    assert server.batches == []


def test_signals_that_were_refused_are_taken_when_they_come_again():
    server = Server()
    server.verdict = ""
    server.drop()
    server.run(6)
    server.say(signals("BTCUSDT"))
    server.say('{"type": "auth_success"}')
    server.say(signals("BTCUSDT"))
    assert symbols(server) == ["BTCUSDT"]


def test_signals_in_the_same_instant_as_the_verdict_are_taken():
    server = Server()
    server.verdict = ""
    server.drop()
    server.run(6)
    server.feed.on_text('{"type": "auth_success"}')
    server.say(signals("BTCUSDT"))
    assert symbols(server) == ["BTCUSDT"]


def test_garbage_is_counted_and_recorded_and_the_conversation_goes_on():
    server = Server()
    server.say("\x00 garbage")
    server.say('{"type": "signals", "signals": [' + "7, 7]}")
    server.say('{"type": "weather"}')
    assert server.feed.malformed == 2
    assert [kind for kind, _ in server.decisions if kind != "feed.ready"] == [
        "signal.malformed",
        "signal.malformed",
        "feed.unknown",
    ]
    assert server.feed.unknown_types == {"weather": 1}
    server.say(signals("BTCUSDT"))
    assert symbols(server) == ["BTCUSDT"]


def test_a_token_revoked_in_the_middle_counts_as_refused():
    server = Server()
    server.say('{"type": "auth_failed", "reason": "revoked"}')
    assert server.did("close") == [0]
    assert server.alerts == ["feed.auth_failed"]
    server.run(299)
    assert server.did("open") == [0]


def test_a_flood_evicts_old_messages_and_never_the_expected_wave():
    server = Server(signal_buffer_size=3)
    expected = "2026-01-05T12:00:00Z"  # the check at 12:20 expects it
    server.say(signals("KEPT1USDT", wave=expected))
    for number in range(500):
        server.say(signals(f"X{number}USDT", wave="2026-01-05T09:00:00Z"))
    server.say(signals("KEPT2USDT", wave=expected))
    buffer = server.feed.buffer
    assert len(buffer) == 3
    wave = next(batch.signals[0].candle_ns for batch in server.batches)
    assert [one.symbol for one in buffer.of_wave(wave)] == ["KEPT1USDT", "KEPT2USDT"]
    assert buffer.evicted == 498


# ---------------------------------------------------------------- what is counted and told


def test_before_it_runs_nothing_has_come():
    feed = Server(reachable=None).feed
    assert (feed.messages, feed.malformed, feed.refused, feed.unknown_types) == (0, 0, 0, {})
    assert feed.state is FeedState.CONNECTING


def test_every_frame_is_counted():
    server = Server()
    server.say(signals("BTCUSDT"))
    assert server.feed.messages == 4


def test_the_same_answer_as_before_is_not_read_again():
    server = Server()
    text = '{"type": "signals", "signals": [7]}'
    server.say(text)
    server.say(text)
    assert (server.feed.malformed, server.feed.buffer.copies) == (1, 0)
    server.say(signals("BTCUSDT"))
    server.say(text)
    assert (server.feed.malformed, server.feed.buffer.copies) == (1, 1)


def test_items_that_were_read_before_are_not_even_copies():
    server = Server()
    server.say(signals("BTCUSDT"))
    server.say(signals("BTCUSDT", "ETHUSDT"))
    assert server.feed.buffer.copies == 0


def test_what_is_refused_before_the_verdict_is_refused_each_time():
    server = Server(verdict="")
    server.say(signals("BTCUSDT", "ETHUSDT"))
    server.say(signals("BTCUSDT", "ETHUSDT"))
    assert server.feed.refused == 4
    assert server.decisions.count(("feed.refused", "signals before auth_success")) == 2


def test_flaws_alone_are_handed_on_and_told_of_with_their_raw_text():
    server = Server()
    server.say("x" * 3000)
    (batch,) = server.batches
    assert (batch.signals, len(batch.flaws), batch.flaws[0].raw) == ((), 1, "x" * 2000)
    assert server.alerts == ["feed.malformed"]


def test_unknown_types_are_counted_up_to_fifty_and_told_of_once_each():
    server = Server()
    for _ in range(2):
        for number in range(51):
            server.say(json.dumps({"type": f"kind{number}"}))
    assert len(server.feed.unknown_types) == 50
    assert dict.fromkeys(server.feed.unknown_types.values()) == {2: None}
    assert [kind for kind, _ in server.decisions].count("feed.unknown") == 50


def test_of_a_long_type_so_much_is_kept():
    server = Server()
    server.say(json.dumps({"type": "y" * 60}))
    assert server.feed.unknown_types == {"y" * 40: 1}


def test_during_a_check_its_own_wave_is_the_one_that_is_kept():
    server = Server("2026-01-05T12:20:30Z", signal_buffer_size=1)
    server.say(signals("KEPTUSDT", wave="2026-01-05T12:00:00Z"))
    server.say(signals("NEXTUSDT", wave="2026-01-05T12:15:00Z"))
    server.say(signals("LASTUSDT", wave="2026-01-05T09:00:00Z"))
    kept = server.feed.buffer.of_wave(server.batches[0].signals[0].candle_ns)
    assert [one.symbol for one in kept] == ["KEPTUSDT"]
    assert server.feed.buffer.of_wave(server.batches[1].signals[0].candle_ns) == ()


def test_acceptance_and_refusal_are_told():
    server = Server()
    assert server.decisions == [("feed.ready", "auth_success")]
    server.say('{"type": "auth_failed", "reason": "revoked"}')
    assert server.decisions[-1] == ("feed.auth_failed", "revoked")
    assert server.feed.state is FeedState.REFUSED


# ---------------------------------------------------------------- connecting


def test_a_connection_that_does_not_come_is_given_up_after_half_a_minute():
    server = Server(reachable=None)
    server.closes_at_once = True
    server.run(100)
    assert server.did("close") == [30, 65, 100]
    assert server.did("open") == [0, 35, 70]
    assert ("feed.down", "no connection in time") in server.decisions


def test_a_connection_that_is_refused_is_tried_again_after_the_interval():
    server = Server(reachable=False)
    server.run(12)
    assert server.did("open") == [0, 5, 10]
    assert server.decisions[0] == ("feed.down", "refused")


@pytest.mark.parametrize(("most", "opened"), [(0, 1), (1, 2), (3, 4)])
def test_so_many_attempts_are_made_without_a_success(most, opened):
    server = Server(reachable=False, signal_ws_max_reconnect_attempts=most)
    server.run(600)
    assert len(server.did("open")) == opened
    assert server.alerts == ["feed.ended", "feed.down"]


@pytest.mark.parametrize("reachable", [False, None])
def test_a_feed_that_never_came_alerts_after_its_patience(reachable):
    server = Server(reachable=reachable)
    server.run(299)
    assert server.alerts == []
    server.run(1)
    assert server.alerts == ["feed.down"]


@pytest.mark.parametrize(("reason", "told"), [("reset", "reset"), ("", "closed")])
def test_a_lost_connection_is_told_with_its_reason(reason, told):
    server = Server()
    server.drop(reason)
    assert server.decisions[-1] == ("feed.down", told)


def test_a_refused_attempt_without_a_reason_is_told_as_down():
    server = Server(reachable=None)
    server.drop("")
    assert server.decisions == [("feed.down", "down")]


def test_the_end_of_an_earlier_connection_does_not_end_the_next():
    server = Server()
    server.answer, server.closes_at_once = None, False
    while not server.did("close"):
        server.run(1)
    server.run(7)
    server.drop("at last")
    server.answer = '{"type": "signals", "signals": []}'
    server.run(10)
    assert server.feed.state is FeedState.READY
    assert len(server.did("open")) == 2


def test_what_comes_with_the_end_of_a_connection_is_not_taken():
    server = Server()
    server.feed.on_down("reset")
    assert server.feed.state is FeedState.DOWN
    server.say(signals("BTCUSDT"))
    assert symbols(server) == []
    assert server.feed.refused == 1


# ---------------------------------------------------------------- the token


def test_a_verdict_that_was_not_asked_for_accepts_nothing():
    server = Server()
    server.demands = False
    server.drop()
    server.run(6)
    server.say('{"type": "auth_success"}')
    assert server.feed.state is FeedState.DOWN
    assert server.decisions[-1] == ("feed.down", "no auth_required in time: auth_success")
    assert server.did("auth") == [0]
    assert [kind for kind, _ in server.decisions].count("feed.ready") == 1


@pytest.mark.parametrize(("reason", "told"), [("over", "over"), ("", "refused without a reason")])
def test_a_refusal_that_comes_before_the_demand_is_a_refusal(reason, told):
    server = Server()
    server.demands = False
    server.drop()
    server.run(6)
    server.say(json.dumps({"type": "auth_failed", "reason": reason}))
    assert server.decisions[-1] == ("feed.auth_failed", told)
    server.run(299)
    assert len(server.did("open")) == 2


def test_a_first_refusal_waits_for_the_first_pause():
    server = Server(verdict="auth_failed")
    server.run(3000)
    assert server.did("open") == [0, 300, 900, 2100]


def test_the_pauses_after_refusals_double_up_to_the_longest_that_can_be_set():
    server = Server(
        verdict="auth_failed", signal_auth_retry_seconds=1, signal_auth_retry_max_seconds=86_400
    )
    server.run(400_000)
    waits = [later - earlier for earlier, later in pairwise(server.did("open"))]
    assert waits[:19] == [*(2**n for n in range(17)), 86_400, 86_400]


# ---------------------------------------------------------------- the conversation


def test_a_second_verdict_brings_neither_a_request_nor_an_end():
    server = Server()
    server.run(3)
    server.say('{"type": "auth_success"}')
    assert server.did("request") == [0]
    assert server.feed.state is FeedState.READY


def test_a_second_demand_ends_the_conversation():
    server = Server()
    server.say('{"type": "auth_required"}')
    assert server.did("close") == [0]
    told = ("feed.down", "the conversation broke off: auth_required")
    assert server.decisions[-1] == told
    server.run(6)
    assert server.did("open") == [0, 5]


def test_three_requests_without_an_answer_are_borne_and_no_fourth_is_sent():
    server = Server()
    server.run(100)
    server.answer = None
    server.run(400)
    assert server.did("request")[:5] == [0, 60, 120, 180, 240]
    assert server.did("close")[0] == 300


def test_a_connection_that_answers_nothing_from_the_start_bears_three_requests_too():
    server = Server()
    server.answer = None
    server.drop()
    server.run(200)
    assert server.did("request")[1:4] == [5, 65, 125]
    assert server.did("close") == [185]


def test_while_a_connection_is_being_closed_nothing_is_taken_and_only_its_end_is_awaited():
    server = Server()
    server.answer, server.closes_at_once = None, False
    server.run(240)
    assert server.did("close") == [240]
    server.say(signals("BTCUSDT"))
    server.say('{"type": "auth_required"}')
    assert symbols(server) == []
    server.run(9)
    assert len(server.did("open")) == 1
    server.run(1)
    assert len(server.did("open")) == 2
