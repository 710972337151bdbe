"""The reference of all settings as text: the tables of docs/settings.md, and `.env.example`."""

from __future__ import annotations

from textwrap import wrap

from kernel.config import words
from kernel.config.advice import WITHOUT_EFFECT
from kernel.config.fields import Section
from kernel.config.values import OUTSIDE, SECTIONS

BEGIN, END = "<!-- reference: make docs -->", "<!-- end of reference -->"
COLUMNS = 100


def tables() -> str:
    """One table a section: name, default, what is allowed, meaning."""
    return "\n\n".join(_table(section) for section in SECTIONS)


def into_page(page: str) -> str:
    """The page with its reference made anew.

    Raises:
        ValueError: The page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{begin}\n\n{tables()}\n\n{end}{after}"


def env_example() -> str:
    """An `.env` file that sets nothing: every name with its default behind a #, secrets empty."""
    return "\n\n".join([_HEAD, *(_examples(section) for section in SECTIONS)]) + "\n"


_HEAD = """\
# Copy this file to .env and take the # away from what you change. What is left out, or empty, has
# its default, which is what stands here. A flag comes before the environment, the environment
# before this file. Show what is in force, and from where: run_live.py config show
# Values may stand in quotes; a # after a space begins a comment. Keep this file to yourself."""


def _title(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().removesuffix(".")


def _marks(name: str) -> str:
    return " ⌂" if name in OUTSIDE else " †" if name in WITHOUT_EFFECT else ""


def _table(section: type[Section]) -> str:
    lines = [
        f"### {_title(section)}",
        "",
        "| name | default | allowed | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, field in section.model_fields.items():
        cells = (
            f"`{name.upper()}`{_marks(name)}",
            words.default(field),
            words.allowed(field),
            field.description or "",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _examples(section: type[Section]) -> str:
    heading = f"# ---- {_title(section)} "
    lines = [heading + "-" * (COLUMNS - len(heading))]
    for name, field in section.model_fields.items():
        range_ = "a secret" if words.is_secret(field) else words.allowed(field)
        unused = "; no effect yet" if name in WITHOUT_EFFECT else ""
        told = f"{field.description}: {range_}{unused}"
        lines += ["", *(f"# {line}" for line in wrap(told, COLUMNS - 2))]
        hidden = words.is_secret(field)
        lines.append(f"{'' if hidden else '#'}{name.upper()}={words.shown(field.default)}")
    return "\n".join(lines)
