"""Settings: the owner's names and defaults, their ranges, and every problem at once (SPEC §14).

An attribute is the lower-case of its name in the environment. Seconds, minutes and milliseconds
are whole numbers; money and percentages are exact decimals (2.0 means 2 %). 0 switches off what
says so. `load` is pure: whoever calls it reads the environment and the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from typing import Self

from pydantic import ValidationError, model_validator

from kernel.config import advice, words
from kernel.config.contradictions import contradictions
from kernel.config.values import OUTSIDE, Values
from kernel.errors import SettingsError
from kernel.model.orders import PriceSource
from kernel.model.units import text


class Settings(Values):
    """Everything that can be set; checked, frozen, and complete by its defaults alone."""

    @classmethod
    def load(cls, values: Mapping[str, str]) -> Self:
        """Settings from texts by their names in the environment; an empty text is "not set".

        Args:
            values: Names in any case. A name that is not a setting is a problem: give `known`
                of an environment, all of a file.

        Raises:
            SettingsError: All problems at once, each with name, value, range and fix.
        """
        given: dict[str, object] = {}
        problems: list[str] = []
        spellings: dict[str, str] = {}
        for name, value in values.items():
            attribute = name.lower()
            if attribute not in cls.model_fields:
                problems.append(words.unknown(name, cls.model_fields))
            elif (other := spellings.setdefault(attribute, name)) != name:
                problems.append(f"{name}: is set as {other} too; keep one of them")
            elif value.strip():
                given[attribute] = value.strip()
        return cls._checked(given, problems)

    @classmethod
    def from_json(cls, document: str) -> Self:
        """Settings from what `canonical_json` wrote.

        Raises:
            SettingsError: All problems at once.
        """
        try:
            given = json.loads(document, parse_float=Decimal)
        except ValueError as error:
            raise SettingsError([f"settings: not JSON ({error}); give an object"]) from error
        if not isinstance(given, dict):
            raise SettingsError([f"settings: {type(given).__name__}, not an object of names"])
        ours = {name: value for name, value in given.items() if name in cls.model_fields}
        strange = [words.unknown(name, cls.model_fields) for name in given if name not in ours]
        return cls._checked(ours, strange)

    @classmethod
    def _checked(cls, given: dict[str, object], problems: list[str]) -> Self:
        try:
            made = cls.model_validate(given)
        except ValidationError as error:
            lines, wrong = words.explain(error, given, cls.model_fields)
            problems = problems + lines
            if wrong:  # what remains may contradict itself as well
                sound = {name: value for name, value in given.items() if name not in wrong}
                found = contradictions(Values.model_validate(sound))
                problems += [line for names, line in found if not _any(names, wrong)]
            raise SettingsError(problems) from None  # the cause would show values, secrets too
        if problems:
            raise SettingsError(problems)
        return made

    @classmethod
    def known(cls, environment: Mapping[str, str]) -> dict[str, str]:
        """Those entries of an environment that are settings."""
        return {
            name: value for name, value in environment.items() if name.lower() in cls.model_fields
        }

    @model_validator(mode="after")
    def _agree(self) -> Self:
        lines = [line for _, line in contradictions(self)]
        if lines:
            raise ValueError("\n".join(lines))
        return self

    # ------------------------------------------------------------ reading

    @cached_property
    def stop_source(self) -> PriceSource:
        """The series that stops, drift, trailing and guard look at."""
        return PriceSource.MARK if self.stop_trigger_price == "mark" else PriceSource.LAST

    @property
    def database_is_set(self) -> bool:
        """Whether a server was named: else an embedded one starts (SPEC §11)."""
        return "db_host" in self.model_fields_set or bool(self.database_url.get_secret_value())

    def canonical_json(self) -> str:
        """What the kernel depends on, as JSON text with sorted names: no secret, no host."""
        return self.canonical_text

    @cached_property
    def canonical_text(self) -> str:
        """See `canonical_json`: made once."""
        inside = {
            name: _plain(getattr(self, name))
            for name in type(self).model_fields
            if name not in OUTSIDE
        }
        return json.dumps(inside, sort_keys=True, separators=(",", ":"))

    def settings_hash(self) -> str:
        """32 hexadecimal characters that stand for `canonical_json`."""
        return blake2b(self.canonical_json().encode(), digest_size=16).hexdigest()

    def advice(self) -> tuple[str, ...]:
        """Settings that are allowed and that the owner recommends otherwise (for `check`)."""
        return advice.advice(self)

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """Every setting: name, default, what is allowed; in the order of the specification."""
        return [
            (name.upper(), words.default(field), words.allowed(field))
            for name, field in cls.model_fields.items()
        ]


def _any(names: tuple[str, ...], wrong: list[str]) -> bool:
    return any(name in wrong for name in names)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return text(value)
    return list(value) if isinstance(value, tuple) else value
