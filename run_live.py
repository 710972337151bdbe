"""Live operation. One of the two composition roots.

In this release there are `config show`, which reads the settings as a live run will and starts
nothing, and `db`, which makes, checks, reads, backs up and restores the tables of its database; the
commands that trade come later.

`--check-instances` says who else works on the data folder or has the account.

Exit codes: 0 ok · 1 unexpected · 2 usage or settings · 4 the tables are not as they must be ·
5 another instance or kernel at work · 6 the database cannot be reached · 130, 143 interrupted.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from kernel.errors import SettingsError, missing_package


def cmd_config_show(args: argparse.Namespace) -> int:
    """Print the settings that are in force; warnings go to stderr."""
    from kernel.config import show, sources

    origins = sources.read(args.set, args.env_file)
    print(show.document(origins) if args.json else show.table(origins))
    for warning in origins.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def cmd_db(args: argparse.Namespace) -> int:
    """`db`: one act on the tables; the database is that of the settings."""
    from replay import db_cli

    return db_cli.run(args)


def add_db(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The verbs of `db`."""
    parser = commands.add_parser("db", help="the tables of the database", allow_abbrev=False)
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    upgrade = acts.add_parser(
        "upgrade", help="bring the tables to the newest revision", allow_abbrev=False
    )
    check = acts.add_parser(
        "check", help="say where the tables differ from this program's", allow_abbrev=False
    )
    signals = acts.add_parser(
        "signals", help="write the recorded signals as waves for a replay", allow_abbrev=False
    )
    signals.add_argument("file", type=Path, metavar="FILE", help="waves, .jsonl or .jsonl.gz")
    signals.add_argument("--from", dest="start", default="", metavar="UTC", help="arrived then")
    signals.add_argument("--to", dest="end", default="", metavar="UTC", help="arrived before")
    backup = acts.add_parser(
        "backup", help="write every table into one file", allow_abbrev=False
    )
    restore = acts.add_parser(
        "restore", help="make the tables those of a backup", allow_abbrev=False
    )
    for act in (backup, restore):
        act.add_argument("file", type=Path, metavar="FILE", help="a backup")
    restore.add_argument(
        "--yes", action="store_true", help="replace what the database holds; needed"
    )
    for act in (upgrade, check, signals, backup, restore):
        act.add_argument("--json", action="store_true", help="one JSON object on stdout")
        add_settings_flags(act)
        act.set_defaults(func=cmd_db)


def make_parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    parser = argparse.ArgumentParser(prog="run_live.py", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_instances(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    config = commands.add_parser("config", help="the settings", allow_abbrev=False)
    acts = config.add_subparsers(dest="act", required=True, metavar="ACT")
    show = acts.add_parser(
        "show", help="print name, value, source, default and range of each", allow_abbrev=False
    )
    show.add_argument("--json", action="store_true", help="as JSON, with the warnings")
    add_settings_flags(show)
    show.set_defaults(func=cmd_config_show)
    add_db(commands)
    return parser


def cmd_instances(args: argparse.Namespace) -> int:
    """`--check-instances`: say who else works here, `--force` ends it."""
    from replay import instances_cli

    return instances_cli.run(args)


def add_instances(parser: argparse.ArgumentParser) -> None:
    """The flags that need no command."""
    parser.add_argument(
        "--check-instances", action="store_true",
        help="say whether another instance works on the data folder or has the account",
    )  # fmt: skip
    parser.add_argument(
        "--force", action="store_true",
        help="with --check-instances: end the process that works on the data folder",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    add_settings_flags(parser)
    parser.set_defaults(func=cmd_instances)


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """The flags by which every command takes settings."""
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="read this file instead of .env"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="a setting, before environment and file; may be repeated; not for secrets",
    )  # fmt: skip


def _end(ending: int, _frame: object) -> None:
    """Unwind as at Ctrl-C: servers are stopped, halves of files removed."""
    sys.exit(128 + ending)


def main(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.command is None and not args.check_instances:
        parser.error("give a COMMAND, or --check-instances")
    if args.command is not None and arguments[0].startswith("-"):
        parser.error(f"{arguments[0]}: flags of a COMMAND come after it")
    try:
        code: int = args.func(args)
        sys.stdout.flush()
    except SettingsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(missing_package(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough: `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # the disk under the output is full
        print(error, file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    for one in (signal.SIGTERM, signal.SIGHUP):  # the service manager, a closed terminal
        signal.signal(one, _end)
    sys.exit(main(sys.argv[1:]))
