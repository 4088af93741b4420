"""Work ahead in threads: order, bounds, errors, and nothing left behind."""

import threading
from contextlib import closing

import pytest

from mask_sup.files import ahead as module
from mask_sup.files.ahead import ahead


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_results_keep_the_order_whoever_is_first_done():
    late = threading.Event()

    def job(i):
        if i == 0:
            late.wait(5)
        if i == 1:
            late.set()
        return i * i

    assert list(ahead(job, range(100))) == [i * i for i in range(100)]


def test_no_more_than_a_few_are_ahead():
    started = []
    with closing(ahead(lambda i: started.append(i) or i, range(1000))) as results:
        for taken in range(200):
            assert next(results) == taken
            assert len(started) <= taken + 1 + module.WAITING


def test_an_error_comes_in_its_turn_as_it_is():
    def job(i):
        if i == 3:
            raise ValueError("unreadable picture 3: replace it")
        return i

    results = ahead(job, range(50))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"^unreadable picture 3: replace it$"):
        next(results)


def test_whoever_stops_early_leaves_no_thread():
    with closing(ahead(str, range(50))) as results:
        assert next(results) == "0"


def test_things_that_end_with_an_error_end_with_it():
    def items():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(ahead(str, items()))
