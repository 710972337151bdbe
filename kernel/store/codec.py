"""One row codec for every store: a row is the same bytes wherever it is kept."""

from __future__ import annotations

import msgspec

from kernel.model.rows import Row

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Row] = msgspec.msgpack.Decoder(Row)


def encode_row(row: Row) -> bytes:
    """The bytes of a row, its kind included."""
    return _ENCODER.encode(row)


def decode_row(data: bytes) -> Row:
    """The row of these bytes.

    Raises:
        msgspec.ValidationError: They are not a row of this version.
    """
    return _DECODER.decode(data)
