"""Task groups: children that end before their block does.

The block of a group ends when all its children ended. The first error, of a child or of the
block, cancels the others, in order of their creation, and is raised at the end of the block;
further errors are attached to it as notes and kept in `others`. An error outranks a cancellation.
"""

from __future__ import annotations

from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from kernel.runtime.core import Core, Task, park
from kernel.runtime.errors import Cancelled, RuntimeMisuse
from kernel.runtime.scopes import CancelScope


class TaskGroup:
    """`async with rt.group() as group: group.spawn(...)`.

    Attributes:
        scope: `group.scope.cancel()` cancels the block and all children.
    """

    __slots__ = ("_core", "_errors", "_members", "_open", "_owner", "scope")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.scope = CancelScope(core)
        self._members: dict[int, Task[Any]] = {}
        self._errors: list[BaseException] = []
        self._owner: Task[Any] | None = None  # while it waits for the children
        self._open = False

    @property
    def others(self) -> tuple[BaseException, ...]:
        """Errors after the first one, in the order in which they happened."""
        return tuple(self._errors[1:])

    def spawn[T](self, coro: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Start a child. Allowed until the block has ended, also from children.

        In a cancelled group the child runs until its first await and sees `Cancelled` there.

        Raises:
            RuntimeMisuse: The block has not begun or has ended.
        """
        if not self._open:
            coro.close()
            raise RuntimeMisuse(f"the group is not open: {name!r} cannot be spawned in it")
        task = self._core.spawn(coro, name, parent=self.scope, group=self)
        self._members[task.number] = task
        return task

    def child_ended(self, task: Task[Any]) -> None:
        """Called by the engine when a child is done."""
        del self._members[task.number]
        if task.error is not None:
            self._record(task.name, task.error)
        if self._owner is not None and not self._members:
            owner, self._owner = self._owner, None
            self._core.wake(owner, self._cancelled_outside())

    async def __aenter__(self) -> Self:
        self.scope.__enter__()
        self.scope.members = self._members
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is not None and not isinstance(error, (Exception, Cancelled)):
            self._open = False
            self.scope.__exit__(kind, error, trace)
            return False
        if isinstance(error, Exception):
            self._record("the block", error)
        cancelled_outside = self._cancelled_outside()
        while self._members:
            self._owner = self._core.running()
            cancelled_outside = await park()
        self._open = False
        if self._errors:
            first = self._errors[0]
            self.scope.__exit__(type(first), first, None)
            if first is error:
                return False
            _raise_unchanged(first)
        absorbed = self.scope.__exit__(kind, error, trace)
        if error is None and cancelled_outside:
            raise Cancelled
        return absorbed

    def _cancelled_outside(self) -> bool:
        return self.scope.parent is not None and self.scope.parent.effective

    def _record(self, name: str, error: BaseException) -> None:
        if self._errors and error is not self._errors[0]:
            self._errors[0].add_note(f"also failed, in {name}: {error!r}")
        self._errors.append(error)
        self.scope.cancel()


def _raise_unchanged(error: BaseException) -> None:
    """Raise an error that happened elsewhere, without making the present one its context."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
