"""The lease: the right to trade the accounts, for a term, taken from the store (SPEC §11).

1. A term counts from the moment at which it was asked for, on our monotonic clock.
2. No entry that the venue could still accept after the term's end. From the end on protect-only:
   no entry, no clearing of zombies, no adoption; stops are verified, tightened, own positions
   closed.
3. Before another instance may take over, nothing leaves any more until the store has said that the
   lease is ours. Every bound is looked up when it matters: after a freeze, timers come first.
4. A store that gives no answer now cannot give the lease to anybody: protection goes on.
5. Taken by another instance: this kernel ends. Taken over by us: protect-only until a complete sync
   of each venue shows no order under our prefix that we do not know.

A start that names no instance keeps no lease: everything is allowed for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import NotSent, StoreError
from kernel.model.units import SECOND, MonoNs
from kernel.model.venue import REQUEST_LIFETIME_NS, EffectClass
from kernel.ports.store import LeaseTerms
from kernel.runtime.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.model.messages import LeaseTold
    from kernel.model.rows import StoredState
    from kernel.trade.services import Services

LEASE = "lease"
TAKEN_OVER = "lease taken over"
MARGIN_NS = 5 * SECOND
"""Clocks differ."""
PATIENCE_NS = 5 * SECOND
"""For an answer of the store; one that comes later was overtaken by a freeze."""
AGAIN_NS = 5 * SECOND
SILENT = "lease-unknown"
"""Code of a request that was not sent because another instance has the lease."""
SUPERSEDED = "has the lease of the account"
"""What a kernel says of the other instance when it ends for it."""
_EVER = MonoNs(1 << 62)


class Lease:
    """What the lease permits now, and the task that keeps it.

    Attributes:
        instance: Who we are among those that may hold it; "": no lease is kept.
        on_superseded: Told that another instance has it: the kernel is to end.
    """

    def __init__(self, services: Services) -> None:
        self.instance = ""
        self.on_superseded: Callable[[str], None] = _ignore
        self._services = services
        self._runtime = services.runtime
        settings = services.settings
        self.term_ns = settings.lease_seconds * SECOND
        self.wait_ns = settings.lease_wait_seconds * SECOND
        self._ends_ns = _EVER
        self._silent_ns = _EVER
        self._renewal_ns = _EVER
        self._superseded = False
        self._strangers: dict[str, None] = {}
        """Venues on which what the holder before us left is not proven to be known."""
        self._wake = services.runtime.event()
        self._known = services.runtime.event()

    # ------------------------------------------------------------ what it permits

    @property
    def protect_only(self) -> bool:
        """Whether only positions of ours may be looked after."""
        return bool(self._strangers) or self._runtime.now() >= self._ends_ns

    def permits(self, cls: EffectClass) -> bool:
        """Whether a request may leave now; False: `settle` first."""
        now = self._runtime.now()
        if cls is EffectClass.ENTRY and now + REQUEST_LIFETIME_NS >= self._ends_ns:
            return False
        return now < self._silent_ns

    async def settle(self, venue: str, kind: str, cls: EffectClass) -> None:
        """Wait until it is known whether a request may leave.

        Raises:
            NotSent: An entry outside of the term; or another instance has the lease.
        """
        while not self._superseded and self._runtime.now() >= self._silent_ns:
            self._known.clear()
            self._wake.set()
            await self._known.wait()
        if not self.permits(cls):
            raise NotSent(venue, kind, SILENT, "the lease of the account is not ours now")

    # ------------------------------------------------------------ its life

    @property
    def terms(self) -> LeaseTerms:
        """What is asked of the store."""
        accounts = tuple(self._services.desks)
        return LeaseTerms(self.instance, accounts, self.term_ns, self.wait_ns)

    def begin(self, instance: str) -> None:
        """A start that names an instance keeps the lease."""
        self.instance = instance
        if instance:
            for desk in self._services.desks.values():
                desk.gateway.lease = self

    def loaded(self, asked_ns: MonoNs, state: StoredState) -> None:
        """The load gave it, with a term from `asked_ns` on."""
        if not self.instance:
            return
        self._renew(asked_ns)
        if state.lease_of:
            self._strangers = dict.fromkeys(self._services.desks)
            for desk in self._services.desks.values():
                desk.block_entries(TAKEN_OVER)
            self._services.decide("lease.taken", f"that of {state.lease_of} ran out")
            self._services.alert(
                "WARNING", "lease.taken", f"the lease of {state.lease_of} ran out, taken over:"
                " protection only until a sync shows that nothing of it is left",
            )  # fmt: skip
        self._services.supervise("keep the lease", self._keep)

    def synced(self, venue: str, unknown: list[str]) -> None:
        """A complete sync of a venue was applied; orders under our prefix that nobody knows."""
        if venue not in self._strangers:
            return
        if unknown:
            words = "orders that the holder before left are in no row"
            told = ", ".join(unknown)
            self._services.decide("lease.strangers", words, venue=venue, orders=told)
            self._services.alert("CRITICAL", "lease.strangers", f"{words}: {told}", venue=venue)
            return
        del self._strangers[venue]
        self._services.desks[venue].unblock_entries(TAKEN_OVER)

    def trust(self) -> None:
        """An operator has looked at what the holder before us left."""
        for venue in list(self._strangers):
            self.synced(venue, [])

    async def _keep(self) -> None:
        """Renew it for ever; supervised."""
        runtime, lost = self._runtime, False
        next_ns = self._renewal_ns
        while True:
            if runtime.now() < self._ends_ns:
                next_ns = min(next_ns, self._ends_ns)  # its end is told when it comes
            await self._wake.wait_until(next_ns)
            self._wake.clear()
            asked = runtime.now()
            answer = await self._ask()
            if answer is None:
                next_ns = MonoNs(runtime.now() + AGAIN_NS)
                if runtime.now() - asked <= PATIENCE_NS:
                    self._extend()
            elif answer.granted:
                self._renew(asked)
                next_ns = self._renewal_ns
            else:
                self.lose(answer.holder)
                return
            lost = self._tell(lost=lost)
            self._known.set()

    async def _ask(self) -> LeaseTold | None:
        services = self._services
        try:
            with self._runtime.timeout(PATIENCE_NS):
                answer = await services.store.lease(self.terms, services.epoch)
        except (StoreError, TimedOut):
            return None
        return answer

    def _renew(self, asked_ns: MonoNs) -> None:
        self._ends_ns = MonoNs(asked_ns + self.term_ns)
        silent = self._ends_ns + self.wait_ns - REQUEST_LIFETIME_NS - MARGIN_NS
        self._silent_ns = MonoNs(silent)
        self._renewal_ns = MonoNs(asked_ns + self.term_ns // 3)

    def _extend(self) -> None:
        """The store gives no answer to us, nor, as far as we know, to anybody."""
        until = self._runtime.now() + 2 * (AGAIN_NS + PATIENCE_NS)
        self._silent_ns = MonoNs(max(self._silent_ns, until))

    def _tell(self, *, lost: bool) -> bool:
        """Say what changed; whether the term is over."""
        over = self._runtime.now() >= self._ends_ns
        services = self._services
        if over and not lost:
            services.decide("lease.lost", "its term is over")
            services.alert("CRITICAL", "lease.lost", "the lease is not renewed: protection only")
            for desk in services.desks.values():
                desk.block_entries(LEASE)
        elif lost and not over:
            services.decide("lease.renewed", "the store answers again")
            for desk in services.desks.values():
                desk.unblock_entries(LEASE)
        return over

    def lose(self, holder: str) -> None:
        """Another instance has it: this kernel ends."""
        self._superseded = True
        self._ends_ns = self._silent_ns = self._runtime.now()
        words = f"{holder} {SUPERSEDED}"
        self._services.alert("CRITICAL", "lease.superseded", f"{words}: this instance ends")
        self._services.decide("lease.superseded", words)
        self._known.set()
        self.on_superseded(words)


def _ignore(_reason: str) -> None:
    """Before the kernel is wired nobody is told."""
