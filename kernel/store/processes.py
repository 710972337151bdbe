"""What can be said of another process: whether it is the server on a folder, or has a file open."""

from __future__ import annotations

import os
from pathlib import Path

PROCESSES = Path("/proc")


def works_in(process: int, data: Path) -> bool:
    """Whether this process is a server on this folder: it works there, or was told to."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    place = PROCESSES / str(process)
    try:
        return (place / "cwd").readlink() == data.resolve()
    except PermissionError:  # somebody else's; or we are root without that right, as in containers
        return _told_to_work_in(place, data)
    except OSError:
        return not PROCESSES.exists()  # no such table: the number must do


def _told_to_work_in(place: Path, data: Path) -> bool:
    """The same by the arguments of the process, which everybody may read."""
    try:
        told = (place / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    folders = [os.fsdecode(word) for at, word in enumerate(told) if told[max(at - 1, 0)] == b"-D"]
    return any(Path(folder).resolve() == data.resolve() for folder in folders)


def works_on(process: int, file: Path) -> bool:
    """Whether this process has the file open: a number in a file may be that of an innocent one."""
    if not PROCESSES.exists():
        return True  # no such table: the number must do
    try:
        wanted = file.stat()
        handles = sorted((PROCESSES / str(process) / "fd").iterdir())
    except PermissionError:
        return os.geteuid() != 0  # somebody else's: a signal will be refused, but not to root
    except OSError:
        return False
    for handle in handles:
        try:
            if os.path.samestat(handle.stat(), wanted):
                return True
        except OSError:  # closed meanwhile
            continue
    return False
