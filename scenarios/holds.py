"""Where the process of an isolated kernel is to stand still: its own side of a freeze.

The parent says where (`Hold`). There the process says `At` and waits for `Go`, which it finds when
it is continued: the parent stops it meanwhile (SIGSTOP), in the middle of whatever it does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from types import FrameType
from typing import Any

import msgspec

from kernel.model.messages import Effect, HttpRequest, StoreCommit, VenueCall
from kernel.model.units import MS
from kernel.model.venue import EffectClass
from scenarios import frames
from scenarios.frames import At, Go, Hold, Pipe, PipeEnded

SILENCE_NS = 500 * MS
"""So long, in real time, the database bears a transaction in which an instance says nothing."""


class Place(StrEnum):
    """Where a process stands still."""

    IDLE = "idle"
    """Between two steps."""
    COMPUTING = "computing"
    """In a step: the clock is read; the lease is looked at, or will be; nothing has left."""
    COMPUTED = "computed"
    """At the end of a step, of which nothing has left."""
    SIGNED = "signed"
    """An order, a stop or a cancel is signed and has not left; what came before it has."""
    COMMITTING = "committing"
    """In a commit to the database: asked for, open, or done and not known to be."""
    COMMITTED = "committed"
    """The database has answered to a commit, the kernel has not heard."""
    RENEWING = "renewing"
    """In the renewal of the lease."""
    RENEWED = "renewed"
    """The database has answered to a renewal, the kernel has not heard."""


_AFTER = {
    Place.COMPUTING: Place.COMPUTED,
    Place.COMMITTING: Place.COMMITTED,
    Place.RENEWING: Place.RENEWED,
}


class Holds:
    """The place at which this process is to stand still, if any.

    Args:
        pipe: To the parent.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._hold: Hold | None = None

    def take(self, hold: Hold) -> None:
        """Stand still there, instead of anywhere else."""
        self._hold = hold if hold.nth else None

    def during[T](self, place: Place, work: Callable[[], T]) -> T:
        """Do some work; where it is the one, stand still in it, or at its end at the latest."""
        hold = self._due(place)
        if hold is None:
            return work()
        left = hold.calls

        def count(frame: FrameType, event: str, _arg: Any) -> None:
            nonlocal left
            own = frame.f_code.co_filename == frames.__file__  # a question is out: not there
            if own or event not in ("call", "c_call"):
                return
            left -= 1
            if left < 0:
                sys.setprofile(None)
                self._stand(place)

        sys.setprofile(count)
        try:
            return work()
        finally:
            sys.setprofile(None)
            if left >= 0:
                self._stand(_AFTER[place])

    def before(self, effects: Sequence[Effect]) -> int | None:
        """How many of a step's effects leave before it stands still; None: it does not.

        `stand` then.
        """
        for place, effect in enumerate(effects):
            if signed(effect) and self._due(Place.SIGNED) is not None:
                return place
        return None

    def stand(self) -> None:
        """Stand still with a signed request in the hand."""
        self._stand(Place.SIGNED)

    def _due(self, place: Place) -> Hold | None:
        hold = self._hold
        if hold is None or hold.place != place:
            return None
        if hold.nth > 1:
            self._hold = msgspec.structs.replace(hold, nth=hold.nth - 1)
            return None
        self._hold = None
        return hold

    def _stand(self, place: Place) -> None:
        self._pipe.send(At(place.value))
        told = self._pipe.receive()
        if not isinstance(told, Go):
            raise PipeEnded(f"{type(told).__name__} is out of step")


def signed(effect: Effect) -> bool:
    """Whether an effect is an order, a stop or a cancel."""
    return (
        isinstance(effect.body, VenueCall | HttpRequest) and effect.cls is not EffectClass.QUERY
    )


def matters(effect: Effect) -> bool:
    """Whether an effect is an order, a stop, a cancel or a commit."""
    return type(effect.body) is StoreCommit or signed(effect)
