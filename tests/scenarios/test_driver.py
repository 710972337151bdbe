"""The driver's own rules, on whole scenarios: exact stepping, crashes, stalls."""

from collections import Counter
from itertools import pairwise

import pytest

from kernel.errors import InvariantViolation
from kernel.model.messages import Stall, Start, Tick, VenueAnswer
from scenarios.assembly import assemble
from scenarios.files import read_suites
from scenarios.run import Run


class Steps:
    """Keeps every step and the lives of the kernels."""

    def __init__(self):
        self.items = []
        self.lives = []

    def born(self, kernel):
        self.lives.append("born")

    def died(self, reason):
        self.lives.append(reason)

    def step(self, item, result):
        self.items.append((item, result))


def played(name, venue="binance", **changes):
    (entry,) = [entry for entry in read_suites() if entry.name == name]
    scenario = entry.scenario(venue).model_copy(update=changes)
    steps = Steps()
    run = Run(assemble(scenario, venue, seed=1), level="sim", sinks=(steps,))
    return run, steps, run.play()


def test_stamps_never_go_back_and_inputs_are_numbered():
    _, steps, problems = played("life/rising-price")
    items = [item for item, _ in steps.items]
    assert problems == []
    assert [item.seq for item in items] == list(range(len(items)))
    assert all(a.ts_ns <= b.ts_ns for a, b in pairwise(items))


def test_a_tick_comes_only_where_no_other_input_is_due_at_its_stamp():
    _, steps, _ = played("life/rising-price")
    items = [item for item, _ in steps.items]
    for tick, follower in pairwise(items):
        if isinstance(tick.body, Tick) and isinstance(follower.body, VenueAnswer):
            assert follower.ts_ns > tick.ts_ns


def test_a_crash_cuts_the_kernel_off_and_a_new_one_starts_from_the_store():
    run, steps, problems = played("crash/between-fill-and-stop")
    starts = [item for item, _ in steps.items if isinstance(item.body, Start)]
    assert problems == []
    assert steps.lives == ["born", "crash", "born"]
    assert [item.body.reason for item in starts] == ["start", "crash"]
    assert starts[1].mono_ns == 0
    assert run.world.store.epoch == 2


def test_what_left_before_the_crash_still_reaches_the_venue():
    run, _, problems = played("crash/after-entry-left")
    assert problems == []
    assert len(run.seen.order_ids["E"]) == 1
    assert run.world.venues["binance"].account.open


def test_what_did_not_leave_before_the_crash_never_reaches_it():
    run, _, problems = played("crash/before-entry-leaves")
    assert problems == []
    assert not run.world.venues["binance"].account.open


def test_an_orderly_stop_ends_one_life_and_the_next_begins():
    _, steps, problems = played("crash/clean-restart")
    assert problems == []
    assert steps.lives == ["born", "stopped", "born"]


def test_two_kernels_cannot_live_at_once():
    run, _, _ = played("life/quiet")
    with pytest.raises(InvariantViolation, match="alive already"):
        run.driver.start()


def test_during_a_stall_the_kernel_sees_nothing_and_then_the_stall_first():
    run, steps, _ = played("life/quiet")
    run.driver.stall(3_000_000_000)
    began = run.world.agenda.now_ns
    run.driver.run(began + 60_000_000_000)
    after = [item for item, _ in steps.items if item.ts_ns > began]
    assert isinstance(after[0].body, Stall)
    assert after[0].ts_ns == began + 3_000_000_000


def test_sinks_do_not_change_the_digest():
    with_sink, _, _ = played("entry/lost-reply")
    (entry,) = [entry for entry in read_suites() if entry.name == "entry/lost-reply"]
    alone = Run(assemble(entry.scenario("binance"), "binance", seed=1), level="sim")
    alone.play()
    assert alone.recorder.digest() == with_sink.recorder.digest()


def test_every_effect_has_a_content_key_of_its_own_within_a_life():
    _, steps, _ = played("life/rising-price")
    keys = Counter(effect.key for _, result in steps.items for effect in result.effects)
    assert keys.most_common(1)[0][1] == 1
