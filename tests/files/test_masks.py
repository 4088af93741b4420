"""Every kind of mask file gives the person that was drawn; written by Pillow, read by us."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mask_sup.files.masks import fitted, misfit, read_mask

SIZE = (48, 64)


def person():
    mask = np.zeros(SIZE, np.uint8)
    cv2.ellipse(mask, (30, 24), (9, 18), 20, 0, 360, 1, -1)
    return mask > 0


def soft():
    """Shares of pixels, 0 to 1, whose upper half is the person."""
    return np.clip(cv2.GaussianBlur(person().astype(np.float32), (7, 7), 1.5), 0, 1)


def palette(index, colours):
    picture = Image.fromarray(index.astype(np.uint8), "L").convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette([value for colour in colours for value in colour])
    return picture


def colour(rgb, share=None):
    share = person() if share is None else share
    return Image.fromarray(np.rint(share[..., None] * np.array(rgb)).astype(np.uint8))


def scene(alpha):
    """A picture of anything with an alpha channel."""
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3))
    return Image.fromarray(np.dstack([rgb, alpha]).astype(np.uint8), "RGBA")


def white(alpha):
    rgb = np.full((*SIZE, 3), 255)
    return Image.fromarray(np.dstack([rgb, alpha]).astype(np.uint8), "RGBA")


def grey(values, kind=np.uint8):
    return Image.fromarray(values.astype(kind))


P = person()
KINDS = {
    "0 and 255": grey(P * 255),
    "0 and 1": grey(P),
    "one bit": Image.fromarray(P),
    "one id": grey(P * 38),
    "16 bits, 0 and 1": grey(P, np.uint16),
    "16 bits, 0 and 255": grey(P * 255, np.uint16),
    "16 bits, 0 and 65535": grey(P * 65535, np.uint16),
    "palette of ids": palette(P, [(0, 0, 0), (128, 0, 0), (0, 128, 0)]),
    "palette, background not black": palette(P, [(255, 255, 255), (220, 20, 60)]),
    "palette of grey, white first": palette(~P, [(255, 255, 255), (0, 0, 0)]),
    "palette of ids in grey": palette(P, [(i, i, i) for i in range(256)]),
    "palette that is all black": palette(P, [(0, 0, 0)] * 256),
    "palette, colour on clear": palette(P, [(0, 0, 0), (128, 0, 0)]),
    "light colour": colour((229, 218, 158)),
    "dark colour": colour((31, 119, 180)),
    "pure blue": colour((0, 0, 255)),
    "cut out": scene(P * 255),
    "white on clear": white(P * 255),
    "black and white, opaque": Image.merge("RGBA", [grey(P * 255)] * 3 + [grey(P * 0 + 255)]),
    "grey on clear": Image.merge("LA", [grey(P * 200), grey(P * 255)]),
    "soft": grey(np.rint(soft() * 255)),
    "soft, 16 bits": grey(np.rint(soft() * 65535), np.uint16),
    "soft, 8 bits in 16": grey(np.rint(soft() * 255), np.uint16),
    "soft colour": colour((31, 119, 180), soft()),
    "soft alpha": scene(np.rint(soft() * 255)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_the_same_person(tmp_path, kind):
    picture = KINDS[kind]
    extra = {"transparency": 0} if kind == "palette, colour on clear" else {}
    picture.save(tmp_path / "mask.png", **extra)
    found = read_mask(tmp_path / "mask.png")
    assert (found.dtype, found.shape) == (np.uint8, SIZE)
    expected = soft() * 255 if "soft" in kind else P * 255
    np.testing.assert_allclose(found, expected, atol=2.0)  # a colour rounds more coarsely


@pytest.mark.parametrize("ending", ["jpg", "tif", "bmp"])
@pytest.mark.parametrize("rgb", [(255, 255, 255), (229, 218, 158), (31, 119, 180)])
def test_other_formats_and_compression_do_as_well(tmp_path, ending, rgb):
    large = cv2.resize(P.astype(np.uint8), None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    colour(rgb, large).save(tmp_path / f"mask.{ending}")
    found = read_mask(tmp_path / f"mask.{ending}") > 127
    assert (found != (large > 0)).mean() < 0.005


def test_shares_of_one_in_floating_point_are_soft(tmp_path):
    Image.fromarray(soft(), "F").save(tmp_path / "mask.tif")
    np.testing.assert_allclose(read_mask(tmp_path / "mask.tif"), soft() * 255, atol=0.51)


@pytest.mark.parametrize("full", [1, 255])
def test_a_mask_that_is_white_is_read_as_it_is(tmp_path, full):
    grey(np.full(SIZE, full)).save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png") == 255).all()


@pytest.mark.parametrize("kind", ["grey", "cut out", "palette"])
def test_nobody_is_an_error_unless_allowed(tmp_path, kind):
    nobody = np.zeros(SIZE)
    made = {"grey": grey(nobody), "cut out": scene(nobody), "palette": palette(nobody, [(0, 0, 0)])}
    made[kind].save(tmp_path / "mask.png")
    assert not read_mask(tmp_path / "mask.png", may_be_empty=True).any()
    with pytest.raises(ValueError, match=r"empty mask .*mask\.png: drop the moment or fix"):
        read_mask(tmp_path / "mask.png")


TWO = P + 2 * np.roll(P, 25, axis=1)
STRANGE = {
    "two ids": (grey(TWO), "has the values 1, 2: expected the mask of one person"),
    "an id and a border of 255": (
        grey(P * 15 + 240 * (cv2.Canny(P * np.uint8(255), 50, 100) > 0) * P),
        "has the values 15, 255",
    ),
    "two colours": (
        palette(TWO, [(0, 0, 0), (128, 0, 0), (0, 128, 0)]),
        r"has the colours \(0, 128, 0\), \(128, 0, 0\) on black",
    ),
    "a photograph": (scene(P * 0 + 255), r"has many colours on black: .* in place of pictures"),
    "too dark": (grey(np.rint(soft() * 100)), r"has the values 1, .*, \.\.\.: expected"),
    "uniform": (grey(np.full(SIZE, 16)), "has the values 16: expected"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_mask_of_one_person_is_told_by_what_is_seen(tmp_path, kind):
    picture, expected = STRANGE[kind]
    picture.save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=rf"mask .*mask\.png {expected}"):
        read_mask(tmp_path / "mask.png")


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "picture", "words"),
    [
        ((640, 360), (640, 360), ""),
        ((320, 180), (640, 360), ""),
        ((640, 360), (1279, 719), ""),  # a pixel less than twice
        ((1920, 1080), (640, 360), ""),
        ((640, 360), (360, 640), "turned by 90 degrees"),
        ((320, 180), (360, 640), "turned by 90 degrees"),
        ((640, 480), (640, 360), "cut off or stretched"),
        ((640, 361), (1280, 720), ""),
        ((640, 368), (1280, 720), "cut off or stretched"),
    ],
)
def test_sizes_that_do_not_go_together_are_told_in_words(mask, picture, words):
    assert misfit(mask, picture) == words


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_mask_comes_in_the_size_of_its_picture(scale):
    """A rectangle keeps its place, in shares of the picture, to a pixel of the mask."""
    height, width = round(120 * scale), round(160 * scale)
    mask = np.zeros((height, width), np.uint8)
    mask[round(0.25 * height) : round(0.75 * height), round(0.5 * width) : round(0.7 * width)] = 255
    rows, columns = np.nonzero(fitted(mask, (160, 120), Path("mask.png")) > 127)
    edges = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    np.testing.assert_allclose(edges, (30, 90, 80, 112), atol=1)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"m\.png is 64x48 but its picture is 48x64: it is turned"):
        fitted(np.zeros(SIZE, np.uint8), (48, 64), Path("m.png"))
