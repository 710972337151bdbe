"""The program as a user starts it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_sim(*args):
    return subprocess.run(
        [sys.executable, "run_sim.py", *args], cwd=ROOT, capture_output=True, text=True, check=False
    )
