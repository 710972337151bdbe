from typing import Any

import pytest

from kernel.runtime import Channel, Livelock, Runtime, RuntimeMisuse, TaskCrashed
from tests.kernel.runtime.driving import run, run_tasks


def test_ready_tasks_run_first_in_first_out():
    rt = Runtime()
    order: list[Any] = []

    async def worker(name):
        for turn in range(2):
            order.append((name, turn))
            await rt.checkpoint()

    for name in "abc":
        rt.spawn(worker(name), name)
    rt.run_ready()
    assert order == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("c", 1)]


def test_a_spawned_task_starts_when_its_turn_comes():
    order: list[Any] = []

    async def child():
        order.append("child")

    async def parent(rt):
        rt.spawn(child(), "child")
        order.append("parent")

    async def other(rt):
        order.append("other")

    run_tasks(parent, other)
    assert order == ["parent", "other", "child"]


def test_an_await_that_has_what_it_needs_does_not_switch():
    order: list[Any] = []

    async def first(rt):
        event, lock, channel, future = rt.event(), rt.lock(), rt.channel(), rt.future()
        event.set()
        future.set_result(1)
        await event.wait()
        await future
        async with lock, rt.semaphore(1):
            await channel.put(1)
        await channel.get()
        async with rt.group():
            pass
        order.append("first")

    async def second(rt):
        order.append("second")

    run_tasks(first, second)
    assert order == ["first", "second"]


def test_a_checkpoint_lets_every_ready_task_go_first():
    order: list[Any] = []

    async def first(rt):
        await rt.checkpoint()
        order.append("first")

    async def second(rt):
        order.append("second")

    async def third(rt):
        order.append("third")

    run_tasks(first, second, third)
    assert order == ["second", "third", "first"]


def test_an_endless_exchange_within_one_step_is_a_livelock():
    rt = Runtime(turn_limit=1000)

    async def busy(name):
        while True:
            await rt.checkpoint()

    rt.spawn(busy("a"), "ping")
    rt.spawn(busy("b"), "pong")
    with pytest.raises(Livelock, match="1000 turns at 0 ns; busy: ping, pong"):
        rt.run_ready()
    rt.close()


def test_a_loop_of_awaits_that_never_switch_is_a_livelock():
    rt = Runtime(turn_limit=1000)
    event = rt.event()
    event.set()

    async def spinning():
        while True:
            try:
                await event.wait()
            except Exception:
                raise AssertionError("a livelock must not look like a failure") from None

    rt.spawn(spinning(), "spinning")
    with pytest.raises(Livelock, match="busy: spinning"):
        rt.run_ready()
    rt.close()


def test_tasks_that_spawn_each_other_without_end_are_a_livelock():
    rt = Runtime(turn_limit=1000)

    async def fertile():
        rt.spawn(fertile(), "fertile")

    rt.spawn(fertile(), "fertile")
    with pytest.raises(Livelock, match="busy: fertile"):
        rt.run_ready()
    rt.close()


def test_a_timer_that_sets_itself_again_at_the_same_instant_is_a_livelock():
    rt = Runtime(turn_limit=1000)

    def again():
        rt.call_at(0, again)

    again()
    with pytest.raises(Livelock, match="busy: timers only"):
        rt.fire_due(0, inclusive=True)


def test_timers_that_never_let_time_move_are_a_livelock():
    rt = Runtime(turn_limit=1000)

    async def sleepy():
        while True:
            await rt.sleep(0)

    rt.spawn(sleepy(), "sleepy")
    with pytest.raises(Livelock):
        rt.fire_due(0, inclusive=True)
    rt.close()


def test_the_livelock_bound_starts_anew_with_each_step():
    rt = Runtime(turn_limit=50)
    turns = 0

    async def worker():
        nonlocal turns
        for _ in range(10):
            for _ in range(20):
                await rt.checkpoint()
                turns += 1
            await rt.sleep(1)

    rt.spawn(worker(), "worker")
    run(rt)
    assert turns == 200


def test_only_what_the_runtime_offers_can_be_awaited():
    class Foreign:
        def __await__(self):
            yield "a promise of somebody else"

    async def lost(rt):
        await Foreign()

    with pytest.raises(TaskCrashed) as crash:
        run_tasks(lost)
    assert isinstance(crash.value.__cause__, RuntimeMisuse)
    assert "awaited something foreign (str)" in str(crash.value.__cause__)


def test_two_runtimes_never_interact():
    def program(rt, trace):
        channel: Channel[Any] = rt.channel(1)

        async def producer():
            for item in range(5):
                await channel.put(item)
                await rt.sleep(3)

        async def consumer():
            async for item in channel:
                trace.append((rt.now(), item))

        rt.spawn(producer(), "producer")
        rt.spawn(consumer(), "consumer")

    alone: list[Any] = []
    rt = Runtime()
    program(rt, alone)
    run(rt)
    rt.close()

    first, second = Runtime(), Runtime()
    traces: tuple[list[Any], list[Any]] = ([], [])
    program(first, traces[0])
    program(second, traces[1])
    for stamp in range(20):
        for rt in (first, second):
            rt.set_time(stamp, stamp)
            rt.fire_due(stamp, inclusive=True)
    assert traces == (alone, alone)
    first.close()
    second.close()


def test_what_belongs_to_another_runtime_cannot_be_awaited():
    other = Runtime()

    async def stranger(rt):
        with pytest.raises(RuntimeMisuse, match="task of this runtime"):
            await other.event().wait()
        with pytest.raises(RuntimeMisuse, match="task of this runtime"), other.scope():
            pass

    assert not run_tasks(stranger).tasks


def test_a_task_cannot_drive_its_own_runtime():
    async def driver(rt):
        for call in (rt.run_ready, lambda: rt.set_time(1, 1), lambda: rt.fire_due(0, True)):
            with pytest.raises(RuntimeMisuse, match="for the driver"):
                call()

    assert not run_tasks(driver).tasks


def test_tasks_lists_what_is_not_done_in_order_of_creation():
    rt = Runtime()

    async def wait(duration):
        await rt.sleep(duration)

    for name, duration in (("c", 5), ("a", 1), ("b", 9)):
        rt.spawn(wait(duration), name)
    rt.run_ready()
    assert [task.name for task in rt.tasks] == ["c", "a", "b"]
    rt.set_time(5, 5)
    rt.fire_due(5, inclusive=True)
    assert [task.name for task in rt.tasks] == ["b"]
    run(rt)
