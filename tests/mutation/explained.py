"""The survivors that are explained: mutants that cannot or need not be noticed, each with a reason.

`survivors/` has a file a module (`trade_limiter.toml` is of `kernel/trade/limiter.py`) with
`[[explained]]` tables: `reason`, and `mutants`, the names that share it. docs/mutation.md says how
names are made; the end of a run tells entries whose mutant is gone or killed.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

FOLDER = Path(__file__).with_name("survivors")


def explained(folder: Path = FOLDER) -> dict[str, str]:
    """The reason of each explained survivor, by the mutant's name.

    Raises:
        ValueError: A reason is missing, a name comes twice or stands in another module's file.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.toml")):
        module = f"kernel/{path.stem.replace('_', '/', 1)}.py::"
        for part in tomllib.loads(path.read_text(encoding="utf-8")).get("explained", ()):
            reason, names = part["reason"], part["mutants"]
            if not reason.endswith("."):
                raise ValueError(f"{path.name}: the reason is no sentence: {reason!r}")
            for name in names:
                if name in found:
                    raise ValueError(f"{path.name}: explained twice: {name}")
                if not name.startswith(module):
                    raise ValueError(f"{path.name}: of another module: {name}")
                found[name] = reason
    return found
