"""What a replay takes from outside: how long it took, which code it ran, another checkout.

Nothing of this reaches a kernel or a digest; commit and code hash stand in the journal's header.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
"""The checkout that this code runs from."""
CODE = {"sim": ("kernel",), "wire": ("kernel", "venues/live")}
"""Level → folders whose code decides what a kernel does with its inputs."""


class Finished(NamedTuple):
    """A process that has ended."""

    code: int
    out: str
    err: str


def seconds() -> float:
    """A clock for durations; it means nothing by itself."""
    return time.perf_counter()


def python_build() -> str:
    """The interpreter, in one line."""
    return " ".join(sys.version.split())


def code_hash(root: Path = ROOT, *, level: str = "sim") -> str:
    """32 hexadecimal characters that stand for the kernel's source files at a level."""
    total = blake2b(digest_size=16)
    for package in CODE.get(level, CODE["wire"]):
        for path in sorted((root / package).rglob("*.py")):
            total.update(f"{path.relative_to(root).as_posix()}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def commit_of(root: Path = ROOT) -> str:
    """The commit that is checked out at `root`; "" where that cannot be told."""
    folder = _git_folder(root)
    try:
        head = (folder / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        common = _common(folder)
        for place in (folder, common):
            if (place / name).is_file():
                return (place / name).read_text("utf-8").strip()
        for line in (common / "packed-refs").read_text("utf-8").splitlines():
            commit, _, ref = line.partition(" ")
            if ref == name:
                return commit
    except OSError:
        return ""
    return ""


def _git_folder(root: Path) -> Path:
    """The folder of the repository; a linked work tree has a file that names it."""
    place = root / ".git"
    if place.is_file():
        told = place.read_text("utf-8").strip().removeprefix("gitdir: ")
        return (root / told).resolve()
    return place


def _common(folder: Path) -> Path:
    named = folder / "commondir"
    return (folder / named.read_text("utf-8").strip()).resolve() if named.is_file() else folder


def run_python(root: Path, arguments: list[str]) -> Finished:
    """Run a module with this interpreter and the code of another checkout only.

    Args:
        root: The other checkout.
        arguments: `["-m", "package.module", …]`.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment["PYTHONPATH"] = str(root)
    done = subprocess.run(  # noqa: S603  our own interpreter, our own module
        [sys.executable, "-P", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)
