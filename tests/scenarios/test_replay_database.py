"""Replays on PostgreSQL, and of the signals that a run recorded there."""

import json

import run_live
from kernel.store.scratch import own_database
from run_sim import main
from scenarios.replay_run import Extras, run_replay
from tests.scenarios.test_replay import data, folder, plan

__all__ = ["data", "folder"]


def test_a_replay_with_crashes_has_the_same_digest_on_both_stores(data, postgres):
    plain = run_replay(plan(data), Extras(deaths=4)).result
    database = own_database(postgres.address("{}"))
    database.reset()
    stored = run_replay(plan(data), Extras(deaths=4, backend=database)).result
    database.close()
    assert stored.crashes == 4
    assert (stored.digest, stored.state_digest) == (plain.digest, plain.state_digest)
    assert stored.invariant_violations == 0


def test_a_replay_of_recorded_signals_opens_what_the_recorded_run_opened(
    data, folder, postgres, tmp_path, capsys
):
    database = own_database(postgres.address("{}"))
    database.reset()
    first = run_replay(plan(data), Extras(backend=database)).result
    url = database._store._address.url
    database.close()
    assert main(["replay", "--data", str(folder), "--waves", f"db:{url}", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["positions_opened"] == first.positions_opened
    waves = tmp_path / "out.jsonl"
    environment = ["--set", "DB_POOL_SIZE=1", "--env-file", str(tmp_path / "env")]
    (tmp_path / "env").write_text(f"DATABASE_URL={url}\n")
    assert run_live.main(["db", "signals", str(waves), "--json", *environment]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["signals"] == len(waves.read_text().splitlines()) > 0
    assert main(["replay", "--data", str(folder), "--waves", str(waves), "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported | {"wall_s": 0} == again | {"wall_s": 0}


def test_a_database_that_does_not_answer_is_told(folder, capsys):
    where = "db:postgresql://me:hush@127.0.0.1:1/x"
    assert main(["replay", "--data", str(folder), "--waves", where]) == 2
    told = capsys.readouterr().err
    assert "--waves db:: database 127.0.0.1:1/x: ConnectionRefusedError" in told
    assert main(["replay", "--data", str(folder), "--waves", "db:mysql://x"]) == 2
    assert "must begin with db:postgresql://" in capsys.readouterr().err
    assert main(["replay", "--data", str(folder), "--waves", "db:", "a.jsonl"]) == 2
    assert "give files, or one db: alone" in capsys.readouterr().err
    assert "hush" not in told
