"""Journals: what is written is read, and whatever is not whole or not ours is said so."""

import re
import resource
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAliasType, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import SettingsError
from kernel.model.messages import Alert, Decision, Effect, Input, Read, StepResult, Tick
from kernel.model.units import MonoNs, TsNs
from kernel.model.venue import EffectClass
from replay.journal import VERSION, Header, JournalReader, Record, Recorder

HEADER = Header(name="test", commit="abc", seed=7, venues=("binance",))


def step(number: int, *, reads: int = 0) -> tuple[Input, StepResult]:
    """A step with a decision and an alert; its content depends on its number."""
    item = Input(number, TsNs(1_000 + number), MonoNs(number), "tick", Tick())
    decision = Decision(kind="test.kind", cause=f"because of {number}", values={"n": str(number)})
    alert = Alert(severity="WARNING", kind="test", text=f"number {number}")
    read = Read(("last", "binance", "BTCUSDT", "LAST"), (str(number), "1"))
    effect = Effect(f"alert/-/test/{number}", EffectClass.QUERY, alert)
    return item, StepResult([effect], [decision], [read] * reads)


def write(path: Path, count: int, *, reads: int = 0) -> str:
    """A journal of so many steps; its digest."""
    with Recorder(path, HEADER) as recorder:
        for number in range(count):
            recorder.step(*step(number, reads=reads))
        return recorder.digest()


def starts(data: bytes | bytearray) -> Iterator[int]:
    """Where each record of a journal starts, and where the last one ends."""
    at = 8 + struct.unpack_from(">I", data, 4)[0]
    while at < len(data):
        yield at
        canonical, reads = struct.unpack_from(">II", data, at)
        at += 8 + canonical + reads + 4
    yield at


def read_all(path: Path) -> tuple[list[Record], JournalReader]:
    reader = JournalReader(path)
    return list(reader.records()), reader


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "j"
    digest = write(path, 5, reads=2)
    records, reader = read_all(path)
    assert reader.header == HEADER
    assert [record.index for record in records] == [0, 1, 2, 3, 4]
    for number, record in enumerate(records):
        item, result = step(number, reads=2)
        assert record.input == item
        assert (record.effects, record.decisions, record.reads) == (
            result.effects,
            result.decisions,
            result.reads,
        )
    assert reader.torn == 0
    assert reader.digest() == digest


def test_the_digest_is_the_same_without_a_file(tmp_path: Path) -> None:
    recorder = Recorder(None, HEADER)
    for number in range(3):
        recorder.step(*step(number))
    assert recorder.digest() == write(tmp_path / "j", 3)


def test_the_digest_leaves_reads_and_header_out(tmp_path: Path) -> None:
    plain = write(tmp_path / "a", 3)
    other = Recorder(tmp_path / "b", msgspec.structs.replace(HEADER, commit="other", python="x"))
    with other:
        for number in range(3):
            other.step(*step(number, reads=1))
    assert other.digest() == plain


def test_the_digest_sees_the_order_of_steps() -> None:
    forth, back = Recorder(None, HEADER), Recorder(None, HEADER)
    for number in (0, 1):
        forth.step(*step(number))
    for number in (1, 0):
        back.step(*step(number))
    assert forth.digest() != back.digest()


def test_each_record_reaches_the_system_at_once_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "j"
    recorder = Recorder(path, HEADER, each=True)
    for number in range(3):
        recorder.step(*step(number))
        assert len(read_all(path)[0]) == number + 1
    recorder.close()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=10_000))
def test_a_torn_journal_reads_to_its_last_whole_record(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("torn") / "j"
    write(path, 6, reads=1)
    data = path.read_bytes()
    places = list(starts(data))
    length = places[0] + cut % (len(data) - places[0] + 1)
    path.write_bytes(data[:length])
    records, reader = read_all(path)
    whole = sum(place <= length for place in places) - 1
    assert len(records) == whole
    assert reader.torn == length - places[whole]


@settings(max_examples=80, deadline=None)
@given(at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_a_flipped_byte_never_passes(
    at: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("flipped") / "j"
    write(path, 4, reads=1)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data)
    told = ""
    records: list[Record] = []
    torn = 0
    try:
        records, reader = read_all(path)
        torn = reader.torn
    except SettingsError as error:
        told = str(error)
    # A length that now reaches beyond the file looks like a torn tail.
    assert str(path) in told or (torn > 0 and len(records) < 4)


def test_damage_names_record_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, 4)
    data = bytearray(path.read_bytes())
    third = list(starts(data))[2]
    data[third + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=rf"record 2 at byte {third} is damaged"):
        read_all(path)


def test_another_version_is_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Recorder(path, msgspec.structs.replace(HEADER, version=VERSION + 1)):
        pass
    with pytest.raises(SettingsError, match=f"version {VERSION + 1}, this program reads {VERSION}"):
        JournalReader(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a journal", b"WKJ1", b"WKJ1\0\0\0\x09"])
def test_what_is_no_journal_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="journal"):
        JournalReader(path)


def test_a_missing_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        JournalReader(tmp_path / "none")


def test_a_journal_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        Recorder(tmp_path / "no" / "folder", HEADER)


def test_a_disk_that_fills_up_is_told_and_leaves_whole_records_and_a_torn_tail(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j"
    recorder = Recorder(path, HEADER)
    for number in range(100):
        recorder.step(*step(number))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(OSError, match=re.escape(str(path))):
            recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.stat().st_size == 5_000
    records, reader = read_all(path)
    assert 0 < len(records) < 100
    assert reader.torn > 0


def test_a_wrong_length_before_whole_records_is_damage_and_no_torn_tail(tmp_path: Path) -> None:
    """A flipped high bit must not drop everything that follows it without a word."""
    path = tmp_path / "j"
    write(path, 40)
    data = bytearray(path.read_bytes())
    third = list(starts(data))[2]
    data[third + 1] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=rf"record 2 at byte {third} is damaged"):
        list(JournalReader(path).records())


SHAPES = {4: "3c6381d4876f3a7e"}
"""Fingerprint of everything that a journal may hold, by format version."""


def shape_of(kind: Any, seen: dict[str, list[str]]) -> dict[str, list[str]]:
    """Every struct that can be reached from a type, with its fields and their types in order."""
    if isinstance(kind, TypeAliasType):
        return shape_of(kind.__value__, seen)
    for inner in get_args(kind):
        shape_of(inner, seen)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__name__ not in seen:
        hints = get_type_hints(kind)
        seen[kind.__name__] = [f"{name}: {hints[name]}" for name in kind.__struct_fields__]
        for name in kind.__struct_fields__:
            shape_of(hints[name], seen)
    return seen


def test_the_version_is_raised_when_the_shape_of_the_records_changes() -> None:
    seen: dict[str, list[str]] = {}
    for kind in (Input, Effect, Decision, Read):
        shape_of(kind, seen)
    assert len(seen) > 50
    found = blake2b(repr(sorted(seen.items())).encode(), digest_size=8).hexdigest()
    assert found == SHAPES[VERSION], (
        f"what a journal holds has another shape ({found}): raise VERSION in replay/journal.py, "
        "say why in docs/journal.md, and note the fingerprint here"
    )
