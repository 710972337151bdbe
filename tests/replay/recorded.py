"""A small journal for tests: the demo's wave, recorded once for a folder."""

from pathlib import Path

from kernel.model.units import install_decimal_context
from replay.runs import ReplayResult
from scenarios.demo import demo_plan
from scenarios.replay_cli import header_of
from scenarios.replay_run import Extras, run_replay


def record(
    path: Path, *, venue: str = "binance", deaths: int = 0, level: str = "sim"
) -> ReplayResult:
    """Record the demo, with crash-restarts where asked."""
    install_decimal_context()
    plan = demo_plan(venue)
    header = header_of(plan, "test", level=level)
    extras = Extras(journal=path, header=header, deaths=deaths, level=level)
    return run_replay(plan, extras).result
