"""Masks that show no person are told from masks of persons by construction."""

import cv2
import numpy as np
import pytest

from mask_sup.geometry.degenerate import DEGENERATE, degenerate, frozen, sketch

SIZE = (120, 160)


def person(x=80, size=SIZE, height=70):
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, (x, size[0] // 2), (height // 4, height // 2), 0, 0, 360, 1, -1)
    return mask > 0


def share_of(fraction):
    """A mask of whole rows from the top, that share of the picture."""
    mask = np.zeros((1000, 1000), bool)
    mask[: round(1000 * fraction)] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "word"),
    [
        (person(), None),
        (person(height=200), None),  # near: fills the picture but for its sides
        (person(x=0, height=110), None),  # cut off
        (np.zeros(SIZE, bool), "empty"),
        (np.ones(SIZE, bool), "white"),
        (share_of(0.9995), "white"),
        (~person(), "inverted"),
        (~person(x=0, height=110), "inverted"),  # and cut off
        (~np.roll(person(), 60, axis=0), "inverted"),
        (~person(height=10), "inverted"),
        (share_of(0.45), None),
    ],
)
def test_a_mask_is_told_by_what_it_covers(mask, word):
    assert degenerate(mask) == word
    assert word in (None, *DEGENERATE)


def walk(count=12, still=()):
    """Sketches of somebody who walks; in the frames `still` the mask of the first of them stays."""
    return [sketch(person(20 + 8 * (still[0] if i in still else i))) for i in range(count)]


def test_a_mask_that_stays_while_another_camera_sees_movement_is_frozen():
    still = range(4, 9)
    assert frozen([walk(), walk(still=still), walk()]) == [set(), set(still), set()]


def test_who_stands_still_for_all_cameras_is_not_frozen():
    still = range(4, 9)
    assert frozen([walk(still=still), walk(still=still)]) == [set(), set()]


def test_one_camera_alone_tells_nothing_of_movement():
    assert frozen([walk(still=range(12))]) == [set()]


def test_a_small_movement_elsewhere_accuses_nobody():
    """A pixel of a person of 35 in two frames: less than a tenth of the two masks together."""
    other = [sketch(person(60)), sketch(person(61))]
    assert frozen([[sketch(person())] * 2, other]) == [set(), set()]


def test_moments_without_a_mask_part_two_runs_and_others_may_be_shorter():
    rows = walk(still=range(4, 9))
    rows[6] = None
    assert frozen([rows, walk()[:10]])[0] == {4, 5, 7, 8}
    assert frozen([walk(still=(10, 11)), walk()[:10]])[0] == set()
    assert frozen([[None] * 5, walk(5)]) == [set(), set()]
