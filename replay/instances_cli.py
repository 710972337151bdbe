"""`run_live.py --check-instances`: who works on this data folder, and who has the accounts.

`--force` ends the process that works on the folder first. Nothing is started: an embedded database
that does not run has no other user. Exit codes: 0 nobody else · 2 usage or settings · 5 another
instance · 6 the database cannot be reached.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from kernel.config import Settings
from kernel.config.sources import read
from kernel.errors import StoreError
from kernel.signals.timestamps import format_utc
from kernel.store.address import Address, configured
from kernel.store.instance import NAME, AnotherInstance, InstanceLock, holder

OK, ANOTHER, UNREACHABLE = 0, 5, 6


def run(args: argparse.Namespace) -> int:
    """Look, and tell; the exit code.

    Raises:
        SettingsError: All problems of settings.
    """
    settings = read(args.set, args.env_file).settings
    folder = Path(settings.data_folder)
    ended = 0
    pid = holder(folder)
    if args.force and pid is not None:
        try:
            InstanceLock(folder).force().close()
        except AnotherInstance as other:
            sys.stderr.write(f"{other}\n")
            return ANOTHER
        ended, pid = pid, holder(folder)
    try:
        others = _others(settings, _own_name(folder))
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return UNREACHABLE
    told = {"folder": str(folder), "pid": pid, "ended": ended, "leases": others}
    sys.stdout.write(json.dumps(told) + "\n" if args.json else _sentences(told))
    return ANOTHER if pid is not None or others else OK


def _others(settings: Settings, own: str) -> list[dict[str, Any]]:
    """Leases of other instances that are not over."""
    address = _address(settings)
    if address is None:
        return []
    from kernel.store.blocking import BlockingPostgres  # noqa: PLC0415  only who asks pays for it

    database = BlockingPostgres(address)
    try:
        found = database.leases()
    finally:
        database.close()
    return [
        {"account": account, "instance": held.instance, "until": format_utc(held.until_ns)}
        for account, held in sorted(found.items())
        if held.until_ns and held.instance != own
    ]


def _address(settings: Settings) -> Address | None:
    """The database that is named, or the embedded one where it runs."""
    named = configured(settings)
    if named is not None:
        return named
    folder = Path(settings.data_folder) / "postgres"
    if not folder.is_dir():
        return None
    from kernel.store.embedded import EmbeddedServer  # noqa: PLC0415  as above

    server = EmbeddedServer(folder)
    return Address(server.address(settings.db_name)) if server.running() else None


def _own_name(folder: Path) -> str:
    try:
        return (folder / NAME).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _sentences(told: dict[str, Any]) -> str:
    lines = []
    if told["ended"]:
        lines.append(f"process {told['ended']} was ended")
    if told["pid"] is not None:
        lines.append(f"process {told['pid'] or '?'} works on {told['folder']}")
    lines += [
        f"instance {one['instance']} has the account {one['account']} until {one['until']}"
        for one in told["leases"]
    ]
    return "\n".join(lines or [f"nobody works on {told['folder']} or has the account"]) + "\n"
