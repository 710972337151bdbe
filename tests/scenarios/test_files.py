from decimal import Decimal

import pytest

from kernel.errors import SettingsError
from scenarios.files import SUITES, for_venue, merged, read_suite, read_suites
from scenarios.runner import Choice, check, choose

SUITE = """
suite: made
defaults:
  prices: {BTCUSDT: {path: [[0, 100.0], [60, 100.5]]}}
scenarios:
  - name: first
    title: "one"
    settings: {POSITION_SIZE_USD: 211, LEVERAGE: {binance: 3, bybit: 4}}
"""


@pytest.fixture
def write(tmp_path):
    def to(text):
        path = tmp_path / "made.yaml"
        path.write_text(text, "utf-8")
        return path

    return to


def test_a_mapping_of_venues_stands_for_the_value_on_the_venue_of_the_run(write):
    (entry,) = read_suite(write(SUITE))
    assert entry.scenario("binance").settings["leverage"] == "3"
    assert entry.scenario("bybit").settings["leverage"] == "4"


def test_numbers_are_exact(write):
    (entry,) = read_suite(write(SUITE))
    assert entry.scenario("binance").prices["BTCUSDT"].path[1] == (60 * 10**9, Decimal("100.5"))


def test_all_problems_of_a_scenario_come_at_once_with_place_and_value(write):
    (entry,) = read_suite(write(SUITE + "    nonsense: 1\n    seed: -1\n    duration: soon\n"))
    with pytest.raises(SettingsError) as caught:
        entry.scenario("binance")
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    for part in ("made.yaml: made/first: nonsense", "seed", "greater than or equal to 0", "'soon'"):
        assert part in told


def test_a_name_that_comes_twice_is_a_problem(write):
    with pytest.raises(SettingsError, match="comes twice, first in line 2"):
        read_suite(write("\nsuite: a\nsuite: b\nscenarios: []\n"))


def test_two_scenarios_of_one_name_are_a_problem(write):
    twice = SUITE + '  - name: first\n    title: "again"\n'
    with pytest.raises(SettingsError, match="made/first: comes twice"):
        read_suite(write(twice))


def test_what_is_no_suite_is_told(write):
    with pytest.raises(SettingsError, match="must be a mapping with suite and scenarios"):
        read_suite(write("[1, 2]"))


def test_null_takes_an_inherited_field_away():
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None}, "d": {"e": None}}) == {
        "a": {"c": 2},
        "d": {},
    }


def test_a_venue_that_is_not_named_leaves_the_field_out():
    raw = {"a": {"binance": 1}, "b": [{"bybit": 2}, 3]}
    assert for_venue(raw, "bybit") == {"b": [2, 3]}


def test_every_suite_of_the_tree_is_sound_on_each_of_its_venues():
    entries = read_suites(SUITES)
    assert len(entries) >= 40
    assert check(choose(Choice())) == []


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_what_is_no_decimal_is_refused_with_its_line(write, number):
    with pytest.raises(SettingsError, match=rf"{number}.* line 9"):
        read_suite(write(SUITE + f"    seed: {number}\n"))


@pytest.mark.parametrize("levels", ["7", "wire", "[air]", "[[wire]]", "[]"])
def test_wrong_levels_are_told_and_do_not_hide_the_scenario(write, levels):
    (entry,) = read_suite(write(SUITE + f"    levels: {levels}\n"))
    assert entry.levels == ("sim", "wire")
    if levels != "[]":
        with pytest.raises(SettingsError, match="levels"):
            entry.scenario("binance")
