"""Revisions: from every earlier one with data in it, and the tables are those of the models."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from kernel.errors import StoreError
from kernel.model.positions import PositionState
from kernel.store import migrate
from kernel.store.address import Address
from kernel.store.backend import Mark
from kernel.store.blocking import BlockingPostgres
from kernel.store.codec import TABLES, table_of, to_values
from kernel.store.migrate import check, revisions, upgrade
from kernel.store.scratch import make_database, wait_until_alone
from tests.kernel.store.rows import one_of_each, order, position
from tests.kernel.store.stores import ask, reader

SAMPLES = {
    "bigint": "7", "numeric": "1.50", "boolean": "true", "text": "'told'", "json": "'[1]'",
    "ARRAY": "'{}'",
}  # fmt: skip
COLUMNS = """
    SELECT table_schema || '.' || table_name, column_name, data_type
    FROM information_schema.columns
    WHERE table_schema IN ('monitoring', 'fas') AND is_generated = 'NEVER' AND is_identity = 'NO'
        AND column_default IS NULL
    ORDER BY 1, ordinal_position
"""

type Columns = dict[str, dict[str, str]]
"""Table → column → a value for it."""


@pytest.fixture(name="empty")
def empty_database(postgres) -> Iterator[Address]:
    address = make_database(postgres, "empty", template="template1")
    yield address
    ask(Address(postgres.address()), "DROP DATABASE empty WITH (FORCE)")


def fill_every_table(address: Address) -> Columns:
    """A row in each table, whatever columns it has; all text is one word, so it refers rightly."""
    columns: Columns = {}
    for table, name, kind in ask(address, COLUMNS):
        columns.setdefault(table, {})[f'"{name}"'] = SAMPLES[kind]
    inserts = [
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
        for table, values in columns.items()
    ]
    ask(address, "BEGIN", *inserts, "COMMIT")
    return columns


def held(address: Address, columns: Columns) -> dict[str, list[str]]:
    return {
        table: [str(row) for row in ask(address, f"SELECT {', '.join(values)} FROM {table}")]
        for table, values in columns.items()
    }


@pytest.mark.parametrize("revision", revisions())
def test_from_each_revision_with_data_in_it_to_the_newest(empty, revision):
    upgrade(empty, revision)
    columns = fill_every_table(empty)
    before = held(empty, columns)
    assert [len(rows) for rows in before.values()] == [1] * len(columns)
    assert upgrade(empty) == (revision, revisions()[-1])
    assert held(empty, columns) == before
    assert check(empty) == []


def insert(address: Address, rows: list) -> list:
    """Put rows into the tables and columns that there are; those that had a table."""
    there: dict[str, list[str]] = {}
    for table, name, _kind in ask(address, COLUMNS):
        there.setdefault(table, []).append(name)
    kept = [row for row in rows if table_of(row).name in there]

    async def put() -> None:
        connection = await asyncpg.connect(address.url, timeout=5)
        for row in kept:
            table = table_of(row)
            given = dict(zip(table.names, to_values(row), strict=True))
            names = [name for name in table.names if name in there[table.name]]
            places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
            columns = ", ".join(f'"{name}"' for name in names)
            await connection.execute(
                f"INSERT INTO {table.name} ({columns}) VALUES ({places})",
                *(given[name] for name in names),
            )
        await connection.execute(
            "INSERT INTO monitoring.store (epoch, since_ns) VALUES (3, 500)"
            if "commits" not in there["monitoring.store"]
            else "INSERT INTO monitoring.store (epoch, since_ns, first_ns, commits)"
            " VALUES (3, 500, 500, 0)"
        )
        await connection.close()

    asyncio.run(put())
    return kept


@pytest.mark.parametrize("revision", revisions())
def test_rows_of_each_revision_are_read_by_this_program_as_they_were_written(empty, revision):
    rows = one_of_each()
    assert {table_of(row).name for row in rows} == {table.name for table in TABLES}
    upgrade(empty, revision)
    kept = insert(empty, rows)
    assert len(kept) >= 10
    upgrade(empty)
    store = BlockingPostgres(empty)
    found = [*store.rows(), *store.events()]
    assert len(found) == len(kept)
    assert [row for row in kept if row not in found] == []
    state = store.load(1_000)
    assert (state.epoch, state.since_ns, store.mark) == (4, 500, Mark(500, 0))
    assert [row.position_id for row in state.positions] == ["p"]
    assert [row.client_order_id for row in state.orders] == ["c"]
    assert state.performance[0].net == kept[7].net
    store.apply((position("p", PositionState.CLOSED),))
    store.close()


def test_migrations_and_models_agree(empty):
    assert check(empty) == [f"revision none, this program needs {revisions()[-1]}: run db upgrade"]
    assert upgrade(empty) == ("", revisions()[-1])
    assert check(empty) == []
    assert upgrade(empty) == (revisions()[-1], revisions()[-1])


def test_what_differs_from_the_models_is_told(empty):
    upgrade(empty)
    ask(
        empty,
        "DROP INDEX monitoring.ix_positions_live",
        "ALTER TABLE monitoring.trades ALTER price TYPE float8, ADD extra text",
        "ALTER TABLE monitoring.orders_cache DROP CONSTRAINT fk_orders_cache_position_id",
    )
    found = check(empty)
    assert [line.partition(":")[0] for line in found].count("missing") == 3
    assert any("ix_positions_live" in line and "WHERE" in line for line in found)
    assert "missing: column monitoring.trades.price: numeric not null  default " in found
    assert any(line.startswith("unknown: column monitoring.trades.extra: text") for line in found)
    assert any("REFERENCES monitoring.positions(id)" in line for line in found)


def test_a_database_of_a_newer_program_is_left_alone(empty):
    upgrade(empty)
    ask(empty, "UPDATE public.alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="at revision 9999, which this program lacks"):
        upgrade(empty)
    assert "revision 9999" in check(empty)[0]


def test_an_upgrade_that_fails_changes_nothing(empty):
    ask(empty, "CREATE SCHEMA fas", "CREATE TABLE fas.waves (mine text)")
    with pytest.raises(StoreError, match='42P07 relation "waves" already exists'):
        upgrade(empty)
    found = ask(empty, "SELECT 1 FROM pg_namespace WHERE nspname = 'monitoring'")
    assert found == []


def test_what_people_read_is_the_time_that_is_kept(empty):
    upgrade(empty)
    store = BlockingPostgres(empty)
    store.apply((position("p", opened_ns=1_767_617_100_123_456_789), order("c", "p")))
    store.close()
    found = ask(
        empty,
        "SET timezone = 'UTC'",
        "SELECT opened_at::text, closed_at FROM monitoring.positions",
    )
    assert tuple(found[0]) == ("2026-01-05 12:45:00.123457+00", None)


def test_nothing_is_upgraded_under_a_running_kernel(empty):
    """An older program's rows may be refused by newer tables."""
    upgrade(empty, revisions()[-2])
    kernel = BlockingPostgres(empty)
    kernel.leases()
    with pytest.raises(StoreError, match="running kernel, whose rows"):
        upgrade(empty)
    kernel.close()
    wait_until_alone(empty)
    assert upgrade(empty) == (revisions()[-2], revisions()[-1])


def test_an_upgrade_that_changes_nothing_disturbs_no_kernel(empty):
    upgrade(empty)
    kernel = BlockingPostgres(empty)
    kernel.load(10)
    assert upgrade(empty) == (revisions()[-1], revisions()[-1])
    kernel.close()


def test_an_upgrade_does_not_wait_for_ever_for_a_reader(empty, monkeypatch):
    monkeypatch.setattr(migrate, "LOCK_S", 1)
    upgrade(empty, revisions()[-2])
    asked = "; ".join(f"SELECT * FROM {table}" for table in tables(empty))
    with reader(empty, asked), pytest.raises(StoreError, match="lock timeout"):
        upgrade(empty)
    assert upgrade(empty) == (revisions()[-2], revisions()[-1])


def test_a_database_that_cannot_keep_every_text_gets_no_tables(postgres):
    server = Address(postgres.address())
    ask(server, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match="encoding is LATIN1, this program needs UTF8"):
        upgrade(Address(postgres.address("latin")))
    ask(server, "DROP DATABASE latin WITH (FORCE)")


def tables(address: Address) -> list[str]:
    found = ask(address, "SELECT schemaname || '.' || tablename FROM pg_tables"
                " WHERE schemaname IN ('monitoring', 'fas')")  # fmt: skip
    return [name for (name,) in found]
