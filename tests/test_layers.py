"""The import contracts: each of them holds in an empty tree, and breaks on a planted import."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conventions import tree

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

PLANTED = {
    "packages": ("kernel/model/planted.py", "import venues.sim"),
    "kernel": ("kernel/trade/planted.py", "import kernel.protect"),
    "ports-only": ("venues/sim/planted.py", "import kernel.trade"),
    "watch-only": ("kernel/watch/planted.py", "import kernel.trade"),
    "two-readings": ("venues/live/planted.py", "import venues.sim.wire"),
    "two-venues": ("venues/live/bybit/planted.py", "import venues.live.binance"),
    "pure": ("kernel/ports/planted.py", "import time"),
    "light": ("replay/planted.py", "import pandas"),
    "database": ("kernel/store/planted.py", "import sqlalchemy"),
}
"""Contract → a module that breaks it, and how."""


@pytest.fixture(name="skeleton")
def empty_tree(tmp_path: Path) -> Path:
    """The packages without their modules, under the project's own settings."""
    shutil.copy(tree.ROOT / "pyproject.toml", tmp_path)
    for path in tree.tracked_files():
        if path.startswith(tree.PURE_ROOTS) and path.endswith("/__init__.py"):
            package = tmp_path / path
            package.parent.mkdir(parents=True, exist_ok=True)
            package.write_text('"""Empty."""\n', encoding="utf-8")
    (tmp_path / "kernel" / "errors.py").touch()  # the one layer that is a module, not a package
    return tmp_path


def contracts(folder: Path) -> dict[str, str]:
    """Identifier of each contract → KEPT or BROKEN."""
    run = subprocess.run(
        [str(LINT_IMPORTS), "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "NO_COLOR": "1", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = re.findall(r"^([\w-]+): .* (KEPT|BROKEN)\b", run.stdout, flags=re.MULTILINE)
    assert verdicts, run.stdout + run.stderr
    return dict(verdicts)


def test_every_contract_has_a_planted_import(skeleton: Path) -> None:
    assert contracts(skeleton) == dict.fromkeys(PLANTED, "KEPT")


def test_every_contract_breaks_on_its_planted_import(skeleton: Path) -> None:
    for path, statement in PLANTED.values():
        (skeleton / path).write_text(statement + "\n", encoding="utf-8")
    assert contracts(skeleton) == dict.fromkeys(PLANTED, "BROKEN")


def test_a_shell_may_import_what_the_pure_part_may_not(skeleton: Path) -> None:
    shell = skeleton / "venues" / "live" / "binance" / "transport.py"
    shell.write_text("import asyncio\nimport aiohttp\n", encoding="utf-8")
    assert contracts(skeleton)["pure"] == "KEPT"
