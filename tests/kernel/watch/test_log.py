"""The owner's log line: one line, its form exact, no secret, no raw control byte."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.messages import Alert, Decision
from kernel.signals.timestamps import parse_utc
from kernel.watch.kinds import LEVELS
from kernel.watch.log import LONGEST, alert_line, decision_line, line, redacted

NOON = parse_utc("2024-01-01T12:00:00Z")
FORM = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
    r" - [a-z_.]+ - (DEBUG|INFO|WARNING|ERROR|CRITICAL) - .*"
)


def test_the_line_has_the_owners_form() -> None:
    assert line(NOON, "module.name", "INFO", "message") == (
        "2024-01-01 12:00:00 - module.name - INFO - message"
    )


def test_a_decision_is_a_line_of_its_level_with_its_place_and_order() -> None:
    decision = Decision(
        kind="stop.moved",
        cause="breakeven",
        venue="bybit",
        symbol="ETHUSDT",
        client_order_id="wk1-S0-1",
        values={"before": "98", "level": "100"},
    )
    assert decision_line(NOON + 999_999_999, decision) == (
        "2024-01-01 12:00:00 - kernel.stop - INFO - "
        "bybit ETHUSDT: stop moved from 98 to 100: breakeven [wk1-S0-1]"
    )


def test_what_is_less_serious_than_asked_for_gives_no_line() -> None:
    decision = Decision(kind="wave.slice", cause="validated")
    assert decision_line(NOON, decision, least="INFO") is None
    assert decision_line(NOON, decision) is not None


def test_an_alert_is_a_line() -> None:
    alert = Alert(severity="CRITICAL", kind="rollback", text="entry rolled back", venue="bybit")
    assert alert_line(NOON, alert) == (
        "2024-01-01 12:00:00 - alert.rollback - CRITICAL - bybit: entry rolled back"
    )


@given(st.text(), st.sampled_from(LEVELS))
def test_whatever_is_said_stays_one_printable_line(text: str, level: str) -> None:
    told = line(NOON, "kernel.venue", level, text)
    assert told.isprintable()
    assert len(told.splitlines()) == 1
    assert FORM.fullmatch(told)
    assert len(told) < LONGEST + 100


@pytest.mark.parametrize(
    "text",
    [
        "GET /fapi/v1/order?symbol=B&signature=CANARY&x=1",
        '{"apiKey": "CANARY", "secretKey":"CANARY"}',
        "BYBIT_API_SECRET=CANARY",
        "postgresql://elcrypto:CANARY@localhost:5433/fox",
        "X-MBX-APIKEY: CANARY",
        "Authorization: Bearer CANARY",
        "listenKey=CANARY",
        "password = 'CANARY'",
        "SIGNAL_WS_TOKEN=CANARY",
        "BINANCE_API_KEY=CANARY",
        'password: "two words, CANARY"',
        '{"request": "{\\"secret\\": \\"CANARY\\"}"}',
        "postgresql://elcrypto:p@ss@CANARY@localhost:5433/fox",
    ],
)
def test_what_is_named_like_a_secret_is_masked(text: str) -> None:
    assert "CANARY" not in redacted(text)
    assert "***" in redacted(text)


def test_ordinary_words_are_not_masked() -> None:
    text = "the signal server refuses the token (invalid token); next try in 300 s: later"
    assert redacted(text) == text


@pytest.mark.parametrize(
    "part", ["a-", "a+a+", "x://u:", "token ", 'token="', "secret=\\", "sign-"]
)
def test_masking_a_long_text_costs_a_step_a_character(part: str) -> None:
    """A backtracking expression would take hours here, and the kernel would wait."""
    text = part * 100_000 + ":"
    assert len(redacted(text)) <= 2 * len(text)
