"""The determinism gate: the same command in two unlike processes must print the same digests.

    .venv/bin/python .ci/determinism.py -- run_sim.py scenario --json

runs `run_sim.py scenario --json` twice at the same time. The second process differs from the first
in what must not matter: PYTHONHASHSEED, the wall-clock date (freezegun), the time zone, the
addresses that the allocator hands out (a prelude of junk allocations), and the process id.

The command prints JSON on stdout: one document, or one object a line. Every value under a key
`digest` or ending in `_digest`, at any depth, is compared by its place; a list entry with a `name`
is placed by that name. `{out}` in the command is replaced by a file name, a folder of its own for
each process; if it is used, the JSON is read from there instead of stdout.

Exit codes: 0 all digests agree; 10 some differ; 11 nothing could be compared: a run failed, or
printed no JSON, or no digest; 2 usage.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOWN_MAX = 20


@dataclass(frozen=True)
class Surroundings:
    """What differs between the two processes and must not matter."""

    name: str
    hash_seed: int
    time_zone: str
    date: str
    junk: int


SURROUNDINGS = (
    Surroundings("first", hash_seed=1, time_zone="UTC", date="", junk=0),
    Surroundings(
        "second",
        hash_seed=20_477,
        time_zone="Pacific/Chatham",
        date="2031-02-28T23:59:58Z",
        junk=100_003,
    ),
)


class RunFailed(Exception):
    """A run gave no digests to compare."""


def main(arguments: list[str]) -> int:
    """Run the command of *arguments* in both surroundings; the exit code."""
    parser = argparse.ArgumentParser(prog="determinism.py", description="run twice and compare")
    parser.add_argument("command", nargs="+", help="a Python script and its arguments, after --")
    command = parser.parse_args(arguments).command
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (Run(command, each, Path(scratch)) for each in SURROUNDINGS)
        first.start()
        second.start()
        try:
            return verdict(first.digests(), second.digests())
        except RunFailed as failure:
            print(f"determinism: {failure}", file=sys.stderr)
            return 11
        finally:
            first.stop()
            second.stop()


class Run:
    """One process of the command in its surroundings."""

    def __init__(self, command: list[str], surroundings: Surroundings, scratch: Path) -> None:
        """*scratch* is where the file of `{out}` goes."""
        self._surroundings = surroundings
        self._out = scratch / f"{surroundings.name}.json"
        self._command = [part.replace("{out}", str(self._out)) for part in command]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process and return at once, so that both runs share the processors."""
        each = self._surroundings
        prelude = str(ROOT / ".ci" / "surroundings.py")
        self._process = subprocess.Popen(
            [sys.executable, prelude, f"--date={each.date}", f"--junk={each.junk}", *self._command],
            env=dict(os.environ, PYTHONHASHSEED=str(each.hash_seed), TZ=each.time_zone),
            stdout=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> None:
        """End the process if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def digests(self) -> dict[str, str]:
        """Wait for the end of the run; place → digest.

        Raises:
            RunFailed: The run failed, what it printed is no JSON, or there is no digest in it.
        """
        assert self._process is not None, "start() comes first"
        name = self._surroundings.name
        printed, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise RunFailed(f"the {name} run ended with exit code {self._process.returncode}")
        try:
            found = documents(self._out.read_text("utf-8") if self._out.exists() else printed)
        except json.JSONDecodeError as error:
            raise RunFailed(f"the {name} run printed no JSON: {error}") from error
        places: dict[str, str] = {}
        for place, digest in (pair for document in found for pair in walk(document, "")):
            if places.setdefault(place, digest) != digest:
                raise RunFailed(f"the {name} run has two digests at {place}")
        if not places:
            raise RunFailed(f"the {name} run printed no digest: nothing was compared")
        return places


def documents(text: str) -> list[object]:
    """One JSON document, or one a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def walk(node: object, place: str) -> Iterator[tuple[str, str]]:
    """All digests under *node*, in the order of the document."""
    if isinstance(node, dict):
        place = "/".join(part for part in (place, label(node)) if part)
        for key, value in node.items():
            if key == "digest" or key.endswith("_digest"):
                yield f"{place}/{key}", str(value)
            else:
                yield from walk(value, f"{place}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            named = isinstance(value, dict) and label(value)
            yield from walk(value, place if named else f"{place}/{index}")


def label(node: dict[str, object]) -> str:
    """What distinguishes an entry of a list from the others."""
    keys = ("name", "scenario", "venue", "level", "seed")
    return " ".join(str(node[key]) for key in keys if isinstance(node.get(key), str | int))


def verdict(first: dict[str, str], second: dict[str, str]) -> int:
    """Print what differs; the exit code."""
    places = list(dict.fromkeys([*first, *second]))
    differing = [place for place in places if first.get(place) != second.get(place)]
    for place in differing[:SHOWN_MAX]:
        print(f"determinism: {place}: {first.get(place, 'absent')} {second.get(place, 'absent')}")
    if len(differing) > SHOWN_MAX:
        print(f"determinism: ... and {len(differing) - SHOWN_MAX} more")
    print(f"determinism: {len(places)} digests compared, {len(differing)} differ")
    return 10 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
