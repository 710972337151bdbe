"""The statements of the store in PostgreSQL, built from the tables of the codec."""

from __future__ import annotations

from typing import NamedTuple

from kernel.store import codec
from kernel.store.backend import CLAIMS_READ_NS
from kernel.store.codec import Table

LIVE = "(state NOT IN ('CLOSED', 'ROLLED_BACK') OR result_ns = 0)"
"""Of positions: what a start needs, that is all but those that ended and whose result was told."""

TAKE_EPOCH = """
    INSERT INTO monitoring.store AS held (epoch, since_ns, first_ns, commits)
    VALUES (greatest(1, $2::bigint), $1, $1, 0)
    ON CONFLICT (single) DO UPDATE SET
        epoch = greatest(held.epoch + 1, $2),
        since_ns = CASE WHEN held.since_ns > 0 AND held.epoch + 1 >= $2 AND NOT $3
            THEN held.since_ns ELSE excluded.since_ns END,
        first_ns = CASE WHEN held.first_ns > 0 THEN held.first_ns ELSE excluded.first_ns END
    RETURNING epoch, since_ns, first_ns, commits
"""
"""Args: wall time, the least epoch that may be taken, whether it exists since now in any case.
Where the epoch before the least one is not known, this is an earlier state, and does so too."""
MARK = "SELECT first_ns, commits FROM monitoring.store"
FENCE = "UPDATE monitoring.store SET commits = commits + 1 RETURNING epoch, commits"
"""Nothing else commits, or loads, until this commit has ended."""
CLAIM = """
    INSERT INTO monitoring.claims (once_key, wave_ns, claimed_ns)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
    ON CONFLICT (once_key) DO NOTHING RETURNING once_key
"""
FORGET_MOST = 10_000
"""Rows that one statement forgets: its time has a bound, whatever has piled up."""
FORGET_ORDERS = f"""
    DELETE FROM monitoring.orders_cache WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM monitoring.orders_cache
        WHERE NOT intent_open AND watch_until_ns <= 0 AND greatest(created_ns, updated_ns) < $1
        AND (position_id IS NULL OR position_id NOT IN (
            SELECT id FROM monitoring.positions WHERE {LIVE})) LIMIT $2))
"""  # noqa: S608 - our own words
FORGET_OLD_EVENTS = """
    DELETE FROM monitoring.events WHERE number IN
        (SELECT number FROM monitoring.events WHERE ts_ns < $1 ORDER BY ts_ns LIMIT $2)
"""
FORGET_MANY_EVENTS = """
    DELETE FROM monitoring.events WHERE number IN (
        SELECT number FROM monitoring.events WHERE number <=
            (SELECT number FROM monitoring.events ORDER BY number DESC OFFSET $1 LIMIT 1)
        ORDER BY number LIMIT $2)
"""
LOCK_LEASES = "LOCK TABLE monitoring.leases IN EXCLUSIVE MODE"
LEASES = "SELECT account, instance, epoch, until_ns FROM monitoring.leases"
GIVE_LEASE = """
    INSERT INTO monitoring.leases (account, instance, epoch, until_ns)
    SELECT account, $2, $3, $4 FROM unnest($1::text[]) AS account
    ON CONFLICT (account) DO UPDATE SET
        instance = excluded.instance, epoch = excluded.epoch, until_ns = excluded.until_ns
"""
CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"
RESET_STORE = "UPDATE monitoring.store SET since_ns = 0, first_ns = 0, commits = 0"
REWIND_STORE = """
    UPDATE monitoring.store SET epoch = $1, since_ns = $2, first_ns = $3, commits = $4
"""


def _quoted(name: str) -> str:
    return f'"{name}"'


def upsert(table: Table) -> str:
    """Write a row; one with the same key is replaced and keeps its number."""
    names = ", ".join(map(_quoted, table.names))
    places = ", ".join(f"${place}" for place in range(1, len(table.names) + 1))
    insert = f"INSERT INTO {table.name} ({names}) VALUES ({places})"  # noqa: S608 - our own words
    if table.append:
        return insert
    key = ", ".join(map(_quoted, table.key)) or "single"
    values = [name for name in table.names if name not in table.key]
    changes = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in values)
    return f"{insert} ON CONFLICT ({key}) DO UPDATE SET {changes}"


RELEASE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
        AND application_name = $1 AND pid <> pg_backend_pid()
        AND wait_event = 'ClientRead' AND xact_start IS NOT NULL
        AND query_start < clock_timestamp() - $2 * interval '1 ms'
"""
"""End transactions of ours whose client says nothing for so many milliseconds: its process stands
still. The server's own time-out for that ends none that stands still in the middle of a batch."""


def select(table: Table, where: str = "true", order: str = "t.number") -> str:
    """The values of rows in the order of the codec; `t` names the table."""
    names = ", ".join(f"t.{_quoted(name)}" for name in table.names)
    return f"SELECT {names} FROM {table.name} t WHERE {where} ORDER BY {order}"  # noqa: S608


def by_key(table: Table) -> str:
    """One row by its key."""
    named = (f"t.{_quoted(name)} = ${place}" for place, name in enumerate(table.key, start=1))
    return select(table, " AND ".join(named) or "true")


CLEAR = tuple(
    f"DELETE FROM {table.name}" for table in codec.TABLES[::-1] if table is not codec.EVENTS  # noqa: S608
)
"""Take every row but events away."""
EMPTY = (
    *CLEAR,
    f"DELETE FROM {codec.EVENTS.name}",  # noqa: S608
    "DELETE FROM monitoring.store",
    "DELETE FROM monitoring.leases",
)


class Read(NamedTuple):
    """A query of a start. `back_ns`: its argument is the wall time so long ago; None: none."""

    table: Table
    query: str
    back_ns: int | None = None


_OF_LIVE = f"t.position_id IN (SELECT id FROM monitoring.positions WHERE {LIVE})"  # noqa: S608
_NUMBER_OF_POSITION = "(SELECT p.number FROM monitoring.positions p WHERE p.id = t.position_id)"
START: dict[str, Read] = {
    "positions": Read(codec.POSITIONS, select(codec.POSITIONS, LIVE)),
    "orders": Read(
        codec.ORDERS,
        select(codec.ORDERS, f"t.intent_open OR t.watch_until_ns > $1 OR {_OF_LIVE}"),
        0,
    ),
    "fills": Read(codec.TRADES, select(codec.TRADES, _OF_LIVE)),
    "trailing": Read(
        codec.TRAILING, select(codec.TRAILING, _OF_LIVE, _NUMBER_OF_POSITION)
    ),
    "claims": Read(codec.CLAIMS, select(codec.CLAIMS, "t.claimed_ns > $1"), CLAIMS_READ_NS),
    "waves": Read(
        codec.WAVES, select(codec.WAVES, "t.state = 'open' OR t.wave_ns > $1"), CLAIMS_READ_NS
    ),
    "locks": Read(codec.LOCKS, select(codec.LOCKS, "t.until_ns > $1"), 0),
    "performance": Read(codec.TOTALS, select(codec.TOTALS)),
    "switches": Read(codec.SWITCHES, select(codec.SWITCHES)),
}
"""Field of `StoredState` → what a start reads."""
