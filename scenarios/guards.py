"""Guards that a child process can switch off, to show what each is for; its end with its parent."""

from __future__ import annotations

import ctypes
import signal
import sys
from importlib import import_module
from typing import Any

_PDEATHSIG = 1


def switch_off(names: tuple[str, ...]) -> None:
    """Switch guards off in this process, for its life.

    "lease": no request waits for the lease. "fence": the database takes rows of an old run.
    """
    if "lease" in names:
        lease: Any = import_module("kernel.trade.lease").Lease
        lease.permits = _permitted
    if "fence" in names:
        store: Any = import_module("kernel.store.postgres").PostgresStore
        store._fence = _unfenced  # noqa: SLF001 - what is switched off is inside


def die_with_parent() -> None:
    """End with the parent, also where this process is stopped and reads no pipe (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _permitted(_lease: object, _cls: object) -> bool:
    return True


async def _unfenced(_store: object, _connection: object, _epoch: int) -> None:
    """Nobody is refused."""
