"""Brings the tables of a database to a revision, and says where they differ from the models.

Upgrades run in one transaction under a lock, so that two processes that start together do it once
and a failed one changes nothing. Nothing is changed under a kernel that works, and nothing waits
for a lock longer than `LOCK_S`: who waits for a table holds up all who come later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from kernel.errors import StoreError
from kernel.store.failures import FAILURES, told
from kernel.store.schema import SCHEMAS, metadata

if TYPE_CHECKING:
    from kernel.store.address import Address

HEAD = "head"
CONNECT_S = 10
_FAILURES: tuple[type[Exception], ...] = (*FAILURES, SQLAlchemyError)
_LOCK = 7_203_117
"""Advisory lock of everybody who upgrades."""
LOCK_S = 15
KERNELS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'wave-kernel'
"""
"""Connections of running kernels."""
_TEMPORARY = "compared_"
_CATALOG = """
SELECT format('column %s.%s.%s: %s %s %s default %s', n.nspname, c.relname, a.attname,
              format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
              a.attgenerated::text || a.attidentity::text, pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n
    ON n.oid = c.relnamespace LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = ANY(:schemas) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT format('index %s', pg_get_indexdef(i.indexrelid))
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas)
UNION ALL
SELECT format('constraint %s.%s %s %s', n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n
    ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas) AND k.contype <> 'n'
"""  # noqa: E501 - a query


def revisions() -> tuple[str, ...]:
    """Every revision there is, oldest first."""
    script = ScriptDirectory.from_config(_config())
    return tuple(one.revision for one in script.walk_revisions())[::-1]


def upgrade(address: Address, revision: str = HEAD) -> tuple[str, str]:
    """Bring the tables to a revision; (revision before, after), "" is none.

    Raises:
        StoreError: The database does not answer, is newer than this program, is used by a kernel
            or cannot keep every text; nothing changed.
    """

    def work(connection: Connection) -> tuple[str, str]:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_S}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        before = _revision(connection)
        if before and before not in revisions():
            raise StoreError(f"database {address.told}: {_newer(before)}")
        if before != _named(revision):
            _demand_fit(connection, address)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        return before, _revision(connection)

    return _run(address, work, keep=True)


def check(address: Address) -> list[str]:
    """Where the tables differ from the models of this program; empty: nowhere.

    Raises:
        StoreError: The database does not answer.
    """

    def work(connection: Connection) -> list[str]:
        at, newest = _revision(connection), revisions()[-1]
        if at and at not in revisions():
            return [_newer(at)]
        if at != newest:
            return [f"revision {at or 'none'}, this program needs {newest}: run db upgrade"]
        found, wanted = _catalog(connection, ""), _modelled(connection)
        return [f"missing: {line}" for line in wanted if line not in found] + [
            f"unknown: {line}" for line in found if line not in wanted
        ]

    return _run(address, work, keep=False)


def _newer(revision: str) -> str:
    return (
        f"the database is at revision {revision}, which this program lacks (its newest is"
        f" {revisions()[-1]}): install the newer program, or restore a backup of this one"
    )


def _named(revision: str) -> str:
    return revisions()[-1] if revision == HEAD else revision


def _demand_fit(connection: Connection, address: Address) -> None:
    """The tables may be changed now, and will take every text.

    Raises:
        StoreError: They may not, or will not.
    """
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise StoreError(
            f"database {address.told}: its encoding is {encoding}, this program needs UTF8:"
            " CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    connected = connection.execute(text(KERNELS)).scalar_one()
    if connected:
        raise StoreError(
            f"database {address.told}: {connected} connections of a running kernel, whose rows"
            " the new tables may refuse: stop it first"
        )


def _revision(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""


def _catalog(connection: Connection, prefix: str) -> list[str]:
    """What there is in our schemas, one sentence each, without the prefix of their names."""
    schemas = [f"{prefix}{schema}" for schema in SCHEMAS]
    lines = connection.execute(text(_CATALOG), {"schemas": schemas}).scalars()
    return sorted(str(line).replace(prefix, "") if prefix else str(line) for line in lines)


def _modelled(connection: Connection) -> list[str]:
    """The same of the models: made beside the real ones, in a transaction that is taken back."""
    names = {schema: f"{_TEMPORARY}{schema}" for schema in SCHEMAS}
    for name in names.values():
        connection.execute(CreateSchema(name))
    mapped = connection.execution_options(schema_translate_map=names)
    metadata.create_all(mapped, checkfirst=False)
    return _catalog(connection, _TEMPORARY)


def _config() -> Config:
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _run[T](address: Address, work: Callable[[Connection], T], *, keep: bool) -> T:
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(address.url, timeout=CONNECT_S)

    async def run() -> T:
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool
        )
        try:
            async with engine.connect() as connection:
                result = await connection.run_sync(work)
                await (connection.commit() if keep else connection.rollback())
                return result
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except _FAILURES as error:
        raise StoreError(told(error, address)) from None
