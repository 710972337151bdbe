"""Proof by two reads: what is and what is not enough."""

from hypothesis import given
from hypothesis import strategies as st

from kernel.model.units import SECOND, MonoNs, TsNs
from kernel.sync.absence import Comparison, ReadStamp

LAG_NS = 5 * SECOND
SHIFT_NS = 1_000_000 * SECOND
"""Wall time minus monotonic time."""
MOMENTS = st.integers(1, 60 * SECOND)


def read_at(ns: int) -> ReadStamp:
    return ReadStamp(MonoNs(ns), TsNs(ns + SHIFT_NS))


def proven_by(asked: list[int], *, last_ns: int = 0) -> list[bool]:
    """Whether the same thing was proven at each of some reads in a row."""
    sightings: dict[str, ReadStamp] = {}
    answers = []
    for ns in asked:
        comparison = Comparison(sightings, read_at(ns), LAG_NS)
        after_ts_ns = last_ns + SHIFT_NS if last_ns else 0
        answers.append(comparison.proven("gone", after_ts_ns=after_ts_ns))
        sightings = comparison.sightings
    return answers


@given(MOMENTS)
def test_one_read_proves_nothing(asked: int) -> None:
    assert proven_by([asked]) == [False]


@given(MOMENTS, MOMENTS)
def test_two_reads_prove_exactly_when_the_lag_is_between_them(one: int, other: int) -> None:
    first, second = sorted((one, other))
    assert proven_by([first, second]) == [False, second - first >= LAG_NS]


@given(st.lists(MOMENTS, min_size=1, max_size=6), MOMENTS)
def test_reads_asked_before_the_last_execution_do_not_count(asked: list[int], last: int) -> None:
    asked.sort()
    later = [ns for ns in asked if ns > last]
    assert proven_by(asked, last_ns=last) == [False] * (len(asked) - len(later)) + proven_by(later)


def test_a_read_that_says_otherwise_starts_the_count_anew() -> None:
    first = Comparison({}, read_at(SECOND), LAG_NS)
    first.proven("gone", after_ts_ns=0)
    between = Comparison(first.sightings, read_at(4 * SECOND), LAG_NS)
    last = Comparison(between.sightings, read_at(9 * SECOND), LAG_NS)
    assert not last.proven("gone", after_ts_ns=0)
    assert last.waiting


def test_an_execution_between_the_reads_starts_the_count_anew() -> None:
    first = Comparison({}, read_at(SECOND), LAG_NS)
    first.proven("gone", after_ts_ns=0)
    second = Comparison(first.sightings, read_at(7 * SECOND), LAG_NS)
    assert not second.proven("gone", after_ts_ns=SHIFT_NS + 2 * SECOND)


def test_the_same_read_twice_is_one_read_even_without_a_lag() -> None:
    first = Comparison({}, read_at(SECOND), 0)
    first.proven("gone", after_ts_ns=0)
    again = Comparison(first.sightings, read_at(SECOND), 0)
    assert not again.proven("gone", after_ts_ns=0)


def test_what_was_proven_stays_proven_at_the_next_read() -> None:
    assert proven_by([SECOND, 7 * SECOND, 8 * SECOND]) == [False, True, True]


# ---------------------------------------------------------------- bounds


def second(first_ns: int, second_ns: int, after_ns: int, lag_ns: int = LAG_NS) -> Comparison:
    """The comparison of a second read that says what a first one said."""
    first = Comparison({}, read_at(first_ns), lag_ns)
    first.proven("gone", after_ts_ns=0)
    comparison = Comparison(first.sightings, read_at(second_ns), lag_ns)
    comparison.proven("gone", after_ts_ns=after_ns + SHIFT_NS)
    return comparison


def test_a_comparison_that_was_asked_nothing_waits_for_nothing() -> None:
    comparison = Comparison({}, read_at(SECOND), LAG_NS)
    assert (comparison.waiting, comparison.skipped, comparison.sightings) == (False, False, {})


def test_reads_exactly_the_lag_apart_prove_and_a_nanosecond_less_does_not() -> None:
    assert not second(SECOND, SECOND + LAG_NS, 0).waiting
    assert second(SECOND, SECOND + LAG_NS - 1, 0).waiting


def test_without_a_lag_two_different_moments_are_enough() -> None:
    assert not second(SECOND, SECOND + 1, 0, lag_ns=0).waiting


def test_a_read_asked_at_the_instant_of_an_execution_says_nothing() -> None:
    comparison = second(SECOND, 9 * SECOND, 9 * SECOND)
    assert comparison.waiting
    assert comparison.sightings == {}
    later = second(SECOND, 9 * SECOND, 9 * SECOND - 1)
    assert later.sightings == {"gone": read_at(9 * SECOND)}


def test_a_first_read_asked_at_the_instant_of_an_execution_is_forgotten() -> None:
    assert second(SECOND, 9 * SECOND, SECOND).waiting
    assert not second(SECOND, 9 * SECOND, SECOND - 1).waiting


def test_for_how_long_it_was_said_counts_from_the_first_read() -> None:
    comparison = second(SECOND, 9 * SECOND, 0)
    assert comparison.said_for_ns("gone") == 8 * SECOND
    assert comparison.said_for_ns("anything else") == 0
