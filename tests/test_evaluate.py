import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.data import default_collate

from mask_sup.data.images import uncalibrated_view
from mask_sup.data.lens import mask_box
from mask_sup.data.manifest import PreparedData, join, read_manifest, tabulate, write_manifest
from mask_sup.data.moments import MomentDataset, expand
from mask_sup.evaluate import evaluate
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.metrics import PoseMetrics, flip_gain, joint_distances, root_relative, score
from mask_sup.models.checkpoint import load, run_folder
from mask_sup.synthetic.data import SyntheticData

ABOUT = {
    "settings",
    "root_depth",
    "n_mpjpe",
    "left_right",
    "checkpoint",
    "untrained",
    "data",
    "split",
    "moments",
    "weights",
    "rows",
}
FIGURES = {"mpjpe_mm", "n_mpjpe_mm", "p_mpjpe_mm", "sf_mpjpe_mm", "pck150_pct", "auc_pct"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def prepared(folder, write_moments, cameras_around):
    """A prepared data set of two calibrated views; `blank` is not labelled."""
    root, tables = folder / "data", []
    for seed, (split, count) in enumerate({"train": 1, "val": 5, "blank": 2}.items()):
        options = {"count": count, "seed": 10 * seed, "labelled": split != "blank"}
        moments = write_moments(root / split, cameras_around(2), **options)
        tables.append(tabulate(root, split, moments, ["a", "b"]))
    write_manifest(root, join(tables), {})
    return root


@pytest.fixture(scope="module")
def checkpoint(folder, prepared, write_checkpoint):
    return write_checkpoint(folder / "run", f"data.source.root={prepared}")


@pytest.fixture(scope="module")
def configure(compose_config, checkpoint):
    def make(*overrides, **values):
        return OmegaConf.merge(
            compose_config("evaluate", *overrides),
            {"checkpoint": str(checkpoint)},
            {
                key: str(value) if isinstance(value, Path) else value
                for key, value in values.items()
            },
        )

    return make


@pytest.fixture(scope="module")
def finished(configure, checkpoint):
    """What an evaluation of `val` returned, and the folder that it wrote."""
    values = evaluate(configure())
    return values, checkpoint.parents[2] / "evaluation" / "val"


def test_metrics_json_is_flat_and_equals_what_is_returned(finished):
    values, folder = finished
    written = json.loads((folder / "metrics.json").read_text())
    assert written == values
    keys = {f"{view}/{name}" for view in ("mono", "tri") for name in FIGURES}
    keys |= {"mono/mse_2d_pct", "ambiguity_pct", "scene_flip_pct"}
    assert keys | ABOUT <= set(written)
    groups = set(written) - keys - ABOUT
    assert groups
    assert all(re.fullmatch(r"mono/mpjpe_[a-z]+_mm", key) for key in groups)
    assert all(isinstance(written[key], float) for key in keys | groups)
    assert np.isfinite([written[key] for key in keys | groups]).all()


def test_the_conditions_of_the_figures_are_written_beside_them(finished, checkpoint):
    values, _ = finished
    assert (values["split"], values["moments"], values["untrained"]) == ("val", 5, False)
    assert values["checkpoint"] == str(checkpoint)
    flags = dict.fromkeys(("UP", "T", "SF", "SPP", "upright", "labels", "person_ids"), False)
    told = {
        "anatomy": [],
        "body": [],
        "relabel": 0,
        "mirror_test": True,
        "fitted_at_test": False,
        "hanging_arms": True,
        "time": False,
    }
    told |= {"masks": ["of a prepared data set, as its header tells"], "calibrated": True}
    told |= {"masks_at_test": "the input and the crop", "box_at_test": "the person's mask"}
    # The checkpoint is made without a training: it tells what all stages of its config share.
    assert values["settings"] == flags | told | {"stages": ["unknown"]}
    assert values["left_right"] == "not fixed by labels or priors"
    assert values["root_depth"].startswith("labels")


def test_figures_equal_those_worked_out_by_hand(finished, prepared, checkpoint, human18):
    """Monocular and triangulated error of all five moments, with plain numpy."""
    values, _ = finished
    moments = PreparedData(prepared).moments("val")
    data = MomentDataset(moments, 18, 16, 16, 1.2, True, None, False)
    detector, root = load(checkpoint), human18.root
    mono, tri = [], []
    items = [expand(item) for item in data]
    with torch.no_grad():
        detected = detector(torch.stack([item.views.image for item in items])).double().numpy()
    for item, joints in zip(items, detected, strict=True):
        label = item.labels.joints_world.double().numpy()
        cameras = list(zip(*(part.double().numpy() for part in item.views.camera), strict=True))
        for crop, (K, R, t) in zip(joints, cameras, strict=True):
            label_cam = label @ R.T + t
            z = label_cam[root, 2] + crop[:, 2] * detector.depth_range / 2
            rays = np.concatenate([crop[:, :2], np.ones((18, 1))], 1) @ np.linalg.inv(K).T
            cam = rays * z[:, None]
            mono.append(np.linalg.norm((cam - cam[root]) - (label_cam - label_cam[root]), axis=1))
        world = []
        for j in range(18):  # two rows per view, on normalised rays
            rows, target = [], []
            for crop, (K, R, t) in zip(joints, cameras, strict=True):
                x, y, w = np.linalg.inv(K) @ [crop[j, 0], crop[j, 1], 1.0]
                rows += [R[0] - x / w * R[2], R[1] - y / w * R[2]]
                target += [x / w * t[2] - t[0], y / w * t[2] - t[1]]
            world.append(np.linalg.lstsq(np.array(rows), np.array(target), rcond=None)[0])
        world = np.array(world)
        tri.append(np.linalg.norm((world - world[root]) - (label - label[root]), axis=1))
    assert values["mono/mpjpe_mm"] == pytest.approx(np.mean(mono), rel=1e-4)
    assert values["tri/mpjpe_mm"] == pytest.approx(np.mean(tri), rel=1e-4)


def test_overlays_show_four_moments_in_all_views_and_in_3d(finished):
    _, folder = finished
    sheet = read_image(folder / "overlays.png")
    assert sheet.shape == (4 * 192, (2 + 4) * 192, 3)  # two views; label and pose, each twice
    assert sheet.std() > 20


def test_a_second_evaluation_prints_a_table_of_the_same_figures(
    finished, configure, tmp_path, capsys
):
    again = evaluate(configure(output=tmp_path / "out"))
    assert again == finished[0]
    printed = capsys.readouterr().out
    for word in ("val, 5 moments", "mpjpe_mm", "monocular", "triangulated", "scene_flip_pct"):
        assert word in printed
    assert f"{again['tri/mpjpe_mm']:.1f}" in printed
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["metrics.json", "overlays.png"]


@pytest.fixture
def single_views(tmp_path, write_moments, cameras_around):
    """Uncalibrated pictures whose joints are labelled at random in the picture."""
    root, camera = tmp_path / "wild", cameras_around(1)
    moments = [
        m._replace(
            views=(uncalibrated_view(m.views[0].image, m.views[0].mask),),
            joints_world=np.full((18, 3), np.nan),
            joints_px=np.random.default_rng(i).uniform(10, 40, (1, 18, 2)),
            head_px=np.array([6.0]),
        )
        for i, m in enumerate(write_moments(root / "val", camera))
    ]
    write_manifest(root, tabulate(root, "val", moments, ["0"]), {})
    return root


def test_views_labelled_in_the_picture_alone_have_pckh(
    single_views, configure, checkpoint, tmp_path
):
    values = evaluate(configure(f"+data.source.root={single_views}", output=tmp_path / "out"))
    detector, hits = load(checkpoint), []
    moments = PreparedData(single_views).moments("val")
    data = MomentDataset(moments, 18, 16, 16, 1.2, True, None, False)
    for i, moment in enumerate(moments):
        item = expand(data[i])
        with torch.no_grad():
            xy = detector(item.views.image[None])[0, 0, :, :2].numpy()
        mask = read_mask(moment.views[0].mask)
        left, top, side = mask_box(mask, 1.2)
        px = np.array([left, top]) + (xy + 1) * side / 2
        hits.append(np.linalg.norm(px - moment.joints_px[0], axis=1)[1:] < 0.5 * 6.0)
    assert values["mono/pckh50_pct"] == pytest.approx(100 * np.mean(hits))
    assert np.isnan(values["mono/mpjpe_mm"])
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["mono/mpjpe_mm"] is None


def test_figures_by_action_count_each_action_the_same(prepared, configure, tmp_path):
    root = tmp_path / "acted"
    shutil.copytree(prepared, root)
    arrays, header = read_manifest(root)
    rows = np.nonzero(arrays["split"] == "val")[0]
    arrays["action"] = arrays["action"].astype("U8")
    arrays["action"][rows] = ["sit", "walk", "walk", "walk", "walk"]
    write_manifest(root, arrays, header)
    values = evaluate(configure(f"+data.source.root={root}", output=tmp_path / "out"))
    sit, walk = (values["actions"][name]["mono/mpjpe_mm"] for name in ("sit", "walk"))
    assert values["mono/mpjpe_mm"] == pytest.approx((sit + 4 * walk) / 5)
    assert values["mean_over_actions/mono/mpjpe_mm"] == pytest.approx((sit + walk) / 2)
    assert sit != walk


@pytest.mark.slow
def test_scenes_of_different_numbers_of_views_are_evaluated_together(
    configure, write_checkpoint, tmp_path
):
    """Figures are those of all scenes, whatever the batches; every view counts the same."""
    counts = "data.source.moments={train: 1, val: 1, mocap: 1, rings: 40, spoilt: 1}"
    path = write_checkpoint(
        tmp_path / "run", "data=synthetic", counts, "data.source.size=32", "data.batch_size=2",
        f"data.source.root={tmp_path}",
    )  # fmt: skip
    values = evaluate(configure(checkpoint=str(path), split="rings", output=tmp_path / "out"))
    detector, source = (
        load(path),
        SyntheticData(
            root=tmp_path,
            moments={"rings": 40},
            size=32,
            seed=0,
            background="scene",
        ),
    )
    moments = source.moments("rings")
    views = [len(moment.views) for moment in moments]
    assert len(set(views)) > 1
    metrics, off, flips = PoseMetrics(detector.skeleton), [], []
    padding, masked = 1.2, detector.mask_input
    data = MomentDataset(moments, 18, 16, 16, padding, masked, None, False)
    with torch.inference_mode():
        for item in (expand(default_collate([data[i]])) for i in range(len(data))):
            joints = detector(item.views.image)
            _, poses = score(metrics, joints, item, detector.depth_range)
            off.append(
                joint_distances(*(root_relative(p, 0) for p in (poses.cam, poses.label_cam)))
            )
            gain = flip_gain(
                *(root_relative(p, 0) for p in (poses.cam, poses.label_cam)), detector.skeleton.flip
            )[0]
            flips.append(min(votes := int((gain > 0).sum()), len(gain) - votes) / len(gain))
    mono = torch.cat([one.flatten() for one in off]).mean()
    assert values["mono/mpjpe_mm"] == pytest.approx(float(mono), rel=1e-4)
    assert values["ambiguity_pct"] == pytest.approx(100 * np.mean(flips), abs=1e-6)
    for key, value in metrics.compute().items():
        assert values[key] == pytest.approx(value, rel=1e-4)
    assert set(values["actions"]) == {moment.action for moment in moments}
    assert read_image(tmp_path / "out" / "overlays.png").std() > 10


def test_another_split_has_other_figures(finished, configure, tmp_path):
    values = evaluate(configure(split="train", output=tmp_path / "out"))
    assert (values["split"], values["moments"]) == ("train", 1)
    assert values["mono/mpjpe_mm"] != finished[0]["mono/mpjpe_mm"]


def test_keys_of_the_data_can_be_replaced(finished, configure, tmp_path):
    wide = evaluate(configure("+data.padding=2.0", output=tmp_path / "out"))
    assert wide["mono/mpjpe_mm"] != finished[0]["mono/mpjpe_mm"]


def test_untrained_is_the_zero_mark_whatever_the_checkpoint_learned(
    finished, configure, checkpoint, write_checkpoint, prepared, tmp_path
):
    values = evaluate(configure(untrained=True))
    assert values["untrained"] is True
    assert (checkpoint.parents[2] / "evaluation" / "val_untrained" / "metrics.json").is_file()
    assert values["mono/mpjpe_mm"] != finished[0]["mono/mpjpe_mm"]
    other = write_checkpoint(tmp_path / "run", f"data.source.root={prepared}", seed=7)
    learned = evaluate(configure(checkpoint=other))
    again = evaluate(configure(checkpoint=other, untrained=True))
    assert learned["mono/mpjpe_mm"] != finished[0]["mono/mpjpe_mm"]
    assert again["mono/mpjpe_mm"] == values["mono/mpjpe_mm"]


def test_an_unknown_split_is_refused_with_those_there_are(configure, tmp_path):
    with pytest.raises(ValueError, match=r"splits \['train', 'val', 'blank'\], not 'test'"):
        evaluate(configure(split="test", output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_data_without_labels_are_refused_with_the_way_to_see_poses(configure, tmp_path):
    with pytest.raises(ValueError, match=r"'blank' has no labels .*mask_sup\.predict"):
        evaluate(configure(split="blank", output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_missing_data_are_named(configure, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"missing {tmp_path / 'gone'}.*manifest\.npz"):
        evaluate(configure(f"+data.source.root={tmp_path / 'gone'}"))


def test_an_unknown_key_of_the_data_is_refused(configure):
    with pytest.raises(TypeError, match="paddling"):
        evaluate(configure("+data.paddling=2.0"))


def test_a_file_that_is_no_checkpoint_is_named(configure, tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"last\.ckpt cannot be read as a checkpoint"):
        evaluate(configure(checkpoint=tmp_path / "last.ckpt"))


@pytest.mark.parametrize(
    ("checkpoint", "run"),
    [
        ("/a/run/arms/checkpoints/last.ckpt", "/a/run"),
        ("/a/downloads/detector.ckpt", "/a/downloads"),
    ],
)
def test_a_checkpoint_belongs_to_the_run_above_its_stage(checkpoint, run):
    assert run_folder(checkpoint) == Path(run)


@pytest.mark.parametrize("inside", ["", "arms", "arms/checkpoints"])
def test_a_relative_checkpoint_belongs_to_the_same_run(tmp_path, monkeypatch, inside):
    (tmp_path / "arms" / "checkpoints").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / inside)
    relative = (tmp_path / "arms/checkpoints/last.ckpt").relative_to(tmp_path / inside)
    assert run_folder(relative) == tmp_path


# -- settings of the paper's table 1 --------------------------------------------------------------


@pytest.fixture(scope="module")
def taught(folder, write_moments, cameras_around):
    """Data with enough labelled views for theta of 18 points: 15 moments of four views."""
    root, tables = folder / "taught", []
    for seed, (split, count) in enumerate({"train": 15, "val": 3}.items()):
        moments = write_moments(root / split, cameras_around(4), count=count, seed=10 * seed)
        tables.append(tabulate(root, split, moments, list("abcd")))
    write_manifest(root, join(tables), {})
    return root


def test_all_settings_are_printed_once_and_written_with_their_flags(
    taught, configure, tmp_path, capsys
):
    told = evaluate(
        configure(
            "settings=all", "spp.steps=20", f"+data.source.root={taught}", output=tmp_path / "out"
        )
    )
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"]
    flags = {row["setting"]: (row["flags"]["SF"], row["flags"]["SPP"]) for row in rows}
    assert flags == {
        "plain": (False, False),
        "SF": (True, False),
        "SPP_linear": (False, True),
        "SPP_hidden": (False, True),
    }
    for row in rows:
        assert printed.count(f"setting {row['setting']}\n".rstrip()) >= 1
        assert {"UP", "T", "anatomy", "masks_at_test", "calibrated"} <= set(row["flags"])
        assert row["flags"]["labels"] is row["flags"]["SPP"]
        assert not [key for key in row["figures"] if "sf_" in key]
    assert printed.count("moments, setting") == len(rows)
    plain, flipped, linear, _ = (row["figures"] for row in rows)
    assert told["mono/mpjpe_mm"] == plain["mono/mpjpe_mm"]
    assert told["settings"] == rows[0]["flags"]
    assert flipped["mono/mpjpe_mm"] == pytest.approx(told["mono/sf_mpjpe_mm"])
    assert flipped["ambiguity_pct"] is None
    assert plain["ambiguity_pct"] is not None
    assert linear["mono/mpjpe_mm"] < plain["mono/mpjpe_mm"]  # these figures all stand alike


def test_one_setting_alone_makes_the_flat_figures_its_own(taught, configure, tmp_path):
    told = evaluate(
        configure("settings=SF", f"+data.source.root={taught}", output=tmp_path / "out")
    )
    assert [row["setting"] for row in told["rows"]] == ["SF"]
    assert told["settings"]["SF"] is True
    assert told["left_right"].startswith("fixed by labels")


def test_settings_that_cannot_be_had_are_told(prepared, configure, tmp_path, capsys):
    few = "coefficients a coordinate, and a joint is labelled in 2 views"
    with pytest.raises(ValueError, match=f"no setting SPP_linear: theta has 55 {few}"):
        evaluate(configure("settings=[plain,SPP_linear]", output=tmp_path / "out"))
    told = evaluate(configure("settings=all", output=tmp_path / "out"))
    assert [row["setting"] for row in told["rows"]] == ["plain", "SF"]
    assert "no setting SPP_hidden: theta has" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("settings", ["scale", "[plain,UP]", "[]"])
def test_an_unknown_setting_is_refused_with_those_there_are(configure, settings):
    with pytest.raises(ValueError, match=r"settings are all, or some of \['plain', 'SF'"):
        evaluate(configure(f"settings={settings}"))
