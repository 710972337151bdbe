"""What differs between a venue and our books, and what mends it: a pure function (SPEC §9).

    complete read + what earlier reads said + our books → repairs, in the order of their symbols

1. Every difference needs two complete reads (`kernel.sync.absence`): a position that the venue
   does not show, one that we do not have, another quantity, another side.
2. Adding protection is the exception: one read is enough, if the row it shows is not older than
   the last execution known on its symbol.
3. Where an operation or an unknown outcome is in progress nothing is compared; nor is a row that
   is older than an execution that we know: the surface has not caught up yet.
4. Only what is added is ever done on one read: nothing here cancels, shrinks or closes on it.

Nothing is done here: `kernel.sync.repairs` hands each repair to whoever owns the act.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.model.orders import ONE_WAY, PositionReport, PositionSide
from kernel.model.units import SECOND, Qty, TsNs
from kernel.sync.absence import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable

STALE_NS = SECOND
"""A venue may stamp a row and the execution that made it a little apart."""


class Held(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A position of the book as a comparison needs it."""

    position_id: str
    symbol: str
    leg: str
    side: PositionSide
    qty: Qty
    busy: bool = False
    """An operation or an unknown outcome is in progress."""
    unproven: bool = False
    """One read showed it and it was protected; nobody knows yet whose it is."""


class Remembered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A position that the venue reported and the book does not have."""

    symbol: str
    leg: str
    updated_ts_ns: TsNs


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What we know of one venue."""

    held: tuple[Held, ...] = ()
    remembered: tuple[Remembered, ...] = ()
    unsettled: tuple[str, ...] = ()
    """Symbols on which an entry or an unknown outcome of ours is not proven ended."""
    executed: tuple[tuple[str, TsNs], ...] = ()
    """Symbol → the venue's time of the last execution known on it."""


class Guard(msgspec.Struct, frozen=True, tag=True, gc=False):
    """One read shows a position that we do not have: protect it, and conclude nothing else."""

    report: PositionReport


class Enlarge(msgspec.Struct, frozen=True, tag=True, gc=False):
    """One read shows more than we have: protect all of it."""

    position_id: str
    report: PositionReport


class Identify(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A position that was only protected so far is proven: find out whose it is."""

    position_id: str


class Untracked(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A position that we do not have is proven, and it is not in our books at all."""

    report: PositionReport


class Phantom(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The venue does not have a position of ours."""

    position_id: str
    for_ns: int
    """For how long the reads have not shown it."""


class Turned(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The venue has the other side: ours is over."""

    position_id: str
    side: PositionSide


class Resize(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The venue has another quantity, and it wins."""

    position_id: str
    report: PositionReport


class Forget(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A position that was reported and never ours is gone; its end was not told."""

    symbol: str
    leg: str


type Repair = Guard | Enlarge | Identify | Untracked | Phantom | Turned | Resize | Forget
ADDING = (Guard, Enlarge)
"""Repairs that add protection and do nothing else: one read is enough."""


def reconcile(
    rows: Iterable[PositionReport], books: Books, comparison: Comparison
) -> list[Repair]:
    """Compare the positions of one complete read with the books.

    Args:
        rows: Every position of the read that has a quantity.
        books: What we know at the time of the answer.
        comparison: Of this read with those before; it remembers for the next one.
    """
    executed = dict(books.executed)
    shown: dict[tuple[str, str], PositionReport] = {}
    skipped = dict.fromkeys([*books.unsettled, *(one.symbol for one in books.held if one.busy)])
    for row in rows:
        if row.qty and row.side is not PositionSide.FLAT:
            shown[(row.symbol, row.hedge_leg)] = row
            if _is_stale(row, executed.get(row.symbol, TsNs(0))):
                skipped[row.symbol] = None
    found: dict[tuple[str, str], list[Repair]] = {}
    for held in books.held:
        if held.symbol not in skipped:
            last = executed.get(held.symbol, TsNs(0))
            repairs = _of_held(held, shown.get((held.symbol, held.leg)), last, comparison)
            found.setdefault((held.symbol, held.leg), []).extend(repairs)
        elif _differs(held, shown.get((held.symbol, held.leg))):
            comparison.skipped = True
    known = {(held.symbol, held.leg): None for held in books.held}
    for key, row in shown.items():
        if key not in known and row.symbol not in skipped:
            found[key] = _of_unknown(row, executed.get(row.symbol, TsNs(0)), comparison)
    for one in books.remembered:
        key = (one.symbol, one.leg)
        if key not in shown and key not in known and one.symbol not in skipped:
            last = max(one.updated_ts_ns, executed.get(one.symbol, TsNs(0)))
            if comparison.proven(f"gone/{one.symbol}/{one.leg}", after_ts_ns=last):
                found[key] = [Forget(one.symbol, one.leg)]
    return [repair for key in sorted(found) for repair in found[key]]


def _is_stale(row: PositionReport, last: TsNs) -> bool:
    """Whether a row is older than an execution on its symbol; of two legs nobody can say."""
    return bool(row.updated_ns) and row.hedge_leg == ONE_WAY and row.updated_ns + STALE_NS < last


def _differs(held: Held, row: PositionReport | None) -> bool:
    return row is None or row.side is not held.side or row.qty != held.qty


def _of_held(
    held: Held, row: PositionReport | None, last: TsNs, comparison: Comparison
) -> list[Repair]:
    """What one position of the book needs."""
    if row is None:
        gone = f"phantom/{held.position_id}"
        if comparison.proven(gone, after_ts_ns=last):
            return [Phantom(held.position_id, comparison.said_for_ns(gone))]
        return []
    if row.side is not held.side:
        turned = comparison.proven(f"side/{held.position_id}/{row.side}", after_ts_ns=last)
        return [Turned(held.position_id, row.side)] if turned else []
    repairs: list[Repair] = []
    identity = f"whose/{held.position_id}"
    if held.unproven and comparison.proven(identity, after_ts_ns=last):
        repairs.append(Identify(held.position_id))
    if row.qty != held.qty:
        size = f"size/{held.position_id}/{row.qty}"
        if comparison.proven(size, after_ts_ns=last):
            repairs.append(Resize(held.position_id, row))
        elif row.qty > held.qty and row.updated_ns > last:
            repairs.append(Enlarge(held.position_id, row))
    return repairs


def _of_unknown(row: PositionReport, last: TsNs, comparison: Comparison) -> list[Repair]:
    """What a position that is not in the book needs."""
    key = f"untracked/{row.symbol}/{row.hedge_leg}/{row.side}"
    if comparison.proven(key, after_ts_ns=last):
        return [Untracked(row)]
    return [Guard(row)] if row.updated_ns >= last else []
