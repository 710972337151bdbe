"""Rate budgets as the venue enforces them: fixed or rolling windows, and bans.

Only what is over a budget is refused, and nothing of it is executed. A caller who goes on over a
budget that bans is shut out from everything until the ban ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import msgspec


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """One budget.

    `kinds` are tags of requests (empty: all). `per_kind`: each of them has the budget for itself.
    `rolling` False: windows start at multiples of `window_ns`. `ban_ns` > 0: after `ban_after`
    requests over the budget within one window all requests are refused for that long.
    """

    name: str
    limit: int
    window_ns: int
    code: str
    text: str
    kinds: tuple[str, ...] = ()
    weights: tuple[tuple[str, int], ...] = ()
    """(kind, weight); 1 for the others. Weighted budgets are fixed windows."""
    per_kind: bool = False
    rolling: bool = False
    ban_after: int = 0
    ban_ns: int = 0
    ban_code: str = ""


class Excess(NamedTuple):
    """Why a request is refused."""

    code: str
    text: str
    retry_at_ns: int
    banned: bool


class _Window:
    """What was used of one budget."""

    __slots__ = ("budget", "over", "start_ns", "times", "used")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.start_ns = -1
        self.used = 0
        self.over = 0
        self.times: deque[int] = deque()

    def take(self, weight: int, now_ns: int) -> int:
        """Use the budget; 0: fine, else the time at which it has room again."""
        budget = self.budget
        if budget.rolling:
            return self._take_rolling(now_ns)
        start = now_ns - now_ns % budget.window_ns
        if start != self.start_ns:
            self.start_ns, self.used, self.over = start, 0, 0
        if self.used + weight > budget.limit:
            self.over += 1
            return start + budget.window_ns
        self.used += weight
        return 0

    def _take_rolling(self, now_ns: int) -> int:
        times, window = self.times, self.budget.window_ns
        while times and times[0] <= now_ns - window:
            times.popleft()
        if len(times) >= self.budget.limit:
            self.over += 1
            return times[0] + window
        self.over = 0
        times.append(now_ns)
        return 0


class Quota:
    """The budgets of one venue."""

    def __init__(self, budgets: tuple[Budget, ...]) -> None:
        self._budgets = [(budget, dict(budget.weights)) for budget in budgets]
        self._windows: dict[tuple[str, str], _Window] = {}
        self._met: dict[str, tuple[tuple[_Window, int], ...]] = {}
        self._ban_until_ns = 0
        self._ban: Budget | None = None

    def take(self, kind: str, now_ns: int) -> Excess | None:
        """Count a request; not None: it is refused."""
        if self._ban is not None:
            if now_ns < self._ban_until_ns:
                return Excess(self._ban.ban_code, self._ban.text, self._ban_until_ns, banned=True)
            self._ban = None
        met = self._met.get(kind)
        if met is None:
            met = self._met[kind] = tuple(self._windows_of(kind))
        for window, weight in met:
            retry_at_ns = window.take(weight, now_ns)
            if retry_at_ns:
                return self._refuse(window.budget, window, retry_at_ns, now_ns)
        return None

    def _windows_of(self, kind: str) -> Iterator[tuple[_Window, int]]:
        """The windows that a kind of request is counted in, and its weight in each."""
        for budget, weights in self._budgets:
            weight = weights.get(kind, 1)
            if weight and (not budget.kinds or kind in budget.kinds):
                key = (budget.name, kind if budget.per_kind else "")
                yield self._windows.setdefault(key, _Window(budget)), weight

    def _refuse(self, budget: Budget, window: _Window, retry_at_ns: int, now_ns: int) -> Excess:
        if budget.ban_ns and window.over > budget.ban_after:
            self._ban = budget
            self._ban_until_ns = now_ns + budget.ban_ns
            return Excess(budget.ban_code, budget.text, self._ban_until_ns, banned=True)
        return Excess(budget.code, budget.text, retry_at_ns, banned=False)
