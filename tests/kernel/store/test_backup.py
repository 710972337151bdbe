"""Backups: what comes back, what is refused, and that a failure changes nothing."""

import fcntl
import subprocess
from pathlib import Path

import pytest

from kernel.errors import StoreError
from kernel.store import backup as backups
from kernel.store.address import Address
from kernel.store.backup import BackupRefused, KernelConnected, backup, restore
from kernel.store.blocking import BlockingPostgres
from kernel.store.embedded import programs
from kernel.store.migrate import check, revisions, upgrade
from kernel.store.scratch import make_database
from tests.kernel.store.rows import event, fill, order, position
from tests.kernel.store.stores import ask, reader


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
    with pytest.raises(KernelConnected, match="running kernel: stop it first"):
        restore(address, file)
    store.close()


def test_a_file_that_is_no_backup_changes_nothing(postgres, tmp_path):
    address, file = make_database(postgres, "backup_bad"), tmp_path / "b"
    write(address, position("p"))
    before = held(address)
    file.write_bytes(b"PGDMP and nothing else")
    with pytest.raises(BackupRefused, match="is no backup, or a damaged one"):
        restore(address, file)
    assert held(address) == before


def test_a_backup_of_something_else_changes_nothing(postgres, tmp_path):
    other, file = make_database(postgres, "backup_shop", template="template1"), tmp_path / "b"
    ask(other, "CREATE TABLE shop (x int)", "INSERT INTO shop VALUES (1)")
    arguments = ["--format=custom", f"--file={file}", other.url]
    subprocess.run([str(programs() / "pg_dump"), *arguments], check=True)
    address = make_database(postgres, "backup_ours")
    write(address, position("p"))
    before = held(address)
    with pytest.raises(BackupRefused, match="no tables of this program"):
        restore(address, file)
    assert held(address) == before
    assert check(address) == []


def test_a_backup_of_a_newer_program_changes_nothing(postgres, tmp_path):
    newer, file = make_database(postgres, "backup_newer"), tmp_path / "b"
    ask(newer, "UPDATE public.alembic_version SET version_num = '9999'")
    backup(newer, file)
    address = make_database(postgres, "backup_older")
    write(address, position("p"))
    before = held(address)
    with pytest.raises(BackupRefused, match="'9999', which this program lacks"):
        restore(address, file)
    assert held(address) == before
    assert check(address) == []


@pytest.mark.parametrize(("version", "told"), [(14, b"--T"), (16, b"--T"), (17, b"SET")])
def test_a_server_before_17_is_spared_a_setting_that_it_does_not_know(
    postgres, tmp_path, monkeypatch, version, told
):
    address, file = make_database(postgres, f"backup_{version}"), tmp_path / "b"
    write(address, position("p"))
    before = held(address)
    backup(address, file)
    heads = []

    async def server(_address):
        return 0, version

    def call(address_, program, *arguments, **more):
        if program == "psql":
            script = next(word[7:] for word in arguments if word.startswith("--file="))
            text = Path(script).read_bytes()
            heads.append(text[text.index(b" transaction_timeout") - 3 :][:3])
        original(address_, program, *arguments, **more)

    original = backups._call
    monkeypatch.setattr(backups, "_server", server)
    monkeypatch.setattr(backups, "_call", call)
    restore(address, file)
    assert heads == [told]
    assert held(address) == before


def test_two_backups_do_not_write_one_file(postgres, tmp_path):
    address, file = make_database(postgres, "backup_twice"), tmp_path / "b"
    with (tmp_path / "b.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"half")
        other.flush()
        with pytest.raises(StoreError, match="another backup writes it"):
            backup(address, file)
        assert (tmp_path / "b.part").read_bytes() == b"half"
    backup(address, file)  # what a killed one left holds nobody up
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_the_program_of_a_killed_backup_keeps_its_file(postgres, tmp_path, monkeypatch):
    """It goes on writing after its parent was killed."""
    address, file = make_database(postgres, "backup_orphan"), tmp_path / "b"
    left = []

    def leave(*_arguments, keep=()):
        left.append(subprocess.Popen(["sleep", "60"], pass_fds=keep))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(backups, "_call", leave)
        patched.setattr(Path, "unlink", lambda *_arguments, **_more: None)
        with pytest.raises(KeyboardInterrupt):
            backup(address, file)
    with pytest.raises(StoreError, match="another backup writes it"):
        backup(address, file)
    left[0].kill()
    left[0].wait()
    assert backup(address, file) > 0


def test_a_restore_does_not_wait_for_ever_for_a_reader(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(backups, "LOCK_S", 1)
    address, file = make_database(postgres, "backup_read"), tmp_path / "b"
    write(address, position("p"))
    backup(address, file)
    asked = "SELECT count(*) FROM monitoring.positions"
    with reader(address, asked), pytest.raises(StoreError, match="lock timeout"):
        restore(address, file)
    assert len(held(address)[0]) == 1


def test_a_left_backup_that_others_could_read_is_closed_to_them(postgres, tmp_path):
    (tmp_path / "b.part").touch()
    (tmp_path / "b.part").chmod(0o644)
    backup(make_database(postgres, "backup_left"), tmp_path / "b")
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0


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
