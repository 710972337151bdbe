"""Run a Python script in a process that differs from others in what must not matter.

    surroundings.py [--date 2031-02-28T23:59:58Z] [--junk 100003] script.py [arguments]

`--date` moves every wall clock to that date (freezegun; it goes on ticking). `--junk` allocates
that many objects of many sizes and frees every other one, so that later objects get other addresses
in another order than without it. PYTHONHASHSEED and TZ are the caller's business: they are read
before the first line of a script runs.
"""

import argparse
import gc
import runpy
import sys
from pathlib import Path

import freezegun

CLOCKS_LEFT_ALONE = ["threading", "queue", "selectors", "subprocess", "multiprocessing"]


def main(arguments: list[str]) -> None:
    """Run the script that *arguments* name; its exit code is the process's."""
    parser = argparse.ArgumentParser(prog="surroundings.py")
    parser.add_argument("--date", default="", help="the wall-clock date to start from, UTC")
    parser.add_argument("--junk", type=int, default=0, help="how many objects to allocate before")
    parser.add_argument("script", help="the script to run as __main__")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    options = parser.parse_args(arguments)

    kept = scatter(options.junk)
    sys.argv = [options.script, *options.arguments]
    sys.path[0] = str(Path(options.script).resolve().parent)
    if options.date:
        with freezegun.freeze_time(options.date, tick=True, ignore=CLOCKS_LEFT_ALONE):
            runpy.run_path(options.script, run_name="__main__")
    else:
        runpy.run_path(options.script, run_name="__main__")
    del kept  # alive until here, or the addresses would be free again


def scatter(count: int) -> list[object]:
    """Fill the allocator's pools and leave holes in them; what stays must be kept alive."""
    gc.collect()
    junk: list[object] = [bytearray(16 + 8 * (number % 61)) for number in range(count)]
    junk += [{str(number): object()} for number in range(count // 4)]
    return junk[::2]


if __name__ == "__main__":
    main(sys.argv[1:])
