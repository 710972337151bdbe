"""What every store promises, in memory and in PostgreSQL alike."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kernel.errors import LeaseHeld
from kernel.model.positions import PositionRow, PositionState, TrailingState
from kernel.model.rows import (
    ClaimRow,
    EventRow,
    LockRow,
    OrderRow,
    PerformanceRow,
    SwitchRow,
    TrailingRow,
    WaveRow,
)
from kernel.model.units import DAY, HOUR, TsNs
from kernel.store.backend import Backend, Mark, Retention
from kernel.store.codec import decode_row, encode_row, table_of
from kernel.store.leases import LeaseAsk
from tests.kernel.store.rows import KINDS, any_row, claim, event, fill, order, parents, position
from tests.kernel.store.stores import STORES, opened

NOW = 20_000 * DAY


@pytest.fixture(name="store", params=STORES)
def each_store(request):
    with opened(request.param, request) as backend:
        yield backend


@pytest.fixture(name="both")
def both_stores(request):
    with opened("memory", request) as memory, opened("postgres", request) as postgres:
        yield memory, postgres


def ids(rows) -> list[str]:
    return [row.position_id for row in rows]


# ------------------------------------------------------------------------ commits and claims


def test_a_claim_that_exists_refuses_the_whole_commit(store: Backend):
    assert store.apply((claim("a"),)) == (True,)
    assert store.apply((claim("b"), claim("a"), position("p"))) == (True, False)
    assert store.load(NOW).positions == ()
    assert store.apply((claim("b"),)) == (True,)


def test_a_claim_asked_for_twice_in_one_commit_is_one_claim(store: Backend):
    assert store.apply((claim("a"), claim("a"))) == (True, True)
    assert store.apply((claim("a"),)) == (False,)


def test_a_commit_that_claims_nothing_answers_nothing(store: Backend):
    assert store.apply((position("p"),)) == ()


def test_the_last_of_two_rows_with_one_key_counts(store: Backend):
    closed = position("p", PositionState.CLOSED)
    store.apply((position("p"), closed))
    assert store.get(PositionRow, "p") == closed
    store.apply((position("p"),))
    assert ids(store.load(NOW).positions) == ["p"]


def test_a_row_may_stand_before_the_one_it_refers_to(store: Backend):
    store.apply((order("c", "p"), fill("1", "p"), position("p")))
    assert len(list(store.rows())) == 3


def test_rows_come_in_the_order_in_which_their_keys_were_first_written(store: Backend):
    for name in ("b", "a", "c"):
        store.apply((position(name), order(f"o{name}", name), fill(name, name, at=9)))
    store.apply((position("b", PositionState.CLOSED), order("oa", "a", intent_open=False)))
    store.apply((position("b"),))
    state = store.load(NOW)
    assert ids(state.positions) == ["b", "a", "c"]
    assert [row.client_order_id for row in state.orders] == ["ob", "oa", "oc"]
    assert [row.trade_id for row in state.fills] == ["b", "a", "c"]
    assert ids(store.rows(PositionRow)) == ["b", "a", "c"]


def test_rows_are_found_by_their_keys(store: Backend):
    lock = LockRow(venue="binance", symbol="", reason="r", until_ns=TsNs(5))
    store.apply((position("p"), order("c"), lock, SwitchRow(day=3)))
    assert store.get(OrderRow, "binance", "c") == order("c")
    assert store.get(OrderRow, "bybit", "c") is None
    assert store.get(LockRow, "binance", "") == lock
    assert store.has(OrderRow, "binance", "c")
    assert not store.has(OrderRow, "bybit", "c")
    assert [type(row) for row in store.rows(LockRow, SwitchRow)] == [LockRow, SwitchRow]


def test_what_is_read_is_what_the_codec_makes_of_it(store: Backend):
    rows = (position("p"), order("c", "p", qty=Decimal("1.50"), venue_order_id="a\0\x1ab"))
    store.apply(rows)
    made = [repr(decode_row(table_of(row), encode_row(row))) for row in rows]
    assert made[1] != repr(rows[1])
    assert repr(store.get(OrderRow, "binance", "c")) == made[1]
    assert [repr(row) for row in store.rows(PositionRow, OrderRow)] == made
    loaded = store.load(NOW)
    assert [repr(row) for row in (*loaded.positions, *loaded.orders)] == made


# ------------------------------------------------------------------------ starts


def test_a_load_takes_the_next_epoch_and_tells_since_when_the_store_exists(store: Backend):
    assert (store.epoch, store.since_ns) == (0, 0)
    first, second = store.load(NOW), store.load(NOW + HOUR)
    assert (first.epoch, second.epoch, store.epoch) == (1, 2, 2)
    assert first.since_ns == second.since_ns == store.since_ns == NOW


def test_a_load_gives_what_is_not_finished(store: Backend):
    old, new = NOW - DAY, NOW - HOUR
    trailing = {
        name: TrailingRow(
            position_id=name, state=TrailingState.ACTIVE, activation_price=Decimal(1),
            best_price=Decimal(2), confirmed_stop=Decimal("1.5"), last_update_ns=TsNs(1),
            updated_ns=TsNs(2),
        )
        for name in ("live", "over")
    }  # fmt: skip
    running = PerformanceRow(venue="", period="running", ts_ns=TsNs(new), closed=3)
    store.apply((
        position("live"), position("over", PositionState.CLOSED), *trailing.values(),
        order("open", "over"), order("done", "live", intent_open=False),
        order("gone", "over", intent_open=False, watch_until_ns=TsNs(NOW)),
        order("watched", intent_open=False, watch_until_ns=TsNs(NOW + 1)),
        fill("1", "live"), fill("2", "over"), fill("3", ""),
        claim("old", old), claim("new", new),
        WaveRow(source="f", wave_ns=TsNs(1), state="open", expected_until_ns=TsNs(2)),
        WaveRow(source="f", wave_ns=TsNs(old), state="closed", expected_until_ns=TsNs(2)),
        WaveRow(source="f", wave_ns=TsNs(new), state="closed", expected_until_ns=TsNs(2)),
        LockRow(venue="binance", symbol="X", reason="r", until_ns=TsNs(NOW + 1)),
        LockRow(venue="binance", symbol="Y", reason="r", until_ns=TsNs(NOW)),
        running, PerformanceRow(venue="", period="day", ts_ns=TsNs(new)),
        SwitchRow(stops=(TsNs(1), TsNs(2)), wallets=(("bybit", Decimal("1.10")),), counted=("x",)),
    ))  # fmt: skip
    state = store.load(NOW)
    assert ids(state.positions) == ["live"]
    assert [row.client_order_id for row in state.orders] == ["open", "done", "watched"]
    assert [row.trade_id for row in state.fills] == ["1"]
    assert state.trailing == (trailing["live"],)
    assert [row.once_key for row in state.claims] == ["new"]
    assert [row.wave_ns for row in state.waves] == [1, new]
    assert [row.symbol for row in state.locks] == ["X"]
    assert state.performance == (running,)
    assert state.switches is not None
    assert state.switches.wallets == (("bybit", Decimal("1.1")),)


def test_a_load_gives_what_ended_and_whose_result_is_not_told(store: Backend):
    untold = position("p", PositionState.CLOSED, result_ns=TsNs(0))
    store.apply((untold, order("o", "p", intent_open=False), fill("1", "p")))
    state = store.load(NOW)
    assert ids(state.positions) == ["p"]
    assert [row.client_order_id for row in state.orders] == ["o"]
    assert [row.trade_id for row in state.fills] == ["1"]
    store.apply((position("p", PositionState.CLOSED),))
    assert store.load(NOW).positions == ()


def test_orders_that_nothing_can_ask_for_are_forgotten_after_a_while(store: Backend):
    kept_ns = 3 * 24 * HOUR
    store.retention = Retention(orders_ns=kept_ns)
    past, young = TsNs(NOW - kept_ns - 1), TsNs(NOW - kept_ns)
    over = position("over", PositionState.CLOSED)
    store.apply((
        position("live"), over,
        order("kept: open", "over", created_ns=past),
        order("kept: live", "live", intent_open=False, created_ns=past),
        order("kept: young", "over", intent_open=False, created_ns=past, updated_ns=young),
        order("kept: watched", "over", intent_open=False, watch_until_ns=TsNs(1), created_ns=past),
        order("forgotten", "over", intent_open=False, created_ns=past),
        order("forgotten too", intent_open=False, created_ns=past),
    ))  # fmt: skip
    store.load(NOW)
    found = [row.client_order_id for row in store.rows(OrderRow) if isinstance(row, OrderRow)]
    assert found == ["kept: open", "kept: live", "kept: young", "kept: watched"]


def test_a_restored_backup_is_an_earlier_state_and_epochs_go_on(store: Backend):
    store.load(NOW)
    store.apply((position("p"), order("c", "p"), claim("a")))
    backup = list(store.rows())
    store.apply((position("p", PositionState.CLOSED), claim("b")))
    store.replace(backup)
    state = store.load(NOW)
    assert (state.epoch, state.since_ns) == (2, NOW)
    assert [row.state for row in state.positions] == [PositionState.ACTIVE]
    assert store.apply((claim("a"),)) == (False,)
    assert store.apply((claim("b"),)) == (True,)


def test_a_store_that_was_lost_is_a_new_one_whose_epochs_go_on(store: Backend):
    store.load(NOW)
    store.apply((position("p"), claim("a")))
    store.replace(())
    assert store.since_ns == 0
    state = store.load(NOW + HOUR)
    assert (state.epoch, state.since_ns, state.positions) == (2, NOW + HOUR, ())
    assert store.apply((claim("a"),)) == (True,)


def test_commits_are_counted_and_the_first_load_is_remembered_for_good(store: Backend):
    assert store.ask_mark() == Mark()
    store.load(NOW)
    assert store.ask_mark() == store.mark == Mark(NOW, 0)
    store.apply((position("p"), claim("a")))
    assert store.apply((claim("a"),)) == (False,)
    store.apply((position("q"),))
    assert store.ask_mark() == store.mark == Mark(NOW, 2), "a refused commit is none"
    state = store.load(NOW + HOUR, anew=True)
    assert (state.epoch, state.since_ns) == (2, NOW + HOUR)
    assert store.ask_mark() == Mark(NOW, 2)
    assert store.load(NOW + 2 * HOUR).since_ns == NOW + HOUR
    store.replace(list(store.rows()), epoch=2, since_ns=NOW, mark=Mark(NOW, 1))
    assert store.ask_mark() == Mark(NOW, 1)
    store.replace(())
    assert store.ask_mark() == Mark()


# ------------------------------------------------------------------------ events


def test_events_are_kept_apart_and_old_ones_forgotten(store: Backend):
    old, new = event(NOW), event(NOW + 2 * HOUR + 2, text="a\0b")
    store.retention = Retention(events_ns=2 * HOUR)
    store.keep_events((old,))
    store.apply((event(NOW + 1), position("p")))
    assert store.events() == (old, event(NOW + 1))
    store.keep_events((new,))
    assert [row.ts_ns for row in store.events()] == [new.ts_ns]
    assert store.events()[0] == new
    assert [type(row) for row in store.rows()] == [PositionRow]


def test_only_the_newest_events_are_kept(store: Backend):
    store.retention = Retention(events=3)
    for number in range(6):
        store.keep_events((event(NOW + number * HOUR),))
    assert [row.ts_ns for row in store.events()] == [NOW + number * HOUR for number in (3, 4, 5)]


# ------------------------------------------------------------------------ any row, any history


@settings(
    max_examples=10,
    phases=[Phase.generate],  # to make an example smaller would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_every_row_of_every_kind_comes_back_as_it_was(store: Backend, data):
    rows = [data.draw(any_row(kind)) for kind in KINDS if kind is not ClaimRow]
    store.replace(())
    store.apply((*parents(rows), *rows))
    kept = {(table_of(row).name, row) for row in store.rows()}
    written = [row for row in rows if not isinstance(row, EventRow)]
    assert all((table_of(row).name, row) in kept for row in written)
    assert next(row for row in rows if isinstance(row, EventRow)) in store.events()


COMMITS = st.lists(
    st.lists(
        st.one_of(
            st.builds(
                position, st.sampled_from("pqr"), st.sampled_from(PositionState),
                closed_qty=st.integers(0, 9).map(Decimal),
            ),
            st.builds(
                order, st.sampled_from("abc"), st.just(""), intent_open=st.booleans(),
                watch_until_ns=st.sampled_from([0, NOW - 1, NOW + HOUR]).map(TsNs),
            ),
            st.builds(claim, st.sampled_from("uvw"), st.sampled_from([NOW - DAY, NOW])),
            st.builds(
                LockRow, venue=st.just("v"), symbol=st.sampled_from("XY"), reason=st.just("r"),
                until_ns=st.sampled_from([NOW - 1, NOW + 1]).map(TsNs),
            ),
        ),
        min_size=1, max_size=5,
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=COMMITS)
def test_after_any_history_both_stores_answer_and_hold_the_same(both, commits):
    told = []
    for store in both:
        store.replace(())
        answers = [store.apply(tuple(rows)) for rows in commits]
        state = msgspec.structs.replace(store.load(NOW), epoch=0)
        told.append((answers, state, list(store.rows())))
    assert told[0] == told[1]


# ------------------------------------------------------------------------ the lease

MINUTE = HOUR // 60


def ask(instance, epoch=0):
    return LeaseAsk(instance, ("binance", "bybit"), epoch, MINUTE, MINUTE)


def test_the_lease_comes_with_the_load_and_is_renewed_by_its_run(store: Backend):
    first = store.load(NOW, ask("a"))
    assert first.lease_of == ""
    store.lease(ask("a", first.epoch), NOW + MINUTE // 2)
    with pytest.raises(LeaseHeld, match="a has the lease"):
        store.load(NOW + 2 * MINUTE, ask("b"))
    assert store.load(NOW + 2 * MINUTE).epoch == first.epoch + 1  # the refused load took no epoch


def test_the_lease_of_another_instance_is_taken_over_after_its_end_and_the_wait(store: Backend):
    first = store.load(NOW, ask("a"))
    taken = store.load(NOW + 2 * MINUTE, ask("b"))
    assert taken.lease_of == "a"
    for late in (1, 60):
        with pytest.raises(LeaseHeld, match="b has the lease"):
            store.lease(ask("a", first.epoch), NOW + late * HOUR)


def test_the_same_instance_has_its_lease_at_once_and_its_earlier_run_no_more(store: Backend):
    first = store.load(NOW, ask("a"))
    second = store.load(NOW + 1, ask("a"))
    assert (second.epoch, second.lease_of) == (first.epoch + 1, "")
    store.lease(ask("a", second.epoch), NOW + 2)
    with pytest.raises(LeaseHeld):
        store.lease(ask("a", first.epoch), NOW + 3)
