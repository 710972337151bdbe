"""Text to whole numbers: exact for every number that fits, never silently wrong."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from replay import columns

NUMBERS = st.one_of(
    st.decimals(-(10**9), 10**9, allow_nan=False, places=4),
    st.decimals(0, 10**6, allow_nan=False, places=8),
    st.integers(-(10**17), 10**17).map(Decimal),
)


def cells_of(*texts: str) -> columns.Cells:
    block = "".join(f"x,{text}\n" for text in texts).encode()
    return columns.split(block, 2, 0)


@given(st.lists(NUMBERS, min_size=1, max_size=30), st.booleans())
def test_a_number_is_read_exactly(numbers, with_exponent):
    texts = [str(number) if with_exponent else format(number, "f") for number in numbers]
    found = columns.decimals(cells_of(*texts), 1)
    read = [
        Decimal(int(mantissa)).scaleb(-int(places))
        for mantissa, places in zip(found.mantissa, found.decimals, strict=True)
    ]
    assert not found.bad.any()
    assert read == numbers


@given(st.text(alphabet="0123456789.eE+- _xNaInf", max_size=12))
def test_a_cell_is_either_the_number_it_says_or_bad(text):
    found = columns.decimals(cells_of(text), 1)
    try:
        value = Decimal(text) if "_" not in text else None
    except ArithmeticError:
        value = None
    if found.bad[0]:
        assert value is None or not value.is_finite() or abs(value.adjusted()) >= 17
    else:
        assert Decimal(int(found.mantissa[0])).scaleb(-int(found.decimals[0])) == value


def test_a_number_with_more_digits_than_fit_is_bad_and_not_cut():
    found = columns.decimals(cells_of("1234567890123456789.5", "1"), 1)
    assert found.bad.tolist() == [True, False]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_volume_is_the_nearest_float(values):
    texts = [repr(value) for value in values]
    read, bad = columns.floats(cells_of(*texts), 1)
    assert not bad.any()
    assert read.tolist() == values


def test_lines_are_counted_through_empty_and_broken_rows():
    cells = columns.split(b"a,1\n\nb\nc,3\nd,4,5\ne,6\n", 2, 10)
    assert cells.line.tolist() == [11, 14, 16]
    assert cells.wrong == [(13, "b"), (15, "d,4,5")]
    assert cells.lines == 6
    assert cells.cell(1, 0) == "c"


@given(st.lists(st.integers(0, 130 * 365 * 24 * 60), min_size=1, max_size=20))
def test_a_clock_time_is_the_minute_it_shows(expected):
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    moments = [epoch + timedelta(minutes=minute) for minute in expected]
    texts = [moment.strftime("%Y.%m.%d %H:%M") for moment in moments]
    minutes, bad = columns.clock_minutes(cells_of(*texts), 1)
    assert not bad.any()
    assert minutes.tolist() == expected


def test_a_clock_time_that_does_not_exist_is_bad():
    texts = ("2025.02.29 00:00", "2025.13.01 00:00", "2025.01.01 24:00", "2025-01-01 00:00", "now")
    _, bad = columns.clock_minutes(cells_of(*texts), 1)
    assert bad.all()


def test_sides_and_flags_accept_only_their_words():
    sides, bad_side = columns.sides(cells_of("Buy", "SELL", "Bought", ""), 1)
    flags, bad_flag = columns.flags(cells_of("true", "False", "1", "0", "yes"), 1)
    assert (sides.tolist()[:2], bad_side.tolist()) == ([1, -1], [False, False, True, True])
    assert (flags.tolist()[:4], bad_flag.tolist()) == ([1, 0, 1, 0], [False] * 4 + [True])


@given(st.lists(st.text(alphabet="abcdef0123456789-", max_size=36), min_size=2, max_size=20))
def test_text_keys_are_equal_where_the_texts_are(texts):
    keys = columns.text_keys(cells_of(*texts), 1).tolist()
    for one, key in zip(texts, keys, strict=True):
        for other, other_key in zip(texts, keys, strict=True):
            assert (one == other) == (key == other_key)
