import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from mask_sup.files.video import extract_frames, read_frames
from mask_sup.masks.footage import find_footage, shrink

GREY = [np.full((48, 64, 3), 100 + i, np.uint8) for i in range(12)]


def names(found):
    return [(one.camera, one.count) for one in found]


def test_a_video_a_folder_and_a_recording_are_footage(tmp_path, write_video):
    for name in ("b.mp4", "a.mkv"):
        write_video(tmp_path / "walk" / "videos" / name, GREY)
    expected = [("a", 12), ("b", 12)]
    assert names(find_footage(tmp_path / "walk")) == expected
    assert names(find_footage(tmp_path / "walk" / "videos")) == expected
    assert names(find_footage(tmp_path / "walk" / "videos" / "b.mp4")) == expected[1:]


def test_pictures_are_footage(tmp_path, write_video):
    write_video(tmp_path / "a.mp4", GREY)
    extract_frames(tmp_path / "a.mp4", tmp_path / "walk" / "frames" / "cam01")
    for source in (tmp_path / "walk", tmp_path / "walk" / "frames" / "cam01"):
        (one,) = find_footage(source)
        assert names([one]) == [("cam01", 12)]
        assert [frame.shape for frame in one.frames()] == [(48, 64, 3)] * 12


def test_pictures_have_their_numbers_and_come_in_their_order(tmp_path):
    for i in (1, 2, 10, 11):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((4, 6, 3), 10 * i, np.uint8))
    (one,) = find_footage(tmp_path)
    assert list(one.numbers()) == [1, 2, 10, 11]
    assert one.names() == ["1", "2", "10", "11"]
    assert [int(frame[0, 0, 0]) for frame in one.frames()] == [10, 20, 100, 110]
    (tmp_path / "10.png").rename(tmp_path / "11.jpg")
    (one,) = find_footage(tmp_path)
    with pytest.raises(ValueError, match="several pictures called 11"):
        one.names()


def test_what_is_no_footage_is_refused(tmp_path, write_video):
    with pytest.raises(FileNotFoundError, match="no input at"):
        find_footage(tmp_path / "gone")
    with pytest.raises(ValueError, match="nothing to work on in"):
        find_footage(tmp_path)
    (tmp_path / "a.txt").write_text("notes")
    with pytest.raises(ValueError, match="is no video"):
        find_footage(tmp_path / "a.txt")
    for name in ("a.mp4", "a.mkv"):
        write_video(tmp_path / name, GREY)
    with pytest.raises(ValueError, match="two videos of one name"):
        find_footage(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a video" * 50])
def test_damaged_videos_are_named(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mp4 cannot be read as a video .*copy it again"):
        find_footage(tmp_path / "a.mp4")


def test_a_video_that_is_cut_off_is_found_by_its_length(tmp_path, write_video):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 96, 3), dtype=np.uint8) for _ in range(40)]
    write_video(tmp_path / "a.mkv", noise, "libx264")
    whole = (tmp_path / "a.mkv").read_bytes()
    assert names(find_footage(tmp_path / "a.mkv")) == [("a", 40)]
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.mkv should last 4.0 s but its frames end .* cut"):
        find_footage(tmp_path / "a.mkv")


def test_cameras_of_unequal_length_are_refused_unless_allowed(tmp_path, write_video):
    write_video(tmp_path / "a.mp4", GREY)
    write_video(tmp_path / "b.mp4", GREY[:9])
    with pytest.raises(ValueError, match='number of frames: {"a": 12, "b": 9}; cut them'):
        find_footage(tmp_path)
    assert names(find_footage(tmp_path, uneven=True)) == [("a", 12), ("b", 9)]


def write_variable(path, times):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for time, picture in zip(times, GREY, strict=False):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_a_variable_frame_rate_is_refused_where_cameras_belong_together(tmp_path):
    write_variable(tmp_path / "a.mp4", [0, 20, 40, 60, 80, 100, 120, 140])
    write_variable(tmp_path / "b.mp4", [0, 20, 40, 60, 160, 180, 200, 220])
    found = {one.camera: one for one in find_footage(tmp_path, uneven=True)}
    assert found["a"].gap == pytest.approx(1.0, abs=0.05)
    assert found["b"].gap == pytest.approx(5.0, abs=0.05)
    with pytest.raises(ValueError, match=r'variable frame rate .*{"b": 5.0}.*ffmpeg'):
        find_footage(tmp_path)
    assert len(find_footage(tmp_path / "b.mp4")) == 1  # alone it does no harm


# ---- phones --------------------------------------------------------------------------------------


def turn(path, matrix):
    """Write a display matrix into an mp4's track header (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[start : start + 36])[0] == 1 << 16
    values = [round(v * (1 << 16)) for v in matrix[:2]], [round(v * (1 << 16)) for v in matrix[2:]]
    data[start : start + 36] = struct.pack(">9i", *values[0], 0, *values[1], 0, 0, 0, 1 << 30)
    path.write_bytes(data)


# A point (x, y) of the stored picture is shown at (a x + c y, b x + d y) of [a, b, c, d].
@pytest.mark.parametrize(
    ("matrix", "shape", "corner"),
    [
        ([0, 1, -1, 0], (64, 48), (0, 1)),  # a quarter clockwise: left above goes to right above
        ([0, -1, 1, 0], (64, 48), (1, 0)),
        ([-1, 0, 0, -1], (48, 64), (1, 1)),
        ([1, 0, 0, 1], (48, 64), (0, 0)),
    ],
)
def test_rotated_videos_are_read_upright(tmp_path, write_video, matrix, shape, corner):
    picture = np.full((48, 64, 3), 40, np.uint8)
    picture[:16, :16] = 220
    write_video(tmp_path / "a.mp4", [picture] * 3)
    turn(tmp_path / "a.mp4", matrix)
    for frame in read_frames(tmp_path / "a.mp4"):
        assert frame.shape == (*shape, 3)
        bright = np.argwhere(frame[..., 0] > 130).mean(0) > np.array(shape) / 2
        assert tuple(bright) == corner
    (one,) = find_footage(tmp_path / "a.mp4")
    assert next(one.frames()).shape == (*shape, 3)


def test_a_picture_turned_by_half_a_right_angle_is_refused(tmp_path, write_video):
    write_video(tmp_path / "a.mp4", GREY)
    turn(tmp_path / "a.mp4", [0.7071, 0.7071, -0.7071, 0.7071])
    with pytest.raises(ValueError, match=r"a\.mp4 is to be shown turned by -45 degrees"):
        next(read_frames(tmp_path / "a.mp4"))


# ---- pictures ------------------------------------------------------------------------------------


def test_pictures_of_one_camera_have_one_size(tmp_path):
    for i, side in enumerate((20, 20, 24)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((side, 30, 3), np.uint8))
    (one,) = find_footage(tmp_path)
    with pytest.raises(ValueError, match="picture 2 of .* is 30x24, those before are 30x20"):
        list(one.frames())


def test_shrinking_keeps_the_shape_and_never_enlarges():
    picture = np.zeros((100, 200, 3), np.uint8)
    assert shrink(picture, 50).shape == (25, 50, 3)
    assert shrink(picture, 400) is picture
    assert shrink(picture, None) is picture
