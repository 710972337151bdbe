"""The store on PostgreSQL against bare inserts through asyncpg, in one run on one server.

    python -m benchmarks.store [--commits N] [--events N] [--sync]

Ratios say what typed rows, claims, the fence and one transaction a commit cost; milliseconds are of
this machine. `--sync` waits for the disk as a live run does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from statistics import median, quantiles
from time import perf_counter

import asyncpg
import msgspec

from kernel.model.orders import OrderClass, OrderType, PositionSide, Side
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import EventRow, OrderRow, Row
from kernel.model.units import TsNs
from kernel.store.address import Address
from kernel.store.embedded import FAST
from kernel.store.postgres import PostgresStore
from kernel.store.scratch import make_database, scratch_server

NOW = 10**18
BATCH = 200
"""Events that are handed over together, as the event log does."""


def intent(number: int) -> tuple[Row, ...]:
    """What is written before a stop is placed: the position and its order."""
    name = f"binance-BTCUSDT-{number}"
    position = PositionRow(
        position_id=name, venue="binance", symbol="BTCUSDT", side=PositionSide.LONG,
        state=PositionState.PENDING_SL, entry_price=Decimal("42000.1"),
        filled_qty=Decimal("0.005"), opened_ns=TsNs(NOW), updated_ns=TsNs(NOW),
    )  # fmt: skip
    order = OrderRow(
        venue="binance", client_order_id=f"wk1-abc-abcdef-S0-{number}", symbol="BTCUSDT",
        position_id=name, order_class=OrderClass.CONDITIONAL, order_type=OrderType.STOP_MARKET,
        side=Side.SELL, qty=Decimal("0.005"), reduce_only=True, trigger_price=Decimal(41160),
        created_ns=TsNs(NOW),
    )  # fmt: skip
    return position, order


def event(number: int) -> EventRow:
    """A decision as the event log writes it."""
    return EventRow(
        ts_ns=TsNs(NOW + number), kind="stop.confirmed", venue="binance", symbol="BTCUSDT",
        position_id="binance-BTCUSDT-1", client_order_id="wk1-abc-abcdef-S0-1",
        cause="the venue lists it", values='{"price":"41160","qty":"0.005"}', seq=number,
        text="BTCUSDT on binance: the stop at 41160 is live",
    )  # fmt: skip


async def timed(count: int, work: Callable[[int], Awaitable[object]]) -> list[float]:
    """Milliseconds of each call."""
    took = []
    for number in range(count):
        began = perf_counter()
        await work(number)
        took.append((perf_counter() - began) * 1000)
    return took


async def commits(store: PostgresStore, bare: asyncpg.Connection, count: int) -> None:
    """A critical write against the same bytes in one row, and in two rows of a transaction."""
    await bare.execute("CREATE TABLE bare (number bigint PRIMARY KEY, body bytea NOT NULL)")
    body = msgspec.msgpack.encode(intent(0))

    async def one(number: int) -> None:
        await bare.execute("INSERT INTO bare VALUES ($1, $2)", number, body)

    async def two(number: int) -> None:
        async with bare.transaction():
            for part in (2, 3):
                await bare.execute("INSERT INTO bare VALUES ($1, $2)", part * 10**6 + number, body)

    for told in (one, two):
        await timed(20, partial(_beyond, told))
    plain, pair = await timed(count, one), await timed(count, two)
    ours = await timed(count, lambda number: store.apply(intent(number)))
    for name, took in (
        ("bare insert", plain), ("two in a transaction", pair), ("critical write", ours),
    ):  # fmt: skip
        slowest = quantiles(took, n=100)[98]
        print(f"{name:22} p50 {median(took):7.3f} ms  p99 {slowest:7.3f} ms"
              f"  {median(took) / median(plain):5.2f} x bare")  # fmt: skip


async def _beyond(told: Callable[[int], Awaitable[None]], number: int) -> None:
    """A call to get warm, under a number that the measured ones do not use."""
    await told(10**5 + number)


async def events(store: PostgresStore, bare: asyncpg.Connection, count: int) -> None:
    """Rows of events a second, in batches, against single bare inserts and a bare COPY."""
    batches = [[event(at + number) for number in range(BATCH)] for at in range(0, count, BATCH)]
    few = max(1, count // 20)
    singles = await timed(few, lambda number: bare.execute(
        "INSERT INTO bare VALUES ($1, $2)", 10**9 + number, b"x" * 200))  # fmt: skip
    records = [(10**10 + number, b"x" * 200) for number in range(count)]
    began = perf_counter()
    for at in range(0, count, BATCH):
        await bare.copy_records_to_table("bare", records=records[at : at + BATCH])
    copied = perf_counter() - began
    began = perf_counter()
    for batch in batches:
        await store.keep_events(tuple(batch))
    took = perf_counter() - began
    single = few / (sum(singles) / 1000)
    print(f"events                 {count / took:9.0f} rows/s  {count / took / single:5.1f} x bare"
          f" inserts  {copied / took:5.2f} x bare COPY")  # fmt: skip
    size = await bare.fetchval("SELECT pg_total_relation_size('monitoring.events')")
    print(f"an event takes         {size / count:9.0f} bytes with its indexes")


async def measure(address: Address, options: argparse.Namespace) -> None:
    """All figures."""
    store, bare = PostgresStore(address), await asyncpg.connect(address.url)
    await store.load(NOW)
    await timed(20, lambda number: store.apply(intent(10**6 + number)))
    await commits(store, bare, options.commits)
    await events(store, bare, options.events)
    size = await bare.fetchval(
        "SELECT pg_total_relation_size('monitoring.positions')"
        " + pg_total_relation_size('monitoring.orders_cache')"
    )
    print(f"a position with a stop {size / options.commits:9.0f} bytes with their indexes")
    await store.close()
    await bare.close()


def main(arguments: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--sync", action="store_true", help="wait for the disk")
    options = parser.parse_args(arguments)
    with scratch_server(() if options.sync else FAST) as server:
        asyncio.run(measure(make_database(server, "measured"), options))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
