"""How the tests drive a runtime."""

from kernel.runtime import Runtime


def run(rt: Runtime) -> None:
    """Step exactly at each deadline until nothing is left to do."""
    rt.run_ready()
    while (deadline := rt.next_deadline()) is not None:
        rt.set_time(max(deadline, rt.now()), max(deadline, rt.ts()))
        rt.fire_due(rt.now(), inclusive=True)


def step(rt: Runtime, stamp: int, act=None) -> None:
    """One step of the kernel: earlier timers, the input, the timers of this very instant."""
    rt.set_time(stamp, stamp)
    rt.fire_due(stamp, inclusive=False)
    if act is not None:
        act()
    rt.run_ready()
    rt.fire_due(stamp, inclusive=True)


def run_tasks(*functions, rt: Runtime | None = None) -> Runtime:
    """Spawn each `async def f(rt)` as a root task in this order and run to the end."""
    rt = rt or Runtime()
    for function in functions:
        rt.spawn(function(rt), function.__name__)
    run(rt)
    return rt


async def error_of(coro) -> Exception | None:
    """What a coroutine raises; None when it returns."""
    try:
        await coro
    except Exception as error:
        return error
    return None
