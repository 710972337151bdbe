"""A task of a position that crashes for good leaves the position kept under a stop."""

import pytest

from kernel.sync.recovery import Recovery
from kernel.trade.stop_keeper import StopKeeper
from scenarios.assembly import assemble
from scenarios.files import read_suites
from scenarios.run import Run
from scenarios.schema import CrashPart, ExpectPart, Happening


def problems_of(name, venue, **changes):
    (entry,) = [entry for entry in read_suites() if entry.name == name]
    scenario = entry.scenario(venue).model_copy(update={"expect": ExpectPart(), **changes})
    found = Run(assemble(scenario, venue, seed=1), level="sim").play()
    return [line for line in found if not line.startswith("I20")]


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_a_position_that_could_not_be_secured_is_kept_after_last_resort(monkeypatch, venue):
    async def broken(self, position, report):
        raise RuntimeError("planted")

    monkeypatch.setattr(Recovery, "_secure", broken)
    crash = Happening(at="2m", crash=CrashPart(down="5s"))
    assert problems_of("stops/canceled-by-venue", venue, timeline=(crash,)) == []


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_a_keeper_that_crashed_too_often_is_started_again(monkeypatch, venue):
    whole = StopKeeper._keep_on
    crashes: list[str] = []

    async def broken(self, position, watch):
        if len(crashes) < 4:
            crashes.append(position.id)
            raise RuntimeError("planted")
        await whole(self, position, watch)

    monkeypatch.setattr(StopKeeper, "_keep_on", broken)
    assert problems_of("stops/canceled-by-venue", venue) == []
    assert len(crashes) == 4
