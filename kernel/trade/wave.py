"""Waves: the checks of the schedule, what arrives in them, and what arrives outside (SPEC §1).

1. A check begins at its minute and watches for one wave, fixed at its start. A restart inside the
   check resumes it: with the stored list where there is one, never twice for one wave.
2. Signals of the expected wave go to its run. Later ones are `late`, others `not_expected`: both
   are recorded and neither is traded.
3. Every signal is recorded, malformed ones with their raw text.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from kernel.model.rows import SignalRow
from kernel.model.units import DAY, TsNs
from kernel.signals.feed import SOURCE
from kernel.signals.timestamps import format_utc
from kernel.trade.wave_entry import Opener
from kernel.trade.wave_record import signal_row
from kernel.trade.wave_run import WaveRun

if TYPE_CHECKING:
    from kernel.model.rows import StoredState, WaveRow
    from kernel.model.signal import Signal
    from kernel.signals.buffer import Batch, SignalBuffer
    from kernel.signals.schedule import CheckWindow, WaveSchedule
    from kernel.signals.wire import Flaw
    from kernel.trade.services import Services

WAVES_KEPT = 200
"""Waves that are remembered as done; more than two days of them."""


class Waves:
    """The waves of one kernel; at most one run each, several may execute at once.

    Attributes:
        running: Runs that are not closed, by wave.
        late: Signals that came after their check; `unexpected`: of other waves.
    """

    def __init__(
        self,
        services: Services,
        opener: Opener,
        schedule: WaveSchedule,
        buffer: SignalBuffer,
    ) -> None:
        self._services = services
        self._opener = opener
        self._schedule = schedule
        self._buffer = buffer
        self._claims: dict[str, None] = {}
        self._known: dict[TsNs, None] = {}
        self._alerted: dict[TsNs, None] = {}
        self._started_ns: TsNs | None = None
        self._nudge = services.runtime.event()
        self.running: dict[TsNs, WaveRun] = {}
        self.late = 0
        self.unexpected = 0

    # ------------------------------------------------------------ the checks

    async def run(self, state: StoredState) -> None:
        """Begin each check in its time, until a stop is commanded."""
        if self._started_ns is None:
            self._started_ns = self._services.runtime.ts()
            self._restore(state)
        while not self._services.stopping:
            now = self._services.runtime.ts()
            window = self._schedule.window_at(now)
            if window is not None and window.wave_ns not in self._known:
                self._begin(window)
            else:
                await self._wait_until(self._schedule.next_window(now).start_ns)

    def on_clock_step(self) -> None:
        """Wall time moved against monotonic time: every wait for a wall time is taken anew."""
        self._nudge.set()
        for wave in self.running.values():
            wave.nudge()

    def on_stopping(self) -> None:
        """A stop was commanded: no new entries."""
        self.on_clock_step()

    def _begin(self, window: CheckWindow) -> WaveRun:
        self._remember(window.wave_ns)
        run = WaveRun(self._services, self._opener, window, source=SOURCE, claims=self._claims)
        self.running[window.wave_ns] = run
        run.add(self._buffer.of_wave(window.wave_ns))
        wave = format_utc(window.wave_ns)
        self._services.decide(
            "wave.expected", "its check began", wave=wave, until=format_utc(window.end_ns)
        )
        self._services.supervise(f"wave {wave}", partial(self._run, run))
        return run

    async def _run(self, run: WaveRun) -> None:
        await run.run()
        self.running.pop(run.window.wave_ns, None)

    async def _wait_until(self, ts_ns: TsNs) -> None:
        runtime = self._services.runtime
        try:
            await self._nudge.wait_until(runtime.now() + ts_ns - runtime.ts())
        finally:
            self._nudge.clear()

    # ------------------------------------------------------------ what arrives

    def on_batch(self, batch: Batch) -> None:
        """Signals and flaws that were not known before."""
        rows = [self._flaw_row(batch, number) for number in range(len(batch.flaws))]
        for signal in batch.signals:
            run = self.running.get(signal.candle_ns)
            if run is not None and run.window.contains(batch.arrived_ns):
                run.add((signal,))
                rows.append(signal_row(signal, ""))
            else:
                rows.append(signal_row(signal, self._outside(signal, batch.arrived_ns)))
        self._services.persist(tuple(rows))

    def _outside(self, signal: Signal, arrived_ns: TsNs) -> str:
        """What is said of a signal that no check takes; "": its check is still to come."""
        window = self._schedule.window_of(signal.candle_ns)
        if window is None or arrived_ns > window.end_ns + DAY:
            reason = "not_expected"
        elif arrived_ns < window.start_ns or (
            window.contains(arrived_ns) and window.wave_ns not in self._known
        ):
            return ""
        elif window.contains(arrived_ns):
            reason = "wave_closed"
        elif self._started_ns is None or window.end_ns < self._started_ns:
            reason = "not_expected"  # its check was over before this process began
        else:
            reason = "late"
            self.late += 1
            self._alert_late(signal.candle_ns)
        self.unexpected += reason == "not_expected"
        self._services.decide(
            "signal.dropped",
            reason,
            venue=signal.venue,
            symbol=signal.symbol,
            side=signal.side.value,
            wave=format_utc(signal.candle_ns),
        )
        return reason

    def _alert_late(self, wave_ns: TsNs) -> None:
        if wave_ns in self._alerted:
            return
        self._alerted[wave_ns] = None
        _forget_oldest(self._alerted)
        wave = format_utc(wave_ns)
        self._services.alert(
            "WARNING",
            "signal.late",
            f"signals of wave {wave} came after its check and are not traded",
            dedupe=f"signal.late|{wave}",
        )

    @staticmethod
    def _flaw_row(batch: Batch, number: int) -> SignalRow:
        flaw: Flaw = batch.flaws[number]
        return SignalRow(
            once_key=f"malformed|{batch.arrived_ns}|{number}",
            source=SOURCE,
            venue="",
            symbol="",
            side="",
            candle_ns=TsNs(0),
            arrived_ns=batch.arrived_ns,
            raw=flaw.raw,
            drop_reason=f"malformed: {flaw.reason}",
        )

    # ------------------------------------------------------------ a start

    def _restore(self, state: StoredState) -> None:
        """Claims hold for ever; an open wave goes on inside its own check only."""
        self._claims.update(dict.fromkeys(claim.once_key for claim in state.claims))
        now = self._services.runtime.ts()
        window = self._schedule.window_at(now)
        for row in sorted(state.waves, key=_wave_of):
            if row.source != SOURCE:
                continue
            if row.state == "open" and window is not None and window.wave_ns == row.wave_ns:
                self._begin(window).resume(row)
                continue
            self._remember(row.wave_ns)
            if row.state == "open":
                self._close_interrupted(row)

    def _close_interrupted(self, row: WaveRow) -> None:
        wave = format_utc(row.wave_ns)
        self._services.decide("wave.closed", "interrupted by the end of a process", wave=wave)
        closed = {"state": "closed", "closed_ns": self._services.runtime.ts()}
        self._services.persist((_replaced(row, closed),))

    def _remember(self, wave_ns: TsNs) -> None:
        self._known[wave_ns] = None
        _forget_oldest(self._known)


def _forget_oldest(waves: dict[TsNs, None]) -> None:
    while len(waves) > WAVES_KEPT:
        del waves[next(iter(waves))]


def _wave_of(row: WaveRow) -> TsNs:
    return row.wave_ns


def _replaced(row: WaveRow, changes: dict[str, object]) -> WaveRow:
    return msgspec.structs.replace(row, **changes)
