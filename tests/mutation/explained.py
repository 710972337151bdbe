"""The survivors that are explained: mutants that cannot or need not be noticed, each with a reason.

`survivors.toml` holds `[[explained]]` tables: `reason`, and `mutants`, the names that share it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

FILE = Path(__file__).with_name("survivors.toml")


def explained(path: Path = FILE) -> dict[str, str]:
    """The reason of each explained survivor, by the mutant's name.

    Raises:
        ValueError: A reason is missing or a name comes twice.
    """
    found: dict[str, str] = {}
    for part in tomllib.loads(path.read_text(encoding="utf-8")).get("explained", ()):
        reason, names = part["reason"], part["mutants"]
        if not reason.endswith("."):
            raise ValueError(f"the reason is no sentence: {reason!r}")
        for name in names:
            if name in found:
                raise ValueError(f"explained twice: {name}")
            found[name] = reason
    return found
