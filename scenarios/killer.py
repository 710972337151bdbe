"""Cuts commits: the moment at which a kernel's process dies in one, and the death of the server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kernel.model.draws import draw

if TYPE_CHECKING:
    from kernel.store.embedded import EmbeddedServer

MOST_US = 4_000
"""A commit takes about two milliseconds; it is cut within so many microseconds."""
PAUSE_S = 0.005
GONE_TRIES = 4_000


class Killer:
    """Makes what happens between the beginning of a commit and the end of its process.

    Args:
        server: Of the database.
        seed: Of the drawn moments.

    Attributes:
        servers: How often the server was killed.
    """

    def __init__(self, server: EmbeddedServer, seed: int) -> None:
        self._server = server
        self._seed = seed
        self.servers = 0

    def meanwhile(self, nth: int, *, server: bool) -> Callable[[], None]:
        """Wait for a drawn moment; with `server` the server then dies, as by an immediate stop."""
        delay_us = draw(self._seed, "commit cut", nth, MOST_US)

        def act() -> None:
            time.sleep(delay_us / 1_000_000)
            if server:
                self.stop()

        return act

    def repair(self) -> None:
        """Run the server again, where it died; it recovers what was committed."""
        if not self._server.running():
            self._server.restart()

    def stop(self) -> None:
        """What `pg_ctl stop -m immediate` does: SIGQUIT, no checkpoint, no good-bye."""
        number = self._server.process()
        if number is None:  # it is gone already
            return
        os.kill(number, signal.SIGQUIT)
        self.servers += 1
        for _ in range(GONE_TRIES):
            if not self._server.running():
                return
            time.sleep(PAUSE_S)
        self._server.stop_immediately()
