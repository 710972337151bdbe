"""The journal: every step of a run as one record, append-only, with a digest over what matters.

File layout, all integers big-endian:

    b"WKJ1"
    u32 length, header (msgpack map)                    what made the run
    per step:
        u32 length of the canonical part
        u32 length of the reads part
        canonical part  msgpack [input, effects, decisions]
        reads part      msgpack [read, …]               price look-ups, outside the digest
        u32 chained CRC of everything so far            finds a flipped byte and where it is

The *digest* is blake2b over the canonical parts: no reads, host, path or duration. A torn tail is
cut at the last whole record, and said so; a flipped byte, another version, a file that is no
journal are errors that name the place.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from kernel.errors import SettingsError
from kernel.model.messages import Decision, Effect, Input, Read, StepResult
from replay.outputs import open_alone

MAGIC = b"WKJ1"
VERSION = 4
"""Raised whenever the shape of what is recorded changes; docs/journal.md says why."""
DIGEST_BYTES = 16
_LENGTHS = struct.Struct(">II")
_WORD = struct.Struct(">I")
_BUFFER = 1 << 16
_LARGEST_PART = 1 << 28
_SEARCHED = 1 << 23
_THREE = 0x93
"""msgpack of a list of three: how every canonical part begins."""
_NO_READS = b"\x90"
"""msgpack of an empty list."""


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What made the run; a replay needs nothing else but the code.

    `settings` is the settings' JSON without secrets. `level` is "sim" or "wire".
    """

    version: int = VERSION
    commit: str = ""
    code: str = ""
    """Hash of the kernel's source files."""
    python: str = ""
    level: str = "sim"
    venues: tuple[str, ...] = ()
    seed: int = 0
    settings: str = "{}"
    settings_hash: str = ""
    name: str = ""
    instruments_hash: str = ""


class Record(msgspec.Struct, frozen=True):
    """One step as it was recorded."""

    index: int
    input: Input
    effects: list[Effect]
    decisions: list[Decision]
    reads: list[Read]
    canonical: bytes = b""
    """The part that the digest covers, as it was written."""


class Recorder:
    """Encodes each step once, for the digest and, where there is a file, for the file.

    Args:
        path: Where the journal goes; None: only the digest is kept.
        header: Written first.
        each: Hand every record to the operating system at once (live), not in blocks.

    Raises:
        SettingsError: The file cannot be made.
    """

    def __init__(self, path: Path | None, header: Header, *, each: bool = False) -> None:
        self.records = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self._part = bytearray()
        self._out = bytearray()
        self._crc = 0
        self._limit = 0 if each else _BUFFER
        self._file: BinaryIO | None = None
        if path is not None:
            try:
                self._file = open_alone(path)
            except BlockingIOError as error:
                raise SettingsError(
                    [f"journal {path}: another run is writing it; give another file"]
                ) from error
            except OSError as error:
                raise SettingsError([f"journal {path}: cannot be written: {error}"]) from error
            head = self._encoder.encode(header)
            self._out += MAGIC + _WORD.pack(len(head)) + head
            self._crc = zlib.crc32(self._out)
            self.flush()

    def step(self, item: Input, result: StepResult) -> None:
        """Record one step; called before its effects leave."""
        part = self._part
        self.records += 1
        if self._file is None:
            self._encoder.encode_into((item, result.effects, result.decisions), part, -1)
            if len(part) > _BUFFER:
                self._take_in()
            return
        self._encoder.encode_into((item, result.effects, result.decisions), part)
        self._digest.update(part)
        reads = self._encoder.encode(result.reads) if result.reads else _NO_READS
        record = b"".join((_LENGTHS.pack(len(part), len(reads)), part, reads))
        self._crc = crc = zlib.crc32(record, self._crc)
        out = self._out
        out += record
        out += _WORD.pack(crc)
        if len(out) > self._limit:
            self.flush()

    def flush(self) -> None:
        """Hand what is buffered to the operating system, all of it.

        Raises:
            OSError: A full disk, say. What was taken is not offered again, so that the file ends
                in a torn tail and never holds a piece twice.
        """
        if self._file is None:
            return
        try:
            while self._out:  # a disk that fills up takes a part and says how much
                del self._out[: self._file.write(self._out)]
        except OSError as error:
            error.filename = self._file.name
            raise

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            self.flush()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None
                self._part.clear()  # it is in the digest already

    def digest(self) -> str:
        """Digest of everything recorded so far, hexadecimal."""
        if self._file is None and self._part:
            self._take_in()
        return self._digest.hexdigest()

    def _take_in(self) -> None:
        """Digest the steps that wait for it: without a file they wait for each other."""
        self._digest.update(self._part)
        self._part.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class JournalReader:
    """Reads a journal.

    Attributes:
        header: What made the run.
        torn: Bytes after the last whole record; 0: the journal is whole. Known after reading.

    Raises:
        SettingsError: It is no journal, of another version, or damaged inside; says where.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = 0
        self._read = 0
        try:
            with path.open("rb") as file:
                self._data: bytes | mmap = (
                    mmap(file.fileno(), 0, access=ACCESS_READ) if path.stat().st_size else b""
                )
        except OSError as error:
            raise SettingsError([f"journal {path}: cannot be read: {error}"]) from error
        self.header, self._start = self._read_header()

    def _read_header(self) -> tuple[Header, int]:
        data = self._data
        if data[:4] != MAGIC:
            raise SettingsError(
                [f"journal {self.path}: starts with {data[:4]!r}, a journal starts with {MAGIC!r}"]
            )
        if len(data) < 8:
            raise SettingsError([f"journal {self.path}: ends inside its header"])
        (length,) = _WORD.unpack_from(data, 4)
        if 8 + length > len(data):
            raise SettingsError([f"journal {self.path}: ends inside its header"])
        raw = data[8 : 8 + length]
        try:
            version = msgspec.msgpack.decode(raw).get("version")
            if version != VERSION:
                raise SettingsError(
                    [
                        (
                            f"journal {self.path}: format version {version}, this program reads"
                            f" {VERSION}; replay it with the program that wrote it"
                        )
                    ]
                )
            return msgspec.msgpack.decode(raw, type=Header), 8 + length
        except (msgspec.DecodeError, ValueError, AttributeError) as error:
            raise SettingsError([f"journal {self.path}: header at byte 8: {error}"]) from error

    def records(self) -> Iterator[Record]:
        """Every whole record, in order; a torn tail ends the reading and sets `torn`."""
        data, at = self._data, self._start
        crc = zlib.crc32(data[:at])
        index = 0
        canonical = msgspec.msgpack.Decoder(tuple[Input, list[Effect], list[Decision]])
        reads = msgspec.msgpack.Decoder(list[Read])
        while at < len(data):
            end = self._end_of(at, index)
            if end > len(data):
                if self._goes_on_behind(at):
                    raise self._damaged(at, index, "its length is wrong: whole records follow it")
                self.torn = len(data) - at
                return
            (stored,) = _WORD.unpack_from(data, end - 4)
            crc = zlib.crc32(data[at : end - 4], crc)
            if stored != crc:
                raise self._damaged(at, index, "its check sum does not match")
            middle = at + _LENGTHS.size + _LENGTHS.unpack_from(data, at)[0]
            part = data[at + _LENGTHS.size : middle]
            try:
                item, effects, decisions = canonical.decode(part)
                looked_up = reads.decode(data[middle : end - 4])
            except (msgspec.DecodeError, ValueError) as error:
                raise self._damaged(at, index, str(error)) from error
            yield Record(index, item, effects, decisions, looked_up, part)
            at, index = end, index + 1
            self._read = at

    @property
    def share(self) -> float:
        """How much of the file the reading in progress has seen, 0 to 1."""
        return self._read / len(self._data) if self._data else 1.0

    def digest(self) -> str:
        """Digest over the canonical parts of the whole records, without decoding them."""
        data, at, index = self._data, self._start, 0
        made = blake2b(digest_size=DIGEST_BYTES)
        while at < len(data):
            end = self._end_of(at, index)
            if end > len(data):
                break
            first = at + _LENGTHS.size
            made.update(data[first : first + _LENGTHS.unpack_from(data, at)[0]])
            at, index = end, index + 1
        return made.hexdigest()

    def _end_of(self, at: int, index: int) -> int:
        """Where the record at `at` ends; beyond the file: it is torn."""
        data = self._data
        if at + _LENGTHS.size > len(data):
            return len(data) + 1
        canonical, reads = _LENGTHS.unpack_from(data, at)
        if canonical > _LARGEST_PART or reads > _LARGEST_PART:
            raise self._damaged(at, index, "its length is impossible")
        return at + _LENGTHS.size + int(canonical) + int(reads) + 4

    def _goes_on_behind(self, at: int) -> bool:
        """Whether a whole record stands behind `at`: then a length is damaged, nothing is torn.

        The chained sum makes that provable: the four bytes before a record continue in its own.
        """
        data = self._data
        for place in range(at + 12, min(len(data) - 12, at + _SEARCHED)):
            first = place + _LENGTHS.size
            if data[first] != _THREE:
                continue
            canonical, reads = _LENGTHS.unpack_from(data, place)
            end = first + canonical + reads + 4
            if end > len(data):
                continue
            (before,) = _WORD.unpack_from(data, place - 4)
            (stored,) = _WORD.unpack_from(data, end - 4)
            if zlib.crc32(data[place : end - 4], before) == stored:
                return True
        return False

    def _damaged(self, at: int, index: int, why: str) -> SettingsError:
        return SettingsError(
            [f"journal {self.path}: record {index} at byte {at} is damaged: {why}"]
        )
