from pathlib import Path

import cv2
import numpy as np
import pytest

from mask_sup.figure.draw import LEFT, RIGHT
from mask_sup.report import write_report
from mask_sup.report.overlays import mosaic_columns

NAN = np.nan


def frames_of(path: Path):
    """Frame rate, and all frames, RGB."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert stream.codec_context.pix_fmt == "yuv420p"
        return float(stream.average_rate), frames


def test_cells_fill_the_mosaic():
    assert mosaic_columns(5, 9 / 16) == (5, 682, 384)  # portraits in a row
    assert mosaic_columns(2, 1.0) == (2, 960, 960)
    for count, aspect in ((1, 1.3), (7, 0.4), (9, 2.2)):
        columns, height, width = mosaic_columns(count, aspect)
        rows = -(-count // columns)
        assert columns * width <= 1920
        assert rows * height <= 1080
        assert height % 2 == width % 2 == 0


def test_videos_have_every_frame_of_every_view(recorded, tmp_path, configured):
    folder = recorded(tmp_path, header={"fps": 12.5})
    assert write_report(configured(folder, html=False)) == folder
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*")) == [
        "mosaic.mp4", "overlays/cam0.mp4", "overlays/cam1.mp4", "overlays/cam2.mp4", "poses.npz",
    ]  # fmt: skip
    for name in ("cam0", "cam1", "cam2"):
        fps, frames = frames_of(folder / "overlays" / f"{name}.mp4")
        assert fps == 12.5
        assert [frame.shape for frame in frames] == [(56, 72, 3)] * 4
    fps, frames = frames_of(folder / "mosaic.mp4")
    assert fps == 12.5
    assert len(frames) == 4
    h, w = frames[0].shape[:2]
    assert h % 2 == w % 2 == 0
    pane = frames[0][h // 2 :, w // 2 :].astype(int)  # the fourth cell of 2 x 2
    assert (np.abs(pane - RIGHT).max(-1) < 60).sum() > 20
    assert (np.abs(pane - LEFT).max(-1) < 60).sum() > 20


def grey_pictures(folder: Path, size=(300, 401)):
    for picture in (folder.parent / "rec" / "frames").rglob("*.png"):
        cv2.imwrite(str(picture), np.full((*size, 3), 90, np.uint8))


def test_overlays_show_the_joints_that_are_known_and_no_others(
    recorded, tmp_path, human18, configured
):
    right = [human18.index[name] for name in human18.joints if name.startswith("right_")]
    xy = np.random.default_rng(0).uniform(40, 260, (4, 3, 18, 2))
    missing = xy.copy()
    missing[2, 1, right] = NAN
    folder = recorded(tmp_path, reprojected_px=missing)
    grey_pictures(folder)
    write_report(configured(folder, html=False))
    fps, frames = frames_of(folder / "overlays" / "cam1.mp4")
    assert fps == 25
    assert frames[0].shape == (300, 402, 3)  # an odd side has one column more
    orange = [((f[..., 0].astype(int) - f[..., 2]) > 70).sum() for f in frames]
    assert orange[2] == 0
    assert min(orange[0], orange[1], orange[3]) > 100


def test_fps_may_be_given(single, tmp_path, configured):
    folder = single(tmp_path, header={"fps": 50})
    write_report(configured(folder, html=False, fps=30.0))
    assert frames_of(folder / "overlays" / "walk.mp4")[0] == 30


def test_a_single_view_is_shown_relative_to_its_root(single, tmp_path, configured):
    folder = single(tmp_path)
    write_report(configured(folder))
    assert len(frames_of(folder / "mosaic.mp4")[1]) == 3
    page = (folder / "report.html").read_text()
    assert "no pose in the world" in page
    assert "Reprojection error over time" not in page
    assert "25 frames per second (assumed)" in page


def test_the_page_alone_goes_where_it_is_told(recorded, tmp_path, configured):
    folder = recorded(tmp_path)
    told = write_report(configured(folder, video=False, output=str(tmp_path / "new" / "place")))
    assert [path.name for path in told.iterdir()] == ["report.html"]
    assert [path.name for path in folder.iterdir()] == ["poses.npz"]


def test_a_picture_that_cannot_be_read_leaves_nothing_half_written(recorded, tmp_path, configured):
    folder = recorded(tmp_path)
    (tmp_path / "rec" / "frames" / "cam2" / "000003.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"unreadable picture .*000003\.png"):
        write_report(configured(folder, html=False))
    assert [path.name for path in folder.rglob("*.*")] == ["poses.npz"]


def test_pictures_of_two_sizes_make_no_video(recorded, tmp_path, configured):
    folder = recorded(tmp_path)
    picture = tmp_path / "rec" / "frames" / "cam0" / "000001.png"
    cv2.imwrite(str(picture), np.zeros((50, 72, 3), np.uint8))
    with pytest.raises(ValueError, match=r"frame 1 of .*cam0\.mp4 is 72x50, the first is 72x56"):
        write_report(configured(folder, html=False))
    assert [path.name for path in folder.rglob("*.*")] == ["poses.npz"]


def test_a_place_that_cannot_be_written_is_told(recorded, tmp_path, configured):
    folder = recorded(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"cannot write to {tmp_path / 'file'}.*output=<folder>"):
        write_report(configured(folder, output=str(tmp_path / "file")))


def test_nothing_to_write_is_a_mistake(recorded, tmp_path, configured):
    with pytest.raises(ValueError, match="keep one of them"):
        write_report(configured(recorded(tmp_path), video=False, html=False))
