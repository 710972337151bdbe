"""`run_live.py db`: the tables of the database that the settings name, or of the embedded one.

Exit codes: 0 ok · 2 usage, settings, a file that is no backup · 4 the tables are not as they must
be · 5 a kernel is at work · 6 the database cannot be reached, or refuses.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from kernel.config.sources import read
from kernel.errors import SettingsError, StoreError
from kernel.signals.timestamps import parse_utc
from kernel.store.address import Address
from kernel.store.backup import BackupRefused, KernelConnected, backup, restore
from kernel.store.database import database
from kernel.store.instance import AnotherInstance, holder
from kernel.store.migrate import check, upgrade
from kernel.store.recorded import recorded_signals
from replay.outputs import path_problem
from replay.stored_waves import waves_of
from replay.waves import write_waves

OK, DIFFERENT, ANOTHER, UNREACHABLE = 0, 4, 5, 6
END_NS = 2**63 - 1


def run(args: argparse.Namespace) -> int:
    """Do one verb of `db`; the exit code.

    Raises:
        SettingsError: All problems of settings and arguments.
    """
    origins = read(args.set, args.env_file)
    for warning in origins.warnings:
        if warning.startswith(("DB_", "DATABASE_")):
            sys.stderr.write(f"warning: {warning}\n")
    span = _span(args) if args.act == "signals" else (0, END_NS)
    if args.act in ("backup", "restore"):
        _demand_file(args)
    pid = holder(Path(origins.settings.data_folder)) if args.act == "restore" else None
    if pid is not None:
        sys.stderr.write(f"{AnotherInstance(Path(origins.settings.data_folder), pid)}\n")
        return ANOTHER
    try:
        with database(origins.settings) as address:
            if args.act == "upgrade":
                return _upgrade(address, args)
            if args.act == "check":
                return _check(address, args)
            if args.act == "signals":
                return _signals(address, args, span)
            return _backup(address, args) if args.act == "backup" else _restore(address, args)
    except BackupRefused as error:
        raise SettingsError([f"FILE {error}"]) from None
    except KernelConnected as error:
        sys.stderr.write(f"{error}\n")
        return ANOTHER
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return UNREACHABLE


def _upgrade(address: Address, args: argparse.Namespace) -> int:
    before, after = upgrade(address)
    words = f"at revision {after}" if before == after else f"{before or 'no tables'} -> {after}"
    _tell(args, {"before": before, "after": after}, f"database {address.told}: {words}")
    return OK


def _check(address: Address, args: argparse.Namespace) -> int:
    found = check(address)
    words = found or [f"database {address.told}: the tables are as this program needs them"]
    _tell(args, {"differences": found}, "\n".join(words))
    return DIFFERENT if found else OK


def _signals(address: Address, args: argparse.Namespace, span: tuple[int, int]) -> int:
    waves = waves_of(recorded_signals(address, *span))
    if waves.note:
        sys.stderr.write(f"{waves.note}\n")
    try:
        written = write_waves(args.file, waves.rows)
    except OSError as error:
        raise SettingsError([f"{args.file}: cannot be written: {error}"]) from error
    told = {"signals": written, "left_out": waves.left_out, "file": str(args.file)}
    _tell(args, told, f"{args.file}: {written} signals")
    return OK


def _backup(address: Address, args: argparse.Namespace) -> int:
    size = backup(address, args.file)
    told = {"file": str(args.file), "bytes": size}
    _tell(args, told, f"{args.file}: database {address.told}, {size} bytes")
    return OK


def _restore(address: Address, args: argparse.Namespace) -> int:
    before, after = restore(address, args.file)
    words = f"database {address.told}: as in {args.file}, revision {before}"
    _tell(args, {"file": str(args.file), "before": before, "after": after},
          words if before == after else f"{words} -> {after}")  # fmt: skip
    return OK


def _demand_file(args: argparse.Namespace) -> None:
    problems = []
    if args.act == "backup":
        problems = [line for line in [path_problem("FILE", args.file)] if line]
    else:
        if not args.file.is_file():
            problems.append(f"FILE {args.file}: no such file; name one that `db backup` wrote")
        if not args.yes:
            problems.append("restore replaces every table: add --yes if you mean it")
    if problems:
        raise SettingsError(problems)


def _span(args: argparse.Namespace) -> tuple[int, int]:
    problems = [line for line in [path_problem("FILE", args.file)] if line]
    span = []
    for flag, told, otherwise in (("--from", args.start, 0), ("--to", args.end, END_NS)):
        try:
            span.append(int(parse_utc(told)) if told else otherwise)
        except ValueError as error:
            problems.append(f"{flag} {error}")
    if problems:
        raise SettingsError(problems)
    return span[0], span[1]


def _tell(args: argparse.Namespace, fields: dict[str, Any], words: str) -> None:
    sys.stdout.write((json.dumps(fields) if args.json else words) + "\n")
