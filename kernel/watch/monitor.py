"""What watches inside a kernel: alerts, health, results and the answer to `status`.

It is built before the other parts, so that it hears all of them, and asks none of them for
anything. Snapshots of the results are the only thing that it does by the clock, and only while
positions are open or something was closed since the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.messages import StatusReport
from kernel.model.positions import PositionState
from kernel.model.units import DAY, MINUTE, MonoNs, TsNs
from kernel.watch.alerts import Alerts
from kernel.watch.health import Health
from kernel.watch.results import DAILY, INTERVAL, ResultBook, counts
from kernel.watch.status import StatusReader

if TYPE_CHECKING:
    from kernel.model.messages import Decision, HostReport
    from kernel.model.rows import StoredState
    from kernel.runtime.timers import TimerHandle
    from kernel.trade.book import Position
    from kernel.trade.services import Services


class Monitor:
    """Watches one kernel.

    Attributes:
        alerts: Through which every alert leaves.
        health: What works and what does not.
        results: What closed positions brought.
        status: Reads the whole picture.
    """

    def __init__(self, services: Services) -> None:
        runtime, outbox, venues = services.runtime, services.outbox, tuple(services.desks)
        self._services = services
        self.alerts = Alerts(runtime, outbox)
        self.health = Health(runtime, outbox, services.settings, venues)
        self.results = ResultBook(venues)
        self.status = StatusReader(services, self.alerts, self.health, self.results)
        self._timer: TimerHandle | None = None
        self._snapshot_ns = TsNs(0)
        services.book.on_result.append(self._on_result)
        outbox.listen("position.state", self._on_state)

    def restore(self, state: StoredState) -> None:
        """Go on from the stored sums."""
        self.results.restore(state.performance)
        whole = self.results.whole.row
        if whole.closed:
            found = self.results.whole.results(self._services.runtime.ts())
            self._services.decide(
                "results.loaded",
                "start",
                closed=whole.closed,
                total=found.net,
                win_rate=found.win_rate,
            )
        if any(position.qty for position in self._services.book.open()):
            self._snapshot_later()

    def on_host(self, report: HostReport) -> None:
        """What the driver says of its host."""
        self.health.on_host(report)

    def tell_status(self) -> None:
        """Answer an operator who asks how it is."""
        outbox = self._services.outbox
        key = outbox.next_key("status", "kernel", "-")
        outbox.send(key, StatusReport(status=self.status.read()))

    # ------------------------------------------------------------ results

    def _on_result(self, position: Position) -> None:
        row = position.row
        if not counts(row):
            return
        services, now = self._services, self._services.runtime.ts()
        services.persist(self.results.add(row, now))
        found = self.results.whole.results(now)
        services.decide(
            "position.result",
            row.close_reason or row.state.value,
            venue=row.venue,
            symbol=row.symbol,
            position_id=row.position_id,
            reason=row.close_reason,
            net=row.net,
            fees=row.fees,
            funding=row.funding,
            total=found.net,
            win_rate=found.win_rate,
        )
        self._snapshot_later()

    def _on_state(self, decision: Decision) -> None:
        if decision.values["after"] == PositionState.ACTIVE.value:
            self._snapshot_later()

    def _snapshot_later(self) -> None:
        """At the next multiple of the interval, or at the end of the UTC day before it."""
        interval_ns = self._services.settings.performance_snapshot_minutes * MINUTE
        if self._timer is not None or not interval_ns:
            return
        runtime = self._services.runtime
        now = runtime.ts()
        self._snapshot_ns = self._snapshot_ns or now
        wait_ns = min(interval_ns - now % interval_ns, DAY - now % DAY)
        self._timer = runtime.call_at(MonoNs(runtime.now() + wait_ns), self._snapshot)

    def _snapshot(self) -> None:
        self._timer = None
        services, now = self._services, self._services.runtime.ts()
        period = DAILY if now // DAY != self._snapshot_ns // DAY else INTERVAL
        self._snapshot_ns = now
        held = [one.venue for one in services.book.open() if one.ours and one.qty]
        services.persist(
            tuple(
                tally.snapshot(now, period=period, positions=_on(venue, held))
                for venue, tally in self.results.tallies.items()
            )
        )
        if held:
            self._snapshot_later()


def _on(venue: str, held: list[str]) -> int:
    return held.count(venue) if venue else len(held)
