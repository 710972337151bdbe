"""What the runtime costs: nanoseconds for each operation, best of five.

Run: .venv/bin/python -m benchmarks.runtime
"""

import gc
import time
from collections.abc import Callable
from functools import partial

from kernel.runtime import Channel, Future, Runtime

OPERATIONS = 100_000


def switch(rt: Runtime) -> None:
    """200 tasks take turns."""

    async def worker() -> None:
        for _ in range(OPERATIONS // 200):
            await rt.checkpoint()

    for number in range(200):
        rt.spawn(worker(), f"{number}")


def sleep(rt: Runtime) -> None:
    """200 tasks sleep; every wake-up is a step of its own."""

    async def worker(number: int) -> None:
        for _ in range(OPERATIONS // 200):
            await rt.sleep(1000 + number)

    for number in range(200):
        rt.spawn(worker(number), f"{number}")


def hand_over(rt: Runtime) -> None:
    """Items from one task to another through a channel of one."""
    channel: Channel[int] = rt.channel(1)

    async def putter() -> None:
        for item in range(OPERATIONS):
            await channel.put(item)
        channel.close()

    async def getter() -> None:
        async for _ in channel:
            pass

    rt.spawn(putter(), "putter")
    rt.spawn(getter(), "getter")


def lock(rt: Runtime) -> None:
    """A lock that is free."""
    free = rt.lock()

    async def worker() -> None:
        for _ in range(OPERATIONS):
            async with free:
                pass

    rt.spawn(worker(), "worker")


def timeout(rt: Runtime) -> None:
    """A time-out that does not fire."""

    async def worker() -> None:
        for _ in range(OPERATIONS):
            with rt.timeout(1000):
                pass

    rt.spawn(worker(), "worker")


def request(rt: Runtime) -> None:
    """A future awaited inside a time-out and answered by a timer."""

    async def worker() -> None:
        for _ in range(OPERATIONS):
            future: Future[int] = rt.future()
            rt.call_at(rt.now() + 5, partial(future.set_result, 1))
            with rt.timeout(1000):
                await future

    rt.spawn(worker(), "worker")


def child(rt: Runtime) -> None:
    """Children of groups of ten that end at once."""

    async def nothing() -> None:
        return

    async def worker() -> None:
        for _ in range(OPERATIONS // 10):
            async with rt.group() as group:
                for _ in range(10):
                    group.spawn(nothing(), "child")

    rt.spawn(worker(), "worker")


def measure(program: Callable[[Runtime], None]) -> float:
    """Nanoseconds for one operation of a program."""
    rt = Runtime(turn_limit=10 * OPERATIONS)
    program(rt)
    begin = time.perf_counter_ns()
    rt.run_ready()
    while (deadline := rt.next_deadline()) is not None:
        rt.set_time(deadline, deadline)
        rt.fire_due(deadline, inclusive=True)
    return (time.perf_counter_ns() - begin) / OPERATIONS


def main() -> None:
    gc.disable()
    for program in (switch, sleep, hand_over, lock, timeout, request, child):
        best = min(measure(program) for _ in range(5))
        print(f"{program.__name__:<10} {best:>6.0f} ns  {program.__doc__}")


if __name__ == "__main__":
    main()
