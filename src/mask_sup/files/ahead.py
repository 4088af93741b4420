"""Work on a row of things in threads, a few of them ahead of whoever takes the results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TypeVar

import cv2

__all__ = ["ahead", "unsplit"]

Item = TypeVar("Item")
Result = TypeVar("Result")
EACH = 2  # jobs that are begun or done and not taken, for each thread: memory is that of so many


@contextmanager
def ahead(job: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Iterator[Result]]:
    """Results of a job that leaves Python alone for most of its time, in the order of its items.

    There are as many threads as PyTorch has, and each job is `unsplit`. The error of an item is
    raised in its turn, after the results before it; at the end of `with` no thread is left behind.

    >>> with ahead(str, range(3)) as results:
    ...     print(list(results))
    ['0', '1', '2']
    """
    import torch

    threads = torch.get_num_threads()
    with unsplit(), closing(_results(job, items, threads)) as results:
        yield results


@contextmanager
def unsplit() -> Iterator[None]:
    """PyTorch and OpenCV split no work among threads meanwhile.

    The parts of small work take less time than they wait for each other, most of all where other
    programs run.
    """
    import torch

    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def _results(
    job: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    import torch

    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, "ahead", torch.set_num_threads, (1,))
    try:
        for item in items:
            waiting.append(pool.submit(job, item))
            if len(waiting) == EACH * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
