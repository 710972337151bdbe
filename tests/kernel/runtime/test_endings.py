"""How tasks and runtimes end: results, crashes, and the simulated death of a kernel."""

import gc
from typing import Any

import pytest

from kernel.runtime import Cancelled, Channel, Runtime, RuntimeClosed, TaskCrashed, TimedOut
from tests.kernel.runtime.driving import run, step


def test_a_task_keeps_its_result():
    rt = Runtime()

    async def answer():
        await rt.sleep(3)
        return 42

    task = rt.spawn(answer(), "answer")
    waited: list[Any] = []

    async def waiter():
        await task.wait()
        waited.append((rt.now(), task.result()))

    rt.spawn(waiter(), "waiter")
    run(rt)
    assert waited == [(3, 42)]
    assert (task.done, task.cancelled, task.name, task.number) == (True, False, "answer", 1)


def test_an_error_of_a_root_task_is_a_crash_and_the_others_can_go_on():
    rt = Runtime()
    order: list[Any] = []

    async def crashing():
        await rt.sleep(1)
        raise ValueError("a bug")

    async def sleeper(name):
        await rt.sleep(1)
        order.append(name)

    rt.spawn(sleeper("before"), "before")
    crashed = rt.spawn(crashing(), "crashing")
    rt.spawn(sleeper("after"), "after")
    rt.run_ready()
    rt.set_time(1, 1)
    with pytest.raises(TaskCrashed, match=r"task 'crashing' crashed: ValueError\('a bug'\)") as got:
        rt.fire_due(1, inclusive=True)
    assert isinstance(got.value.__cause__, ValueError)
    assert order == ["before"]
    rt.fire_due(1, inclusive=True)
    assert order == ["before", "after"]
    with pytest.raises(ValueError, match="a bug"):
        crashed.result()


def test_those_who_wait_for_a_crashed_task_are_told():
    rt = Runtime()

    async def crashing():
        await rt.sleep(1)
        raise ValueError("a bug")

    crashed = rt.spawn(crashing(), "crashing")
    waiter = rt.spawn(crashed.wait(), "waiter")
    rt.run_ready()
    rt.set_time(1, 1)
    with pytest.raises(TaskCrashed):
        rt.fire_due(1, inclusive=True)
    rt.run_ready()
    assert waiter.done


def test_an_interrupt_of_the_process_passes_through():
    rt = Runtime()

    async def interrupted():
        async with rt.group() as group:
            group.spawn(child(), "child")

    async def child():
        raise KeyboardInterrupt

    rt.spawn(interrupted(), "interrupted")
    with pytest.raises(KeyboardInterrupt):
        rt.run_ready()
    rt.close()


def test_a_closed_runtime_runs_nothing_any_more():
    rt = Runtime()
    reached: list[Any] = []

    async def sleeper():
        await rt.sleep(1)
        reached.append("slept")

    async def ready():
        await rt.checkpoint()
        reached.append("ready")

    rt.spawn(sleeper(), "sleeper")
    rt.run_ready()
    rt.call_at(0, lambda: reached.append("timer"))
    rt.spawn(ready(), "ready")
    rt.close()
    rt.close()
    assert (rt.closed, rt.tasks, rt.next_deadline()) == (True, (), None)
    unborn = sleeper()
    for call in (
        rt.run_ready,
        lambda: rt.set_time(1, 1),
        lambda: rt.fire_due(0, inclusive=True),
        lambda: rt.call_at(0, rt.close),
        lambda: rt.spawn(unborn, "unborn"),
    ):
        with pytest.raises(RuntimeClosed):
            call()
    assert not reached


def test_closing_cuts_the_runtime_off_before_it_closes_the_tasks():
    rt = Runtime()
    outside: list[Any] = []
    order: list[Any] = []
    lock, event = rt.lock(), rt.event()
    channel: Channel[Any] = rt.channel()

    async def roll_back(name):
        """What a task tries when it ends, and what it gets."""
        order.append(name)
        attempts = (
            rt.sleep(1), rt.checkpoint(), event.wait(), channel.put("order"), lock.acquire()
        )  # fmt: skip
        for attempt in attempts:
            try:
                await attempt
            except RuntimeClosed:
                continue
            outside.append(attempt)
        with rt.shield():
            outside.append("a shield opened")

    async def task(name):
        try:
            async with lock, rt.group() as group:
                group.spawn(rt.sleep(10), f"child of {name}")
                with rt.timeout(100):
                    await rt.event().wait()
        finally:
            event.set()
            channel.close()
            await roll_back(name)

    async def waiter(name):
        try:
            async with rt.semaphore(1), lock:
                outside.append("the lock was handed over")
        except (Exception, Cancelled) as error:
            outside.append(error)
        finally:
            await roll_back(name)

    rt.spawn(task("first"), "first")
    rt.spawn(waiter("second"), "second")
    rt.spawn(waiter("third"), "third")
    rt.run_ready()
    rt.close()
    assert order == ["first", "second", "third"]
    assert not outside


def test_a_task_that_closes_its_runtime_ends_at_its_next_await():
    rt = Runtime()
    order: list[Any] = []

    async def other():
        try:
            await rt.sleep(10)
        finally:
            order.append("other closed")

    async def suicidal():
        try:
            order.append("before")
            rt.close()
            order.append("still running")
            await rt.checkpoint()
            order.append("not reached")
        finally:
            order.append("own cleanup")

    rt.spawn(other(), "other")
    rt.run_ready()
    rt.spawn(suicidal(), "suicidal")
    rt.spawn(suicidal(), "never started")
    rt.run_ready()
    assert order == ["before", "still running", "own cleanup", "other closed"]
    assert rt.tasks == ()


def test_a_timer_may_close_the_runtime():
    rt = Runtime()
    fired: list[Any] = []

    async def sleeper():
        await rt.sleep(5)
        fired.append("slept")

    rt.spawn(sleeper(), "sleeper")
    rt.call_at(5, rt.close)
    rt.call_at(5, lambda: fired.append("later timer"))
    rt.set_time(5, 5)
    rt.fire_due(5, inclusive=True)
    assert rt.closed
    assert not fired


def test_a_runtime_that_is_thrown_away_makes_no_noise():
    """Else each test and each dead kernel would have to be closed to keep the log clean."""

    def abandon():
        rt = Runtime()
        lock = rt.lock()

        async def task():
            async with lock, rt.group() as group:
                group.spawn(rt.event().wait(), "child")
                with rt.timeout(10), rt.shield():
                    await rt.future()

        rt.spawn(task(), "task")
        rt.spawn(task(), "blocked")
        rt.run_ready()
        return len(rt.tasks)

    assert abandon() == 3
    gc.collect()  # pytest turns what a finalizer raises into a failure


def test_a_task_that_nobody_holds_stays_alive():
    rt = Runtime()
    done: list[Any] = []

    async def forgotten():
        await rt.future()

    async def sleeper():
        await rt.sleep(5)
        done.append(rt.now())

    rt.spawn(forgotten(), "forgotten")
    rt.spawn(sleeper(), "sleeper")
    rt.run_ready()
    gc.collect()
    run(rt)
    assert done == [5]
    assert [task.name for task in rt.tasks] == ["forgotten"]
    rt.close()


def test_a_timeout_that_was_running_at_the_close_raises_nothing():
    rt = Runtime()
    seen: list[Any] = []

    async def task():
        try:
            with rt.timeout(5), rt.scope() as scope:
                scope.cancel()
                with rt.shield():
                    await rt.sleep(100)
        except TimedOut:
            seen.append("timed out")

    rt.spawn(task(), "task")
    step(rt, 6)
    rt.close()
    assert not seen
