"""Backups of the tables and their way back: the programs of PostgreSQL, with our rules around them.

1. A backup is one consistent moment; its file appears whole or not at all, readable by its owner.
   Two that write one file at once: the second is refused, also where of the first, which was
   killed, only its program is left.
2. A restore replaces every table of ours or none, and brings older ones to this program's revision.
   A file that is no backup of ours, or a newer program's, is refused before anything is touched.
3. While a kernel is connected nothing is restored under it.
4. Passwords go through the environment of the programs, never through their arguments.
5. Nothing waits for a server or a lock longer than `CONNECT_S` and `LOCK_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

import asyncpg

from kernel.errors import StoreError
from kernel.store.embedded import programs
from kernel.store.failures import FAILURES, told
from kernel.store.migrate import KERNELS, LOCK_S, revisions, upgrade
from kernel.store.schema import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.store.address import Address

CONNECT_S = 10
VERSION_TABLE = "public.alembic_version"
_POSITIONS = b"CREATE TABLE monitoring.positions ("
_REVISION = b"COPY public.alembic_version (version_num) FROM stdin;"
_SINCE_17 = b"\nSET transaction_timeout = 0;\n"
_EMPTY = (
    *(f"DROP SCHEMA IF EXISTS {schema} CASCADE" for schema in SCHEMAS),
    f"DROP TABLE IF EXISTS {VERSION_TABLE}",
    *(f"CREATE SCHEMA {schema}" for schema in SCHEMAS),
)


class BackupRefused(StoreError):
    """The file is no backup that this program can restore; nothing changed."""


class KernelConnected(StoreError):
    """A kernel works with the database; nothing changed."""


def backup(address: Address, file: Path) -> int:
    """Write every table of ours into a file; its bytes.

    Raises:
        StoreError: The database does not answer, or has no such tables; no file is left.
        OSError: The file cannot be written.
    """
    part = file.with_name(f"{file.name}.part")
    with _alone(part) as written:
        try:
            tables = [f"--table={schema}.*" for schema in SCHEMAS]
            _call(
                address, "pg_dump", "--format=custom", f"--file={part}",
                f"--lock-wait-timeout={LOCK_S}s", f"--table={VERSION_TABLE}", *tables,
                "--dbname", address.without_password, keep=(written.fileno(),),
            )  # fmt: skip
            os.fsync(written.fileno())
            part.replace(file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    _sync_folder(file.parent)
    return file.stat().st_size


def restore(address: Address, file: Path) -> tuple[str, str]:
    """Make the tables those of a backup; (revision of the backup, revision now).

    Raises:
        BackupRefused: The file is no backup of ours, or a newer program's: nothing changed.
        KernelConnected: A kernel works with the database: nothing changed.
        StoreError: The database does not answer or refuses it: nothing changed.
    """
    connected, version = asyncio.run(_server(address))
    if connected:
        raise KernelConnected(
            f"database {address.told}: {connected} connections of a running kernel: stop it first"
        )
    with tempfile.TemporaryDirectory(prefix="wave-kernel-") as folder:
        script = Path(folder) / "script.sql"
        try:
            _call(
                address, "pg_restore", "--no-owner", "--no-privileges", f"--file={script}",
                str(file),
            )  # fmt: skip
        except StoreError as error:
            raise BackupRefused(f"{file}: is no backup, or a damaged one: {error}") from error
        _demand_ours(script, file)
        if version < 17:
            _without_newer_setting(script)
        _call(
            address, "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1",
            "--single-transaction", *(f"--command={line}" for line in _EMPTY), f"--file={script}",
            "--dbname", address.without_password,
        )  # fmt: skip
    return upgrade(address)


async def _server(address: Address) -> tuple[int, int]:
    """Connections of kernels, and the major version of PostgreSQL."""
    try:
        connection = await asyncpg.connect(address.url, timeout=CONNECT_S)
        try:
            connected = int(await connection.fetchval(KERNELS))
            return connected, connection.get_server_version().major
        finally:
            await connection.close()
    except FAILURES as error:
        raise StoreError(told(error, address)) from None


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """The file, ours alone; what a killed backup left is written over.

    Raises:
        StoreError: Another backup writes it.
        OSError: It cannot be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(part, flags, 0o600), "wb") as written:
        try:
            fcntl.flock(written, fcntl.LOCK_EX | fcntl.LOCK_NB)
            moved = not part.exists() or not os.path.samestat(
                part.stat(), os.fstat(written.fileno())
            )
        except BlockingIOError:
            moved = True
        if moved:
            raise StoreError(f"{part}: another backup writes it; wait for its end")
        os.fchmod(written.fileno(), 0o600)
        yield written


def _demand_ours(script: Path, file: Path) -> None:
    """The tables of a script are ours, and not a newer program's.

    Raises:
        BackupRefused: They are not.
    """
    has_positions, revision = False, ""
    with script.open("rb") as lines:
        for line in lines:
            has_positions = has_positions or line.startswith(_POSITIONS)
            if line.startswith(_REVISION):
                revision = next(lines, b"").decode("utf-8", "replace").strip()
    if not has_positions or not revision:
        raise BackupRefused(
            f"{file}: has no tables of this program; name a file that `db backup` wrote"
        )
    if revision not in revisions():
        raise BackupRefused(
            f"{file}: is of revision {revision[:40]!r}, which this program lacks (its newest is"
            f" {revisions()[-1]}); install the program that wrote it, or a newer one"
        )


def _without_newer_setting(script: Path) -> None:
    """Turn into a remark what servers before version 17 do not know."""
    with script.open("r+b") as text:
        at = text.read(10_000).find(_SINCE_17)
        if at >= 0:
            text.seek(at + 1)
            text.write(b"--")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _call(
    address: Address, program: str, *arguments: str, keep: tuple[int, ...] = ()
) -> None:
    """Run a program; it inherits the files of `keep`, and with them their locks."""
    environment = {name: told for name, told in os.environ.items() if name.startswith("PG")}
    environment |= {
        "PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC",
        "PGCONNECT_TIMEOUT": str(CONNECT_S), "PGOPTIONS": f"-c lock_timeout={LOCK_S}s",
    }  # fmt: skip
    if address.password:
        environment["PGPASSWORD"] = unquote(address.password)
    done = subprocess.run(  # noqa: S603 - our own programs and arguments
        [str(programs() / program), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environment, pass_fds=keep,
    )  # fmt: skip
    if done.returncode:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())[-600:]
        raise StoreError(f"database {address.told}: {program} failed: {address.hidden(words)}")
