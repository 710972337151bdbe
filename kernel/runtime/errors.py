"""What the runtime raises.

`Cancelled` and `RuntimeClosed` are not `Exception`s: a handler for failures must not catch them.
"""

from __future__ import annotations

from kernel.errors import InvariantViolation, KernelError


class Cancelled(BaseException):
    """The innermost scope of this task, or one around it, was cancelled.

    Raised at an await. Never catch it without raising it again: the scope that was cancelled
    absorbs it, and until then every further await raises it again.
    """


class RuntimeClosed(BaseException):
    """This runtime was cut off from the world: nothing that it started may go on."""


class TimedOut(KernelError):
    """The deadline of a `timeout` passed before its block ended."""


class TaskCancelled(KernelError):
    """The task whose result was asked for has none, because its scope was cancelled."""


class FutureAbandoned(KernelError):
    """Nobody can await this future any more: its last waiter was cancelled."""


class ChannelFull(KernelError):
    """The channel holds as many items as it may."""


class ChannelEmpty(KernelError):
    """The channel holds no item."""


class ChannelClosed(KernelError):
    """The channel takes no item any more, and those that it took are consumed."""


class RestartsExhausted(KernelError):
    """A supervised task failed once more than it may be restarted; the cause is its last error."""


class RuntimeMisuse(InvariantViolation):
    """The runtime was used in a way that it cannot keep its promises for: a bug of the caller."""


class TaskCrashed(InvariantViolation):
    """A root task that nobody supervises ended with the error that is the cause of this one."""


class Livelock(InvariantViolation):
    """Tasks kept each other busy for too long within one step: time would never move again."""


class Spinning(BaseException):
    """Ends a task in the middle of a livelock; leaves the runtime as `Livelock`."""
