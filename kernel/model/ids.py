"""The grammar of client order ids, the idempotency key of every order (SPEC §10).

    wk<epoch>-<wave>-<symbol>-<leg><child>-<generation>

prefix "wk"; run epoch, wave minute and generation in base 36; symbol hash 6 characters of
base 32; leg one letter; child one base-36 character. At most 36 of [A-Za-z0-9_-]; never reused:
the generation counts *intents*, never resends, and is stored with the intent.
"""

from __future__ import annotations

import re
from base64 import b32encode
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b

import msgspec

PREFIX = "wk"
MAX_LENGTH = 36
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PATTERN = re.compile(
    r"^wk(?P<epoch>[0-9a-z]+)-(?P<wave>[0-9a-z]+)-(?P<symbol>[a-z2-7]{6})"
    r"-(?P<leg>[A-Z])(?P<child>[0-9a-z])-(?P<generation>[0-9a-z]+)$"
)


class Leg(StrEnum):
    """What an order is for."""

    ENTRY = "E"
    STOP = "S"
    EXIT = "X"
    AGED = "A"
    ROLLBACK = "R"


_LEGS = tuple(leg.value for leg in Leg)


class OrderIdParts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a client order id says."""

    epoch: int
    wave_minute: int
    symbol_hash: str
    leg: Leg
    child: int
    generation: int


@lru_cache(maxsize=1024)  # det-ok: a pure function; each order of a symbol asks for its hash
def symbol_hash(venue: str, symbol: str) -> str:
    """Six characters that stand for (venue, symbol), non-ASCII symbols included."""
    digest = blake2b(f"{venue}\x1f{symbol}".encode(), digest_size=5).digest()
    return b32encode(digest).decode().lower()[:6]


def base36(number: int) -> str:
    """`number` ≥ 0 in base 36, lower case.

    Raises:
        ValueError: The number is negative.
    """
    if number < 0:
        raise ValueError(f"cannot write {number} in base 36")
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
        if not number:
            return digits


def client_order_id(parts: OrderIdParts) -> str:
    """The id for these parts.

    Raises:
        ValueError: It would be longer than 36 characters, or the child is not in 0..35.
    """
    if not 0 <= parts.child < len(_DIGITS):
        raise ValueError(f"child {parts.child} is not in 0..35")
    made = (
        f"{PREFIX}{base36(parts.epoch)}-{base36(parts.wave_minute)}-{parts.symbol_hash}"
        f"-{parts.leg}{_DIGITS[parts.child]}-{base36(parts.generation)}"
    )
    if len(made) > MAX_LENGTH:
        raise ValueError(f"client order id {made!r} is longer than {MAX_LENGTH}")
    return made


@lru_cache(maxsize=1024)  # det-ok: a pure function; every report of an order asks again
def parse_client_order_id(text: str) -> OrderIdParts | None:
    """The parts of an id of ours; None for anybody else's."""
    match = _PATTERN.fullmatch(text)
    if match is None or match["leg"] not in _LEGS:
        return None
    return OrderIdParts(
        epoch=int(match["epoch"], 36),
        wave_minute=int(match["wave"], 36),
        symbol_hash=match["symbol"],
        leg=Leg(match["leg"]),
        child=int(match["child"], 36),
        generation=int(match["generation"], 36),
    )


def is_ours(text: str) -> bool:
    """Whether an id follows our grammar."""
    return parse_client_order_id(text) is not None


def leg_of(client_id: str) -> Leg | None:
    """What an order of ours is for; None for anybody else's."""
    parts = parse_client_order_id(client_id)
    return None if parts is None else parts.leg
