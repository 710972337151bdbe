from typing import Any

import pytest

from kernel.runtime import Cancelled, Runtime, RuntimeMisuse, TimedOut
from tests.kernel.runtime.driving import error_of, run_tasks, step


async def sleep(rt, duration):
    await rt.sleep(duration)
    return rt.now()


async def fail(rt, duration, error):
    await rt.sleep(duration)
    raise error


def test_a_group_ends_when_all_its_children_ended():
    seen: list[Any] = []

    async def main(rt):
        async with rt.group() as group:
            tasks = [group.spawn(sleep(rt, n), f"{n}") for n in (7, 3)]
            await rt.sleep(1)
            seen.append(rt.now())
        seen.append((rt.now(), [task.result() for task in tasks]))

    run_tasks(main)
    assert seen == [1, (7, [7, 3])]


def test_the_first_error_cancels_the_others_in_order_of_creation_and_is_raised():
    order: list[Any] = []

    async def sibling(rt, name):
        try:
            await rt.sleep(100)
        except Cancelled:
            order.append(name)
            raise

    async def block(rt):
        async with rt.group() as group:
            group.spawn(sibling(rt, "a"), "a")
            group.spawn(fail(rt, 5, ValueError("first")), "failing")
            group.spawn(sibling(rt, "b"), "b")
            group.spawn(sibling(rt, "c"), "c")
            await sibling(rt, "block")

    async def main(rt):
        order.append((repr(await error_of(block(rt))), rt.now()))

    run_tasks(main)
    assert order == ["block", "a", "b", "c", ("ValueError('first')", 5)]


def test_further_errors_are_attached_to_the_first():
    caught: list[Any] = []

    async def bad_cleanup(rt):
        try:
            await rt.sleep(100)
        finally:
            raise KeyError("cleanup")

    async def main(rt):
        group = rt.group()
        try:
            async with group:
                group.spawn(bad_cleanup(rt), "sibling")
                group.spawn(fail(rt, 5, ValueError("first")), "failing")
        except ValueError as error:
            caught.append((error.__notes__, group.others))

    run_tasks(main)
    [(notes, others)] = caught
    assert notes == ["also failed, in sibling: KeyError('cleanup')"]
    assert [repr(other) for other in others] == ["KeyError('cleanup')"]


def test_an_error_of_the_block_cancels_the_children():
    seen: list[Any] = []

    async def child(rt):
        try:
            await rt.sleep(100)
        finally:
            with rt.shield():
                await rt.sleep(3)
            seen.append("cleaned up")

    async def failing_block(rt):
        async with rt.group() as group:
            group.spawn(child(rt), "child")
            await rt.checkpoint()
            raise ValueError("block")

    async def main(rt):
        seen.append((repr(await error_of(failing_block(rt))), rt.now()))

    run_tasks(main)
    assert seen == ["cleaned up", ("ValueError('block')", 3)]


def test_an_error_outranks_a_cancellation():
    seen: list[Any] = []

    async def bad_cleanup(rt):
        try:
            await rt.sleep(100)
        finally:
            raise ValueError("cleanup")

    async def block(rt):
        with rt.timeout(5):
            async with rt.group() as group:
                group.spawn(bad_cleanup(rt), "child")

    async def main(rt):
        seen.append((repr(await error_of(block(rt))), rt.now()))

    run_tasks(main)
    assert seen == [("ValueError('cleanup')", 5)]


def test_a_cancellation_from_outside_reaches_children_and_waits_for_them():
    seen: list[Any] = []

    async def child(rt, cleanup):
        try:
            await rt.sleep(100)
        finally:
            with rt.shield():
                await rt.sleep(cleanup)
            seen.append((cleanup, rt.now()))

    async def block(rt):
        with rt.timeout(5):
            async with rt.group() as group:
                group.spawn(child(rt, 4), "slow")
                group.spawn(child(rt, 2), "quick")
            seen.append("not reached")

    async def main(rt):
        seen.append((type(await error_of(block(rt))), rt.now()))

    run_tasks(main)
    assert seen == [(2, 7), (4, 9), (TimedOut, 9)]


def test_the_end_of_the_last_child_is_a_delivered_result():
    rt = Runtime()
    seen: list[Any] = []
    gate = rt.event()

    async def main():
        with rt.scope() as scope:
            scopes.append(scope)
            async with rt.group() as group:
                group.spawn(gate.wait(), "child")
            seen.append("after the group")
            await rt.checkpoint()
            seen.append("not reached")

    async def cancel_after_child():
        await gate.wait()
        scopes[0].cancel()

    scopes: list[Any] = []
    rt.spawn(main(), "main")
    rt.run_ready()
    rt.spawn(cancel_after_child(), "canceller")
    rt.run_ready()
    step(rt, 1, gate.set)
    assert seen == ["after the group"]
    assert scopes[0].absorbed


def test_leaving_a_group_in_a_cancelled_scope_raises():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            async with rt.group():
                scope.cancel()
            seen.append("not reached")
        seen.append(scope.absorbed)

    run_tasks(main)
    assert seen == [True]


def test_entering_a_group_is_no_cancellation_point():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            scope.cancel()
            async with rt.group():
                seen.append("entered")
                await rt.checkpoint()
                seen.append("not reached")

    run_tasks(main)
    assert seen == ["entered"]


def test_cancelling_the_groups_own_scope_ends_it_without_error():
    seen: list[Any] = []

    async def main(rt):
        async with rt.group() as group:
            children = [group.spawn(sleep(rt, n), f"{n}") for n in (2, 50)]
            rt.call_at(5, group.scope.cancel)
            await rt.sleep(100)
        seen.append((rt.now(), [child.cancelled for child in children]))

    run_tasks(main)
    assert seen == [(5, [False, True])]


def test_one_child_can_be_cancelled_alone():
    seen: list[Any] = []

    async def main(rt):
        async with rt.group() as group:
            first = group.spawn(sleep(rt, 9), "first")
            second = group.spawn(sleep(rt, 9), "second")
            rt.call_at(5, first.scope.cancel)
        seen.append((rt.now(), first.cancelled, second.cancelled))

    run_tasks(main)
    assert seen == [(9, True, False)]


def test_a_child_of_a_cancelled_group_starts_and_stops_at_its_first_await():
    seen: list[Any] = []

    async def child(rt):
        seen.append("started")
        await rt.checkpoint()
        seen.append("not reached")

    async def main(rt):
        async with rt.group() as group:
            group.scope.cancel()
            task = group.spawn(child(rt), "child")
        seen.append(task.cancelled)

    run_tasks(main)
    assert seen == ["started", True]


def test_children_may_spawn_siblings_until_the_group_has_ended():
    seen: list[Any] = []

    async def nested(rt, group, depth):
        await rt.sleep(1)
        seen.append((depth, rt.now()))
        if depth:
            group.spawn(nested(rt, group, depth - 1), "sibling")

    async def main(rt):
        async with rt.group() as group:
            group.spawn(nested(rt, group, 2), "child")
        seen.append("ended")
        with pytest.raises(RuntimeMisuse, match="'late' cannot be spawned"):
            group.spawn(nested(rt, group, 0), "late")

    run_tasks(main)
    assert seen == [(2, 1), (1, 2), (0, 3), "ended"]


def test_a_raised_child_error_keeps_its_own_context():
    caught: list[Any] = []

    async def failing(rt):
        try:
            raise KeyError("cause")
        except KeyError:
            await rt.sleep(1)
            raise ValueError("child")  # noqa: B904 - the context is what this test is about

    async def main(rt):
        try:
            async with rt.group() as group:
                group.spawn(failing(rt), "child")
                await rt.sleep(100)
        except ValueError as error:
            caught.append(error.__context__)

    run_tasks(main)
    assert [repr(context) for context in caught] == ["KeyError('cause')"]


def test_groups_nest():
    seen: list[Any] = []

    async def sibling(rt):
        try:
            await rt.sleep(100)
        finally:
            seen.append(("sibling ends", rt.now()))

    async def inner(rt):
        async with rt.group() as group:
            group.spawn(fail(rt, 5, ValueError("deep")), "failing")
            group.spawn(sleep(rt, 100), "sleeping")

    async def outer(rt):
        async with rt.group() as group:
            group.spawn(sibling(rt), "sibling")
            group.spawn(inner(rt), "inner")

    async def main(rt):
        seen.append((repr(await error_of(outer(rt))), rt.now()))

    run_tasks(main)
    assert seen == [("sibling ends", 5), ("ValueError('deep')", 5)]
