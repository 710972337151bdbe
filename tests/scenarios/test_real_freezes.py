"""Processes that are stopped for real: what holds, where they stand, what is left of them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import pytest

from kernel.config import Settings
from kernel.errors import InvariantViolation, StoreError, StoreFenced
from kernel.model.messages import Effect, Input, Start, StoreCommit, VenueCall
from kernel.model.orders import OrderClass
from kernel.model.rows import LockRow
from kernel.model.units import MINUTE, SECOND, MonoNs, TsNs
from kernel.model.venue import CancelOrder, EffectClass, QueryServerTime
from kernel.store.instance import holder
from scenarios.composition import compose_venue
from scenarios.frames import Applied, At, Go, Hold, Pipe
from scenarios.holds import Holds, Place
from scenarios.kernels import KernelLost, LocalKernel
from scenarios.kill_world import round_plan
from scenarios.real_freezes import ANOTHER, PLACES, RealInstances, _stops, shared_on
from scenarios.shared_database import InstanceDatabase, SharedDatabase
from scenarios.stoppable import Standing, StoppableKernel
from scenarios.world import World
from tests.scenarios.programs import ROOT, run_sim

SETTINGS = Settings.load({})


def freeze(tmp_path, seed, freezes, *, minutes=45, **more):
    """A round that is short enough for a test."""
    plan = round_plan(seed, 1)
    plan = msgspec.structs.replace(plan, end_ns=plan.setup.start_ns + minutes * MINUTE)
    return RealInstances(plan, seed=seed, freezes=freezes, folder=tmp_path, **more).run()


# ------------------------------------------------------------------------ the whole


def test_on_one_database_no_request_of_an_old_holder_is_accepted(tmp_path, postgres):
    with shared_on(postgres, "freezes_1") as shared:
        made = freeze(tmp_path, 4, 4, minutes=60, shared=shared)
    assert made.problems == ()
    assert (made.overlaps, made.freezes, sum(made.points.values())) == (0, 4, 4)
    assert made.takeovers == made.superseded >= 2
    assert made.requests > 300


def test_at_level_wire_the_emulators_refuse_what_was_signed_before(tmp_path):
    made = freeze(tmp_path, 7, 3, level="wire")
    assert made.problems == ()
    assert made.takeovers >= 1
    assert made.untimely >= made.late >= 1


def test_without_the_venues_window_the_orders_of_an_old_holder_are_found(tmp_path):
    made = freeze(tmp_path, 5, 3, without=("window",))
    assert made.overlaps >= 1
    assert any("lease: " in problem for problem in made.problems)


def test_without_the_look_at_the_lease_the_requests_of_an_old_holder_are_found(tmp_path):
    made = freeze(tmp_path, 2, 3, without=("lease",))
    assert made.overlaps >= 1


def test_without_the_fence_the_rows_of_an_old_holder_are_found(tmp_path, postgres):
    with (
        shared_on(postgres, "freezes_2") as shared,
        pytest.raises(InvariantViolation, match="takes rows of run epoch"),
    ):
        freeze(tmp_path, 2, 4, minutes=60, shared=shared, without=("fence",))


# ------------------------------------------------------------------------ one process


def process(tmp_path):
    world = World(round_plan(1, 1).setup)
    return StoppableKernel(
        SETTINGS, world.prices, level="sim", venues=("bybit",), folder=str(tmp_path)
    )


def begun():
    start = Start(settings=SETTINGS.canonical_json(), reason="start", instance="a")
    return Input(0, TsNs(1_767_614_400 * SECOND), MonoNs(0), "start", start)


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("calls", [0, 40, 100_000])
def test_a_process_stops_inside_of_a_step_and_gives_the_same_when_it_goes_on(tmp_path, calls):
    kernel = process(tmp_path)
    factory, _ = compose_venue("sim", "bybit")
    beside = LocalKernel(
        SETTINGS, prices=World(round_plan(1, 1).setup).prices, venue_factories={"bybit": factory}
    )
    try:
        kernel.hold(Place.COMPUTING, 1, calls)
        with pytest.raises(Standing) as stood:
            kernel.step(begun())
        assert stood.value.place == (Place.COMPUTED if calls > 99_999 else Place.COMPUTING)
        assert state(kernel.pid) == "T"
        kernel.go_on()
        assert kernel.rest_of_step() == beside.step(begun())
        assert state(kernel.pid) != "T"
    finally:
        kernel.close()


def test_a_second_process_on_a_data_folder_is_refused_until_the_first_one_is_killed(tmp_path):
    first = process(tmp_path)
    first.stop()
    assert holder(tmp_path) == first.pid
    words = f"exit code {ANOTHER} at its start, .* process {first.pid} works on {tmp_path}: end it"
    with pytest.raises(KernelLost, match=words):
        process(tmp_path)
    first.close()
    assert holder(tmp_path) is None
    second = process(tmp_path)
    assert holder(tmp_path) == second.pid
    second.close()


def test_a_stopped_process_ends_with_its_parent(tmp_path):
    code = (
        "import os, sys, time\n"
        "from tests.scenarios.test_real_freezes import process\n"
        "kernel = process(sys.argv[1])\n"
        "kernel.stop()\n"
        "print(kernel.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert state(pid) == "T"
        parent.kill()
        parent.wait()
    assert gone(pid)


def gone(pid):
    for _ in range(200):
        if state(pid) in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


# ------------------------------------------------------------------------ where it stands


class Parent(Pipe):
    """The other end of a pipe: lets the process go on at once."""

    def __init__(self):
        self.stood = []

    def send(self, frame):
        assert isinstance(frame, At)
        self.stood.append(frame.place)

    def receive(self):
        return Go()


def effect(cls=EffectClass.PROTECT, **more):
    plain = OrderClass.PLAIN
    request = CancelOrder(symbol="BTCUSDT", order_class=plain, client_order_id="s", **more)
    return Effect("key", cls, VenueCall(venue="bybit", request=request, timestamp_ns=TsNs(1)))


QUERY = Effect("q", EffectClass.QUERY, VenueCall(venue="bybit", request=QueryServerTime(),
                                                 timestamp_ns=TsNs(1)))  # fmt: skip
COMMIT = Effect("c", EffectClass.PROTECT, StoreCommit(rows=()))


def test_a_process_stands_before_the_nth_signed_request_over_all_steps():
    holds = Holds(Parent())
    holds.take(Hold(place="signed", nth=3))
    assert holds.before([QUERY, effect(), COMMIT]) is None
    assert holds.before([effect(), COMMIT, QUERY, effect(), effect()]) == 3
    assert holds.before([effect()]) is None


def test_a_process_stands_in_the_nth_work_of_its_kind_or_at_its_end():
    parent = Parent()
    holds = Holds(parent)

    def deep(left):
        return left if not left else deep(left - 1)

    holds.take(Hold(place="committing", nth=2, calls=5))
    assert holds.during(Place.RENEWING, lambda: deep(9)) == 0
    assert holds.during(Place.COMMITTING, lambda: deep(9)) == 0
    assert parent.stood == []
    assert holds.during(Place.COMMITTING, lambda: deep(9)) == 0
    holds.take(Hold(place="committing", nth=1, calls=50))
    assert holds.during(Place.COMMITTING, lambda: deep(9)) == 0
    holds.take(Hold(place="computing", nth=1))
    holds.take(Hold(place="idle", nth=0))
    assert holds.during(Place.COMPUTING, lambda: deep(9)) == 0
    assert parent.stood == ["committing", "committed"]


def test_the_places_of_freezes_are_drawn_from_the_seed_alone():
    drawn = _stops(7, 200, 0, 600 * MINUTE, places=PLACES)
    assert drawn == _stops(7, 200, 0, 600 * MINUTE, places=PLACES) == sorted(drawn)
    places = [one.place for one in drawn]
    assert min(places.count(place) for place in dict.fromkeys(PLACES)) >= 12
    assert sum(one.span_ns > 125 * SECOND for one in drawn) > 100


# ------------------------------------------------------------------------ the database


class Looks:
    def __init__(self):
        self.found = []
        self.address = ""

    def rows(self):
        return list(self.found)


class Process(StoppableKernel):
    """Of an instance: stands still, or answers."""

    def __init__(self):
        self.answers = []

    def store(self, asked):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rest_of_store(self):
        return self.store(None)


def lock(symbol):
    return LockRow(venue="bybit", symbol=symbol, until_ns=TsNs(1), reason="a")


def interrupted():
    looks = Looks()
    shared = SharedDatabase(looks)
    database, process = InstanceDatabase("a", shared), Process()
    database.serve(process)
    process.answers = [Standing("committing")]
    with pytest.raises(Standing):
        database.apply((lock("A"), lock("B")))
    return looks, shared, database, process


def test_of_an_interrupted_commit_the_database_has_all_or_nothing():
    looks, shared, _, _ = interrupted()
    looks.found = [lock("A")]
    with pytest.raises(InvariantViolation, match="1 rows that were answered are missing"):
        shared.settle()


def test_a_commit_that_was_found_is_not_done_twice_and_its_answer_is_held_against_it():
    looks, shared, database, process = interrupted()
    looks.found = [lock("A"), lock("B")]
    shared.settle()
    assert (shared.kept, shared.lost) == (1, 0)
    process.answers = [Applied()]
    assert database.apply((lock("A"), lock("B"))) == ()
    assert list(shared.mirror.rows()) == looks.found
    looks, shared, database, process = interrupted()
    looks.found = [lock("A"), lock("B")]
    shared.settle()
    process.answers = [StoreFenced("late")]
    with pytest.raises(InvariantViolation, match="a commit that was fenced is there"):
        database.apply((lock("A"), lock("B")))


def test_rows_that_stood_there_before_tell_nothing_of_a_commit():
    for answer in (Applied(), StoreFenced("late")):
        looks = Looks()
        shared = SharedDatabase(looks)
        database, process = InstanceDatabase("a", shared), Process()
        database.serve(process)
        process.answers = [Applied(), Standing("committing"), answer]
        database.apply((lock("A"),))
        looks.found = [lock("A")]
        with pytest.raises(Standing):
            database.apply((lock("A"),))
        shared.settle()
        assert (shared.kept, shared.lost) == (0, 0)
        if isinstance(answer, StoreFenced):
            with pytest.raises(StoreFenced):
                database.apply((lock("A"),))
        else:
            assert database.apply((lock("A"),)) == ()


def test_what_broke_is_looked_up():
    _, shared, database, process = interrupted()
    process.answers = [StoreError("the connection is gone")]
    with pytest.raises(StoreError, match="is gone"):
        database.apply((lock("A"), lock("B")))
    assert (shared.kept, shared.lost) == (0, 1)
    assert list(shared.mirror.rows()) == []


# ------------------------------------------------------------------------ the command


def test_the_command_tells_its_figures_and_how_to_repeat_a_round():
    told = run_sim("freeze", "--real", "--store", "memory", "--count", "1", "--seed", "5", "--json")
    assert told.returncode == 0, told.stderr
    figures = json.loads(told.stdout)
    assert (figures["freezes"], figures["overlaps"], sum(figures["points"].values())) == (1, 0, 1)
    again = "python run_sim.py freeze --count 1 --seed 5 --real --store memory"
    assert figures["rounds"][0]["reproduce"] == again


def test_flags_that_say_nothing_together_are_refused():
    told = run_sim("freeze", "--store", "memory", "--without", "fence")
    assert told.returncode == 2
    assert told.stderr.splitlines() == [
        "--store: needs --real",
        "--without: needs --real",
        "--without fence: needs --store postgres",
    ]


@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_leaves_no_process_no_server_and_no_folder(end, code):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        command = subprocess.Popen(
            [sys.executable, "run_sim.py", "freeze", "--real", "--count", "10"], cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": folder},
        )  # fmt: skip
        with command:
            pids: list[int] = []
            while len(pids) < 3 and command.poll() is None:
                time.sleep(0.1)
                pids = users_of(folder, command.pid)
            command.send_signal(end)
            assert command.wait(30) == code
        assert len(pids) >= 3
        assert all(gone(pid) for pid in pids)
        assert list(Path(folder).iterdir()) == []


def users_of(folder, parent):
    """The kernels of a command, and the server in its folder."""
    found = Path(folder).glob("*/**/postmaster.pid")
    servers = [int(path.read_text().split()[0]) for path in found]
    kernels = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [*servers, *map(int, kernels)]
