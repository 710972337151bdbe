"""A watch fires once or not at all, and a cleared one is cleared at the price service too."""

from decimal import Decimal

import pytest

from kernel.model.messages import PriceRead, WatchCleared, WatchFired, WatchSet
from kernel.model.orders import PriceSource
from kernel.model.units import TsNs
from kernel.runtime.errors import TimedOut
from kernel.trade.watches import Watches
from tests.kernel.trade.parts import Bench

D = Decimal
PRICE = PriceRead(D(101), TsNs(7))


def made():
    bench = Bench()
    return bench, Watches(bench.runtime, bench.outbox), []


def set_one(watches, seen, **changes):
    given = {"at_or_above": D(100)} | changes
    return watches.set("binance", "BTCUSDT", PriceSource.MARK, seen.append, **given)


def hit(watch_id):
    return WatchFired(watch_id=watch_id, price=PRICE.price, price_ts_ns=PRICE.ts_ns)


def sent(bench):
    return [(one.key, one.body) for one in bench.outbox.effects]


def test_a_watch_asks_for_what_it_was_set_to():
    bench, watches, seen = made()
    watch = set_one(watches, seen, at_or_below=D(90), purpose="trail")
    assert watch.active
    assert len(watches) == 1
    assert sent(bench) == [
        (
            "watch/binance/BTCUSDT:trail/1",
            WatchSet(
                watch_id="watch/binance/BTCUSDT:trail/1",
                venue="binance",
                symbol="BTCUSDT",
                source=PriceSource.MARK,
                at_or_above=D(100),
                at_or_below=D(90),
            ),
        )
    ]
    assert set_one(watches, seen).watch_id == "watch/binance/BTCUSDT/1"


def test_a_watch_fires_once():
    bench, watches, seen = made()
    watch = set_one(watches, seen)
    assert watches.fired(hit(watch.watch_id)) is True
    assert not watch.active
    assert watches.fired(hit(watch.watch_id)) is False
    assert seen == [PRICE]
    watch.clear()
    assert len(sent(bench)) == 1, "what fired is not cleared"


def test_a_cleared_watch_does_not_fire_although_its_input_is_under_way():
    bench, watches, seen = made()
    watch = set_one(watches, seen)
    watch.clear()
    watch.clear()
    assert not watch.active
    assert watches.fired(hit(watch.watch_id)) is False
    assert seen == []
    assert len(watches) == 0
    name = watch.watch_id
    assert sent(bench)[1:] == [(f"un{name}", WatchCleared(watch_id=name))]


def test_a_wait_ends_with_the_price_and_a_cancelled_one_clears_its_watch():
    bench, watches, seen = made()

    async def wait() -> None:
        below = D(90)
        price = await watches.wait(
            "binance", "BTCUSDT", PriceSource.LAST, at_or_below=below, purpose="wait"
        )
        seen.append(price)

    bench.runtime.spawn(wait(), "first")
    bench.at(1)
    (key, body) = sent(bench)[0]
    assert (key, body.source, body.at_or_above, body.at_or_below) == (
        "watch/binance/BTCUSDT:wait/1", PriceSource.LAST, None, D(90),
    )  # fmt: skip
    watches.fired(hit(key))
    bench.at(2)
    assert seen == [PRICE]
    assert len(sent(bench)) == 1

    async def give_up() -> None:
        with pytest.raises(TimedOut), bench.runtime.timeout(1):
            await wait()

    bench.runtime.spawn(give_up(), "second")
    bench.at(9)
    assert [key for key, _ in sent(bench)][2:] == ["unwatch/binance/BTCUSDT:wait/2"]


def test_a_watch_has_a_bound():
    _, watches, seen = made()
    with pytest.raises(AssertionError, match="without a bound"):
        set_one(watches, seen, at_or_above=None)


@pytest.mark.parametrize("bound", ["at_or_above", "at_or_below"])
def test_a_wait_asks_for_the_bound_that_it_was_given(bound):
    bench, watches, _ = made()
    waits = watches.wait("binance", "BTCUSDT", PriceSource.MARK, **{bound: D(90)})
    bench.runtime.spawn(waits, "wait")
    bench.at(1)
    ((_, body),) = sent(bench)
    assert {name: getattr(body, name) for name in ("at_or_above", "at_or_below")} == (
        {"at_or_above": None, "at_or_below": None} | {bound: D(90)}
    )
