"""A lagging surface shows the truth of a while ago, not a stale copy."""

from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType, Side
from kernel.model.units import ONE
from venues.sim.surfaces import Lagged, Listed, OpenList, OrderIndex

CHANGES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.none() | st.integers(0, 9)),
    max_size=30,
)


@given(CHANGES, st.lists(st.integers(0, 150), max_size=30))
def test_any_recent_moment_is_shown_as_it_was(changes, moments) -> None:
    surface: Lagged[str, int] = Lagged(memory_ns=1000)
    truth: list[tuple[int, str, int | None]] = []
    now = 0
    for dt, key, value in changes:
        now += dt
        surface.record(now, key, value)
        truth.append((now, key, value))
    for moment in moments:
        expected: dict[str, int] = {}
        for ts, key, value in truth:
            if ts <= moment and value is not None:
                expected[key] = value
            elif ts <= moment:
                expected.pop(key, None)
        assert dict(surface.at(moment)) == expected


@given(CHANGES, st.integers(0, 20))
def test_recording_and_asking_may_alternate(changes, lag) -> None:
    surface: Lagged[str, int] = Lagged()
    truth: list[tuple[int, str, int | None]] = []
    now = 0
    for dt, key, value in changes:
        now += dt
        surface.record(now, key, value)
        truth.append((now, key, value))
        shown = {one: other for ts, one, other in truth if ts <= now - lag}
        alive = {one: other for one, other in shown.items() if other is not None}
        assert dict(surface.at(now - lag)) == alive


def report(number: int, status: OrderStatus, client: str = "c") -> Listed:
    return Listed(
        number,
        OrderReport(
            symbol="BTCUSDT", venue_order_id=str(number), client_order_id=client,
            order_class=OrderClass.PLAIN, order_type=OrderType.LIMIT, side=Side.BUY,
            status=status, qty=ONE,
        ),
    )  # fmt: skip


def test_an_unchanged_list_is_not_built_again() -> None:
    listing = OpenList()
    listing.record(1, report(1, OrderStatus.NEW))
    assert listing.page_at(5) is listing.page_at(6)
    listing.record(7, report(1, OrderStatus.CANCELED))
    assert len(listing.page_at(6).orders) == 1
    assert listing.page_at(7).orders == ()


def test_a_client_id_finds_the_newest_order_that_carries_it() -> None:
    index = OrderIndex()
    index.record(1, report(1, OrderStatus.FILLED))
    index.record(3, report(2, OrderStatus.NEW))

    def find(at: int) -> OrderReport | None:
        return index.find(at, stop=False, venue_order_id="", client_order_id="c")

    assert find(0) is None
    assert [found.venue_order_id for at in (2, 3) if (found := find(at))] == ["1", "2"]
    index.forget(4, report(2, OrderStatus.NEW).report)
    found = find(4)
    assert found is not None
    assert found.venue_order_id == "1"


def test_a_surface_that_nobody_asks_does_not_grow_without_end() -> None:
    surface: Lagged[str, int] = Lagged(memory_ns=10)
    for now in range(20_000):
        surface.record(now, "a", now)
    assert len(surface._ahead) + len(surface._behind) < 5000
    assert dict(surface.at(19_995)) == {"a": 19_995}
