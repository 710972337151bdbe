"""What a database says when it fails, in words that show no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
from asyncpg.exceptions._base import DataError as RefusedValue

if TYPE_CHECKING:
    from kernel.store.address import Address

FAILURES: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
    ValueError,
)
"""What asyncpg raises: the server's errors, its own, the connection's, refused values."""
REFUSED = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    RefusedValue,
)
"""The rows cannot be kept, now or later; the transaction was rolled back for certain."""
UNDONE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
"""The transaction was rolled back for certain, and may succeed when it is tried again at once."""
LATE = (asyncpg.LockNotAvailableError,)
"""Rolled back for certain too, after all the time that there was: nobody tries again."""


def told(error: BaseException, address: Address) -> str:
    """One sentence about a failure at this address, without its password."""
    cause: BaseException = error
    while not isinstance(cause, asyncpg.PostgresError) and cause.__cause__ is not None:
        cause = cause.__cause__
    kind = type(cause).__name__
    words = ""
    if isinstance(cause, asyncpg.DataError):  # its words show the value that is refused
        words = str(cause.sqlstate)
    elif isinstance(cause, asyncpg.PostgresError):
        words = f"{cause.sqlstate} {cause.args[0] if cause.args else ''}".strip()
    elif isinstance(cause, OSError):
        words = cause.strerror or str(cause).partition("\n")[0]
    elif not isinstance(cause, ValueError):  # the same
        words = str(cause).splitlines()[0] if str(cause) else ""
    return f"database {address.told}: {kind}{f': {address.hidden(words)}' if words else ''}"
