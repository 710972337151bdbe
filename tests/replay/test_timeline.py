"""The timeline: one fact a line, quiet ones left out, alerts and lives told."""

from kernel.model.messages import (
    Alert,
    Decision,
    Effect,
    Input,
    InputBody,
    Operator,
    Stall,
    Start,
    StepResult,
    Tick,
)
from kernel.model.units import MonoNs, TsNs
from kernel.model.venue import EffectClass
from kernel.signals.timestamps import parse_utc
from replay.timeline import Fact, Timeline, clock_text, fact_lines, facts_of

NOW = TsNs(parse_utc("2026-01-05T12:20:03Z") + 214_000_000)


def told(*decisions: Decision, body: InputBody | None = None, quiet: bool = False) -> list[Fact]:
    item = Input(1, NOW, MonoNs(1), "key", body or Tick())
    return facts_of(item, StepResult([], list(decisions), []), quiet=quiet)


def test_a_decision_is_one_line_with_time_place_what_why_and_values() -> None:
    decision = Decision(
        kind="stop.missing",
        cause="missing from a bulk read",
        venue="binance",
        symbol="BTCUSDT",
        position_id="p",
        client_order_id="wk1-S0-1",
        values={"level": "41160", "empty": ""},
    )
    (fact,) = told(decision)
    assert fact.text() == (
        "12:20:03.214 ! binance BTCUSDT       stop missing  missing from a bulk read"
        "  level 41160  wk1-S0-1"
    )


def test_a_transition_reads_as_one() -> None:
    decision = Decision(
        kind="position.state", cause="filled", values={"before": "A", "after": "B", "qty": "1"}
    )
    (fact,) = told(decision)
    assert fact.what == "position A → B"
    assert fact.values == {"qty": "1"}


def test_what_says_little_is_told_only_when_asked() -> None:
    quiet = Decision(kind="wave.slice", cause="validated")
    again = Decision(kind="stop.confirmed", cause="trailing")
    repaired = Decision(kind="stop.confirmed", cause="missing from a bulk read")
    assert [fact.kind for fact in told(quiet, again, repaired)] == ["stop.confirmed"]
    assert len(told(quiet, again, repaired, quiet=True)) == 3


def test_an_alert_is_a_fact_by_its_severity() -> None:
    alert = Alert(severity="CRITICAL", kind="stop.none", text="no stop", venue="v", symbol="S")
    item = Input(1, NOW, MonoNs(1), "key", Tick())
    (fact,) = facts_of(item, StepResult([Effect("a", EffectClass.QUERY, alert)], [], []))
    assert fact.level == "critical"
    assert "ALERT stop.none  no stop" in fact.text()


def test_lives_operators_and_stalls_are_facts() -> None:
    assert told(body=Start(settings="{}", reason="after crash"))[0].why == "after crash"
    assert told(body=Operator(command="close", args=("BTCUSDT",)))[0].why == "close BTCUSDT"
    assert told(body=Stall(late_ns=2_000_000_000))[0].why == "2000 ms late"
    assert told() == []


def test_a_sink_tells_of_a_death_but_not_of_an_orderly_end() -> None:
    timeline = Timeline()
    item = Input(1, NOW, MonoNs(1), "key", Start(settings="{}"))
    timeline.step(item, StepResult([], [], []))
    timeline.died("stopped")
    timeline.died("crash")
    assert [fact.kind for fact in timeline.facts] == ["kernel.born", "kernel.died"]
    assert len(timeline.lines()) == 3


def test_facts_can_be_handed_on_instead_of_kept() -> None:
    taken: list[Fact] = []
    timeline = Timeline(taken.append)
    timeline.died("crash")
    assert len(taken) == 1
    assert timeline.facts == []


def test_each_new_day_has_a_line() -> None:
    day = 86_400_000_000_000
    facts = [Fact(ts_ns=NOW + at, what=str(at)) for at in (0, 1, day)]
    lines = fact_lines(facts)
    assert [line for line in lines if len(line) == 10] == ["2026-01-05", "2026-01-06"]
    assert len(lines) == 5
    assert clock_text(NOW, date=True) == "2026-01-05 12:20:03.214"
