"""`run_live.py --check-instances`, as a process."""

import json

from kernel.store.address import Address
from kernel.store.scratch import make_database
from tests.kernel.store.stores import ask
from tests.kernel.store.test_instance import a_process
from tests.test_run_live import run


def test_nobody_else_is_told_with_0_and_nothing_is_made(tmp_path):
    done = run("--check-instances", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nobody works on data or has the account\n"
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_told_with_5_and_ended_by_force(tmp_path):
    with a_process(tmp_path / "data") as other:
        told = run("--check-instances", "--json", cwd=tmp_path)
        assert told.returncode == 5
        assert json.loads(told.stdout)["pid"] == other.pid
        done = run("--check-instances", "--force", cwd=tmp_path)
        assert (done.returncode, done.stdout.splitlines()[0]) == (
            0, f"process {other.pid} was ended"
        )  # fmt: skip
        assert other.wait() != 0


def test_the_lease_of_another_instance_is_told_with_5_until_it_is_over(tmp_path, postgres):
    url = postgres.address("leased")
    make_database(postgres, "leased")
    empty = run("--check-instances", cwd=tmp_path, DATABASE_URL=url)
    assert (empty.returncode, empty.stderr) == (0, "")
    statement = "INSERT INTO monitoring.leases VALUES ('binance', 'bc0123456789', 7, {})"
    soon = "(extract(epoch FROM now()) + 60) * 1000000000"
    ask(Address(url), statement.format(soon))
    told = run("--check-instances", cwd=tmp_path, DATABASE_URL=url)
    assert told.returncode == 5
    assert "instance bc0123456789 has the account binance until " in told.stdout
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instance").write_text("bc0123456789\n")
    assert run("--check-instances", cwd=tmp_path, DATABASE_URL=url).returncode == 0
    (tmp_path / "data" / "instance").unlink()
    ask(Address(url), "UPDATE monitoring.leases SET until_ns = 1")
    assert run("--check-instances", cwd=tmp_path, DATABASE_URL=url).returncode == 0


def test_without_a_command_or_with_flags_before_one_the_usage_is_told(tmp_path):
    for arguments in ((), ("--force",), ("--env-file", "x", "config", "show")):
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "error:" in done.stderr
