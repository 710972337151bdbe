"""Alerts: a state once, reminders, its end; equal ones are counted; every kind is listed."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.messages import Alert
from kernel.model.units import MINUTE, SECOND, MonoNs, TsNs
from kernel.ports.outbox import Outbox
from kernel.runtime.scheduler import Runtime
from kernel.watch.alert_kinds import ALERTS, Sort, alert_kind
from kernel.watch.alerts import OFTEN_NS, REMIND_NS, Alerts
from kernel.watch.kinds import KINDS
from tests.conventions.tree import ROOT


class Bench:
    """Alerts on a runtime of their own; `run` lets time pass."""

    def __init__(self) -> None:
        self.runtime = Runtime()
        self.runtime.set_time(MonoNs(0), TsNs(0))
        self.outbox = Outbox(self.runtime)
        self.alerts = Alerts(self.runtime, self.outbox)

    def run(self, until_ns: int) -> None:
        while (due := self.runtime.next_deadline()) is not None and due <= until_ns:
            self._at(due)
        self._at(until_ns)

    def _at(self, now_ns: int) -> None:
        self.runtime.set_time(MonoNs(now_ns), TsNs(now_ns))
        self.runtime.fire_due(MonoNs(now_ns), inclusive=True)
        self.runtime.run_ready()

    def alert(self, kind: str, **more: str) -> None:
        given = {"severity": "CRITICAL", "text": "words", "venue": "binance", **more}
        self.outbox.alert(Alert(kind=kind, **given))  # type: ignore[arg-type]

    def told(self) -> list[tuple[str, str]]:
        effects, _, _ = self.outbox.drain()
        bodies = [one.body for one in effects if isinstance(one.body, Alert)]
        return [(one.kind, one.state) for one in bodies]


def test_a_state_is_told_once_and_its_end_is_told() -> None:
    bench = Bench()
    for _ in range(3):
        bench.alert("stream.down", severity="ERROR")
    assert bench.told() == [("stream.down", "raised")]
    bench.outbox.record("stream.up", "up", venue="bybit")
    assert bench.told() == []
    bench.run(90 * SECOND)
    bench.outbox.record("stream.up", "up", venue="binance")
    (effect,) = bench.outbox.drain()[0]
    assert isinstance(effect.body, Alert)
    assert (effect.body.state, effect.body.severity) == ("recovered", "INFO")
    assert effect.body.text == "over after 90 s: words"
    assert effect.body.count == 3
    bench.alert("stream.down")
    assert bench.told() == [("stream.down", "raised")]


def test_a_critical_state_is_reminded_of_every_hour_and_another_one_is_not() -> None:
    bench = Bench()
    bench.alert("position.unprotected", symbol="BTCUSDT")
    bench.alert("stream.down", severity="ERROR")
    bench.told()
    bench.run(REMIND_NS - 1)
    assert bench.told() == []
    bench.run(2 * REMIND_NS)
    assert bench.told() == [("position.unprotected", "reminder")] * 2
    bench.outbox.record("stop.confirmed", "again", venue="binance", symbol="BTCUSDT")
    assert bench.told() == [("position.unprotected", "recovered")]
    bench.run(10 * REMIND_NS)
    assert bench.told() == []


def test_a_state_of_one_symbol_does_not_end_with_another_one() -> None:
    bench = Bench()
    bench.alert("position.unprotected", symbol="BTCUSDT")
    bench.alert("position.unprotected", symbol="ETHUSDT")
    assert len(bench.told()) == 2
    bench.outbox.record(
        "position.state", "flat", venue="binance", symbol="ETHUSDT", before="ACTIVE", after="CLOSED"
    )
    assert bench.told() == [("position.unprotected", "recovered")]
    assert [alert.symbol for alert, _ in bench.alerts.states()] == ["BTCUSDT"]


def test_a_decision_of_another_cause_or_value_ends_nothing() -> None:
    bench = Bench()
    bench.alert("clock.offset")
    bench.alert("position.unprotected", symbol="X")
    bench.told()
    bench.outbox.record("entries.unblocked", "resync", venue="binance", left="")
    bench.outbox.record(
        "position.state", "w", venue="binance", symbol="X", before="ACTIVE", after="CLOSING"
    )
    assert bench.told() == []
    bench.outbox.record("entries.unblocked", "clock offset", venue="binance", left="")
    assert bench.told() == [("clock.offset", "recovered")]


def test_parts_of_the_health_are_told_apart() -> None:
    bench = Bench()
    for part in ("database", "disk"):
        bench.alert("health.critical", venue="", dedupe=part)
    assert len(bench.told()) == 2
    bench.outbox.record("health.changed", "it commits", part="database", after="ok")
    assert bench.told() == [("health.critical", "recovered")]
    assert [alert.dedupe for alert, _ in bench.alerts.states()] == ["disk"]


def test_what_comes_often_is_told_once_an_hour_with_what_was_left_out() -> None:
    bench = Bench()
    for _ in range(4):
        bench.alert("venue.code_unlisted", dedupe="-9999")
    bench.alert("venue.code_unlisted", dedupe="-8888")
    assert len(bench.told()) == 2
    bench.run(OFTEN_NS)
    bench.alert("venue.code_unlisted", dedupe="-9999")
    (effect,) = bench.outbox.drain()[0]
    assert isinstance(effect.body, Alert)
    assert effect.body.text == "words (3 more like it since the last one was told)"
    assert effect.body.count == 4


def test_each_one_of_the_others_is_told() -> None:
    bench = Bench()
    bench.alert("rollback", symbol="X")
    bench.alert("rollback", symbol="X")
    assert len(bench.told()) == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("alert", "end", "wait")), st.sampled_from(("A", "B")), st.booleans()
        ),
        max_size=40,
    )
)
def test_told_and_recovered_alternate_at_each_place(acts: list[tuple[str, str, bool]]) -> None:
    bench = Bench()
    now = 0
    for act, symbol, critical in acts:
        if act == "alert":
            severity = "CRITICAL" if critical else "WARNING"
            bench.alert("trailing.stuck", symbol=symbol, severity=severity)
        elif act == "end":
            bench.outbox.record("trailing.moved", "t", venue="binance", symbol=symbol)
        else:
            now += 30 * MINUTE
            bench.run(now)
    effects, _, _ = bench.outbox.drain()
    for symbol in ("A", "B"):
        states = [
            one.body.state
            for one in effects
            if isinstance(one.body, Alert) and one.body.symbol == symbol
        ]
        turns = [state for state in states if state != "reminder"]
        assert turns == ["raised", "recovered"] * (len(turns) // 2) + ["raised"] * (len(turns) % 2)
        lasts = symbol in [alert.symbol for alert, _ in bench.alerts.states()]
        assert lasts is (len(turns) % 2 == 1)


def test_an_emergency_close_is_told_once_a_position() -> None:
    bench = Bench()
    for _ in range(2):
        bench.outbox.record(
            "exit.submitted", "no stop", venue="binance", position_id="p", reason="UNPROTECTED"
        )
    bench.outbox.record("exit.submitted", "aged", position_id="q", reason="AGED")
    assert bench.told() == [("emergency_close", "raised")]


def test_an_error_of_watching_is_recorded_and_ends_nothing() -> None:
    bench = Bench()

    def broken(_: object) -> None:
        raise ValueError("broken")

    bench.outbox.listen("stop.set", broken)
    bench.outbox.record("stop.set", "first stop")
    bench.outbox.on_alert = broken
    bench.alert("rollback")
    effects, decisions, _ = bench.outbox.drain()
    assert [one.kind for one in decisions] == ["stop.set", "watch.failed", "watch.failed"]
    assert len(effects) == 1


def kinds_in_the_code() -> dict[str, str]:
    """Kind → file: dotted or known constants in calls that alert."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "kernel").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called not in ("alert", "_alert", "Alert"):
                continue
            named = [word.value for word in node.keywords if word.arg == "kind"]
            for one in [*node.args[1:2], *named]:
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    found[one.value] = str(path.relative_to(ROOT))
    return found


def test_every_alert_that_the_code_tells_is_in_the_table() -> None:
    found = kinds_in_the_code()
    assert len(found) > 35
    assert {kind: file for kind, file in found.items() if kind not in ALERTS} == {}


@pytest.mark.parametrize("kind", ALERTS)
def test_every_entry_says_what_it_means_and_how_a_state_ends(kind: str) -> None:
    known = ALERTS[kind]
    assert known.meaning.endswith(".")
    assert known.act.endswith((".", "?"))
    assert bool(known.ends) is (known.sort is Sort.STATE)
    for end in known.ends:
        assert end.kind in KINDS


def test_an_alert_of_no_entry_is_told_all_the_same() -> None:
    bench = Bench()
    bench.alert("comet.seen")
    assert bench.told() == [("comet.seen", "raised")]
    assert alert_kind("comet.seen") is None
    assert alert_kind("venue.margin_call") is ALERTS["venue.*"]
