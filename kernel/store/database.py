"""The database of a live run: the one that the settings name, or the embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.model.units import MS
from kernel.store.address import Address, configured
from kernel.store.embedded import EmbeddedServer
from kernel.store.postgres import Limits
from kernel.store.scratch import make_database

if TYPE_CHECKING:
    from kernel.config import Settings


@contextmanager
def database(settings: Settings) -> Iterator[Address]:
    """Its address, as long as this lasts; an embedded server runs meanwhile.

    Raises:
        StoreError: The embedded server cannot be started.
    """
    named = configured(settings)
    if named is not None:
        yield named
        return
    with EmbeddedServer(Path(settings.data_folder) / "postgres") as server:
        yield make_database(server, settings.db_name, template="template1")


def limits_of(settings: Settings) -> Limits:
    """How many connections, and how long anything may take."""
    return Limits(
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        statement_ns=settings.db_statement_timeout_ms * MS,
    )
