"""The codec: every row of every kind comes back as it was, from bytes and from columns."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.model.rows import OrderRow, SwitchRow
from kernel.store.codec import (
    ORDERS,
    SWITCHES,
    TABLES,
    Kind,
    decode_row,
    encode_row,
    from_values,
    table_of,
    to_values,
)
from tests.kernel.store.rows import KINDS, MONEY, any_row, order


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_every_row_comes_back_from_its_bytes(kind, data):
    row = data.draw(any_row(kind))
    assert decode_row(table_of(row), encode_row(row)) == row


@given(MONEY)
def test_a_decimal_comes_back_exactly_and_in_canonical_form(value):
    back = from_values(ORDERS, to_values(order("c", qty=value)))
    assert isinstance(back, OrderRow)
    assert back.qty == value
    shown = format(back.qty, "f")
    assert "E+" not in str(back.qty)
    assert not ("." in shown and shown.endswith("0"))
    assert shown != "-0"


@given(data=st.data())
def test_no_text_that_is_written_holds_what_postgresql_refuses(data):
    row = data.draw(st.sampled_from(KINDS).flatmap(any_row))
    for value in to_values(row):
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str):
                assert "\0" not in text
                text.encode()


def test_a_reference_to_nothing_is_none():
    assert to_values(order("c"))[3] is None
    assert from_values(ORDERS, to_values(order("c"))) == order("c", qty=Decimal("0.01"))


def test_each_field_of_each_row_has_one_column_of_its_own():
    for table in TABLES:
        assert len(set(table.names)) == len(table.names)
        if table is not SWITCHES:
            assert len(table.columns) == len(table.row.__struct_fields__)
    assert len(SWITCHES.columns) == len(SwitchRow.__struct_fields__) + 1  # a wallet is two


def test_what_is_no_number_is_refused():
    values = list(to_values(order("c")))
    values[7] = Decimal("NaN")
    assert ORDERS.columns[7].kind is Kind.MONEY
    with pytest.raises(ValueError, match="not a finite number"):
        from_values(ORDERS, values)
