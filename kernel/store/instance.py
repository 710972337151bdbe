"""One process for a data folder: its lock file, and the name under which it takes the lease.

The lock is the kernel's own (`flock`): it ends with the process, however that ends, so a lock file
that a killed process left holds nobody up. What stands in the file is for people and for `force`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import signal
import time
import uuid
from pathlib import Path
from typing import Self

from kernel.errors import KernelError, SettingsError
from kernel.store.processes import works_on

LOCK = "instance.lock"
NAME = "instance"
MACHINE = Path("/etc/machine-id")
PATIENCE_S = 25
"""A stop in good order takes up to 20 s (SPEC §13)."""
KILLED_S = 5
PAUSE_S = 0.05
LOOKS = 3
_NAME = re.compile(r"[0-9a-f]{12}")


class AnotherInstance(KernelError):
    """A process works on this data folder.

    Attributes:
        pid: Its number; 0 where it does not say.
    """

    def __init__(self, folder: Path, pid: int) -> None:
        who = f"process {pid}" if pid else "a process"
        super().__init__(
            f"{who} works on {folder}: end it, start with --force, or name another DATA_FOLDER"
        )
        self.pid = pid


class InstanceLock:
    """The right of this process to a data folder, as long as it lives or until `close`.

    Args:
        folder: Of the data; made if there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._file = -1

    def take(self) -> Self:
        """Take it.

        Raises:
            AnotherInstance: A process has it.
            SettingsError: The folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError([f"DATA_FOLDER {self._folder}: cannot be used: {error}"]) from error
        if not _locked(file):
            os.close(file)
            raise AnotherInstance(self._folder, _pid_in(self._folder))
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        return self

    def force(self) -> Self:
        """Take it; a process that has it is asked to stop (SIGTERM), and ended if it does not.

        Raises:
            AnotherInstance: It cannot be ended: another user's, in another container, or nobody
                knows its number.
            SettingsError: The folder cannot be written.
        """
        for ending, patience_s in ((signal.SIGTERM, PATIENCE_S), (signal.SIGKILL, KILLED_S)):
            try:
                return self.take()
            except AnotherInstance as other:
                if not other.pid or not works_on(other.pid, self._folder / LOCK):
                    raise AnotherInstance(self._folder, 0) from None
                with contextlib.suppress(ProcessLookupError):
                    try:
                        os.kill(other.pid, ending)
                    except PermissionError:
                        raise other from None
            until = time.monotonic() + patience_s
            while time.monotonic() < until and holder(self._folder) is not None:
                time.sleep(PAUSE_S)
        return self.take()

    def close(self) -> None:
        """Give it up."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()


def _locked(file: int) -> bool:
    """Whether we have it now; who only looks (`holder`) has it for a moment."""
    for _ in range(LOOKS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(PAUSE_S)
    return False


def holder(folder: Path) -> int | None:
    """The process that works on a data folder, 0 where it does not say; None: there is none.

    Nothing is changed or made.
    """
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(folder)
    finally:
        os.close(file)
    return None


def instance_name(folder: Path) -> str:
    """The name of a data folder among the instances of an account: drawn once, then kept.

    A copy of the folder has another name, for its file is another one: what runs on the copy must
    wait for the lease, and not take it for its own. A new name costs one wait of that length.

    Raises:
        SettingsError: The file cannot be written, or holds something else.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            file.write(f"{uuid.uuid4().hex[:12]}\n")
        name, file_number = path.read_text("utf-8").strip(), path.stat().st_ino
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: cannot be used: {error}"]) from error
    if not _NAME.fullmatch(name):
        raise SettingsError([f"{path}: holds {name!r}, not twelve hexadecimal digits; remove it"])
    where = f"{name} {file_number} {_machine()}"
    return hashlib.blake2b(where.encode(), digest_size=6).hexdigest()


def _machine() -> str:
    """Which machine this is, where it says so."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return MACHINE.read_text("utf-8").strip()
    return ""


def _pid_in(folder: Path) -> int:
    """What the holder says of itself; it writes right after it has taken the lock."""
    for _ in range(10):
        try:
            told = (folder / LOCK).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return 0
        if told.isascii() and told.isdigit():
            return int(told)
        time.sleep(PAUSE_S)
    return 0
