"""What every part is built with: nothing has begun, rows are durable or not known to be."""

from kernel.model.units import SECOND
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
