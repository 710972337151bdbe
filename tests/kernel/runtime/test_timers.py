import gc
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.runtime import Future, Runtime, RuntimeMisuse, TimedOut
from kernel.runtime.timers import PURGE_FLOOR, Timers
from tests.kernel.runtime.driving import run, run_tasks, step


def test_now_is_the_stamp_of_the_step_never_an_older_deadline():
    rt = Runtime()
    seen: list[Any] = []

    async def late():
        await rt.sleep_until(10)
        seen.append((rt.now(), rt.ts()))
        await rt.sleep(5)
        seen.append((rt.now(), rt.ts()))

    rt.spawn(late(), "late")
    rt.run_ready()
    rt.set_time(100, 7_000)
    rt.fire_due(100, inclusive=True)
    rt.set_time(105, 7_005)
    rt.fire_due(105, inclusive=True)
    assert seen == [(100, 7_000), (105, 7_005)]


@pytest.mark.parametrize("stamps", [(9, 20), (10, 19)])
def test_stamps_never_go_back(stamps):
    rt = Runtime(10, 20)
    with pytest.raises(RuntimeMisuse, match="never go back"):
        rt.set_time(*stamps)
    assert (rt.now(), rt.ts()) == (10, 20)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_timers_fire_by_deadline_and_then_in_order_of_registration(plan):
    rt = Runtime()
    fired: list[Any] = []
    for number, (deadline, cancelled) in enumerate(plan):
        handle = rt.call_at(deadline, partial(fired.append, (deadline, number)))
        if cancelled:
            handle.cancel()
    run(rt)
    assert fired == sorted((d, n) for n, (d, cancelled) in enumerate(plan) if not cancelled)


def test_a_timeout_set_before_a_sleep_of_the_same_length_wins():
    async def tie(rt):
        with pytest.raises(TimedOut), rt.timeout(5):
            await rt.sleep(5)
        assert rt.now() == 5

    assert not run_tasks(tie).tasks


def test_ready_tasks_are_drained_before_the_first_timer_and_after_each():
    rt = Runtime()
    order: list[Any] = []

    async def follow(name):
        order.append(f"task of {name}")

    def timer(name):
        order.append(name)
        rt.spawn(follow(name), name)

    rt.spawn(follow("spawn"), "first")
    rt.call_at(0, lambda: timer("a"))
    rt.call_at(0, lambda: timer("b"))
    rt.fire_due(0, inclusive=True)
    assert order == ["task of spawn", "a", "task of a", "b", "task of b"]


def test_an_answer_at_the_instant_of_its_timeout_wins():
    rt = Runtime()
    answer: Future[Any] = rt.future()
    got: list[Any] = []

    async def ask():
        with rt.timeout(10):
            got.append(await answer)

    rt.spawn(ask(), "ask")
    step(rt, 0)
    step(rt, 10, lambda: answer.set_result("in time"))
    assert got == ["in time"]


def test_an_answer_after_the_deadline_loses_even_when_the_step_was_late():
    rt = Runtime()
    answer: Future[Any] = rt.future()
    got: list[Any] = []

    async def ask():
        try:
            with rt.timeout(10):
                got.append(await answer)
        except TimedOut:
            got.append("timed out")

    rt.spawn(ask(), "ask")
    step(rt, 0)
    step(rt, 11, lambda: got.append(answer.set_result("too late")))
    assert got == ["timed out", False]


def test_a_deadline_that_has_passed_is_due_next_in_the_order_of_its_deadline():
    rt = Runtime(100, 100)
    fired: list[Any] = []
    for deadline in (100, 70, 90):
        rt.call_at(deadline, partial(lambda at: fired.append((at, rt.now())), deadline))
    assert rt.next_deadline() == 70
    rt.fire_due(100, inclusive=True)
    assert fired == [(70, 100), (90, 100), (100, 100)]


@pytest.mark.parametrize("duration", [0, -5])
def test_a_sleep_of_zero_or_less_is_due_at_this_instant(duration):
    order: list[Any] = []

    async def sleeper(rt):
        await rt.sleep(duration)
        order.append(("slept", rt.now()))

    async def other(rt):
        await rt.checkpoint()
        order.append("other")

    run_tasks(sleeper, other)
    assert order == ["other", ("slept", 0)]


def test_timers_of_the_future_cannot_be_fired():
    rt = Runtime()
    fired: list[Any] = []
    rt.call_at(1, lambda: fired.append(1))
    with pytest.raises(RuntimeMisuse, match="not due"):
        rt.fire_due(1, inclusive=True)
    assert not fired


def test_a_cancelled_timer_never_fires():
    rt = Runtime()
    fired: list[Any] = []
    first = rt.call_at(1, lambda: fired.append("first"))
    second = rt.call_at(1, lambda: fired.append("second"))
    rt.call_at(0, first.cancel)
    run(rt)
    first.cancel()
    second.cancel()
    assert fired == ["second"]
    assert not first.pending
    assert not second.pending


def test_dead_timers_are_purged_when_they_are_the_majority():
    timers = Timers()
    fired: list[Any] = []
    kept = [timers.add(n, partial(fired.append, n)) for n in range(100)]
    for n in range(10_000):
        timers.add(n, lambda: fired.append("dead")).cancel()
    assert len(timers) == 100
    assert timers.size <= 2 * 100 + PURGE_FLOOR
    while (callback := timers.pop_due(10_000)) is not None:
        callback()
    assert fired == list(range(100))
    assert not any(handle.pending for handle in kept)
    assert len(timers) == timers.size == 0


def test_a_timeout_that_did_not_fire_leaves_no_timer():
    async def quick(rt):
        for _ in range(1000):
            with rt.timeout(3600):
                await rt.checkpoint()

    rt = run_tasks(quick)
    assert rt.next_deadline() is None
    assert rt.now() == 0


def test_what_a_timer_raises_leaves_fire_due():
    rt = Runtime()
    fired: list[Any] = []

    def broken():
        raise ValueError("broken timer")

    rt.call_at(0, broken)
    rt.call_at(0, lambda: fired.append("next"))
    with pytest.raises(ValueError, match="broken timer"):
        rt.fire_due(0, inclusive=True)
    rt.fire_due(0, inclusive=True)
    assert fired == ["next"]


def test_a_ticker_stays_on_its_grid():
    ticks: list[Any] = []

    async def periodic(rt):
        ticker = rt.ticker(10)
        for work in (3, 9, 0):
            ticks.append((await ticker.next(), rt.now()))
            await rt.sleep(work)

    run_tasks(periodic)
    assert ticks == [(1, 10), (1, 20), (1, 30)]


def test_a_ticker_coalesces_the_periods_that_were_missed():
    rt = Runtime()
    ticks: list[Any] = []

    async def periodic():
        ticker = rt.ticker(10, first_ns=5)
        while len(ticks) < 3:
            ticks.append((await ticker.next(), rt.now()))

    rt.spawn(periodic(), "periodic")
    for stamp in (0, 5, 47, 55):
        step(rt, stamp)
    assert ticks == [(1, 5), (4, 47), (1, 55)]


def test_a_ticker_needs_a_period():
    with pytest.raises(ValueError, match="at least 1 ns, not 0"):
        Runtime().ticker(0)


def test_garbage_is_collected_at_counted_steps():
    def collections():
        return sum(generation["collections"] for generation in gc.get_stats())

    rt = Runtime(collect_every=3)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        counts = []
        for stamp in range(6):
            before = collections()
            rt.set_time(stamp, stamp)
            counts.append(collections() - before)
    finally:
        if was_enabled:
            gc.enable()
    assert counts == [0, 0, 1, 0, 0, 1]
