"""Boxes as they are given, by name and through a lens, and boxes around joints."""

import cv2
import numpy as np
import pytest

from mask_sup.data.boxes import box_around, with_boxes
from mask_sup.data.images import uncalibrated_view
from mask_sup.data.lens import straight_box
from mask_sup.data.moments import NOBODY, Crop, Moment, View, check_views, crop_view

W, H = 240, 160
K = np.array([[300.0, 0.0, 121.0], [0.0, 310.0, 83.0], [0.0, 0.0, 1.0]])
BARREL = np.array([-0.35, 0.12, 0.004, -0.006, 0.02])
FOLDING = np.array([-3.0, 0.0, 0.0, 0.0, 0.0])  # turns back inside of the picture
BOX = (90.0, 40.0, 50.0, 80.0)
STEP = 0.25  # of a pixel
LABEL = np.full((1, 3), np.nan)


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(0).integers(30, 256, (H, W, 3), dtype=np.uint8)
    cv2.imwrite(str(path), picture)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three pictures, a moment each."""
    views = [uncalibrated_view(put(tmp_path / "in" / f"{i:06d}.png"), None) for i in range(3)]
    return [Moment(view.image.stem, (view,), LABEL) for view in views]


@pytest.fixture
def recording(tmp_path):
    """Two moments in two cameras, the second with a lens."""
    moments, cameras = [], [(K, np.eye(3), np.zeros(3), lens) for lens in (np.zeros(5), BARREL)]
    for i in range(2):
        views = [
            View(put(tmp_path / f"cam{k}" / f"{i:06d}.png"), None, *camera)
            for k, camera in enumerate(cameras)
        ]
        moments.append(Moment(str(i), tuple(views), LABEL))
    return moments


def boxes(moments):
    return [[view.box for view in moment.views] for moment in moments]


def csv(tmp_path, *rows, columns="picture,x,y,width,height"):
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


# ---- which box is whose --------------------------------------------------------------------------


def test_four_numbers_are_the_box_of_all_pictures(folder):
    assert boxes(with_boxes(folder, [90, 40, 50, 80])) == [[BOX]] * 3
    assert boxes(folder) == [[None]] * 3


@pytest.mark.parametrize("name", ["000001.png", "000001", "1", "in/000001.png", "in/1", " 1 "])
def test_a_row_tells_its_picture_by_its_file_or_its_number(tmp_path, folder, name):
    rows = ["0,1,2,30,40", "000002.png,5,6,70,80", f"{name},90,40,50,80", "gone.png,0,0,9,9"]
    found = with_boxes(folder, csv(tmp_path, *rows))
    assert boxes(found) == [[(1, 2, 30, 40)], [BOX], [(5, 6, 70, 80)]]
    assert boxes(with_boxes(folder[1:], str(csv(tmp_path, *rows)))) == boxes(found[1:])


def test_columns_may_come_in_any_order_beside_others(tmp_path, folder):
    path = csv(tmp_path, "0.9,80,50,0,40,90", columns="score,height,width,picture,y,x")
    path.write_text("\ufeff" + path.read_text())  # as spreadsheets write it
    assert boxes(with_boxes(folder[:1], path)) == [[BOX]]


def test_a_camera_alone_tells_of_its_pictures_that_have_no_row(tmp_path, recording):
    rows = ["cam0,1,2,30,40", "cam0/1,5,6,70,80", "cam1,100,60,40,40"]
    found = boxes(with_boxes(recording, csv(tmp_path, *rows)))
    assert [found[0][0], found[1][0]] == [(1, 2, 30, 40), (5, 6, 70, 80)]
    assert found[0][1] == found[1][1]


def test_where_nobody_is_the_numbers_are_left_out(tmp_path, recording):
    found = with_boxes(recording, csv(tmp_path, "cam0,90,40,50,80", "cam1,,,,"))
    assert boxes(found) == [[BOX, NOBODY]] * 2
    crop = crop_view(found[0].views[1], 32, 16, 1.2, False, may_be_empty=True)
    assert not crop.mask.any()
    assert crop.box == (-24.0, -64.0, 288.0)  # all of the picture, as with masks of nobody


def test_pictures_without_a_box_are_named(tmp_path, recording):
    rows = ["cam0,1,2,30,40", "1,5,6,70,80"]  # two cameras have a picture of that number
    message = r"no box for 2 of 4 pictures: cam1/000000\.png, cam1/000001\.png\n.*cam0, 1\n"
    with pytest.raises(ValueError, match=message):
        with_boxes(recording, csv(tmp_path, *rows))


# ---- what is no box ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([90, 40, 50], r"box= \[90, 40, 50\] is no box of four numbers"),
        ([90, 40, 50, "wide"], "is no box of four numbers"),
        ([90, 40, 50, float("nan")], r"nan\] is no box of four numbers"),
        ([90, 40, float("inf"), 80], "is no box of four numbers"),
        ([90, 40, None, 80], "is no box of four numbers"),
        (7, "box= 7 is no box of four numbers"),
        (True, "is no box of four numbers"),
        ({"x": 1}, "is no box of four numbers"),
        ([90, 40, -50, 80], "is -50 wide and 80 high: sides are at least 2 pixels"),
        ([0.1, 0.2, 0.3, 0.4], "neither shares of it, nor its other corner"),
        ([240, 40, 50, 80], r"\[240, 40, 50, 80\] lies for the most part outside of .*240x160"),
        ([-60, 40, 100, 80], "for the most part outside"),
        ([0, 0, 480, 320], "for the most part outside"),  # of a picture twice as large
    ],
)
def test_what_is_no_box_is_told_in_a_few_lines(folder, given, told):
    with pytest.raises(ValueError, match=told) as error:
        with_boxes(folder, given)
    assert "expected left, top, width and height" in str(error.value)
    assert str(error.value).count("\n") in (1, 2)


@pytest.mark.parametrize("given", [[-20, 40, 50, 80], [0, 0, 240, 160], [200, 100, 60, 70]])
def test_a_person_may_be_cut_off_at_the_border(folder, given):
    assert boxes(with_boxes(folder, given)) == [[tuple(given)]] * 3


@pytest.mark.parametrize(
    ("rows", "columns", "told"),
    [
        (["a,1,2,3"], "picture,x,y,width", r"has the columns \[.*\], not \['height'\]"),
        (["a;1;2;3;4"], "picture;x;y;width;height", r"\['picture;x;y;width;height'\], not \['pict"),
        ([], "picture,x,y,width,height", "has no rows"),
        (["0,1,2,30,nan"], None, r"line 2 of .*boxes\.csv: \[1, 2, 30, nan\] is no box of four"),
        (["0,1,,30,40"], None, r"line 2 of .*: \[1, , 30, 40\] is no box of four"),
        (["0,1,2,30"], None, r"line 2 of .*: \[1, 2, 30, None\] is no box of four"),
        (["0,1,2,30,40", "1,1,2,30,-40"], None, "line 3 of .* is 30 wide and -40 high"),
        (
            ["0,1,2,30,40", "0,5,2,30,40"],
            None,
            "line 3 of .*: a second box for 0; keep",
        ),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path, folder, rows, columns, told):
    path = csv(tmp_path, *rows, **({"columns": columns} if columns else {}))
    with pytest.raises(ValueError, match=told):
        with_boxes(folder, path)


def test_a_file_that_is_gone_or_no_text_is_told(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"no file of boxes at .*gone\.csv\n  expected"):
        with_boxes(folder, "gone.csv")
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match=r"boxes\.csv is no CSV file"):
        with_boxes(folder, tmp_path / "boxes.csv")


# ---- through the lens ----------------------------------------------------------------------------


def test_an_ideal_lens_leaves_a_box_as_it_is():
    assert straight_box(BOX, np.full((3, 3), np.nan), np.zeros(5)) == BOX


@pytest.mark.parametrize("box", [BOX, (3.0, 5.0, 60.0, 150.0), (150.5, 90.5, 80.0, 60.0)])
def test_a_box_is_straightened_with_its_sides(box):
    left, top, width, height = box
    x, y = np.meshgrid(np.arange(-40, W + 40, STEP), np.arange(-40, H + 40, STEP))
    ideal = np.stack([x.ravel(), y.ravel()], 1)
    rays = np.concatenate([ideal, np.ones_like(ideal[:, :1])], 1) @ np.linalg.inv(K).T
    taken = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), K, BARREL)[0][:, 0]
    inside = ideal[((taken >= [left, top]) & (taken <= [left + width, top + height])).all(1)]
    found = straight_box(box, K, BARREL)
    np.testing.assert_allclose(found[:2], inside.min(0), atol=2 * STEP)
    np.testing.assert_allclose(np.add(found[:2], found[2:]), inside.max(0), atol=2 * STEP)
    assert np.abs(np.subtract(found, box)).max() > 0.5


def test_a_lens_that_cannot_be_undone_there_is_told(recording):
    views = (recording[0].views[0]._replace(distortion=FOLDING),)
    with pytest.raises(ValueError, match=r"cannot be undone\n  expected .*correct the cali"):
        with_boxes([recording[0]._replace(views=views)], [5, 5, 60, 60])


# ---- the crop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [1.0, 1.2])
def test_the_crop_is_the_box_with_its_padding(folder, padding):
    (view,) = with_boxes(folder[:1], BOX)[0].views
    crop = crop_view(view, 32, 16, padding, False)
    side = 80 * padding
    assert crop.box == (115 - side / 2, 80 - side / 2, side)
    assert crop.size == (W, H)


def test_a_box_of_parts_of_pixels_holds_all_it_touches(folder):
    (view,) = with_boxes(folder[:1], [90.6, 40.2, 49.0, 79.5])[0].views
    assert crop_view(view, 32, 16, 1.0, False).box == (75.0, 40.0, 80.0)  # rows 40 to 119


def test_views_of_one_camera_are_checked_once_whatever_their_boxes(recording, monkeypatch):
    looked = []
    monkeypatch.setattr("mask_sup.data.moments.check_camera", looked.append)
    check_views([m.views[0] for m in with_boxes(recording, BOX)])
    assert len(looked) == 1


# ---- around joints -------------------------------------------------------------------------------


def crop_of(box):
    nothing = np.zeros((1, 1), np.uint8)
    return Crop(nothing, nothing, nothing > 0, box, (W, H))


def test_the_box_is_a_square_about_the_joints():
    crop = crop_of((20.0, 10.0, 100.0))  # crop coordinate 0 is at (70, 60), 1 is 50 pixels
    joints = np.array([[-0.2, -0.6], [0.4, 0.6], [0.0, 0.1]])  # 60 to 90 across, 30 to 90 down
    assert box_around(joints, crop, 1.0) == pytest.approx((45, 30, 60, 60))
    assert box_around(joints, crop, 1.1) == pytest.approx((42, 27, 66, 66))


def test_joints_beyond_the_picture_do_not_lead_away_from_it():
    crop = crop_of((0.0, -40.0, 240.0))
    joints = np.array([[0.0, 0.0], [0.5, 5.0]])  # from (120, 80) to (180, far below)
    assert box_around(joints, crop, 1.0) == pytest.approx((110, 80, 80, 80))


def test_joints_of_one_place_do_not_make_the_box_vanish():
    left, top, width, height = box_around(np.zeros((18, 2)), crop_of((0.0, -40.0, 240.0)), 1.06)
    assert (left + width / 2, top + height / 2) == pytest.approx((120, 80))
    assert width == height == 30  # an eighth of the crop
