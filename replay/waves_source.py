"""Where the recorded waves of a replay come from: files, or the table of a database.

The database is loaded by who names one alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kernel.config.connections import is_address
from kernel.errors import SettingsError, StoreError
from replay.waves import SignalRow, read_waves

if TYPE_CHECKING:
    from collections.abc import Sequence

DATABASE = "db:"
_END_NS = 2**63 - 1


def recorded_waves(names: Sequence[str], env_file: Path | None) -> tuple[list[SignalRow], str]:
    """Signals of these sources by arrival, and a note about what was left out; "": nothing.

    Args:
        names: Files; or one `db:ADDRESS`; or `db:`, which is the database that a live run would
            use here.
        env_file: Where its settings are read from; None: `.env`.

    Raises:
        SettingsError: The database does not answer, or a name is wrong.
        DataError: With every problem of every line of the files.
    """
    databases = [name for name in names if name.startswith(DATABASE)]
    if databases and len(names) > 1:
        raise SettingsError([f"--waves: give files, or one {DATABASE} alone"])
    if not databases:
        return read_waves([Path(name) for name in names]), ""
    return _stored(databases[0].removeprefix(DATABASE), env_file)


def hidden(argument: str) -> str:
    """An argument as a report may show it: without the password of a database."""
    if DATABASE not in argument:
        return argument
    before, _, address = argument.partition(DATABASE)
    if address and not is_address(address):
        return f"{before}{DATABASE}(hidden)"  # nobody knows what in it is the password
    parts = urlsplit(address)
    if not parts.password:
        return argument
    who = f"{parts.username or ''}:(hidden)@"
    return before + DATABASE + address.replace(parts.netloc, who + parts.netloc.split("@")[-1])


def _stored(told: str, env_file: Path | None) -> tuple[list[SignalRow], str]:
    from kernel.config.sources import read  # noqa: PLC0415  see above
    from kernel.store.address import Address  # noqa: PLC0415
    from kernel.store.database import database  # noqa: PLC0415
    from kernel.store.recorded import recorded_signals  # noqa: PLC0415
    from replay.stored_waves import waves_of  # noqa: PLC0415

    if told and not is_address(told):
        words = (
            f"must begin with {DATABASE}postgresql:// and be an address; within user and password"
            " write @ : / ? # % as %40 %3A %2F %3F %23 %25"
        )
        raise SettingsError([f"--waves {hidden(DATABASE + told)}: {words}"])
    try:
        if told:
            recorded = recorded_signals(Address(told), 0, _END_NS)
        else:
            with database(read((), env_file).settings) as address:
                recorded = recorded_signals(address, 0, _END_NS)
    except StoreError as error:
        raise SettingsError([f"--waves {DATABASE}: {error}"]) from error
    waves = waves_of(recorded)
    return waves.rows, waves.note
