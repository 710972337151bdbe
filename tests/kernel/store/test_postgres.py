"""PostgreSQL alone: order and fences under concurrency, lost connections, words without secrets."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import pytest

from kernel.config import Settings
from kernel.errors import StoreError
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import DAY, MS, SECOND
from kernel.store import postgres, sql
from kernel.store.address import Address, configured
from kernel.store.blocking import BlockingPostgres
from kernel.store.database import limits_of
from kernel.store.postgres import Limits, PostgresStore
from tests.kernel.store.rows import claim, event, fill, order, position
from tests.kernel.store.stores import address_of, another, ask, opened, reader

NOW = 10**18
SHORT = Limits(statement_ns=1_000 * MS, connect_ns=10 * SECOND)
"""Long enough for a slow machine: what is to be waited for in vain never comes."""


@pytest.fixture(name="store")
def one_store(request) -> Iterator[BlockingPostgres]:
    with opened("postgres", request) as backend:
        assert isinstance(backend, BlockingPostgres)
        backend.load(NOW)
        yield backend


def terminate(address: Address) -> None:
    """Cut every connection of the database but the one that asks."""
    ask(
        address,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


# ------------------------------------------------------------------------ who stands still

BIND_AND_EXECUTE = b"B\0\0\0\x0c\0\0\0\0\0\0\0\0" + b"E\0\0\0\x09\0\0\0\0\0"
PARSE = b"SELECT epoch FROM monitoring.store FOR SHARE\0\0\0"


def standing(address: Address, *, in_a_batch: bool) -> socket.socket:
    """A client that says nothing more, with the lock of a commit: after it, or in a batch."""
    url = urlsplit(address.url)
    folder = dict(parse_qsl(url.query))["host"]
    fields = {"user": url.username or "postgres", "database": url.path[1:],
              "application_name": "wave-kernel"}  # fmt: skip
    body = b"\0\x03\0\0" + b"".join(f"{k}\0{v}\0".encode() for k, v in fields.items()) + b"\0"
    client = socket.socket(socket.AF_UNIX)
    client.connect(f"{folder}/.s.PGSQL.5432")
    client.settimeout(5)
    client.sendall(struct.pack(">I", len(body) + 4) + body)
    heard_until(client, b"Z\0\0\0\x05I")
    begin = b"BEGIN\0"
    client.sendall(b"Q" + struct.pack(">I", len(begin) + 4) + begin)
    heard_until(client, b"Z\0\0\0\x05T")
    parse = b"\0" + PARSE
    flush = b"H\0\0\0\x04"
    client.sendall(b"P" + struct.pack(">I", len(parse) + 4) + parse + BIND_AND_EXECUTE + flush)
    heard_until(client, b"SELECT 1\0")
    if not in_a_batch:
        client.sendall(b"S\0\0\0\x04")
        heard_until(client, b"Z\0\0\0\x05T")
    return client


def heard_until(client: socket.socket, end: bytes) -> None:
    heard = b""
    while end not in heard:
        got = client.recv(4096)
        assert got, heard
        heard += got


@pytest.mark.parametrize("in_a_batch", [False, True])
def test_a_start_ends_the_transaction_of_a_process_that_stands_still(store, in_a_batch):
    """The server ends one that is idle by itself, but none in the middle of a batch."""
    limits = Limits(statement_ns=2 * SECOND, idle_ns=100 * MS)
    with standing(address_of(store), in_a_batch=in_a_batch) as client:
        hasty = another(store, Limits(statement_ns=300 * MS, idle_ns=60 * SECOND))
        with pytest.raises(StoreError, match=r"(statement|lock) timeout"):
            hasty.load(NOW)
        hasty.close()
        taker = another(store, limits)
        assert taker.load(NOW).epoch == 2
        taker.close()
        assert b"terminating connection" in client.recv(4096)


# ------------------------------------------------------------------------ order


def test_commits_that_are_asked_together_are_applied_in_the_order_of_asking(store):
    address, names = address_of(store), [f"p{number:02}" for number in range(20)]

    async def all_at_once():
        postgres = PostgresStore(address)
        await postgres.load(NOW)
        last = [PositionState.ACTIVE, PositionState.CLOSING, PositionState.CLOSED]
        commits = [(position(name), position("one", last[at % 3])) for at, name in enumerate(names)]
        events = [postgres.keep_events((event(at + 1),)) for at in range(5)]
        await asyncio.gather(*map(postgres.apply, commits), *events)
        await postgres.close()

    asyncio.run(all_at_once())
    found = [row.position_id for row in store.rows(PositionRow) if isinstance(row, PositionRow)]
    assert found == ["p00", "one", *names[1:]]
    one = store.get(PositionRow, "one")
    assert isinstance(one, PositionRow)
    assert one.state is PositionState.CLOSING  # the twentieth
    assert len(store.events()) == 5


def test_of_two_processes_that_claim_one_signal_one_wins(store):
    address = address_of(store)

    async def race():
        stores = [PostgresStore(address) for _ in range(6)]
        won = await asyncio.gather(
            *(one.apply((claim("signal"), order(f"c{at}"))) for at, one in enumerate(stores))
        )
        for one in stores:
            await one.close()
        return won

    won = asyncio.run(race())
    assert sorted(won) == [(False,)] * 5 + [(True,)]
    assert len(list(store.rows(OrderRow))) == 1


# ------------------------------------------------------------------------ fences


def test_nothing_is_written_after_a_later_process_has_loaded(store):
    later = another(store)
    assert later.load(NOW + 1).epoch == 2
    with pytest.raises(StoreError, match="run epoch 2 holds it, this process has 1"):
        store.apply((position("late"),))
    assert later.apply((position("new"),)) == ()
    assert [row.position_id for row in later.load(NOW).positions] == ["new"]
    later.close()


def test_a_process_that_is_frozen_in_a_commit_holds_a_start_up_for_a_moment_only(store):
    address = address_of(store)

    async def frozen() -> None:
        connection = await asyncpg.connect(
            address.url, server_settings={"idle_in_transaction_session_timeout": "300"}
        )
        await connection.execute("BEGIN")
        await connection.fetchval("SELECT epoch FROM monitoring.store FOR SHARE")
        later = PostgresStore(address)
        state = await later.load(NOW + 1)
        assert state.epoch == 2
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await connection.execute("INSERT INTO monitoring.claims VALUES ('x', 1, 1)")
        await later.close()
        connection.terminate()

    asyncio.run(frozen())
    assert store.load(NOW + 2).epoch == 3


def test_epochs_are_never_given_twice(store):
    address = address_of(store)

    async def starts():
        stores = [PostgresStore(address) for _ in range(5)]
        states = await asyncio.gather(*(one.load(NOW) for one in stores))
        for one in stores:
            await one.close()
        return sorted(state.epoch for state in states)

    assert asyncio.run(starts()) == [2, 3, 4, 5, 6]

    async def at_least():
        one = PostgresStore(address)
        state = await one.load(NOW, least_epoch=40)
        await one.close()
        return state.epoch

    assert asyncio.run(at_least()) == 40
    assert store.load(NOW).epoch == 41


# ------------------------------------------------------------------------ failures


def test_a_connection_that_was_cut_fails_one_call_and_is_opened_anew(store):
    terminate(address_of(store))
    with pytest.raises(StoreError, match="database socket/run_"):
        store.apply((position("p"),))
    assert store.apply((position("p"),)) == ()
    assert store.epoch == 1


async def locked(store, do) -> None:
    """Do something while another session holds every position."""
    connection = await asyncpg.connect(address_of(store).url)
    await connection.execute("BEGIN")
    await connection.execute("UPDATE monitoring.positions SET symbol = 'X'")
    try:
        await asyncio.to_thread(do)
    finally:
        await connection.execute("ROLLBACK")
        await connection.close()


def counting(short, monkeypatch) -> list[int]:
    """One entry for each try of a commit."""
    tries: list[int] = []
    fence = short._store._fence

    async def counted(connection, epoch):
        tries.append(epoch)
        return await fence(connection, epoch)

    monkeypatch.setattr(short._store, "_fence", counted)
    return tries


def test_a_lock_that_somebody_else_holds_is_waited_for_once_and_no_longer_than_the_time_out(
    store, monkeypatch
):
    short = another(store, SHORT)
    short.apply((position("p"),))
    tries = counting(short, monkeypatch)

    def refused() -> None:
        with pytest.raises(StoreError, match="55P03 canceling statement due to lock timeout"):
            short.apply((position("p"),))

    asyncio.run(locked(store, refused))
    assert len(tries) == 1
    writer = short._store._writer
    assert short.apply((position("p", PositionState.CLOSING),)) == ()
    assert short._store._writer is writer, "its connection goes on"
    short.close()


def test_a_commit_ends_in_its_time_though_each_of_its_statements_does(store, monkeypatch):
    short = another(store, SHORT)

    async def slowly(connection, epoch):
        for _ in range(20):
            await connection.execute("SELECT pg_sleep(0.25)")
        return 0

    monkeypatch.setattr(short._store, "_fence", slowly)
    with pytest.raises(StoreError, match="no end within 1125 ms"):
        short.apply((position("p"),))
    monkeypatch.undo()
    assert short.apply((position("p"),)) == ()
    short.close()


@pytest.mark.parametrize("name", ["DeadlockDetectedError", "SerializationError"])
def test_what_was_undone_for_certain_is_tried_again(store, monkeypatch, name):
    tries = []
    fence = store._store._fence

    async def twice(connection, epoch):
        tries.append(epoch)
        if len(tries) < 3:
            raise getattr(asyncpg, name)("again")
        return await fence(connection, epoch)

    monkeypatch.setattr(store._store, "_fence", twice)
    assert store.apply((position("p"),)) == ()
    assert len(tries) == 3


def test_a_database_that_is_exchanged_for_a_backup_of_the_same_run_takes_nothing_more(store):
    store.apply((position("p"),))
    ask(address_of(store), "UPDATE monitoring.store SET commits = 0")
    with pytest.raises(StoreError, match="0 commits are there and 1 were made"):
        store.apply((position("q"),))
    assert [row.position_id for row in store.rows(PositionRow)] == ["p"]
    ask(address_of(store), "UPDATE monitoring.store SET commits = 5")
    assert store.apply((position("q"),)) == ()
    assert store.mark.commits == 6, "one whose end was not known may have been made"


def test_a_reference_to_nothing_that_is_known_is_refused_with_all_of_its_commit(store):
    with pytest.raises(StoreError, match=r"23503 .*fk_trades_position_id"):
        store.apply((position("p"), fill("1", "nobody")))
    assert list(store.rows()) == []


def test_a_row_that_no_column_takes_is_refused_without_its_values(store):
    with pytest.raises(StoreError) as refused:
        store.apply((position("secret", opened_ns=2**70),))
    assert "secret" not in str(refused.value)
    assert str(2**70) not in str(refused.value)
    assert store.apply((position("p"),)) == ()


def test_without_tables_the_words_say_what_is_missing(postgres):
    bare = BlockingPostgres(Address(postgres.address("template1")))
    with pytest.raises(StoreError, match=r'42P01 relation "monitoring.store" does not exist'):
        bare.load(NOW)
    bare.close()


@pytest.mark.parametrize("url", ["postgresql://me:hush@127.0.0.1:1/x", "postgres://me:hush@/x?host=/no"])
def test_no_failure_shows_the_password(url):
    store = BlockingPostgres(Address(url))
    with pytest.raises(StoreError) as failed:
        store.load(NOW)
    store.close()
    assert "hush" not in f"{failed.value!r} {failed.value.__cause__!r} {Address(url)!r}"


# ------------------------------------------------------------------------ settings


def test_the_settings_name_the_database():
    assert configured(Settings.load({})) is None
    assert configured(Settings.load({"DB_PASSWORD": "x", "DB_NAME": "y"})) is None
    url = "postgresql://u:p@h:5/n"
    assert configured(Settings.load({"DATABASE_URL": url, "DB_HOST": "no"})) == Address(url)
    parts = {"DB_HOST": "h", "DB_USER": "a@b", "DB_PASSWORD": "p/:?", "DB_NAME": "n#"}
    made = configured(Settings.load(parts))
    assert made is not None
    assert made.url == "postgresql://a%40b:p%2F%3A%3F@h:5433/n%23"
    assert made.told == "h:5433/n%23"
    sockets = configured(Settings.load({"DB_HOST": "/run/pg", "DB_PORT": "5432"}))
    assert sockets is not None
    assert sockets.url == "postgresql://elcrypto@/fox_crypto?host=%2Frun%2Fpg&port=5432"
    six = configured(Settings.load({"DB_HOST": "::1"}))
    assert six is not None
    assert "@[::1]:5433/" in six.url


def test_the_settings_give_the_pool_its_size_and_its_time_outs():
    given = {"DB_POOL_SIZE": "3", "DB_MAX_OVERFLOW": "4", "DB_STATEMENT_TIMEOUT_MS": "250"}
    limits = limits_of(Settings.load(given))
    assert (limits.pool_size, limits.max_overflow, limits.statement_ns) == (3, 4, 250 * MS)


def test_statements_wait_as_long_as_the_limits_say(store):
    short = another(store, SHORT)
    assert short.load(NOW).epoch == 2

    async def shown():
        connection = await short._store._writing()
        return [
            await connection.fetchval(f"SHOW {name}")
            for name in ("statement_timeout", "lock_timeout", "timezone", "synchronous_commit")
        ]

    assert short._run(shown()) == ["1s", "750ms", "UTC", "on"]
    short.close()


def test_a_commit_is_on_the_disk_though_the_server_is_told_not_to_wait_for_it(store):
    """A server or role at `synchronous_commit = off` would lose the newest when it is killed."""
    address = address_of(store)
    name = ask(address, "SELECT current_database()")[0][0]
    ask(address, f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        assert ask(address, "SHOW synchronous_commit")[0][0] == "off"
        client = another(store)
        writing = client._run(client._store._writing())
        assert client._run(writing.fetchval("SHOW synchronous_commit")) == "on"
        client.close()
    finally:
        ask(address, f"ALTER DATABASE {name} RESET synchronous_commit")


# ------------------------------------------------------------------------ what has piled up


def test_a_start_does_not_fail_for_old_orders_that_cannot_be_forgotten_now(store, monkeypatch):
    monkeypatch.setattr(postgres, "FORGET_MS", 200)
    store.apply((order("old", intent_open=False),))
    address = address_of(store)
    with reader(address, "SELECT * FROM monitoring.orders_cache FOR UPDATE"):
        assert store.load(NOW + 365 * DAY).epoch > 1
    assert store.has(OrderRow, "binance", "old")
    store.load(NOW + 365 * DAY)
    assert not store.has(OrderRow, "binance", "old")


def test_of_orders_that_have_piled_up_each_start_forgets_some(store, monkeypatch):
    monkeypatch.setattr(sql, "FORGET_MOST", 3)
    store.apply(tuple(order(f"o{number}", intent_open=False) for number in range(7)))
    found = []
    for _ in range(4):
        store.load(NOW + 365 * DAY)
        found.append(len(store.rows(OrderRow)))
    assert found == [4, 1, 0, 0]


def test_of_events_that_have_piled_up_each_call_forgets_some(store, monkeypatch):
    store.keep_events(tuple(event(number) for number in range(1, 8)))
    monkeypatch.setattr(sql, "FORGET_MOST", 3)
    store._store._forgotten_ns = -(10**18)
    found = []
    for number in range(4):
        store.keep_events((event(NOW + number),))
        found.append(len(store.events()))
    assert found == [5, 3, 3, 4]  # 7 old ones in three calls, one new one in each


def test_events_are_kept_though_the_old_ones_cannot_be_forgotten_now(store, monkeypatch):
    monkeypatch.setattr(sql, "FORGET_OLD_EVENTS", "SELECT 1 / 0, $1::bigint, $2::bigint")
    store._store._forgotten_ns = -(10**18)
    store.keep_events((event(NOW),))
    store.keep_events((event(NOW + 1),))
    assert [row.ts_ns for row in store.events()] == [NOW, NOW + 1]
