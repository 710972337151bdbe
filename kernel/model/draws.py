"""Draws: every random-looking choice is a function of (seed, label, n) and of nothing else.

A label is a leg or a fault class plus a content key; 0 is always the boring choice, so a tape
of choices lists only the deviations from 0.
"""

from __future__ import annotations

from hashlib import blake2b


def draw(seed: int, label: str, n: int, bound: int) -> int:
    """A whole number in [0, bound), the same in every process and on every day.

    Raises:
        ValueError: `bound` is less than 1.
    """
    if bound < 1:
        raise ValueError(f"bound must be at least 1, not {bound}")
    digest = blake2b(f"{seed}\x1f{label}\x1f{n}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % bound
