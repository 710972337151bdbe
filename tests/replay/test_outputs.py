"""Output files: one for each purpose, one writer at a time."""

from pathlib import Path

import pytest

from replay.outputs import open_alone, shared_paths


def test_two_outputs_may_not_be_one_file(tmp_path):
    direct = tmp_path / "run"
    roundabout = tmp_path / "folder" / ".." / "run"
    (tmp_path / "folder").mkdir()
    found = shared_paths({"--journal": direct, "--report": roundabout, "--timeline": None})
    assert found == [f"--report {roundabout}: is the file of --journal too; give each its own"]


def test_the_terminal_and_devices_may_be_shared():
    terminal, device = Path("-"), Path("/dev/null")
    assert shared_paths({"--report": terminal, "--timeline": terminal}) == []
    assert shared_paths({"--report": device, "--timeline": device}) == []


def test_a_file_that_another_run_writes_is_left_as_it_is(tmp_path):
    path = tmp_path / "run.journal"
    with open_alone(path) as first:
        first.write(b"first")
        with pytest.raises(BlockingIOError):
            open_alone(path)
        first.write(b" goes on")
    assert path.read_bytes() == b"first goes on"


def test_what_an_earlier_run_wrote_is_replaced(tmp_path):
    path = tmp_path / "run.journal"
    path.write_bytes(b"a longer text of an earlier run")
    with open_alone(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_device_can_be_written():
    with open_alone(Path("/dev/null")) as file:
        assert file.write(b"gone") == 4
