"""Cameras started by hand, set right by their masks."""

import json
from dataclasses import replace

import calibration as bench
import cv2
import numpy as np
import pytest
from legless import near, without_legs
from omegaconf import OmegaConf
from scipy.ndimage import gaussian_filter1d

import mask_sup.calibration.sync as sync_module
from mask_sup.calibration import write_calibration
from mask_sup.calibration.cameras import Calibration
from mask_sup.calibration.check import Rig
from mask_sup.calibration.sync import (
    agreed_offsets,
    compared,
    offsets_of,
    outline_signals,
    settled_offsets,
    shifted,
    sync,
    unsure,
)
from mask_sup.data.recording import RecordingData
from mask_sup.sync import main


def seen(late, frames=300, noise=0.2, seed=0):
    """Signals of cameras that see one movement, each in its own way and `late` frames late."""
    rng = np.random.default_rng(seed)
    movement = gaussian_filter1d(rng.normal(size=(frames + 200, 3)), 4, axis=0)
    found = []
    for value in late:
        start = 100 - value
        own = gaussian_filter1d(rng.normal(size=(frames, 3)), 4, axis=0)
        drift = np.linspace(0, rng.normal(), frames)[:, None]  # who walks up grows
        found.append(movement[start : start + frames] + noise * own + drift)
    return found


@pytest.mark.parametrize("late", [(0, 0, 0), (0, 7, -12), (0, -40, 33)])
def test_offsets_are_found(late):
    found, peaks = offsets_of(seen(late), most=80)
    assert found == list(late)
    assert np.delete(peaks, [0, 4, 8]).min() > 0.8


def test_the_comparison_peaks_at_the_shift_and_skips_frames_without_a_person():
    first, second = seen((0, 9))
    first[50:90] = np.nan
    second[200:210] = np.nan
    curve = compared(first, second, 20)
    assert np.nanargmax(curve) - 20 == 9
    assert np.isnan(compared(first[:15], second, 3)).all()  # too little overlap to say


def test_a_camera_that_sees_something_else_is_named():
    first, second = seen((0, 3))
    (other,) = seen((0,), seed=7)
    with pytest.raises(ValueError, match=r"camera\(s\) \[2\] move like no other"):
        offsets_of([first, second, other], most=20)


def test_too_few_frames_are_told_as_what_they_are():
    short = [signal[:12] for signal in seen((0, 3))]
    with pytest.raises(ValueError, match=r"somebody in \[12, 12\] frames: expected 20 or more"):
        offsets_of(short, most=20)
    empty = seen((0, 3))
    empty[1][10:] = np.nan
    with pytest.raises(ValueError, match=r"somebody in \[300, 10\] frames"):
        offsets_of(empty, most=20)


def test_signals_are_the_logs_of_sizes_and_spreads(tmp_path):
    mask = np.zeros((40, 50), np.uint8)
    mask[5:25, 10:18] = 255
    cv2.imwrite(str(tmp_path / "0.png"), mask)
    cv2.imwrite(str(tmp_path / "1.png"), 0 * mask)
    signals = outline_signals(tmp_path)
    high, wide = np.sqrt((20**2 - 1) / 12), np.sqrt((8**2 - 1) / 12)
    np.testing.assert_allclose(signals[0], np.log([20, 8, 160, high, wide, np.hypot(high, wide)]))
    assert np.isnan(signals[1]).all()


def test_signals_come_in_the_order_of_the_frames(tmp_path):
    for i in range(12):
        mask = np.zeros((40, 50), np.uint8)
        mask[: i + 5, 10:18] = 255
        cv2.imwrite(str(tmp_path / f"{i}.png"), mask)
    heights = np.exp(outline_signals(tmp_path)[:, 0])
    np.testing.assert_allclose(heights, np.arange(5, 17))  # not 0, 1, 10, 11, 2, ...


@pytest.mark.parametrize("word", ["white", "inverted"])
def test_masks_of_nobody_give_no_signal_and_are_told(tmp_path, capsys, word):
    mask = np.zeros((40, 50), np.uint8)
    mask[5:25, 10:18] = 255
    bad = 255 - mask if word == "inverted" else np.full_like(mask, 255)
    for i, picture in enumerate((mask, bad, mask)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    assert np.isnan(outline_signals(tmp_path)).all(1).tolist() == [False, True, False]
    assert f"1 of 3 masks in {tmp_path} are {word}: left out" in capsys.readouterr().out
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), bad)
    with pytest.raises(ValueError, match=f"3 of 3 masks in .* are {word}: mend them first"):
        outline_signals(tmp_path)


def test_slivers_at_the_border_give_no_signal(tmp_path, capsys):
    """A hand that comes into the picture is one pixel wide."""
    mask = np.zeros((40, 50), np.uint8)
    mask[5:25, 10:18] = 255
    line = np.zeros_like(mask)
    line[7:12, 0] = 255
    for i, picture in enumerate((mask, line, line.T[:40, :40], mask)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    signals = outline_signals(tmp_path)
    assert np.isnan(signals).all(1).tolist() == [False, True, True, False]
    assert np.isfinite(signals[[0, 3]]).all()
    assert "2 of 4 masks" in capsys.readouterr().out


def filmed(action):
    for seed in range(100):
        rng = np.random.default_rng(seed)
        cameras = bench.random_rig(rng)
        if len(cameras[0]) == 3:
            return bench.filmed(*cameras, rng, action)
    raise AssertionError


@pytest.mark.slow
def test_silhouettes_decide_the_last_frames():
    rig = filmed("walking")
    late = [0, 3, 1]
    cameras = Rig(rig.names, rig.K, rig.R, rig.t, 60, rig.mask)
    hand = shifted(cameras, [3 - value for value in late])  # cut so that each runs that late
    assert settled_offsets(hand, [0, 2, 2]) == late
    offsets, gap = agreed_offsets(hand, [0, 40, 31])  # steps of a walk look alike at many shifts
    assert offsets == late
    assert gap < 0.2


def aside(rig, view, degrees=2.5):
    """A camera that was turned to the side, as if the person had walked on."""
    turn = cv2.Rodrigues(np.array([0.0, np.radians(degrees), 0.0]))[0]
    R, t = rig.R.copy(), rig.t.copy()
    R[view], t[view] = turn @ R[view], turn @ t[view]
    return replace(rig, R=R, t=t)


def test_a_camera_that_is_turned_is_not_late():
    """An offset makes its silhouettes meet a little better; that proves nothing."""
    rig = filmed("walking")
    wrong = aside(rig, 1)
    none = sync_module._gap(wrong, [0, 0, 0])
    told = unsure(wrong, [0, 2, 0], 0.8 * none)
    assert "(cam1 +2 frames)" in told
    assert "cam1 stands out, and may be turned or moved, not late" in told
    assert unsure(wrong, [0, 0, 0], none) == ""  # nobody is said to be late
    late = shifted(rig, [0, 4, 0])
    assert unsure(late, [0, -4, 0], sync_module._gap(late, [0, -4, 0])) == ""


def test_offsets_are_compared_by_the_same_moments():
    """A shift that loses the moments with bad masks is no better for it."""
    rig = filmed("walking")
    bad = sync_module.Look(rig, **sync_module.LOOK).frames[2::3]
    wrong = replace(rig, mask=without_legs(rig, bad, 1 / 3, nobody=near(bad)))
    look = sync_module.Look(wrong, **sync_module.LOOK)
    assert sync_module._better_by(look, 1) == 0


def test_offsets_at_which_nobody_is_seen_are_no_start(monkeypatch):
    """Movement may be taken for that of another time, in which a camera shows nobody."""
    rig = filmed("walking")
    gone = replace(rig, mask=lambda v, f: rig.mask(v, f) & (v != 1 or f < rig.frames // 2))
    monkeypatch.setattr(sync_module, "settled_offsets", lambda rig, late: late)
    far = rig.frames // 2
    assert agreed_offsets(gone, [0, far, 0])[0] == [0, 0, 0]


@pytest.fixture(scope="module")
def greeting():
    return filmed("greeting")


def write(folder, rig, late, name, count):
    """A recording of this rig whose files are called so; each camera has one more than the last."""
    sizes = np.tile([float(bench.WIDTH), bench.HEIGHT], (3, 1))
    calibration = Calibration(rig.names, rig.K, rig.R, rig.t, np.zeros((3, 5)), sizes)
    write_calibration(calibration, folder / "cameras.json")
    for view, camera in enumerate(rig.names):
        for kind in ("masks", "frames"):
            (folder / kind / camera).mkdir(parents=True)
        for file in range(count + view):
            mask = rig.mask(view, 10 + file - late[camera])
            for kind in ("masks", "frames"):
                path = folder / kind / camera / name.format(file)
                cv2.imwrite(str(path), 255 * mask.astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("calibrated", [True, False])
def test_the_command_finds_the_same_whether_or_not_names_are_padded(
    greeting, tmp_path, monkeypatch, capsys, calibrated
):
    """0.png, 1.png, ..., 119.png: sorted as text, 10.png would follow 1.png."""
    late, told = {"cam0": 0, "cam1": 4, "cam2": 0}, []
    for kind, name in (
        ("padded", "{:06d}.png"),
        ("bare", "{}.png"),
        ("words", "take2_{}_left.png"),
    ):
        write(tmp_path / kind, greeting, late, name, 118)
        if not calibrated:
            (tmp_path / kind / "cameras.json").unlink()
        monkeypatch.setattr("sys.argv", ["sync", f"input={tmp_path / kind}", "most=10"])
        main()
        found = json.loads((tmp_path / kind / "sync.json").read_text())["late"]
        told.append((found, capsys.readouterr().out.replace(kind, "")))
    assert told[1:] == told[:1] * 2
    off = {
        name: value - min(told[0][0].values()) - late[name] for name, value in told[0][0].items()
    }
    assert max(map(abs, off.values())) <= (0 if calibrated else 1), off
    if calibrated:
        moments = RecordingData(tmp_path / "bare", None, joints=18, every=1).moments("train")
        stems = [[view.mask.stem for view in moments[i].views] for i in (0, 1, 9, 10)]
        assert stems == [[str(i), str(i + 4), str(i)] for i in (0, 1, 9, 10)]


@pytest.mark.slow
def test_no_offset_is_written_for_a_camera_that_is_turned(tmp_path, monkeypatch):
    """Steps look alike at many shifts: where movement says nothing, silhouettes decide."""
    monkeypatch.setattr(sync_module, "offsets_of", lambda *_: ([0, 0, 0], np.ones((3, 3))))
    rig = aside(filmed("walking"), 1)
    write(tmp_path, rig, dict.fromkeys(rig.names, 0), "{:06d}.png", 100)
    given = {"input": str(tmp_path), "masks": None, "output": None, "most": 10}
    with pytest.raises(ValueError, match=r"(?s)no offset is sure.*cam1 [+-]\d+ frames") as error:
        sync(OmegaConf.create(given))
    assert f"calibration check input={tmp_path}" in str(error.value)
    assert not (tmp_path / "sync.json").exists()


@pytest.mark.slow
def test_a_recording_follows_the_offsets(greeting, tmp_path):
    """The whole way: masks as files, late cameras, sync.json, moments that belong together."""
    late = {"cam0": 2, "cam1": 0, "cam2": 5}
    write(tmp_path, greeting, late, "{:06d}.png", 100)
    options = {"root": tmp_path, "masks": None, "joints": 18, "every": 1}
    with pytest.raises(ValueError, match="mask_sup.sync"):
        RecordingData(**options).moments("train")
    given = {"input": str(tmp_path), "masks": None, "output": None, "most": 10}
    told = sync(OmegaConf.create(given))
    assert {name: value - min(told.values()) for name, value in told.items()} == late
    assert json.loads((tmp_path / "sync.json").read_text())["late"] == told
    moments = RecordingData(**options).moments("train")
    assert len(moments) == 97
    assert [view.mask.stem for view in moments[0].views] == ["000002", "000000", "000005"]
    assert [view.image.stem for view in moments[3].views] == ["000005", "000003", "000008"]
    (tmp_path / "sync.json").write_text('{"late": {"cam0": 1}}')
    with pytest.raises(ValueError, match="sync.json does not say .* run python -m mask_sup.sync"):
        RecordingData(**options).moments("train")
