"""What the data folder keeps for the store: the spool, and the highest run epoch.

    FOLDER/0000000000000007.spool    records from number 7 on; each process begins a file of its own
    FOLDER/epoch                     the highest run epoch that was taken here
    FOLDER/database                  which database it was, and how many commits it had
    FOLDER/refused                   what the database did not take, a JSON object a line
    FOLDER/lock                      held by the process that uses the folder

1. A record is durable when `append` returns; where it raises, the record is not to be counted on.
2. Files are deleted oldest first, each for certain before the next: whatever a crash leaves is the
   newest part, so that no older row can come behind a newer one.
3. Nothing is opened before it is needed, and what failed is tried again at the next call.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from kernel.errors import StoreError
from kernel.store.backend import NEW, Mark
from kernel.store.spool_queue import Recovered
from kernel.store.spool_records import read_records, record

LIMIT_BYTES = 64 * 2**20
"""Of all records together; months of rows of protection."""
_SUFFIX = ".spool"
_DIGITS = 16


class FileSpool:
    """See `Spool`.

    Args:
        folder: Made when it is needed; no other process may use it meanwhile.
        limit_bytes: What is more is refused.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._lock: int | None = None
        self._file: int | None = None
        """The file that takes records; None: the next record begins one."""
        self._database: int | None = None
        self._end = 0
        """Behind its last whole record."""
        self._size = 0
        """Of all files."""
        self._next = 1

    # ------------------------------------------------------------ records

    def recover(self) -> Recovered:
        """See `Spool.recover`."""
        try:
            self._use()
            self._size = 0
            payloads: list[bytes] = []
            damage: list[str] = []
            last = None
            for path in self._files():
                contents = read_records(path.read_bytes())
                damage += [f"{path.name}: {sentence}" for sentence in contents.damage]
                for seq, payload in contents.records:
                    if last is not None and seq > last + 1:
                        damage.append(f"{path.name}: records {last + 1} to {seq - 1} are missing")
                    last = seq
                    payloads.append(payload)
                self._size += path.stat().st_size
                self._next = max(self._next, int(path.stem) + 1, (last or 0) + 1)
        except OSError as error:
            raise self._failed("be read", error) from error
        return Recovered(tuple(payloads), tuple(f"spool: {one}" for one in damage))

    def append(self, payload: bytes) -> None:
        """See `Spool.append`."""
        data = record(self._next, payload)
        if self._size + len(data) > self._limit:
            raise StoreError(f"spool {self._folder}: its {self._limit} bytes are used up")
        try:
            self._use()
            if self._file is None:
                self._file = self._begun()
            _write(self._file, data, self._end)
        except OSError as error:
            self._take_back()
            raise self._failed("take a record", error) from error
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._leave()  # what such a file holds of later writes is not known either
            raise self._failed("sync a record", error) from error
        self._end += len(data)
        self._size += len(data)
        self._next += 1

    def clear(self) -> None:
        """See `Spool.clear`."""
        try:
            self._use()
            if self._file is not None:
                os.close(self._file)
                self._file = None
            for path in self._files():
                path.unlink()
                self._sync_folder()
        except OSError as error:
            raise self._failed("be emptied", error) from error
        self._size = 0

    def set_aside(self, text: str) -> None:
        """See `Spool.set_aside`."""
        try:
            self._use()
            file = self._open("refused", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            try:
                _write(file, text.encode("utf-8", "backslashreplace") + b"\n", None)
                os.fsync(file)
            finally:
                os.close(file)
            self._sync_folder()
        except OSError as error:
            raise self._failed("set rows aside", error) from error

    def close(self) -> None:
        """Let another process use the folder."""
        for file in (self._file, self._database, self._lock):
            if file is not None:
                os.close(file)
        self._file = self._database = self._lock = None

    # ------------------------------------------------------------ the database

    def mark(self) -> Mark:
        """See `Spool.mark`; what cannot be read as one is none."""
        try:
            words = (self._folder / "database").read_bytes().split()
        except FileNotFoundError:
            return NEW
        except OSError as error:
            raise self._failed("read which database it was", error) from error
        if len(words) != len(NEW) or not all(word.isdigit() for word in words):
            return NEW
        return Mark(*map(int, words))

    def note_mark(self, mark: Mark, *, surely: bool) -> None:
        """See `Spool.note_mark`: one small write; `surely` syncs it."""
        try:
            self._use()
            if self._database is None:
                self._database = self._open("database", os.O_WRONLY | os.O_CREAT)
            _write(self._database, b"%020d %020d\n" % mark, 0)
            if surely:
                os.fsync(self._database)
                self._sync_folder()
        except OSError as error:
            raise self._failed("note which database it is", error) from error

    # ------------------------------------------------------------ the epoch

    def epoch(self) -> int:
        """See `Spool.epoch`."""
        path = self._folder / "epoch"
        try:
            words = path.read_text("ascii").strip()
        except FileNotFoundError:
            return 0
        except (OSError, UnicodeDecodeError) as error:
            raise self._failed("read the epoch", error) from error
        if not words.isdecimal():
            raise StoreError(
                f"{path} holds {words[:40]!r}, no run epoch: write the highest one that was"
                " used into it, or a larger number"
            )
        return int(words)

    def note_epoch(self, epoch: int) -> None:
        """See `Spool.note_epoch`."""
        try:
            self._use()
            file = self._open("epoch.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                _write(file, b"%d\n" % epoch, 0)
                os.fsync(file)
            finally:
                os.close(file)
            (self._folder / "epoch.new").rename(self._folder / "epoch")
            self._sync_folder()
        except OSError as error:
            raise self._failed("note the epoch", error) from error

    # ------------------------------------------------------------ files

    def _use(self) -> None:
        """Make the folder ours.

        Raises:
            StoreError: Another process has it.
            OSError: It cannot be used.
        """
        if self._lock is not None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._open("lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreError(f"spool {self._folder}: another process uses it") from None
        except OSError:
            os.close(lock)
            raise
        self._lock = lock

    def _open(self, name: str, flags: int) -> int:
        return os.open(self._folder / name, flags | os.O_CLOEXEC, 0o600)

    def _files(self) -> list[Path]:
        """Ours by their names; what people put beside them stays what it is."""
        return sorted(self._folder.glob("[0-9]" * _DIGITS + _SUFFIX))

    def _begun(self) -> int:
        """A new file, which the folder knows for certain."""
        name = f"{self._next:0{_DIGITS}d}{_SUFFIX}"
        file = self._open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            self._sync_folder()
        except OSError:
            os.close(file)
            raise
        self._end = 0
        return file

    def _take_back(self) -> None:
        """Cut off what was written of a record; where that fails, leave the file."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._end)
        except OSError:
            self._leave()

    def _leave(self) -> None:
        """Write into another file from now on; the number of the record is used up."""
        assert self._file is not None
        file, self._file = self._file, None
        self._next += 1
        os.close(file)

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _failed(self, what: str, error: Exception) -> StoreError:
        words = error.strerror if isinstance(error, OSError) else None
        return StoreError(f"spool {self._folder} cannot {what}: {words or type(error).__name__}")


def _write(file: int, data: bytes, at: int | None) -> None:
    """All of it, at an offset or (None) where the file ends."""
    view = memoryview(data)
    while view:
        done = os.write(file, view) if at is None else os.pwrite(file, view, at)
        view = view[done:]
        at = None if at is None else at + done
