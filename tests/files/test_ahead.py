"""Work ahead in threads: order, bounds, errors, and nothing left behind."""

import threading

import cv2
import pytest
import torch

from mask_sup.files.ahead import EACH, ahead

THREADS = 4


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(2)
    torch.set_num_threads(THREADS)
    yield
    assert (cv2.getNumThreads(), torch.get_num_threads()) == (2, THREADS)
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_results_keep_the_order_whoever_is_first_done():
    late = threading.Event()

    def job(i):
        if i == 0:
            late.wait(5)
        if i == 1:
            late.set()
        return i * i

    with ahead(job, range(100)) as results:
        assert list(results) == [i * i for i in range(100)]


def test_no_more_than_a_few_are_ahead():
    started = []
    with ahead(lambda i: started.append(i) or i, range(1000)) as results:
        for taken in range(200):
            assert next(results) == taken
            assert len(started) <= taken + EACH * THREADS


def test_an_error_comes_in_its_turn_as_it_is():
    def job(i):
        if i == 3:
            raise ValueError("unreadable picture 3: replace it")
        return i

    with ahead(job, range(50)) as results:
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match=r"^unreadable picture 3: replace it$"):
            next(results)


def test_whoever_stops_early_leaves_no_thread():
    with ahead(str, range(50)) as results:
        assert next(results) == "0"


def test_things_that_end_with_an_error_end_with_it():
    def items():
        yield 1
        raise OSError("the disk is gone")

    with ahead(str, items()) as results, pytest.raises(OSError, match="the disk is gone"):
        list(results)


def test_jobs_run_on_one_thread_each():
    with ahead(lambda _: (cv2.getNumThreads(), torch.get_num_threads()), range(20)) as results:
        assert set(results) == {(1, 1)}
