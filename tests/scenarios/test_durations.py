import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.units import HOUR, MINUTE, MS, SECOND
from scenarios.durations import LONGEST_NS, duration_text, exact, parse_duration


@pytest.mark.parametrize(
    ("text", "ns"),
    [("90", 90 * SECOND), (91, 91 * SECOND), ("1m30s", 90 * SECOND), ("250ms", 250 * MS),
     ("2h", 2 * HOUR), ("1h0.5m", HOUR + MINUTE // 2), ("0s", 0), ("1.5", 1500 * MS)],
)  # fmt: skip
def test_a_duration_is_read_exactly(text, ns):
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    "text",
    ["", "1x", "s", "-1", "1m 30s", "0.1ns", True, None, "1e-12", "367d", "999999999999h"],
)
def test_another_form_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=LONGEST_NS))
def test_the_text_of_a_duration_reads_back_as_itself(ns):
    assert parse_duration(duration_text(ns)) == ns


@pytest.mark.parametrize("value", [True, "NaN", "Infinity", "x", None, []])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match=r"number|finite"):
        exact(value)
