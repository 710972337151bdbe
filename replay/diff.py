"""Decision diff: the same journal, played by the code of another checkout.

The other checkout plays the journal in a process of its own, with `journal replay --other-commit`
of its own command line; its verdict is read as JSON.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from kernel.errors import SettingsError
from replay.outside import run_python
from replay.played import Played

COMMAND = "run_sim.py"


def against(journal: Path, checkout: Path) -> Played:
    """What the code of `checkout` does with a journal.

    Raises:
        SettingsError: It is no checkout, or it cannot play the journal; in its own words.
    """
    if not (checkout / COMMAND).is_file() or not (checkout / "kernel").is_dir():
        raise SettingsError(
            [f"--against {checkout}: must be a checkout of this project, with {COMMAND} in it"]
        )
    arguments = ["journal", "replay", str(journal.resolve()), "--other-commit", "--json", "--all"]
    done = run_python(checkout.resolve(), [COMMAND, *arguments])
    try:
        return msgspec.json.decode(done.out, type=Played)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        told = done.err.strip().splitlines() or [f"it says nothing ({error})"]
        raise SettingsError([f"--against {checkout}: {line}" for line in told]) from error
