"""A progress bar for long reads: on stderr, and only where a person looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from replay.problems import Report
from replay.sources import data_files


@contextmanager
def file_progress(
    paths: list[Path], *, quiet: bool
) -> Iterator[Callable[[Path], None] | None]:
    """A function to call with each file that is about to be read; None where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  only a terminal pays for it
    from rich.progress import Progress  # noqa: PLC0415

    total = len(data_files(paths, Report()))
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=total)

        def advance(path: Path) -> None:
            bar.update(task, advance=1, description=path.name)

        yield advance
