"""The processes of `-j`: every job in a fresh interpreter, results in the order of the jobs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor


def each[J, R](jobs: list[J], work: Callable[[J], R], *, processes: int) -> Iterator[R]:
    """Results of `work` over the jobs, in their order, whatever the number of processes.

    Args:
        jobs: What to do; picklable where there is more than one process.
        work: A function of a module.
        processes: 1 runs everything here, one after the other.
    """
    if processes <= 1 or len(jobs) <= 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")
    chunk = max(1, min(8, len(jobs) // (processes * 4)))
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context) as pool:
        yield from pool.map(work, jobs, chunksize=chunk)
