"""Channels: items from task to task, first in, first out.

An item is at every instant in exactly one place: with the putter, in the buffer, or delivered to
a getter. A getter that is cancelled before delivery took nothing; a putter that is cancelled
before its item was taken has put nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Self

from kernel.runtime.core import Core, Task, park
from kernel.runtime.errors import ChannelClosed, ChannelEmpty, ChannelFull


class Channel[T]:
    """A queue between tasks.

    Args:
        core: The engine.
        capacity: Items that fit into the buffer; None = any number, 0 = hand to hand only.
    """

    __slots__ = ("_core", "_getters", "_items", "_putters", "capacity", "closed")

    def __init__(self, core: Core, capacity: int | None = None) -> None:
        if capacity is not None and capacity < 0:
            raise ValueError(f"the capacity of a channel is None or at least 0, not {capacity}")
        self._core = core
        self.capacity = capacity
        self.closed = False
        self._items: deque[T] = deque()
        self._getters: deque[Task[Any]] = deque()
        self._putters: deque[tuple[Task[Any], T]] = deque()

    def __len__(self) -> int:
        """Items in the buffer; what waiting putters hold doesn't count."""
        return len(self._items)

    def put_nowait(self, item: T) -> None:
        """Put an item without waiting. Not a cancellation point.

        Raises:
            ChannelFull: There is no room and no waiting getter.
            ChannelClosed: The channel was closed.
        """
        if not self._accept(item):
            raise ChannelFull(f"the channel holds {self.capacity} items already")

    async def put(self, item: T) -> None:
        """Put an item, waiting for room when needed.

        Raises:
            ChannelClosed: The channel was closed, before or while waiting: nothing was put.
        """
        task = self._core.enter()
        if self._accept(item):
            return
        self._putters.append((task, item))
        task.abort = self._withdraw
        await park()

    def get_nowait(self) -> T:
        """Take the first item without waiting. Not a cancellation point.

        Raises:
            ChannelEmpty: There is none.
            ChannelClosed: There is none and there will be none.
        """
        if self._items:
            item = self._items.popleft()
            if self._putters:
                putter, held = self._putters.popleft()
                self._items.append(held)
                self._core.wake(putter)
            return item
        if self._putters:  # capacity 0: from hand to hand
            putter, item = self._putters.popleft()
            self._core.wake(putter)
            return item
        if self.closed:
            raise ChannelClosed("the channel was closed and everything in it was taken")
        raise ChannelEmpty("the channel holds no item")

    async def get(self) -> T:
        """Take the first item, waiting for one when needed.

        Raises:
            ChannelClosed: There is none and there will be none.
        """
        task = self._core.enter()
        if self._items or self._putters or self.closed:
            return self.get_nowait()
        self._getters.append(task)
        task.abort = self._getters.remove
        item: T = await park()
        return item

    async def get_until(self, mono_ns: int) -> T | None:
        """Take the first item, waiting for one at most until an instant; None: it came first.

        Raises:
            ChannelClosed: There is none and there will be none.
        """
        task = self._core.enter()
        if self._items or self._putters or self.closed:
            return self.get_nowait()
        getters = self._getters
        timer = self._core.timers.add(mono_ns, lambda: self._give_up(task))
        getters.append(task)

        def abort(_: Task[Any]) -> None:
            timer.cancel()
            getters.remove(task)

        task.abort = abort
        try:
            item: T | None = await park()
        finally:
            timer.cancel()
        return item

    def _give_up(self, task: Task[Any]) -> None:
        if task in self._getters:  # else an item was delivered at this very instant
            self._getters.remove(task)
            self._core.wake(task)

    def close(self) -> None:
        """Accept nothing more. What is in the buffer can still be taken.

        Waiting getters and putters get `ChannelClosed`. Closing again does nothing.
        """
        self.closed = True
        while self._getters:
            self._core.wake_error(self._getters.popleft(), _closed())
        while self._putters:
            self._core.wake_error(self._putters.popleft()[0], _closed())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Take the next item; the loop ends when the channel is closed and drained."""
        try:
            return await self.get()
        except ChannelClosed:
            raise StopAsyncIteration from None

    def _accept(self, item: T) -> bool:
        """Hand the item to the first getter or store it; False when there is no room."""
        if self.closed:
            raise _closed()
        if self._getters:
            self._core.wake(self._getters.popleft(), item)
            return True
        if self.capacity is None or len(self._items) < self.capacity:
            self._items.append(item)
            return True
        return False

    def _withdraw(self, task: Task[Any]) -> None:
        for index, (putter, _) in enumerate(self._putters):
            if putter is task:
                del self._putters[index]
                return


def _closed() -> ChannelClosed:
    return ChannelClosed("the channel was closed: it takes no item any more")
