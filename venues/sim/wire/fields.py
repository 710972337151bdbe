"""Fields of a request as they stand on the wire: text first, then what it must mean."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from kernel.model.messages import HttpRequest


class BadField(Exception):
    """A field is missing, or its text means nothing.

    Attributes:
        name: The field.
        missing: It is not there at all.
    """

    def __init__(self, name: str, *, missing: bool) -> None:
        super().__init__(name)
        self.name = name
        self.missing = missing


class Fields:
    """The fields of one request; every accessor without a default asks for the field.

    Raises:
        BadField: From the accessors.
    """

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Whether the field was sent with a value."""
        return bool(self._values.get(name))

    def text(self, name: str, default: str | None = None) -> str:
        """The text of a field."""
        value = self._values.get(name, "")
        if value:
            return value
        if default is None:
            raise BadField(name, missing=True)
        return default

    def number(self, name: str, default: Decimal | None = None) -> Decimal:
        """A decimal number in plain notation."""
        if not self.has(name) and default is not None:
            return default
        try:
            value = Decimal(self.text(name))
        except InvalidOperation:
            raise BadField(name, missing=False) from None
        if not value.is_finite():
            raise BadField(name, missing=False)
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number, not negative."""
        if not self.has(name) and default is not None:
            return default
        value = self.text(name)
        if not value.isdecimal():
            raise BadField(name, missing=False)
        return int(value)

    def choice[T](self, name: str, known: dict[str, T], default: str | None = None) -> T:
        """One of some words, and what it stands for."""
        value = self.text(name, default)
        if value not in known:
            raise BadField(name, missing=False)
        return known[value]

    def flag(self, name: str) -> bool:
        """`true` or `false`; false where it was not sent."""
        return self.choice(name, {"true": True, "false": False}, "false")


def form_fields(http: HttpRequest) -> Fields:
    """Parameters of the query and of a form in the body; the query wins."""
    values = dict(parse_qsl(http.body.decode("utf-8", "replace"))) if http.body else {}
    values.update(http.params)
    return Fields(values)


def json_fields(http: HttpRequest) -> Fields:
    """Parameters of the query (GET) or of the JSON object in the body (POST).

    Raises:
        BadField: The body is no JSON object.
    """
    values = dict(http.params)
    if http.body:
        try:
            body = msgspec.json.decode(http.body)
        except msgspec.DecodeError:
            raise BadField("body", missing=False) from None
        if not isinstance(body, dict):
            raise BadField("body", missing=False)
        values.update({str(name): _as_text(value) for name, value in body.items()})
    return Fields(values)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
