from typing import Any

import pytest

from kernel.runtime import Future, FutureAbandoned, Runtime, RuntimeMisuse, TimedOut
from tests.kernel.runtime.driving import error_of, run, run_tasks, step


def test_an_event_wakes_every_waiter_in_the_order_in_which_they_came():
    rt = Runtime()
    event = rt.event()
    order: list[Any] = []

    async def waiter(name):
        await event.wait()
        order.append((name, event.is_set))

    for name in "bac":
        rt.spawn(waiter(name), name)
    rt.run_ready()
    assert not order
    event.set()
    event.clear()
    rt.run_ready()
    assert order == [("b", False), ("a", False), ("c", False)]


def contenders(make, enter):
    """Tasks that come for `make(rt)` while it is taken: the order in which they get it."""
    order: list[Any] = []
    shared: list[Any] = []

    async def holder(rt):
        shared.append(make(rt))
        async with shared[0]:
            await rt.sleep(5)
        # Free only for a moment: it was handed over, nobody can take it in between.
        order.append(("free at release", enter(shared[0])))

    async def contender(rt, name, patience):
        try:
            with rt.timeout(patience):
                async with shared[0]:
                    order.append(name)
        except TimedOut:
            order.append(f"{name} gave up")

    async def main(rt):
        async with rt.group() as group:
            group.spawn(holder(rt), "holder")
            for name, patience in (("a", 3), ("b", 100), ("c", 4), ("d", 100)):
                group.spawn(contender(rt, name, patience), name)

    run_tasks(main)
    return order


def test_a_lock_is_handed_over_first_come_first_served_skipping_who_gave_up():
    order = contenders(lambda rt: rt.lock(), lambda lock: lock.try_acquire())
    assert order == ["a gave up", "c gave up", ("free at release", False), "b", "d"]


def test_a_semaphore_is_handed_over_first_come_first_served_skipping_who_gave_up():
    order = contenders(lambda rt: rt.semaphore(1), lambda semaphore: semaphore.free)
    assert order == ["a gave up", "c gave up", ("free at release", 0), "b", "d"]


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
def test_what_was_handed_over_to_a_task_that_is_then_cancelled_is_not_lost(kind):
    rt = Runtime()
    shared = rt.lock() if kind == "lock" else rt.semaphore(1)
    order: list[Any] = []

    async def holder():
        async with shared:
            await rt.sleep(5)
        second.scope.cancel()

    async def contender(name):
        async with shared:
            order.append(f"{name} has it")
            await rt.checkpoint()
            order.append(f"{name} goes on")

    rt.spawn(holder(), "holder")
    second = rt.spawn(contender("second"), "second")
    rt.spawn(contender("third"), "third")
    run(rt)
    assert order == ["second has it", "third has it", "third goes on"]


def test_leaving_a_lock_is_no_cancellation_point():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            lock, semaphore = rt.lock(), rt.semaphore(1)
            async with lock, semaphore:
                scope.cancel()
            seen.append((lock.locked, semaphore.free))

    run_tasks(main)
    assert seen == [(False, 1)]


def test_a_lock_belongs_to_the_task_that_took_it():
    rt = Runtime()
    lock = rt.lock()

    async def owner():
        async with lock:
            assert not lock.try_acquire()
            with pytest.raises(RuntimeMisuse, match="'owner' has this lock already"):
                await lock.acquire()
            await rt.sleep(5)

    async def thief():
        with pytest.raises(RuntimeMisuse, match="only the task that has the lock"):
            lock.release()

    rt.spawn(owner(), "owner")
    rt.spawn(thief(), "thief")
    run(rt)
    assert not lock.locked


def test_a_semaphore_admits_as_many_as_it_has_permits():
    inside: list[Any] = []
    most: list[Any] = []

    async def main(rt):
        semaphore = rt.semaphore(3)

        async def worker(n):
            async with semaphore:
                inside.append(n)
                most.append(len(inside))
                await rt.sleep(n)
                inside.remove(n)

        async with rt.group() as group:
            for n in range(1, 9):
                group.spawn(worker(n), f"{n}")
        with pytest.raises(RuntimeMisuse, match="released more often"):
            semaphore.release()

    run_tasks(main)
    assert (max(most), len(most), inside) == (3, 8, [])


def test_a_semaphore_needs_a_permit():
    with pytest.raises(ValueError, match="at least 1 permit, not 0"):
        Runtime().semaphore(0)


def test_a_future_delivers_once_to_every_waiter():
    rt = Runtime()
    future: Future[Any] = rt.future()
    seen: list[Any] = []

    async def waiter(name):
        seen.append((name, await future))

    for name in "ab":
        rt.spawn(waiter(name), name)
    rt.run_ready()
    assert future.set_result("first")
    assert not future.set_result("second")
    assert not future.set_error(ValueError("third"))
    rt.run_ready()
    rt.spawn(waiter("late"), "late")
    rt.run_ready()
    assert seen == [("a", "first"), ("b", "first"), ("late", "first")]


def test_an_error_set_on_a_future_is_raised_where_it_is_awaited():
    rt = Runtime()
    future: Future[Any] = rt.future()
    seen: list[Any] = []

    async def waiter():
        for _ in range(2):
            try:
                await future
            except ValueError as error:
                seen.append(str(error))

    rt.spawn(waiter(), "waiter")
    rt.run_ready()
    assert future.set_error(ValueError("refused"))
    rt.run_ready()
    assert seen == ["refused", "refused"]


def test_a_future_whose_last_waiter_was_cancelled_is_abandoned():
    rt = Runtime()
    future: Future[Any] = rt.future()
    seen: list[Any] = []

    async def waiter(patience):
        try:
            with rt.timeout(patience):
                seen.append(await future)
        except TimedOut:
            seen.append((patience, future.abandoned))

    rt.spawn(waiter(3), "impatient")
    rt.spawn(waiter(5), "patient")
    run(rt)
    assert seen == [(3, False), (5, True)]
    assert not future.done
    assert not future.set_result("late")
    assert not future.set_error(ValueError("late"))

    async def again():
        with pytest.raises(FutureAbandoned):
            await future

    task = rt.spawn(again(), "again")
    rt.run_ready()
    assert task.done


def test_a_future_survives_one_of_its_waiters():
    rt = Runtime()
    future: Future[Any] = rt.future()
    seen: list[Any] = []

    async def waiter(patience):
        try:
            with rt.timeout(patience):
                seen.append(await future)
        except TimedOut:
            seen.append("gave up")

    rt.spawn(waiter(3), "impatient")
    rt.spawn(waiter(5), "patient")
    step(rt, 0)
    step(rt, 4, lambda: seen.append(future.set_result("in time")))
    assert seen == ["gave up", True, "in time"]


def test_waiting_for_a_task_never_raises_what_the_task_raised():
    seen: list[Any] = []

    async def fails(rt):
        await rt.sleep(1)
        raise ValueError("mine")

    async def block(rt):
        async with rt.group() as group:
            task = group.spawn(fails(rt), "fails")
            with pytest.raises(RuntimeMisuse, match="'fails' is not done"):
                task.result()
            with rt.shield():
                await task.wait()
                await task.wait()
            with pytest.raises(ValueError, match="mine"):
                task.result()
            seen.append("waited twice")

    async def main(rt):
        seen.append(repr(await error_of(block(rt))))

    run_tasks(main)
    assert seen == ["waited twice", "ValueError('mine')"]


def test_a_wait_until_an_instant_says_what_came_first():
    rt = Runtime()
    event, told = rt.event(), []

    async def waiter(name, until_ns):
        told.append((name, await event.wait_until(until_ns), rt.now()))

    async def raiser():
        await rt.sleep(5)
        event.set()

    for name, until_ns in (("early", 3), ("together", 5), ("late", 9)):
        rt.spawn(waiter(name, until_ns), name)
    rt.spawn(raiser(), "raiser")
    run(rt)
    # At 5 the timer of "together" is older than the one that raises the flag.
    assert told == [("early", False, 3), ("together", False, 5), ("late", True, 5)]
    assert rt.next_deadline() is None


def test_a_cancelled_wait_until_an_instant_leaves_neither_waiter_nor_timer():
    rt = Runtime()
    event, told = rt.event(), []

    async def main():
        with rt.timeout(2):
            await event.wait_until(50)
        told.append("not reached")

    async def guarded():
        told.append(type(await error_of(main())).__name__)

    rt.spawn(guarded(), "main")
    run(rt)
    event.set()
    assert told == ["TimedOut"]
    assert rt.now() == 2
