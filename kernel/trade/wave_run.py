"""One wave: from the first signal to the last entry (SPEC §1).

1. Lines are filtered and sorted; slices are validated until enough passed or none is left.
2. The list of what passed is durable before the first entry of it, and grows durably.
3. At most `WAVE_CONCURRENCY` entries at a time on a venue, each with the rate budget of its stop
   and close. A failed open is replaced by the next candidate until the target number is ACTIVE.
4. Signals that arrive while the check is on join; none is entered after `SIGNAL_MAX_AGE_SECONDS`.
5. Every line ends as opened, tried, or dropped with a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.errors import StoreError
from kernel.model.rows import WaveRow
from kernel.model.signal import Signal
from kernel.model.units import SECOND, TsNs
from kernel.signals.schedule import close_of
from kernel.signals.selection import FilterRules, first_slice, further_slice, target_of
from kernel.signals.timestamps import format_utc
from kernel.trade.validation import Refusal, Validator
from kernel.trade.wave_balances import WaveBalances
from kernel.trade.wave_entry import Opener, WaveEntry
from kernel.trade.wave_lines import Line, WaveLines
from kernel.trade.wave_record import Outcome, WaveRecord

if TYPE_CHECKING:
    from kernel.signals.schedule import CheckWindow
    from kernel.trade.book import Position
    from kernel.trade.services import Services

RETRY_NS = SECOND
"""Before the store or a blocked venue is asked again."""


class WaveRun:
    """One wave while it is watched for or executed.

    Attributes:
        lines: Its signals.
        ended: It is closed.
    """

    def __init__(
        self,
        services: Services,
        opener: Opener,
        window: CheckWindow,
        *,
        source: str,
        claims: dict[str, None],
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._validator = Validator(services)
        self._changed = services.runtime.event()
        self._in_flight: dict[str, int] = {}
        """Entries under way, by venue."""
        self._is_sliced = False
        self._is_durable = True
        self._is_deferred = False
        self._record = WaveRecord(services, window, source)
        self._balances = WaveBalances(services, self._record, self._changed.set)
        self.window = window
        self.expires_ns = TsNs(
            close_of(window.wave_ns) + self._settings.signal_max_age_seconds * SECOND
        )
        self.lines = WaveLines(self._rules(), claims, self._record.dropped)
        self._entry = WaveEntry(
            services,
            opener,
            self.lines,
            wave_ns=window.wave_ns,
            expires_ns=self.expires_ns,
            claims=claims,
        )
        self.ended = False

    @property
    def outcome(self) -> Outcome:
        """What came of it so far."""
        return self._record.outcome

    # ------------------------------------------------------------ from outside

    def add(self, signals: tuple[Signal, ...]) -> None:
        """Signals of this wave that arrived inside its check."""
        self.lines.add(self._as_the_venue_spells(signal) for signal in signals)
        self._changed.set()

    def resume(self, row: WaveRow) -> None:
        """Go on where the process before ended: its list, its target, its positions."""
        self._record.outcome = msgspec.json.decode(row.outcome, type=Outcome)
        self._record.opened_ns = row.opened_ns
        self.lines.add(msgspec.json.decode(row.selected, type=list[Signal]))
        live = [
            position
            for position in self._services.book.open()
            if position.ours and position.row.wave_ns == self.window.wave_ns
        ]
        self.lines.mark_tried(position.row.once_key for position in live)
        known = dict.fromkeys([*self.outcome.active, *(position.id for position in live)])
        self.outcome.active = list(known)
        self._is_sliced = True

    def nudge(self) -> None:
        """Look again: time moved, or a stop was commanded."""
        self._changed.set()

    def _as_the_venue_spells(self, signal: Signal) -> Signal:
        desk = self._services.desks.get(signal.venue)
        if desk is None:
            return signal
        return msgspec.structs.replace(signal, symbol=desk.symbol_of(signal.symbol))

    def _rules(self) -> FilterRules:
        """The filter, with its stop list as the venues spell their contracts."""
        rules = FilterRules.of(self._settings)
        names = dict.fromkeys(rules.stoplist)
        for desk in self._services.desks.values():
            names.update(dict.fromkeys(desk.symbol_of(name) for name in rules.stoplist))
        return msgspec.structs.replace(rules, stoplist=tuple(names))

    # ------------------------------------------------------------ the life of a wave

    async def run(self) -> None:
        """Watch, trade, close. May be called again after a crash of its task."""
        while not len(self.lines) and self._now() < self.window.end_ns and not self._stops():
            await self._pause(self.window.end_ns)
        if len(self.lines):
            await self._trade()
        elif not self._stops():
            self._missing()
        self._close()

    async def _trade(self) -> None:
        self._set_target()
        while True:
            self.lines.filter()
            await self._refill()
            self._launch()
            if self._is_over():
                return
            await self._pause(self._next_look())

    def _set_target(self) -> None:
        if self.outcome.target >= 0:
            return
        slots = self._services.risk.free_slots()
        self.outcome.target = target_of(self._settings, slots)
        self.lines.filter()
        self._record.decide(
            "wave.selected",
            f"{len(self.lines)} signals",
            target=self.outcome.target,
            free_slots=slots,
            received=len(self.lines),
            candidates=len(self.lines.candidates()),
            without_month_score=self.lines.without_month_score,
        )

    def _missing(self) -> None:
        """A wave that was expected and never came is no reason to do anything but tell."""
        self.outcome.end = "missing"
        wave = format_utc(self.window.wave_ns)
        self._record.decide("wave.missing", "no signal of it inside its check")
        self._services.alert(
            "WARNING",
            "wave.missing",
            f"no signal of wave {wave} until {format_utc(self.window.end_ns)}",
            dedupe=f"wave.missing|{wave}",
        )

    def _close(self) -> None:
        if self.ended:
            return
        self.outcome.end = self.outcome.end or self._end_reason()
        self.lines.filter()
        self.lines.drop_waiting(self.outcome.end)
        self.outcome.dropped = self.lines.drop_counts()
        self.ended = True
        self._record.decide(
            "wave.closed",
            self.outcome.end,
            received=len(self.lines),
            target=max(self.outcome.target, 0),
            active=len(self.outcome.active),
            tried=self.outcome.tried,
            failed=self.outcome.failed,
            dropped=",".join(f"{name}:{n}" for name, n in self.outcome.dropped.items()),
        )
        self._services.persist((self._record.row(self.lines, "closed"),))

    def _end_reason(self) -> str:
        if self._stops():
            return "stopping"
        if len(self.outcome.active) >= self.outcome.target:
            return "target_reached"
        return "expired" if self._now() > self.expires_ns else "no_candidates_left"

    # ------------------------------------------------------------ slices

    async def _refill(self) -> None:
        """Validate slices until as many passed as are missing, and make the list durable."""
        missing = self._missing_entries()
        venues = await self._open_venues(missing - len(self.lines.waiting_passed()))
        percent = self._settings.signal_buffer_percent
        while (short := missing - len(self.lines.waiting_passed())) > 0 and not self._late():
            count = further_slice(short, percent)
            if not self._is_sliced:
                count = first_slice(self.outcome.target, percent)
            taken = self.lines.best(count, venues)
            if not taken:
                break
            self._is_sliced = True
            self._validate(taken)
        if not self._is_durable:
            await self._store_list()

    def _missing_entries(self) -> int:
        return self.outcome.target - len(self.outcome.active) - sum(self._in_flight.values())

    def _validate(self, taken: list[Line]) -> None:
        passed = 0
        for line in taken:
            verdict = self._validator.check(line.signal)
            if isinstance(verdict, Refusal):
                self.lines.drop(line, verdict.reason, verdict.detail)
            else:
                self.lines.passes(line)
                self._is_durable = False
                passed += 1
        self._record.decide("wave.slice", "validated", size=len(taken), passed=passed)

    async def _open_venues(self, short: int) -> tuple[str, ...]:
        """Venues whose candidates are validated now.

        While the check is on, candidates of a venue that forbids entries at the moment (a resync,
        a stream that comes back) wait; after it they meet the refusal. So do those of a venue whose
        balance is still on its way, and no others.
        """
        candidates = self.lines.candidates()
        names = dict.fromkeys(line.signal.venue for line in candidates)
        worth = dict.fromkeys(
            line.signal.venue
            for line in candidates
            if short > 0 and not self._validator.is_hopeless(line.signal)
        )
        venues = [name for name in names if not self._is_closed_for_now(name)]
        await self._balances.read(name for name in venues if name in worth)
        open_now = tuple(name for name in venues if not self._balances.is_pending(name))
        self._is_deferred = len(open_now) < len(names)
        return open_now

    def _is_closed_for_now(self, venue: str) -> bool:
        desk = self._services.desks.get(venue)
        return (
            desk is not None and not desk.entries_allowed and self._now() < self.window.end_ns
        )

    async def _store_list(self) -> None:
        """The list is durable before the first entry of it; without a store there is none."""
        self._record.opened_ns = self._record.opened_ns or self._now()
        try:
            await self._services.commit_entry((self._record.row(self.lines, "open"),))
        except StoreError as error:
            self._record.decide("wave.waits", f"its list is not durable: {error}")
            return
        self._is_durable = True

    # ------------------------------------------------------------ entries

    def _launch(self) -> None:
        while (
            self._is_durable
            and not self._late()
            and self._missing_entries() > 0
        ):
            line = self.lines.next_passed(self._full_venues())
            if line is None:
                return
            self._count_entry(line.signal.venue, 1)
            self.outcome.tried += 1
            name = f"wave entry {line.signal.venue} {line.signal.symbol}"
            self._services.runtime.spawn(self._enter(line, name), name)

    def _full_venues(self) -> tuple[str, ...]:
        """Venues with as many entries under way as may be; one never takes those of another."""
        most = self._settings.wave_concurrency
        return tuple(name for name, count in self._in_flight.items() if count >= most)

    def _count_entry(self, venue: str, change: int) -> None:
        self._in_flight[venue] = self._in_flight.get(venue, 0) + change

    async def _enter(self, line: Line, name: str) -> None:
        """One entry in a task of its own: neither its crash nor the wave's ends the other."""
        with self._services.held():
            await self._enter_and_book(line, name)
        self._changed.set()

    async def _enter_and_book(self, line: Line, name: str) -> None:
        position: Position | None = None
        try:
            position = await self._entry.enter(line)
        except Exception as error:  # noqa: BLE001 - the failure domain of one entry
            self._services.on_crash(name, error, 1, None)
            self.lines.drop(line, "entry_crashed", type(error).__name__)
        self._count_entry(line.signal.venue, -1)
        if position is None:
            self.outcome.failed += 1
        else:
            self.outcome.active.append(position.id)
        self._services.persist((self._record.row(self.lines, "open"),))

    # ------------------------------------------------------------ when to look, when to end

    def _is_over(self) -> bool:
        if any(self._in_flight.values()):
            return False
        if self._late() or self._missing_entries() <= 0:
            return True
        if self.lines.waiting_passed() or self.lines.candidates():
            return False
        return self._now() >= self.window.end_ns

    def _late(self) -> bool:
        return self._stops() or self._now() > self.expires_ns

    def _stops(self) -> bool:
        return self._services.stopping

    def _next_look(self) -> TsNs | None:
        """When something can have changed by time alone; None: only an entry's end can."""
        now = self._now()
        if self._missing_entries() > 0 and (self._is_deferred or not self._is_durable):
            return TsNs(now + RETRY_NS)
        ahead = [at for at in (self.window.end_ns, TsNs(self.expires_ns + 1)) if at > now]
        return min(ahead) if ahead else None

    async def _pause(self, until_ns: TsNs | None) -> None:
        """Wait for a change, at most until a wall time."""
        try:
            if until_ns is None:
                await self._changed.wait()
            else:
                runtime = self._services.runtime
                await self._changed.wait_until(runtime.now() + until_ns - self._now())
        finally:
            self._changed.clear()

    def _now(self) -> TsNs:
        return self._services.runtime.ts()
