"""A life is killed at every eleventh effect, before it leaves and after: every rest holds.

`MISSED` moves the grid, so that two runs with different offsets see other points; the whole grid
(stride 1) holds too and takes a minute.
"""

import pytest

from scenarios.assembly import assemble
from scenarios.files import read_suites
from scenarios.run import Run
from scenarios.schema import After, CrashPart, ExpectPart, Happening

STRIDE = 11
MISSED = {"life/rising-price": 3, "entry/stop-rejected": 5}


class Keys:
    def __init__(self):
        self.count = 0

    def born(self, kernel):
        pass

    def died(self, reason):
        pass

    def step(self, item, result):
        self.count += len(result.effects)


def made(name, venue, **changes):
    (entry,) = [entry for entry in read_suites() if entry.name == name]
    scenario = entry.scenario(venue).model_copy(update=changes)
    return assemble(scenario, venue, seed=1)


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("venue", ["binance", "bybit"])
@pytest.mark.parametrize("name", MISSED)
def test_a_crash_at_any_effect_keeps_every_invariant(name, venue, before):
    keys = Keys()
    Run(made(name, venue), level="sim", sinks=(keys,)).play()
    assert keys.count > 60
    for nth in range(1 + MISSED[name], keys.count, STRIDE):
        crash = Happening(
            after=After(effect="*", nth=nth, before=before), crash=CrashPart(down="3s")
        )
        run = Run(made(name, venue, timeline=(crash,), expect=ExpectPart()), level="sim")
        assert run.driver.starts == 0
        problems = [line for line in run.play() if "never met" not in line]
        assert problems == [], f"at effect {nth}"
        assert run.driver.starts == 2
