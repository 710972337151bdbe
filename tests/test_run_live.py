"""The commands of run_live.py, as processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from kernel.store.embedded import EmbeddedServer
from kernel.store.instance import InstanceLock
from kernel.store.scratch import make_database
from tests.conventions.tree import ROOT


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "run_live.py"), *arguments],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment, timeout=50,
    )  # fmt: skip


def test_config_show_tells_value_and_source_and_warns_on_stderr(tmp_path):
    (tmp_path / ".env").write_text("BYBIT_API_KEY=hush1\nBYBIT_API_SECRET=hush2\nLEVERAGE=4\n")
    done = run(
        "config", "show", "--json", "--set", "WAVE_CONCURRENCY=2", cwd=tmp_path, MAX_POSITIONS="20"
    )
    assert done.returncode == 0
    told = {row["name"]: row for row in json.loads(done.stdout)["settings"]}
    assert (told["LEVERAGE"]["value"], told["LEVERAGE"]["source"]) == ("4", ".env line 3")
    assert (told["MAX_POSITIONS"]["value"], told["MAX_POSITIONS"]["source"]) == (
        "20",
        "environment",
    )
    assert told["WAVE_CONCURRENCY"]["source"] == "flag"
    assert told["BYBIT_API_SECRET"]["value"] == "(hidden)"
    assert "warning: MAX_POSITIONS=20: 5 to 10 is advised" in done.stderr
    assert "hush" not in done.stdout + done.stderr


def test_config_show_prints_a_table(tmp_path):
    done = run("config", "show", cwd=tmp_path)
    assert done.returncode == 0
    assert "POSITION_SIZE_USD" in done.stdout
    assert len(done.stdout.splitlines()) > 100


def test_wrong_settings_exit_with_2_and_all_problems_on_stderr(tmp_path):
    (tmp_path / "mine").write_text("DB_PASSWORD=hush\nMAX_POSITIONS=0\nLEVERAG=1\n")
    done = run("config", "show", "--env-file", "mine", "--set", "LEVERAGE=x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "mine line 3: LEVERAG: no such setting; did you mean LEVERAGE?",
        (
            "MAX_POSITIONS=0: must be a whole number from 1 to 200; correct it, or remove it for"
            " the default 10 (MAX_POSITIONS from mine line 2)"
        ),
        (
            "LEVERAGE=x: must be a whole number from 1 to 125; correct it, or remove it for the"
            " default 5 (LEVERAGE from flag)"
        ),
    ]


def test_the_help_says_that_nothing_is_started(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "starts nothing" in " ".join(done.stdout.split())


def test_an_unknown_command_is_refused(tmp_path):
    assert run("trade", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("command", [("run_sim.py", "demo"), ("run_live.py", "config", "show")])
def test_a_python_without_the_packages_is_told_how_to_get_them(command, tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / command[0]), *command[1:]],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=50,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is not installed" in done.stderr
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["prod", "Live", "production"])
def test_no_name_of_production_takes_test_hosts(name, tmp_path):
    done = run("config", "show", "--set", f"ENVIRONMENT={name}", "--set", "BINANCE_TESTNET=true",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2
    assert "test hosts are refused in production" in done.stderr


def test_db_upgrade_and_check_work_on_the_database_of_the_settings(tmp_path, postgres):
    url = postgres.address("live")
    make_database(postgres, "live", template="template1")
    missing = run("db", "check", cwd=tmp_path, DATABASE_URL=url)
    assert missing.returncode == 4
    assert "run db upgrade" in missing.stdout
    made = run("db", "upgrade", "--json", cwd=tmp_path, DATABASE_URL=url)
    assert (made.returncode, json.loads(made.stdout)["before"]) == (0, "")
    checked = run("db", "check", "--json", cwd=tmp_path, DATABASE_URL=url)
    assert (checked.returncode, json.loads(checked.stdout)) == (0, {"differences": []})
    assert list(tmp_path.iterdir()) == []


def test_db_starts_an_embedded_server_in_the_data_folder_where_none_is_set(tmp_path, postgres):
    done = run("db", "upgrade", "--set", "DATA_FOLDER=mine", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "fox_crypto: no tables -> " in done.stdout
    assert not (tmp_path / "mine" / "postgres" / "data" / "postmaster.pid").exists()


def test_a_database_that_cannot_be_reached_exits_with_6_and_shows_no_password(tmp_path):
    given = {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_PASSWORD": "hush"}
    done = run("db", "upgrade", cwd=tmp_path, **given)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith("database 127.0.0.1:1/fox_crypto: ConnectionRefusedError")
    assert "hush" not in done.stderr


def test_db_signals_tells_every_wrong_argument(tmp_path):
    done = run("db", "signals", "no/such/x.jsonl", "--from", "today", "--to", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["FILE", "--from", "--to"]


def test_db_backup_and_restore_are_commands_and_restore_wants_a_yes(tmp_path, postgres):
    url = make_database(postgres, "live_backup").url
    made = run("db", "backup", "b", "--json", cwd=tmp_path, DATABASE_URL=url)
    assert (made.returncode, json.loads(made.stdout)["file"]) == (0, "b")
    asked = run("db", "restore", "other", cwd=tmp_path, DATABASE_URL=url)
    assert asked.returncode == 2
    assert [line.split()[0] for line in asked.stderr.splitlines()] == ["FILE", "restore"]
    done = run("db", "restore", "b", "--yes", cwd=tmp_path, DATABASE_URL=url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "as in b, revision" in done.stdout


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_db_command_that_is_ended_leaves_no_server(ending, tmp_path, postgres):
    assert run("db", "upgrade", cwd=tmp_path).returncode == 0
    folder = tmp_path / "data" / "postgres"
    started = subprocess.Popen(
        [sys.executable, str(ROOT / "run_live.py"), "db", "check"], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={},
    )  # fmt: skip
    until = time.monotonic() + 40
    while not (folder / "data" / "postmaster.pid").exists() and time.monotonic() < until:
        time.sleep(0.01)
    started.send_signal(ending)
    _, said = started.communicate(timeout=40)
    assert started.returncode == 128 + ending
    assert "Traceback" not in said
    assert not EmbeddedServer(folder).running()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:hu/sh@127.0.0.1:1/x", "postgresql://me:hu#sh@127.0.0.1:1/x",
        "postgresql://me:hu?sh@127.0.0.1:1/x", "postgresql://me:1/hush@127.0.0.1:1/x",
        "postgresql://me@127.0.0.1:1/x?password=hush", "postgresql://me:hush@[::1/x",
        "postgresql://me:hush@127.0.0.1:port/x", "postgresql://me:hush@127.0.0.1:70000/x",
        "mysql://me:hush@127.0.0.1/x",
    ],
)  # fmt: skip
def test_an_address_that_does_not_say_what_it_seems_to_is_refused(address, tmp_path):
    done = run("db", "check", cwd=tmp_path, DATABASE_URL=address)
    assert (done.returncode, done.stdout) == (2, "")
    assert "DATABASE_URL=(hidden): must be an address" in done.stderr
    assert "%2F" in done.stderr
    assert "sh" not in done.stderr.replace("(hidden)", "").replace("show", "")


@pytest.mark.parametrize("name", ['odd"name?x=1 b/c%d', "{}"])
def test_a_database_may_have_any_name(name, tmp_path, postgres):
    assert run("db", "upgrade", cwd=tmp_path, DB_NAME=name).returncode == 0
    assert run("db", "check", cwd=tmp_path, DB_NAME=name).returncode == 0


def test_a_file_that_is_no_backup_exits_with_2(tmp_path, postgres):
    make_database(postgres, "live_wrong")
    url = postgres.address("live_wrong")
    (tmp_path / "b").write_text("-- a script\n")
    done = run("db", "restore", "b", "--yes", cwd=tmp_path, DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("FILE b: is no backup, or a damaged one")
    assert "Traceback" not in done.stderr


def test_nothing_is_restored_while_a_process_works_on_the_data_folder(tmp_path, postgres):
    """Its database may be away just now; what it spooled is newer than any backup."""
    make_database(postgres, "live_held")
    url = postgres.address("live_held")
    assert run("db", "backup", "b", cwd=tmp_path, DATABASE_URL=url).returncode == 0
    with InstanceLock(tmp_path / "data").take():
        done = run("db", "restore", "b", "--yes", cwd=tmp_path, DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (5, "")
    assert f"process {os.getpid()} works on" in done.stderr
    assert run("db", "restore", "b", "--yes", cwd=tmp_path, DATABASE_URL=url).returncode == 0
