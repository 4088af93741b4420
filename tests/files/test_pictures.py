"""Pictures as files: their size from the head alone, and as a camera was held."""

import numpy as np
import pytest
from PIL import Image

from mask_sup.files.archive import Member
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import picture_size, read_image


@pytest.fixture
def turned(tmp_path):
    """Orientation of EXIF -> a grey JPEG, 64x48 as it is stored, white on its left."""

    def write(orientation):
        grey = np.zeros((48, 64), np.uint8)
        grey[:, :16] = 255
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(grey).save(tmp_path / "p.jpg", exif=exif)
        return tmp_path / "p.jpg"

    return write


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_image_and_mask_are_turned_alike(turned, orientation):
    path = turned(orientation)
    image, mask = read_image(path), read_mask(path)
    assert picture_size(path) == image.shape[1::-1] == mask.shape[1::-1]
    assert picture_size(path) == ((64, 48) if orientation < 5 else (48, 64))
    np.testing.assert_array_equal(mask > 127, image[..., 0] > 127)


def test_a_size_comes_out_of_an_archive_as_well(turned, tmp_path):
    data = turned(6).read_bytes()
    (tmp_path / "a.tar").write_bytes(b"x" * 512 + data)
    assert picture_size(Member(tmp_path / "a.tar", 512, len(data))) == (48, 64)


def test_what_has_no_size_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing file .*gone\.png"):
        picture_size(tmp_path / "gone.png")
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"unreadable picture .*a\.png \(10 bytes\)"):
        picture_size(tmp_path / "a.png")
