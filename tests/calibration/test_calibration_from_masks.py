"""Cameras checked and mended by masks; rigs and faults are those of benchmarks/calibration.py."""

import json
import re
from dataclasses import replace

import calibration as bench
import cv2
import numpy as np
import pytest
from legless import near, without_legs

from mask_sup.calibration import read_calibration, write_calibration
from mask_sup.calibration.__main__ import main
from mask_sup.calibration.cameras import Calibration
from mask_sup.calibration.check import Look, Rig, check
from mask_sup.calibration.from_masks import rig_from_masks
from mask_sup.calibration.settle import settle
from mask_sup.calibration.silhouettes import Silhouettes, gaps, mean_gap, outline, ray_gaps
from mask_sup.calibration.strangers import explained_by_a_pose


def rectangle(rows, columns, size=(120, 160)):
    mask = np.zeros(size, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def side_by_side(*masks):
    """Cameras in a row that all look along z: a ray's row is the same in every picture."""
    K = np.tile(np.array([[100.0, 0, 80], [0, 100, 60], [0, 0, 1]]), (len(masks), 1, 1))
    t = np.array([[-300.0 * i, 0, 0] for i in range(len(masks))])
    rng = np.random.default_rng(0)
    R = np.tile(np.eye(3), (len(masks), 1, 1))
    return Silhouettes([[outline(mask, 40, rng) for mask in masks]], K, R, t)


@pytest.fixture(scope="module")
def rig():
    """Three cameras, a person who walks."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        cameras = bench.random_rig(rng)
        if len(cameras[0]) == 3:
            return bench.filmed(*cameras, rng, "walking")
    raise AssertionError


# ---- gaps ----------------------------------------------------------------------------------------


def test_gap_is_the_distance_of_the_row_from_the_mask():
    tall, low = rectangle((30, 90), (60, 100)), rectangle((50, 90), (20, 60))
    scene = side_by_side(tall, low)
    found = ray_gaps(gaps(scene), [0, 1])
    rows = scene.moments[0][0].rays_px[:, 1]
    expected = 100 * np.clip(50 - rows, 0, None) / np.sqrt(low.sum())
    assert expected.max() > 20
    np.testing.assert_allclose(found[0, 0], expected, atol=1.0)  # half a pixel
    assert found[1, 0].max() < 1.0  # each row of the low one is in the tall one


def test_a_view_that_is_left_out_does_not_judge():
    tall, low = rectangle((30, 90), (100, 140)), rectangle((50, 90), (60, 100))
    found = gaps(side_by_side(tall, low, rectangle((30, 90), (20, 60))))
    assert ray_gaps(found, [0, 2]).max() < 1.0
    assert mean_gap(found, [0, 2]) < mean_gap(found)


def test_what_moves_with_one_camera_is_all_that_is_looked_at_again(rig):
    scene = Look(rig, 3, 10).scene()
    ball = np.array([0.0, 0, 900]), 3000.0
    moved = scene.with_camera(1, t=scene.t[1] + 30.0)
    again = gaps(moved, ball, gaps(scene, ball), moved=1)
    np.testing.assert_array_equal(again, gaps(moved, ball))


# ---- check ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [bench.none, bench.swapped, bench.unit])
def test_faults_are_named(rig, fault):
    wrong, views = fault(rig, 1, 2, np.random.default_rng(5))
    finding = check(wrong)
    assert finding.fault == fault.__name__
    assert set(finding.cameras) == {rig.names[view] for view in views}
    assert finding.mended <= finding.gap


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        bench.transposed,
        bench.inverted,
        bench.scaled,
        bench.letterboxed,
        bench.time,
        bench.extrinsics,
        bench.masks,
    ],
)
def test_more_faults_are_named(rig, fault):
    wrong, views = fault(rig, 1, 2, np.random.default_rng(5))
    finding = check(wrong)
    assert finding.fault == fault.__name__
    assert set(finding.cameras) == {rig.names[view] for view in views}


@pytest.mark.parametrize("change", ["streak", "legs"])
def test_bad_masks_accuse_no_camera(rig, change):
    """The masks of one camera show too much or too little; the cameras are right."""

    def mask(view, frame):
        whole = rig.mask(view, frame).copy()
        rows = np.nonzero(whole.any(1))[0]
        if view == 1 and change == "streak":
            whole[rows[len(rows) // 3] :][:4] = True
        elif view == 1:
            whole[rows[2 * len(rows) // 3] :] = False
        return whole

    finding = check(replace(rig, mask=mask), moments=4, rays=24)
    assert (finding.fault, finding.cameras) == ("masks", ("cam1",))
    assert {"streak": "show more", "legs": "lack"}[change] in finding.words


def cut_off(rig, view, share):
    """The rig whose pictures of one camera end in the middle of the person, as often as not."""
    places = [np.nonzero(rig.mask(view, frame).any(0))[0] for frame in range(0, rig.frames, 5)]
    middle = np.median([(1 - share) * place[0] + share * place[-1] for place in places])

    def mask(v, frame):
        return rig.mask(v, frame)[:, : int(middle)] if v == view else rig.mask(v, frame)

    return replace(rig, mask=mask)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_people_who_are_partly_out_of_the_picture_accuse_no_camera(rig, share):
    finding = check(cut_off(rig, 1, share), rays=24)
    assert (finding.fault, finding.cameras) == ("none", ())


def test_a_fault_is_named_with_people_partly_out_of_the_picture(rig):
    wrong, views = bench.swapped(cut_off(rig, 0, 0.5), 1, 2, np.random.default_rng(5))
    finding = check(wrong)
    assert finding.fault == "swapped"
    assert set(finding.cameras) == {rig.names[view] for view in views}


def test_a_recording_of_a_few_frames_is_checked_without_shifts(rig):
    wrong, _ = bench.extrinsics(rig, 1, 2, np.random.default_rng(5))
    finding = check(replace(wrong, frames=6, mask=lambda v, f: rig.mask(v, 20 * f)), rays=16)
    assert finding.fault != "none"


def test_two_cameras_cannot_be_checked(rig):
    two = Rig(rig.names[:2], rig.K[:2], rig.R[:2], rig.t[:2], rig.frames, rig.mask)
    with pytest.raises(ValueError, match=r"three cameras or more, got \['cam0', 'cam1'\]"):
        check(two)


def test_a_person_who_is_not_seen_cannot_be_checked(rig):
    nobody = replace(rig, mask=lambda view, frame: np.zeros((48, 64), bool))
    with pytest.raises(ValueError, match="only 0 of .* moments show the person"):
        check(nobody)


# ---- masks of nobody -----------------------------------------------------------------------------


def degraded(rig, view, kind, bad=lambda frame: True):
    """The rig with the masks of a camera spoilt in some frames."""

    def mask(v, frame):
        whole = rig.mask(v, 10 if kind == "frozen" and v == view and bad(frame) else frame)
        if v != view or not bad(frame):
            return whole
        made = {"white": np.ones_like(whole), "inverted": ~whole, "empty": np.zeros_like(whole)}
        return made.get(kind, whole)

    return replace(rig, mask=mask)


@pytest.mark.parametrize("kind", ["white", "inverted", "empty", "frozen"])
def test_masks_of_nobody_are_the_fault_not_the_camera(rig, kind):
    finding = check(degraded(rig, 1, kind), moments=4, rays=20)
    assert (finding.fault, finding.cameras) == ("masks", ("cam1",))
    assert f"the masks of cam1 are {kind} in 8 of the 8 moments" in finding.words
    assert (finding.gap, finding.mended, finding.without) == (None, None, ())


@pytest.mark.parametrize("kind", ["white", "inverted", "empty", "frozen"])
def test_some_masks_of_nobody_cost_their_moments_alone(rig, kind):
    wrong = degraded(rig, 1, kind, bad=lambda frame: frame < rig.frames // 2)
    finding = check(wrong, moments=8, rays=20)
    assert (finding.fault, finding.cameras) == ("none", ())
    (line,) = finding.left_out
    assert f"the masks of cam1 are {kind} in 8 of the 16 moments" in line


def test_a_wrong_camera_is_still_found_beside_masks_of_nobody(rig):
    wrong, views = bench.swapped(rig, 1, 2, np.random.default_rng(5))
    finding = check(degraded(wrong, 0, "white", bad=lambda frame: frame < rig.frames // 2))
    assert finding.fault == "swapped"
    assert set(finding.cameras) == {rig.names[view] for view in views}
    assert "the masks of cam0 are white" in finding.left_out[0]


def test_masks_inverted_in_all_cameras_are_named_together(rig):
    finding = check(replace(rig, mask=lambda v, f: ~rig.mask(v, f)), moments=4, rays=20)
    assert (finding.fault, finding.cameras) == ("masks", rig.names)


@pytest.mark.parametrize("share", [2, 3])
@pytest.mark.parametrize("step", [1, 16])
def test_masks_that_leak_are_no_letterbox(rig, share, step):
    """They cover a part of the picture, but not all around it."""

    def mask(view, frame):
        whole = rig.mask(view, step * frame).copy()
        if view == 1:
            whole[:, : whole.shape[1] // share] = True
        return whole

    finding = check(replace(rig, frames=rig.frames // step, mask=mask), moments=4, rays=20)
    assert (finding.fault, finding.cameras) == ("masks", ("cam1",))


# ---- masks of somebody else ----------------------------------------------------------------------


def beside(mask, pixels=170):
    """A mask of somebody who stands beside."""
    return np.roll(mask, pixels if np.nonzero(mask)[1].mean() < mask.shape[1] / 2 else -pixels, 1)


def test_some_masks_of_somebody_else_accuse_no_camera(rig):
    strange = set()

    def mask(view, frame):
        if view != 1 or frame % 3:
            return rig.mask(view, frame)
        strange.add(frame)
        return beside(rig.mask(view, frame))

    finding = check(replace(rig, mask=mask), moments=8, rays=30)
    assert (finding.fault, finding.cameras) == ("none", ())
    *others, line = sorted(finding.left_out, key=lambda line: "the masks of cam1 are" in line)
    assert set(map(int, re.search(r"frames ([0-9, ]+)", line)[1].split(","))) == strange
    assert all("in 1 of the" in line for line in others)  # of three, two may be the stranger


def test_a_camera_that_is_turned_far_shows_nobody_else(rig):
    """One pose explains its masks in all moments."""
    turned = replace(rig, mask=lambda v, f: np.roll(rig.mask(v, f), 120 * (v == 1), 1))
    scene = Look(turned, 8, 30).scene()
    assert explained_by_a_pose(scene, 1)
    swaying = replace(
        rig, mask=lambda v, f: np.roll(rig.mask(v, f), (150, -150)[f % 2] * (v == 1), 1)
    )
    assert not explained_by_a_pose(Look(swaying, 8, 30).scene(), 1)


# ---- moments that tell nothing -------------------------------------------------------------------


def test_a_shift_is_no_better_for_the_moments_that_it_loses(rig):
    """Two moments lack the legs, and the frames beside them show nobody."""
    bad = [Look(rig, moments=8, rays=30).frames[i] for i in (2, 5)]
    wrong = replace(rig, mask=without_legs(rig, bad, 1 / 3, nobody=near(bad)))
    look = Look(wrong, moments=8, rays=30)
    assert len(look.shifted(1, 1)[0]) == len(look.frames) - 2
    finding = check(wrong, moments=8, rays=30)
    assert finding.gap > 0.5
    assert finding.fault in ("masks", "unclear"), finding
    assert not finding.left_out  # frames beside those that were looked at are not told


def test_masks_that_are_guesses_are_not_looked_at(rig):
    touching = {frame for frame in range(rig.frames) if frame % 40 < 20}
    mask = without_legs(rig, touching, 1 / 2)
    told = replace(rig, mask=mask, guessed=lambda v, f: v == 1 and f in touching)
    assert check(replace(told, guessed=rig.guessed), moments=8, rays=30).fault != "none"
    finding = check(told, moments=8, rays=30)
    assert (finding.fault, finding.cameras) == ("none", ())
    (line,) = finding.left_out
    assert re.fullmatch(r"\d+ frames in which people touch in cam1, and masks are guesses", line)
    assert abs(int(line.split()[0]) - rig.frames // 2) <= 10


def test_a_shift_takes_no_moment_to_a_guess(rig):
    guessed = replace(rig, guessed=lambda v, f: v == 1 and f % 20 == 7)
    look = Look(guessed, moments=8, rays=10)
    kept, scene = look.shifted(1, 2)
    assert [look.frames[k] for k in kept] == [f for f in look.frames if f % 20 != 5]
    assert len(scene.moments) == len(kept)


@pytest.mark.parametrize("frames", [0, -7])
def test_cameras_that_share_no_frame_cannot_be_looked_at(rig, frames):
    """As where sync takes them for later than they are long."""
    with pytest.raises(ValueError, match="only 0 of 0 moments"):
        Look(replace(rig, frames=frames), moments=8, rays=10)


def test_guesses_everywhere_are_the_masks_fault(rig):
    finding = check(replace(rig, guessed=lambda v, f: v == 2), moments=8, rays=10)
    assert (finding.fault, finding.cameras) == ("masks", ("cam2",))
    assert "people touch, and masks of ['cam2'] are guesses" in finding.words


# ---- settle --------------------------------------------------------------------------------------


def test_cameras_settle_where_silhouettes_agree(rig):
    wrong, _ = bench.extrinsics(rig, 1, 0, np.random.default_rng(2))
    scene = Look(wrong, 6, 24).scene()
    mended = settle(scene, [1])
    assert mean_gap(gaps(mended)) < 0.4 * mean_gap(gaps(scene))
    points = np.random.default_rng(0).uniform(-600, 600, (50, 3)) + [0, 0, 900]

    def seen(R, t):
        q = (points @ R.T + t) @ rig.K[1].T
        return q[:, :2] / q[:, 2:]

    true = seen(rig.R[1], rig.t[1])
    before = np.linalg.norm(seen(wrong.R[1], wrong.t[1]) - true, axis=1).mean()
    after = np.linalg.norm(seen(mended.R[1], mended.t[1]) - true, axis=1).mean()
    assert before > 5  # pixels
    assert after < 0.4 * before
    for view in (0, 2):
        np.testing.assert_array_equal(mended.R[view], rig.R[view])


def test_joints_pull_cameras_to_where_they_meet(rig):
    points = np.random.default_rng(0).uniform(-600, 600, (4, 6, 3)) + [0, 0, 900]
    in_camera = np.einsum("vij,mnj->mvni", rig.R, points) + rig.t[:, None]
    pixels = np.einsum("vij,mvnj->mvni", rig.K, in_camera)
    joints = pixels[..., :2] / pixels[..., 2:]
    joints[0, 1, 2] = np.nan  # a joint that one view has not found
    wrong, _ = bench.extrinsics(rig, 1, 0, np.random.default_rng(2))
    scene = Look(wrong, 3, 10).scene()
    mended = settle(scene, [1], joints)
    again = np.einsum("ij,mnj->mni", mended.R[1], points) + mended.t[1]
    again = again @ rig.K[1].T
    error = np.linalg.norm(again[..., :2] / again[..., 2:] - joints[:, 1], axis=-1)
    assert np.nanmedian(error) < 1.0


# ---- files and commands --------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path, rig):
    """The rig's masks of some frames as files, and its calibration."""
    sizes = np.tile([float(bench.WIDTH), bench.HEIGHT], (3, 1))
    calibration = Calibration(rig.names, rig.K, rig.R, rig.t, np.zeros((3, 5)), sizes)
    write_calibration(calibration, tmp_path / "cameras.json")
    for view, name in enumerate(rig.names):
        (tmp_path / "masks" / name).mkdir(parents=True)
        for frame in range(0, 24, 2):
            picture = 255 * rig.mask(view, 8 * frame).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "masks" / name / f"{frame:06d}.png"), picture)
    return tmp_path


def run(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["calibration", *map(str, words)])
    main()


def test_check_tells_and_writes_what_it_found(recording, monkeypatch, capsys):
    keys = ("moments=4", "rays=20", f"output={recording / 'found.json'}")
    run(monkeypatch, "check", f"input={recording}", *keys)
    told = capsys.readouterr().out
    assert "none: all cameras agree" in told
    assert "without cam1" in told
    assert json.loads((recording / "found.json").read_text())["fault"] == "none"


@pytest.mark.parametrize(
    ("scale", "told"),
    [
        (1.5, r"1\.[3-7] times as big"),
        (0.1, r"0\.[01]\d* times as big .*: python -m .* scale=10$"),
        (10.0, r"\d+ times as big .*: python -m .* scale=0\.1$"),
        (1000.0, r"\d+ times as big .*: python -m .* scale=0\.001$"),
    ],
)
def test_a_scale_that_opens_no_gap_is_told(rig, scale, told):
    """Silhouettes agree at any scale, but nobody is so big."""
    right, wrong = check(rig), check(replace(rig, t=scale * rig.t))
    assert right.scale == ""
    assert wrong.fault == right.fault == "none"
    assert re.search(f"^a person would be {told}", wrong.scale), wrong.scale


def test_the_command_tells_a_wrong_scale_and_the_way_back(recording, monkeypatch, capsys):
    told = json.loads((recording / "cameras.json").read_text())
    told["unit"] = "m"  # of millimetres
    for camera in told["cameras"].values():
        camera["t"] = [value / 100 for value in camera["t"]]
    (recording / "cameras.json").write_text(json.dumps(told))
    run(monkeypatch, "check", f"input={recording}", "moments=4", "rays=20")
    (words,) = re.findall("^! a person would be 10 times .*$", capsys.readouterr().out, re.M)
    path = recording / "cameras.json"
    command = words.rpartition("mask_sup.calibration ")[2].replace("<calibration>", str(path))
    run(monkeypatch, *command.replace("output=", f"output={recording}/").split())
    capsys.readouterr()
    run(monkeypatch, "check", f"input={recording}", "moments=4", "rays=20")
    assert "! " not in capsys.readouterr().out


def test_cameras_without_masks_are_left_out_aloud(recording, monkeypatch, capsys):
    cameras = json.loads((recording / "cameras.json").read_text())
    cameras["cameras"]["spare"] = cameras["cameras"]["cam0"]
    (recording / "cameras.json").write_text(json.dumps(cameras))
    run(monkeypatch, "check", f"input={recording}", "moments=4", "rays=20")
    told = capsys.readouterr().out
    assert "! cameras of" in told
    assert "without masks: ['spare'] are left out" in told
    assert "none: all cameras agree" in told


def test_check_doubts_a_k_of_other_pictures(recording, monkeypatch, capsys):
    told = json.loads((recording / "cameras.json").read_text())
    for camera in told["cameras"].values():
        del camera["size"]
        camera["K"] = (np.diag([0.5, 0.5, 1]) @ camera["K"]).tolist()
    (recording / "cameras.json").write_text(json.dumps(told))
    run(monkeypatch, "check", f"input={recording}", "moments=4", "rays=20")
    told = capsys.readouterr().out
    assert "far off the middle: K seems to be for pictures of" in told
    assert "0.5 times the size" in told


@pytest.mark.parametrize("kind", ["white", "inverted"])
@pytest.mark.parametrize("command", ["check", "refine"])
def test_commands_name_masks_of_nobody_by_their_files(
    recording, monkeypatch, capsys, kind, command
):
    for path in (recording / "masks" / "cam1").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), 255 - mask if kind == "inverted" else np.full_like(mask, 255))
    output = recording / "found.json"
    words = (command, f"input={recording}", "moments=4", "rays=20", f"output={output}")
    expected = f"the masks of cam1 are {kind} in 6 of the 6 moments .*frames 6, 8, 10, 12, 14, 16"
    if command == "refine":
        with pytest.raises(SystemExit, match=expected):
            run(monkeypatch, *words)
        assert not output.exists()
        return
    run(monkeypatch, *words)
    assert re.search("masks: " + expected, capsys.readouterr().out)
    told = json.loads(output.read_text())
    assert (told["fault"], told["cameras"], told["gap"]) == ("masks", ["cam1"], None)


def test_refine_mends_no_camera_whose_masks_show_too_much(recording, monkeypatch):
    for path in (recording / "masks" / "cam1").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        mask[:, : mask.shape[1] // 2] = 255
        cv2.imwrite(str(path), mask)
    keys = ("moments=4", "rays=20", f"output={recording / 'better.json'}")
    with pytest.raises(SystemExit, match=r"cam1 show more .*nothing is refined"):
        run(monkeypatch, "refine", f"input={recording}", *keys)
    assert not (recording / "better.json").exists()


@pytest.mark.parametrize("k1", [-0.2, 0.3])
def test_white_masks_stay_white_without_the_lens(recording, k1):
    calibration = read_calibration(recording / "cameras.json")
    bent = replace(calibration, distortion=np.tile([k1, 0.0, 0.0, 0.0, 0.0], (3, 1)))
    path = next((recording / "masks" / "cam1").iterdir())
    cv2.imwrite(str(path), np.full_like(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 255))
    found = rig_from_masks(bent, recording / "masks")
    frame = sorted((recording / "masks" / "cam1").iterdir()).index(path)
    assert found.mask(1, frame).all()
    assert not found.mask(1, (frame + 1) % found.frames).all()


def test_masks_on_their_side_are_told_to_be_turned(recording):
    for path in (recording / "masks" / "cam1").iterdir():
        cv2.imwrite(str(path), np.rot90(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)))
    with pytest.raises(ValueError, match="masks of 'cam1' .* calibrated for .* turned by 90 deg"):
        rig_from_masks(read_calibration(recording / "cameras.json"), recording / "masks")


def test_masks_of_half_the_size_agree_as_well(recording):
    calibration = read_calibration(recording / "cameras.json")
    for path in (recording / "masks" / "cam1").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        half = cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(path), half)
    finding = check(rig_from_masks(calibration, recording / "masks"), moments=4, rays=20)
    assert finding.fault == "none"


def test_frames_in_which_people_touch_are_read_beside_the_masks(recording):
    touching = {"cam1": {"people": 2, "touching": [4, 8]}}
    (recording / "masks" / "people.json").write_text(json.dumps(touching))
    calibration = read_calibration(recording / "cameras.json")
    late = {"cam0": 0, "cam1": 1, "cam2": 0}
    for offsets, frames in ((None, [2, 4]), (late, [1, 3])):  # files 0, 2, 4, ...
        found = rig_from_masks(calibration, recording / "masks", offsets)
        assert [f for f in range(found.frames) if found.guessed(1, f)] == frames
        assert not any(found.guessed(0, f) for f in range(found.frames))


def test_cameras_that_lack_different_masks_are_refused(recording):
    (recording / "masks" / "cam1" / "000004.png").unlink()
    (recording / "masks" / "cam2" / "000008.png").unlink()
    (recording / "masks" / "cam0" / "000000.png").unlink()
    with pytest.raises(ValueError, match="'cam0' and 'cam1' are not of the same moments"):
        rig_from_masks(read_calibration(recording / "cameras.json"), recording / "masks")


@pytest.mark.slow
def test_refine_writes_a_calibration_that_agrees_better(recording, rig, monkeypatch, capsys):
    wrong, _ = bench.extrinsics(rig, 1, 0, np.random.default_rng(2))
    calibration = read_calibration(recording / "cameras.json")
    write_calibration(replace(calibration, R=wrong.R, t=wrong.t), recording / "cameras.json")
    keys = ("moments=4", "rays=20", f"output={recording / 'better.json'}")
    run(monkeypatch, "refine", f"input={recording}", *keys)
    assert "cam1: turned" in capsys.readouterr().out
    better = read_calibration(recording / "better.json")
    masks = recording / "masks"
    before, after = (
        mean_gap(gaps(Look(rig_from_masks(c, masks), 6, 30).scene()))
        for c in (replace(calibration, R=wrong.R, t=wrong.t), better)
    )
    assert after < 0.6 * before


def test_masks_are_freed_of_distortion_and_made_small(tmp_path):
    """A square seen through a lens that bends: its corners come back where a pinhole sees them."""
    K = np.array([[1000.0, 0, 640], [0, 1000, 480], [0, 0, 1]])
    bend = np.array([-0.2, 0.05, 0.001, -0.002, 0.0])
    corners = np.array([[-0.4, -0.3], [0.4, -0.3], [0.4, 0.3], [-0.4, 0.3]])
    edge = np.concatenate(
        [np.linspace(a, b, 200) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    )
    flat = np.concatenate([edge, np.ones((len(edge), 1))], 1)
    seen = cv2.projectPoints(flat, np.zeros(3), np.zeros(3), K, bend)[0][:, 0]
    mask = np.zeros((960, 1280), np.uint8)
    cv2.fillPoly(mask, [np.rint((seen - 0.5) * 16).astype(np.int32)], 255, shift=4)
    names = ("a", "b")
    for name in names:
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), mask)
    t = np.array([[0, 0, 0], [500.0, 0, 0]])
    sizes = np.tile([1280.0, 960.0], (2, 1))
    calibration = Calibration(
        names, np.stack([K, K]), np.stack([np.eye(3)] * 2), t, np.stack([bend, bend]), sizes
    )
    rig = rig_from_masks(calibration, tmp_path)
    small = rig.mask(0, 0)
    assert small.shape == (480, 640)
    rows, columns = np.nonzero(small)
    expected = corners @ rig.K[0, :2, :2].T + rig.K[0, :2, 2]
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    np.testing.assert_allclose([low, high], [expected[0], expected[2]], atol=1.0)
    # A pinhole sees a full rectangle; through the lens its sides were bent.
    assert small.sum() == pytest.approx(np.prod(expected[2] - expected[0]), rel=0.005)


def test_cameras_with_unlike_numbers_of_masks_are_refused(recording):
    (recording / "masks" / "cam1" / "000000.png").unlink()
    with pytest.raises(ValueError, match="same number of masks .*'cam1': 11"):
        rig_from_masks(read_calibration(recording / "cameras.json"), recording / "masks")
