"""Settings of agreement and watch: zombies, synchronisation, venues, health (SPEC §7, §9-§12)."""

from __future__ import annotations

from typing import Annotated, Literal

from kernel.config.fields import Lower, Section, said, whole


class Zombies(Section):
    """Zombie orders."""

    zombie_scope: Annotated[Literal["ours", "all"], Lower] = said(
        "ours", "whose zombie orders are cleared"
    )
    zombie_threshold: int = whole(10, 1, 10_000, "more zombie orders at once alert")


class Agreement(Section):
    """Synchronisation, venues, state."""

    sync_interval_seconds: int = whole(
        120,
        0,
        3600,
        "between synchronisations; 0: off, with the periodic reads of clock and instruments,"
        " for simulations",
    )
    untracked_policy: Annotated[Literal["protect", "adopt", "alert", "close"], Lower] = said(
        "protect", "what happens to positions of somebody else"
    )
    visibility_lag_seconds: int = whole(5, 0, 60, "between two reads that prove an absence")
    order_timeout_seconds: int = whole(5, 1, 60, "time-out of the answer to an order")
    query_timeout_seconds: int = whole(10, 1, 60, "time-out of the answer to a query")
    lease_seconds: int = whole(
        60, 15, 3600, "for so long an instance has its account; renewed at a third of it"
    )
    lease_wait_seconds: int = whole(
        60, 0, 3600, "after the lease of another instance ran out, before it is taken over"
    )
    epoch_hours: int = whole(24, 0, 720, "idle restart in the process; 0: off")


class Health(Section):
    """Health, alerts, snapshots."""

    stream_down_alert_minutes: int = whole(5, 1, 1440, "a stream down for longer alerts")
    clock_offset_limit_ms: int = whole(
        500, 50, 60_000, "our clock against the venue's; beyond it there is no entry"
    )
    disk_free_min_mb: int = whole(500, 0, 10_000_000, "less free space alerts; 0: off")
    memory_max_mb: int = whole(2048, 0, 10_000_000, "more memory of the process alerts; 0: off")
    kernel_lag_warn_ms: int = whole(
        1000, 0, 60_000, "a step that comes later than due by more is told; 0: off"
    )
    performance_snapshot_minutes: int = whole(
        60, 0, 1440, "between snapshots of the results; 0: off"
    )
