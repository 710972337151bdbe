"""The lease: what its term permits, how it is kept, and how it ends."""

import pytest

from kernel import errors
from kernel.model.messages import LeaseTold
from kernel.model.rows import StoredState
from kernel.model.units import SECOND, MonoNs, TsNs
from kernel.model.venue import EffectClass
from kernel.trade.lease import LEASE, SILENT, TAKEN_OVER
from tests.kernel.trade.desk_bench import DeskBench
from tests.kernel.trade.parts import START_TS
from tests.kernel.trade.wave_bench import Rows

ENTRY, PROTECT = EffectClass.ENTRY, EffectClass.PROTECT
GRANTED, DOWN = LeaseTold(granted=True), errors.StoreError("down")
TAKEN = LeaseTold(granted=False, holder="b")


class Leases(Rows):
    """A store that answers about the lease what it is told; None: not at all.

    Attributes:
        asked: When, in seconds, and for which terms and epoch.
    """

    def __init__(self, runtime):
        super().__init__()
        self.runtime = runtime
        self.answer: LeaseTold | Exception | None = GRANTED
        self.asked = []

    async def lease(self, terms, epoch):
        self.asked.append((self.runtime.now() / SECOND, terms, epoch))
        assert len(self.asked) < 200, "it asks without a pause"
        if self.answer is None:
            await self.runtime.sleep(1 << 60)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Leased(DeskBench):
    """A desk whose lease was given at second 0: it ends at 60, and all is silent from 110 on."""

    def __init__(self, instance="a", lease_of="", seconds=60):
        super().__init__(lease_seconds=seconds, lease_wait_seconds=60)
        self.runtime = self.bench.runtime
        self.leases = self.services.store = Leases(self.runtime)
        self.services.epoch = 7
        self.lease = self.services.lease
        self.ended: list[str] = []
        self.lease.on_superseded = self.ended.append
        self.lease.begin(instance)
        state = StoredState(epoch=7, lease_of=lease_of)
        self.lease.loaded(self.runtime.now(), state)
        self.until(0)

    def until(self, second):
        self.bench.at(int(second * SECOND))
        return self

    def freeze(self, ns):
        """It is later, and nothing ran meanwhile."""
        self.runtime.set_time(MonoNs(ns), TsNs(START_TS + ns))

    def settle(self, cls=PROTECT):
        """What came of a wish to send."""
        outcome = []

        async def one():
            try:
                await self.lease.settle("binance", "cancel", cls)
            except errors.NotSent as error:
                outcome.append(error.code)
            else:
                outcome.append("permitted")

        self.runtime.spawn(one(), "settle")
        self.runtime.run_ready()
        return outcome

    def times(self):
        return [at for at, *_ in self.leases.asked]

    def told(self):
        return [one.kind for one in self.bench.outbox.decisions if one.kind.startswith("lease.")]


# ---------------------------------------------------------------- what it permits


def test_a_start_that_names_no_instance_may_do_everything_for_ever():
    made = Leased(instance="")
    made.freeze(365 * 86_400 * SECOND)
    assert made.lease.permits(ENTRY)
    assert made.lease.permits(PROTECT)
    assert not made.lease.protect_only
    assert made.desk.gateway.lease is None
    made.until(366 * 86_400)
    assert made.times() == []


def test_a_start_that_names_an_instance_is_asked_at_each_request():
    made = Leased()
    assert made.lease.instance == "a"
    assert made.desk.gateway.lease is made.lease


def test_no_entry_is_sent_that_the_venue_could_accept_after_the_end_of_the_term():
    made = Leased()
    made.freeze(55 * SECOND - 1)
    assert made.lease.permits(ENTRY)
    made.freeze(55 * SECOND)
    assert not made.lease.permits(ENTRY)
    assert made.settle(ENTRY) == [SILENT]
    assert made.settle(PROTECT) == ["permitted"]


def test_from_the_end_of_the_term_on_only_protection_is_allowed():
    made = Leased()
    made.freeze(60 * SECOND - 1)
    assert not made.lease.protect_only
    made.freeze(60 * SECOND)
    assert made.lease.protect_only
    assert made.lease.permits(PROTECT)
    assert made.lease.permits(EffectClass.EXIT)


def test_before_another_instance_may_take_over_nothing_is_sent_any_more():
    made = Leased()
    made.freeze(110 * SECOND - 1)
    assert made.lease.permits(PROTECT)
    made.freeze(110 * SECOND)
    assert not made.lease.permits(PROTECT)


@pytest.mark.parametrize("seconds", [110, 500])
def test_what_is_silent_waits_until_the_store_has_said_whose_the_lease_is(seconds):
    made = Leased()
    made.freeze(seconds * SECOND)
    waiting = made.lease.settle
    outcome = []

    async def one():
        await waiting("binance", "cancel", PROTECT)
        outcome.append(made.runtime.now() / SECOND)

    made.runtime.spawn(one(), "settle")
    assert outcome == []
    made.runtime.run_ready()
    assert made.times() == [seconds], "it does not wait for its next turn"
    assert outcome == [seconds]
    assert not made.lease.protect_only
    made.until(seconds + 1)
    assert made.times() == [seconds], "once, as it was answered"


def test_what_waited_is_not_sent_where_another_instance_has_the_lease():
    made = Leased()
    made.leases.answer = TAKEN
    made.freeze(110 * SECOND)
    assert made.settle() == [SILENT]
    assert made.settle() == [SILENT]


def test_what_waited_for_an_answer_that_did_not_come_goes_on():
    """A store that gives no answer cannot give the lease to anybody."""
    made = Leased()
    made.leases.answer = DOWN
    made.freeze(110 * SECOND)
    assert made.settle() == ["permitted"]
    assert made.settle(ENTRY) == [SILENT]


def test_what_is_silent_again_waits_for_a_new_answer():
    made = Leased()
    made.until(21)
    made.freeze(131 * SECOND)
    assert made.settle() == ["permitted"]
    assert made.times() == [20, 131]


# ---------------------------------------------------------------- how it is kept


def test_it_is_renewed_at_a_third_of_its_term_counted_from_the_question():
    made = Leased()
    made.until(70)
    assert made.times() == [20, 40, 60]
    (_, terms, epoch), *_ = made.leases.asked
    assert terms == ("a", ("binance",), 60 * SECOND, 60 * SECOND)
    assert epoch == 7
    assert made.told() == []
    made.freeze(115 * SECOND - 1)
    assert made.lease.permits(ENTRY)
    made.freeze(115 * SECOND)
    assert not made.lease.permits(ENTRY)


def test_a_store_that_fails_is_asked_again_every_five_seconds():
    made = Leased()
    made.leases.answer = DOWN
    made.until(42)
    assert made.times() == [20, 25, 30, 35, 40]


def test_a_store_without_an_answer_is_given_five_seconds_and_asked_after_five_more():
    made = Leased()
    made.leases.answer = None
    made.until(62)
    assert made.times() == [20, 30, 40, 50, 60]


def test_the_end_of_the_term_is_told_when_it_comes_and_once():
    made = Leased()
    made.leases.answer = DOWN
    made.until(22)
    made.leases.answer = GRANTED
    made.until(25)
    made.leases.answer = DOWN
    made.until(84)
    assert made.told() == []
    assert made.desk.entries_allowed
    made.until(85)
    assert made.told() == ["lease.lost"]
    assert made.desk.block_reasons == (LEASE,)
    (alert,) = made.bodies()
    assert (alert.severity, alert.kind) == ("CRITICAL", "lease.lost")
    made.until(120)
    assert made.told() == ["lease.lost"]
    assert len(made.bodies()) == 1


def test_a_term_that_ends_between_two_questions_is_told_and_asked_for_at_its_end():
    made = Leased(seconds=63)
    made.leases.answer = DOWN
    made.until(62)
    assert made.told() == []
    made.until(63)
    assert made.told() == ["lease.lost"]
    made.until(70)
    assert made.times() == [21, 26, 31, 36, 41, 46, 51, 56, 61, 63, 68]


def test_a_lease_that_comes_back_lets_entries_go_on():
    made = Leased()
    made.leases.answer = DOWN
    made.until(62)
    made.leases.answer = GRANTED
    made.until(65)
    assert made.told() == ["lease.lost", "lease.renewed"]
    assert made.desk.entries_allowed
    assert not made.lease.protect_only
    made.until(86)
    assert made.times()[-2:] == [65, 85]
    assert made.told() == ["lease.lost", "lease.renewed"]


def test_while_the_store_gives_no_answer_protection_goes_on():
    made = Leased()
    made.leases.answer = DOWN
    made.until(300)
    assert made.lease.permits(PROTECT)
    made.freeze(320 * SECOND - 1)
    assert made.lease.permits(PROTECT), "two rounds of asking more than the last failure"
    made.freeze(320 * SECOND)
    assert not made.lease.permits(PROTECT)


def test_a_failure_never_shortens_what_is_permitted():
    made = Leased()
    made.leases.answer = DOWN
    made.until(21)
    made.freeze(109 * SECOND)
    assert made.lease.permits(PROTECT)


def test_silence_of_the_store_within_its_patience_is_no_answer_and_permits():
    made = Leased()
    made.leases.answer = None
    made.until(205)
    made.freeze(224 * SECOND)
    assert made.times()[-1] == 200
    assert made.lease.permits(PROTECT)


def test_an_answer_that_a_freeze_overtook_permits_nothing():
    made = Leased()
    made.leases.answer = None
    made.until(22)
    made.freeze(200 * SECOND)
    made.runtime.fire_due(MonoNs(200 * SECOND), inclusive=True)
    made.runtime.run_ready()
    assert not made.lease.permits(PROTECT)


# ---------------------------------------------------------------- another instance has it


def test_where_another_instance_has_it_this_kernel_ends():
    made = Leased()
    made.leases.answer = TAKEN
    made.until(20)
    (words,) = made.ended
    assert words == "b has the lease of the account"
    assert made.told() == ["lease.superseded"]
    (alert,) = made.bodies()
    assert (alert.severity, alert.kind) == ("CRITICAL", "lease.superseded")
    assert not made.lease.permits(PROTECT)
    assert made.lease.protect_only
    made.leases.answer = GRANTED
    made.until(90)
    assert made.times() == [20], "it is not taken back"
    assert made.settle() == [SILENT]


# ---------------------------------------------------------------- taken over


def test_a_lease_that_was_taken_over_is_for_protection_until_a_sync_shows_nothing_unknown():
    made = Leased(lease_of="b")
    assert made.told() == ["lease.taken"]
    assert made.alerts() == ["lease.taken"]
    assert made.lease.protect_only
    assert made.desk.block_reasons == (TAKEN_OVER,)
    made.lease.synced("binance", ["kx7-1", "kx7-2"])
    assert made.lease.protect_only
    assert made.desk.block_reasons == (TAKEN_OVER,)
    assert made.told() == ["lease.taken", "lease.strangers"]
    assert "kx7-1, kx7-2" in made.bodies()[-1].text
    made.lease.synced("binance", [])
    assert not made.lease.protect_only
    assert made.desk.entries_allowed
    made.lease.synced("binance", ["kx7-1"])
    made.lease.synced("nowhere", [])
    assert len(made.told()) == 2
    made.freeze(60 * SECOND)
    assert made.lease.protect_only


def test_an_operator_may_trust_what_the_holder_before_left():
    made = Leased(lease_of="b")
    made.lease.trust()
    assert not made.lease.protect_only
    assert made.desk.entries_allowed


def test_a_lease_that_was_free_is_not_called_taken_over():
    made = Leased()
    assert made.told() == []
    assert made.alerts() == []
    assert made.desk.entries_allowed
