"""Suites: YAML files of scenarios, read strictly, with every problem at once.

A suite is `suite: NAME`, `defaults: …` and `scenarios: […]`; a scenario overrides the defaults
field by field (lists as a whole; null takes a field away). A mapping whose only names are venues
stands for the value on the venue of the run: `code: {binance: "-2021", bybit: "110093"}`; a venue
that is not named leaves the field out. Numbers are exact decimals; a name that comes twice is a
problem.
"""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kernel.errors import SettingsError
from scenarios.schema import VENUES, Scenario

try:  # the same loader in C, several times as fast
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

SUITES = Path(__file__).parent / "suites"
BOTH = "both"
LEVELS = ("sim", "wire")
_SHOWN = 60


class _Loader(SafeLoader):
    """Safe YAML with exact numbers, without timestamps, and without silent repetitions."""


def _decimal(_loader: _Loader, node: Any) -> Decimal:
    try:
        return Decimal(str(node.value).replace("_", ""))
    except InvalidOperation as error:
        raise yaml.MarkedYAMLError(
            problem=f"{node.value!r} is no number that a scenario can hold; write a decimal",
            problem_mark=node.start_mark,
        ) from error


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: dict[Hashable, int] = {}
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if key in seen and key != "<<":
            raise yaml.MarkedYAMLError(
                problem=f"{key!r} comes twice, first in line {seen[key]}",
                problem_mark=key_node.start_mark,
            )
        seen[key] = line
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))


class Entry:
    """One scenario of a suite as it was written, and the file that it stands in."""

    def __init__(self, path: Path, name: str, raw: dict[str, Any]) -> None:
        self.path = path
        self.name = name
        self.raw = raw

    @property
    def file(self) -> str:
        """Its file as a command names it; "" for the suites of the project."""
        return "" if self.path.parent == SUITES else str(self.path)

    @property
    def venues(self) -> tuple[str, ...]:
        """The venues that it says it runs on; what is wrong with them `scenario` tells."""
        given = self.raw.get("venues", list(VENUES))
        names = [given] if isinstance(given, str) else given
        return tuple(str(name) for name in names) if isinstance(names, list) else ()

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that it can run at; of a wrong value all, so that `scenario` tells it."""
        given = self.raw.get("levels")
        listed = isinstance(given, list) and all(level in LEVELS for level in given)
        return tuple(map(str, given)) if listed and given else LEVELS

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags."""
        given = self.raw.get("tags", [])
        return tuple(map(str, given)) if isinstance(given, list) else (str(given),)

    def scenario(self, venue: str) -> Scenario:
        """The scenario as it is on a venue.

        Raises:
            SettingsError: Every problem, each with file, scenario, field, value and range.
        """
        raw = dict(self.raw) if venue == BOTH else for_venue(self.raw, venue)
        try:
            return Scenario.model_validate(raw)
        except ValidationError as error:
            raise SettingsError([self._explain(problem) for problem in error.errors()]) from error

    def _explain(self, problem: Any) -> str:
        where = ".".join(str(part) for part in problem["loc"]) or "scenario"
        message = str(problem["msg"]).removeprefix("Value error, ")
        given = problem.get("input")
        shown = "" if isinstance(given, dict | list) else f" (given {given!r})"[:_SHOWN]
        if problem["type"] == "extra_forbidden":
            message, shown = "no such field; remove it or correct its name", ""
        return f"{self.path.name}: {self.name}: {where}: {message}{shown}"


def read_suite(path: Path) -> list[Entry]:
    """The scenarios of one file, not yet checked field by field.

    Raises:
        SettingsError: It cannot be read, or is no suite.
    """
    try:
        data = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError([f"{path.name}: {' '.join(str(error).split())}"]) from error
    if not isinstance(data, dict) or not isinstance(data.get("scenarios"), list):
        raise SettingsError([f"{path.name}: must be a mapping with suite and scenarios"])
    problems = [
        f"{path.name}: {name}: no such field; allowed are suite, title, defaults, scenarios"
        for name in data
        if name not in ("suite", "title", "defaults", "scenarios")
    ]
    suite, defaults = data.get("suite"), data.get("defaults") or {}
    if not isinstance(suite, str):
        problems.append(f"{path.name}: suite: must be the name of the suite")
    if not isinstance(defaults, dict):
        problems.append(f"{path.name}: defaults: must be a mapping")
        defaults = {}
    entries: list[Entry] = []
    seen: dict[str, None] = {}
    for place, item in enumerate(data["scenarios"]):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            problems.append(f"{path.name}: scenarios.{place}: must be a mapping with a name")
            continue
        name = f"{suite}/{item['name']}"
        if name in seen:
            problems.append(f"{path.name}: {name}: comes twice; names are unique")
        seen[name] = None
        entries.append(Entry(path, name, merged(defaults, {**item, "name": name})))
    if problems:
        raise SettingsError(problems + field_problems(entries))
    return entries


def field_problems(entries: list[Entry]) -> list[str]:
    """What is wrong inside scenarios whose files are refused anyway, so that nothing is lost."""
    problems: dict[str, None] = {}
    for entry in entries:
        for venue in entry.venues:
            try:
                entry.scenario(venue)
            except SettingsError as error:
                problems.update(dict.fromkeys(error.problems))
    return list(problems)


def read_suites(folder: Path = SUITES) -> list[Entry]:
    """Every scenario of a folder of suites, by file name, then in the order of the file.

    Raises:
        SettingsError: The problems of all files.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            entries += read_suite(path)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return entries


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the fields of `over`, mapping by mapping; null takes a field away."""
    out = dict(base)
    for name, value in over.items():
        if value is None:
            out.pop(name, None)
            continue
        held = out.get(name)
        below = dict(held) if isinstance(held, dict) else {}
        deep = isinstance(value, dict) and not _by_venue(value)
        out[name] = merged(below, value) if deep else value
    return out


def for_venue(value: Any, venue: str) -> Any:
    """The value with every by-venue mapping replaced by what it says for this venue."""
    if isinstance(value, dict):
        out = {}
        for name, held in value.items():
            if _by_venue(held):
                if venue in held:
                    out[name] = for_venue(held[venue], venue)
            else:
                out[name] = for_venue(held, venue)
        return out
    if isinstance(value, list):
        kept = [item for item in value if not (_by_venue(item) and venue not in item)]
        return [for_venue(item[venue] if _by_venue(item) else item, venue) for item in kept]
    return value


def _by_venue(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(name in VENUES for name in value)
