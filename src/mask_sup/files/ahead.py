"""Work on a row of things in threads, a few of them ahead of whoever takes the results."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")
WAITING = 32  # results that wait to be taken: memory is that of so many, however long the row is


def ahead(job: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of a job that leaves Python alone for most of its time, in the order of its items.

    As many run at once as there are cores. The error of an item is raised in its turn, with the
    results before it given; whatever ends the iteration (give it to `contextlib.closing`), no
    thread is left behind.

    >>> list(ahead(str, range(3)))
    ['0', '1', '2']
    """
    pool, waiting = ThreadPoolExecutor(_cores(), "ahead"), deque[Future[Result]]()
    try:
        for item in items:
            waiting.append(pool.submit(job, item))
            if len(waiting) == WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
