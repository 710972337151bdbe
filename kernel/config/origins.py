"""Where each value comes from: flag before environment before file before default."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from kernel.config import words
from kernel.config.settings import Settings
from kernel.errors import SettingsError

DEFAULT = "default"
FLAG = "flag"
ENVIRONMENT = "environment"

_PLAIN_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,60}")
_NEAR_ENOUGH = 0.9


@dataclass(frozen=True)
class Line:
    """One assignment of an `.env` file."""

    number: int
    name: str
    value: str


@dataclass(frozen=True)
class Origins:
    """Settings, and the place that each of them was read from.

    Attributes:
        settings: All of them, checked.
        places: Attribute → "flag", "environment" or "FILE line N"; absent: the default.
        warnings: What is allowed and probably not meant.
    """

    settings: Settings
    places: dict[str, str]
    warnings: tuple[str, ...]

    def place(self, name: str) -> str:
        """Where the value of the attribute comes from."""
        return self.places.get(name, DEFAULT)


def choose(
    flags: Mapping[str, str],
    environment: Mapping[str, str],
    lines: Sequence[Line],
    *,
    file: str,
    problems: Sequence[str] = (),
) -> Origins:
    """The settings from all sources; *problems* are those found while reading them.

    An empty text in the environment or the file is "not set" and leaves the next source its say; an
    empty flag asks for the default.

    Raises:
        SettingsError: All problems at once, each with its place.
    """
    found = [*problems, *_flag_problems(flags), *_line_problems(lines, file)]
    chosen: dict[str, tuple[str, str]] = {}
    for line in lines:
        _put(chosen, line.name, line.value, f"{file} line {line.number}")
    for name, value in environment.items():
        _put(chosen, name, value, ENVIRONMENT)
    for name, value in flags.items():
        field = Settings.model_fields.get(name.lower())
        if field is not None and not words.is_secret(field):
            chosen[name.lower()] = (value, FLAG)
    places = {name: place for name, (_, place) in chosen.items()}
    try:
        settings = Settings.load({name: value for name, (value, _) in chosen.items()})
    except SettingsError as error:
        found += [_placed(problem, places) for problem in error.problems]
        raise SettingsError(found) from None
    if found:
        raise SettingsError(found)
    return Origins(settings, places, (*settings.advice(), *_near_misses(environment)))


def _put(chosen: dict[str, tuple[str, str]], name: str, value: str, place: str) -> None:
    if name.lower() in Settings.model_fields and value.strip():
        chosen[name.lower()] = (value, place)


def _flag_problems(flags: Mapping[str, str]) -> list[str]:
    problems = []
    for name in flags:
        field = Settings.model_fields.get(name.lower())
        if field is None:
            problems.append(f"--set {words.unknown(name, Settings.model_fields)}")
        elif words.is_secret(field):
            problems.append(
                f"--set {name}: a secret on the command line is seen by every user of the machine;"
                " set it in the environment or in the file"
            )
    return problems


def _line_problems(lines: Sequence[Line], file: str) -> list[str]:
    problems = []
    first: dict[str, int] = {}
    for line in lines:
        attribute = line.name.lower()
        place = f"{file} line {line.number}"
        if attribute not in Settings.model_fields:
            problems.append(f"{place}: {_strange(line.name)}")
        elif attribute in first:
            problems.append(
                f"{place}: {line.name} is set in line {first[attribute]} too; keep one of them"
            )
        first.setdefault(attribute, line.number)
    return problems


def _strange(name: str) -> str:
    """An unknown name; a part of a secret that was broken over lines looks like one too."""
    known = Settings.model_fields
    if _PLAIN_NAME.fullmatch(name) or get_close_matches(name.lower(), known, n=1):
        return words.unknown(name, known)
    return "no setting begins this line; write NAME=value, a long value in one line or in quotes"


def _placed(problem: str, places: Mapping[str, str]) -> str:
    """The problem with the places of the names that it tells."""
    told = [
        f"{name.upper()} from {place}"
        for name, place in places.items()
        if re.search(rf"(^|, ){name.upper()}=", problem)
    ]
    return f"{problem} ({', '.join(told)})" if told else problem


def _near_misses(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the environment that are almost settings."""
    known = Settings.model_fields
    return tuple(
        f"environment: {words.unknown(name, known)}"
        for name in environment
        if name.lower() not in known
        and get_close_matches(name.lower(), known, n=1, cutoff=_NEAR_ENOUGH)
    )
