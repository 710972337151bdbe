"""What the feed said, as `fas.signals` has it; for replays and for people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg

from kernel.errors import StoreError
from kernel.model.rows import SignalRow
from kernel.store import sql
from kernel.store.codec import SIGNALS, from_values
from kernel.store.failures import FAILURES, told

if TYPE_CHECKING:
    from kernel.store.address import Address

CONNECT_S = 10
_BETWEEN = sql.select(
    SIGNALS, "t.arrived_ns >= $1 AND t.arrived_ns < $2", "t.arrived_ns, t.number"
)


def recorded_signals(address: Address, from_ns: int, to_ns: int) -> list[SignalRow]:
    """Signals that arrived in [from_ns, to_ns), by arrival, malformed ones included.

    Raises:
        StoreError: The database does not answer, or lacks the table.
    """

    async def fetch() -> list[SignalRow]:
        connection = await asyncpg.connect(address.url, timeout=CONNECT_S)
        try:
            async with connection.transaction(readonly=True):
                found = await connection.fetch(_BETWEEN, from_ns, to_ns)
        finally:
            await connection.close()
        rows = (from_values(SIGNALS, record) for record in found)
        return [row for row in rows if isinstance(row, SignalRow)]

    try:
        return asyncio.run(fetch())
    except FAILURES as error:
        raise StoreError(told(error, address)) from None
