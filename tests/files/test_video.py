import os
import struct
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from mask_sup.files.pictures import read_image
from mask_sup.files.video import VideoWriter, extract_frames, frame_rate, frame_times, read_frames
from mask_sup.masks.footage import find_footage

GREYS = (20, 200, 60, 240, 110, 160, 40, 220, 90, 130)


def plain(count=10, shape=(48, 64)):
    """Frames of one grey each, in an order that is neither rising nor falling."""
    return [np.full((*shape, 3), grey, np.uint8) for grey in GREYS[:count]]


def noise(count, shape=(64, 96)):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mpeg4"), ("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")],
)
def test_frames_come_in_the_order_in_which_they_are_shown(tmp_path, write_video, name, codec):
    write_video(tmp_path / name, plain(), codec)
    frames = list(read_frames(tmp_path / name))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 10
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}
    assert [round(frame.mean()) for frame in frames] == pytest.approx(GREYS, abs=6)


def test_frames_are_red_green_blue_and_upright(tmp_path, write_video):
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[:16, :, 0] = 220  # red above
    picture[:, :16, 2] = 220  # blue on the left
    write_video(tmp_path / "a.mp4", [picture])
    (frame,) = read_frames(tmp_path / "a.mp4")
    above, left = frame[4, 40].astype(int), frame[40, 4].astype(int)
    assert above[0] > above[2] + 100
    assert left[2] > left[0] + 100


def test_extracted_frames_are_numbered_pictures(tmp_path, write_video):
    write_video(tmp_path / "a.mp4", plain())
    folder = tmp_path / "frames" / "cam0"  # neither exists
    extract_frames(tmp_path / "a.mp4", folder)
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"{i:06d}.jpg" for i in range(10)]
    pictures = [read_image(file) for file in files]
    assert [round(picture.mean()) for picture in pictures] == pytest.approx(GREYS, abs=6)
    assert [path.name for path in folder.parent.iterdir()] == ["cam0"]


def test_extracted_frames_keep_their_colours(tmp_path, write_video):
    write_video(tmp_path / "a.mp4", [np.full((48, 64, 3), (210, 120, 30), np.uint8)])
    extract_frames(tmp_path / "a.mp4", tmp_path / "frames")
    picture = read_image(tmp_path / "frames" / "000000.jpg")
    assert picture.mean((0, 1)).tolist() == pytest.approx([210, 120, 30], abs=8)


def test_the_folder_of_frames_has_the_usual_permissions(tmp_path, write_video):
    write_video(tmp_path / "a.mp4", plain(1))
    extract_frames(tmp_path / "a.mp4", tmp_path / "frames")
    assert os.stat(tmp_path / "frames").st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [b"", b"not a video" * 50])
def test_a_damaged_video_is_named_and_leaves_nothing_behind(tmp_path, content):
    video = tmp_path / "a.mp4"
    video.write_bytes(content)
    folder = tmp_path / "frames" / "cam0"
    with pytest.raises(ValueError, match=rf"{video} cannot be read as a video .*copy it again"):
        extract_frames(video, folder)
    assert list(folder.parent.iterdir()) == []


def test_a_video_that_ends_too_soon_leaves_nothing_half_written(tmp_path, write_video):
    video = tmp_path / "a.mp4"
    write_video(video, noise(60), "libx264", movflags="faststart")  # the index comes first
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 9 // 10])
    good, frames = 0, read_frames(video)
    with pytest.raises(ValueError, match="cannot be read as a video"):  # noqa: PT012
        for _ in frames:
            good += 1
    assert 0 < good < 60  # some were written before the damage was found
    with pytest.raises(ValueError, match=rf"{video} cannot be read as a video"):
        extract_frames(video, tmp_path / "frames" / "cam0")
    assert list((tmp_path / "frames").iterdir()) == []


def promise(path, count):
    """Write a number of frames into the headers of an AVI: avih and strh tell it."""
    data = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 16), (b"strh", 32)):
        start = data.index(chunk) + 8 + offset
        data[start : start + 4] = struct.pack("<I", count)
    path.write_bytes(data)


def test_an_avi_has_the_frames_that_can_be_decoded(tmp_path, write_video, capsys):
    video = tmp_path / "a.avi"
    write_video(video, plain())
    promise(video, 30)
    np.testing.assert_allclose(frame_times(video), np.arange(10) / 10, atol=0.11)
    assert np.diff(frame_times(video)) == pytest.approx(0.1)
    assert f"{video} promises 30 frames, 10 can be decoded" in capsys.readouterr().out
    (one,) = find_footage(video)
    assert len(list(one.frames())) == one.count == 10


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.avi", "mpeg4"), ("a.mts", "libx264"), ("a.TS", "mpeg2video"), ("a.wmv", "wmv2")),
        *(("a.3gp", "mpeg4"), ("a.mpg", "mpeg1video")),
    ],
)
def test_videos_of_any_usual_ending_have_all_their_frames(tmp_path, write_video, name, codec):
    frames = [np.full((144, 176, 3), grey, np.uint8) for grey in GREYS]
    write_video(tmp_path / name, frames, codec, rate=25)
    (one,) = find_footage(tmp_path)
    assert (one.camera, one.count, round(one.gap, 1)) == ("a", 10, 1.0)
    assert len(list(one.frames())) == 10


def test_a_file_with_sound_alone_is_no_video(tmp_path):
    with wave.open(str(tmp_path / "a.mp4"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))
    with pytest.raises(ValueError, match="cannot be read as a video"):
        extract_frames(tmp_path / "a.mp4", tmp_path / "frames" / "cam0")
    assert list((tmp_path / "frames").iterdir()) == []


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"missing file {tmp_path / 'gone.mp4'}"):
        next(read_frames(tmp_path / "gone.mp4"))


@pytest.mark.parametrize("rate", ["25", "30000/1001"])
def test_the_frame_rate_is_that_of_the_file(tmp_path, rate):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate))
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in plain():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert frame_rate(tmp_path / "a.mp4") == pytest.approx(float(Fraction(rate)))


def test_what_is_no_video_has_no_frame_rate(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"missing file {tmp_path / 'gone.mp4'}"):
        frame_rate(tmp_path / "gone.mp4")
    (tmp_path / "a.mp4").write_bytes(b"not a video" * 50)
    with pytest.raises(ValueError, match="a.mp4 cannot be read as a video .*copy it again"):
        frame_rate(tmp_path / "a.mp4")


# ---- writing -------------------------------------------------------------------------------------


def written(path):
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context.name, float(stream.average_rate), stream.codec_context.pix_fmt


@pytest.mark.parametrize("fps", [1, 12.5, 30000 / 1001, 240])
def test_frames_come_back_at_their_rate(tmp_path, fps):
    with VideoWriter(tmp_path / "new" / "a.mp4", fps) as video:
        for grey in (40, 120, 200):
            video.write(np.full((48, 64, 3), grey, np.uint8))
        assert not (tmp_path / "new" / "a.mp4").exists()  # not before it is complete
    frames = list(read_frames(tmp_path / "new" / "a.mp4"))
    assert [frame.mean() for frame in frames] == pytest.approx([40, 120, 200], abs=4)
    _, rate, layout = written(tmp_path / "new" / "a.mp4")
    assert rate == pytest.approx(fps)
    assert layout == "yuv420p"
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_odd_sides_get_one_more_row_and_column(tmp_path):
    frame = np.full((51, 63, 3), 200, np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 25) as video:
        video.write(frame)
    (back,) = read_frames(tmp_path / "a.mp4")
    assert back.shape == (52, 64, 3)
    assert back.min() > 190  # no black edge


def test_written_frames_keep_their_colours(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25) as video:
        video.write(np.full((48, 64, 3), (210, 120, 30), np.uint8))
    (back,) = read_frames(tmp_path / "a.mp4")
    assert back.mean((0, 1)).tolist() == pytest.approx([210, 120, 30], abs=5)


def test_the_best_encoder_of_the_build_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("mask_sup.files.video.ENCODERS", {"nosuch": {}, "mpeg4": {}})
    with VideoWriter(tmp_path / "a.mp4", 25) as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
    assert written(tmp_path / "a.mp4")[0] == "mpeg4"
    monkeypatch.setattr("mask_sup.files.video.ENCODERS", {"nosuch": {}})
    with (
        pytest.raises(ValueError, match="none of the encoders"),
        VideoWriter(tmp_path / "b.mp4", 25) as video,
    ):
        video.write(np.zeros((48, 64, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_error_on_the_way_leaves_no_file(tmp_path):
    with pytest.raises(KeyError), VideoWriter(tmp_path / "a.mp4", 25) as video:  # noqa: PT012
        video.write(np.zeros((48, 64, 3), np.uint8))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_was_there_stays_until_the_new_one_is_complete(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(ValueError, match="no frames for"), VideoWriter(tmp_path / "a.mp4", 25):
        pass
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(tmp_path, fps):
    with pytest.raises(ValueError, match="expected frames per second"):
        VideoWriter(tmp_path / "a.mp4", fps)
