"""The kernel's own tests as a second judge of mutants that no scenario noticed.

pytest collects once; all the work is done inside its session, so that a forked process can run any
test at once, without collecting again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.covered import files_hash, tree_hash
from tests.mutation.mutants import ROOT

FOLDER = "tests/kernel"
BLIND = "tests/kernel/runtime"
"""Tests of the scheduler alone, which run none of the code that is mutated."""


@dataclass
class UnitTest:
    """One test; see `Played` for the attributes."""

    item: pytest.Item
    name: str
    seconds: float = 0.0
    lines: dict[str, frozenset[int]] = field(default_factory=dict)
    digest: str = ""
    version: str = ""

    def run(self) -> tuple[list[str], str]:
        """Why it fails, if it does, and no digest."""
        reports = runtestprotocol(self.item, log=False, nextitem=None)
        return [_reason(one) for one in reports if one.failed], ""


def _reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(getattr(crash, "message", report.longrepr)).strip().partition("\n")[0]


def inside_pytest(work: Callable[[list[UnitTest]], int]) -> int:
    """Collect the tests and do the work; its result.

    Raises:
        RuntimeError: The tests cannot be collected.
    """
    os.environ["CI"] = "1"  # the same examples of Hypothesis each time
    plugin = _Inside(work)
    options = [f"--ignore={BLIND}", "-s", "-p", "no:terminal", "-p", "no:cacheprovider"]
    pytest.main([FOLDER, *options, "-o", "addopts=--import-mode=importlib"], plugins=[plugin])
    if plugin.error is not None:
        raise plugin.error
    if plugin.result is None:
        raise RuntimeError(f"{FOLDER} cannot be collected: run pytest {FOLDER} first")
    return plugin.result


class _Inside:
    def __init__(self, work: Callable[[list[UnitTest]], int]) -> None:
        self._work = work
        self.result: int | None = None
        self.error: BaseException | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if not session.testsfailed:
            try:
                self.result = self._work(_tests(session.items))
            except BaseException as error:  # pytest would make a report of it
                self.error = error
        return True


def _tests(items: Sequence[pytest.Item]) -> list[UnitTest]:
    """Each with the version of its file and of what all of them use."""
    helpers = (path for path in sorted((ROOT / FOLDER).rglob("*.py")) if not _has_tests(path))
    whole = tree_hash() + files_hash(helpers)
    versions = {path: whole + files_hash([path]) for path in dict.fromkeys(i.path for i in items)}
    return [UnitTest(item, item.nodeid, version=versions[item.path]) for item in items]


def _has_tests(path: Path) -> bool:
    return path.name.startswith("test_")
