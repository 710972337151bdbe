"""One self-contained HTML page from a report: data, style and script inside, nothing from outside.

The page is `report_page.html`; its data stand in it as JSON, in which `<` is written as an escape,
so no text of a run can end the script element or become an element.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from kernel.errors import SettingsError
from kernel.signals.timestamps import format_utc
from replay.outputs import write_whole
from replay.report import Report

PAGE = Path(__file__).with_name("report_page.html")
DATA_MARK = "__REPORT_DATA__"
TITLE_MARK = "__REPORT_TITLE__"


def report_html(report: Report) -> str:
    """The page as text."""
    encoder = msgspec.json.Encoder()
    data = encoder.encode(msgspec.to_builtins(report) | _derived(report)).decode()
    data = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    title = report.title.replace("&", "&amp;").replace("<", "&lt;")
    page = PAGE.read_text("utf-8")
    return page.replace(TITLE_MARK, title, 1).replace(DATA_MARK, data, 1)


def write_report(path: Path, report: Report) -> None:
    """Write the page, all or nothing.

    Raises:
        SettingsError: It cannot be written.
    """
    try:
        write_whole(path, report_html(report).encode())
    except OSError as error:
        raise SettingsError([f"report {path}: cannot be written: {error}"]) from error


def _derived(report: Report) -> dict[str, object]:
    """Times as text that the page shows as they are."""
    end_ns = report.start_ns + report.end_ms * 1_000_000
    return {
        "start_ms": report.start_ns // 1_000_000,
        "start_text": format_utc(report.start_ns),
        "end_text": format_utc(end_ns),
    }
