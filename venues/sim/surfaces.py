"""Query surfaces: what the venue shows, as it was a while ago.

A surface keeps its changes with their times and can show any recent moment: going forward applies
what came since, going back undoes it. Asking at a constant lag costs only what changed between
two questions; nothing is copied.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable

import msgspec

from kernel.model.orders import Fill, OrderClass, OrderReport
from kernel.model.units import HOUR
from kernel.model.venue import OrderPage

_AHEAD_MAX = 4096
"""A surface that nobody asks keeps no more changes than this, but for those of its memory."""


class _Change[K, V](msgspec.Struct, frozen=True, gc=False):
    ts_ns: int
    key: K
    value: V | None
    """Applied when going forward (None: removed) — or restored when going back."""


class Lagged[K, V]:
    """A dictionary as it was at a moment not more than `memory_ns` before the newest one asked.

    Times of changes must not go back.
    """

    __slots__ = ("_ahead", "_behind", "_memory_ns", "rows", "version")

    def __init__(self, memory_ns: int = HOUR) -> None:
        self.rows: dict[K, V] = {}
        self.version = 0
        """Grows with every change of `rows`."""
        self._ahead: deque[_Change[K, V]] = deque()
        self._behind: deque[_Change[K, V]] = deque()
        self._memory_ns = memory_ns

    def record(self, ts_ns: int, key: K, value: V | None) -> None:
        """A row changed; None: it is gone."""
        self._ahead.append(_Change(ts_ns, key, value))
        if len(self._ahead) > _AHEAD_MAX:
            self.at(ts_ns - self._memory_ns)

    def at(self, ts_ns: int) -> dict[K, V]:
        """The rows as they were at the end of `ts_ns`. Not to be kept or changed."""
        ahead, behind = self._ahead, self._behind
        while ahead and ahead[0].ts_ns <= ts_ns:
            change = ahead.popleft()
            behind.append(_Change(change.ts_ns, change.key, self._put(change.key, change.value)))
        while behind and behind[-1].ts_ns > ts_ns:
            change = behind.pop()
            ahead.appendleft(
                _Change(change.ts_ns, change.key, self._put(change.key, change.value))
            )
        oldest = ts_ns - self._memory_ns
        while behind and behind[0].ts_ns < oldest:
            behind.popleft()
        return self.rows

    def _put(self, key: K, value: V | None) -> V | None:
        self.version += 1
        old = self.rows.get(key)
        if value is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = value
        return old


class Listed(msgspec.Struct, frozen=True, gc=False):
    """An order with its place in the venue's order of arrival."""

    ordinal: int
    report: OrderReport


class OpenList:
    """Open orders of one class as a list, oldest first; built anew only when something changed."""

    __slots__ = ("_built", "_page", "_rows", "_version")

    def __init__(self) -> None:
        self._rows: Lagged[str, Listed] = Lagged()
        self._built: tuple[Listed, ...] = ()
        self._page = OrderPage(orders=())
        self._version = 0

    def record(self, ts_ns: int, listed: Listed) -> None:
        """An order of this class changed."""
        report = listed.report
        self._rows.record(
            ts_ns, report.venue_order_id, None if report.status.terminal else listed
        )

    def at(self, ts_ns: int) -> tuple[Listed, ...]:
        """The open orders as they were."""
        rows = self._rows.at(ts_ns)
        if self._version != self._rows.version:
            self._version = self._rows.version
            self._built = tuple(sorted(rows.values(), key=_ordinal))
            self._page = OrderPage(orders=tuple(listed.report for listed in self._built))
        return self._built

    def page_at(self, ts_ns: int) -> OrderPage:
        """The whole list as one page, oldest first."""
        self.at(ts_ns)
        return self._page


def _ordinal(listed: Listed) -> int:
    return listed.ordinal


class OrderIndex:
    """Orders by id and by client id, open ones and — as long as they are kept — closed ones.

    Args:
        one_space: True where plain orders and stops share one id space.
    """

    def __init__(self, *, one_space: bool = False) -> None:
        self._one_space = one_space
        self._rows: Lagged[tuple[bool, str], Listed] = Lagged()
        self._ids: dict[tuple[bool, str], list[str]] = {}

    def record(self, ts_ns: int, listed: Listed) -> None:
        """An order changed."""
        report = listed.report
        space = self._space(report)
        self._rows.record(ts_ns, (space, report.venue_order_id), listed)
        if report.client_order_id:
            ids = self._ids.setdefault((space, report.client_order_id), [])
            if report.venue_order_id not in ids:
                ids.append(report.venue_order_id)

    def forget(self, ts_ns: int, report: OrderReport) -> None:
        """An order is no longer shown."""
        space = self._space(report)
        self._rows.record(ts_ns, (space, report.venue_order_id), None)
        ids = self._ids.get((space, report.client_order_id))
        if ids is not None and report.venue_order_id in ids:
            ids.remove(report.venue_order_id)
            if not ids:
                del self._ids[space, report.client_order_id]

    def find(
        self, ts_ns: int, *, stop: bool, venue_order_id: str, client_order_id: str
    ) -> OrderReport | None:
        """The order as it was; by client id the newest one that carries it."""
        rows = self._rows.at(ts_ns)
        space = stop and not self._one_space
        if venue_order_id:
            found = rows.get((space, venue_order_id))
            return None if found is None else found.report
        for known in reversed(self._ids.get((space, client_order_id), [])):
            found = rows.get((space, known))
            if found is not None:
                return found.report
        return None

    def _space(self, report: OrderReport) -> bool:
        return report.order_class is not OrderClass.PLAIN and not self._one_space


class Executions:
    """Executions by symbol, oldest first; they never change, so a lag only hides the newest."""

    def __init__(self) -> None:
        self._fills: dict[str, list[Fill]] = {}
        self._times: dict[str, list[int]] = {}
        self._places: dict[tuple[str, str], list[int]] = {}

    def record(self, fill: Fill) -> None:
        """One more execution."""
        fills = self._fills.setdefault(fill.symbol, [])
        for order_id in (fill.venue_order_id, fill.client_order_id):
            if order_id:
                self._places.setdefault((fill.symbol, order_id), []).append(len(fills))
        fills.append(fill)
        self._times.setdefault(fill.symbol, []).append(fill.ts_ns)

    def between(self, symbol: str, since_ns: int, through_ns: int) -> Iterable[tuple[int, Fill]]:
        """(place, execution) of [since_ns, through_ns]."""
        times = self._times.get(symbol)
        if not times:
            return
        fills = self._fills[symbol]
        last = bisect_right(times, through_ns)
        for place in range(bisect_left(times, since_ns), last):
            yield place, fills[place]

    def of_order(
        self, symbol: str, order_id: str, since_ns: int, through_ns: int
    ) -> Iterable[tuple[int, Fill]]:
        """The same of one order, by either of its ids."""
        for place in self._places.get((symbol, order_id), ()):
            fill = self._fills[symbol][place]
            if since_ns <= fill.ts_ns <= through_ns:
                yield place, fill
