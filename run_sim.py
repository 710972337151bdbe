"""Simulation: scenarios, replays, journals, data. One of the two composition roots.

Exit codes: 0 ok · 1 unexpected · 2 usage or settings · 10 a scenario or invariant failed ·
11 a scenario could not run · 130 interrupted · 143 terminated.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from kernel.errors import missing_package

ROOT = Path(__file__).resolve().parent
COMMANDS = {
    "data": "replay.data_cli",
    "replay": "scenarios.replay_cli",
    "journal": "replay.journal_cli",
    "demo": "scenarios.demo",
    "kill": "scenarios.kill_cli",
    "freeze": "scenarios.freeze_cli",
    "serve": "scenarios.serve_cli",
}
"""Command → the module that adds it by `register(subparsers)`, where it is in the tree."""


def commit() -> str:
    """The commit of this checkout, with "+" where files differ from it; "" outside of git."""
    def git(*args: str) -> str:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(ROOT), *args],  # noqa: S607 - whatever git is installed
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        name = git("rev-parse", "--short=12", "HEAD")
        return name + ("+" if name and git("status", "--porcelain", "-uno") else "")
    except OSError:
        return ""


def cmd_schema(_args: argparse.Namespace) -> int:
    """Print the JSON schema of scenario files."""
    from scenarios.schema_json import scenario_schema

    print(json.dumps(scenario_schema(), indent=2, ensure_ascii=False))
    return 0


def make_parser(asked: str = "") -> argparse.ArgumentParser:
    """The command that is asked for, or all of them.

    Only its modules are imported: a journal replays where the simulated venue does not exist.
    """
    parser = argparse.ArgumentParser(prog="run_sim.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = [asked] if asked in COMMANDS else list(COMMANDS)
    for name in wanted:
        if find_spec(COMMANDS[name]) is not None:
            import_module(COMMANDS[name]).register(subparsers)
    if asked in COMMANDS:
        return parser
    import_module("scenarios.scenario_cli").register(subparsers, commit=commit())
    schema = subparsers.add_parser("schema", help="print the JSON schema of scenario files")
    schema.set_defaults(func=cmd_schema)
    return parser


class Terminated(KeyboardInterrupt):
    """SIGTERM: what Ctrl-C ends in order ends in order too."""


def _terminate(_signal: int, _frame: object) -> None:
    raise Terminated


def _interrupted(args: argparse.Namespace) -> str:
    """What a person should know of a run that did not come to its end."""
    written = getattr(args, "journal", None) if args.command in ("scenario", "replay") else None
    if written is None or not written.exists():
        return "interrupted"
    return f"interrupted: the journal {written} ends where the run was"


def main(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    try:
        args = make_parser(arguments[0] if arguments else "").parse_args(arguments)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{missing_package(error)}\n")
        return 2
    try:
        code: int = args.func(args)
        sys.stdout.flush()
    except KeyboardInterrupt as ended:
        sys.stderr.write(f"{_interrupted(args)}\n")
        return 143 if isinstance(ended, Terminated) else 130
    except BrokenPipeError:  # the reader of a pipe has seen enough: `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder that is a file
        sys.stderr.write(f"{error}\n")
        return 2
    return code


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main(sys.argv[1:]))
