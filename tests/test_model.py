"""The import: what `mask_sup.load().predict` gives is what the command writes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mask_sup
from mask_sup.export.clip import read_clip
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.files.poses import read_poses
from mask_sup.predict import predict
from mask_sup.report.predictions import read_predictions

LENS = np.array([-0.25, 0.08, 0.002, -0.003, 0.01])
PUBLIC = {
    *("Camera", "Model", "Poses", "Skeleton", "__version__", "load", "metrics"),
    *("read_calibration", "render", "triangulate", "trust"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, compose_config, write_checkpoint, write_recording, cameras_around):
    """A recording of two cameras, one with a distorting lens, and what the command makes of it."""
    folder = tmp_path_factory.mktemp("model")
    cameras = [cameras_around(2)[0], cameras_around(2, LENS)[1]]
    root = write_recording(folder / "rec", cameras, count=3)
    checkpoint = write_checkpoint(folder / "run", "detector.mask_input=true")
    cfg = compose_config("predict", f"checkpoint={checkpoint}", f"input={root}", "fit=false")
    cfg.overlays = False
    header, arrays = read_poses(predict(cfg) / "poses.npz")
    return root, mask_sup.load(checkpoint), header, arrays, cameras


@pytest.fixture(scope="module")
def rig(made):
    return {
        f"cam{k}": mask_sup.Camera.from_opencv(c["K"], c["R"], c["t"], c["distortion"])
        for k, c in enumerate(made[4])
    }


def files(root, kind, camera):
    return sorted((root / kind / camera).iterdir())


def read(root, kind, camera):
    reader = read_image if kind == "frames" else read_mask
    return [reader(path) for path in files(root, kind, camera)]


def equal(poses, arrays):
    assert {*poses.arrays, "pictures"} == set(arrays)
    for name, value in poses.arrays.items():
        np.testing.assert_array_equal(value, arrays[name], err_msg=name)


# ---- the package ---------------------------------------------------------------------------------

IMPORT = """
import sys, mask_sup
print(*sorted(dir(mask_sup)))
print(sorted({"torch", "cv2", "numpy", "hydra", "lightning"} & set(sys.modules)))
print(mask_sup.__version__)
"""
PREDICT = """
import sys, numpy, mask_sup
mask = numpy.zeros((60, 50), bool)
mask[5:55, 15:30] = True
poses = mask_sup.load().predict(numpy.zeros((60, 50, 3), numpy.uint8), mask)
assert numpy.isfinite(poses.joints_3d).all()
loaded = {name.partition(".")[0] for name in sys.modules}
print("LOADED", sorted({"hydra", "lightning", "pytorch_lightning", "wandb"} & loaded))
"""


def python(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_shows_its_public_names_and_loads_nothing_for_it(tmp_path):
    names, loaded, version = python(IMPORT, tmp_path).splitlines()
    assert set(names.split()) == PUBLIC
    assert loaded == "[]"
    assert version[0].isdecimal()


def test_every_public_name_is_there():
    assert all(getattr(mask_sup, name) is not None for name in PUBLIC)
    assert mask_sup.metrics.pose_errors is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mask_sup.nothing


def test_predicting_needs_neither_hydra_nor_lightning(tmp_path):
    assert "LOADED []" in python(PREDICT, tmp_path)


# ---- one way to do a thing -----------------------------------------------------------------------


def test_a_recordings_poses_are_those_that_the_command_writes(made, tmp_path):
    root, model, header, arrays, _ = made
    poses = model.predict(root, fit=False)
    equal(poses, arrays)
    assert poses.settings == header["settings"]
    told, saved = read_poses(poses.save(tmp_path / "poses.npz"))
    assert told == header
    assert set(saved) == set(arrays)
    assert (saved["pictures"] == arrays["pictures"]).all()
    assert read_clip(tmp_path / "poses.npz").points_mm.shape == (3, 18, 3)
    assert read_predictions(tmp_path / "poses.npz").cameras == ("cam0", "cam1")


@pytest.mark.parametrize("kind", ["files", "folders", "arrays", "tensors", "stacked", "in order"])
def test_pictures_and_cameras_in_hand_give_the_recordings_poses(made, rig, kind):
    root, model, _, arrays, _ = made
    of = {
        "files": files,
        "folders": lambda root, what, camera: root / what / camera,
        "arrays": read,
        "tensors": lambda *words: [torch.from_numpy(picture) for picture in read(*words)],
        "stacked": lambda *words: np.stack(read(*words)) / 255,
        "in order": read,
    }[kind]
    images, masks = ({c: of(root, what, c) for c in rig} for what in ("frames", "masks"))
    if kind == "in order":
        images, masks, rig = (list(part.values()) for part in (images, masks, rig))
    poses = model.predict(images, masks, rig, fit=False)
    equal(poses, arrays)
    assert (len(poses), poses.frame) == (3, "world")
    assert poses.joints_2d.shape == (3, 2, 18, 2)
    np.testing.assert_array_equal(poses.joints_3d, arrays["joints_world_mm"])
    np.testing.assert_array_equal(poses.confidence, arrays["confidence"])
    np.testing.assert_array_equal(poses["left_wrist"], arrays["joints_world_mm"][:, 13])


def test_one_moment_is_a_picture_per_camera(made, rig):
    root, model, _, arrays, _ = made
    images, masks = ({c: read(root, what, c)[1] for c in rig} for what in ("frames", "masks"))
    poses = model.predict(images, masks, rig, fit=False)
    assert len(poses) == 1
    np.testing.assert_allclose(poses.joints_3d[0], arrays["joints_world_mm"][1], atol=1e-2)


@pytest.mark.slow
def test_poses_are_fitted_where_the_command_would(made, rig, compose_config, tmp_path):
    root, model, *_ = made
    cfg = compose_config(
        *("predict", f"checkpoint={model.name}", f"input={root}", f"output={tmp_path}"),
        *("overlays=false", "every=2"),
    )
    header, arrays = read_poses(predict(cfg) / "poses.npz")
    images, masks = ({c: read(root, what, c)[::2] for c in rig} for what in ("frames", "masks"))
    poses = model.predict(images, masks, rig)
    equal(poses, arrays)
    assert poses.settings["fitted_at_test"] is header["settings"]["fitted_at_test"] is True
    assert "fitted to masks" in repr(poses)


# ---- single views --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single(made, compose_config, tmp_path_factory):
    """Pictures, masks, and what the command makes of the two folders."""
    root, model, *_ = made
    cfg = compose_config(
        *("predict", f"checkpoint={model.name}", f"input={root / 'frames' / 'cam0'}"),
        *(f"masks={root / 'masks' / 'cam0'}", f"output={tmp_path_factory.mktemp('single')}"),
    )
    cfg.overlays = False
    _, arrays = read_poses(predict(cfg) / "poses.npz")
    return read(root, "frames", "cam0"), read(root, "masks", "cam0"), arrays


def test_a_folder_a_list_and_an_array_are_the_same(made, single):
    root, model, *_ = made
    images, masks, arrays = single
    equal(model.predict(str(root / "frames" / "cam0"), root / "masks" / "cam0"), arrays)
    equal(model.predict(images, masks), arrays)
    equal(model.predict(files(root, "frames", "cam0"), files(root, "masks", "cam0")), arrays)
    poses = model.predict(torch.from_numpy(np.stack(images)), np.stack(masks) > 127)
    equal(poses, arrays)
    assert (poses.frame, poses.confidence, poses.box) == ("camera", None, "mask")
    assert poses.settings["box_at_test"] == "the person's mask"
    assert not poses.settings["fitted_at_test"]


def test_single_views_are_relative_to_the_root_in_the_size_of_the_person(made, single):
    model, (images, masks, _) = made[1], single
    poses = model.predict(images[0], masks[0])
    assert poses.joints_3d.shape == (1, 18, 3)
    assert not poses["pelvis"].any()
    double = model.predict(images[0], masks[0], person_height=3400.0)
    height = np.abs(double.joints_3d[..., 0] - 2 * poses.joints_3d[..., 0])
    assert height.max() < np.abs(double.joints_3d[..., 0]).max()  # scale goes up, depth stays
    assert double.request.person_height == 3400.0


def test_poses_of_arrays_are_saved_and_exported(made, single, tmp_path):
    model, (images, masks, arrays) = made[1], single
    path = model.predict(images, masks).save(tmp_path / "poses.npz")
    header, saved = read_poses(path)
    assert header["input"] == "arrays"
    assert saved["pictures"][2, 0] == "000002"
    np.testing.assert_array_equal(saved["joints_px"], arrays["joints_px"])
    assert read_clip(path).joints_px.shape == (3, 1, 18, 2)


def test_poses_draw_themselves(made, rig, single, tmp_path):
    root, model = made[:2]
    images, masks, _ = single
    alone = model.predict(images, masks).draw(1, tmp_path / "one.png")
    assert alone.shape == images[1].shape
    assert 0.01 < (alone != images[1]).any(-1).mean() < 0.8
    np.testing.assert_array_equal(read_image(tmp_path / "one.png"), alone)
    both = model.predict(root, fit=False).draw()
    assert both.shape == (72, 144, 3)  # two views of 72 x 56, each in a square


def test_a_detector_of_whole_pictures_takes_boxes_or_looks_for_the_person(
    single, write_checkpoint, tmp_path
):
    model = mask_sup.load(write_checkpoint(tmp_path / "run", "detector.mask_input=false"))
    images = single[0]
    one = model.predict(images, boxes=[20, 10, 30, 40])
    each = model.predict(images, boxes=np.array([[20, 10, 30, 40]] * 2 + [[5, 5, 30, 40]]))
    np.testing.assert_array_equal(one.joints_2d[:2], each.joints_2d[:2])
    assert (one.joints_2d[2] != each.joints_2d[2]).all()
    assert one.box == "given"
    nobody = model.predict(images, boxes=[[20, 10, 30, 40], None, [20, 10, 30, 40]])
    assert np.isnan(nobody.joints_2d[1]).all()
    found = model.predict(images)
    assert found.settings["box_at_test"].startswith("found by the detector")


def test_each_camera_may_have_boxes_of_its_own(
    made, write_checkpoint, cameras_around, write_recording, tmp_path
):
    root = write_recording(tmp_path / "four", cameras_around(4), count=2)
    model = mask_sup.load(write_checkpoint(tmp_path / "run", "detector.mask_input=false"))
    images = {f"cam{k}": read(root, "frames", f"cam{k}") for k in range(4)}
    cameras = root / "cameras.json"
    boxes = {name: [10 + k, 5, 30, 40] for k, name in enumerate(images)}
    poses = model.predict(images, cameras=cameras, boxes=boxes)
    assert (poses.frame, len(poses)) == ("world", 2)
    assert not poses.settings["fitted_at_test"]
    each = model.predict(images, cameras=cameras, boxes=[[box] * 2 for box in boxes.values()])
    np.testing.assert_array_equal(each.joints_3d, poses.joints_3d)
    alone = model.predict(images["cam2"], boxes=boxes["cam2"])
    np.testing.assert_allclose(
        alone.arrays["joints_px"][:, 0], poses.arrays["joints_px"][:, 2], atol=1e-3
    )
    with pytest.raises(ValueError, match="four numbers, or the path of a CSV file"):
        mask_sup.load(model.name).predict(_without_masks(root), boxes=boxes)


def _without_masks(root):
    (root / "masks").rename(root / "not_masks")
    return root


# ---- mistakes ------------------------------------------------------------------------------------

PICTURE = np.zeros((20, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (PICTURE, None, "learned from masked pictures: expected masks="),
        (PICTURE.transpose(2, 0, 1), PICTURE[..., 0], r"shape \(3, 20, 16\), expected \(h, w, 3\)"),
        (PICTURE * 2.0 + 3, PICTURE[..., 0], r"numbers from 3 to 3, expected \[0, 1\] or uint8"),
        (PICTURE - np.int64(1), PICTURE[..., 0], "numbers from -1 to -1, expected 0 to 255"),
        ([PICTURE] * 2, [PICTURE[..., 0]], "2 pictures but 1 masks"),
        (PICTURE, PICTURE, "1 pictures but 20 masks"),
        ([], [], "no pictures were given"),
        (PICTURE, np.full((16, 20), 255, np.uint8), "turned by 90 degrees"),
    ],
)
def test_pictures_and_masks_that_do_not_go_together_are_told(made, images, masks, message):
    with pytest.raises(ValueError, match=message):
        made[1].predict(images, masks)


def test_cameras_that_do_not_go_together_are_told(made, rig):
    root, model = made[:2]
    images, masks = ({c: read(root, what, c) for c in rig} for what in ("frames", "masks"))
    with pytest.raises(ValueError, match=r"images of \['cam0'\] but cameras \['cam0', 'cam1'\]"):
        model.predict({"cam0": images["cam0"]}, masks, rig)
    with pytest.raises(ValueError, match="same number of pictures, got {'cam0': 3, 'cam1': 2}"):
        model.predict(images | {"cam1": images["cam1"][:2]}, masks, rig)
    with pytest.raises(ValueError, match="a list for the 2 cameras .*, got a path"):
        model.predict(root / "frames", masks, rig)
    with pytest.raises(ValueError, match=r"box=\[0, 0, 9, 9\] .* expected one of the two") as told:
        model.predict(images, masks, rig, [0, 0, 9, 9])
    assert len(str(told.value)) < 500  # not all the numbers of the masks
    with pytest.raises(TypeError, match="from_opencv"):
        model.predict(images, masks, {"cam0": np.eye(3), "cam1": np.eye(3)})
    with pytest.raises(ValueError, match="lacks two views or more and a calibration"):
        model.predict(images["cam0"], masks["cam0"], fit=True)


def test_a_joint_that_is_not_there_is_told_with_the_nearest(made, single):
    poses = made[1].predict(single[0][0], single[1][0])
    with pytest.raises(KeyError, match="did you mean left_wrist"):
        poses["left_wrists"]
    assert json.dumps(poses.names).startswith('["pelvis"')


# ---- docs/api.md ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_runs_as_it_stands(made, tmp_path, monkeypatch):
    root, _, _, _, cameras = made
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 3
    names = dict(zip(("left", "right"), ("cam0", "cam1"), strict=True))
    given = {
        "picture": read(root, "frames", "cam0")[0],
        "mask": read(root, "masks", "cam0")[0],
        "pictures": {name: read(root, "frames", cam)[0] for name, cam in names.items()},
        "masks": {name: read(root, "masks", cam)[0] for name, cam in names.items()},
        "calibrated": {
            name: [one[key] for key in ("K", "R", "t", "distortion")]
            for name, one in zip(names, cameras, strict=True)
        },
        "joints_px": np.random.default_rng(0).uniform(10, 40, (2, 18, 2)),
    }
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(block, given)  # noqa: S102
    assert (tmp_path / "overlay.png").is_file()
    assert (tmp_path / "poses.npz").is_file()
    assert given["bones"].shape == given["picture"].shape[:2]
    assert given["errors"]["mpjpe_mm"] == 0
