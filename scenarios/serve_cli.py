"""`run_sim.py serve`: an emulated venue on loopback, for unmodified clients.

The account is fresh, the prices are a walk or stand still, and time is the clock's.
"""

from __future__ import annotations

import argparse
import sys
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from kernel.errors import SettingsError
from kernel.model.units import DAY, install_decimal_context
from scenarios.markets import Frame, make_market
from scenarios.schema import VENUES, PricePart, Walk
from scenarios.world import World, WorldSetup
from venues.sim.account import AccountRules
from venues.sim.instruments import known_instrument, known_symbols
from venues.sim.venue import VenueSetup
from venues.sim.wire.keys import Keys

OK, BAD_INPUT = 0, 2
_EVERY_NS = 1_000_000_000


class Subparsers(Protocol):
    """What `ArgumentParser.add_subparsers` returns."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add a command."""


def register(subparsers: Subparsers) -> None:
    """Add the command `serve`."""
    parser = subparsers.add_parser("serve", help="an emulated venue on loopback")
    parser.add_argument("venue", choices=VENUES)
    parser.add_argument("--port", type=int, default=18080, help="0: any free one (default 18080)")
    parser.add_argument("--market", action="append", default=[], metavar="SYMBOL=PRICE",
                        help="a symbol and its first price (repeatable)")  # fmt: skip
    parser.add_argument("--step-bps", type=Decimal, default=Decimal(0), metavar="N",
                        help="most that a price moves each second; 0: it stands still")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deposit", type=Decimal, default=Decimal(100_000), metavar="USD")
    parser.add_argument("--key", default="key", help="the API key that is known")
    parser.add_argument("--secret", default="secret")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; the exit code."""
    shell: Any = import_module("venues.sim.serve")
    install_decimal_context()
    try:
        world = _world(args, shell.wall_ns())
    except SettingsError as error:
        for line in error.problems:
            print(line, file=sys.stderr)  # noqa: T201 - the command line
        return BAD_INPUT
    keys = Keys(args.key, args.secret)

    def told(port: int) -> None:
        print(f"{args.venue} on http://127.0.0.1:{port}", flush=True)  # noqa: T201 - the command

    shell.serve(
        lambda: shell.EmulatorServer(
            world.venues[args.venue], world.agenda, keys, port=args.port
        ),
        told,
    )
    return OK


def _world(args: argparse.Namespace, start_ns: int) -> World:
    problems: list[str] = []
    for flag, value, low, high in (
        ("port", args.port, 0, 65_535),
        ("step-bps", args.step_bps, 0, 1_000),
        ("deposit", args.deposit, 1, 10**12),
        ("seed", args.seed, 0, 2**63 - 1),
    ):
        if not (Decimal(value).is_finite() and low <= value <= high):
            problems.append(f"--{flag} {value}: must be a number from {low} to {high}")
    markets, instruments = [], []
    frame = Frame(start_ns=start_ns, end_ns=start_ns + DAY, seed=args.seed, folder=Path())
    for text in args.market or ["BTCUSDT=60000"]:
        symbol, _, price = text.partition("=")
        if symbol not in known_symbols() or not _is_price(price):
            known = ", ".join(known_symbols())
            problems.append(f"--market {text}: SYMBOL=PRICE with a symbol of {known}")
            continue
        instrument = known_instrument(args.venue, symbol)
        first = instrument.price_nearest(Decimal(price))
        part = (
            PricePart(walk=Walk(start=first, step_bps=args.step_bps), every=_EVERY_NS)
            if args.step_bps
            else PricePart(path=((0, first),))
        )
        instruments.append(instrument)
        markets.append(make_market(instrument, part, frame))
    if problems:
        raise SettingsError(problems)
    setup = VenueSetup(
        account=AccountRules(deposit=args.deposit), seed=args.seed, origin_ns=start_ns
    )
    return World(
        WorldSetup(
            start_ns=start_ns, markets=markets, instruments=instruments,
            setups={args.venue: setup},
        )
    )  # fmt: skip


def _is_price(text: str) -> bool:
    return text.replace(".", "", 1).isdigit() and Decimal(text) > 0
