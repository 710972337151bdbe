"""One process for a data folder, whatever the one before it came to."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from kernel.errors import SettingsError
from kernel.store import instance
from kernel.store.instance import AnotherInstance, InstanceLock, holder, instance_name
from tests.conventions import tree

TAKES = (
    "from pathlib import Path\n"
    "from kernel.store.instance import InstanceLock\n"
    "lock = InstanceLock(Path(sys.argv[1])).take()\n"
    "print('taken', flush=True)\n"
    "sys.stdin.read()\n"
)


@contextmanager
def a_process(folder, *, deaf=False):
    """Another process that works on a folder until its input ends."""
    before = "import signal, sys\n"
    if deaf:
        before += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", before + TAKES, str(folder)], cwd=tree.ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(tree.ROOT)},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_named(tmp_path):
    with a_process(tmp_path) as other:
        assert holder(tmp_path) == other.pid
        with pytest.raises(AnotherInstance, match=f"process {other.pid} works on .*--force"):
            InstanceLock(tmp_path).take()
        assert holder(tmp_path) == other.pid


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path):
    with a_process(tmp_path) as other:
        other.kill()
        other.wait()
        assert holder(tmp_path) is None
        with InstanceLock(tmp_path).take():
            assert holder(tmp_path) == os.getpid()
        assert holder(tmp_path) is None


def test_force_asks_the_other_process_to_stop(tmp_path):
    with a_process(tmp_path) as other, InstanceLock(tmp_path).force():
        assert other.wait() == -signal.SIGTERM
        assert holder(tmp_path) == os.getpid()


def test_force_ends_a_process_that_does_not_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(instance, "PATIENCE_S", 0.3)
    with a_process(tmp_path, deaf=True) as other, InstanceLock(tmp_path).force():
        assert other.wait() == -signal.SIGKILL
        assert holder(tmp_path) == os.getpid()


def test_to_look_makes_and_changes_nothing(tmp_path):
    assert holder(tmp_path / "nowhere") is None
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_does_not_say_who_it_is_is_not_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(instance, "PAUSE_S", 0)
    with a_process(tmp_path) as other:
        (tmp_path / instance.LOCK).write_text("who knows\n", "utf-8")
        with pytest.raises(AnotherInstance, match="a process works on"):
            InstanceLock(tmp_path).force()
        assert other.poll() is None


def test_the_name_of_a_folder_is_drawn_once(tmp_path):
    name = instance_name(tmp_path / "a")
    assert len(name) == 12
    assert instance_name(tmp_path / "a") == name
    assert instance_name(tmp_path / "b") != name


def test_a_copy_of_a_folder_and_the_same_on_another_machine_have_names_of_their_own(
    tmp_path, monkeypatch
):
    name = instance_name(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert instance_name(tmp_path / "b") != name
    (tmp_path / "a").rename(tmp_path / "moved")
    assert instance_name(tmp_path / "moved") == name
    monkeypatch.setattr(instance, "MACHINE", tmp_path / "machine")
    assert instance_name(tmp_path / "moved") == instance_name(tmp_path / "moved")
    unnamed = instance_name(tmp_path / "moved")
    (tmp_path / "machine").write_text("another\n", "utf-8")
    assert instance_name(tmp_path / "moved") not in (name, unnamed)


def test_a_name_that_is_none_and_a_folder_that_is_a_file_are_told(tmp_path):
    (tmp_path / "instance").write_text("me!\n", "utf-8")
    with pytest.raises(SettingsError, match="holds 'me!', not twelve hexadecimal digits"):
        instance_name(tmp_path)
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(SettingsError, match="cannot be used"):
        InstanceLock(tmp_path / "file").take()


def test_an_innocent_process_of_that_number_is_not_ended(tmp_path):
    """As where the holder is in another container, and its number means somebody else here."""
    innocent = subprocess.Popen(["sleep", "60"])
    with a_process(tmp_path) as other:
        (tmp_path / instance.LOCK).write_text(f"{innocent.pid}\n", "utf-8")
        with pytest.raises(AnotherInstance, match="a process works on"):
            InstanceLock(tmp_path).force()
        assert other.poll() is None
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


def test_who_only_looks_holds_nobody_up(tmp_path, monkeypatch):
    with InstanceLock(tmp_path).take():
        pass
    looking = os.open(tmp_path / instance.LOCK, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda _s: fcntl.flock(looking, fcntl.LOCK_UN))
    with InstanceLock(tmp_path).take():
        assert holder(tmp_path) == os.getpid()
    os.close(looking)
