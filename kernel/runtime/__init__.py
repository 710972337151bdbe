"""The kernel's own scheduler: tasks, timers, cancel scopes, locks and channels on virtual time.

It takes the place of asyncio inside the kernel, so that the same inputs always run the same
coroutines in the same order. `Runtime` is the door to everything; the other names are for
annotations and `except` clauses. The semantics are in docs/runtime-semantics.md.
"""

from kernel.runtime.channels import Channel
from kernel.runtime.core import Task
from kernel.runtime.errors import (
    Cancelled,
    ChannelClosed,
    ChannelEmpty,
    ChannelFull,
    FutureAbandoned,
    Livelock,
    RestartsExhausted,
    RuntimeClosed,
    RuntimeMisuse,
    TaskCancelled,
    TaskCrashed,
    TimedOut,
)
from kernel.runtime.groups import TaskGroup
from kernel.runtime.primitives import Event, Future, Lock, Semaphore
from kernel.runtime.scheduler import Runtime
from kernel.runtime.scopes import CancelScope
from kernel.runtime.ticker import Ticker
from kernel.runtime.timers import TimerHandle

__all__ = [
    "CancelScope",
    "Cancelled",
    "Channel",
    "ChannelClosed",
    "ChannelEmpty",
    "ChannelFull",
    "Event",
    "Future",
    "FutureAbandoned",
    "Livelock",
    "Lock",
    "RestartsExhausted",
    "Runtime",
    "RuntimeClosed",
    "RuntimeMisuse",
    "Semaphore",
    "Task",
    "TaskCancelled",
    "TaskCrashed",
    "TaskGroup",
    "Ticker",
    "TimedOut",
    "TimerHandle",
]
