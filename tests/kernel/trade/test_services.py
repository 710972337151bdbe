"""What every part is built with: nothing has begun, rows are durable or not known to be."""

from kernel.model.rows import ClaimRow, OrderRow
from kernel.model.units import SECOND, TsNs
from tests.kernel.trade.desk_bench import DeskBench
from tests.kernel.trade.parts import order_row


def test_new_services_are_of_no_epoch_and_stop_nothing():
    services = DeskBench().services
    assert services.epoch == 0
    assert services.stopping is False


def test_who_waits_for_protective_rows_is_told_whether_they_are_durable():
    made = DeskBench()
    made.services.supervise("writer", made.services.writer.run)
    rows = (order_row("s1"),)
    assert made.run(made.services.commit_protect(rows)) is True
    made.store.down = True
    assert made.run(made.services.commit_protect(rows), 10 * SECOND) is False


def test_rows_of_an_entry_are_durable_or_refused_and_others_written_behind():
    made = DeskBench()
    made.services.supervise("writer", made.services.writer.run)
    claim = ClaimRow(once_key="k", wave_ns=TsNs(1), claimed_ns=TsNs(1))
    assert made.run(made.services.commit_entry((claim,))) is True
    assert made.run(made.services.commit_entry((claim,))) is False
    made.services.persist((order_row("s1"),))
    made.bench.at(made.bench.runtime.now() + SECOND)
    assert [row.client_order_id for row in made.store.all(OrderRow)] == ["s1"]


def test_a_decision_and_an_alert_say_what_they_were_given():
    made = DeskBench()
    made.services.decide("a.kind", "cause", venue="v", symbol="s", position_id="p", more=7)
    (told,) = made.decided("a.kind")
    assert (told.cause, told.venue, told.symbol, told.position_id) == ("cause", "v", "s", "p")
    assert told.values == {"more": "7"}
    made.services.alert("ERROR", "a.kind", "words", venue="v", symbol="s")
    made.services.alert("INFO", "a.kind", "words", dedupe="once")
    assert [(one.severity, one.text, one.dedupe) for one in made.bodies()] == [
        ("ERROR", "words", "a.kind|v|s"), ("INFO", "words", "once"),
    ]  # fmt: skip


def test_a_task_that_fails_is_told_with_its_position_and_begun_again():
    made = DeskBench()
    told, position = [], made.bench.position()
    made.services.on_crash = lambda *given: told.append((given[0], str(given[1]), *given[2:]))
    begun = []

    async def work() -> None:
        begun.append(1)
        if len(begun) == 1:
            raise ValueError("no")

    made.services.supervise("work", work, position=position)
    made.bench.at(60 * SECOND)
    assert told == [("work", "no", 1, position)]
    assert len(begun) == 2
