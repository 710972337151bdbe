"""A mistake planted in the kernel itself is found by lint and, with lint off, by the gate."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conventions import order, tree

ROOT = tree.ROOT
PLACE = "kernel/trade/wave_run.py"
ANCHOR = "            received=len(self.lines),\n            candidates="
SETS = "            planted=','.join({'AAA', 'BBB', 'CCC', 'DDD', 'EEE'}),\n"
CLOCK = "            planted=time.time_ns() // 10**15,\n"
SCENARIO = ("run_sim.py", "scenario", "--json", "waves/late")
COPIED = ("kernel", "venues", "scenarios", "replay", ".ci", "run_sim.py", "pyproject.toml")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product in a folder of its own."""
    folder = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def plant(folder: Path, line: str, prelude: str) -> str:
    """Write the planted module into the copy; its text."""
    text = (ROOT / PLACE).read_text(encoding="utf-8")
    assert text.count(ANCHOR) == 1, "the anchor moved: plant elsewhere"
    text = text.replace(ANCHOR, line + ANCHOR).replace(
        "from __future__ import annotations\n", f"from __future__ import annotations\n{prelude}", 1
    )
    (folder / PLACE).write_text(text, encoding="utf-8")
    return text


def gate(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the gate of the copy on one scenario."""
    return subprocess.run(
        [sys.executable, ".ci/determinism.py", "--", *SCENARIO],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def ruff(text: str) -> str:
    """What lint says of the banned names in the planted module."""
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache"]
    return subprocess.run(
        [*command, "--select=TID251", f"--stdin-filename={PLACE}", "-"],
        input=text,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_the_gate_passes_the_kernel_as_it_is(copied: Path) -> None:
    shutil.copy(ROOT / PLACE, copied / PLACE)
    found = gate(copied)
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_set_iteration_in_the_kernel_is_found_by_lint_and_by_the_gate(copied: Path) -> None:

    text = plant(copied, SETS, "")
    module = tree.Module(PLACE, text)
    assert order.sets(module) or order.set_iteration(module)
    found = gate(copied)
    assert found.returncode == 10, found.stdout + found.stderr


def test_a_wall_clock_read_in_the_kernel_is_found_by_lint_and_by_the_gate(copied: Path) -> None:
    text = plant(copied, CLOCK, "import time\n")
    assert "TID251" in ruff(text)
    found = gate(copied)
    assert found.returncode == 10, found.stdout + found.stderr
