"""A kernel in a process of its own that its parent freezes: SIGSTOP, SIGCONT, and how it ended."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NamedTuple

from kernel.model.messages import Input, StepResult
from scenarios.frames import Applied, At, Go, Hold, Loaded, Part
from scenarios.holds import Place
from scenarios.isolated import IsolatedKernel
from scenarios.kernels import KernelLost

TERMINATED = 128 + signal.SIGTERM


class Standing(Exception):
    """The process stands still; what it was asked for comes when it goes on.

    Attributes:
        place: Where.
    """

    def __init__(self, place: str) -> None:
        super().__init__(f"the kernel's process stands still: {place}")
        self.place = Place(place)


class Ending(NamedTuple):
    """How a process ended by itself."""

    code: int
    words: str


class StoppableKernel(IsolatedKernel):
    """See `IsolatedKernel`; a step or a call of its database may raise `Standing`.

    Attributes:
        left: Of the interrupted step, what left before the process stood still.
        about: The interrupted input, or words for something else.
    """

    left: StepResult | None = None
    about: Input | str = ""

    def hold(self, place: Place, nth: int, calls: int = 0) -> None:
        """Have it stand still at the n-th such place from now on; `nth` 0: nowhere any more."""
        self._pipe.send(Hold(place=place.value, nth=nth, calls=calls))

    def stop(self) -> None:
        """Freeze it, and wait until it stands."""
        self._process.send_signal(signal.SIGSTOP)
        waited = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if waited is None or waited.si_code != os.CLD_STOPPED:
            raise self._lost("its freeze", silent=False)

    def go_on(self) -> None:
        """Let it go on from where it stands."""
        self._process.send_signal(signal.SIGCONT)

    def rest_of_step(self) -> StepResult:
        """What the interrupted step gives."""
        return self._stepped(self._heard(self.about))

    def rest_of_store(self) -> Applied | Loaded:
        """What the interrupted call of its database gives. See `IsolatedKernel.store`."""
        return self._stored(self._heard(self.about))

    def ended(self) -> Ending:
        """Wait until it has ended by itself.

        Raises:
            KernelLost: It did not.
        """
        code = self._exit_code()
        if code is None:
            raise KernelLost("the kernel stopped, and its process goes on")
        return Ending(code, self._last_words())

    def _heard(self, about: Input | str) -> object:
        told = super()._heard(about)
        while type(told) is Part:
            self.left = told.result
            told = super()._heard(about)
        if type(told) is At:
            self.about = about
            self.stop()
            self._pipe.send(Go())
            raise Standing(told.place)
        return told


def end_in_order() -> None:
    """SIGTERM ends this process by an exit, so that its processes and servers end on the way."""
    signal.signal(signal.SIGTERM, _end)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)
