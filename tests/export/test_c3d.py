import builtins
import struct

import numpy as np
import pytest

from mask_sup.export import write_c3d

ezc3d = pytest.importorskip("ezc3d")


def read_bytes(path):
    """Frame rate, points (t, n, 3) and residuals (t, n) of a C3D file of floats, byte by byte."""
    content = path.read_bytes()
    assert content[1] == 0x50  # the key of every C3D file
    points, first, last = (
        struct.unpack_from("<H", content, 2 * (word - 1))[0] for word in (2, 4, 5)
    )
    scale, data_block = struct.unpack_from("<fH", content, 12)
    (rate,) = struct.unpack_from("<f", content, 20)
    assert scale < 0  # floats, no integers
    frames = last - first + 1
    values = np.frombuffer(content, "<f4", 4 * points * frames, 512 * (data_block - 1))
    values = values.reshape(frames, points, 4)
    # The fourth word: residual in units of the scale, negative where there is no point.
    return rate, values[..., :3], values[..., 3]


def test_the_bytes_hold_the_points(gappy, tmp_path):
    write_c3d(gappy, tmp_path / "a.c3d")
    rate, points, fourth = read_bytes(tmp_path / "a.c3d")
    assert rate == 30
    unknown = np.isnan(gappy.points_mm).any(-1)
    assert unknown.sum() == 10
    np.testing.assert_allclose(points[~unknown], gappy.points_mm[~unknown], atol=1e-3)
    np.testing.assert_array_equal(fourth < 0, unknown)


def test_another_reader_finds_names_units_and_axes(gappy, tmp_path):
    write_c3d(gappy, tmp_path / "a.c3d")
    file = ezc3d.c3d(str(tmp_path / "a.c3d"))
    told = file["parameters"]["POINT"]
    assert told["LABELS"]["value"] == list(gappy.joints)
    assert told["UNITS"]["value"] == ["mm"]
    assert told["RATE"]["value"][0] == 30
    assert told["FRAMES"]["value"][0] == 60
    assert (told["X_SCREEN"]["value"], told["Y_SCREEN"]["value"]) == (["+X"], ["+Z"])
    residuals = file["data"]["meta_points"]["residuals"][0].T
    unknown = np.isnan(gappy.points_mm).any(-1)
    np.testing.assert_array_equal(residuals, np.where(unknown, -1, 0))
    points = file["data"]["points"][:3].transpose(2, 1, 0)
    np.testing.assert_allclose(points[~unknown], gappy.points_mm[~unknown], atol=1e-3)


@pytest.mark.parametrize(("up", "screen"), [("y", "+Y"), ("-y", "-Y"), ("-z", "-Z")])
def test_the_upward_axis_is_told(clip, tmp_path, up, screen):
    write_c3d(clip._replace(up=up), tmp_path / "a.c3d")
    told = ezc3d.c3d(str(tmp_path / "a.c3d"))["parameters"]["POINT"]
    assert told["Y_SCREEN"]["value"] == [screen]


def test_a_missing_package_is_told_with_its_command(clip, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "ezc3d":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match="pip install ezc3d"):
        write_c3d(clip, tmp_path / "a.c3d")


def test_a_frame_rate_is_needed(clip, tmp_path):
    with pytest.raises(ValueError, match="a C3D file needs a frame rate"):
        write_c3d(clip._replace(fps=None), tmp_path / "a.c3d")
