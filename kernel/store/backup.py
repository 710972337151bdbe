"""Backups of the tables and their way back: the programs of PostgreSQL, with our rules around them.

1. A backup is one consistent moment; its file appears whole or not at all, readable by its owner.
2. A restore replaces every table of ours or none, and brings older ones to this program's revision.
3. While a kernel is connected nothing is restored under it.
4. Passwords go through the environment of the programs, never through their arguments.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import asyncpg

from kernel.errors import StoreError
from kernel.store.embedded import programs
from kernel.store.failures import FAILURES, told
from kernel.store.migrate import upgrade
from kernel.store.schema import SCHEMAS

if TYPE_CHECKING:
    from kernel.store.address import Address

CONNECT_S = 10
VERSION_TABLE = "public.alembic_version"
_KERNELS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'wave-kernel'
"""
_EMPTY = (
    *(f"DROP SCHEMA IF EXISTS {schema} CASCADE" for schema in SCHEMAS),
    f"DROP TABLE IF EXISTS {VERSION_TABLE}",
    *(f"CREATE SCHEMA {schema}" for schema in SCHEMAS),
)


def backup(address: Address, file: Path) -> int:
    """Write every table of ours into a file; its bytes.

    Raises:
        StoreError: The database does not answer, or has no such tables; no file is left.
        OSError: The file cannot be written.
    """
    part = file.with_name(f"{file.name}.part")
    part.touch(mode=0o600)
    try:
        tables = [f"--table={schema}.*" for schema in SCHEMAS]
        _call(
            address, "pg_dump", "--format=custom", f"--file={part}", f"--table={VERSION_TABLE}",
            *tables, "--dbname", _without_password(address),
        )  # fmt: skip
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def restore(address: Address, file: Path) -> tuple[str, str]:
    """Make the tables those of a backup; (revision of the backup, revision now).

    Raises:
        StoreError: A kernel is connected, the file is no backup, the database does not answer or
            refuses it: nothing changed.
    """
    connected = asyncio.run(_kernels(address))
    if connected:
        raise StoreError(
            f"database {address.told}: {connected} connections of a running kernel: stop it first"
        )
    with tempfile.TemporaryDirectory(prefix="wave-kernel-") as folder:
        script = Path(folder) / "script.sql"
        _call(address, "pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(file))
        _call(
            address, "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1",
            "--single-transaction", *(f"--command={line}" for line in _EMPTY), f"--file={script}",
            "--dbname", _without_password(address),
        )  # fmt: skip
    return upgrade(address)


async def _kernels(address: Address) -> int:
    try:
        connection = await asyncpg.connect(address.url, timeout=CONNECT_S)
        try:
            return int(await connection.fetchval(_KERNELS))
        finally:
            await connection.close()
    except FAILURES as error:
        raise StoreError(told(error, address)) from None


def _without_password(address: Address) -> str:
    parts = urlsplit(address.url)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{quote(unquote(user.partition(':')[0]))}{at}{host}"))


def _call(address: Address, program: str, *arguments: str) -> None:
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    if address.password:
        environment["PGPASSWORD"] = unquote(address.password)
    done = subprocess.run(  # noqa: S603 - our own programs and arguments
        [str(programs() / program), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())[-600:]
        for secret in (address.password, unquote(address.password)):
            words = words.replace(secret, "***") if secret else words
        raise StoreError(f"database {address.told}: {program} failed: {words}")
