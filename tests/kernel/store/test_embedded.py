"""The embedded server: found again after a crash, cleared of what is dead, stopped by the last."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kernel.errors import StoreError
from kernel.store import embedded
from kernel.store.address import Address
from kernel.store.embedded import FAST, EmbeddedServer, kill_server
from kernel.store.processes import works_in
from kernel.store.scratch import clear_abandoned
from tests.conventions.tree import ROOT
from tests.kernel.store.stores import ask

PROGRAM = """
import sys
from pathlib import Path
from kernel.store.embedded import FAST, EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), options=FAST).start()
print(server.process(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(name="folder", scope="module")
def module_folder(tmp_path_factory, postgres) -> Path:
    """A folder with the data of a server; `postgres` skips where none can start."""
    folder = tmp_path_factory.mktemp("embedded")
    with EmbeddedServer(folder, options=FAST) as server:
        ask(Address(server.address()), "CREATE TABLE kept (x int)", "INSERT INTO kept VALUES (7)")
    return folder


def kept(server: EmbeddedServer) -> int:
    return ask(Address(server.address()), "SELECT x FROM kept")[0][0]


def program(folder: Path) -> subprocess.Popen:
    """Another program that uses the folder; it has started when its first line is there."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def first_line(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen) -> None:
    process.communicate("\n", timeout=30)


def test_it_is_stopped_with_its_program(folder):
    process = program(folder)
    number = int(first_line(process))
    server = EmbeddedServer(folder, options=FAST)
    assert server.process() == number
    end(process)
    assert not server.running()


def test_it_is_found_again_after_its_program_was_killed_and_then_stopped(folder):
    process = program(folder)
    number = int(first_line(process))
    process.kill()
    process.communicate(timeout=10)
    server = EmbeddedServer(folder, options=FAST)
    assert server.process() == number
    with server:
        assert server.process() == number
        assert kept(server) == 7
    assert not server.running()


def test_the_last_of_its_users_stops_it(folder):
    process = program(folder)
    first_line(process)
    with EmbeddedServer(folder, options=FAST) as server:
        end(process)
        assert kept(server) == 7
    assert not server.running()


def test_it_starts_again_after_it_was_killed(folder):
    with EmbeddedServer(folder, options=FAST) as server:
        ask(Address(server.address()), "UPDATE kept SET x = 6", "UPDATE kept SET x = 7")
        kill_server(server)
        server.restart()
        assert kept(server) == 7


@pytest.mark.parametrize("owner", ["dead", "alive", "torn"])
def test_what_a_dead_server_says_of_itself_is_cleared(folder, owner):
    sleeper = subprocess.Popen(["sleep", "60"])
    number = sleeper.pid
    if owner == "dead":
        sleeper.kill()
        sleeper.wait()
    said = f"{number}\n{folder}/data\n1\n5432\n{folder}/socket\n\n0 0\nready\n"
    (folder / "data" / "postmaster.pid").write_text("" if owner == "torn" else said)
    (folder / "socket" / ".s.PGSQL.5432.lock").write_text(said)
    try:
        with EmbeddedServer(folder, options=FAST) as server:
            assert server.process() != number
            assert kept(server) == 7
        assert owner != "alive" or sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_making_that_was_cut_short_is_begun_anew(tmp_path, postgres):
    (tmp_path / "making").mkdir()
    (tmp_path / "making" / "half").touch()
    with EmbeddedServer(tmp_path, options=FAST) as server:
        assert ask(Address(server.address()), "SELECT 1")[0][0] == 1
    assert not (tmp_path / "making").exists()


def test_a_path_too_long_for_a_socket_gets_a_short_one(tmp_path, postgres):
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    with EmbeddedServer(deep, options=FAST) as server:
        assert ask(Address(server.address()), "SELECT 1")[0][0] == 1
        place = server._socket_folder()
        assert place.is_dir()
    assert not place.exists()


def test_data_of_another_version_is_refused_with_what_to_do(tmp_path, postgres):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(StoreError, match="was made by PostgreSQL 16, the embedded one is 18"):
        EmbeddedServer(tmp_path).start()


def test_a_folder_that_is_none_is_told(tmp_path, postgres):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"embedded PostgreSQL in .*file"):
        EmbeddedServer(tmp_path / "file").start()


def test_nothing_of_it_listens_on_an_address(folder):
    with EmbeddedServer(folder, options=FAST) as server:
        address = Address(server.address())
        assert ask(address, "SHOW listen_addresses")[0][0] == ""
        mode = (folder / "socket").stat().st_mode & 0o777
        assert mode == 0o700


def test_a_server_that_is_not_seen_from_here_is_not_run_twice(folder, monkeypatch):
    """As in another container on the same folder: no process number says anything."""
    with EmbeddedServer(folder, options=FAST) as server:
        number = server.process()
        with monkeypatch.context() as patched:
            patched.setattr(embedded, "works_in", lambda _process, _data: False)
            patched.setattr(embedded, "ORPHANS_S", 0.2)
            with pytest.raises(StoreError, match=r"not seen from here .*server\.lock"):
                EmbeddedServer(folder, options=FAST).start()
        assert server.process() == number
        assert kept(server) == 7
    assert not server.running()


def test_a_server_is_known_by_its_arguments_where_its_folder_cannot_be_read(folder, monkeypatch):
    """Root without the right to look into processes, as in most containers."""

    def refuse(_path):
        raise PermissionError

    with EmbeddedServer(folder, options=FAST) as server:
        number = server.process()
        monkeypatch.setattr(Path, "readlink", refuse)
        assert server.process() == number
        assert not EmbeddedServer(folder.parent / "other", options=FAST).running()
        other = subprocess.Popen(["sleep", "60"])
        assert not works_in(other.pid, server.data)
        other.kill()
        other.wait()


def test_an_interrupted_start_leaves_no_server(folder, monkeypatch):
    server = EmbeddedServer(folder, options=FAST)
    control = server._control

    def interrupted(*arguments, **more):
        control(*arguments, **more)
        if arguments[0] == "start":
            raise KeyboardInterrupt

    monkeypatch.setattr(server, "_control", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert not server.running()


@pytest.mark.parametrize("trap", ["link", "open"])
def test_a_socket_folder_that_others_made_is_refused(tmp_path, postgres, monkeypatch, trap):
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deep = EmbeddedServer(tmp_path / ("x" * 60) / ("y" * 60), options=FAST)
    place = deep._socket_folder()
    assert place.parent == tmp_path
    if trap == "link":
        place.symlink_to(theirs)
    else:
        place.mkdir()
        place.chmod(0o777)
    before = theirs.stat().st_uid
    with pytest.raises(StoreError, match="only its own user can enter: remove it"):
        deep.start()
    assert theirs.stat().st_uid == before


def test_servers_of_killed_simulations_are_ended_by_the_next_one(tmp_path, postgres, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    used, left = tmp_path / "wave-kernel-used", tmp_path / "wave-kernel-left"
    other = tmp_path / "other"
    user, killed, foreign = program(used), program(left), program(other)
    numbers = [int(first_line(process)) for process in (user, killed, foreign)]
    for process in (killed, foreign):
        process.kill()
        process.communicate(timeout=10)
    clear_abandoned()
    found = [EmbeddedServer(folder).process() for folder in (used, left, other)]
    assert found == [numbers[0], None, numbers[2]]
    assert [folder.exists() for folder in (used, left, other)] == [True, False, True]
    end(user)
    EmbeddedServer(other).stop_immediately()
