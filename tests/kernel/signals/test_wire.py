"""The feed's messages: one bad item never takes the batch, one bad frame never takes the kernel."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import Side
from kernel.model.signal import Signal
from kernel.model.units import TsNs, canonical
from kernel.signals.schedule import CANDLE_NS
from kernel.signals.timestamps import parse_utc
from kernel.signals.wire import MalformedMessage, Origin, read_message, write_signal

ORIGIN = Origin(source="feed", default_venue="binance", arrived_ns=TsNs(7))
GOOD = (
    '{"timestamp": "2026-01-05T12:45:00Z", "symbol": "BTCUSDT", "side": "BUY", "score_week": 62.50}'
)


def batch(*items):
    return read_message('{"type": "signals", "signals": [' + ", ".join(items) + "]}", ORIGIN)


def with_field(name, value):
    """The good signal with one field written as `value`."""
    fields = {**json.loads(GOOD), name: None}
    return json.dumps(fields).replace("null", value)


def test_a_signal_is_read_with_exact_numbers():
    (signal,) = batch(GOOD).signals
    assert signal.symbol == "BTCUSDT"
    assert signal.venue == "binance"
    assert signal.side is Side.BUY
    assert signal.candle_ns == parse_utc("2026-01-05T12:45:00Z")
    assert str(signal.score_week) == "62.5"
    assert signal.score_month is None
    assert signal.arrived_ns == 7


def test_optional_and_unknown_fields_are_kept():
    item = (
        GOOD[:-1]
        + ', "score_month": 71, "exchange": "Bybit", "id": 9, "note": {"b": 1, "a": 0.10}}'
    )
    (signal,) = batch(item).signals
    assert signal.score_month == Decimal(71)
    assert signal.venue == "bybit"
    assert signal.signal_id == "9"
    assert signal.extra == '{"note":{"a":"0.10","b":1}}'


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", '"2026-01-05T12:44:00Z"'),
        ("timestamp", '"2026-01-05 12:45:00"'),
        ("timestamp", "1767617100"),
        ("timestamp", "null"),
        ("symbol", '""'),
        ("symbol", '"BTC USDT"'),
        ("symbol", '"BTC|USDT"'),
        ("symbol", '"\\ud800"'),
        ("symbol", '"' + "A" * 41 + '"'),
        ("symbol", "7"),
        ("side", '"buy"'),
        ("side", '"LONG"'),
        ("side", "1"),
        ("side", "[]"),
        ("score_week", "NaN"),
        ("score_week", "-Infinity"),
        ("score_week", "1e400"),
        ("score_week", "1e99999999999999999999"),
        ("score_week", "9" * 5000),
        ("score_week", '"62.5"'),
        ("score_week", "true"),
        ("score_week", "null"),
        ("score_month", '"71"'),
        ("exchange", "3"),
        ("exchange", '""'),
        ("id", "[1]"),
        ("id", "true"),
        ("id", '"\\ud800"'),
        ("more", "[" * 300 + "]" * 300),
        ("symbol", '"ETHUSDT", "symbol": "BTCUSDT"'),
        ("more", '{"a": 1, "a": 1}'),
    ],
)
def test_a_malformed_item_is_dropped_with_its_raw_text_and_the_rest_survives(field, value):
    bad = with_field(field, value)
    message = batch(GOOD, bad, GOOD.replace("BTC", "ETH"))
    assert [signal.symbol for signal in message.signals] == ["BTCUSDT", "ETHUSDT"]
    (flaw,) = message.flaws
    assert flaw.index == 1
    assert flaw.raw == bad[:2000]
    assert flaw.reason


@pytest.mark.parametrize("item", ["3", "null", "[]", '"text"', "NaN"])
def test_an_item_that_is_no_object_is_dropped(item):
    message = batch(item, GOOD)
    assert len(message.signals) == 1
    assert len(message.flaws) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "hello",
        "[]",
        "{",
        '{"type"}',
        '{"type": 1}',
        "{1: 2}",
        '{"signals": []}',
        '{"type": "signals"}',
        '{"type": "signals", "signals": {}}',
        '{"type": "signals", "signals": [' + GOOD,
        '{"type": "signals", "signals": [' + GOOD[:40],
        '{"type": "signals", "signals": [1 2]}',
        '{"type": "signals", "type": "signals", "signals": []}',
        '{"type": "signals", "signals": [], "signals": []}',
        '{"type": "auth_success", "more": NaN}',
        '{"type": "auth_success", "more": {"a": 1, "a": 2}}',
        '{"type": "auth_success"} {"type": "auth_success"}',
        '{"type": "signals", "signals": [' + "[" * 200_000 + "]}",
        '{"a": "' + "x" * 4_000_000 + '"}',
    ],
)
def test_a_message_that_is_not_strict_json_is_dropped_as_a_whole(text):
    with pytest.raises(MalformedMessage):
        read_message(text, ORIGIN)


def test_an_empty_list_is_no_flaw():
    message = batch()
    assert message.signals == ()
    assert message.flaws == ()


@pytest.mark.parametrize("kind", ["auth_required", "auth_success", "something_else"])
def test_other_messages_give_their_type(kind):
    assert read_message(json.dumps({"type": kind}), ORIGIN).type == kind


def test_the_reason_of_a_refusal_is_kept():
    assert read_message('{"type": "auth_failed", "reason": "expired"}', ORIGIN).reason == "expired"


@given(st.text(max_size=200))
def test_no_text_does_anything_but_be_read_or_refused(text):
    try:
        message = read_message(text, ORIGIN)
    except MalformedMessage:
        return
    assert isinstance(message.type, str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["timestamp", "symbol", "side", "score_week", "score_month", "exchange", "id"]
)


@given(st.lists(st.dictionaries(FIELDS, JSON), max_size=4))
def test_whatever_stands_in_the_items_each_is_a_signal_or_a_flaw(items):
    text = json.dumps({"type": "signals", "signals": [json.loads(GOOD) | item for item in items]})
    message = read_message(text, ORIGIN)
    assert len(message.signals) + len(message.flaws) == len(items)


SCORES = st.decimals("-1000000", "1000000", places=6, allow_nan=False)


@given(
    symbol=st.text(
        st.characters(codec="utf-8", categories=("Lu", "Nd", "Lo")), min_size=1, max_size=20
    ),
    side=st.sampled_from(["BUY", "SELL"]),
    scores=st.tuples(SCORES, st.none() | SCORES),
    quarter=st.integers(0, 10**6),
    extra=st.dictionaries(
        st.text(min_size=1, max_size=4), st.integers() | st.text(max_size=4), max_size=3
    ),
)
def test_a_recorded_signal_reads_back_as_itself(symbol, side, scores, quarter, extra):
    """Replays read what was recorded."""
    known = ("timestamp", "symbol", "side", "score_week", "score_month", "exchange", "id")
    week, month = scores
    unknown = {name: value for name, value in extra.items() if name not in known}
    signal = Signal(
        source="feed",
        venue="bybit",
        symbol=symbol,
        side=Side(side),
        candle_ns=TsNs(quarter * CANDLE_NS),
        score_week=canonical(week),
        score_month=None if month is None else canonical(month),
        signal_id="7",
        arrived_ns=TsNs(7),
        extra=json.dumps(unknown, sort_keys=True, separators=(",", ":")),
    )
    assert batch(write_signal(signal)).signals == (signal,)


ITEMS = st.sampled_from(
    [
        GOOD,
        GOOD.replace("BTC", "ETH"),
        GOOD[:-1] + ', "note": {"a": {"b": 1}}}',
        GOOD[:-1] + ', "note": "a } in a text"}',
        GOOD.replace("62.50", "NaN"),
        "{}",
        "7",
    ]
)


@given(st.lists(st.lists(ITEMS, max_size=6), max_size=5))
def test_items_read_before_are_skipped_and_nothing_else_is(frames):
    """The memory of raw texts changes how long reading takes, not what is new."""
    known: dict[str, None] = {}
    fresh: dict[str, None] = {}
    for items in frames:
        text = '{"type": "signals", "signals": [' + " , ".join(items) + " ] }"
        plain = read_message(text, ORIGIN)
        quick = read_message(text, ORIGIN, known)
        assert quick.flaws == plain.flaws
        new = [write_signal(one) for one in quick.signals]
        read = [write_signal(one) for one in plain.signals]
        assert [one for one in read if one not in fresh and one not in new] == []
        assert [one for one in new if one not in read] == []
        fresh.update(dict.fromkeys(new))


def test_a_plain_item_that_was_read_before_is_not_read_again():
    known: dict[str, None] = {}
    text = '{"type": "signals", "signals": [' + GOOD + "]}"
    assert len(read_message(text, ORIGIN, known).signals) == 1
    assert read_message(text, ORIGIN, known).signals == ()


# ---------------------------------------------------------------- bounds


def flaws(item):
    return [flaw.reason for flaw in batch(item).flaws]


def test_a_message_may_have_four_million_characters_and_no_more():
    text = '{"type": "weather"}'.ljust(4_000_000)
    assert read_message(text, ORIGIN).type == "weather"
    with pytest.raises(MalformedMessage, match="4000001 characters, at most 4000000"):
        read_message(text + " ", ORIGIN)


@pytest.mark.parametrize(("reason", "kept"), [("x" * 200, 200), ("x" * 201, 200), ("x" * 150, 150)])
def test_of_a_reason_two_hundred_characters_are_kept(reason, kept):
    message = read_message(json.dumps({"type": "auth_failed", "reason": reason}), ORIGIN)
    assert message.reason == "x" * kept


@pytest.mark.parametrize("reason", ["7", "null", "[1]"])
def test_a_reason_that_is_no_text_is_none(reason):
    assert read_message('{"type": "a", "reason": ' + reason + "}", ORIGIN).reason == ""


@pytest.mark.parametrize(("length", "good"), [(64, True), (65, False)])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_may_have_sixty_four_characters(length, good, sign):
    number = sign + "1" * (length - len(sign))
    found = flaws(with_field("note", number))
    assert found == ([] if good else ["a number of 65 characters, at most 64"])


@pytest.mark.parametrize(("depth", "good"), [(6, True), (7, False)])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a": ', "}")])
def test_an_item_may_be_nested_eight_deep_itself_and_its_values_counted(
    depth, good, opened, closed
):
    value = opened * depth + "1" + closed * depth
    found = flaws(with_field("note", value))
    assert found == ([] if good else ["nested deeper than 8"])


@pytest.mark.parametrize(("length", "good"), [(200, True), (201, False)])
def test_an_id_may_have_two_hundred_characters(length, good):
    found = flaws(with_field("id", json.dumps("i" * length)))
    assert found == ([] if good else ["id: at most 200 characters of Unicode"])


@pytest.mark.parametrize(("length", "good"), [(1, True), (40, True), (41, False), (0, False)])
def test_a_symbol_has_one_to_forty_characters(length, good):
    assert (flaws(with_field("symbol", json.dumps("S" * length))) == []) is good


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("999999999999999", "999999999999999"),
        ("1000000000000000", None),
        ("-999999999999999.5", "-999999999999999.5"),
        ("0.123456789012345", "0.123456789012345"),
        ("0.1234567890123456", None),
        ("1e2", "100"),
        ("1e15", None),
        ("1e-15", "1E-15"),
        ("1e-16", None),
        ("1e999", None),
        ("-0", "0"),
        ("7.50", "7.5"),
    ],
)
def test_a_score_has_at_most_fifteen_digits_before_and_after_the_point(written, kept):
    found = batch(with_field("score_week", written))
    if kept is None:
        reason = "score_week: at most 15 digits before and after the point"
        assert [flaw.reason for flaw in found.flaws] == [reason]
    else:
        assert [str(one.score_week) for one in found.signals] == [kept]


def test_twenty_thousand_raw_texts_are_remembered_the_newest():
    known: dict[str, None] = {str(number): None for number in range(19_999)}
    text = '{"type": "signals", "signals": [' + GOOD + "]}"
    read_message(text, ORIGIN, known)
    assert (len(known), "0" in known) == (20_000, True)
    read_message(text.replace("BTC", "ETH"), ORIGIN, known)
    assert (len(known), "0" in known, "1" in known) == (20_000, False, True)


def test_a_flaw_tells_the_place_of_its_item_and_so_much_of_its_text():
    long = json.dumps("x" * 2_100)
    (flaw,) = batch(GOOD, long).flaws
    assert (flaw.index, flaw.raw) == (1, long[:2_000])
    assert flaw.reason == "a signal is an object, not '" + "x" * 59


def test_what_a_signal_does_not_have_is_not_written():
    (signal,) = batch(GOOD).signals
    written = json.loads(write_signal(signal))
    assert sorted(written) == ["exchange", "score_week", "side", "symbol", "timestamp"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("exchange", "7", "exchange: a venue's name, not 7"),
        ("exchange", '""', "exchange: a venue's name, not ''"),
        ("symbol", "null", "symbol: 1 to 40 characters without spaces or |, not nothing"),
        ("side", '"buy"', "side: BUY or SELL, not 'buy'"),
        ("side", "[1]", "side: BUY or SELL, not a list"),
        ("side", '{"a": 1}', "side: BUY or SELL, not an object"),
        ("timestamp", "true", "timestamp: a text such as 2026-01-05T12:45:00Z, not True"),
        ("timestamp", "null", "timestamp: a text such as 2026-01-05T12:45:00Z, not nothing"),
        ("score_week", "true", "score_week: a number, not True"),
        ("score_week", "null", "score_week: a number, not nothing"),
        ("score_month", '"7"', "score_month: a number, not '7'"),
        ("id", "true", "id: a text or a whole number, not True"),
        ("id", "7.5", "id: a text or a whole number, not Decimal('7.5')"),
        ("side", json.dumps("z" * 90), "side: BUY or SELL, not '" + "z" * 59),
        ("note", "NaN", "NaN is not a number"),
        ("note", '{"a": 1, "a": 2}', "name 'a' is repeated"),
    ],
)
def test_the_reason_of_a_flaw_says_what_is_wrong_and_what_is_there(field, value, reason):
    assert flaws(with_field(field, value)) == [reason]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "'{' expected at 0, found '['"),
        ("", "'{' expected at 0, found 'the end'"),
        ('{"type" 7}', "':' expected at 8, found '7'"),
        ('{"type": "a" 7}', "',' expected at 13, found '7'"),
        ('{"type": "a"} 7', "text after the object"),
        ('{"type": "a", "type": "b"}', "name 'type' is repeated"),
        ('{"type": "a", "n": NaN}', "NaN is not a number"),
        ('{7: "a"}', "a name must be a text, not 7"),
        ('{"type": "signals", "signals": [7 7]}', "',' expected at 34, found '7'"),
    ],
)
def test_the_reason_of_a_dropped_message_tells_the_place(text, reason):
    with pytest.raises(MalformedMessage) as dropped:
        read_message(text, ORIGIN)
    assert str(dropped.value) == f"not strict JSON: {reason}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "no type"),
        ('{"type": 7}', "no type"),
        ('{"type": "signals"}', "signals: not a list"),
        ('{"type": "signals", "signals": {}}', "signals: not a list"),
        ('{"type": "signals", "others": [7]}', "signals: not a list"),
    ],
)
def test_a_message_without_type_or_list_is_dropped_with_that_reason(text, reason):
    with pytest.raises(MalformedMessage) as dropped:
        read_message(text, ORIGIN)
    assert str(dropped.value) == reason


def test_white_space_is_allowed_wherever_it_may_stand():
    text = ' \t\n\r{ "type" : "signals" , "signals" : [ ' + GOOD + " , " + GOOD + " ] } \n"
    assert len(read_message(text, ORIGIN).signals) == 2
    assert read_message('{"type": "signals", "signals": [ ]}', ORIGIN).signals == ()


def test_a_time_with_a_fraction_of_nothing_is_read_and_of_a_long_one_so_much_is_shown():
    (signal,) = batch(with_field("timestamp", '"2026-01-05T12:45:00.000000000Z"')).signals
    assert signal.candle_ns == parse_utc("2026-01-05T12:45:00Z")
    (reason,) = flaws(with_field("timestamp", json.dumps("t" * 90)))
    assert reason == f"{'t' * 40!r} is not of the form 2026-01-05T12:45:00Z"
