from typing import Any

import pytest

from kernel.runtime import (
    Cancelled,
    Channel,
    Future,
    Runtime,
    RuntimeMisuse,
    Task,
    TaskCancelled,
    TaskCrashed,
    TimedOut,
)
from tests.kernel.runtime.driving import run, run_tasks, step


def test_a_task_is_cancelled_through_its_scope_only():
    assert not hasattr(Task, "cancel")
    rt = Runtime()

    async def sleeper():
        await rt.sleep(100)

    task = rt.spawn(sleeper(), "sleeper")
    rt.run_ready()
    task.scope.cancel()
    rt.run_ready()
    assert (task.done, task.cancelled, rt.next_deadline()) == (True, True, None)
    with pytest.raises(TaskCancelled, match="'sleeper' was cancelled"):
        task.result()


def test_a_waiting_task_sees_the_cancellation_at_its_wait():
    rt = Runtime()
    seen: list[Any] = []

    async def waiting(wait):
        try:
            await wait
        except Cancelled:
            seen.append(rt.now())
            raise

    lock = rt.lock()
    full: Channel[Any] = rt.channel(1)
    semaphore = rt.semaphore(1)

    async def holder():
        await lock.acquire()
        await semaphore.acquire()
        await full.put(0)
        await rt.sleep(50)

    async def future():
        return await rt.future()

    held = rt.spawn(holder(), "holder")
    waits: tuple[Any, ...] = (
        rt.event().wait(), future(), lock.acquire(), semaphore.acquire(), full.put(1),
        rt.channel().get(), rt.sleep(20), rt.sleep_until(20), held.wait(),
    )  # fmt: skip
    tasks = [rt.spawn(waiting(wait), "waiting") for wait in waits]
    step(rt, 0)
    for task in tasks:
        task.scope.cancel()
    step(rt, 1)
    assert seen == [1] * len(waits)
    assert all(task.cancelled for task in tasks)
    run(rt)


def test_a_cancelled_task_sees_it_at_every_later_await_also_in_finally():
    seen: list[Any] = []

    async def stubborn(rt):
        with rt.scope() as scope:
            scope.cancel()
            for _ in range(3):
                with pytest.raises(Cancelled):
                    await rt.sleep(1)
                seen.append("sleep")
            try:
                await rt.checkpoint()
            finally:
                with pytest.raises(Cancelled):
                    await rt.event().wait()
                seen.append("finally")
        seen.append(scope.absorbed)

    run_tasks(stubborn)
    assert seen == ["sleep", "sleep", "sleep", "finally", True]


def test_an_await_that_need_not_wait_sees_the_cancellation_too():
    async def eager(rt):
        event, channel, lock = rt.event(), rt.channel(), rt.lock()
        event.set()
        channel.put_nowait("item")
        with rt.scope() as scope:
            scope.cancel()
            for wait in (event.wait(), channel.get(), channel.put("x"), lock.acquire()):
                with pytest.raises(Cancelled):
                    await wait
        assert len(channel) == 1
        assert not lock.locked

    assert not run_tasks(eager).tasks


def test_a_delivered_result_wins_over_a_later_cancel_at_the_same_instant():
    rt = Runtime()
    answer: Future[Any] = rt.future()
    seen: list[Any] = []

    async def ask():
        seen.append(await answer)
        try:
            await rt.checkpoint()
        except Cancelled:
            seen.append("cancelled at the next await")
            raise

    task = rt.spawn(ask(), "ask")
    rt.run_ready()
    answer.set_result("answer")
    task.scope.cancel()
    rt.run_ready()
    assert seen == ["answer", "cancelled at the next await"]


def test_a_cancel_before_the_result_wins_over_the_result():
    rt = Runtime()
    answer: Future[Any] = rt.future()
    seen: list[Any] = []

    async def ask():
        seen.append(await answer)

    task = rt.spawn(ask(), "ask")
    rt.run_ready()
    task.scope.cancel()
    seen.append(answer.set_result("answer"))
    rt.run_ready()
    assert seen == [False]
    assert task.cancelled


def test_a_scope_absorbs_its_own_cancellation():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            rt.call_at(3, scope.cancel)
            await rt.sleep(10)
            seen.append("not reached")
        seen.append((rt.now(), scope.absorbed))
        await rt.sleep(1)
        seen.append(rt.now())

    run_tasks(main)
    assert seen == [(3, True), 4]


def test_a_scope_that_was_cancelled_but_not_noticed_absorbs_nothing():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            scope.cancel()
        seen.append((scope.cancel_called, scope.absorbed))

    run_tasks(main)
    assert seen == [(True, False)]


def test_the_cancellation_goes_to_the_outermost_scope_that_can_be_seen():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as outer:
            with rt.scope() as inner:
                inner.cancel()
                outer.cancel()
                await rt.sleep(1)
            seen.append("not reached")
        seen.append((inner.absorbed, outer.absorbed))

    run_tasks(main)
    assert seen == [(False, True)]


def test_an_error_is_not_hidden_by_a_cancelled_scope():
    async def failing_cleanup(rt):
        with rt.scope() as scope:
            scope.cancel()
            try:
                await rt.sleep(1)
            finally:
                raise ValueError("mine")

    async def main(rt):
        with pytest.raises(ValueError, match="mine"):
            await failing_cleanup(rt)

    assert not run_tasks(main).tasks


def test_a_shield_keeps_cancellation_out_until_it_ends():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            rt.call_at(1, scope.cancel)
            with rt.shield():
                await rt.sleep(5)
                seen.append(("shielded", rt.now()))
            seen.append("after")
            await rt.sleep(5)
            seen.append("not reached")
        seen.append(rt.now())

    run_tasks(main)
    assert seen == [("shielded", 5), "after", 5]


def test_a_shield_opened_in_a_cancelled_scope_lets_a_roll_back_finish():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            scope.cancel()
            try:
                await rt.sleep(1)
            finally:
                with rt.shield():
                    await rt.sleep(7)
                    seen.append(("rolled back", rt.now()))
        seen.append(scope.absorbed)

    run_tasks(main)
    assert seen == [("rolled back", 7), True]


def test_a_shield_does_not_keep_its_own_timeouts_out():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            scope.cancel()
            with rt.shield() as shield:
                with pytest.raises(TimedOut), rt.timeout(3):
                    await rt.sleep(10)
                seen.append(rt.now())
                shield.cancel()
                await rt.sleep(10)
            seen.append((shield.absorbed, rt.now()))
            await rt.sleep(10)

    run_tasks(main)
    assert seen == [3, (True, 3)]


def test_tasks_reached_by_one_cancel_are_woken_in_order_of_creation():
    rt = Runtime()
    order: list[Any] = []

    async def leaf(name, nested=None):
        try:
            if nested is None:
                await rt.event().wait()
            else:
                async with rt.group() as group:
                    group.spawn(leaf(nested), nested)
                    await rt.event().wait()
        except Cancelled:
            order.append(name)
            raise

    async def main():
        with rt.scope() as scope:
            rt.call_at(1, scope.cancel)
            async with rt.group() as group:
                group.spawn(leaf("a", nested="a.a"), "a")
                group.spawn(leaf("b"), "b")
                try:
                    with rt.timeout(100):
                        await rt.event().wait()
                except Cancelled:
                    order.append("main")
                    raise

    rt.spawn(main(), "main")
    run(rt)
    # a was woken second, but its end waits for a.a, which is the youngest
    assert order == ["main", "b", "a.a", "a"]


def test_a_timeout_raises_only_when_its_own_deadline_ended_the_block():
    seen: list[Any] = []

    async def main(rt):
        with rt.timeout(5) as in_time:
            await rt.sleep(1)
        with rt.timeout(5) as by_hand:
            by_hand.cancel()
            await rt.sleep(1)
        with rt.timeout_at(7) as unnoticed:
            while rt.now() < 20:
                try:
                    await rt.sleep_until(20)
                except Cancelled:
                    break
        with rt.timeout_at(25) as by_hand_first:
            by_hand_first.cancel()
            with rt.shield():
                await rt.sleep_until(30)
            await rt.sleep(1)
        seen.extend(
            (s.absorbed, s.cancel_called) for s in (in_time, by_hand, unnoticed, by_hand_first)
        )
        with pytest.raises(TimedOut, match="not done at its deadline, 39 ns"), rt.timeout_at(39):
            await rt.sleep(100)
        seen.append(rt.now())

    run_tasks(main)
    assert seen == [(False, False), (True, True), (False, True), (True, True), 39]


def test_an_outer_timeout_during_an_inner_one_is_the_outer_ones():
    seen: list[Any] = []

    async def main(rt):
        try:
            with rt.timeout(5):
                try:
                    with rt.timeout(10):
                        await rt.sleep(100)
                except TimedOut:
                    seen.append("inner")
        except TimedOut:
            seen.append(("outer", rt.now()))

    run_tasks(main)
    assert seen == [("outer", 5)]


def test_an_inner_timeout_during_an_outer_one_is_the_inner_ones():
    seen: list[Any] = []

    async def main(rt):
        with rt.timeout(10):
            try:
                with rt.timeout(5):
                    await rt.sleep(100)
            except TimedOut:
                seen.append(("inner", rt.now()))
            await rt.sleep(2)
            seen.append(rt.now())

    run_tasks(main)
    assert seen == [("inner", 5), 7]


def test_two_timeouts_at_one_instant_are_the_outer_ones():
    seen: list[Any] = []

    async def main(rt):
        try:
            with rt.timeout(5):
                try:
                    with rt.timeout(5):
                        await rt.sleep(100)
                except TimedOut:
                    seen.append("inner")
        except TimedOut:
            seen.append("outer")

    run_tasks(main)
    assert seen == ["outer"]


def test_a_timeout_of_zero_gives_what_is_ready_a_chance():
    seen: list[Any] = []

    async def main(rt):
        with rt.timeout(0):
            await rt.checkpoint()
            seen.append("ready")
        with pytest.raises(TimedOut), rt.timeout(-1):
            await rt.sleep(1)

    run_tasks(main)
    assert seen == ["ready"]


def test_a_scope_cancelled_before_its_block_cancels_it_from_the_start():
    seen: list[Any] = []

    async def main(rt):
        scope = rt.scope()
        scope.cancel()
        with scope:
            await rt.sleep(1)
            seen.append("not reached")
        seen.append(scope.absorbed)

    run_tasks(main)
    assert seen == [True]


def test_a_cancel_after_the_block_has_no_effect():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            await rt.sleep(1)
        rt.call_at(2, scope.cancel)
        await rt.sleep(2)
        seen.append((rt.now(), scope.cancel_called, scope.absorbed))

    run_tasks(main)
    assert seen == [(3, True, False)]


def test_scopes_are_entered_once_and_left_in_reverse_order():
    async def main(rt):
        first, second = rt.scope(), rt.scope()
        with first:
            pass
        with pytest.raises(RuntimeMisuse, match="only once"), first:
            pass
        third = rt.scope()
        second.__enter__()
        third.__enter__()
        with pytest.raises(RuntimeMisuse, match="reverse order"):
            second.__exit__(None, None, None)
        third.__exit__(None, None, None)
        second.__exit__(None, None, None)

    assert not run_tasks(main).tasks


def test_a_scope_belongs_to_a_task():
    with pytest.raises(RuntimeMisuse, match="task of this runtime"), Runtime().scope():
        pass


def test_a_cancelled_that_no_scope_sent_is_a_crash():
    async def forger(rt):
        raise Cancelled

    with pytest.raises(TaskCrashed, match="let a Cancelled out that no scope around it sent"):
        run_tasks(forger)
