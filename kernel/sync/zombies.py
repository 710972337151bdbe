"""Which open orders of a venue are zombies: a pure function (SPEC §7).

| kind | what it is |
| --- | --- |
| `REDUCE_ONLY` | a closing order without a position to close |
| `STOP` | the same of a stop or a take-profit |
| `GHOST` | a closing order of a leg that is not open, or that the account's mode does not have |
| `FLIP` | an order that would turn an open position into its opposite |

1. Nothing is one on a symbol where a position of ours is open, pending or unsettled, or where an
   operation is in progress; only `FLIP` is about an open position, and then about one that rests.
2. Nothing is one in the first read of a process, nor where the store is younger than the oldest
   position of the venue: then it may know nothing of what it would clear (hazards G02).
3. Nothing is one that is younger than the visibility lag, is firing, or is somebody's who works
   on it already.
4. What it says of one read proves nothing: two of them must say it (`kernel.sync.absence`), and
   the positions are read once more after that (`kernel.sync.zombie_sweep`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from kernel.model.ids import Leg, parse_client_order_id
from kernel.model.orders import ONE_WAY, OrderClass, OrderStatus, PositionSide, Side
from kernel.model.units import TsNs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.model.orders import OrderReport, PositionReport

_RESTS = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)
_CLOSES_LEG = {PositionSide.LONG.value: Side.SELL, PositionSide.SHORT.value: Side.BUY}


class ZombieKind(StrEnum):
    """Why an order should not be there."""

    REDUCE_ONLY = "reduce-only"
    STOP = "stop"
    GHOST = "ghost"
    FLIP = "flip"


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """An open order of a complete read, and what our books know of it."""

    report: OrderReport
    ours: bool
    """It carries our id, or hung on a position of ours."""
    claimed: bool = False
    """An operation of ours works on it: its saga, its position, the to-cancel ledger."""


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What orders are judged by: positions read no earlier than the orders, and our books."""

    positions: tuple[PositionReport, ...]
    """Every row of a complete read that has a quantity."""
    asked_ts_ns: TsNs
    """When the orders were asked."""
    lag_ns: int
    """The visibility lag."""
    hedge_mode: bool = False
    everybodys: bool = False
    """Also orders that are not ours (`ZOMBIE_SCOPE` = all)."""
    first: bool = False
    """The first read of this process."""
    store_since_ns: TsNs = TsNs(0)
    """Since when the store exists."""
    oldest_ns: TsNs = TsNs(0)
    """When the oldest position of the venue was opened, as far as anybody knows; 0: there is none.
    """
    taken: tuple[str, ...] = ()
    """Symbols with an open, pending or unsettled position of ours."""
    held: tuple[tuple[str, str], ...] = ()
    """(symbol, leg) of every position in our book, also where this read shows none."""
    busy: tuple[str, ...] = ()
    """Symbols with an operation or an unknown outcome in progress."""

    @property
    def trusted(self) -> bool:
        """Whether what our books do not know may be judged at all."""
        return not self.first and not (self.oldest_ns and self.store_since_ns > self.oldest_ns)


class Zombie(msgspec.Struct, frozen=True, gc=False):
    """An order that one read shows to be a zombie."""

    kind: ZombieKind
    report: OrderReport

    @property
    def key(self) -> str:
        """What two reads must both say."""
        report = self.report
        return f"zombie/{self.kind.value}/{report.order_class.value}/{report.venue_order_id}"


def find_zombies(candidates: Iterable[Candidate], ground: Ground) -> list[Zombie]:
    """The zombies among the open orders of one complete read, in the order of their ids."""
    if not ground.trusted:
        return []
    rows = {(row.symbol, row.hedge_leg): row for row in ground.positions if row.qty}
    found = [
        Zombie(kind, one.report)
        for one in candidates
        if (kind := _kind(one, rows, ground)) is not None and not is_young(one.report, ground)
    ]
    return sorted(found, key=lambda zombie: (zombie.report.symbol, zombie.key))


def find_young(candidates: Iterable[Candidate], ground: Ground) -> bool:
    """Whether something would be a zombie, but for its age: the next read is to come soon."""
    if not ground.trusted:
        return False
    rows = {(row.symbol, row.hedge_leg): row for row in ground.positions if row.qty}
    return any(
        _kind(one, rows, ground) is not None and is_young(one.report, ground) for one in candidates
    )


def is_young(report: OrderReport, ground: Ground) -> bool:
    """Whether what an order belongs to may not be visible yet."""
    return ground.asked_ts_ns - report.created_ns < ground.lag_ns


def _kind(
    one: Candidate, rows: dict[tuple[str, str], PositionReport], ground: Ground
) -> ZombieKind | None:
    """What one read shows an order to be; None: nothing to be cleared."""
    report = one.report
    passed = one.claimed or not (one.ours or ground.everybodys) or report.symbol in ground.busy
    if passed or report.status not in _RESTS:
        return None
    place = (report.symbol, report.position_side)
    row = rows.get(place)
    if row is not None:
        return ZombieKind.FLIP if _would_flip(report, row) else None
    if report.symbol in ground.taken or not _closes(one):
        return None
    if (report.position_side == ONE_WAY) is ground.hedge_mode:
        return ZombieKind.GHOST
    if place in ground.held:
        return None
    if ground.hedge_mode:
        return ZombieKind.GHOST
    plain = report.order_class is OrderClass.PLAIN
    return ZombieKind.REDUCE_ONLY if plain else ZombieKind.STOP


def _closes(one: Candidate) -> bool:
    """Whether an order is there to close: by its flags, its leg, or our name for it."""
    report = one.report
    if report.reduce_only or report.close_position or report.order_class is OrderClass.ATTACHED:
        return True
    if _CLOSES_LEG.get(report.position_side) is report.side:
        return True
    parts = parse_client_order_id(report.client_order_id)
    return parts is not None and parts.leg is not Leg.ENTRY


def _would_flip(report: OrderReport, row: PositionReport) -> bool:
    """Whether it takes more than there is, and nothing at the venue holds it back."""
    held_back = (
        report.reduce_only
        or report.close_position
        or report.order_class is OrderClass.ATTACHED
        or report.position_side != ONE_WAY
    )
    opposite = report.side is row.side.exit_side
    return opposite and not held_back and report.leaves_qty > row.qty
