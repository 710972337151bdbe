"""Output files, written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO


def path_problem(flag: str, path: Path | None) -> str:
    """Why a file cannot be written there, known before the work begins; "": nothing is known."""
    if path is None or str(path) == "-":
        return ""
    if not path.parent.is_dir():
        return f"{flag} {path}: its folder does not exist; make it first"
    return f"{flag} {path}: is a folder; give a file in it" if path.is_dir() else ""


def shared_paths(outputs: Mapping[str, Path | None]) -> list[str]:
    """Problems: two outputs, by their flags, that are one file, where the later takes the other."""
    owners: dict[Path, str] = {}
    found = []
    for flag, path in outputs.items():
        if path is None or str(path) == "-" or (path.exists() and not path.is_file()):
            continue
        owner = owners.setdefault(path.resolve(), flag)
        if owner != flag:
            found.append(f"{flag} {path}: is the file of {owner} too; give each its own")
    return found


def open_alone(path: Path) -> BinaryIO:
    """An empty file to write, unbuffered, that no other run can open in this way meanwhile.

    Raises:
        BlockingIOError: Another run writes it; it is as it was.
        OSError: It cannot be written.
    """
    file = path.open("ab", buffering=0)
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
    except OSError:
        file.close()
        raise
    return file


def write_whole(path: Path, body: bytes) -> None:
    """Write a file beside its place and move it in, so that nobody sees half of it.

    A device, a pipe or a symbolic link is written through and stays what it is: moving a file
    over it would take it away.

    Raises:
        OSError: It cannot be written; what stood there before stands there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_bytes(body)
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(body)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
