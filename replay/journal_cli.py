"""`run_sim.py journal replay | show`: what a journal says, and whether this code says it still.

Exit codes: 0 identical (with `--against`: the same decisions) · 2 usage, damaged or foreign
journal · 10 it differs, or the journal cannot answer what the code asks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from kernel.errors import SettingsError
from kernel.model.messages import StepResult
from kernel.signals.timestamps import parse_utc
from replay.diff import against
from replay.journal import JournalReader, Record
from replay.outside import code_hash, commit_of
from replay.played import IDENTICAL, MECHANICS, Played, difference_lines
from replay.player import Player
from replay.timeline import Fact, clock_text, facts_of

OK, BAD_INPUT, DIFFERS = 0, 2, 10
SHOWN = 20
"""Mechanics that are printed; `--json` has them all."""


class Subparsers(Protocol):
    """What `ArgumentParser.add_subparsers` returns."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add a command."""
        ...


def register(subparsers: Subparsers) -> None:
    """Add the command `journal`; each of its commands leaves its function in `args.func`."""
    parser = subparsers.add_parser("journal", help="replay and show journals")
    commands = parser.add_subparsers(dest="journal_command", required=True, metavar="COMMAND")

    play = commands.add_parser("replay", help="feed a journal to the kernel and compare")
    play.add_argument("journal", type=Path)
    play.add_argument("--against", type=Path, metavar="PATH", help="another checkout's code")
    play.add_argument("--all", action="store_true", help="mechanics too: requests, writes, reads")
    play.add_argument("--other-commit", action="store_true",
                      help="the journal may come from other code: decisions decide")  # fmt: skip
    play.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    play.set_defaults(func=cmd_replay)

    show = commands.add_parser("show", help="a journal as text, one fact a line")
    show.add_argument("journal", type=Path)
    show.add_argument("--from", dest="start", default="", metavar="UTC")
    show.add_argument("--to", dest="end", default="", metavar="UTC")
    show.add_argument("--position", default="", metavar="P", help="position id or symbol")
    show.add_argument("--all", action="store_true", help="every record, with inputs and effects")
    show.add_argument("--quiet-facts", action="store_true", help="also what says little")
    show.add_argument("--json", action="store_true", help="one JSON object a fact")
    show.set_defaults(func=cmd_show)


def cmd_replay(args: argparse.Namespace) -> int:
    """`journal replay`: play it, print the verdict."""
    try:
        if args.against is not None:
            return _print(args, against(args.journal, args.against), loose=True)
        reader = JournalReader(args.journal)
        loose = args.other_commit
        if not loose:
            _refuse_other_commit(reader)
        with _progress(quiet=args.json) as progress:
            played = Player(reader, strict=not loose, stop_at_first=not args.all).play(progress)
        if not played.records:
            raise SettingsError(
                [f"journal {args.journal}: holds no whole record: there is nothing to replay"]
            )
    except SettingsError as error:
        return _refused(error)
    if not args.json:
        _say_origin(reader)
    return _print(args, played, loose=loose)


def cmd_show(args: argparse.Namespace) -> int:
    """`journal show`: the facts of a journal."""
    try:
        reader = JournalReader(args.journal)
        start_ns, end_ns = (parse_utc(told) if told else 0 for told in (args.start, args.end))
    except SettingsError as error:
        return _refused(error)
    except ValueError as error:
        return _refused(SettingsError([f"--from, --to: {error}"]))
    if not args.json:
        head = reader.header
        _say(f"{head.name or 'journal'}  commit {head.commit[:12] or 'unknown'}  level"
             f" {head.level}  venues {', '.join(head.venues)}  seed {head.seed}")  # fmt: skip
    day, told = "", 0
    try:
        for record in reader.records():
            ts_ns = record.input.ts_ns
            if ts_ns < start_ns or (end_ns and ts_ns > end_ns):
                continue
            today = clock_text(ts_ns, date=True)[:10]
            lines = list(_record_lines(args, record))
            told += len(lines)
            if lines and today != day and not args.json:
                day = today
                _say(day)
            for line in lines:
                _say(line)
    except SettingsError as error:
        return _refused(error)
    except BrokenPipeError:
        return OK
    _say_torn(reader.torn)
    if args.position and not told:
        line = (
            f"journal {args.journal}: --position {args.position}: nothing in the period is about"
            " it; give a position id, a symbol or a client order id"
        )
        return _refused(SettingsError([line]))
    return OK


def _record_lines(args: argparse.Namespace, record: Record) -> Iterator[str]:
    result = StepResult(record.effects, record.decisions, record.reads)
    if args.all and not args.position:
        yield f"{clock_text(record.input.ts_ns)} #{record.index} {_brief(record.input)}"
        for effect in record.effects:
            yield f"    → {effect.key} {_brief(effect.body)}"
        for read in record.reads:
            yield f"    ? {' '.join(read.args)} = {' '.join(read.answer)}"
    for fact in facts_of(record.input, result, quiet=args.quiet_facts or args.all):
        if not args.position or _concerns(fact, args.position):
            yield msgspec.json.encode(fact).decode() if args.json else fact.text()


def _brief(body: object, most: int = 200) -> str:
    told = msgspec.json.encode(body).decode()
    return told if len(told) <= most else f"{told[:most]}… ({len(told)} characters)"


def _concerns(fact: Fact, position: str) -> bool:
    return position in (fact.position_id, fact.symbol, fact.client_order_id)


def _refuse_other_commit(reader: JournalReader) -> None:
    head = reader.header
    commit, code = commit_of(), code_hash(level=head.level)
    if head.code == code or not head.commit or not commit or head.commit == commit:
        return
    origin = f"recorded by commit {head.commit[:12]}, this is {commit[:12]} with another kernel"
    raise SettingsError(
        [f"journal {reader.path}: {origin}; --other-commit compares the decisions"]
    )


def _say_origin(reader: JournalReader) -> None:
    head = reader.header
    if head.code != code_hash(level=head.level):
        _say("note: the kernel's code is not the one that recorded this journal")
    _say_torn(reader.torn)


def _say_torn(torn: int) -> None:
    if torn:
        sys.stderr.write(f"torn tail: {torn} bytes after the last whole record were left out\n")


def _print(args: argparse.Namespace, played: Played, *, loose: bool) -> int:
    if args.json:
        _say(msgspec.json.encode(played).decode())
    else:
        if played.first is not None:
            for line in difference_lines(played.first):
                _say(line)
        if args.all:
            for one in played.mechanics[:SHOWN]:
                for line in difference_lines(one):
                    _say(line)
        more = f", {len(played.mechanics)} records differ in mechanics" if played.mechanics else ""
        _say(f"{played.verdict}: {played.records} records{more}; digest {played.digest},"
             f" state {played.state_digest}")  # fmt: skip
    fine = (IDENTICAL, MECHANICS) if loose else (IDENTICAL,)
    return OK if played.verdict in fine else DIFFERS


def _refused(error: SettingsError) -> int:
    for line in error.problems:
        sys.stderr.write(f"{line}\n")
    return BAD_INPUT


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[float], None] | None]:
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  only a terminal pays for it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("playing", total=1.0)
        yield lambda share: bar.update(task, completed=share)
