"""The process of one isolated kernel: `python -m scenarios.child`, driven over its pipe.

It has no world, no clock and no settings but those that it is given, and ends when its parent is
gone. What anything prints goes to standard error: standard output is the pipe.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import cast

import msgspec

from kernel.app import Kernel
from kernel.config import Settings
from kernel.errors import LeaseHeld, StoreError
from kernel.model.candle import Candle
from kernel.model.messages import (
    ExtremesRead,
    Input,
    PriceRead,
    QuoteRead,
    StepResult,
    Stopped,
)
from kernel.model.orders import PriceSource
from kernel.model.units import TsNs
from kernel.store.backend import Backend, Retention
from kernel.store.instance import AnotherInstance, InstanceLock
from kernel.trade.lease import SUPERSEDED
from replay.player import factory_of
from scenarios import guards
from scenarios.frames import (
    PRICE_ANSWERS,
    Applied,
    Apply,
    Begin,
    Broke,
    Down,
    Hold,
    Load,
    Loaded,
    Look,
    Part,
    Pipe,
    PipeEnded,
    Raised,
    Ready,
    Renew,
    State,
    Stepped,
    Take,
    TellState,
)
from scenarios.holds import SILENCE_NS, Holds, Place

ANOTHER = 5
"""Exit code: another instance has the account, or a process the data folder."""


class PipePrices:
    """A `PriceReader` that asks the world across the pipe, in the middle of a step."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._decoders = {
            method: msgspec.msgpack.Decoder(kind) for method, kind in PRICE_ANSWERS.items()
        }

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        """See `PriceReader.last`."""
        look = Look(method="last", venue=venue, symbol=symbol, source=source)
        return cast("PriceRead", self._ask(look))

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        """See `PriceReader.quote`."""
        return cast("QuoteRead", self._ask(Look(method="quote", venue=venue, symbol=symbol)))

    def extremes(
        self, venue: str, symbol: str, source: PriceSource, since_ns: TsNs
    ) -> ExtremesRead:
        """See `PriceReader.extremes`."""
        look = Look(method="extremes", venue=venue, symbol=symbol, source=source, ns=since_ns)
        return cast("ExtremesRead", self._ask(look))

    def candles(
        self, venue: str, symbol: str, source: PriceSource, interval_ns: int, count: int
    ) -> tuple[Candle, ...]:
        """See `PriceReader.candles`."""
        look = Look(
            method="candles", venue=venue, symbol=symbol, source=source, ns=interval_ns, count=count
        )
        return cast("tuple[Candle, ...]", self._ask(look))

    def _ask(self, look: Look) -> object:
        self._pipe.send(look)
        return self._decoders[look.method].decode(self._pipe.receive_bytes())


class Child:
    """One kernel and its pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        begin = pipe.receive()
        assert isinstance(begin, Begin)
        self._folder = begin.folder
        if begin.folder:
            guards.die_with_parent()
            self._lock = InstanceLock(Path(begin.folder)).take()
        guards.switch_off(begin.without)
        self._holds = Holds(pipe)
        settings = Settings.from_json(begin.settings)
        self._kernel = Kernel(
            settings,
            prices=PipePrices(pipe),
            venue_factories={name: factory_of(begin.level, name) for name in begin.venues},
        )
        self._told = 0
        self._database = _connected(begin, settings) if begin.database else None
        pipe.send(Ready(self._kernel.next_deadline()))

    def serve(self) -> int:
        """Do what the parent says until it is gone, or the kernel stops; the exit code."""
        while True:
            match self._pipe.receive():
                case Take(item=item):
                    ended = self._step(item)
                    if ended is not None and self._folder:
                        return _goodbye(ended)
                case Apply() as asked:
                    self._pipe.send(
                        self._holds.during(Place.COMMITTING, partial(self._store, asked))
                    )
                case Renew() as asked:
                    self._pipe.send(
                        self._holds.during(Place.RENEWING, partial(self._store, asked))
                    )
                case Load() as asked:
                    self._pipe.send(self._store(asked))
                case Hold() as hold:
                    self._holds.take(hold)
                case TellState():
                    self._pipe.send(State(self._kernel.state_digest()))
                case other:
                    raise PipeEnded(f"{type(other).__name__} is out of step")

    def _step(self, item: Input) -> Stopped | None:
        """Step an input and give out what it gave; not None: the kernel stopped."""
        kernel, holds = self._kernel, self._holds
        try:
            result = holds.during(Place.COMPUTING, partial(kernel.step, item))
        except PipeEnded:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to tell of it
            self._pipe.send(Raised(kind=type(error).__name__, text=str(error)))
            return None
        ends = [effect.body for effect in result.effects if type(effect.body) is Stopped]
        before = holds.before(result.effects)
        if before is not None:
            part = StepResult(result.effects[:before], result.decisions, result.reads)
            self._pipe.send(Part(part))
            holds.stand()
            result = StepResult(result.effects[before:], [], [])
        crashes = tuple(islice(kernel.crashes, self._told, None))
        self._told += len(crashes)
        self._pipe.send(
            Stepped(result=result, deadline=kernel.next_deadline(), crashes=crashes)
        )
        return ends[0] if ends and not ends[0].restart else None

    def _store(self, asked: Apply | Load | Renew) -> Applied | Loaded | Broke:
        """Ask the database, and block until it has answered."""
        database = self._database
        assert database is not None
        try:
            match asked:
                case Apply(rows=rows, epoch=epoch):
                    return Applied(database.apply(rows, epoch=epoch))
                case Load(now_ns=now_ns, ask=ask, least_epoch=least, anew=anew):
                    return Loaded(database.load(now_ns, ask, least_epoch=least, anew=anew))
                case Renew():
                    database.lease(asked.ask, asked.now_ns)
                    return Applied()
        except StoreError as error:
            return Broke(reason=str(error), kind=type(error).__name__)
        except LeaseHeld as held:
            return Broke(holder=held.holder)


def _connected(begin: Begin, settings: Settings) -> Backend:
    """The database; nothing of it is loaded where there is none."""
    module = import_module("kernel.store.blocking")
    where = import_module("kernel.store.address")
    limits = None
    if begin.folder:
        limits = import_module("kernel.store.postgres").Limits(idle_ns=SILENCE_NS)
    made: Backend = module.BlockingPostgres(where.Address(begin.database), limits)
    made.retention = Retention.of(settings)
    return made


def _goodbye(ended: Stopped) -> int:
    """Say why; the exit code."""
    sys.stderr.write(f"{ended.reason}\n")
    return ANOTHER if SUPERSEDED in ended.reason else 0


def main() -> int:
    """Serve one parent; 0 when it is gone, 5 where another instance is in the way."""
    out_fd = os.dup(1)
    os.dup2(2, 1)
    pipe = Pipe(0, out_fd, Down.__value__)
    try:
        return Child(pipe).serve()
    except PipeEnded:
        return 0
    except AnotherInstance as error:
        sys.stderr.write(f"{error}\n")
        return ANOTHER


if __name__ == "__main__":
    sys.exit(main())
