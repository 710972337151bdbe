"""Health: each part by what who knows says, told when it changes, critical when it lasts."""

import pytest

from kernel.config import Settings
from kernel.model.messages import Alert, HostReport
from kernel.model.units import MINUTE, MS, MonoNs, TsNs
from kernel.ports.outbox import Outbox
from kernel.runtime.scheduler import Runtime
from kernel.watch.health import ESCALATES, MB, RULES, Health
from kernel.watch.kinds import KINDS


class Bench:
    """A health of two venues on a runtime of its own."""

    def __init__(self, **settings: str) -> None:
        self.runtime = Runtime()
        self.runtime.set_time(MonoNs(0), TsNs(0))
        self.outbox = Outbox(self.runtime)
        loaded = Settings.load(settings)
        self.health = Health(self.runtime, self.outbox, loaded, ("binance", "bybit"))

    def say(self, kind: str, cause: str = "why", venue: str = "") -> None:
        self.outbox.record(kind, cause, venue=venue)

    def well(self) -> None:
        for kind in ("recovery.loaded", "feed.ready"):
            self.say(kind)
        for venue in ("binance", "bybit"):
            self.say("stream.up", venue=venue)
            self.say("venue.open", venue=venue)

    def run(self, now_ns: int) -> None:
        self.runtime.set_time(MonoNs(now_ns), TsNs(now_ns))
        self.runtime.fire_due(MonoNs(now_ns), inclusive=True)
        self.runtime.run_ready()

    def levels(self) -> dict[str, str]:
        return {part.name: part.level for part in self.health.status().parts}

    def told(self) -> tuple[list[str], list[str]]:
        effects, decisions, _ = self.outbox.drain()
        alerts = [one.body.dedupe for one in effects if isinstance(one.body, Alert)]
        changes = [
            f"{one.values['part']} {one.values['before']} {one.values['after']}"
            for one in decisions
            if one.kind == "health.changed"
        ]
        return changes, alerts


def test_before_anything_is_heard_it_is_degraded_and_a_good_start_tells_nothing() -> None:
    bench = Bench()
    assert bench.health.status().level == "degraded"
    bench.well()
    assert bench.told() == ([], [])
    assert bench.health.status().level == "ok"
    assert len(bench.levels()) == 2 + 3 * 2 + 3


def test_a_part_that_breaks_and_heals_is_told_twice() -> None:
    bench = Bench()
    bench.well()
    bench.say("stream.down", "broke", "bybit")
    assert bench.levels()["stream bybit"] == "degraded"
    assert bench.levels()["stream binance"] == "ok"
    bench.say("stream.down", "still", "bybit")
    bench.say("stream.up", "every topic is confirmed", "bybit")
    assert bench.told() == (["stream bybit ok degraded", "stream bybit degraded ok"], [])


def test_what_is_bad_from_the_start_is_told() -> None:
    bench = Bench()
    bench.say("store.unloaded", "down")
    assert bench.told() == (["database degraded critical"], ["database"])
    bench.say("recovery.loaded")
    assert bench.told() == (["database critical ok"], [])


def test_what_stays_degraded_becomes_critical_and_another_failure_makes_it_no_better() -> None:
    bench = Bench()
    bench.well()
    bench.say("store.failing", "no answer")
    bench.run(5 * MINUTE - 1)
    assert bench.levels()["database"] == "degraded"
    bench.run(5 * MINUTE)
    assert bench.told() == (
        ["database ok degraded", "database degraded critical"],
        ["database"],
    )
    bench.say("store.failing", "again")
    assert bench.levels()["database"] == "critical"
    bench.say("store.recovered")
    assert bench.levels()["database"] == "ok"


def test_what_healed_in_time_does_not_become_critical() -> None:
    bench = Bench()
    bench.well()
    bench.say("stream.down", venue="binance")
    bench.run(MINUTE)
    bench.say("stream.up", venue="binance")
    bench.run(10 * MINUTE)
    assert bench.told()[1] == []


def test_the_clock_is_judged_by_the_block_that_it_causes() -> None:
    bench = Bench()
    bench.well()
    bench.say("entries.blocked", "resync", "binance")
    assert bench.levels()["clock binance"] == "ok"
    bench.say("entries.blocked", "clock offset", "binance")
    assert bench.levels()["clock binance"] == "degraded"
    bench.say("entries.unblocked", "clock offset", "binance")
    assert bench.levels()["clock binance"] == "ok"


@pytest.mark.parametrize(
    ("report", "part", "level"),
    [
        (HostReport(disk_free_bytes=499 * MB), "disk", "critical"),
        (HostReport(disk_free_bytes=999 * MB), "disk", "degraded"),
        (HostReport(disk_free_bytes=1000 * MB), "disk", "ok"),
        (HostReport(memory_bytes=2049 * MB), "memory", "critical"),
        (HostReport(memory_bytes=1639 * MB), "memory", "degraded"),
        (HostReport(memory_bytes=1600 * MB), "memory", "ok"),
        (HostReport(lag_ns=5001 * MS), "lag", "critical"),
        (HostReport(lag_ns=1001 * MS), "lag", "degraded"),
        (HostReport(lag_ns=1000 * MS), "lag", "ok"),
    ],
)
def test_the_host_is_judged_by_the_settings(report: HostReport, part: str, level: str) -> None:
    bench = Bench()
    bench.health.on_host(report)
    assert bench.levels()[part] == level
    rest = {name: one for name, one in bench.levels().items() if name in ("disk", "memory", "lag")}
    assert [one for name, one in rest.items() if name != part] == ["ok", "ok"]


def test_a_limit_of_zero_judges_nothing() -> None:
    bench = Bench(DISK_FREE_MIN_MB="0", MEMORY_MAX_MB="0", KERNEL_LAG_WARN_MS="0")
    bench.health.on_host(HostReport(disk_free_bytes=0, memory_bytes=10**12, lag_ns=10**12))
    assert bench.told() == ([], [])


def test_rules_speak_of_decisions_and_parts_that_exist() -> None:
    assert [kind for kind in RULES if kind not in KINDS] == []
    bases = dict.fromkeys(name.split()[0] for name in Bench().levels())
    assert [one for rules in RULES.values() for one, _, _ in rules if one not in bases] == []
    assert [base for base in ESCALATES if base not in bases] == []
