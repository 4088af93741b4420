"""Order and numbers of files by their names; what is right is known from how names are made."""

from pathlib import Path

import numpy as np
import pytest

from mask_sup.files.names import (
    check_paired,
    check_steps,
    frame_numbers,
    natural_order,
    numbered,
)


def paths(pattern, numbers, folder="d"):
    return [Path(folder) / pattern.format(i) for i in numbers]


PATTERNS = {
    "{}.png": "bare",
    "{:06d}.png": "padded",
    "cam1_take2_{:04d}.png": "others stay",
    "frame_{}_1920x1080.png": "others stay behind it",
    "IMG_{:05d}.JPG": "five digits",
    "frame_{0:04d}_t{0}.5.png": "two count up",
}


@pytest.mark.parametrize("pattern", PATTERNS, ids=PATTERNS.values())
def test_names_come_in_the_order_of_their_numbers(pattern):
    numbers = sorted(set(np.random.default_rng(0).integers(0, 3000, 200).tolist()))
    made = paths(pattern, numbers)
    assert natural_order(np.random.default_rng(1).permutation(made)) == made
    assert frame_numbers(made) == numbers


def test_zeros_in_front_do_not_count():
    names = ["2.png", "010.png", "0001.png", "10.jpg"]
    assert natural_order(names) == ["0001.png", "2.png", "10.jpg", "010.png"]


def test_a_name_goes_before_those_that_begin_with_it():
    assert natural_order(["a1.png", "a.png", "b.png"]) == ["a.png", "a1.png", "b.png"]


def test_a_number_that_starts_again_every_second_is_not_that_of_the_frame():
    """Seconds and hundredths: 0.98, 0.99, 1.00, ... with the number of the frame before them."""
    made = [Path(f"frame{i}_at{i // 100}.{i % 100:02d}.png") for i in range(95, 130)]
    assert frame_numbers(natural_order(made)) == list(range(95, 130))


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["cam1_take2_0007.png"], [7]),
        (["person.png"], None),
        (["anna.png", "ben.png"], None),
        (["take1_0.png", "take1_1.png", "take2_0.png", "take2_1.png"], None),
        (["0.png", "1.png", "preview.png"], None),
        ([], []),
    ],
)
def test_numbers_of_few_or_strange_names(names, numbers):
    assert frame_numbers([Path(name) for name in names]) == numbers


@pytest.mark.parametrize("twice", [["7.png", "007.png"], ["7.jpg", "7.png"]])
def test_two_files_of_one_frame_are_named(twice):
    made = natural_order([Path(name) for name in (*twice, "8.png")])
    with pytest.raises(ValueError, match=r"7\.png .*are of one frame: delete one"):
        frame_numbers(made)


def test_places_count_where_names_have_no_numbers():
    names = [Path("anna.png"), Path("ben.png")]
    assert numbered(names) == dict(enumerate(names))
    assert numbered(paths("{}.png", [3, 5])) == {3: Path("d/3.png"), 5: Path("d/5.png")}
    with pytest.raises(ValueError, match=r"preview\.png has no frame number .*take it away"):
        numbered([*paths("{}.png", [3, 5]), Path("preview.png")])


# ---- pairs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pictures", "masks"),
    [
        (paths("{}.jpg", range(12)), paths("{:06d}.png", range(12))),
        (paths("cam1_{}.jpg", [3, 7, 20]), paths("cam1_mask2_{}.png", [3, 7, 20])),
        (paths("{}.jpg", ["anna", "ben"]), paths("{}.png", ["anna", "ben"])),
        ([Path("photo_2041.jpg")], [Path("mask_1.png")]),
    ],
)
def test_names_of_the_same_frames_go_together(pictures, masks):
    check_paired(pictures, masks)


def test_a_shift_tells_how_to_rename():
    pictures, masks = paths("{:06d}.jpg", range(50), "f"), paths("{:06d}.png", range(1, 51), "m")
    with pytest.raises(ValueError, match="go together by the numbers") as told:
        check_paired(pictures, masks)
    _, first, second, advice = str(told.value).splitlines()
    assert first == "  pictures 0 to 49, 50 files in f"
    assert second == "  masks    1 to 50, 50 files in m"
    assert "its picture +1; if they are of the same frames, rename" in advice
    assert "000001.png to 000000.png and so on" in advice


def test_frames_of_one_side_alone_are_listed():
    pictures, masks = paths("{}.jpg", [0, 1, 2, 4]), paths("{}.png", [0, 1, 3, 4])
    with pytest.raises(ValueError, match="without a mask: 2; masks without a picture: 3; make"):
        check_paired(pictures, masks)


@pytest.mark.parametrize("masks", [["ben", "cleo"], ["0", "1"]])
def test_names_without_numbers_have_to_be_equal(masks):
    with pytest.raises(ValueError, match=r"one side has no numbers(.|\n)*without a mask: anna"):
        check_paired(paths("{}.jpg", ["anna", "ben"]), paths("{}.png", masks))


def test_cameras_may_count_from_anywhere_but_in_the_same_steps():
    cameras = {"a": paths("{}.png", range(5)), "b": paths("{}.png", range(70, 77))}
    check_steps(cameras | {"c": paths("{}.png", ["x", "y"])})
    cameras["b"] = paths("{}.png", [70, 71, 73, 74, 75])
    with pytest.raises(ValueError, match="'a' and 'b' are not of the same moments") as told:
        check_steps(cameras)
    assert "after d/1.png comes 2.png" in str(told.value)
    assert "after d/71.png comes 73.png" in str(told.value)
