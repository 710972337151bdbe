"""The order of a start, and what each part of it waits for."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.rows import StoredState
from kernel.model.units import MINUTE, MS, SECOND
from kernel.model.venue import AccountConfig
from kernel.sync.startup import Startup
from tests.kernel.fakes import WALL, D, Rule
from tests.kernel.sync.whole import SYMBOL, Whole

LOADED = StoredState(epoch=7)


@dataclass
class Bench(Whole):
    """A process that is about to start; nothing is known of its venues."""

    def __post_init__(self):
        super().__post_init__()
        self.ready: list[Any] = []
        self.restarts: list[Any] = []
        self.answers: list[Any] = []
        """What the store answers, each once: (delay, state or error)."""
        self.loads: list[int] = []
        self.terms: list[Any] = []
        setattr(self.store, "load", self._load)  # noqa: B010 - a store of this test
        for desk in self.services.desks.values():
            desk.instruments_loaded = False
        self.startup = Startup(
            self.services,
            recovery=self.parts.recovery,
            ready=lambda state: self.ready.append((state, self.runtime.now())),
            unloaded=self.parts.begin_unloaded,
            restart=lambda reason: self.restarts.append((reason, self.runtime.now())),
        )

    async def _load(self, lease=None):
        self.loads.append(self.runtime.now())
        self.terms.append(lease)
        delay_ns, answer = self.answers.pop(0) if self.answers else (0, LOADED)
        await self.runtime.sleep(delay_ns)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def begin(self):
        self.spawn(self.startup.run())
        return self

    def opened(self):
        return [one.venue for one in self.kinds("venue.open")]


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- the store


def test_a_loaded_store_gives_the_epoch_and_begins_what_needs_it(bench):
    bench.begin().after(5)
    assert (bench.services.epoch, bench.services.orders.epoch) == (7, 7)
    assert bench.ready == [(LOADED, 0)]
    assert bench.opened() == ["binance"]
    assert bench.desk.block_reasons == ()
    assert bench.alerts() == []


def test_entries_wait_for_the_store_and_for_the_venue(bench):
    bench.answers.append((2 * SECOND, LOADED))
    bench.begin().after(1)
    assert bench.desk.block_reasons == ("starting", "store not loaded")
    assert (bench.services.epoch, bench.services.orders.epoch) == (WALL // SECOND,) * 2
    bench.after(1)
    assert bench.desk.block_reasons == ("starting",)
    bench.after(1)
    assert bench.desk.block_reasons == ()


@pytest.mark.parametrize(
    "answer", [(0, errors.StoreError("refused")), (6 * SECOND, LOADED)], ids=["refused", "silent"]
)
def test_without_the_store_the_kernel_only_protects(bench, answer):
    bench.answers += [answer, answer]
    bench.begin().after(9)
    assert bench.opened() == ["binance"]
    assert bench.desk.block_reasons == ("store not loaded",)
    assert bench.ready == []
    assert bench.services.unloaded
    assert len(bench.kinds("store.unloaded")) == 1
    assert [one.severity for one in bench.alerts("store.unloaded")] == ["CRITICAL"]


def test_a_store_that_does_not_answer_holds_up_protection_for_five_seconds(bench):
    bench.answers.append((MINUTE, LOADED))
    bench.begin().after(4.999)
    assert bench.asked() == []
    bench.after(0.001)
    assert [at for at, _ in bench.asked()] == [5 * SECOND]


def test_a_store_that_comes_back_asks_for_a_new_kernel_once(bench):
    gone = errors.StoreError("gone")
    bench.answers += [(0, gone), (0, gone), (0, gone)]
    bench.begin().after(60)
    assert bench.loads == [n * 5 * SECOND for n in range(4)]
    assert bench.restarts == [("the store is back", 15 * SECOND)]
    assert bench.ready == []


def test_while_another_instance_has_the_lease_nothing_is_done_and_each_holder_is_told_of_once(
    bench,
):
    one, other = errors.LeaseHeld("one"), errors.LeaseHeld("another")
    bench.answers += [(0, one), (0, one), (0, other), (0, other)]
    bench.begin().after(19.999)
    assert bench.loads == [n * 5 * SECOND for n in range(4)]
    assert bench.asked() == []
    assert len(bench.kinds("lease.held")) == 2
    alerts = bench.alerts("lease.held")
    assert [one.severity for one in alerts] == ["CRITICAL"]
    assert alerts[0].text == "one has the lease of the account: this one waits until it is free"
    bench.after(5)
    assert bench.ready == [(LOADED, 20 * SECOND)]
    assert bench.opened() == ["binance"]


def test_a_store_that_comes_back_to_another_instance_ends_this_one(bench):
    ends: list[str] = []
    bench.services.lease.on_superseded = ends.append
    bench.answers += [(0, errors.StoreError("gone")), (0, errors.LeaseHeld("another"))]
    bench.begin().after(60)
    assert ends == ["another has the lease of the account"]
    assert bench.restarts == []
    assert [one.severity for one in bench.alerts("lease.superseded")] == ["CRITICAL"]
    assert bench.loads == [0, 5 * SECOND]


def test_a_store_that_fails_after_it_has_named_a_holder_changes_nothing(bench):
    gone = errors.StoreError("gone")
    bench.answers += [(0, errors.LeaseHeld("one")), (0, gone), (0, gone)]
    bench.begin().after(14.999)
    assert bench.asked() == []
    assert bench.kinds("store.unloaded") == []
    bench.after(1)
    assert bench.opened() == ["binance"]


def test_only_a_start_that_names_an_instance_asks_for_the_lease(bench):
    bench.begin().after(1)
    named = Bench()
    named.services.lease.begin("one")
    named.begin().after(1)
    assert (bench.terms, named.terms) == ([None], [named.services.lease.terms])


def test_a_load_that_took_the_lease_over_leaves_protection_only(bench):
    bench.services.lease.begin("one")
    bench.answers.append((0, msgspec.structs.replace(LOADED, lease_of="another")))
    bench.begin().after(0.001)
    assert bench.services.lease.protect_only
    assert "lease taken over" in bench.desk.block_reasons


# ---------------------------------------------------------------- a venue


def test_a_venue_is_opened_after_instruments_positions_stream_and_account(bench):
    instruments = bench.venue.instruments
    bench.desk.instruments = {}
    bench.begin().after(5)
    kinds = [type(request).__name__ for _, request in bench.asked()]
    assert kinds == ["QueryInstruments", "QueryPositions", "QueryAccountConfig"]
    assert bench.desk.instruments == {one.symbol: one for one in instruments}
    assert bench.desk.instruments_loaded
    assert bench.venue.started_ns == [80 * MS]


def test_the_stream_waits_for_the_first_act_only_so_long_and_entries_wait_for_all_of_it():
    bench = Bench(settings=Settings.load({"START_PROTECTION_SECONDS": "7"}))
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown, times=20))
    bench.begin().after(12)
    assert bench.venue.started_ns == [40 * MS + 7 * SECOND]
    assert bench.opened() == []
    assert bench.desk.block_reasons == ("starting",)
    bench.after(60)
    assert bench.opened() == ["binance"]


def test_a_venue_that_does_not_answer_holds_up_no_other_one():
    bench = Bench(venue_names=("binance", "bybit"))
    bench.venue.rules.append(Rule("instruments", errors.OutcomeUnknown))
    bench.begin().after(30)
    assert bench.opened() == ["bybit"]


@pytest.mark.parametrize("kind", ["instruments", "account_config"])
def test_a_read_that_fails_is_tried_again_with_growing_pauses_and_told_of_twice(bench, kind):
    bench.venue.rules.append(Rule(kind, errors.OutcomeUnknown, times=7))
    bench.begin().after(120)
    times = [at for at, _ in bench.asked(kind)][:8]
    pauses = [(b - a - 20 * MS) // SECOND for a, b in pairwise(times)]
    assert pauses == [1, 2, 5, 10, 30, 30, 30]
    assert [one.values["attempt"] for one in bench.kinds("venue.unread")] == list("1234567")
    assert [one.severity for one in bench.alerts("venue.unread")] == ["ERROR", "INFO"]
    assert bench.opened() == ["binance"]


@pytest.mark.parametrize(("failures", "alerts"), [(1, 0), (2, 1)])
def test_a_read_that_failed_twice_is_an_alert(bench, failures, alerts):
    bench.venue.rules.append(Rule("instruments", errors.OutcomeUnknown, times=failures))
    bench.begin().after(3.5)
    assert len([one for one in bench.alerts() if one.severity == "ERROR"]) == alerts


@pytest.mark.parametrize(
    ("account", "reasons", "words"),
    [
        ({"hedge_mode": True}, ("hedge mode",), "hedge mode"),
        ({"can_trade": False}, ("no trading rights",), "may not trade"),
        ({"can_withdraw": True}, ("withdrawal rights",), "may withdraw"),
        ({"can_withdraw": None}, (), ""),
        ({"can_withdraw": False}, (), ""),
    ],
)
def test_an_account_that_is_not_as_it_must_be_gets_no_entries(bench, account, reasons, words):
    bench.venue.account = AccountConfig(**({"hedge_mode": False} | account))
    bench.begin().after(5)
    assert bench.desk.block_reasons == reasons
    assert bench.desk.hedge_mode is bench.venue.account.hedge_mode
    alerts = bench.alerts("venue.refused")
    assert [one.severity for one in alerts] == ["CRITICAL"] * len(reasons)
    assert all(words in one.text for one in alerts)


def test_two_things_that_are_wrong_are_two_alerts(bench):
    bench.venue.account = AccountConfig(hedge_mode=True, can_trade=False)
    bench.begin().after(5)
    assert len(dict.fromkeys(one.dedupe for one in bench.alerts("venue.refused"))) == 2


def test_instruments_are_read_every_hour(bench):
    bench.begin().after(1)
    (coin,) = bench.venue.instruments
    bench.venue.instruments = (msgspec.structs.replace(coin, tick_size=D(2)),)
    bench.after(3600 - 2)
    assert bench.desk.instruments[SYMBOL].tick_size == 1
    bench.after(3)
    assert bench.desk.instruments[SYMBOL].tick_size == 2
    bench.after(3601)
    assert len(bench.asked("instruments")) == 3


def test_without_a_periodic_sync_instruments_are_read_once():
    bench = Bench(settings=Settings.load({"SYNC_INTERVAL_SECONDS": "0"}))
    bench.begin().after(3 * 3600)
    assert len(bench.asked("instruments")) == 1
