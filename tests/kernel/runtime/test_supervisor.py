from typing import Any

import pytest

from kernel.model.units import SECOND
from kernel.runtime import RestartsExhausted, Runtime, TaskCrashed
from tests.kernel.runtime.driving import run, step


class Failing:
    """A task that works for some time and then fails, as often as told."""

    def __init__(self, rt, failures, work_ns=0):
        self.rt, self.left, self.work_ns = rt, failures, work_ns
        self.starts, self.reports = [], []

    async def __call__(self):
        self.starts.append(self.rt.now())
        await self.rt.sleep(self.work_ns)
        if self.left:
            self.left -= 1
            raise ValueError(f"{self.left} more to come")

    def report(self, name, error, failures):
        self.reports.append((name, str(error), failures, self.rt.now()))


def test_a_supervised_task_is_restarted_after_its_back_off():
    rt = Runtime()
    failing = Failing(rt, failures=3)
    task = rt.supervise(failing, "patient", on_failure=failing.report)
    run(rt)
    assert failing.starts == [0, 1 * SECOND, 3 * SECOND, 7 * SECOND]
    assert failing.reports == [
        ("patient", "2 more to come", 1, 0),
        ("patient", "1 more to come", 2, 1 * SECOND),
        ("patient", "0 more to come", 3, 3 * SECOND),
    ]
    assert task.result() is None


def test_a_supervised_task_that_fails_too_often_is_given_up_without_a_crash():
    rt = Runtime()
    failing = Failing(rt, failures=100)
    task = rt.supervise(
        failing, "hopeless", on_failure=failing.report, backoff_ns=(5,), max_restarts=2
    )
    run(rt)
    assert failing.starts == [0, 5, 10]
    assert [report[2] for report in failing.reports] == [1, 2, 3]
    with pytest.raises(RestartsExhausted, match="'hopeless' failed 3 times") as given_up:
        task.result()
    assert str(given_up.value.__cause__) == "97 more to come"


def test_no_back_off_means_a_restart_at_the_same_instant():
    rt = Runtime()
    failing = Failing(rt, failures=2)
    rt.supervise(failing, "quick", on_failure=failing.report, backoff_ns=())
    run(rt)
    assert failing.starts == [0, 0, 0]


def test_a_failure_of_the_factory_counts_as_one_of_the_task():
    rt = Runtime()
    failures = []

    def factory():
        raise ValueError("cannot even start")

    rt.supervise(
        factory, "unborn", on_failure=lambda *what: failures.append(what[2]), max_restarts=1
    )
    run(rt)
    assert failures == [1, 2]


def test_an_error_of_the_report_is_a_crash():
    rt = Runtime()
    failing = Failing(rt, failures=1)

    def report(name, error, failures):
        raise KeyError("the supervisor itself is broken")

    rt.supervise(failing, "task", on_failure=report)
    with pytest.raises(TaskCrashed, match="the supervisor itself is broken"):
        run(rt)


def test_a_supervised_task_fails_alone():
    rt = Runtime()
    failing = Failing(rt, failures=100, work_ns=1)
    ticks: list[Any] = []

    async def neighbour():
        for _ in range(5):
            await rt.sleep(SECOND)
            ticks.append(rt.now())

    rt.supervise(failing, "failing", on_failure=failing.report)
    rt.spawn(neighbour(), "neighbour")
    run(rt)
    assert ticks == [n * SECOND for n in range(1, 6)]
    assert len(failing.reports) == 4


@pytest.mark.parametrize("at", [5, 15], ids=["while it works", "during the back-off"])
def test_a_cancelled_supervised_task_is_not_restarted(at):
    rt = Runtime()
    failing = Failing(rt, failures=100, work_ns=10)
    task = rt.supervise(failing, "task", on_failure=failing.report, backoff_ns=(10,))
    step(rt, 0)
    if at > 10:
        step(rt, 10)
    step(rt, at, task.scope.cancel)
    run(rt)
    assert task.cancelled
    assert failing.starts == [0]
    assert rt.now() == at


def test_old_failures_are_forgiven_after_a_healthy_run():
    rt = Runtime()
    failing = Failing(rt, failures=10, work_ns=100)
    task = rt.supervise(
        failing,
        "weekly",
        on_failure=failing.report,
        backoff_ns=(1, 2),
        max_restarts=1,
        forgive_after_ns=100,
    )
    run(rt)
    assert [report[2] for report in failing.reports] == [1] * 10
    assert task.result() is None
