"""A venue looks at what is signed with its own time, in both directions, at both levels."""

import json

import pytest

from kernel.config import Settings
from kernel.model.messages import HttpRequest, VenueCall
from kernel.model.traits import TRAITS
from kernel.model.units import MS, SECOND
from kernel.model.venue import REQUEST_LIFETIME_NS, QueryBalance, QueryServerTime, QuerySnapshot
from kernel.trade.lease import MARGIN_NS
from tests.kernel.lives import RISE, Life
from tests.venues.sim.desk import T0, Desk, market_order
from tests.venues.sim.wire.wire_desk import WireDesk
from venues.live.binance import requests as of_binance
from venues.live.bybit import requests as of_bybit
from venues.sim.fault_kinds import RequestDelay

VENUES = tuple(TRAITS)
WAY_MS = 5
AGES_MS = [(-999 - WAY_MS, True), (-1000 - WAY_MS, False), (5000 - WAY_MS, True),
           (5001 - WAY_MS, False)]  # fmt: skip
"""How old the signature is when the request leaves, and whether it is in time when it arrives."""
CODES = {"binance": "-1021", "bybit": "10002"}


def words(venue, age_ms, now_ms):
    if venue == "bybit":
        return (
            "invalid request, please check your server timestamp or recv_window param."
            f" req_timestamp[{now_ms - WAY_MS - age_ms}],server_timestamp[{now_ms}],"
            "recv_window[5000]"
        )
    if age_ms < 0:
        return "Timestamp for this request was 1000ms ahead of the server's time."
    return "Timestamp for this request is outside of the recvWindow."


def call(desk, request, age_ms, key="call/1"):
    signed_ns = desk.agenda.now_ns - age_ms * MS
    body = VenueCall(venue=desk.venue.name, request=request, timestamp_ns=signed_ns)
    desk.link.accept(key, body)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(("age_ms", "in_time"), AGES_MS)
def test_an_order_is_looked_at_only_within_its_window(venue, age_ms, in_time):
    desk = Desk(venue)
    heard = []
    desk.link.on_request = lambda *told: heard.append("looked at")
    desk.link.on_untimely = lambda *told: heard.append("untimely")
    call(desk, market_order("0.01"), age_ms)
    desk.run_to(1_000)
    ((_, reply),) = desk.answers()
    assert bool(desk.qty()) is in_time
    assert heard == ["looked at" if in_time else "untimely"]
    if not in_time:
        assert (reply.kind, reply.code) == ("NotSent", CODES[venue])
        assert reply.text == words(venue, age_ms, (T0 + WAY_MS * MS) // MS)


@pytest.mark.parametrize("venue", VENUES)
def test_a_bulk_read_is_refused_as_a_whole_and_the_time_is_told_to_anybody(venue):
    desk = Desk(venue)
    call(desk, QuerySnapshot(), 6_000)
    call(desk, QueryServerTime(), 6_000, "call/2")
    desk.run_to(1_000)
    (_, refused), (_, told) = desk.answers()
    assert (refused.code, refused.request) == (CODES[venue], "positions")
    assert told.ts_ns == T0 + WAY_MS * MS


@pytest.mark.parametrize(("admitted", "filled"), [(False, False), (True, True)])
@pytest.mark.parametrize("venue", VENUES)
def test_what_waits_inside_of_the_venue_was_looked_at_before(venue, admitted, filled):
    desk = Desk(venue, faults=(RequestDelay(dt_ns=6 * SECOND, admitted=admitted),))
    call(desk, market_order("0.01"), 0)
    desk.run_to(7_000)
    assert bool(desk.qty()) is filled


def http(desk, path, age_ms, *, method="GET", signed="full", window_ms=5000, body=b"", **params):
    key = f"http/{path}"
    desk.wire.accept(
        key,
        HttpRequest(
            venue=desk.venue.name, method=method, path=path, body=body, signed=signed,
            params=tuple(params.items()), recv_window_ms=window_ms,
            timestamp_ns=desk.agenda.now_ns - age_ms * MS,
        ),
    )  # fmt: skip
    desk.run_to((desk.agenda.now_ns - T0) // MS + 100)
    return desk.answer_to(key)


PATHS = {"binance": "/fapi/v3/balance", "bybit": "/v5/position/list"}
PUBLIC = {"binance": "/fapi/v1/time", "bybit": "/v5/market/time"}


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(("age_ms", "in_time"), AGES_MS)
def test_in_bytes_the_refusal_is_the_venues_own(venue, age_ms, in_time):
    desk = WireDesk(venue)
    params = {} if venue == "binance" else {"category": "linear", "symbol": "BTCUSDT"}
    answer = http(desk, PATHS[venue], age_ms, **params)
    told = json.loads(answer.body)
    if in_time:
        assert answer.status == 200
        assert venue == "binance" or told["retCode"] == 0
    elif venue == "binance":
        assert (answer.status, told["code"], told["msg"]) == (400, -1021, words(venue, age_ms, 0))
    else:
        assert (answer.status, told["retCode"]) == (200, 10002)
        assert told["retMsg"] == words(venue, age_ms, (T0 + WAY_MS * MS) // MS)


@pytest.mark.parametrize("venue", VENUES)
def test_the_window_is_the_requests_own_and_what_is_not_signed_has_none(venue):
    desk = WireDesk(venue)
    params = {} if venue == "binance" else {"category": "linear", "symbol": "BTCUSDT"}
    code = "code" if venue == "binance" else "retCode"
    assert json.loads(http(desk, PATHS[venue], 2_000, window_ms=1_000, **params).body)[code]
    assert http(desk, PUBLIC[venue], 9_000, signed="none").status == 200


@pytest.mark.parametrize("level", ["sim", "wire"])
def test_every_request_is_signed_with_the_clock_reading_of_the_step_that_decided_it(level):
    """So nothing that happens between step and sending, a freeze among it, changes the time."""
    life = Life(VENUES, RISE, level=level)
    life.until(1_700)
    signed = 0
    for item, result in life.steps:
        for body in [effect.body for effect in result.effects]:
            if isinstance(body, VenueCall) or (
                isinstance(body, HttpRequest) and body.signed == "full"
            ):
                assert body.timestamp_ns == item.ts_ns
                signed += 1
    assert signed > 200


@pytest.mark.parametrize("requests", [of_binance, of_bybit], ids=["binance", "bybit"])
def test_adapters_sign_with_a_window_that_is_shorter_than_the_margin_of_the_lease(requests):
    """Between the last signature of a holder and the first of the next one lies the margin."""
    wait_ns = Settings.load({}).lease_wait_seconds * SECOND
    silent_before_ns = REQUEST_LIFETIME_NS + MARGIN_NS
    for request in (market_order("0.01"), QueryBalance()):
        made = requests.encode(request, T0)
        assert made.recv_window_ms * MS == REQUEST_LIFETIME_NS
    assert REQUEST_LIFETIME_NS < silent_before_ns <= wait_ns
