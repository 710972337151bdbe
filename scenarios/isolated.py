"""A kernel in a process of its own: the parent's side (`--isolate`).

The process is a fresh interpreter that gets everything over its pipe; its death is a SIGKILL.
"""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

import msgspec

from kernel.config import Settings
from kernel.errors import LeaseHeld, RowsRefused, StoreError, StoreFenced
from kernel.model.messages import Input, StepResult
from kernel.model.units import TsNs
from kernel.ports.prices import PriceReader
from scenarios.frames import (
    Applied,
    Apply,
    Begin,
    Broke,
    Load,
    Loaded,
    Look,
    Pipe,
    PipeEnded,
    Raised,
    Ready,
    Renew,
    State,
    Stepped,
    Take,
    TellState,
    Up,
)
from scenarios.kernels import KernelLost

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 120
"""A step that takes longer hangs. No digest depends on it."""
_STORE_ERRORS = {kind.__name__: kind for kind in (StoreFenced, RowsRefused)}
LAST_WORDS = 2_000
"""So many characters of what the process wrote are told."""


class IsolatedKernel:
    """One life of a kernel, in a process of its own; see `AnyKernel`.

    Args:
        settings: Of the kernel; secrets stay here.
        prices: Answers its looks at prices.
        level: "sim" or "wire".
        venues: Their names.
        database: Where it keeps its rows itself; "": the parent does.
        folder: See `Begin`.
        without: See `Begin`.

    Attributes:
        crashes: As of a kernel.
        pid: Of the process.

    Raises:
        KernelLost: It did not come up.
    """

    def __init__(
        self,
        settings: Settings,
        prices: PriceReader,
        *,
        level: str,
        venues: tuple[str, ...],
        database: str = "",
        folder: str = "",
        without: tuple[str, ...] = (),
    ) -> None:
        self.crashes: list[str] = []
        self._prices = prices
        self._words = TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scenarios.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env={"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid = self._process.pid
        read_fd = self._process.stdout.fileno()
        self._pipe = Pipe(read_fd, self._process.stdin.fileno(), Up.__value__)
        self._poll = select.poll()
        self._poll.register(read_fd, select.POLLIN)
        begin = Begin(
            settings=settings.canonical_json(), level=level, venues=venues, database=database,
            folder=folder, without=without,
        )  # fmt: skip
        try:
            ready = self._ask(begin, "its start")
        except BaseException:  # also where somebody interrupts
            self.close()
            raise
        assert isinstance(ready, Ready)
        self._deadline = ready.deadline

    def step(self, item: Input) -> StepResult:
        """See `Kernel.step`.

        Raises:
            KernelLost: The process is gone, or its step raised.
        """
        return self._stepped(self._ask(Take(item), item))

    def _stepped(self, told: object) -> StepResult:
        assert isinstance(told, Stepped)
        self._deadline = told.deadline
        self.crashes += told.crashes
        return told.result

    def next_deadline(self) -> int | None:
        """See `Kernel.next_deadline`."""
        return self._deadline

    def state_digest(self) -> str:
        """See `Kernel.state_digest`."""
        told = self._ask(TellState(), "a question for its state")
        assert isinstance(told, State)
        return told.digest

    def store(self, asked: Apply | Load | Renew) -> Applied | Loaded:
        """Have its database asked, between two steps.

        Raises:
            StoreError: The database did not do it.
            LeaseHeld: Another instance has the lease.
            KernelLost: The process is gone.
        """
        return self._stored(self._ask(asked, f"its database ({type(asked).__name__})"))

    def _stored(self, told: object) -> Applied | Loaded:
        if isinstance(told, Broke):
            if told.holder:
                raise LeaseHeld(told.holder)
            raise _STORE_ERRORS.get(told.kind, StoreError)(told.reason)
        assert isinstance(told, Applied | Loaded)
        return told

    def die_at_commit(self, asked: Apply, meanwhile: Callable[[], None]) -> None:
        """Die while its database works on a commit; `meanwhile` runs before the end comes."""
        self._pipe.send(asked)
        meanwhile()
        self.close()

    def die_in(self, item: Input) -> None:
        """See `AnyKernel.die_in`: killed while it works, wherever that is."""
        self._pipe.send(Take(item))
        self.close()

    def close(self) -> None:
        """Kill it at once (SIGKILL) and wait until it is gone; what it still wrote is dropped."""
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            end.close()
        self._words.close()

    # ------------------------------------------------------------ inside

    def _ask(self, frame: object, about: Input | str) -> object:
        """Send a frame and hear what comes back."""
        try:
            self._pipe.send(frame)
        except PipeEnded as error:
            raise self._lost(about, silent=False) from error
        return self._heard(about)

    def _heard(self, about: Input | str) -> object:
        """Serve looks at prices, give what ends them."""
        pipe = self._pipe
        try:
            while True:
                if not pipe.has_more and not self._poll.poll(PATIENCE_S * 1000):
                    raise self._lost(about, silent=True)
                told = pipe.receive()
                if type(told) is not Look:
                    break
                pipe.send(self._answer(told))
        except PipeEnded as error:
            raise self._lost(about, silent=False) from error
        except msgspec.DecodeError as error:
            raise KernelLost(f"the kernel's process sent what cannot be read: {error}") from error
        if type(told) is Raised:
            raise KernelLost(f"the kernel ended at {_words(about)} with {told.kind}: {told.text}")
        return told

    def _answer(self, look: Look) -> object:
        prices = self._prices
        match look.method:
            case "last":
                return prices.last(look.venue, look.symbol, look.source)
            case "quote":
                return prices.quote(look.venue, look.symbol)
            case "extremes":
                return prices.extremes(look.venue, look.symbol, look.source, TsNs(look.ns))
            case _:
                return prices.candles(look.venue, look.symbol, look.source, look.ns, look.count)

    def _exit_code(self) -> int | None:
        """Wait until the process has ended by itself; None: it does not."""
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            return None

    def _last_words(self) -> str:
        self._words.seek(0)
        return self._words.read().decode("utf-8", "replace").strip()[-LAST_WORDS:]

    def _lost(self, about: Input | str, *, silent: bool) -> KernelLost:
        """What is known of an end that nobody ordered."""
        if silent:
            self._process.kill()
        code = self._process.wait()
        if silent:
            how = f"gave no answer for {PATIENCE_S} s and was killed"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended by itself with exit code {code}"
        words = self._last_words()
        tail = f"; its last words: {words}" if words else ""
        return KernelLost(
            f"the kernel's process {how} at {_words(about)}, and nobody had ordered it{tail}"
        )


def _words(about: Input | str) -> str:
    if isinstance(about, str):
        return about
    kind = type(about.body).__name__
    return f"input {about.seq} ({kind} {about.key}, {about.mono_ns / 1e9:.3f} s into its life)"
