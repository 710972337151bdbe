"""Reports: the worst first, nothing from outside, no text of a run becomes markup."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import SettingsError
from kernel.model.units import install_decimal_context
from replay.findings import SHOWN_EACH, find
from replay.report import BAD, NOTED, WORST, Dropped, Report, Span, Story, thinned
from replay.report_html import report_html, write_report
from scenarios.demo import demo_plan
from scenarios.replay_cli import report_of
from scenarios.replay_run import Extras, run_replay

NASTY = "</script><img src=x onerror=alert(1)>\u2028 & ümläut"


def empty(**fields: object) -> Report:
    given: dict[str, object] = {
        "title": "T", "start_ns": 0, "end_ms": 1_000_000, "verdict": "passed", "passed": True,
    }  # fmt: skip
    return Report(**(given | fields))  # type: ignore[arg-type]


def story(number: int, **fields: object) -> Story:
    given: dict[str, object] = {
        "number": number, "venue": "binance", "symbol": f"S{number}USDT", "side": "LONG",
        "opened_ms": 1_000 * number, "closed_ms": 1_000 * number + 500, "reason": "STOP_LOSS",
    }  # fmt: skip
    return Story(**(given | fields))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def demo() -> Report:
    install_decimal_context()
    plan = demo_plan("binance")
    return report_of(plan, run_replay(plan, Extras(collect=True)), reproduce="demo")


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    told: dict[str, object] = json.loads(found[1])
    return told


# ---------------------------------------------------------------- data


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), max_size=300), st.integers(2, 50))
def test_thinning_keeps_ends_extremes_and_order(values: list[float], most: int) -> None:
    points = list(enumerate(values))
    kept = thinned(points, most)
    assert kept == sorted(kept, key=lambda point: point[0])
    assert all(point in points for point in kept)
    if values:
        assert (kept[0], kept[-1]) == (points[0], points[-1])
        assert max(v for _, v in kept) == max(values)
        assert min(v for _, v in kept) == min(values)
    assert len(kept) <= max(most + 4, 1)


def test_positions_of_the_demo_are_the_venues_truth(demo: Report) -> None:
    stories = {one.symbol: one for one in demo.positions}
    assert list(stories) == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
    btc, eth, xrp = stories["BTCUSDT"], stories["ETHUSDT"], stories["XRPUSDT"]
    levels = [level for _, level in btc.stops if level]
    assert levels == sorted(levels)
    assert btc.trail_moves >= 5
    assert btc.reason == "TRAILING_STOP"
    assert eth.naked_ms > 3_000
    assert eth.reason == "STOP_LOSS"
    assert eth.net < 0
    assert xrp.reason == "open"
    assert xrp.closed_ms == -1
    assert any(demo.marks[n].kind == "fault" for n in eth.marks)
    assert [one.leg for one in btc.trades] == ["entry", "stop"]


def test_every_dropped_signal_of_the_demo_has_its_reason(demo: Report) -> None:
    assert sorted((one.symbol, one.reason) for one in demo.dropped) == [
        ("ADAUSDT", "conflicting_sides"),
        ("ADAUSDT", "conflicting_sides"),
        ("AVAXUSDT", "spread"),
        ("DOGEUSDT", "score_month"),
        ("LINKUSDT", "late"),
    ]


def test_equity_ends_at_wallet_plus_what_is_open(demo: Report) -> None:
    open_worth = sum(one.unrealized for one in demo.positions)
    assert demo.equity[0][1] == 10_000
    assert demo.equity[-1][1] == pytest.approx(demo.wallet[-1][1] + open_worth, abs=0.5)


# ---------------------------------------------------------------- findings


def test_a_broken_invariant_comes_first_and_points_to_its_position() -> None:
    report = empty(positions=[story(0), story(1)], alerts=[(5, "WARNING", "k", "text")])
    found = find(report, [(1_200, "binance", "S1USDT", "I1 …")], [(7, "task: error")])
    assert [one.title for one in found[:2]] == ["Invariant broken", "Task crashed"]
    assert found[0].position == 1
    assert [one.rank for one in found] == sorted(one.rank for one in found)


def test_time_without_a_stop_is_ranked_by_its_length() -> None:
    spans = {1: 3_000, 2: 9_000, 3: 31_000}
    positions = [story(n, naked=[Span(from_ms=0, to_ms=ms)]) for n, ms in spans.items()]
    found = [one for one in find(empty(positions=positions), [], []) if "stop" in one.title]
    assert [(one.rank, one.position) for one in found] == [(WORST, 3), (BAD, 2)]


def test_equal_alerts_are_one_finding_with_a_count() -> None:
    alerts = [(n, "CRITICAL", "task.crashed", f"text {n}") for n in range(40)]
    (found,) = find(empty(alerts=alerts), [], [])
    assert found.rank == BAD
    assert "40 times, first: text 0" in found.text


def test_many_of_a_kind_are_named_few_and_counted() -> None:
    broken = [(n, "", "", f"I{n}") for n in range(SHOWN_EACH + 30)]
    found = find(empty(), broken, [])
    assert len(found) == SHOWN_EACH + 1
    assert found[-1].text == "30 more of them"


def test_odd_endings_losses_and_drops_are_findings() -> None:
    dropped = [Dropped(at_ms=1, venue="", symbol="", side="", wave="", reason="spread")] * 3
    positions = [story(0, reason="UNPROTECTED"), story(1, pnl=-5.0), story(2, pnl=7.0)]
    found = find(empty(positions=positions, dropped=dropped), [], [])
    assert [(one.title, one.rank) for one in found] == [
        ("Closed as UNPROTECTED", BAD),
        ("Largest loss", NOTED),
        ("Signals dropped", NOTED),
    ]
    assert found[2].text == "3: 3 spread"


# ---------------------------------------------------------------- the page


def test_a_page_takes_nothing_from_outside(demo: Report) -> None:
    page = report_html(demo)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:,|#)[^"']""", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_no_text_of_a_run_becomes_markup() -> None:
    report = empty(title=NASTY, notes=[NASTY], alerts=[(1, "WARNING", NASTY, NASTY)])
    page = report_html(report)
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert data_of(page)["notes"] == [NASTY]


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_report(path, empty())
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        write_report(tmp_path / "file" / "page.html", empty())


def test_a_browser_opens_the_page_without_a_word(demo: Report, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    page = tmp_path / "page.html"
    write_report(page, demo)
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count('class="row') == len(demo.positions)
    assert "Without a stop" in done.stdout
    assert "conflicting_sides" in done.stdout
