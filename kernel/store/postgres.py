"""The store in PostgreSQL: what `kernel.ports.store` promises, through asyncpg.

1. One connection writes, one commit at a time in the order of asking; each is one transaction.
2. A commit is refused when another process has loaded since: nothing is written behind its back.
3. What was rolled back for certain (deadlock, serialisation) is tried again, `TRIES` times, and in
   all no longer than `Limits.commit_ns`. A lock that was waited for in vain is not.
4. Whatever else fails is a `StoreError` whose words show no secret. If the connection broke while
   it committed, nothing is known; the next call connects anew.
5. Events have a connection of their own: they neither wait for a commit nor delay one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import groupby
from typing import Any

import asyncpg
import msgspec

from kernel.errors import RowsRefused, StoreError, StoreFenced
from kernel.model.rows import ClaimRow, EventRow, Row, StoredState
from kernel.model.units import MS, SECOND, TsNs
from kernel.store import sql
from kernel.store.address import Address
from kernel.store.backend import NEW, Mark, Retention
from kernel.store.codec import EVENTS, TABLES, Table, from_values, table_of, tables_of, to_values
from kernel.store.failures import FAILURES, LATE, REFUSED, UNDONE, told
from kernel.store.leases import Holding, LeaseAsk, taken_over

NAME = "wave-kernel"
"""Of our sessions, for the server."""
TRIES = 5
PAUSES_S = (0.0, 0.01, 0.05, 0.2)
IDLE_S = 300
"""Connections that nobody used for so long are closed."""
FORGET_MS = 1_000
"""For the orders that a load forgets."""
FORGET_EVERY_NS = 3600 * SECOND
"""Events are forgotten once in so much of their time."""
_UPSERTS = {table.name: sql.upsert(table) for table in TABLES}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections, and how long anything may take."""

    pool_size: int = 10
    max_overflow: int = 20
    connect_ns: int = 5 * SECOND
    statement_ns: int = 4 * SECOND
    idle_ns: int = 0
    """For a transaction whose client says nothing (a frozen process); 0: as for a statement."""

    @property
    def lock_ns(self) -> int:
        """For a lock: less than its statement has, so that the reason is known."""
        return self.statement_ns * 3 // 4

    @property
    def commit_ns(self) -> int:
        """For a commit, a load, a lease with all their statements and tries."""
        return self.statement_ns + self.statement_ns // 8


class PostgresStore:
    """Rows in one database, for one kernel.

    Args:
        address: Where it is.
        limits: See `Limits`.
        given_time: Terms of leases are by the time that a call gives, as in simulations, and not
            by the clock of the database.

    Attributes:
        epoch: Run epoch that the last load took; 0 before it.
        since_ns: Since when it exists; 0 before the first load.
        mark: How far it had come at the last load or commit.
        retention: How long it keeps what is forgotten.
    """

    def __init__(
        self, address: Address, limits: Limits | None = None, *, given_time: bool = False
    ) -> None:
        self._given_time = given_time
        self._address = address
        self._limits = limits or Limits()
        self._idle_ms = (self._limits.idle_ns or self._limits.statement_ns) // MS
        self._pool: asyncpg.Pool | None = None
        self._turn = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._writer: asyncpg.Connection | None = None
        self._forgotten_ns = 0
        self.epoch = 0
        self.since_ns = TsNs(0)
        self.mark = NEW
        self.retention = Retention()

    # ------------------------------------------------------------ the port

    async def apply(self, rows: tuple[Row, ...], *, epoch: int = 0) -> tuple[bool, ...]:
        """See `Backend.apply`."""

        async def write(connection: asyncpg.Connection) -> tuple[tuple[bool, ...], int]:
            async with connection.transaction():
                commits = await self._fence(connection, epoch)
                claimed = await _claim(connection, rows)
                if all(claimed):
                    await _write(connection, rows)
                    return claimed, commits
                raise _ClaimedBefore(claimed)

        async with self._turn:
            try:
                claimed, commits = await self._repeated(write)
            except _ClaimedBefore as answer:
                return answer.claimed
            self.mark = self.mark._replace(commits=commits)
            return claimed

    async def ask_mark(self) -> Mark:
        """See `Backend.ask_mark`."""
        async with self._reading() as connection:
            found = await connection.fetchrow(sql.MARK)
        return Mark(*found) if found is not None else NEW

    async def lease(self, ask: LeaseAsk, now_ns: int) -> None:
        """See `Backend.lease`."""

        async def renew(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                await self._lease(connection, ask, ask.epoch, now_ns)

        async with self._turn:
            await self._repeated(renew)

    async def leases(self) -> dict[str, Holding]:
        """By account; `until_ns` 0: it is over, by the clock of the database."""
        async with self._reading() as connection:
            now = await connection.fetchval(sql.CLOCK)
            found = await connection.fetch(sql.LEASES)
        return {
            row["account"]: Holding(
                row["instance"], row["epoch"], row["until_ns"] if row["until_ns"] > now else 0
            )
            for row in found
        }

    async def load(
        self,
        now_ns: int,
        ask: LeaseAsk | None = None,
        *,
        least_epoch: int = 1,
        anew: bool = False,
    ) -> StoredState:
        """See `Backend.load`; the epoch is at least `least_epoch`.

        What a process that stands still has open holds nobody up: it is ended first.
        """

        async def read(connection: asyncpg.Connection) -> StoredState:
            await connection.fetch(sql.RELEASE, NAME, self._idle_ms)
            async with connection.transaction(isolation="read_committed"):
                taken = await connection.fetchrow(sql.TAKE_EPOCH, now_ns, least_epoch, anew)
                assert taken is not None
                lease_of = ""
                if ask is not None:
                    lease_of = await self._lease(connection, ask, taken["epoch"], now_ns)
                found: dict[str, tuple[Row, ...]] = {}
                for field, (table, query, back_ns) in sql.START.items():
                    given = () if back_ns is None else (now_ns - back_ns,)
                    found[field] = await _fetch(connection, table, query, *given)
            switches = found.pop("switches")
            self.epoch, self.since_ns = taken["epoch"], TsNs(taken["since_ns"])
            self.mark = Mark(taken["first_ns"], taken["commits"])
            return StoredState(
                epoch=self.epoch,
                since_ns=self.since_ns,
                switches=switches[0] if switches else None,  # type: ignore[arg-type]
                lease_of=lease_of,
                **found,  # type: ignore[arg-type]
            )

        async with self._turn:
            state = await self._repeated(read)
            with suppress(StoreError):  # no start fails for what has piled up
                await self._repeated(lambda connection: self._forget_orders(connection, now_ns))
            return state

    async def _forget_orders(self, connection: asyncpg.Connection, now_ns: int) -> None:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = {FORGET_MS}")
            before_ns = now_ns - self.retention.orders_ns
            await connection.execute(sql.FORGET_ORDERS, before_ns, sql.FORGET_MOST)

    async def keep_events(self, rows: tuple[EventRow, ...]) -> None:
        """See `Backend.keep_events`; a crash of the server may lose the newest."""
        if not rows:
            return
        newest_ns = max(row.ts_ns for row in rows)

        async def keep(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                await connection.execute("SET LOCAL synchronous_commit = off")
                await connection.copy_records_to_table(
                    "events",
                    schema_name="monitoring",
                    columns=EVENTS.names,
                    records=[to_values(row) for row in rows],
                )

        async with self._reading() as connection:
            await keep(connection)
            if abs(newest_ns - self._forgotten_ns) >= FORGET_EVERY_NS:
                await self._forget_events(connection, newest_ns)

    async def _forget_events(self, connection: asyncpg.Connection, newest_ns: int) -> None:
        """What is too old or too many; the rest of what has piled up at the next call.

        Where it fails, the events are kept all the same, and it is tried again in its time.
        """
        before_ns, most = newest_ns - self.retention.events_ns, sql.FORGET_MOST
        done: tuple[str, ...] = ()
        with suppress(*FAILURES):
            done = (
                await connection.execute(sql.FORGET_OLD_EVENTS, before_ns, most),
                await connection.execute(sql.FORGET_MANY_EVENTS, self.retention.events, most),
            )
        if f"DELETE {most}" not in done:
            self._forgotten_ns = newest_ns

    async def events(self) -> tuple[EventRow, ...]:
        """See `Backend.events`."""
        async with self._reading() as connection:
            found = await _fetch(connection, EVENTS, sql.select(EVENTS))
        return tuple(row for row in found if isinstance(row, EventRow))

    async def get(self, kind: type[Row], *key: str | int) -> Row | None:
        """See `Backend.get`."""
        async with self._reading() as connection:
            for table in tables_of(kind):
                if len(table.key) == len(key):
                    found = await _fetch(connection, table, sql.by_key(table), *key)
                    if found:
                        return found[0]
        return None

    async def rows(self, *kinds: type[Row]) -> list[Row]:
        """See `Backend.rows`."""
        found: list[Row] = []
        async with self._reading() as connection, connection.transaction(
            isolation="repeatable_read", readonly=True
        ):
            for table in TABLES:
                if table is not EVENTS and (not kinds or table.row in kinds):
                    found += await _fetch(connection, table, sql.select(table))
        return found

    async def replace(
        self,
        rows: Iterable[Row],
        *,
        epoch: int | None = None,
        since_ns: int = 0,
        mark: Mark = NEW,
    ) -> None:
        """See `Backend.replace`."""
        held = tuple(rows)

        async def put(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                for statement in sql.CLEAR:
                    await connection.execute(statement)
                await _claim(connection, held)
                await _write(connection, held)
                if epoch is not None:
                    await connection.execute(sql.REWIND_STORE, epoch, since_ns, *mark)
                elif not held:
                    await connection.execute(sql.RESET_STORE)

        async with self._turn:
            await self._repeated(put, bounded=False)
        if epoch is not None:
            self.epoch, self.since_ns, self.mark = epoch, TsNs(since_ns), mark
        elif not held:
            self.since_ns, self.mark = TsNs(0), NEW

    async def reset(self) -> None:
        """Be a new store that nobody ever loaded."""

        async def empty(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                for statement in sql.EMPTY:
                    await connection.execute(statement)

        async with self._turn:
            await self._repeated(empty, bounded=False)
        self.epoch, self.since_ns, self.mark, self._forgotten_ns = 0, TsNs(0), NEW, 0

    async def close(self) -> None:
        """Give up every connection; what runs is cut off."""
        pool, self._pool, self._writer = self._pool, None, None
        if pool is not None:
            pool.terminate()

    # ------------------------------------------------------------ connections

    async def _repeated[T](
        self, work: Callable[[asyncpg.Connection], Awaitable[T]], *, bounded: bool = True
    ) -> T:
        """Do it on the writing connection; again, where it was certainly undone."""
        within_ns = self._limits.commit_ns
        try:
            async with asyncio.timeout(within_ns / SECOND if bounded else None):
                return await self._tried(work)
        except TimeoutError:
            words = f"no end within {within_ns // MS} ms"
            raise StoreError(f"database {self._address.told}: {words}") from None

    async def _tried[T](self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        for attempt in range(TRIES):
            try:
                return await work(await self._writing())
            except UNDONE as error:
                if attempt == TRIES - 1:
                    raise StoreError(told(error, self._address)) from None
                await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
            except LATE as error:
                raise StoreError(told(error, self._address)) from None
            except REFUSED as error:
                raise RowsRefused(told(error, self._address)) from None
            except FAILURES as error:
                self._drop_writer()
                raise StoreError(told(error, self._address)) from None
            except asyncio.CancelledError:
                self._drop_writer()
                raise
        raise AssertionError("every attempt returns or raises")

    async def _writing(self) -> asyncpg.Connection:
        if self._writer is None or _is_gone(self._writer):
            self._drop_writer()
            pool = await self._opened()
            self._writer = await pool.acquire(timeout=self._limits.connect_ns / SECOND)
        return self._writer

    def _drop_writer(self) -> None:
        """It is in an unknown state: it goes back to nobody."""
        connection, self._writer = self._writer, None
        if connection is not None and not _is_gone(connection):
            connection.terminate()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            pool = await self._opened()
            async with pool.acquire(timeout=self._limits.connect_ns / SECOND) as connection:
                yield connection
        except FAILURES as error:
            raise StoreError(told(error, self._address)) from None

    async def _opened(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                limits = self._limits
                wait = str(limits.statement_ns // MS)
                wait_for_lock = str(limits.lock_ns // MS)
                self._pool = await asyncpg.create_pool(
                    self._address.url,
                    min_size=0,
                    max_size=limits.pool_size + limits.max_overflow,
                    max_inactive_connection_lifetime=IDLE_S,
                    timeout=limits.connect_ns / SECOND,
                    command_timeout=limits.statement_ns / SECOND + 1,
                    server_settings={
                        "application_name": NAME,
                        "statement_timeout": wait,
                        "lock_timeout": wait_for_lock,
                        "idle_in_transaction_session_timeout": str(self._idle_ms),
                        "timezone": "UTC",
                        "default_transaction_isolation": "read committed",
                        "synchronous_commit": "on",  # whatever server or role have it at
                    },
                )
            return self._pool

    async def _lease(
        self, connection: asyncpg.Connection, ask: LeaseAsk, epoch: int, now_ns: int
    ) -> str:
        """Give the lease; the other instance that it is taken over from.

        Raises:
            LeaseHeld: Another one has it.
        """
        await connection.execute(sql.LOCK_LEASES)
        now = now_ns if self._given_time else await connection.fetchval(sql.CLOCK)
        found = await connection.fetch(sql.LEASES)
        held = {row["account"]: Holding(*tuple(row)[1:]) for row in found}
        others = taken_over(held, ask, now)
        until_ns = now + ask.term_ns
        await connection.execute(sql.GIVE_LEASE, ask.accounts, ask.instance, epoch, until_ns)
        return others

    async def _fence(self, connection: asyncpg.Connection, epoch: int) -> int:
        """Rows of a run (0: of the last load) are for a database that no later run has loaded.

        Returns:
            How many commits there are with this one; fewer than were known: it was exchanged.
        """
        whose = epoch or self.epoch
        held, commits = await connection.fetchrow(sql.FENCE) or (0, 0)
        if not whose:
            return int(commits)
        words = f"{self._address.told}: run epoch {held} holds it, this process has {whose}"
        if held > whose:
            raise StoreFenced(f"database {words}: another process has started")
        if held < whose and not epoch:
            raise StoreError(f"database {words}: the database was exchanged")
        if commits <= self.mark.commits and not epoch:
            raise StoreError(
                f"database {self._address.told}: {commits - 1} commits are there and"
                f" {self.mark.commits} were made: the database was exchanged for an earlier state"
            )
        return int(commits)


def _is_gone(connection: asyncpg.Connection) -> bool:
    """Whether it ended; the pool takes one back by itself when its server dies."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


class _ClaimedBefore(Exception):
    """Rolls a commit back and carries the answer."""

    def __init__(self, claimed: tuple[bool, ...]) -> None:
        self.claimed = claimed


async def _claim(connection: asyncpg.Connection, rows: tuple[Row, ...]) -> tuple[bool, ...]:
    claims = [row for row in rows if type(row) is ClaimRow]
    if not claims:
        return ()
    keys, waves, times = zip(*(to_values(claim) for claim in claims), strict=True)
    won = await connection.fetch(sql.CLAIM, keys, waves, times)
    taken = {record[0]: None for record in won}
    return tuple(key in taken for key in keys)


async def _write(connection: asyncpg.Connection, rows: tuple[Row, ...]) -> None:
    """Upserts, table by table; of one table in the order of the commit."""
    places = {table.name: place for place, table in enumerate(TABLES)}
    tables = [(table_of(row).name, row) for row in rows if type(row) is not ClaimRow]
    tables.sort(key=lambda one: places[one[0]])
    for name, group in groupby(tables, key=lambda one: one[0]):
        values = [to_values(row) for _, row in group]
        if len(values) == 1:
            await connection.execute(_UPSERTS[name], *values[0])
        else:
            await connection.executemany(_UPSERTS[name], values)


async def _fetch(
    connection: asyncpg.Connection, table: Table, query: str, *given: Any
) -> tuple[Row, ...]:
    return tuple(from_values(table, record) for record in await connection.fetch(query, *given))

