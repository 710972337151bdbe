"""A desk: one account on one venue, with everything that belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.orders import PositionSide
from kernel.model.units import MINUTE, SECOND, MonoNs, TsNs
from kernel.model.venue import VenueNotice
from kernel.trade.book import LEGS, is_older
from kernel.trade.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.config import Settings
    from kernel.model.instrument import Instrument
    from kernel.model.orders import BalanceReport, OrderClass, OrderReport, PositionReport
    from kernel.model.traits import VenueTraits
    from kernel.ports.outbox import Outbox
    from kernel.ports.venue import Venue
    from kernel.runtime.scheduler import Runtime

UNRELIABLE_NS = 10 * MINUTE
UNRELIABLE_LOSSES = 3
"""A stream that broke so often in this time is unreliable for as long again."""
SUSPECT_EVERY_NS = 60 * SECOND
"""A stream is not torn down more often than this on suspicion."""


class VenueDesk:
    """One account on one venue.

    Attributes:
        name: Of the venue.
        traits: What is different about it.
        venue: The port; only the gateway and the event routing touch it.
        gateway: The one way to send a request.
        instruments: By symbol; complete once `instruments_loaded`.
        reported: What the venue said last about each (symbol, leg).
        balance: What it said last about the money; None before that.
        hedge_mode: The account holds two legs a symbol: no entries.
        stream_up: The private stream is connected and every topic is confirmed.
        stream_up_ts_ns: Since when, wall time.
        suspected_mono_ns: When the stream was last suspected of having lost events.
        stream_generation: Counts every change of the stream; equal: it did not change between.
        closely_until_ns: Until then (monotonic) the venue is compared more often.
        resynced_mono_ns: When the last complete resync was requested (0: never).
    """

    def __init__(
        self, runtime: Runtime, outbox: Outbox, settings: Settings, venue: Venue
    ) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._blocks: dict[str, None] = {}
        self.name = venue.traits.name
        self.traits: VenueTraits = venue.traits
        self.venue = venue
        self.gateway = Gateway(runtime, outbox, settings, self)
        self.instruments: dict[str, Instrument] = {}
        self.instruments_loaded = False
        self.filters_doubtful = False
        """The venue spoke of a change, or refused by a filter: the next resync reads them anew."""
        self.reported: dict[tuple[str, str], PositionReport] = {}
        self.listed: dict[OrderClass, tuple[OrderReport, ...]] = {}
        """Open orders by the last complete read; conditional ones include attached stops."""
        self.balance: BalanceReport | None = None
        self.hedge_mode = False
        self.on_probation = False
        """After stops failed: one entry at a time, until a stop is confirmed."""
        self.stream_up = False
        self.stream_up_ts_ns = TsNs(0)
        self.stream_generation = 0
        self.suspected_mono_ns = MonoNs(-SUSPECT_EVERY_NS)
        self.resynced_mono_ns = 0
        self.closely_until_ns = MonoNs(0)
        self._losses: list[MonoNs] = []
        self.on_close_watch: Callable[[], None] = _ignore
        """Told when the venue is to be compared more often than usual."""
        self.on_synced: list[Callable[[], None]] = []
        """Told when a whole read of the venue was compared with the books."""
        self.notices: dict[str, int] = {}
        """How often each kind of notice came."""

    # ------------------------------------------------------------ entries

    @property
    def entries_allowed(self) -> bool:
        """Nothing forbids a new position on this venue."""
        return not self._blocks

    @property
    def block_reasons(self) -> tuple[str, ...]:
        """Why entries are forbidden, oldest reason first."""
        return tuple(self._blocks)

    def block_entries(self, reason: str) -> None:
        """Forbid entries until the same reason is lifted. Protection goes on."""
        if reason not in self._blocks:
            self._blocks[reason] = None
            self._outbox.record("entries.blocked", reason, venue=self.name)

    def unblock_entries(self, reason: str) -> None:
        """Lift one reason; the others stay."""
        if reason in self._blocks:
            del self._blocks[reason]
            self._outbox.record(
                "entries.unblocked", reason, venue=self.name, left=",".join(self._blocks)
            )

    def hear_stream_loss(self) -> bool:
        """The stream broke; True: so often lately that the venue is watched closely for a while.

        An unreliable stream (testnets have them) is made up for by reads.
        """
        now = self._runtime.now()
        self._losses = [at for at in self._losses if now - at < UNRELIABLE_NS]
        self._losses.append(now)
        if len(self._losses) < UNRELIABLE_LOSSES:
            return False
        self.watch_closely(UNRELIABLE_NS)
        return True

    def watch_closely(self, span_ns: int) -> None:
        """Something may come about that no event tells: compare more often for a while."""
        self.closely_until_ns = MonoNs(self._runtime.now() + span_ns)
        self.on_close_watch()

    def suspect(self, happened_ns: TsNs) -> None:
        """News of this time came by a read and not by the stream: connect it anew."""
        now = self._runtime.now()
        told = self.stream_up and happened_ns > self.stream_up_ts_ns
        if not told or now - self.suspected_mono_ns < SUSPECT_EVERY_NS:
            return
        self.suspected_mono_ns = now
        reason = "a read shows what the stream did not tell"
        self._outbox.record("stream.suspect", reason, venue=self.name, happened_ns=happened_ns)
        self.venue.reconnect(reason)

    # ------------------------------------------------------------ what the venue says

    def symbol_of(self, name: str) -> str:
        """The venue's symbol of a contract that is spelled in either way; else the name itself.

        Found among the venue's instruments, never cut out of the name: 1000PEPE is not PEPE.
        """
        if "/" not in name:
            return name
        spelled = (one.symbol for one in self.instruments.values() if one.unified == name)
        return next(spelled, name)

    def hear_position(self, report: PositionReport) -> bool:
        """Keep a position report; False: older than what is known."""
        key = (report.symbol, report.hedge_leg)
        known = self.reported.get(key)
        if known is not None and is_older(report, known):
            return False
        self.reported[key] = report
        return True

    def shown(self, symbol: str) -> PositionReport | None:
        """A position that the venue said last it has on a symbol; None: it said of none."""
        for leg in LEGS:
            report = self.reported.get((symbol, leg))
            if report is not None and report.qty and report.side is not PositionSide.FLAT:
                return report
        return None

    def hear_balance(self, report: BalanceReport) -> bool:
        """Keep a balance; False: older than what is known."""
        if self.balance is not None and report.updated_ns < self.balance.updated_ns:
            return False
        self.balance = report
        return True

    def hear_notice(self, notice: VenueNotice) -> None:
        """Count what has no type of its own."""
        self.notices[notice.kind] = self.notices.get(notice.kind, 0) + 1


def _ignore() -> None:
    """Before the kernel is wired nobody is told."""
