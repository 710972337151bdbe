"""Which orders under our prefix are another living process's, and what follows."""

from dataclasses import dataclass

import pytest

from kernel.model.ids import Leg
from kernel.model.orders import OrderStatus
from kernel.model.units import SECOND, TsNs
from kernel.sync.foreign_epochs import FOREIGN_EPOCH, ForeignEpochs
from tests.kernel.fakes import WALL
from tests.kernel.sync.whole import Whole, order_report, own_id

OURS = 5
STORELESS = 1_000_000_000


@dataclass
class Bench(Whole):
    """A process of epoch 5 that began a while ago."""

    def __post_init__(self):
        super().__post_init__()
        self.epoch(OURS)
        self.heard = ForeignEpochs(self.services)
        self.begun_ns = 0

    def epoch(self, number):
        self.services.epoch = self.services.orders.epoch = number

    def hear(self, epoch, *, leg=Leg.ENTRY, generation=0, **changes):
        """A report of an order of some epoch; whether entries are blocked for it."""
        client_id = own_id(leg, epoch=epoch, generation=generation)
        self.heard.hear("binance", order_report(client_id, **changes))
        self.after(0)
        return FOREIGN_EPOCH in self.desk.block_reasons


@pytest.fixture
def bench():
    made = Bench()
    made.after(100)
    made.heard.begin()
    made.begun_ns = made.runtime.ts()
    return made


def test_an_order_of_a_later_epoch_blocks_entries_until_a_person_lifts_it(bench):
    assert bench.hear(OURS + 1)
    client_id = own_id(Leg.ENTRY, epoch=OURS + 1)
    (told,) = bench.kinds("epoch.foreign")
    assert (told.venue, told.symbol, told.client_order_id) == ("binance", "BTCUSDT", client_id)
    (alert,) = bench.alerts("epoch.foreign")
    assert (alert.severity, alert.venue) == ("CRITICAL", "binance")


def test_an_order_of_ours_blocks_nothing(bench):
    assert not bench.hear(OURS, updated_ns=TsNs(bench.begun_ns + 1000 * SECOND))


def test_nothing_is_judged_before_our_epoch_is_known():
    bench = Bench()
    assert not bench.hear(OURS + 1)
    assert bench.kinds("epoch.foreign") == []


def test_what_is_not_under_our_prefix_is_not_judged(bench):
    bench.heard.hear("binance", order_report("web_123"))
    assert bench.desk.block_reasons == ()


@pytest.mark.parametrize(
    ("status", "leg", "after_ns", "foreign"),
    [
        (OrderStatus.NEW, Leg.STOP, 30 * SECOND + 1, True),
        (OrderStatus.NEW, Leg.STOP, 30 * SECOND, False),
        (OrderStatus.CANCELED, Leg.STOP, 300 * SECOND, False),
        (OrderStatus.CANCELED, Leg.AGED, 300 * SECOND, False),
        (OrderStatus.FILLED, Leg.ENTRY, 31 * SECOND, True),
        (OrderStatus.FILLED, Leg.EXIT, 31 * SECOND, True),
        (OrderStatus.FILLED, Leg.ROLLBACK, 31 * SECOND, True),
        (OrderStatus.FILLED, Leg.ENTRY, 30 * SECOND, False),
    ],
)
def test_an_older_epoch_lives_where_it_sent_something_after_our_start(
    bench, status, leg, after_ns, foreign
):
    at = TsNs(bench.begun_ns + after_ns)
    assert bench.hear(OURS - 1, leg=leg, status=status, updated_ns=at) is foreign


@pytest.mark.parametrize(("seconds", "foreign"), [(100, False), (101, True)])
def test_a_process_without_a_store_lives_where_it_began_after_us(bench, seconds, foreign):
    assert bench.begun_ns == WALL + 100 * SECOND
    assert bench.hear(WALL // SECOND + seconds) is foreign


@pytest.mark.parametrize(("epoch", "foreign"), [(STORELESS - 1, True), (STORELESS, False)])
def test_epochs_are_seconds_from_the_first_that_can_be(bench, epoch, foreign):
    assert bench.hear(epoch) is foreign


@pytest.mark.parametrize(("ours", "foreign"), [(STORELESS - 1, True), (STORELESS, False)])
def test_a_process_without_a_store_judges_nobody(bench, ours, foreign):
    bench.epoch(ours)
    assert bench.hear(WALL // SECOND + 1000) is foreign


def test_each_order_is_told_of_once(bench):
    for _ in range(3):
        bench.hear(OURS + 1, generation=1)
    bench.hear(OURS + 1, generation=2)
    assert len(bench.kinds("epoch.foreign")) == 2


def test_only_so_many_are_remembered_the_newest_of_them(bench):
    for generation in range(1025):
        bench.hear(OURS + 1, generation=generation)
    assert len(bench.kinds("epoch.foreign")) == 1025
    for generation in range(1, 1025):
        bench.hear(OURS + 1, generation=generation)
    assert len(bench.kinds("epoch.foreign")) == 1025
    bench.hear(OURS + 1, generation=0)
    assert len(bench.kinds("epoch.foreign")) == 1026
