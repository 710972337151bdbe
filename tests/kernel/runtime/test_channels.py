from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.runtime import (
    Cancelled,
    Channel,
    ChannelClosed,
    ChannelEmpty,
    ChannelFull,
    Runtime,
    TimedOut,
)
from tests.kernel.runtime.driving import run, run_tasks


def test_items_are_handed_to_getters_first_come_first_served():
    rt = Runtime()
    channel: Channel[Any] = rt.channel()
    got: list[Any] = []

    async def getter(name):
        got.append((name, await channel.get()))

    for name in "abc":
        rt.spawn(getter(name), name)
    rt.run_ready()
    for item in (1, 2, 3, 4):
        channel.put_nowait(item)
    assert len(channel) == 1  # three were handed over at once: nobody can take them away
    assert channel.get_nowait() == 4
    rt.run_ready()
    assert got == [("a", 1), ("b", 2), ("c", 3)]


def test_a_put_waits_for_room_and_putters_are_served_in_order():
    rt = Runtime()
    channel: Channel[Any] = rt.channel(1)
    order: list[Any] = []

    async def putter(item):
        await channel.put(item)
        order.append(("put", item))

    async def getter():
        for _ in range(4):
            order.append(("got", await channel.get()))
            await rt.sleep(1)

    for item in (1, 2, 3, 4):
        rt.spawn(putter(item), f"{item}")
    rt.run_ready()
    assert order == [("put", 1)]
    rt.spawn(getter(), "getter")
    run(rt)
    assert order == [
        ("put", 1), ("got", 1), ("put", 2), ("got", 2), ("put", 3), ("got", 3), ("put", 4),
        ("got", 4),
    ]  # fmt: skip


def test_a_channel_without_room_passes_items_from_hand_to_hand():
    rt = Runtime()
    channel: Channel[Any] = rt.channel(0)
    with pytest.raises(ChannelFull):
        channel.put_nowait("nobody waits")
    order: list[Any] = []

    async def putter():
        await channel.put("first")
        order.append("taken")
        await rt.sleep(1)
        channel.put_nowait("second")

    async def getter():
        order.extend([await channel.get(), await channel.get()])

    rt.spawn(putter(), "putter")
    rt.spawn(getter(), "getter")
    run(rt)
    assert order == ["taken", "first", "second"]


def test_without_waiting_a_full_or_empty_channel_is_an_error():
    channel: Channel[Any] = Runtime().channel(1)
    with pytest.raises(ChannelEmpty):
        channel.get_nowait()
    channel.put_nowait("item")
    with pytest.raises(ChannelFull, match="holds 1 items already"):
        channel.put_nowait("too many")
    assert channel.get_nowait() == "item"


def test_a_cancelled_getter_took_nothing_and_a_cancelled_putter_put_nothing():
    rt = Runtime()
    channel: Channel[Any] = rt.channel(0)
    got: list[Any] = []

    async def give_up(wait):
        with pytest.raises(TimedOut), rt.timeout(1):
            await wait

    async def getter():
        await rt.sleep(2)
        got.append(await channel.get())

    async def putter():
        await rt.sleep(3)
        await channel.put("kept")

    rt.spawn(give_up(channel.get()), "gives up getting")
    run(rt)
    rt.spawn(give_up(channel.put("withdrawn")), "gives up putting")
    rt.spawn(getter(), "getter")
    rt.spawn(putter(), "putter")
    run(rt)
    assert got == ["kept"]


def test_the_right_putter_withdraws():
    rt = Runtime()
    channel: Channel[Any] = rt.channel(0)

    async def putter(item, patience):
        with rt.timeout(patience) as scope:
            await channel.put(item)
        return scope.absorbed

    async def main():
        async with rt.group() as group:
            group.spawn(putter("a", 100), "a")
            group.spawn(putter("b", 100), "b")
            c = group.spawn(putter("c", 100), "c")
            rt.call_at(1, c.scope.cancel)
            await rt.sleep(2)
            return [await channel.get(), await channel.get()]

    task = rt.spawn(main(), "main")
    run(rt)
    assert task.result() == ["a", "b"]


def test_an_item_delivered_to_a_getter_that_is_then_cancelled_is_received():
    rt = Runtime()
    channel: Channel[Any] = rt.channel()
    got: list[Any] = []

    async def getter():
        got.append(await channel.get())

    task = rt.spawn(getter(), "getter")
    rt.run_ready()
    channel.put_nowait("item")
    task.scope.cancel()
    rt.run_ready()
    assert got == ["item"]


def test_a_closed_channel_takes_nothing_and_gives_what_it_has():
    rt = Runtime()
    channel: Channel[Any] = rt.channel(2)
    channel.put_nowait(1)
    channel.put_nowait(2)
    seen: list[Any] = []

    async def blocked_putter():
        with pytest.raises(ChannelClosed):
            await channel.put(3)
        seen.append("putter told")

    rt.spawn(blocked_putter(), "putter")
    rt.run_ready()
    channel.close()
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.put_nowait(4)

    async def drain():
        seen.extend([item async for item in channel])
        with pytest.raises(ChannelClosed):
            await channel.get()
        with pytest.raises(ChannelClosed):
            channel.get_nowait()

    task = rt.spawn(drain(), "drain")
    rt.run_ready()
    assert seen == ["putter told", 1, 2]
    assert task.done


def test_closing_tells_every_waiting_getter():
    rt = Runtime()
    channel: Channel[Any] = rt.channel()
    order: list[Any] = []

    async def getter(name):
        order.extend([(name, item) async for item in channel])
        order.append((name, "closed"))

    for name in "ab":
        rt.spawn(getter(name), name)
    rt.run_ready()
    channel.put_nowait("last")
    channel.close()
    rt.run_ready()
    assert order == [("a", "last"), ("a", "closed"), ("b", "closed")]


def test_a_capacity_is_not_negative():
    with pytest.raises(ValueError, match="None or at least 0, not -1"):
        Runtime().channel(-1)


@given(
    st.sampled_from([None, 0, 1, 3]),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12),
)
def test_no_item_is_lost_or_doubled_whoever_gives_up(capacity, puts, gets):
    rt = Runtime()
    channel: Channel[Any] = rt.channel(capacity)
    accepted: list[int] = []
    received: list[int] = []

    async def putter(item, start, patience):
        await rt.sleep(start)
        with rt.scope() as scope:
            rt.call_at(rt.now() + patience, scope.cancel)
            await channel.put(item)
            accepted.append(item)

    async def getter(start, patience):
        await rt.sleep(start)
        with rt.scope() as scope:
            rt.call_at(rt.now() + patience, scope.cancel)
            received.append(await channel.get())

    for item, (start, patience) in enumerate(puts):
        rt.spawn(putter(item, start, patience), f"put {item}")
    for start, patience in gets:
        rt.spawn(getter(start, patience), "get")
    run(rt)
    left = []
    while len(channel):
        left.append(channel.get_nowait())
    assert sorted(received + left) == sorted(accepted)
    assert not rt.tasks


def test_a_cancelled_getter_in_a_loop_sees_cancelled_not_the_end_of_the_loop():
    seen: list[Any] = []

    async def main(rt):
        with rt.scope() as scope:
            rt.call_at(1, scope.cancel)
            try:
                seen.extend([item async for item in rt.channel()])
            except Cancelled:
                seen.append("cancelled")
                raise

    run_tasks(main)
    assert seen == ["cancelled"]


def test_a_get_until_an_instant_takes_an_item_or_gives_up():
    rt = Runtime()
    channel: Channel[Any] = rt.channel()
    told: list[object] = []

    async def getter(name, until_ns):
        told.append((name, await channel.get_until(until_ns), rt.now()))

    async def putter():
        await rt.sleep(5)
        await channel.put("first")
        await channel.put("second")

    rt.spawn(getter("early", 3), "early")
    rt.spawn(getter("late", 9), "late")
    rt.spawn(putter(), "putter")
    run(rt)
    assert told == [("early", None, 3), ("late", "first", 5)]
    assert channel.get_nowait() == "second"
    assert rt.next_deadline() is None
