"""A PostgreSQL that another session holds up, before a writer whose clock is the real one.

What is shown is an order, not how fast a machine is: the other session lets go only after the
protective act has gone out.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import asyncpg
import pytest

from kernel.errors import StoreError
from kernel.model.messages import StoreCommit, StoreDone, StoreFailed
from kernel.model.positions import PositionRow, PositionState
from kernel.model.units import MS, SECOND, MonoNs, TsNs
from kernel.ports.store import EffectStore
from kernel.store.address import Address
from kernel.store.blocking import BlockingPostgres
from kernel.store.postgres import Limits, PostgresStore
from kernel.trade.writer import StoreWriter
from tests.kernel.store.rows import position
from tests.kernel.store.stores import address_of, opened
from tests.kernel.trade.parts import START_TS, Bench

SHORT = Limits(statement_ns=800 * MS, connect_ns=10 * SECOND)
PATIENCE_S = 60


class Live:
    """A writer whose timers and answers come as they really do."""

    def __init__(self, address: Address) -> None:
        self.bench = bench = Bench()
        self.database = PostgresStore(address, SHORT)
        self.failing: list[str] = []
        self.durable = 0
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._answers: asyncio.Queue = asyncio.Queue()
        self._asked: list[asyncio.Task] = []
        store = EffectStore(bench.outbox)
        self.writer = StoreWriter(bench.runtime, bench.outbox, bench.settings, store)
        bench.runtime.spawn(self.writer.run(), "writer")

    async def until(self, reached: Callable[[], object]) -> None:
        """Live until something is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self._step()
                if reached():
                    return
                due = self.bench.runtime.next_deadline()
                wait_s = None if due is None else max(0.0, due / SECOND - self._now_s())
                try:
                    key, answer = await asyncio.wait_for(self._answers.get(), wait_s)
                except TimeoutError:
                    continue
                self._step(partial(self.bench.outbox.deliver, key, answer))

    def _now_s(self) -> float:
        return self._loop.time() - self._began

    def _step(self, apply: Callable[[], object] = lambda: None) -> None:
        runtime, now = self.bench.runtime, int(self._now_s() * SECOND)
        runtime.set_time(MonoNs(now), TsNs(START_TS + now))
        runtime.fire_due(now, inclusive=True)
        apply()
        runtime.run_ready()
        effects, decisions, _ = self.bench.outbox.drain()
        self.failing += [one.kind for one in decisions if one.kind.startswith("store.")]
        for effect in effects:
            if isinstance(effect.body, StoreCommit):
                self._asked.append(asyncio.create_task(self._commit(effect.key, effect.body)))

    async def _commit(self, key: str, body: StoreCommit) -> None:
        answer: StoreDone | StoreFailed
        try:
            answer = StoreDone(claimed=await self.database.apply(body.rows))
            self.durable += 1
        except StoreError as error:
            answer = StoreFailed(reason=str(error))
        self._answers.put_nowait((key, answer))

    async def close(self) -> None:
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self.database.close()
        self.bench.runtime.close()


@pytest.mark.parametrize("as_long_as", ["the act needs", "the store is given up"])
def test_a_protective_act_goes_out_while_another_session_holds_up_the_database(
    request, as_long_as
):
    with opened("postgres", request) as backend:
        assert isinstance(backend, BlockingPostgres)
        backend.apply((position("p"),))
        address = address_of(backend)

        async def play() -> None:
            other = await asyncpg.connect(address.url)
            await other.execute("BEGIN")
            await other.execute("UPDATE monitoring.positions SET symbol = symbol")
            live, acted = Live(address), []

            async def act() -> None:
                durable = await live.writer.commit_protect((position("p", PositionState.CLOSING),))
                acted.append((durable, live.bench.runtime.now()))

            live.bench.runtime.spawn(act(), "act")
            await live.until(lambda: acted)
            durable, at_ns = acted[0]
            assert not durable
            assert at_ns >= live.bench.settings.store_wait_ms * MS
            assert live.failing == ["store.late"], "nobody had answered yet"
            if as_long_as == "the store is given up":
                await live.until(lambda: live.writer.failing)
                assert live.failing.count("store.failing") == 1
            await other.execute("ROLLBACK")
            await live.until(lambda: live.durable and not live.writer.failing)
            await live.close()
            await other.close()

        asyncio.run(play())
        row = backend.get(PositionRow, "p")
        assert isinstance(row, PositionRow)
        assert row.state is PositionState.CLOSING
