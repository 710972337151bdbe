"""The venues enforce their budgets: what is over them is refused, and nothing of it happens."""

from decimal import Decimal

from kernel.model.orders import OrderClass
from kernel.model.units import MINUTE, MS, SECOND
from kernel.model.venue import Failure, QueryOpenOrders, QueryPositions
from tests.venues.sim.desk import T0, Desk, market_order
from venues.sim.quota import Budget, Quota

FLAT = [(0, "60000"), (60_000, "60000")]


def test_a_fixed_window_has_room_again_at_its_end() -> None:
    quota = Quota((Budget(name="w", limit=2, window_ns=10, code="c", text="t"),))
    taken = [quota.take("submit", now) for now in (3, 5, 9, 10)]
    assert [None if excess is None else excess.retry_at_ns for excess in taken] == [
        None, None, 10, None,
    ]  # fmt: skip


def test_a_rolling_window_has_room_when_the_oldest_is_old_enough() -> None:
    quota = Quota(
        (Budget(name="w", limit=2, window_ns=10, code="c", text="t", rolling=True),)
    )
    taken = [quota.take("submit", now) for now in (3, 5, 9, 12, 13, 14)]
    assert [None if excess is None else excess.retry_at_ns for excess in taken] == [
        None, None, 13, 13, None, 15,
    ]  # fmt: skip


def test_kinds_may_each_have_the_budget_for_themselves() -> None:
    quota = Quota((Budget(name="w", limit=1, window_ns=10, code="c", text="t", per_kind=True,
                          kinds=("a", "b")),))
    assert [quota.take(kind, 1) is None for kind in ("a", "b", "c", "c", "a")] == [
        True, True, True, True, False,
    ]  # fmt: skip


def test_who_goes_on_over_a_budget_is_shut_out() -> None:
    budget = Budget(name="w", limit=1, window_ns=10, code="slow", text="t", ban_after=2,
                    ban_ns=1000, ban_code="ban")
    quota = Quota((budget,))
    codes = [getattr(quota.take("a", 1), "code", "") for _ in range(4)]
    assert codes == ["", "slow", "slow", "ban"]
    excess = quota.take("a", 500)
    assert excess is not None
    assert (excess.banned, excess.retry_at_ns) == (True, 1001)
    assert quota.take("a", 1001) is None


def test_binance_refuses_the_301st_order_of_ten_seconds() -> None:
    desk = Desk("binance", FLAT)
    replies = [desk.venue.answer(market_order("0.001", cid=f"e-{n}")).reply for n in range(301)]
    last = replies[-1]
    assert isinstance(last, Failure)
    assert (last.kind, last.code) == ("Throttled", "-1015")
    assert last.retry_at_ns == T0 + 10 * SECOND
    assert desk.qty() == Decimal("0.300")
    assert not isinstance(desk.venue.answer(QueryPositions()).reply, Failure)


def test_binance_weighs_whole_account_lists_and_bans_who_does_not_listen() -> None:
    desk = Desk("binance", FLAT)
    ask = QueryOpenOrders(order_class=OrderClass.PLAIN)
    replies = [desk.venue.answer(ask).reply for _ in range(162)]
    refused = [reply for reply in replies if isinstance(reply, Failure)]
    assert len(replies) - len(refused) == 60
    assert (refused[0].code, refused[0].banned) == ("-1003", False)
    assert (refused[-1].code, refused[-1].banned) == ("http-418", True)
    assert refused[-1].retry_at_ns == T0 + 2 * MINUTE
    desk.run_to(2 * MINUTE // MS)
    assert not isinstance(desk.venue.answer(ask).reply, Failure)


def test_bybit_counts_each_endpoint_in_a_rolling_second() -> None:
    desk = Desk("bybit", FLAT)
    replies = [desk.venue.answer(market_order("0.001", cid=f"e-{n}")).reply for n in range(11)]
    last = replies[-1]
    assert isinstance(last, Failure)
    assert (last.code, last.retry_at_ns) == ("10006", T0 + SECOND)
    assert [isinstance(reply, Failure) for reply in replies[:10]] == [False] * 10


def test_a_second_actor_uses_nobodys_budget() -> None:
    desk = Desk("bybit", FLAT)
    for n in range(20):
        desk.market("0.001", cid=f"e-{n}")
    assert not isinstance(desk.venue.answer(market_order("0.001", cid="x")).reply, Failure)
