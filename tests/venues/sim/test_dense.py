import subprocess
import sys

PROBE = """
import sys
import venues.sim.dense
shared = [n for n in sys.modules if n.startswith("venues.sim.")]
print(" ".join(sorted(shared)))
"""


def test_the_dense_service_shares_no_search_with_the_sparse_one():
    """An oracle that used the index would agree with its mistakes."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = [name.removeprefix("venues.sim.") for name in done.stdout.split()]
    assert "dense_lanes" in loaded
    assert not [n for n in loaded if n in ("index", "lanes", "prices", "ticks", "bar_series")]
