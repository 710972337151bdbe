"""Backups: what comes back, what is refused, and that a failure changes nothing."""

import pytest

from kernel.errors import StoreError
from kernel.store.address import Address
from kernel.store.backup import backup, restore
from kernel.store.blocking import BlockingPostgres
from kernel.store.migrate import check, revisions, upgrade
from kernel.store.scratch import make_database
from tests.kernel.store.rows import event, fill, order, position


def held(address):
    store = BlockingPostgres(address)
    try:
        return list(store.rows()), store.events()
    finally:
        store.close()


def write(address, *rows, events=()):
    store = BlockingPostgres(address)
    store.load(10)
    store.apply(rows)
    store.keep_events(events)
    store.close()


def test_a_restored_database_is_the_one_that_was_backed_up(postgres, tmp_path):
    address, file = make_database(postgres, "backup_whole"), tmp_path / "b"
    write(address, position("p"), order("o", "p"), fill("t", "p"), events=(event(5),))
    before = held(address)
    assert backup(address, file) == file.stat().st_size > 0
    write(address, position("q"), order("o", "q"), events=(event(6),))
    assert held(address) != before
    newest = revisions()[-1]
    assert restore(address, file) == (newest, newest)
    assert held(address) == before
    assert check(address) == []


def test_a_backup_of_an_earlier_revision_is_brought_to_the_newest(postgres, tmp_path):
    address, file = make_database(postgres, "backup_old", template="template1"), tmp_path / "b"
    first, newest = revisions()[0], revisions()[-1]
    upgrade(address, first)
    backup(address, file)
    upgrade(address)
    assert restore(address, file) == (first, newest)
    assert check(address) == []


def test_nothing_is_restored_under_a_running_kernel(postgres, tmp_path):
    address, file = make_database(postgres, "backup_used"), tmp_path / "b"
    backup(address, file)
    store = BlockingPostgres(address)
    store.load(10)
    with pytest.raises(StoreError, match="running kernel: stop it first"):
        restore(address, file)
    store.close()


def test_a_file_that_is_no_backup_changes_nothing(postgres, tmp_path):
    address, file = make_database(postgres, "backup_bad"), tmp_path / "b"
    write(address, position("p"))
    before = held(address)
    file.write_bytes(b"PGDMP and nothing else")
    with pytest.raises(StoreError, match="pg_restore failed"):
        restore(address, file)
    assert held(address) == before


def test_a_backup_that_was_cut_short_changes_nothing(postgres, tmp_path):
    address, file = make_database(postgres, "backup_cut"), tmp_path / "b"
    write(address, *(position(f"p{number}") for number in range(200)))
    before = held(address)
    size = backup(address, file)
    file.write_bytes(file.read_bytes()[: size * 2 // 3])
    with pytest.raises(StoreError):
        restore(address, file)
    assert held(address) == before


def test_a_backup_that_fails_leaves_the_last_one_and_shows_no_password(postgres, tmp_path):
    file = tmp_path / "b"
    file.write_text("the last one")
    make_database(postgres, "backup_none", template="template1")
    with pytest.raises(StoreError, match="pg_dump failed"):
        backup(Address(postgres.address("backup_none")), file)
    with pytest.raises(StoreError) as failure:
        backup(Address("postgresql://me:h%40sh@127.0.0.1:1/x"), file)
    assert "h@sh" not in str(failure.value)
    assert "h%40sh" not in str(failure.value)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert file.read_text() == "the last one"


def test_nobody_else_may_read_a_backup(postgres, tmp_path):
    backup(make_database(postgres, "backup_mode"), tmp_path / "b")
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
