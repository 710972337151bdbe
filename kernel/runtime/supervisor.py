"""Supervision: a failure ends one task, not the process.

A supervised task that fails is reported, and restarted from its factory after a back-off, at most
so many times. Only an error of the report itself, or of the runtime, goes further.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from kernel.runtime.core import Core, park
from kernel.runtime.errors import RestartsExhausted

type OnFailure = Callable[[str, BaseException, int], None]
"""Called with (name, error, how many failures so far)."""


async def supervised(
    core: Core,
    factory: Callable[[], Coroutine[Any, Any, object]],
    name: str,
    *,
    on_failure: OnFailure,
    backoff_ns: Sequence[int],
    max_restarts: int,
    forgive_after_ns: int | None,
) -> None:
    """Run what the factory makes until it returns, is cancelled, or has failed too often.

    Raises:
        RestartsExhausted: The last permitted restart failed too; `on_failure` was called for it.
    """
    failures = 0
    while True:
        started_ns = core.mono_ns
        try:
            await factory()
        except Exception as error:
            if forgive_after_ns is not None and core.mono_ns - started_ns >= forgive_after_ns:
                failures = 0
            failures += 1
            on_failure(name, error, failures)
            if failures > max_restarts:
                raise RestartsExhausted(f"{name!r} failed {failures} times") from error
        else:
            return
        pause_ns = backoff_ns[min(failures, len(backoff_ns)) - 1] if backoff_ns else 0
        core.sleep(core.mono_ns + pause_ns)
        await park()
