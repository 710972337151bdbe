"""The bytes of a spool: records that are whole or not there.

    "WKSP", u32 length, u32 CRC, u64 sequence, payload          big-endian

The CRC covers length, sequence and payload. Behind a record that is damaged, reading goes on at the
next whole one, so that one bad sector costs the records on it and no other.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

MARK = b"WKSP"
_HEAD = struct.Struct(">4sIIQ")
_COVERED = struct.Struct(">IQ")


class Record(NamedTuple):
    """One record: its number and what it holds."""

    seq: int
    payload: bytes


class Contents(NamedTuple):
    """What the bytes of one file hold."""

    records: tuple[Record, ...]
    damage: tuple[str, ...]
    """Sentences about bytes that are no record, a torn tail included."""


def record(seq: int, payload: bytes) -> bytes:
    """The bytes of one record."""
    return _HEAD.pack(MARK, len(payload), _crc(seq, payload), seq) + payload


def read_records(data: bytes) -> Contents:
    """Every whole record, in order, and what lies between and behind them."""
    records: list[Record] = []
    damage: list[str] = []
    at = 0
    while at < len(data):
        found = _whole(data, at)
        if found is None:
            following = _next_whole(data, at + 1)
            if following is None:
                damage.append(f"{len(data) - at} bytes behind the last whole record are cut off")
                break
            damage.append(f"{following - at} bytes at {at} are damaged and left out")
            at = following
            continue
        records.append(found)
        at += _HEAD.size + len(found.payload)
    return Contents(tuple(records), tuple(damage))


def _whole(data: bytes, at: int) -> Record | None:
    """The record that begins here; None: no whole one does."""
    if len(data) - at < _HEAD.size:
        return None
    mark, length, crc, seq = _HEAD.unpack_from(data, at)
    begin = at + _HEAD.size
    if mark != MARK or len(data) - begin < length:
        return None
    payload = data[begin : begin + length]
    return Record(seq, payload) if crc == _crc(seq, payload) else None


def _next_whole(data: bytes, at: int) -> int | None:
    while (at := data.find(MARK, at)) >= 0:
        if _whole(data, at) is not None:
            return at
        at += 1
    return None


def _crc(seq: int, payload: bytes) -> int:
    return crc32(payload, crc32(_COVERED.pack(len(payload), seq)))
