"""All sections together: every name with its value, each checked by itself."""

from __future__ import annotations

from kernel.config.connections import Connections
from kernel.config.fields import Section
from kernel.config.protection import Aged, Guard, Stops, Trailing
from kernel.config.trading import EntryTimes, Limits, Waves
from kernel.config.upkeep import Agreement, Health, Zombies

SECTIONS: tuple[type[Section], ...] = (
    Connections, Waves, Limits, EntryTimes, Stops, Trailing, Aged, Zombies, Guard, Agreement,
    Health,
)  # fmt: skip
"""In the order of the specification."""

OUTSIDE = tuple(Connections.model_fields)
"""Secrets, hosts and logging: the kernel decides nothing by them, so they enter no journal."""


class Values(
    Health, Agreement, Guard, Zombies, Aged, Trailing, Stops, EntryTimes, Limits, Waves, Connections
):
    """The values of all sections; its bases stand last to first, so that its fields do not."""
