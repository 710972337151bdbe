"""Rate budgets: never more than a window allows, protection first, reservations kept."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernel.model.traits import TRAITS
from kernel.model.units import SECOND, MonoNs
from kernel.model.venue import EffectClass
from kernel.runtime.scheduler import Runtime
from kernel.trade.budgets import ORDERS, QUERIES, Cost
from kernel.trade.limiter import PRIORITY, Bucket, Limiter
from tests.kernel.trade.parts import Bench

ORDER = ((ORDERS, 1), (QUERIES, 1))


def limiter() -> tuple[Bench, Limiter]:
    bench = Bench()
    return bench, Limiter(bench.runtime, TRAITS["binance"])


def ask(bench: Bench, made: Limiter, name: str, cls: EffectClass, log: list) -> None:
    async def one() -> None:
        if made.take(ORDER, cls) or await made.wait(ORDER, cls, 3600 * SECOND):
            log.append((name, bench.runtime.now()))

    bench.runtime.spawn(one(), name)


@given(st.lists(st.tuples(st.sampled_from(PRIORITY), st.integers(0, 30 * SECOND)), max_size=160))
def test_no_window_ever_holds_more_than_the_venue_allows(asks):
    bench, made = limiter()
    log: list = []
    for number, (cls, at) in enumerate(sorted(asks, key=lambda one: one[1])):
        bench.at(at)
        ask(bench, made, str(number), cls, log)
        bench.runtime.run_ready()
    bench.at(3600 * SECOND)
    assert len(log) == len(asks)
    times = sorted(at for _, at in log)
    for first, last in zip(times, times[50:], strict=False):
        assert last - first >= 10 * SECOND


def test_protection_goes_first_and_has_a_share_of_its_own():
    bench, made = limiter()
    log: list = []
    for number in range(60):
        ask(bench, made, f"query{number}", EffectClass.QUERY, log)
    bench.at(1)
    assert len(log) == 30, "queries may fill sixty per cent"
    for number in range(25):
        ask(bench, made, f"entry{number}", EffectClass.ENTRY, log)
    for number in range(20):
        ask(bench, made, f"stop{number}", EffectClass.PROTECT, log)
    bench.at(2)
    assert len([name for name, _ in log if name.startswith("entry")]) == 5, "up to seventy"
    assert len([name for name, _ in log if name.startswith("stop")]) == 15, "all that is left"
    bench.at(10 * SECOND)
    assert len([name for name, _ in log if name.startswith("stop")]) == 20
    late = [name for name, at in log if at == 10 * SECOND]
    assert late[:5] == [f"stop{number}" for number in range(15, 20)]


def test_waiting_requests_are_served_in_order_inside_a_class():
    bench, made = limiter()
    log: list = []
    for number in range(80):
        ask(bench, made, f"{number}", EffectClass.ENTRY, log)
    bench.at(60 * SECOND)
    assert [name for name, _ in log] == [str(number) for number in range(80)]


def test_a_waiting_query_holds_up_nobody_who_waits_for_another_bucket():
    bench, made = limiter()
    log: list = []
    made.exhaust(QUERIES, MonoNs(100 * SECOND))

    async def orders_only() -> None:
        if made.take(((ORDERS, 1),), EffectClass.QUERY) or await made.wait(
            ((ORDERS, 1),), EffectClass.QUERY, SECOND
        ):
            log.append(("orders", bench.runtime.now()))

    ask(bench, made, "query", EffectClass.PROTECT, log)
    bench.runtime.spawn(orders_only(), "orders")
    bench.at(200 * SECOND)
    assert log == [("orders", 0), ("query", 100 * SECOND)]


def test_an_entry_is_reserved_only_with_its_stop_and_its_close():
    bench, made = limiter()
    held: list[Any] = []

    async def reserve() -> None:
        made_one = await made.reserve(1, 5 * SECOND)
        held.append(made_one)

    for _ in range(14):
        bench.runtime.spawn(reserve(), "reserve")
    bench.at(SECOND)
    assert len([one for one in held if one]) == 11, "35 of 50 units, three for each entry"
    held[0].release()
    bench.at(2 * SECOND)
    assert len([one for one in held if one]) == 12
    bench.at(6 * SECOND)
    assert held.count(None) == 2


def test_a_reserved_entry_goes_out_although_queries_filled_their_share():
    bench, made = limiter()
    log: list = []
    held: list[Any] = []

    async def reserve() -> None:
        held.append(await made.reserve(1, SECOND))

    bench.runtime.spawn(reserve(), "reserve")
    bench.at(1)
    for number in range(40):
        ask(bench, made, f"query{number}", EffectClass.QUERY, log)
    bench.at(2)
    assert len(log) == 27, "thirty less the three that are held"
    ask(bench, made, "entry", EffectClass.ENTRY, log)
    bench.at(3)
    assert log[-1] == ("entry", 2)


def test_what_the_venue_counts_above_our_count_is_believed():
    bench, made = limiter()
    log: list = []
    made.correct(ORDERS, used=49)
    ask(bench, made, "stop", EffectClass.PROTECT, log)
    ask(bench, made, "stop2", EffectClass.PROTECT, log)
    bench.at(9 * SECOND)
    assert log == [("stop", 0)]
    bench.at(11 * SECOND)
    assert log == [("stop", 0), ("stop2", 10 * SECOND)]
    assert isinstance(bench.runtime, Runtime)


def test_a_reserved_entry_does_not_queue_behind_those_that_wait_to_be_reserved():
    """They wait for what it holds: queueing behind them, it would wait for itself."""
    bench = Bench()
    made = Limiter(bench.runtime, TRAITS["bybit"])
    create: Cost = (("create", 1), (QUERIES, 1))
    sent: list[int] = []

    async def enter() -> None:
        reservation = await made.reserve(1, 60 * SECOND)
        assert reservation is not None
        with reservation:
            await bench.runtime.sleep(SECOND // 100)
            if made.take(create, EffectClass.ENTRY):
                sent.append(bench.runtime.now())

    for number in range(8):
        bench.runtime.spawn(enter(), f"entry {number}")
    bench.at(10 * SECOND)
    assert len(sent) == 8
    assert sent[:3] == [SECOND // 100] * 3


def bucket(capacity: int = 100) -> Bucket:
    return Bucket(capacity, 10)


def test_each_class_may_fill_its_share_and_not_a_unit_more():
    for cls, share in ((EffectClass.PROTECT, 100), (EffectClass.EXIT, 90),
                       (EffectClass.ENTRY, 70), (EffectClass.QUERY, 60)):  # fmt: skip
        assert bucket().has_room(share, cls, 0)
        used = bucket()
        used.take(1, cls, 0)
        assert used.has_room(share - 1, cls, 0)
        assert not used.has_room(share, cls, 0)
    assert bucket(1).has_room(1, EffectClass.QUERY, 0), "a share is a unit at least"


def test_what_is_larger_than_a_share_goes_out_alone():
    assert bucket().has_room(500, EffectClass.QUERY, 0)
    used = bucket()
    used.take(1, EffectClass.PROTECT, 0)
    assert not used.has_room(500, EffectClass.QUERY, 0)


def test_a_use_leaves_with_the_last_moment_of_its_window():
    used = bucket()
    used.take(100, EffectClass.PROTECT, 5)
    assert used.next_change_ns(5) == 15
    assert not used.has_room(1, EffectClass.PROTECT, 14)
    assert used.has_room(100, EffectClass.PROTECT, 15)
    assert used.used == 0


def test_a_block_ends_at_its_time():
    blocked = bucket()
    blocked.blocked_until_ns = 7
    assert blocked.next_change_ns(6) == 7
    assert not blocked.has_room(1, EffectClass.PROTECT, 6)
    assert not blocked.can_hold(1, 6)
    assert blocked.has_room(1, EffectClass.PROTECT, 7)
    assert blocked.can_hold(1, 7)
    assert bucket().next_change_ns(7) == 0
    blocked.take(1, EffectClass.PROTECT, 3)
    assert blocked.next_change_ns(6) == 7, "the end of the block, whatever was used"
    assert blocked.next_change_ns(7) == 13


def test_what_is_held_for_entries_is_out_of_reach_of_queries_and_not_of_protection():
    held = bucket()
    held.held, held.entries_held = 40, 10
    assert held.has_room(20, EffectClass.QUERY, 0)
    assert not held.has_room(21, EffectClass.QUERY, 0)
    assert held.has_room(100, EffectClass.PROTECT, 0)
    assert held.has_room(90, EffectClass.EXIT, 0)
    assert held.has_room(10, EffectClass.ENTRY, 0), "its own"
    assert held.has_room(30, EffectClass.ENTRY, 0)
    assert not held.has_room(31, EffectClass.ENTRY, 0), "beside the others"
    assert held.can_hold(30, 0)
    assert not held.can_hold(31, 0)
    held.take(4, EffectClass.ENTRY, 0)
    assert (held.used, held.held, held.entries_held) == (4, 36, 6)
    held.take(7, EffectClass.ENTRY, 0)
    assert (held.used, held.held, held.entries_held) == (11, 36, 6)
    held.take(3, EffectClass.PROTECT, 0)
    assert (held.used, held.held, held.entries_held) == (14, 36, 6)


def test_an_entry_that_exceeds_the_share_of_entries_is_held_alone_if_the_bucket_is_large_enough():
    assert bucket().can_hold(100, 0)
    assert not bucket().can_hold(101, 0)
    used = bucket()
    used.take(1, EffectClass.PROTECT, 0)
    assert not used.can_hold(70, 0)
    assert used.can_hold(69, 0)


def test_the_venue_may_count_more_and_never_less():
    used = bucket()
    used.take(10, EffectClass.PROTECT, 0)
    used.correct(30, 4)
    assert used.used == 30
    used.correct(5, 5)
    assert used.used == 30
    used.expire(10)
    assert used.used == 20
    used.expire(14)
    assert used.used == 0


def test_what_was_waited_for_uses_the_budget_as_well():
    bench, made = limiter()
    log: list = []
    for number in range(120):
        ask(bench, made, str(number), EffectClass.PROTECT, log)
    bench.at(60 * SECOND)
    times = sorted(at for _, at in log)
    assert [times.count(0), times.count(10 * SECOND), times.count(20 * SECOND)] == [50, 50, 20]


def test_the_venue_states_its_limit_its_window_and_its_use():
    _, made = limiter()
    made.correct(ORDERS, capacity=20, window_ns=5 * SECOND, used=15)
    orders = made.buckets[ORDERS]
    assert (orders.capacity, orders.window_ns, orders.used) == (20, 5 * SECOND, 15)
    assert orders.limits[EffectClass.ENTRY] == 14
    made.correct(ORDERS, used=17)
    assert (orders.capacity, orders.window_ns, orders.used) == (20, 5 * SECOND, 17)
    made.correct(QUERIES, capacity=1000)
    assert made.buckets[QUERIES].used == 0, "nothing was said of it"


def test_a_bucket_that_the_venue_alone_knows_is_made():
    _, made = limiter()
    made.correct("another", capacity=7, window_ns=3)
    assert (made.buckets["another"].capacity, made.buckets["another"].window_ns) == (7, 3)
    made.correct("unlimited", used=0)
    assert (made.buckets["unlimited"].capacity, made.buckets["unlimited"].window_ns) == (1, 1)


def test_a_higher_limit_lets_those_who_wait_go():
    bench, made = limiter()
    log: list = []
    for number in range(51):
        ask(bench, made, str(number), EffectClass.PROTECT, log)
    bench.at(1)
    assert len(log) == 50
    made.correct(ORDERS, capacity=60)
    bench.at(2)
    assert len(log) == 51


def test_entries_wait_until_what_protects_and_was_refused_goes_out():
    bench, made = limiter()
    log: list = []
    made.exhaust(QUERIES, MonoNs(2 * SECOND))
    made.owe(QUERIES, "AAAUSDT", MonoNs(2 * SECOND))
    ask(bench, made, "entry", EffectClass.ENTRY, log)
    bench.at(2 * SECOND)
    ask(bench, made, "query", EffectClass.QUERY, log)
    bench.at(3 * SECOND)
    assert [name for name, _ in log] == ["query"], "nobody else waits for it"
    made.protecting("BBBUSDT")
    bench.at(4 * SECOND)
    assert [name for name, _ in log] == ["query"], "what is owed is of another symbol"
    made.protecting("AAAUSDT")
    bench.runtime.run_ready()
    assert log[1:] == [("entry", 4 * SECOND)]


def test_what_is_owed_and_never_sent_holds_up_entries_for_ten_seconds():
    bench, made = limiter()
    log: list = []
    made.owe(QUERIES, "AAAUSDT", MonoNs(2 * SECOND))
    ask(bench, made, "entry", EffectClass.ENTRY, log)
    bench.at(60 * SECOND)
    assert log == [("entry", 12 * SECOND)]


def test_budgets_of_new_entries_are_not_held_while_protection_is_owed():
    bench, made = limiter()
    held: list = []
    made.owe(QUERIES, "AAAUSDT", MonoNs(SECOND))

    async def one() -> None:
        held.append((await made.reserve(1, 60 * SECOND), bench.runtime.now()))

    bench.runtime.spawn(one(), "reserve")
    bench.at(60 * SECOND)
    assert held[0][0] is not None
    assert held[0][1] == 11 * SECOND
