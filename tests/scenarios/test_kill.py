"""Rounds of kills: real deaths, the digest of one process, and judges that see what is wrong."""

import json

import msgspec
import pytest

from kernel.errors import InvariantViolation
from kernel.model.rows import FillRow, LockRow
from kernel.model.units import TsNs
from kernel.store.simulated import SimulatedStore
from kernel.trade.stop_loss import StopOwner
from scenarios.child_database import ChildDatabase
from scenarios.deaths import IN_OUTAGES, WITHOUT_DATABASE, How, plan_deaths
from scenarios.driver import Death
from scenarios.frames import Applied
from scenarios.kill import Round, reproduce, rounds, run_round
from tests.kernel.lives import RISE, Life
from tests.scenarios.programs import run_sim

HOUR_NS = 3600 * 10**9


def test_a_round_gives_one_digest_in_one_process_and_in_many():
    here = run_round(Round(seed=3, deaths=6, isolate=False))
    apart = run_round(Round(seed=3, deaths=6))
    assert here.problems == ()
    assert here.kills == 6
    assert here.starts >= 7
    assert msgspec.structs.replace(here, round=apart.round) == apart


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_way_to_die_leads_to_a_start_with_exact_books(seed):
    round_ = run_round(Round(seed=seed, deaths=20, isolate=False))
    assert round_.problems == ()
    assert sorted(round_.ways) == sorted((*WITHOUT_DATABASE, *IN_OUTAGES))
    assert sum(round_.ways.values()) == round_.kills == 20
    assert round_.opened >= 10
    assert round_.faults >= 10
    assert round_.starts >= 21  # one that began without its store starts anew
    assert len(round_.settled_s) + round_.overtaken == round_.starts
    assert round_.outages >= 10
    assert round_.spooled >= 10


def test_a_store_that_forgets_a_durable_trade_is_found(monkeypatch):
    crash = SimulatedStore.crash
    forgotten: list[str] = []

    def forget(self, applied=0, **more):
        crash(self, applied, **more)
        trades = [row for row in self.rows() if isinstance(row, FillRow)]
        if trades and not forgotten:
            forgotten.append(trades[0].trade_id)
            held = self.snapshot()
            kept = [row for row in held.rows if getattr(row, "trade_id", "") != forgotten[0]]
            self.restore(held._replace(rows=tuple(kept)))

    monkeypatch.setattr(SimulatedStore, "crash", forget)
    found = run_round(Round(seed=3, deaths=12, isolate=False))
    assert forgotten
    assert any("is not booked" in problem for problem in found.problems)


def test_a_kernel_that_protects_nothing_after_a_start_is_found(monkeypatch):
    async def nothing(self, position, *args, **kwargs):
        await self._services.runtime.sleep(HOUR_NS)
        return True

    monkeypatch.setattr(StopOwner, "protect", nothing)
    monkeypatch.setattr(StopOwner, "ensure", nothing)
    found = run_round(Round(seed=3, deaths=4, isolate=False))
    assert any(problem.startswith("I1 ") for problem in found.problems)


def test_of_a_step_in_which_the_kernel_dies_nothing_leaves_and_nobody_sees_it(monkeypatch):
    calm = Life(("binance",), RISE)
    calm.until(600)
    sizes = [len(result.effects) for _, result in calm.steps]
    rich = max(range(len(sizes)), key=sizes.__getitem__)
    life = Life(("binance",), RISE)
    accepted = [effect.key for effect in life.effects]
    accept = life.world.accept

    def noted(effect):
        accepted.append(effect.key)
        accept(effect)

    monkeypatch.setattr(life.world, "accept", noted)
    life.driver.ambush = lambda: Death() if life.driver.steps == rich else None
    life.until(600)
    assert life.deaths == ["crash"]
    assert life.driver.kernel is None
    assert len(life.steps) == rich
    assert accepted == [effect.key for _, result in calm.steps[:rich] for effect in result.effects]


def test_deaths_are_drawn_from_the_seed_alone():
    drawn = plan_deaths(7, 200, 0, 10 * HOUR_NS)
    assert drawn == plan_deaths(7, 200, 0, 10 * HOUR_NS)
    assert drawn == sorted(drawn)
    assert drawn[-1].at_ns <= 8 * HOUR_NS
    ways = [death.how for death in drawn]
    assert min(ways.count(how) for how in WITHOUT_DATABASE) > 40
    assert {death.applied for death in drawn} == {0, 1, 2, 3}


def test_rounds_hold_the_count_and_name_their_seeds():
    made = rounds(5, 45)
    assert [(one.seed, one.deaths) for one in made] == [(5, 20), (6, 20), (7, 5)]
    assert reproduce(made[2]) == "python run_sim.py kill --count 5 --seed 7"


def test_the_command_tells_its_figures_and_refuses_what_is_no_number():
    told = run_sim("kill", "--count", "2", "--seed", "3", "--json")
    assert told.returncode == 0, told.stderr
    figures = json.loads(told.stdout)
    assert figures["kills"] == 2
    assert figures["failed"] == 0
    assert figures["rounds"][0]["digest"] == run_round(Round(seed=3, deaths=2)).digest
    wrong = run_sim("kill", "--count", "0")
    assert wrong.returncode == 2
    assert "--count: 0: must be a whole number from 1 to 1000000" in wrong.stderr


# ------------------------------------------------------------------------ the database


def test_commits_are_cut_in_the_middle_and_the_server_dies_too_and_nothing_is_lost(postgres):
    found = run_round(Round(seed=2, deaths=6, store="postgres", servers=3))
    assert found.problems == ()
    assert found.ways[How.SERVER] == 3
    assert found.compared == found.kills == 6
    assert found.kept + found.lost >= 3
    assert found.starts >= 7


class Looks:
    """An observer that sees what a test tells it to."""

    def __init__(self):
        self.found = []

    def rows(self):
        return list(self.found)

    def replace(self, rows, *, epoch=None, since_ns=0, mark=None):
        self.found = list(rows)


class Answers:
    """A kernel whose process has a database that says yes."""

    def store(self, asked):
        return Applied()

    def die_at_commit(self, asked, meanwhile):
        meanwhile()


def lock(symbol):
    return LockRow(venue="binance", symbol=symbol, reason="why", until_ns=TsNs(1))


def after_death(held, *, cut=()):
    """A database that was told of two locks, and holds others after a death while it cut `cut`."""
    looks = Looks()
    database = ChildDatabase("", looks)
    database.serve(Answers())
    for symbol in ("AAAUSDT", "BBBUSDT"):
        database.apply((lock(symbol),))
    if cut:
        database.cut(tuple(map(lock, cut)), lambda: None)
    looks.found = [lock(symbol) for symbol in held]
    database.buried()
    return database


def test_what_was_answered_and_is_missing_after_a_death_is_found():
    with pytest.raises(InvariantViolation, match="1 rows that were answered are missing"):
        after_death(["AAAUSDT"])


def test_half_of_a_commit_after_a_death_is_found():
    with pytest.raises(InvariantViolation, match="1 rows that were answered are missing"):
        after_death(["AAAUSDT", "BBBUSDT", "CCCUSDT"], cut=("CCCUSDT", "DDDUSDT"))


def test_a_commit_that_was_cut_is_there_whole_or_not_at_all():
    whole = after_death(["AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT"], cut=("CCCUSDT", "DDDUSDT"))
    assert (whole.kept, whole.lost) == (1, 0)
    assert [row.symbol for row in whole.rows(LockRow)][2:] == ["CCCUSDT", "DDDUSDT"]
    gone = after_death(["AAAUSDT", "BBBUSDT"], cut=("CCCUSDT",))
    assert (gone.kept, gone.lost) == (0, 1)


def test_servers_are_shared_among_rounds_and_need_a_database():
    made = rounds(1, 200, store="postgres", servers=50)
    assert [one.servers for one in made] == [5] * 10
    assert reproduce(made[0]).endswith("--count 20 --seed 1 --store postgres --servers 5")
    told = run_sim("kill", "--count", "10", "--servers", "11")
    assert told.returncode == 2
    assert "--servers 11: needs --store postgres" in told.stderr
    assert "--servers 11: must be at most --count 10" in told.stderr
