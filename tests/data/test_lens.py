"""Crops straight from pictures as they were taken, against whole pictures that are undone first."""

import cv2
import numpy as np
import pytest

from mask_sup.data.lens import crop_square, mask_box, outside, straight_crop, straight_mask
from mask_sup.data.moments import View, crop_view
from mask_sup.files.pictures import Picture

W, H = 480, 320
K = np.array([[400.0, 0.0, 247.3], [0.0, 410.0, 151.6], [0.0, 0.0, 1.0]])
LENSES = {
    "ideal": np.zeros(5),
    "barrel": np.array([-0.35, 0.12, 0.004, -0.006, 0.02]),
    "cushion": np.array([0.3, -0.05, -0.003, 0.002, 0.0]),
    "folding": np.array([-0.9, 0.0, 0.0, 0.0, 0.0]),  # turns back inside of the picture
}
BOXES = {
    "inside": (150.0, 60.0, 200.0),
    "small": (201.0, 133.0, 40.0),
    "over the left": (-70.0, 30.0, 261.0),
    "over the corner": (301.0, 155.0, 250.0),
    "all of it": (-48.0, -128.0, 576.0),
}


def undone(picture, distortion):
    """The whole picture, undone by OpenCV at pixel centres: the reference."""
    if not distortion.any():
        return picture
    centred = K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return cv2.undistort(picture, centred, distortion)


@pytest.fixture(scope="module")
def picture():
    """Smooth colours with fine structure, as cameras see."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (H // 32, W // 32, 3), dtype=np.uint8)
    fine = rng.normal(0, 6, (H, W, 3))
    smooth = cv2.resize(coarse, (W, H), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + fine, 0, 255).astype(np.uint8)


def written(folder, picture, suffix):
    path = folder / f"picture{suffix}"
    assert cv2.imwrite(str(path), picture[..., ::-1])
    return path


@pytest.mark.parametrize("lens", ["ideal", "barrel", "cushion"])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [32, 128, 300])
def test_a_crop_is_that_of_the_whole_picture_undone(tmp_path, picture, lens, box, size):
    path, distortion = written(tmp_path, picture, ".png"), LENSES[lens]
    expected = crop_square(undone(picture, distortion), BOXES[box], size).astype(int)
    found = straight_crop(Picture(path), K, distortion, BOXES[box], size)
    difference = np.abs(found - expected)
    assert difference.max() <= 6  # places are rounded to 1/32 of a pixel, here and there otherwise
    assert difference.mean() < 0.2
    assert ((found > 0).any(-1) == (expected > 0).any(-1)).mean() > 0.99  # as black beyond it


@pytest.mark.parametrize("lens", ["ideal", "barrel", "cushion"])
@pytest.mark.parametrize("box", ["inside", "over the left", "over the corner", "all of it"])
def test_a_jpeg_that_is_decoded_coarsely_shrinks_to_the_same(tmp_path, picture, lens, box):
    path, distortion, size = written(tmp_path, picture, ".jpg"), LENSES[lens], 32
    found = straight_crop(Picture(path), K, distortion, BOXES[box], size).astype(int)
    whole, step = Picture(path).pixels()
    assert step == 1
    assert Picture(path).pixels(BOXES[box][2] / 64)[1] > 1  # it is decoded coarsely
    expected = crop_square(undone(whole, distortion), BOXES[box], size).astype(int)
    inner = cv2.erode((expected > 0).any(-1).astype(np.uint8), np.ones((3, 3))) > 0
    difference = np.abs(found - expected)[inner]
    assert difference.mean() < 2
    assert difference.max() < 16


def test_fine_structure_is_averaged_not_picked(tmp_path):
    stripes = np.zeros((H, W, 3), np.uint8)
    stripes[:, ::2] = 255  # one pixel wide: any picking of pixels gives bands of black and white
    for suffix in (".png", ".jpg"):
        path = written(tmp_path, stripes, suffix)
        for lens in ("ideal", "barrel"):
            crop = straight_crop(Picture(path), K, LENSES[lens], BOXES["inside"], 25)
            assert np.abs(crop.astype(int) - 127).max() < 20


@pytest.mark.parametrize("lens", ["ideal", "barrel", "cushion"])
@pytest.mark.parametrize(("suffix", "size"), [(".png", 200), (".jpg", 200), (".jpg", 25)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_ramp_tells_that_pixels_come_from_where_they_should(tmp_path, lens, suffix, size, axis):
    (left, top, _), slope = BOXES["inside"], 1.197  # levels a pixel: not all are rounded alike
    start = (left, top)[axis] - 5
    ramp = np.clip(slope * (np.indices((H, W))[1 - axis] + 0.5 - start), 0, 255).round()
    levels = []
    for grey in (ramp, 255 - ramp):  # what is rounded up there is rounded down here
        path = written(tmp_path, np.repeat(grey[..., None], 3, 2).astype(np.uint8), suffix)
        crop = straight_crop(Picture(path), K, LENSES[lens], BOXES["inside"], size)
        levels.append(crop[..., 0].astype(float))
    levels = (levels[0] + 255 - levels[1]) / 2
    x, y = np.meshgrid(np.arange(200) + 0.5 + left, np.arange(200) + 0.5 + top)
    rays = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], 1) @ np.linalg.inv(K).T
    taken = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), K, LENSES[lens])[0][:, 0, axis]
    taken = taken.reshape(size, 200 // size, size, 200 // size).mean((1, 3))
    off = (levels / slope + start - taken).mean()
    assert abs(off) < 0.1  # of a pixel of the picture


SHAPES = {
    "middle": ((240, 160), (40, 90), 20),
    "left border": ((10, 150), (35, 80), 0),
    "corner": ((455, 300), (50, 60), 45),
    "dot": ((120, 200), (2, 2), 0),
    "everywhere": ((240, 160), (600, 600), 0),
}


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_and_its_box_are_those_of_the_whole_mask_undone(shape, lens):
    mask = cv2.ellipse(np.zeros((H, W), np.uint8), *SHAPES[shape], 0, 360, 255, -1)
    whole, part = undone(mask, LENSES[lens]), straight_mask(mask, K, LENSES[lens])
    again = np.zeros_like(mask)
    h, w = part.pixels.shape
    again[part.top : part.top + h, part.left : part.left + w] = part.pixels
    if lens != "folding":  # there the reference sees people twice
        assert np.abs(again.astype(int) - whole).max() <= 24  # OpenCV's maps: 1/32 of a pixel
        assert part.box(1.2) == pytest.approx(mask_box(whole, 1.2), abs=1)
        np.testing.assert_allclose(
            part.crop(part.box(1.2), 64).astype(int), crop_square(whole, part.box(1.2), 64), atol=24
        )
    if lens in ("barrel", "cushion") and shape == "middle":
        assert again.size > 3 * part.pixels.size  # no more than needed is made


def test_where_a_lens_cannot_be_undone_the_whole_mask_is_made():
    mask = cv2.ellipse(np.zeros((H, W), np.uint8), (20, 20), (15, 15), 0, 0, 360, 255, -1)
    part = straight_mask(mask, K, LENSES["folding"])
    assert part.pixels.shape == mask.shape
    assert np.abs(part.pixels.astype(int) - undone(mask, LENSES["folding"])).max() <= 24


def test_a_mask_without_anybody_stays_empty():
    part = straight_mask(np.zeros((H, W), np.uint8), K, LENSES["barrel"])
    assert not part.pixels.any()


def test_the_size_of_a_picture_comes_with_its_crop(tmp_path, picture):
    mask = cv2.ellipse(np.zeros((H, W), np.uint8), *SHAPES["middle"], 0, 360, 255, -1)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    for suffix in (".jpg", ".png"):
        camera = {"K": K, "R": np.eye(3), "t": np.zeros(3), "distortion": LENSES["barrel"]}
        view = View(written(tmp_path, picture, suffix), tmp_path / "mask.png", **camera)
        assert crop_view(view, 32, 32, 1.2, True).size == (W, H)


@pytest.mark.parametrize("lens", ["ideal", "barrel", "cushion"])
@pytest.mark.parametrize("name", BOXES)
def test_what_lies_outside_of_the_picture_is_black_in_the_crop_of_a_white_one(lens, name):
    white = undone(np.full((H, W), 255, np.uint8), LENSES[lens])
    left, top, side = BOXES[name]
    shown = crop_square(white, BOXES[name], 32) > 127
    found = ~outside(K, LENSES[lens], (W, H), BOXES[name], 32)
    assert (shown == found).mean() > 0.98  # all but pixels that the border crosses
    assert found.all() == (shown.all() or abs(found.mean() - 1) < 0.01)
