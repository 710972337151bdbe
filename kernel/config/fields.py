"""How a setting is declared: its default, its range, one sentence, and the forms that are read.

The sentence of a field is what the page of settings, `.env.example` and `config show` print; there
is no other place for it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from kernel.model.units import canonical

NONE = "none"
"""The word for an empty list where empty text would mean the default."""


class Section(BaseModel):
    """The settings of one subject; its docstring is their heading."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _one_form(cls, value: object, read: ValidatorFunctionWrapHandler) -> object:
        """Equal settings are equal to the last digit of their text: 2.0 is 2.

        `1_0` would be 10, though 1.0 may be meant: digits that people misread are refused.
        """
        made = read(value)
        if isinstance(value, str) and ("_" in value or not value.isascii()):
            parts = made if isinstance(made, tuple) else (made,)
            if any(isinstance(part, int | Decimal) for part in parts):
                raise ValueError("plain digits only")
        return canonical(made) if isinstance(made, Decimal) else made


def whole(default: int, low: int, high: int, meaning: str) -> Any:
    """A whole number from *low* to *high*."""
    return Field(default, ge=low, le=high, description=meaning)


def decimal(default: str, low: str, high: str, meaning: str) -> Any:
    """An exact number from *low* to *high*."""
    return Field(
        Decimal(default),
        ge=Decimal(low),
        le=Decimal(high),
        max_digits=24,
        allow_inf_nan=False,
        description=meaning,
    )


def switch(default: bool, meaning: str) -> Any:  # noqa: FBT001 - reads as `switch(True, "...")`
    """True or false."""
    return Field(default, description=meaning)


def secret(meaning: str) -> Any:
    """A text that appears in no output; empty by default."""
    return Field(SecretStr(""), description=meaning)


def said(default: object, meaning: str, *, allowed: str = "", **rules: Any) -> Any:
    """A word, text or list; *allowed* says in words what its type does not."""
    extra: dict[str, Any] | None = {"allowed": allowed} if allowed else None
    return Field(default, description=meaning, json_schema_extra=extra, **rules)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _split_or_none(value: object) -> object:
    if isinstance(value, str):
        lowered = value.strip().lower()
        return () if lowered == NONE else _split(lowered)
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    if isinstance(value, tuple | list):
        return tuple(_upper(part) for part in value)
    return value.strip().upper() if isinstance(value, str) else value


Lower = BeforeValidator(_lower)
Upper = BeforeValidator(_upper)

Minutes = Annotated[tuple[Annotated[int, Field(ge=0, le=59)], ...], BeforeValidator(_split)]
Symbols = Annotated[tuple[str, ...], Upper, BeforeValidator(_split)]
GuardAction = Literal["medium", "high", "critical", "emergency"]
GuardActions = Annotated[tuple[GuardAction, ...], BeforeValidator(_split_or_none)]
