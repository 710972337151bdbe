"""What world and kernel say to each other over a pipe, and how: length-prefixed msgpack.

Lock-step: exactly one side speaks while the other waits, so no frame is ever answered by the wrong
one. A frame is a u32 length (big-endian) and one struct.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import msgspec

from kernel.errors import KernelError
from kernel.model.candle import Candle
from kernel.model.messages import (
    ExtremesRead,
    Input,
    PriceRead,
    QuoteRead,
    StepResult,
)
from kernel.model.orders import PriceSource
from kernel.model.rows import Row, StoredState
from kernel.store.leases import LeaseAsk

_LENGTH = struct.Struct(">I")
_LARGEST = 1 << 28
_CHUNK = 1 << 16

# ---------------------------------------------------------------- to the kernel


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin", array_like=True):
    """All that a kernel is made of. `settings` are JSON without secrets."""

    settings: str
    level: str
    venues: tuple[str, ...]
    database: str = ""
    """Where this process keeps its rows, on a connection of its own; "": the parent keeps them."""
    folder: str = ""
    """Its data folder, which it locks; with one it ends by itself when its kernel stops."""
    without: tuple[str, ...] = ()
    """Guards that are switched off in it: "lease", "fence"."""


class Take(msgspec.Struct, frozen=True, tag="take", array_like=True, gc=False):
    """Step this input; answered by `Stepped`, with looks at prices in between."""

    item: Input


class TellState(msgspec.Struct, frozen=True, tag="tell_state", array_like=True):
    """Answered by `State`."""


class Apply(msgspec.Struct, frozen=True, tag="apply", array_like=True, gc=False):
    """Write a commit to the database now; answered by `Applied`."""

    rows: tuple[Row, ...]
    epoch: int = 0
    """As of `Backend.apply`."""


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load_now", array_like=True):
    """Load from the database at this time, with the lease where `ask` wants it: `Loaded`."""

    now_ns: int
    ask: LeaseAsk | None = None
    least_epoch: int = 1
    anew: bool = False


class Renew(msgspec.Struct, frozen=True, kw_only=True, tag="renew", array_like=True):
    """Renew the lease in the database at this time; answered by `Applied`."""

    now_ns: int
    ask: LeaseAsk


class Hold(msgspec.Struct, frozen=True, kw_only=True, tag="hold", array_like=True):
    """Stand still at the `nth` such place, so many `calls` into it; `nth` 0: nowhere any more.

    Not answered; where it happens, the process says `At` and waits for `Go`.
    """

    place: str
    nth: int
    calls: int = 0


class Go(msgspec.Struct, frozen=True, tag="go", array_like=True):
    """Go on from where it stands."""


type Down = Begin | Take | TellState | Apply | Load | Renew | Hold | Go

PRICE_ANSWERS: dict[str, Any] = {
    "last": PriceRead,
    "quote": QuoteRead,
    "extremes": ExtremesRead,
    "candles": tuple[Candle, ...],
}
"""Method of `PriceReader` → what answers it. The answer to a `Look` is the bare value."""

# ---------------------------------------------------------------- from the kernel


class Ready(msgspec.Struct, frozen=True, tag="ready", array_like=True):
    """The kernel stands; nothing was stepped yet."""

    deadline: int | None


class Look(msgspec.Struct, frozen=True, kw_only=True, tag="look", array_like=True, gc=False):
    """A price look-up in the middle of a step: a method of `PriceReader` and its arguments.

    `ns` is the time or the interval, where the method has one.
    """

    method: str
    venue: str
    symbol: str
    source: PriceSource = PriceSource.LAST
    ns: int = 0
    count: int = 0


class Stepped(msgspec.Struct, frozen=True, kw_only=True, tag="stepped", array_like=True, gc=False):
    """What a step gave; `crashes` are the tasks that failed in it."""

    result: StepResult
    deadline: int | None
    crashes: tuple[str, ...] = ()


class Part(msgspec.Struct, frozen=True, tag="part", array_like=True, gc=False):
    """What of a step leaves before the process stands still; `Stepped` has the rest."""

    result: StepResult


class At(msgspec.Struct, frozen=True, tag="at", array_like=True):
    """The process is where it is to stand still, and waits for `Go`."""

    place: str


class State(msgspec.Struct, frozen=True, tag="state", array_like=True):
    """Digest of what the kernel holds."""

    digest: str


class Applied(msgspec.Struct, frozen=True, tag="applied", array_like=True):
    """The database has done it; the answers to claims."""

    claimed: tuple[bool, ...] = ()


class Loaded(msgspec.Struct, frozen=True, tag="loaded_now", array_like=True):
    """What the database holds."""

    state: StoredState


class Broke(msgspec.Struct, frozen=True, kw_only=True, tag="broke", array_like=True):
    """The database did not do it; `holder`: because another instance has the lease.

    `kind`: which `StoreError` it was.
    """

    reason: str = ""
    kind: str = ""
    holder: str = ""


class Raised(msgspec.Struct, frozen=True, kw_only=True, tag="raised", array_like=True):
    """The step raised: the kernel is of no use any more."""

    kind: str
    text: str


type Up = Ready | Look | Part | At | Stepped | State | Applied | Loaded | Broke | Raised

# ---------------------------------------------------------------- the pipe


class PipeEnded(KernelError):
    """The other side is gone."""


class Pipe:
    """Frames over two file descriptors; every call blocks until it is done.

    Args:
        read_fd: Where the other side's frames come from.
        write_fd: Where ours go.
        kinds: Of the frames that `receive` expects.
    """

    def __init__(self, read_fd: int, write_fd: int, kinds: Any) -> None:
        self.read_fd = read_fd
        self._write_fd = write_fd
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kinds)
        self._out = bytearray()
        self._in = bytearray()

    def send(self, frame: object) -> None:
        """Write one frame.

        Raises:
            PipeEnded: Nobody reads any more.
        """
        out = self._out
        self._encoder.encode_into(frame, out, _LENGTH.size)
        _LENGTH.pack_into(out, 0, len(out) - _LENGTH.size)
        view = memoryview(out)
        at = 0
        try:
            while at < len(view):
                at += os.write(self._write_fd, view[at:])
        except BrokenPipeError as error:
            raise PipeEnded("nobody reads the pipe") from error
        finally:
            view.release()

    @property
    def has_more(self) -> bool:
        """Whether something was read that is not given out yet."""
        return bool(self._in)

    def receive(self) -> Any:
        """Read one frame of the expected kinds.

        Raises:
            PipeEnded: The other side ended, in the middle of a frame perhaps.
        """
        return self._decoder.decode(self.receive_bytes())

    def receive_bytes(self) -> bytes:
        """The body of one frame.

        Raises:
            PipeEnded: The other side ended, in the middle of a frame perhaps.
        """
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        if length > _LARGEST:
            raise PipeEnded(f"a frame of {length} bytes: the pipe is out of step")
        return self._take(length)

    def _take(self, count: int) -> bytes:
        held = self._in
        while len(held) < count:
            got = os.read(self.read_fd, max(_CHUNK, count - len(held)))
            if not got:
                raise PipeEnded(f"the pipe ended with {count - len(held)} bytes missing")
            held += got
        taken = bytes(held[:count])
        del held[:count]
        return taken
