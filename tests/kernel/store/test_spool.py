"""The spool on a real disk: durable, bounded, of one process, and honest about what is broken."""

import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.errors import StoreError
from kernel.store.backend import Mark
from kernel.store.spool import FileSpool

ROOT = Path(__file__).resolve().parents[3]


def written(folder: Path, *payloads: bytes) -> None:
    """What a process leaves that spooled these."""
    spool = FileSpool(folder)
    spool.recover()
    for payload in payloads:
        spool.append(payload)
    spool.close()


def left(folder: Path) -> list[bytes]:
    spool = FileSpool(folder)
    found = list(spool.recover().payloads)
    spool.close()
    return found


@contextmanager
def no_file_beyond(size: int):
    """A disk on which no file grows beyond this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def killed(folder: Path, script: str) -> None:
    """Run a script on the spool that ends by SIGKILL."""
    done = subprocess.run(
        [sys.executable, "-c", f"FOLDER = {str(folder)!r}\n{script}"],
        cwd=ROOT,
        timeout=60,
        check=False,
        stderr=subprocess.PIPE,
    )
    assert done.returncode == -9, done.stderr.decode()


SPOOL = """
import os, signal
from pathlib import Path
from kernel.store.spool import FileSpool
spool = FileSpool(Path(FOLDER))
spool.recover()
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_one_process_spooled_the_next_one_reads_in_order(tmp_path):
    written(tmp_path, b"1", b"2")
    written(tmp_path, b"3")
    assert left(tmp_path) == [b"1", b"2", b"3"]


def test_what_was_cleared_is_gone(tmp_path):
    written(tmp_path, b"1")
    spool = FileSpool(tmp_path)
    spool.recover()
    spool.append(b"2")
    spool.clear()
    spool.append(b"3")
    spool.close()
    assert left(tmp_path) == [b"3"]


def test_two_processes_never_use_one_spool(tmp_path):
    first = FileSpool(tmp_path)
    first.recover()
    with pytest.raises(StoreError, match="another process uses it"):
        FileSpool(tmp_path).recover()
    first.close()
    assert FileSpool(tmp_path).recover().payloads == ()


def test_a_kill_after_the_answer_loses_nothing(tmp_path):
    killed(tmp_path, SPOOL + "spool.append(b'1'); die()")
    assert left(tmp_path) == [b"1"]


def test_a_kill_between_append_and_sync_leaves_the_record_whole_or_not_at_all(tmp_path):
    killed(tmp_path, SPOOL + "spool.append(b'1'); os.fdatasync = die; spool.append(b'2')")
    assert left(tmp_path) in ([b"1"], [b"1", b"2"])


def test_a_kill_in_the_middle_of_a_record_cuts_it_off_and_says_so(tmp_path):
    killed(
        tmp_path,
        SPOOL + "spool.append(b'1')\nwrite = os.pwrite\n"
        "os.pwrite = lambda file, data, at: (write(file, data[:9], at), die())\n"
        "spool.append(b'22')",
    )
    spool = FileSpool(tmp_path)
    found = spool.recover()
    assert found.payloads == (b"1",)
    assert ["9 bytes behind the last whole record" in one for one in found.damage] == [True]
    spool.append(b"3")
    spool.close()
    assert left(tmp_path) == [b"1", b"3"]


def test_a_kill_while_it_is_cleared_leaves_the_newest_part_only(tmp_path):
    for payload in (b"1", b"2", b"3"):
        written(tmp_path, payload)
    killed(
        tmp_path,
        SPOOL + "unlink = Path.unlink\n"
        "Path.unlink = lambda path: (unlink(path), die())\n"
        "spool.clear()",
    )
    assert left(tmp_path) == [b"2", b"3"]


def test_a_bad_record_in_the_middle_keeps_the_rest_and_says_which_are_missing(tmp_path):
    written(tmp_path, b"first", b"second", b"third")
    (path,) = tmp_path.glob("*.spool")
    path.write_bytes(path.read_bytes().replace(b"second", b"secONd"))
    found = FileSpool(tmp_path).recover()
    assert found.payloads == (b"first", b"third")
    assert len(found.damage) == 2
    assert "damaged and left out" in found.damage[0]
    assert "records 2 to 2 are missing" in found.damage[1]


def test_a_file_that_is_gone_is_told(tmp_path):
    for payload in (b"1", b"2", b"3"):
        written(tmp_path, payload)
    sorted(tmp_path.glob("*.spool"))[1].unlink()
    found = FileSpool(tmp_path).recover()
    assert found.payloads == (b"1", b"3")
    assert ["records 2 to 2 are missing" in one for one in found.damage] == [True]


def test_what_people_put_beside_the_records_is_left_alone(tmp_path):
    written(tmp_path, b"one")
    copy = tmp_path / "0000000000000001 (copy).spool"
    copy.write_bytes((tmp_path / "0000000000000001.spool").read_bytes())
    assert left(tmp_path) == [b"one"]
    spool = FileSpool(tmp_path)
    spool.recover()
    spool.clear()
    spool.close()
    assert left(tmp_path) == []
    assert copy.exists()


def test_a_full_disk_refuses_a_record_and_costs_no_other_one(tmp_path):
    spool = FileSpool(tmp_path)
    spool.recover()
    spool.append(b"1")
    with no_file_beyond(100), pytest.raises(StoreError, match="cannot take a record"):
        spool.append(b"2" * 200)
    spool.append(b"3")
    spool.close()
    found = FileSpool(tmp_path).recover()
    assert found.payloads == (b"1", b"3")
    assert found.damage == ()


def test_a_record_that_could_not_be_synced_does_not_stop_the_next_one(tmp_path, monkeypatch):
    spool = FileSpool(tmp_path)
    spool.recover()
    spool.append(b"1")

    def fail(_file: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(StoreError, match="Input/output error"):
            spool.append(b"2")
    spool.append(b"3")
    spool.close()
    assert left(tmp_path) in ([b"1", b"3"], [b"1", b"2", b"3"])


def test_the_spool_has_a_bound(tmp_path):
    spool = FileSpool(tmp_path, limit_bytes=100)
    spool.recover()
    spool.append(b"1" * 50)
    with pytest.raises(StoreError, match="100 bytes are used up"):
        spool.append(b"2" * 50)
    spool.clear()
    spool.append(b"3" * 50)
    spool.close()
    assert left(tmp_path) == [b"3" * 50]


def test_a_folder_that_cannot_be_made_is_tried_again(tmp_path):
    (tmp_path / "data").write_text("in its place")
    spool = FileSpool(tmp_path / "data" / "spool")
    with pytest.raises(StoreError, match="cannot be read"):
        spool.recover()
    (tmp_path / "data").unlink()
    assert spool.recover().payloads == ()


def test_the_highest_epoch_outlives_the_process_and_a_write_that_fails(tmp_path):
    spool = FileSpool(tmp_path)
    assert spool.epoch() == 0
    spool.note_epoch(41)
    with no_file_beyond(0), pytest.raises(StoreError, match="cannot note the epoch"):
        spool.note_epoch(42)
    spool.close()
    assert FileSpool(tmp_path).epoch() == 41


def test_an_epoch_that_is_no_number_is_told_with_what_to_do(tmp_path):
    (tmp_path / "epoch").write_text("seven")
    with pytest.raises(StoreError, match="'seven', no run epoch: write the highest"):
        FileSpool(tmp_path).epoch()


def test_nobody_else_may_read_it(tmp_path):
    written(tmp_path / "spool", b"1")
    folder = tmp_path / "spool"
    assert folder.stat().st_mode & 0o077 == 0
    assert [path.stat().st_mode & 0o077 for path in sorted(folder.iterdir())] == [0, 0]


# ------------------------------------------------------------------------ which database it was


def test_which_database_it_was_and_how_far_is_kept(tmp_path):
    spool = FileSpool(tmp_path)
    assert spool.mark() == Mark()
    spool.note_mark(Mark(10**18, 7), surely=True)
    spool.note_mark(Mark(10**18, 8), surely=False)
    spool.close()
    assert FileSpool(tmp_path).mark() == Mark(10**18, 8)


@pytest.mark.parametrize("words", [b"", b"12", b"1 2 3", b"one two", b"1 -2"])
def test_a_note_that_cannot_be_read_is_none(tmp_path, words):
    (tmp_path / "database").write_bytes(words)
    assert FileSpool(tmp_path).mark() == Mark()


def test_a_note_outlives_a_kill(tmp_path):
    killed(tmp_path, NOTED)
    assert FileSpool(tmp_path).mark() == Mark(5, 99)


NOTED = """
import os, signal
from pathlib import Path
from kernel.store.backend import Mark
from kernel.store.spool import FileSpool
spool = FileSpool(Path(FOLDER))
for commits in range(100):
    spool.note_mark(Mark(5, commits), surely=not commits)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_note_that_cannot_be_made_is_told(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "database").mkdir()
    with pytest.raises(StoreError, match="cannot note which database it is"):
        FileSpool(folder).note_mark(Mark(1, 1), surely=True)
    with pytest.raises(StoreError, match="cannot read which database it was"):
        FileSpool(folder).mark()
