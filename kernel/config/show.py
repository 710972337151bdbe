"""What is in force and where it comes from, as a table and as JSON; no secret is in either."""

from __future__ import annotations

import json
import re

from pydantic import SecretStr

from kernel.config import words
from kernel.config.origins import Origins

HEADINGS = ("NAME", "VALUE", "SOURCE", "DEFAULT", "ALLOWED")

_ADDRESS = re.compile(
    r"(?P<scheme>postgres(?:ql)?)://(?P<user>[\w.%-]*)(?::[^@?#]*)?@"
    r"(?P<host>[\w.,:\[\]-]*(?:/[\w.%-]*)?)(?P<rest>[?#][^@]*)?"
)


def table(origins: Origins) -> str:
    """Aligned columns, one line a setting, in the order of the specification."""
    rows = [HEADINGS, *((row["name"], row["value"] or "empty", row["source"], row["default"],
                         row["allowed"]) for row in _rows(origins))]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True))
        for row in rows
    )


def document(origins: Origins) -> str:
    """The same as JSON, values as text, with the warnings."""
    shown = {"settings": _rows(origins), "warnings": list(origins.warnings)}
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _rows(origins: Origins) -> list[dict[str, str]]:
    return [
        {
            "name": name.upper(),
            "value": masked(getattr(origins.settings, name)),
            "source": origins.place(name),
            "default": words.default(field),
            "allowed": words.allowed(field),
            "meaning": field.description or "",
        }
        for name, field in type(origins.settings).model_fields.items()
    ]


def masked(value: object) -> str:
    """The value as it may be shown: of a database address all but its password and options."""
    if isinstance(value, SecretStr):
        address = _ADDRESS.fullmatch(value.get_secret_value())
        if address is not None:
            options = f"?{words.HIDDEN}" if address["rest"] else ""
            return (
                f"{address['scheme']}://{address['user']}:{words.HIDDEN}@{address['host']}{options}"
            )
    return words.shown(value)
