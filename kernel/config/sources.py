"""Reads the environment and the `.env` file: the shell around the pure settings.

What stands there is only collected here, as text; `choose` decides and `Settings` checks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from dotenv.parser import parse_stream
from pydantic import create_model
from pydantic_settings import BaseSettings, EnvSettingsSource

from kernel.config.origins import Line, Origins, choose
from kernel.config.settings import Settings

DEFAULT_FILE = Path(".env")

_LARGEST_FILE = 1_000_000
"""Bytes; every setting takes a small part of that, and a device such as /dev/zero has no end."""

_TEXTS = create_model(
    "_TEXTS",
    __base__=BaseSettings,
    **cast("dict[str, Any]", dict.fromkeys(Settings.model_fields, (str | None, None))),
)
"""The names of all settings with their values as text, unchecked."""


def read(
    assignments: Sequence[str] = (),
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Origins:
    """The settings that are in force.

    Args:
        assignments: `NAME=VALUE`, from flags.
        file: Must exist; none: `.env` of the current folder, where there is one.
        environment: None: that of the process.

    Raises:
        SettingsError: All problems of all sources at once.
    """
    problems: list[str] = []
    flags: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            problems.append("--set takes NAME=VALUE; one of those given is not of that form")
        elif name.upper() in flags:
            problems.append(f"--set {name.upper()}: is given twice; keep one of them")
        else:
            flags[name.upper()] = value
    lines: list[Line] = []
    chosen = file or DEFAULT_FILE
    if file is not None or chosen.exists():
        lines, wrong = _read_file(chosen)
        problems += wrong
    return choose(flags, _environment(environment), lines, file=str(chosen), problems=problems)


def _environment(given: Mapping[str, str] | None) -> dict[str, str]:
    """All of an environment; the settings by their lower-case names."""
    source = EnvSettingsSource(_TEXTS, case_sensitive=False)
    if given is not None:
        source.env_vars = {name.lower(): value for name, value in given.items()}
    others = {
        name.upper(): value or ""
        for name, value in source.env_vars.items()
        if name.lower() not in Settings.model_fields
    }
    return {**{name: str(value) for name, value in source().items()}, **others}


def _read_file(path: Path) -> tuple[list[Line], list[str]]:
    """The assignments of the file, and what is wrong with it; never a value."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        reason = error.strerror or "cannot be read"
        return [], [f"{path}: {reason}; name another file, or leave it out"]
    if len(content) > _LARGEST_FILE:
        return [], [f"{path}: more than {_LARGEST_FILE} bytes are no settings; name another file"]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        return [], [f"{path} line {number}: not UTF-8; save the file as UTF-8"]
    if "\x00" in text:
        number = text.count("\n", 0, text.index("\x00")) + 1
        return [], [f"{path} line {number}: a zero byte; save the file as UTF-8 text"]
    return _parse(text, str(path))


def _parse(text: str, path: str) -> tuple[list[Line], list[str]]:
    """Without expansion of `${NAME}`: a password may look like one."""
    lines: list[Line] = []
    problems: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        blank = len(binding.original.string) - len(binding.original.string.lstrip())
        number = binding.original.line + binding.original.string.count("\n", 0, blank)
        if binding.error:
            problems.append(
                f"{path} line {number}: not NAME=value; close its quotes, or begin it with #"
            )
        elif binding.key is not None:
            if binding.value is None:
                problems.append(f"{path} line {number}: no = after the name; write NAME=value")
            else:
                lines.append(Line(number, binding.key, binding.value))
    return lines, problems
