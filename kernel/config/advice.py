"""Settings that are allowed and that the owner recommends otherwise, or that do nothing yet."""

from __future__ import annotations

from decimal import Decimal

from kernel.config.values import Values
from kernel.model.units import text

WINDOW_ADVICE_SECONDS = 180
"""A check window as long as this reaches the last signals of a wave (SPEC §1)."""

RECOMMENDED = (
    ("max_positions", Decimal(5), Decimal(10)),
    ("stop_loss_percent", Decimal("1.5"), Decimal(3)),
)
"""The owner's recommendations for production."""

WITHOUT_EFFECT = (
    "epoch_hours",
)
"""Names that no code reads yet: accepted, so that one file serves later releases too."""


def advice(values: Values) -> tuple[str, ...]:
    """Sentences about what was set and works against what people expect."""
    given: list[str] = []
    for name, low, high in RECOMMENDED:
        value = Decimal(getattr(values, name))
        if not low <= value <= high:
            advised = f"{text(low)} to {text(high)} is advised"
            given.append(f"{name.upper()}={text(value)}: {advised}")
    if values.wave_check_duration_seconds < WINDOW_ADVICE_SECONDS:
        given.append(
            f"WAVE_CHECK_DURATION_SECONDS={values.wave_check_duration_seconds}: signals arrive"
            f" 5 to 8 minutes after the close; {WINDOW_ADVICE_SECONDS} sees the last of them"
        )
    if values.position_size_usd * values.max_positions > values.max_exposure_usd:
        given.append(
            f"MAX_POSITIONS={values.max_positions}: so many positions of"
            f" {text(values.position_size_usd)} USD do not fit into"
            f" MAX_EXPOSURE_USD={text(values.max_exposure_usd)}"
        )
    if values.database_url.get_secret_value() and "db_host" in values.model_fields_set:
        given.append("DB_HOST: has no effect beside DATABASE_URL")
    given += [
        f"{name.upper()}: accepted, but this release does not act on it"
        for name in WITHOUT_EFFECT
        if name in values.model_fields_set
    ]
    return tuple(given)
