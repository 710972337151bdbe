"""One whole-number scale for the columns of a series.

The tick is told, or it is the largest power of ten of which every price is a multiple. Prices
that binary floating point has damaged (1.0735999999999999) would make that tick absurd; they
are recognised by their 16 and more digits, kept out of the search and marked.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import NamedTuple

import numpy as np

from replay.columns import Bools, Decimals, Ints
from replay.problems import LayoutError

_NOISE = 10**15
"""A mantissa from here on has 16 digits: no venue quotes that."""
_NOISE_LIMIT = Decimal("1e-9")
"""Farthest that a damaged price may lie from its tick, as a share of the price."""
_LARGEST = 2**62


class Scaled(NamedTuple):
    """Columns in units of `step`; `noisy` and `off` mark rows that only fit by rounding."""

    step: Decimal
    columns: dict[str, Ints]
    noisy: Bools
    off: Bools


def told_step(text: str) -> Decimal | None:
    """A tick as told, None where none was.

    Raises:
        LayoutError: Not a positive number.
    """
    if not text:
        return None
    try:
        step = Decimal(text)
    except InvalidOperation:
        step = Decimal(0)
    if not step.is_finite() or step <= 0:
        raise LayoutError("tick size", text, "a decimal above 0", "for example --tick-size 0.1")
    return step


def scale(numbers: dict[str, Decimals], step: Decimal | None) -> Scaled:
    """Bring columns of one length to whole multiples of one step.

    Raises:
        LayoutError: No step fits all of them.
    """
    rows = len(next(iter(numbers.values())).mantissa)
    noisy = np.zeros(rows, dtype=np.bool_)
    for column in numbers.values():
        noisy |= np.abs(column.mantissa) >= _NOISE
    clean = {role: column.take(~noisy) for role, column in numbers.items()}
    if noisy.all() and rows and step is None:
        raise LayoutError(
            "tick unknown",
            "every price has 16 digits or more",
            "prices on a decimal grid",
            "--tick-size X --noise round",
        )
    places = _places(clean)
    found = Decimal(1).scaleb(-places)
    used = found if step is None else step
    exponent = used.as_tuple().exponent
    assert isinstance(exponent, int)
    common = max(places, -exponent)
    divisor = int(used.scaleb(common))
    columns: dict[str, Ints] = {}
    off = np.zeros(rows, dtype=np.bool_)
    for role, column in numbers.items():
        whole = np.zeros(rows, dtype=np.int64)
        whole[~noisy] = _at(clean[role], common)
        units, rest = np.divmod(whole, divisor)
        off |= rest != 0
        for row in np.flatnonzero(noisy):
            units[row], far = _nearest(column, int(row), used)
            off[row] |= far
        columns[role] = units
    return Scaled(used, columns, noisy, off)


def _places(columns: dict[str, Decimals]) -> int:
    """Fewest decimals that write every value exactly."""
    most = max(int(column.decimals.max(initial=0)) for column in columns.values())
    scaled = [_at(column, most) for column in columns.values()]
    while most and all(not (column % 10).any() for column in scaled):
        scaled = [column // 10 for column in scaled]
        most -= 1
    return most


def _at(column: Decimals, places: int) -> Ints:
    largest = float((np.abs(column.mantissa) * 10.0 ** (places - column.decimals)).max(initial=0))
    if largest >= _LARGEST:
        raise LayoutError(
            "range too wide",
            f"{largest:.3g} units at {places} decimals",
            "at most 4.6e18 units between the largest and the smallest step",
            "remove the damaged rows, or --tick-size X",
        )
    shift = places - column.decimals
    # Cells may be written with trailing zeros beyond `places`: the division is exact.
    shifted: Ints = column.mantissa * 10 ** np.clip(shift, 0, 18)
    return shifted // 10 ** np.clip(-shift, 0, 18)


def _nearest(column: Decimals, row: int, step: Decimal) -> tuple[int, bool]:
    value = Decimal(int(column.mantissa[row])).scaleb(-int(column.decimals[row]))
    units = (value / step).to_integral_value(rounding=ROUND_HALF_EVEN)
    return int(units), abs(units * step - value) > abs(value) * _NOISE_LIMIT
