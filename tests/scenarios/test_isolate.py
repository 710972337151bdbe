"""The kernel in a process of its own: the same run, real deaths, and a clear end of a bad one."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.assembly import assemble
from scenarios.files import read_suites
from scenarios.replay_run import Extras, run_replay
from scenarios.results import FAILED, PASSED, run_entry
from scenarios.run import Run
from scenarios.stores import backends
from tests.scenarios.programs import ROOT
from tests.scenarios.test_replay import data, folder, plan

__all__ = ["data", "folder"]

SUITES = {entry.name: entry for entry in read_suites()}
ALIKE = (
    ("life/rising-price", "binance", "sim"),
    ("life/rising-price", "bybit", "wire"),
    ("crash/after-entry-left", "binance", "sim"),
    ("swarm/venue", "bybit", "sim"),
)


class Attending:
    """A sink that does something to the process of the kernel at a step."""

    def __init__(self, at, act):
        self.at, self.act = at, act
        self.pids = []
        self.steps = 0

    def born(self, kernel):
        self.pids.append(kernel.pid)

    def died(self, reason):
        self.steps = -(10**9)

    def step(self, item, result):
        self.steps += 1
        if self.steps == self.at:
            self.act(self.pids[-1])


def isolated(name, venue, *sinks):
    entry = SUITES[name]
    assembly = assemble(entry.scenario(venue), venue, seed=1, folder=entry.path.parent)
    return Run(assembly, level="sim", isolate=True, sinks=sinks)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("name", "venue", "level"), ALIKE)
def test_an_isolated_run_has_the_digest_of_one_in_this_process(name, venue, level):
    here = run_entry(SUITES[name], venue, level=level)
    apart = run_entry(SUITES[name], venue, level=level, isolate=True)
    assert (apart.status, apart.problems) == (PASSED, ())
    assert (apart.digest, apart.state_digest) == (here.digest, here.state_digest)
    assert apart.steps == here.steps


@pytest.mark.parametrize(
    ("name", "venue"), [("crash/after-entry-left", "binance"), ("store/down-while-active", "bybit")]
)
def test_an_isolated_run_on_its_own_database_has_the_same_digest(name, venue, postgres):
    here = run_entry(SUITES[name], venue, level="sim")
    with backends(postgres.address("{}"), isolate=True) as fresh:
        apart = run_entry(SUITES[name], venue, level="sim", isolate=True, fresh=fresh)
    assert (apart.status, apart.problems) == (PASSED, ())
    assert (apart.digest, apart.state_digest) == (here.digest, here.state_digest)


def test_each_life_has_a_process_and_each_is_gone_after_the_run():
    seen = Attending(0, None)
    run = isolated("crash/after-entry-left", "binance", seen)
    assert run.play() == []
    assert len(seen.pids) == run.driver.starts == 2
    assert len(dict.fromkeys([*seen.pids, os.getpid()])) == 3
    assert [is_alive(pid) for pid in seen.pids] == [False, False]


def test_a_death_that_nobody_ordered_fails_the_run_with_its_story(monkeypatch):
    def kill(pid):
        os.kill(pid, signal.SIGKILL)

    seen = Attending(40, kill)
    made = Run.__init__

    def attended(self, *args, **kwargs):
        if kwargs.get("isolate"):
            kwargs["sinks"] = (seen,)
        made(self, *args, **kwargs)

    monkeypatch.setattr(Run, "__init__", attended)
    result = run_entry(SUITES["life/rising-price"], "binance", level="sim", isolate=True)
    assert result.status == FAILED
    (problem,) = result.problems
    assert problem.startswith("the run ended with KernelLost: the kernel's process was ended by")
    assert "SIGKILL at input 40 (" in problem
    assert "nobody had ordered it" in problem
    assert result.story
    assert not is_alive(seen.pids[0])


def test_the_process_tells_its_last_words():
    code = "import os; os.write(2, b'out of memory'); os._exit(3)"
    run = isolated("life/rising-price", "binance")
    with pytest.MonkeyPatch.context() as patch:
        popen = subprocess.Popen
        patch.setattr(
            subprocess, "Popen", lambda args, **more: popen([sys.executable, "-c", code], **more)
        )
        with pytest.raises(Exception, match=r"exit code 3 at its start, .*: out of memory"):
            run.play()


def test_the_process_ends_when_its_parent_is_killed():
    script = (
        "import os, sys\n"
        "from kernel.config import Settings\n"
        "from scenarios.isolated import IsolatedKernel\n"
        "kernel = IsolatedKernel(Settings.load({}), None, level='sim', venues=('binance',))\n"
        "print(kernel.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = os.pidfd_open(pid)
        parent.kill()
    assert signal_of_end(child)


def signal_of_end(pidfd):
    """Whether a process that is not our child ends soon."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    ended = bool(poll.poll(20_000))
    os.close(pidfd)
    return ended


def test_the_process_sees_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("BINANCE_API_SECRET", "very secret")
    environments = []

    def read(pid):
        environments.append(Path(f"/proc/{pid}/environ").read_text("utf-8"))

    seen = Attending(5, read)
    isolated("life/rising-price", "binance", seen).play()
    assert len(environments) == 1
    assert "PYTHONPATH" in environments[0]
    assert "very secret" not in environments[0]


def test_the_command_line_runs_isolated_and_says_so_in_the_line_that_reproduces():
    told = subprocess.run(
        [sys.executable, "run_sim.py", "scenario", "life/rising-price", "--venue", "binance",
         "--isolate", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--seed 1 --isolate" in told.stdout or "--seed 0 --isolate" in told.stdout


def test_an_isolated_replay_with_crashes_on_its_own_database_has_the_same_digest(data, postgres):
    here = run_replay(plan(data), Extras(deaths=3)).result
    with backends(postgres.address("{}"), isolate=True) as fresh:
        apart = run_replay(plan(data), Extras(deaths=3, isolate=True, backend=fresh())).result
    assert apart.crashes == 3
    assert (apart.digest, apart.state_digest) == (here.digest, here.state_digest)
