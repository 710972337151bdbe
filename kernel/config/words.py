"""A setting in words: its value, its default, what is allowed, what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from kernel.model.units import printable, text

HIDDEN = "(hidden)"


def shown(value: object) -> str:
    """A value as it may be printed: of a secret only that there is one, no control characters."""
    match value:
        case SecretStr():
            return HIDDEN if value.get_secret_value() else ""
        case Decimal():
            return text(value)
        case bool():
            return str(value).lower()
        case tuple():
            return printable(",".join(map(str, value)))
        case None:
            return ""
    return printable(_without_credentials(str(value)))


def _without_credentials(told: str) -> str:
    """An address without the user and the options that may stand in it."""
    scheme, separator, rest = told.partition("://")
    options = rest.find("?")
    if 0 <= options < rest.rfind("@"):  # either may belong to the other
        return f"{scheme}://{HIDDEN}"
    place, mark, _ = rest.partition("?")
    _, user, host = place.rpartition("@")
    shown_host = f"{HIDDEN}@{host}" if user else host
    return f"{scheme}{separator}{shown_host}{mark}{HIDDEN if mark else ''}" if separator else told


def is_secret(field: FieldInfo) -> bool:
    """Whether its value appears in no output."""
    return field.annotation is SecretStr


def unknown(name: str, fields: Iterable[str]) -> str:
    """A problem: there is no such setting; the nearest name."""
    near = get_close_matches(name.lower(), list(fields), n=1)
    hint = f"did you mean {near[0].upper()}?" if near else "remove it"
    return f"{printable(name)}: no such setting; {hint}"


def explain(
    error: ValidationError, given: Mapping[str, object], fields: Mapping[str, FieldInfo]
) -> tuple[list[str], list[str]]:
    """Sentences for people, and the names whose values are wrong by themselves."""
    lines: list[str] = []
    wrong: list[str] = []
    for problem in error.errors(include_url=False, include_input=False):
        if not problem["loc"]:
            lines += str(problem["msg"]).removeprefix("Value error, ").split("\n")
            continue
        name = str(problem["loc"][0])
        if name in wrong:
            continue
        wrong.append(name)
        field = fields[name]
        value = HIDDEN if is_secret(field) else shown(given.get(name))
        lines.append(
            f"{name.upper()}={value}: must be {allowed(field)};"
            f" correct it, or remove it for the default {default(field)}"
        )
    return lines, wrong


def default(field: FieldInfo) -> str:
    """The default in words."""
    return shown(field.default) or "empty"


def allowed(field: FieldInfo) -> str:
    """The range of a field in words."""
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["allowed"])
    choices = [arg for arg in get_args(field.annotation) if isinstance(arg, str)]
    if choices:
        return "one of " + ", ".join(choices)
    if field.annotation is bool:
        return "true or false"
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        for bound in ("ge", "gt", "le"):
            if getattr(rule, bound, None) is not None:
                bounds[bound] = getattr(rule, bound)
    if "le" not in bounds:
        return "a text"
    kind = "a whole number" if field.annotation is int else "a number"
    least = f"from {shown(bounds['ge'])}" if "ge" in bounds else f"above {shown(bounds['gt'])}, up"
    return f"{kind} {least} to {shown(bounds['le'])}"
