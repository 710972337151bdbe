"""`--store`: a run decides the same on memory and on PostgreSQL."""

import subprocess
import sys

import msgspec
import pytest

from scenarios.runner import Choice, choose, run_job
from scenarios.stores import backends
from tests.conventions import tree

LIGHT = """
import sys
import run_sim
run_sim.main(["scenario", "crash/twice", "--venue", "binance", "--json"])
found = [name for name in ("asyncpg", "sqlalchemy", "alembic") if name in sys.modules]
assert not found, found
"""


def test_a_run_has_the_same_digest_on_memory_and_on_postgresql(postgres):
    jobs = choose(Choice(names=("crash/twice", "entry/lost-reply"), venues=("bybit",)))
    jobs += choose(Choice(names=("store",), venues=("binance",)))
    assert len(jobs) > 5
    for job in jobs:
        plain = run_job(job)
        stored = run_job(msgspec.structs.replace(job, server=postgres.address("{}")))
        assert (stored.digest, stored.problems) == (plain.digest, ())


def test_each_backend_is_empty_also_after_a_run(postgres):
    with backends(postgres.address("{}")) as fresh:
        first = fresh()
        first.load(1)
        first.keep_events(())
        again = fresh()
        assert (again.epoch, list(again.rows()), again.events()) == (0, [], ())
        assert again.load(5).epoch == 1


def test_a_run_on_memory_loads_no_database_library():
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], cwd=tree.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("store", ["memory", "postgres"])
def test_the_command_takes_the_store_by_its_name(store):
    done = subprocess.run(
        [sys.executable, "run_sim.py", "scenario", "--list", "crash/twice", "--store", store],
        cwd=tree.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "crash/twice" in done.stdout
