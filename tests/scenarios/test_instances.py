"""Two instances on one account: freezes at drawn points, and every guard of the lease is needed."""

import json

import pytest

from kernel.store.leases import Holding, LeaseAsk, may_have
from kernel.store.simulated import SimulatedStore
from kernel.trade.lease import Lease
from scenarios.instances import FreezeRound, freeze_rounds, run_freezes
from tests.scenarios.programs import run_sim
from venues.sim.venue import SimVenue

MINUTE = 60 * 10**9


@pytest.mark.parametrize("seed", [1, 2, 1014])
def test_no_request_of_an_old_holder_is_looked_at_after_the_first_of_a_new_one(seed):
    made = run_freezes(FreezeRound(seed=seed, freezes=10))
    assert made.problems == ()
    assert made.freezes == 10
    assert made.takeovers >= 4
    assert made.superseded >= made.takeovers - 1
    assert made.requests > 500
    assert made.opened >= 5
    assert run_freezes(FreezeRound(seed=seed, freezes=10)).digest == made.digest


def test_at_level_wire_the_emulators_hold_it_too():
    made = run_freezes(FreezeRound(seed=3, freezes=10, level="wire"))
    assert made.problems == ()
    assert (made.freezes, made.overlaps) == (10, 0)
    assert made.takeovers >= 4
    assert made.late >= 1


def overlaps(seed):
    return [one for one in run_freezes(FreezeRound(seed=seed, freezes=10)).problems
            if one.startswith("lease: ")]  # fmt: skip


def test_without_the_silence_after_a_freeze_old_requests_are_found(monkeypatch):
    monkeypatch.setattr(Lease, "permits", lambda self, cls: True)
    assert overlaps(1)


def test_without_the_window_of_the_venue_what_was_signed_before_is_found(monkeypatch):
    monkeypatch.setattr(SimVenue, "untimely", lambda self, stamp_ns, **at: None)
    assert any(overlaps(seed) for seed in (1, 2, 3))


def test_without_the_fence_the_rows_of_an_old_holder_are_found(monkeypatch):
    complete = SimulatedStore.complete

    def unfenced(self, key, now_ns):
        self._epochs.clear()
        return complete(self, key, now_ns)

    monkeypatch.setattr(SimulatedStore, "complete", unfenced)
    found = run_freezes(FreezeRound(seed=2, freezes=10)).problems
    assert any(one.startswith(("I6", "I10", "I11")) for one in found)


def wish(instance, epoch):
    return LeaseAsk(instance, ("binance",), epoch, MINUTE, MINUTE)


def test_an_instance_gets_its_own_lease_back_and_that_of_another_after_the_wait():
    held = Holding("a", 7, 10 * MINUTE)
    start = wish("b", 0)
    assert may_have(None, start, 0)
    assert not may_have(held, start, 11 * MINUTE - 1)
    assert may_have(held, start, 11 * MINUTE)
    assert may_have(held, wish("a", 0), 0)
    assert may_have(held, wish("a", 7), 0)


def test_a_run_that_lost_the_lease_never_gets_it_back():
    held = Holding("a", 7, 10 * MINUTE)
    assert not may_have(held, wish("b", 6), 99 * MINUTE)
    assert not may_have(held, wish("a", 6), 0)


def test_the_command_tells_its_figures():
    told = run_sim("freeze", "--count", "10", "--seed", "1", "--json")
    assert told.returncode == 0, told.stderr
    figures = json.loads(told.stdout)
    assert figures["freezes"] == 10
    assert figures["rounds"][0]["reproduce"] == "python run_sim.py freeze --count 10 --seed 1"
    assert [one.freezes for one in freeze_rounds(3, 25)] == [10, 10, 5]
