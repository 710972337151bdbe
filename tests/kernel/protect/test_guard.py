"""The guard where something goes wrong: scenarios have no way to make an error of the code."""

import pytest

from kernel.model.units import HOUR, MINUTE, SECOND
from kernel.protect.guard import FAILURES, Guard
from tests.kernel.fakes import Bench


class Broken(Exception):
    """A mistake in the code."""


@pytest.fixture
def bench():
    return Bench(venue_names=("binance", "bybit")).protection()


def guard_of(bench, broken, seen, monkeypatch):
    """A guard whose verdict on one venue fails."""
    guard = Guard(bench.services, bench.stops, bench.exits)

    def health(position, guarded, *, quote_age_ns):
        seen.append(position.venue)
        if position.venue == broken:
            raise Broken
        return "nothing to judge by"

    monkeypatch.setattr(guard, "_health", health)
    return guard


def both_protected(bench):
    for venue in ("binance", "bybit"):
        bench.protected(venue=venue)


@pytest.mark.parametrize("broken", ["binance", "bybit"])
def test_an_error_about_one_position_ends_the_round_for_no_other(bench, broken, monkeypatch):
    both_protected(bench)
    seen: list[str] = []
    bench.services.supervise("guard", guard_of(bench, broken, seen, monkeypatch).run)
    bench.run(bench.runtime.now() + 31 * SECOND)
    assert sorted(seen) == ["binance", "bybit"]
    assert [type(error) for _, error in bench.crashes] == [Broken]


def test_a_position_that_fails_again_and_again_is_guarded_no_more(bench, monkeypatch):
    both_protected(bench)
    seen: list[str] = []
    bench.services.supervise("guard", guard_of(bench, "binance", seen, monkeypatch).run)
    bench.run(bench.runtime.now() + HOUR)
    assert seen.count("binance") == FAILURES + 1 == len(bench.crashes)
    assert seen.count("bybit") > 100


def test_a_position_new_to_the_guard_is_judged_by_every_candle_since_its_fill(bench):
    """Also on a market that the guard knows already, whose candles it need not read for itself."""
    position = bench.protected()
    guard = Guard(bench.services, bench.stops, bench.exits)
    bench.services.supervise("guard", guard.run)
    bench.at(bench.runtime.now() + 20 * MINUTE, lambda: bench.prices.push("BTCUSDT", "43000"))
    bench.at(bench.runtime.now() + 21 * MINUTE, lambda: bench.prices.push("BTCUSDT", "42000"))
    bench.run(bench.runtime.now() + HOUR)
    first = guard._guarded.pop(position.id)
    bench.run(bench.runtime.now() + MINUTE)
    assert guard._guarded[position.id].best == first.best == 43000
