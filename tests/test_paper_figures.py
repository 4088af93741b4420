"""scripts/paper_figures.py on fabricated runs."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mask_sup.data.manifest import tabulate, write_manifest
from mask_sup.files.pictures import read_image
from mask_sup.models.checkpoint import load

SCRIPT = Path(__file__).parents[1] / "scripts" / "paper_figures.py"


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("paper_figures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_run(folder, **stages):
    """A run of stages whose skeleton losses are given; None: a stage that logs none."""
    stage = {"module": {"_target_": "mask_sup.method.stages.SkeletonStage"}, "max_steps": 40}
    folder.mkdir()
    config = {"cascade": dict.fromkeys(stages, stage)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for name, losses in stages.items():
        (folder / name).mkdir()
        key = "train/total" if losses is None else "train/skeleton"
        rows = [f"{i},{value}" for i, value in enumerate(losses or [1.0] * 30)]
        (folder / name / "metrics.csv").write_text("\n".join([f"step,{key}", *rows]) + "\n")
    return folder


def test_stages_follow_each_other_over_one_axis_and_rounds_leave_a_gap(figures, tmp_path):
    run = write_run(tmp_path / "run", skeleton=[0.5] * 20, relabel=None, arms=[0.25] * 20)
    (first, steps, values), (last, later, _) = figures.stage_losses(run)
    assert (first, last) == ("skeleton", "arms")
    np.testing.assert_array_equal(steps, np.arange(1, 21))
    np.testing.assert_array_equal(later, np.arange(51, 71))
    np.testing.assert_array_equal(values, 0.5)


def test_one_stray_value_does_not_show(figures, tmp_path):
    run = write_run(tmp_path / "run", skeleton=[0.5] * 10 + [9.0] + [0.5] * 10)
    np.testing.assert_array_equal(figures.stage_losses(run)[0][2], 0.5)


def test_figure_4_colours_the_stages_and_is_equal_when_made_again(figures, tmp_path):
    cascade = write_run(tmp_path / "cascade", skeleton=[0.5] * 20, arms=[0.25] * 20)
    single = write_run(tmp_path / "single", arms=[0.4] * 40)
    figure = figures.loss_figure(cascade, single)
    (axis,) = figure.axes
    told = {line.get_label(): line.get_color() for line in axis.lines}
    assert list(told) == ["cascade: skeleton", "cascade: arms", "no cascade: arms"]
    assert len(set(told.values())) == 3
    for name in ("one", "two"):
        figures.save(figures.loss_figure(cascade, single), tmp_path / name)
    for ending in (".png", ".pdf"):
        first, again = (tmp_path / f"{name}{ending}" for name in ("one", "two"))
        assert first.read_bytes() == again.read_bytes()
    assert read_image(tmp_path / "one.png").std() > 10


def test_a_run_without_that_loss_is_named(figures, tmp_path):
    run = write_run(tmp_path / "labels", supervised=None)
    with pytest.raises(ValueError, match="no stage of .*labels has logged train/skeleton"):
        figures.loss_figure(run, run)


def test_a_pose_is_turned_about_the_vertical_axis(figures):
    pose = np.array([[100.0, 20.0, 0.0], [-100.0, -20.0, 0.0]])
    np.testing.assert_allclose(figures.turned(pose, 0), pose[:, :2])
    np.testing.assert_allclose(figures.turned(pose, 90), [[0, 20], [0, -20]], atol=1e-9)
    ahead = np.array([[0.0, 0.0, 50.0], [0.0, 0.0, -50.0]])
    np.testing.assert_allclose(figures.turned(ahead, 90), [[50, 0], [-50, 0]], atol=1e-9)


@pytest.fixture
def checkpoint(tmp_path, write_moments, cameras_around, write_checkpoint):
    """A detector, and two moments of two views that are labelled."""
    root = tmp_path / "data"
    moments = write_moments(root / "val", cameras_around(2), count=2)
    write_manifest(root, tabulate(root, "val", moments, ["a", "b"]), {})
    return write_checkpoint(tmp_path / "run", f"data.source.root={root}")


def test_each_view_is_a_row_of_picture_pose_and_label(figures, checkpoint, human18):
    figure = figures.pose_figure(checkpoint, "val", 2, [])
    turns = len(figures.TURNS)
    assert len(figure.axes) == 2 * 2 * (1 + 2 * turns)
    picture, front = figure.axes[:2]
    assert len(picture.lines) == len(front.lines) == len(human18.tree)
    # The first bone over the picture ends where the detector puts its joints.
    image = torch.tensor(picture.images[0].get_array().data).permute(2, 0, 1)
    xy = load(checkpoint)(image[None])[0, :, :2].detach().numpy()
    np.testing.assert_allclose(picture.lines[0].get_xydata(), xy[list(human18.tree[0])], atol=1e-5)
    # The label stands upright: its head is above its ankles, and y points down.
    drawn = {end: line.get_ydata()[1] for line, (_, end) in
             zip(figure.axes[1 + turns].lines, human18.tree, strict=True)}  # fmt: skip
    assert drawn[human18.index["head"]] < drawn[human18.index["right_ankle"]]


def test_an_unknown_key_of_the_data_is_refused(figures, checkpoint):
    with pytest.raises(TypeError, match="paddling"):
        figures.pose_figure(checkpoint, "val", 1, ["paddling=2"])
