"""Client order ids: one grammar, both ways, and no two intents with one id."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.ids import (
    MAX_LENGTH,
    Leg,
    OrderIdParts,
    client_order_id,
    is_ours,
    parse_client_order_id,
    symbol_hash,
)

NAMES = st.text(min_size=1, max_size=30)


@st.composite
def parts(draw):
    return OrderIdParts(
        epoch=draw(st.integers(0, 36**6 - 1)),
        wave_minute=draw(st.integers(0, 36**6 - 1)),
        symbol_hash=symbol_hash(draw(st.sampled_from(["binance", "bybit"])), draw(NAMES)),
        leg=draw(st.sampled_from(Leg)),
        child=draw(st.integers(0, 35)),
        generation=draw(st.integers(0, 36**4 - 1)),
    )


@given(parts())
def test_an_id_says_its_parts_and_fits_every_venue(given_parts):
    made = client_order_id(given_parts)
    assert len(made) <= MAX_LENGTH
    assert re.fullmatch(r"[A-Za-z0-9_-]+", made)
    assert parse_client_order_id(made) == given_parts


@given(parts(), parts())
def test_two_intents_have_two_ids(one, other):
    assert (client_order_id(one) == client_order_id(other)) is (one == other)


@given(NAMES)
def test_what_others_write_is_not_ours(text):
    assert is_ours(text) is (parse_client_order_id(text) is not None)
    assert not is_ours(f"x-{text}")


@pytest.mark.parametrize(
    "text",
    ["", "wk", "wk1-a-abcdef-E0", "wk1-a-abcdef-Q0-0", "wk1-a-abcde1-E0-0", "wk1-a-abcdef-E0-0\n"],
)
def test_an_id_that_is_nearly_ours_is_not(text):
    assert parse_client_order_id(text) is None


def test_what_does_not_fit_is_refused():
    fits = OrderIdParts(
        epoch=1, wave_minute=1, symbol_hash="abcdef", leg=Leg.STOP, child=0, generation=0
    )
    with pytest.raises(ValueError, match="child 36"):
        client_order_id(msgspec.structs.replace(fits, child=36))
    with pytest.raises(ValueError, match="longer than 36"):
        client_order_id(msgspec.structs.replace(fits, epoch=36**20))
    with pytest.raises(ValueError, match="-1"):
        client_order_id(msgspec.structs.replace(fits, epoch=-1))
