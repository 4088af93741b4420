import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mask_sup.masks import crumbs
from mask_sup.masks.extract import extract
from mask_sup.masks.footage import Footage


@pytest.fixture
def config(compose_config, walked, tmp_path):
    """Overrides -> the config of an extraction of the walking figure."""
    video, _ = walked
    return lambda *overrides: compose_config(
        "masks", f"input={video}", f"output={tmp_path / 'masks'}", *overrides
    )


@pytest.fixture(scope="module")
def whole(compose_config, walked, tmp_path_factory):
    """The folder of an extraction that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole")
    extract(compose_config("masks", f"input={walked[0]}", f"output={output}"))
    return output / "cam01"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def masks_of(folder):
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.glob("*.png"))]


def kill_at(monkeypatch, frame, passes=4):
    """Stop as a kill does when a frame is read in the last of the passes over the footage."""
    original, begun = Footage.frames, []

    def frames(self):
        begun.append(self)
        for index, picture in enumerate(original(self)):
            if index == frame and len(begun) == passes:
                raise KeyboardInterrupt
            yield picture

    monkeypatch.setattr(Footage, "frames", frames)


def test_every_frame_gets_a_mask_of_its_size_and_name(whole, walked, iou):
    assert sorted(path.name for path in whole.glob("*.png")) == [f"{i:06d}.png" for i in range(24)]
    masks = masks_of(whole)
    assert {mask.shape for mask in masks} == {(160, 240)}
    assert {value for mask in masks for value in np.unique(mask)} == {0, 255}
    assert iou([mask > 0 for mask in masks], walked[1]) > 0.8  # measured: 0.86
    assert (whole.parent / "cam01.plate.png").is_file()
    assert not list(whole.parent.rglob(".*"))


@pytest.mark.parametrize("extractor", ["plate", "knn"])
def test_a_killed_extraction_goes_on_to_the_same_bytes(
    extractor, config, walked, tmp_path, monkeypatch, compose_config
):
    cfg = config(f"extractor={extractor}", "size=120")
    with monkeypatch.context() as patch:
        kill_at(patch, 17)
        with pytest.raises(KeyboardInterrupt):
            extract(cfg)
    part = tmp_path / "masks" / ".cam01.part"
    assert not (tmp_path / "masks" / "cam01").exists()
    assert len(list(part.glob("*.png"))) == 17
    kept = (part / "000009.png").stat().st_mtime_ns
    extract(cfg)
    assert (tmp_path / "masks" / "cam01" / "000009.png").stat().st_mtime_ns == kept
    other = tmp_path / "other"
    again = [f"input={walked[0]}", f"output={other}", f"extractor={extractor}", "size=120"]
    extract(compose_config("masks", *again))
    assert contents(tmp_path / "masks" / "cam01") == contents(other / "cam01")


def test_holes_are_filled_with_the_same_bytes(config, whole, tmp_path):
    (tmp_path / "masks").mkdir()
    mine = tmp_path / "masks" / "cam01"
    mine.mkdir()
    for name, content in contents(whole).items():
        (mine / name).write_bytes(content)
    for number in (0, 7, 8, 23):
        (mine / f"{number:06d}.png").unlink()
    extract(config())
    assert contents(mine) == contents(whole)


def test_what_is_done_is_not_done_again(config, whole, tmp_path, monkeypatch, capsys):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "cam01").symlink_to(whole)
    kill_at(monkeypatch, 0, passes=1)
    extract(config())
    assert "cam01: 24 masks are there already" in capsys.readouterr().out


def test_settings_do_not_mix(config, whole, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "cam01").symlink_to(whole)
    with pytest.raises(ValueError, match=r"masks of other settings \(extractor, size\)"):
        extract(config("extractor.threshold=8", "size=100"))
    with pytest.raises(ValueError, match=r"masks of other settings \(roi\)"):
        extract(config("roi={cam01: [0,0,100,100]}"))


def test_masks_of_somebody_else_are_left_alone(config, tmp_path):
    (tmp_path / "masks" / "cam01").mkdir(parents=True)
    (tmp_path / "masks" / "cam01" / "0.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match="masks that this command did not make"):
        extract(config())
    assert (tmp_path / "masks" / "cam01" / "0.png").read_bytes() == b"mine"


def test_a_full_disk_leaves_nothing_half_written(config, whole, tmp_path, monkeypatch):
    original, written = Path.write_bytes, []

    def write_bytes(self, data):
        written.append(self)
        if len(written) == 12:
            original(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(OSError, match=r"cannot write .*000010\.png \(No space left.*make room"):
            extract(config())
    files = list((tmp_path / "masks" / ".cam01.part").iterdir())
    assert sorted(path.name for path in files if path.suffix == ".png") == [
        f"{i:06d}.png" for i in range(10)
    ]
    assert len(files) == 11  # and the record
    extract(config())
    assert contents(tmp_path / "masks" / "cam01") == contents(whole)


def test_a_video_that_ends_too_soon_makes_no_folder_of_masks(tmp_path, walk, write_video, config):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 96, 3), dtype=np.uint8) for _ in range(30)]
    video = tmp_path / "cut.mp4"
    write_video(video, noise, "libx264", movflags="faststart")
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 8 // 10])
    with pytest.raises(ValueError, match=r"cut\.mp4"):
        extract(config(f"input={video}"))
    assert not (tmp_path / "masks" / "cut").exists()


def test_a_region_keeps_to_its_camera(config, tmp_path):
    extract(config("roi={cam01: [0,0,60,160]}", "extractor=knn"))
    assert not np.any(masks_of(tmp_path / "masks" / "cam01"), 0)[:, 62:].any()


@pytest.mark.parametrize("box", ["[0,0,500,100]", "[50,0,20,100]", "[1,2,3]"])
def test_regions_that_cannot_be_are_refused(box, config):
    with pytest.raises(ValueError, match=r"\[left,top,right,bottom\] in pixels"):
        extract(config(f"roi={{cam01: {box}}}", "extractor=knn"))
    with pytest.raises(ValueError, match=r"one of the cameras \['cam01'\]"):
        extract(config("roi={cam07: [0,0,1,1]}"))


# ---- precomputed ---------------------------------------------------------------------------------


@pytest.fixture
def taken(config, tmp_path):
    """Overrides -> masks that were taken over from `given`."""

    def take(*overrides):
        extract(
            config("extractor=precomputed", f"extractor.source={tmp_path / 'given'}", *overrides)
        )
        return [mask > 0 for mask in masks_of(tmp_path / "masks" / "cam01")]

    return take


def write_given(tmp_path, masks, alpha=False):
    folder = tmp_path / "given" / "cam01"
    folder.mkdir(parents=True)
    for i, mask in enumerate(masks):
        grey = mask.astype(np.uint8) * 255
        picture = np.dstack([np.full_like(grey, 70)] * 3 + [grey]) if alpha else grey
        cv2.imwrite(str(folder / f"mask{i:03d}.png"), picture)
    return folder


@pytest.mark.parametrize("alpha", [False, True])
def test_folders_are_taken_over_as_they_are(alpha, tmp_path, walked, taken):
    write_given(tmp_path, walked[1], alpha)
    found = taken(f"extractor.channel={'alpha' if alpha else 'grey'}")
    assert np.array_equal(found, walked[1])


@pytest.mark.parametrize("kind", ["0 and 1", "red", "half size"])
def test_masks_of_other_kinds_are_taken_over(kind, tmp_path, walked, taken, iou):
    folder = write_given(tmp_path, walked[1])
    for path, mask in zip(sorted(folder.iterdir()), walked[1], strict=True):
        grey = mask.astype(np.uint8)
        half = cv2.resize(255 * grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        red = np.dstack([0 * grey, 0 * grey, 128 * grey])
        cv2.imwrite(str(path), {"0 and 1": grey, "red": red, "half size": half}[kind])
    assert iou(taken(), walked[1]) > (0.9 if kind == "half size" else 0.9999)


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 40, 40)])
def test_mask_videos_are_taken_over(tmp_path, walked, taken, write_video, iou, colour):
    pictures = [mask[..., None] * np.uint8(colour) for mask in walked[1]]
    write_video(tmp_path / "given" / "cam01.mp4", pictures, "libx264", crf="18")
    assert iou(taken(), walked[1]) > 0.95


def test_alpha_videos_are_taken_over(tmp_path, walked, taken):
    import av

    (tmp_path / "given").mkdir()
    with av.open(str(tmp_path / "given" / "cam01.mov"), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.height, stream.width, stream.pix_fmt = 160, 240, "rgba"
        for mask in walked[1]:
            picture = np.dstack([np.full((160, 240, 3), 90, np.uint8), mask * np.uint8(255)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgba")))
        container.mux(stream.encode())
    assert np.array_equal(taken("extractor.channel=alpha"), walked[1])


def test_masks_of_a_video_may_count_from_anywhere_but_skip_none(tmp_path, walked, taken):
    folder = write_given(tmp_path, walked[1])
    for i, path in reversed(list(enumerate(sorted(folder.iterdir())))):
        path.rename(folder / f"{i + 7}.png")  # 7, ..., 30 without zeros in front
    assert np.array_equal(taken(), walked[1])
    (folder / "30.png").rename(folder / "31.png")
    with pytest.raises(ValueError, match=r"after .*29\.png has the number 31: expected 30"):
        taken(f"output={tmp_path / 'other'}")


@pytest.mark.parametrize("first", [0, 1])
def test_masks_of_pictures_are_called_like_them(tmp_path, walk, config, first):
    frames, masks = walk(count=12)
    for i, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        for kind, picture in (("frames", frame[..., ::-1]), ("given", mask * np.uint8(255))):
            (tmp_path / kind / "cam01").mkdir(parents=True, exist_ok=True)
            number = i + 1 if kind == "frames" else i + first
            cv2.imwrite(str(tmp_path / kind / "cam01" / f"{number}.png"), picture)
    keys = (f"extractor.source={tmp_path / 'given'}", f"input={tmp_path / 'frames'}")
    settings = config("extractor=precomputed", *keys)
    if first == 0:
        with pytest.raises(ValueError, match=r"number of its picture -1"):
            extract(settings)
        return
    extract(settings)
    for i, mask in enumerate(masks, start=1):
        found = cv2.imread(str(tmp_path / "masks" / "cam01" / f"{i}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(found > 0, mask)


def test_given_masks_that_do_not_fit_are_refused(tmp_path, walked, taken):
    folder = write_given(tmp_path, walked[1])
    with pytest.raises(ValueError, match="has no 8-bit alpha channel"):
        taken("extractor.channel=alpha")
    cv2.imwrite(str(folder / "mask000.png"), 60 + 60 * walked[1][0].astype(np.uint8))
    with pytest.raises(ValueError, match=r"mask000\.png has the values 60, 120: expected"):
        taken("size=900")
    cv2.imwrite(str(folder / "mask000.png"), np.zeros((240, 160), np.uint8))
    with pytest.raises(ValueError, match=r"mask000\.png is 160x240 .* is 240x160: .* turned by 90"):
        taken("size=900")
    (folder / "mask000.png").unlink()
    with pytest.raises(ValueError, match="has 23 masks but .* 24 frames"):
        taken("size=900")
    folder.rename(folder.with_name("cam02"))
    with pytest.raises(FileNotFoundError, match=r"masks of camera 'cam01' .* videos: \[\]"):
        taken("size=900")
    assert not (tmp_path / "masks" / "cam01").exists()


# ---- the command ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_kill_leaves_the_same_bytes_in_the_end(tmp_path, whole, walked):
    words = ["-m", "mask_sup.masks", f"input={walked[0]}", f"output={tmp_path / 'masks'}"]
    process = subprocess.Popen([sys.executable, *words], cwd=tmp_path)
    part = tmp_path / "masks" / ".cam01.part"
    patience = time.monotonic() + 60
    while len(list(part.glob("*.png"))) < 5 and time.monotonic() < patience:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert part.is_dir()
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True)
    assert contents(tmp_path / "masks" / "cam01") == contents(whole)
    assert json.loads((tmp_path / "masks" / "cam01" / "extraction.json").read_text())["size"] == 960


def test_crumbs_end_with_an_error_that_names_the_remedy(
    compose_config, write_video, walk, tmp_path, monkeypatch
):
    frames, masks = walk(count=12, stays=0.9, bystander=False)
    scene = np.where(masks[6][..., None], frames[6], frames[0])  # stays in the middle throughout
    hands = [scene.copy() for _ in range(12)]
    for i, frame in enumerate(hands):
        frame[60:67, 100 + 2 * i : 107 + 2 * i] = 250
    write_video(tmp_path / "cam01.mp4", hands)
    config = compose_config(
        "masks", f"input={tmp_path / 'cam01.mp4'}", f"output={tmp_path / 'masks'}"
    )
    monkeypatch.setattr(crumbs, "CRUMB", 0.005)  # of a picture as small as this
    for _ in range(2):  # when all masks are there already, too
        with pytest.raises(ValueError, match=r"crumbs, no person, in camera\(s\) cam01 .*plates="):
            extract(config)
    assert len(list((tmp_path / "masks" / "cam01").glob("*.png"))) == 12
