"""docs/monitoring.md names every alert, metric and part of the health, in the words of the code."""

from kernel.watch.alert_kinds import ALERTS
from kernel.watch.health import CLOCK, DATABASE, DISK, FEED, LAG, MEMORY, REQUESTS, STREAM
from kernel.watch.metrics import Registry
from tests.conventions.tree import ROOT

PAGE = (ROOT / "docs" / "monitoring.md").read_text("utf-8")


def test_every_alert_is_on_the_page_with_its_meaning_and_what_to_do() -> None:
    told = ALERTS.items()
    rows = [f"| `{kind}` | {one.sort} | {one.meaning} | {one.act} |" for kind, one in told]
    assert [row for row in rows if row not in PAGE] == []


def test_every_metric_and_part_is_on_the_page() -> None:
    told = [f"| `{one.name}` | {one.kind} |" for one in Registry().families]
    told += [f"| `{part}` |" for part in (DATABASE, FEED, DISK, MEMORY, LAG)]
    told += [f"| `{part} VENUE` |" for part in (STREAM, REQUESTS, CLOCK)]
    assert [row for row in told if row not in PAGE] == []
