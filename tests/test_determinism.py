"""The determinism gate and its two guards in front: what differs between two runs is found.

Each planted mistake is found twice: by lint, before it runs, and, with lint off, by the gate, which
sees the digests of two unlike processes differ.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conventions import order, purity, tree

GATE = tree.ROOT / ".ci" / "determinism.py"
RUFF = Path(sys.executable).with_name("ruff")


@dataclass(frozen=True)
class Planted:
    """A mistake: code that computes `digest`, and the guards that see it before it runs."""

    name: str
    code: str
    ruff: bool
    ast: bool


MISTAKES = (
    Planted(
        "set iteration",
        "digest = ','.join({'BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'XRPUSDT', 'BNBUSDT'})",
        ruff=False,
        ast=True,
    ),
    Planted("wall clock", "import time\ndigest = time.time_ns() // 10**14", ruff=True, ast=True),
    Planted(
        "calendar",
        "import datetime\ndigest = datetime.datetime.now(datetime.UTC).year",
        ruff=True,
        ast=False,
    ),
    Planted("random number", "import random\ndigest = random.random()", ruff=True, ast=True),
    Planted("fresh id", "import uuid\ndigest = uuid.uuid4().hex", ruff=True, ast=True),
    Planted("hash of text", "digest = hash('BTCUSDT')", ruff=False, ast=True),
    Planted("address", "digest = id(object())", ruff=False, ast=True),
    Planted("process number", "import os\ndigest = os.getpid()", ruff=True, ast=False),
)


def gate(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the gate on a script of *code*, in a process of its own."""
    script = folder / "run.py"
    script.write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(GATE), "--", str(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def ruff(code: str, path: str) -> subprocess.CompletedProcess[str]:
    """Lint *code* as if it stood at *path*, for banned names only."""
    return subprocess.run(
        [str(RUFF), "check", "--no-cache", "--select=TID251", f"--stdin-filename={path}", "-"],
        input=code,
        cwd=tree.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("planted", MISTAKES, ids=lambda planted: planted.name)
def test_a_planted_mistake_is_found_by_lint(planted: Planted) -> None:
    module = tree.Module("kernel/planted.py", planted.code)
    checks = (order.sets, order.set_iteration, order.addresses, purity.foreign_imports)
    assert any(check(module) for check in checks) is planted.ast
    assert ("TID251" in ruff(planted.code, module.path).stdout) is planted.ruff
    assert planted.ast or planted.ruff


@pytest.mark.parametrize("planted", MISTAKES, ids=lambda planted: planted.name)
def test_a_planted_mistake_is_found_by_the_gate(planted: Planted, tmp_path: Path) -> None:
    report = "\nimport json\nprint(json.dumps({'name': 'planted', 'digest': str(digest)}))\n"
    found = gate(tmp_path, planted.code + report)
    assert found.returncode == 10, found.stdout + found.stderr
    assert "planted/digest" in found.stdout
    assert "1 digests compared, 1 differ" in found.stdout


def test_the_shells_may_use_what_the_pure_part_may_not() -> None:
    code = "import asyncio\nimport time\n"
    assert "TID251" not in ruff(code, "venues/live/binance/transport.py").stdout
    assert "TID251" in ruff(code, "venues/live/binance/codec.py").stdout


def test_equal_digests_pass_the_gate_wherever_they_stand(tmp_path: Path) -> None:
    document = {
        "digest": "a",
        "scenarios": [
            {"name": "entry", "level": "sim", "digest": "b", "state_digest": "c"},
            {"name": "entry", "level": "wire", "digest": "d", "state_digest": "c"},
            [{"digest": "e"}],
        ],
        "duration_s": 1.5,
    }
    found = gate(tmp_path, f"print({json.dumps(document)!r})")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "6 digests compared, 0 differ" in found.stdout


def test_the_gate_reads_lines_and_files_too(tmp_path: Path) -> None:
    lines = "for name in 'ab': print('{\"name\": \"%s\", \"digest\": \"x\"}' % name)"
    assert "2 digests compared, 0 differ" in gate(tmp_path, lines).stdout
    file = "import sys; open(sys.argv[1], 'w').write('{\"digest\": \"x\"}'); print('done')"
    assert "1 digests compared, 0 differ" in gate(tmp_path, file, "{out}").stdout


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("print('{}')", "no digest"),
        ("print('fine')", "no JSON"),
        ("raise SystemExit(3)", "exit code 3"),
        ('print(\'[{"name": "a", "digest": "x"}, {"name": "a", "digest": "y"}]\')', "two digests"),
    ],
)
def test_the_gate_refuses_to_pass_when_it_compared_nothing(
    code: str, complaint: str, tmp_path: Path
) -> None:
    found = gate(tmp_path, code)
    assert found.returncode == 11, found.stdout
    assert complaint in found.stderr


def test_a_digest_that_only_one_run_has_is_a_difference(tmp_path: Path) -> None:
    code = """
import datetime, json
extra = {"late": {"digest": "y"}} if datetime.datetime.now().year == 2031 else {}
print(json.dumps({"digest": "x", **extra}))
"""
    found = gate(tmp_path, code)
    assert found.returncode == 10
    assert "/late/digest: absent y" in found.stdout
