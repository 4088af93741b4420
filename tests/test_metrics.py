import copy
import math
from pathlib import Path

import jaxtyping
import lightning
import numpy as np
import pytest
import torch
import yaml
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader

from mask_sup import metrics
from mask_sup.figure.skeleton import Skeleton

CONF = Path(__file__).parents[1] / "conf"
VIEWS = 4


@pytest.fixture(scope="module")
def skeleton() -> Skeleton:
    config = yaml.safe_load((CONF / "skeleton" / "human18.yaml").read_text())
    config.pop("_target_")
    return Skeleton(**config)


def poses(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random poses of 18 joints, mm, away from the origin."""
    generator = torch.Generator().manual_seed(seed)
    return 300 * torch.randn(*shape, 18, 3, generator=generator, dtype=torch.float64) + 4000


def near(pose: torch.Tensor, seed: int = 9, scale: float = 0.3) -> torch.Tensor:
    return pose + scale * (poses(*pose.shape[:-2], seed=seed) - 4000)


def value(metric, *args) -> float:
    metric.reset()
    metric.update(*args)
    return metric.compute().item()


def per_pose_metrics(root: int = 0) -> dict:
    return {
        "mpjpe": metrics.MPJPE(root),
        "n_mpjpe": metrics.NMPJPE(root),
        "p_mpjpe": metrics.PMPJPE(root),
        "pck": metrics.PCK(root, threshold=150),
        "auc": metrics.AUC(root),
    }


# ---- references ---------------------------------------------------------------------------------


def loop_reference(prediction: np.ndarray, target: np.ndarray, root: int, align: str) -> list:
    """Root-relative distances of the labelled joints, one joint at a time."""
    distances = []
    for p, t in zip(prediction, target, strict=True):
        if np.isnan(t[root]).any():
            continue
        p, t = p - p[root], t - t[root]
        seen = [j for j in range(len(t)) if not np.isnan(t[j]).any()]
        if align == "scale":
            p = p * (p[seen] * t[seen]).sum() / (p[seen] ** 2).sum()
        if align == "similarity":
            source, goal = p - p[seen].mean(0), t - t[seen].mean(0)
            source = Rotation.align_vectors(goal[seen], source[seen])[0].apply(source)
            scale = (source[seen] * goal[seen]).sum() / (source[seen] ** 2).sum()
            p = scale * source + t[seen].mean(0)
        distances += [math.dist(p[j], t[j]) for j in seen]
    return distances


@pytest.mark.parametrize("root", [0, 7])
def test_against_a_double_loop(root):
    target = poses(6, seed=1)
    prediction = near(target)
    target[0, 3] = torch.nan
    target[1, 5, 2] = torch.nan
    target[2, root] = torch.nan
    target[3] = torch.nan
    loops = {
        align: loop_reference(prediction.numpy(), target.numpy(), root, align)
        for align in ["none", "scale", "similarity"]
    }
    plain = np.array(loops["none"])
    expected = {
        "mpjpe": plain.mean(),
        "n_mpjpe": np.mean(loops["scale"]),
        "p_mpjpe": np.mean(loops["similarity"]),
        "pck": 100 * (plain < 150).mean(),
        "auc": 100 * np.mean([(plain < t).mean() for t in np.linspace(0, 150, 31)]),
    }
    assert expected["p_mpjpe"] < expected["n_mpjpe"] < expected["mpjpe"]
    assert 5 < expected["pck"] < 95
    for name, metric in per_pose_metrics(root).items():
        assert value(metric, prediction, target) == pytest.approx(expected[name], abs=1e-6), name


# ---- 3D errors by hand --------------------------------------------------------------------------


def test_mpjpe_by_hand():
    # Root-relative: the root's own 1 m is subtracted; joint 1 is then 5 mm off, joint 2 10 mm.
    target = torch.tensor([[[0.0, 0, 0], [0, 100, 0], [0, 0, 200]]])
    prediction = target + torch.tensor([[[1000.0, 0, 0], [1003, 4, 0], [1000, 6, 8]]])
    assert value(metrics.MPJPE(0), prediction, target) == pytest.approx(5.0)
    assert value(metrics.MPJPE(0, joints=[1, 2]), prediction, target) == pytest.approx(7.5)
    assert value(metrics.MPJPE(0, joints=[2]), prediction, target) == pytest.approx(10.0)


def test_joint_subset_is_aligned_with_the_whole_pose():
    target = poses(1, seed=1)
    prediction = near(target)
    for name, align in [("NMPJPE", "scale"), ("PMPJPE", "similarity")]:
        whole = loop_reference(prediction.numpy(), target.numpy(), 0, align)
        metric = getattr(metrics, name)(0, joints=[3, 6])
        assert value(metric, prediction, target) == pytest.approx((whole[3] + whole[6]) / 2)


def test_supervised_flip_takes_the_better_names_of_each_whole_pose(skeleton):
    metric = metrics.SFMPJPE(skeleton.root, skeleton.flip)
    target = poses(4, seed=1)
    close = near(target, scale=0.05)
    flipped = close.clone()
    flipped[1::2] = flipped[1::2, list(skeleton.flip)]
    plain = value(metrics.MPJPE(skeleton.root), close, target)
    assert value(metric, close, target) == pytest.approx(plain)
    assert value(metric, flipped, target) == pytest.approx(plain)
    # Of one pose with only its wrists exchanged, all joints keep the names of the rest.
    wrists = metrics.joint_groups(skeleton)["wrists"]
    crossed = close.clone()
    crossed[:, wrists] = crossed[:, wrists[::-1]]
    assert value(metric, crossed, target) == pytest.approx(
        value(metrics.MPJPE(skeleton.root), crossed, target)
    )
    assert value(metric, crossed, target) > plain + 10


def test_pck_and_auc_by_hand():
    target = torch.zeros(1, 4, 3)
    prediction = torch.zeros(1, 4, 3)
    prediction[0, :, 0] = torch.tensor([0.0, 72.5, 150.0, 149.0])
    # Strictly below: 150 mm does not pass at 150 mm.
    assert value(metrics.PCK(0, threshold=150), prediction, target) == pytest.approx(75.0)
    assert value(metrics.PCK(0, threshold=100), prediction, target) == pytest.approx(50.0)
    # 31 thresholds 0, 5, ..., 150: the root passes 30, 72.5 mm 16, 150 mm 0, 149 mm 1.
    assert value(metrics.AUC(0), prediction, target) == pytest.approx(100 * 47 / 31 / 4)
    assert value(metrics.AUC(0, joints=[1]), prediction, target) == pytest.approx(100 * 16 / 31)


def test_mse_2d_by_hand():
    # A distance of 0.1 in [-1, 1] is 5 % of the crop side; unsquared, and not root-relative.
    target = torch.tensor([[[0.0, 0.0], [0.5, 0.5], [torch.nan, 0.0]]])
    prediction = target.nan_to_num() + torch.tensor([0.06, 0.08])
    assert value(metrics.MSE2D(), prediction, target) == pytest.approx(5.0, rel=1e-5)


# ---- invariances --------------------------------------------------------------------------------


def test_what_each_error_is_blind_to():
    target = poses(3, seed=1)
    prediction = near(target)
    plain, scale, similarity = metrics.MPJPE(0), metrics.NMPJPE(0), metrics.PMPJPE(0)
    before = [value(metric, prediction, target) for metric in (plain, scale, similarity)]

    moved = prediction + torch.tensor([100.0, 0.0, 900.0])
    for metric, expected in zip((plain, scale, similarity), before, strict=True):
        assert value(metric, moved, target) == pytest.approx(expected)

    assert value(plain, 3 * prediction, target) > 1.5 * before[0]
    assert value(scale, 3 * prediction, target) == pytest.approx(before[1])

    turned = 3 * prediction @ torch.from_numpy(Rotation.random(random_state=3).as_matrix())
    assert value(scale, turned, target) > 1.5 * before[1]
    assert value(similarity, turned, target) == pytest.approx(before[2])


def test_a_reflection_is_not_removed():
    target = poses(3)
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    for name, metric in per_pose_metrics().items():
        if "mpjpe" in name:
            assert value(metric, target, target) == pytest.approx(0, abs=1e-6)
            assert value(metric, mirrored, target) > 50, name


# ---- left and right -----------------------------------------------------------------------------


def swapped(target: torch.Tensor, views: list, skeleton: Skeleton) -> torch.Tensor:
    """A near-perfect prediction whose left and right are exchanged in some views."""
    prediction = near(target, scale=0.02)
    prediction[:, views] = prediction[:, views][..., skeleton.flip, :]
    return prediction


@pytest.mark.parametrize(
    ("views", "ambiguity", "scene_flip"),
    [([], 0, 0), ([2], 25, 0), ([0, 3], 50, None), ([0, 1, 3], 25, 100), ([0, 1, 2, 3], 0, 100)],
)
def test_swapped_views(skeleton, views, ambiguity, scene_flip):
    target = poses(5, VIEWS)
    prediction = swapped(target, views, skeleton)
    figure = metrics.AmbiguityRatio(skeleton.flip, skeleton.root)
    assert value(figure, prediction, target) == pytest.approx(ambiguity)
    if scene_flip is not None:
        figure = metrics.SceneFlipRate(skeleton.flip, skeleton.root)
        assert value(figure, prediction, target) == pytest.approx(scene_flip)


def test_scene_flip_weighs_views_by_their_error(skeleton):
    """One view that is far better flipped outweighs three that are slightly better as they are."""
    right, left = skeleton.index["right_wrist"], skeleton.index["left_wrist"]
    target = torch.zeros(1, VIEWS, 18, 3)
    target[0, :3, right, 0], target[0, :3, left, 0] = -10, 10
    target[0, 3, right, 0], target[0, 3, left, 0] = -500, 500
    prediction = target.clone()
    prediction[:, 3] = prediction[:, 3, skeleton.flip]
    assert value(metrics.SceneFlipRate(skeleton.flip, 0), prediction, target) == 100
    assert value(metrics.AmbiguityRatio(skeleton.flip, 0), prediction, target) == 25


def test_each_pose_has_one_vote(skeleton):
    """Eq. (11) per pose: swapped legs are one flip or none, never a share of the joints."""
    legs = [joint for joint, name in enumerate(skeleton.joints) if name.endswith(("knee", "ankle"))]
    arms = [
        joint for joint, name in enumerate(skeleton.joints) if name.endswith(("elbow", "wrist"))
    ]
    target = torch.zeros(1, VIEWS, 18, 3)
    for joint in legs + arms:
        side = 1 if skeleton.joints[joint].startswith("left") else -1
        target[..., joint, 0] = side * (200 if joint in legs else 100)
    prediction = target.clone()
    flipped = target[..., skeleton.flip, :]
    prediction[:, 0, legs] = flipped[:, 0, legs]  # wide legs outweigh the arms: one vote
    prediction[:, 1, arms] = flipped[:, 1, arms]  # narrow arms do not: no vote
    figure = metrics.AmbiguityRatio(skeleton.flip, skeleton.root)
    assert value(figure, prediction, target) == pytest.approx(25)
    gain = metrics.flip_gain(prediction, target, skeleton.flip)
    # View 0: 4 leg joints 400 mm off against 4 arm joints 200 mm off once flipped.
    torch.testing.assert_close(gain, torch.tensor([[800.0, -800.0, -2400.0, -2400.0]]))


def test_a_tie_is_no_flip(skeleton):
    target = poses(2, VIEWS)
    collapsed = torch.zeros_like(target)  # all joints on the root: flipping changes nothing
    collapsed[:, 0] = swapped(target, [0], skeleton)[:, 0]
    assert value(metrics.AmbiguityRatio(skeleton.flip, 0), collapsed, target) == 25
    assert value(metrics.SceneFlipRate(skeleton.flip, 0), collapsed[:, 1:], target[:, 1:]) == 0


def test_ambiguity_averages_scenes_not_views(skeleton):
    target = poses(3, VIEWS)
    prediction = target.clone()
    prediction[0] = swapped(target, [0], skeleton)[0]
    prediction[1] = swapped(target, [1, 2], skeleton)[1]
    figure = metrics.AmbiguityRatio(skeleton.flip, skeleton.root)
    assert value(figure, prediction, target) == pytest.approx((25 + 50 + 0) / 3)


def test_unlabelled_views_and_single_views_have_no_ambiguity(skeleton):
    target = poses(2, VIEWS)
    prediction = swapped(target, [0], skeleton)
    target[0, [2, 3]] = torch.nan  # scene 0: one of two labelled views is swapped
    target[1, 1:] = torch.nan  # scene 1: one labelled view, nothing to agree with
    ratio = metrics.AmbiguityRatio(skeleton.flip, skeleton.root)
    rate = metrics.SceneFlipRate(skeleton.flip, skeleton.root)
    assert value(ratio, prediction, target) == pytest.approx(50)
    assert math.isnan(value(ratio, prediction[1:], target[1:]))
    assert value(rate, prediction[1:], target[1:]) == pytest.approx(100)
    middle = [j for j, partner in enumerate(skeleton.flip) if j == partner]
    only_middle = torch.full_like(target, torch.nan)
    only_middle[..., middle, :] = poses(2, VIEWS)[..., middle, :]
    assert math.isnan(value(ratio, prediction, only_middle))
    assert math.isnan(value(rate, prediction, only_middle))


# ---- labels, predictions and processes ----------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_what_saw_no_label_is_nan(skeleton):
    nothing = torch.full((2, VIEWS, 18, 3), torch.nan)
    flips = [
        metrics.AmbiguityRatio(skeleton.flip, skeleton.root),
        metrics.SceneFlipRate(skeleton.flip, skeleton.root),
    ]
    for metric in [*per_pose_metrics().values(), *flips]:
        assert math.isnan(metric.compute())
        assert math.isnan(value(metric, poses(2, VIEWS), nothing))
    assert math.isnan(value(metrics.MSE2D(), nothing[..., :2].nan_to_num(), nothing[..., :2]))


def test_a_nan_prediction_is_not_skipped(skeleton):
    target = poses(2, VIEWS)
    prediction = target.clone()
    prediction[0, 1, 3] = torch.nan
    flips = [
        metrics.AmbiguityRatio(skeleton.flip, skeleton.root),
        metrics.SceneFlipRate(skeleton.flip, skeleton.root),
    ]
    for metric in [*per_pose_metrics().values(), *flips]:
        assert math.isnan(value(metric, prediction, target)), metric
    unlabelled = target.clone()
    unlabelled[0, 1] = torch.nan
    for metric in [*per_pose_metrics().values(), *flips]:
        assert math.isfinite(value(metric, prediction, unlabelled)), metric


def batch(n: int, seed: int = 0, views: int = VIEWS) -> dict:
    """Arguments of `PoseMetrics.update` with some labels missing."""
    cam, world = poses(n, views, seed=seed), poses(n, seed=seed + 1)
    cam[0, 0, 4], world[0, 4] = torch.nan, torch.nan
    xy = (cam[..., :2] - 4000) / 1000
    return {
        "joints_mono_cam": near(cam.nan_to_num(), scale=0.8).float(),
        "joints_cam_label": cam.float(),
        "xy_crop": xy.nan_to_num().float() + 0.05,
        "xy_crop_label": xy.float(),
        "joints_tri_world": near(world.nan_to_num(), scale=0.2).float(),
        "joints_world_label": world.float(),
    }


def test_two_processes_give_the_figures_of_one(skeleton):
    """Sums of the states of two uneven halves equal one pass over all."""
    single = metrics.PoseMetrics(skeleton)
    first, second = copy.deepcopy(single), copy.deepcopy(single)
    whole = batch(5, seed=2)
    whole["joints_mono_cam"][1:, 0] = whole["joints_mono_cam"][1:, 0][:, skeleton.flip]
    single.update(**whole)
    first.update(**{name: tensor[:2] for name, tensor in whole.items()})
    second.update(**{name: tensor[2:] for name, tensor in whole.items()})
    half = copy.deepcopy(first).compute()
    for mine, other in zip(first.modules(), second.modules(), strict=True):
        if isinstance(mine, metrics.Metric):
            mine.merge_state(other)
    together, expected = first.compute(), single.compute()
    assert together == pytest.approx(expected, rel=1e-9)
    assert half["mono/mpjpe_mm"] != pytest.approx(expected["mono/mpjpe_mm"], rel=1e-3)
    assert 0 < expected["ambiguity_pct"] < 50


def test_states_are_sums(skeleton):
    for module in metrics.PoseMetrics(skeleton).modules():
        if isinstance(module, metrics.Metric):
            names = {name: fx.__name__ for name, fx in module._reductions.items()}
            assert names == {"total": "dim_zero_sum", "count": "dim_zero_sum"}


# ---- the collection -----------------------------------------------------------------------------


def test_keys_of_the_collection(skeleton):
    collection = metrics.PoseMetrics(skeleton)
    collection.update(**batch(2))
    shared = ["mpjpe_mm", "n_mpjpe_mm", "p_mpjpe_mm", "sf_mpjpe_mm", "pck150_pct", "auc_pct"]
    sided = ["hips", "knees", "ankles", "shoulders", "elbows", "wrists"]
    middle = ["spine", "neck", "nose", "head", "thorax"]
    figures = collection.compute()
    assert set(figures) == {
        *(f"{kind}/{key}" for kind in ["mono", "tri"] for key in shared),
        *(f"mono/mpjpe_{group}_mm" for group in sided + middle),
        *["mono/mse_2d_pct", "ambiguity_pct", "scene_flip_pct"],
    }
    assert all(type(figure) is float and math.isfinite(figure) for figure in figures.values())


def test_joint_groups(skeleton):
    groups = metrics.joint_groups(skeleton)
    wrists = {skeleton.index["right_wrist"], skeleton.index["left_wrist"]}
    assert set(groups["wrists"]) == wrists
    assert groups["neck"] == [skeleton.index["neck"]]
    everyone = sorted(joint for joints in groups.values() for joint in joints)
    assert everyone == [joint for joint in range(18) if joint != skeleton.root]


def test_figures_of_the_collection(skeleton):
    collection = metrics.PoseMetrics(skeleton)
    data = batch(3)
    collection.update(**data)
    figures = collection.compute()
    mono = data["joints_mono_cam"], data["joints_cam_label"]
    tri = data["joints_tri_world"], data["joints_world_label"]
    moving = list(range(1, 18))
    wrists = metrics.joint_groups(skeleton)["wrists"]
    for key, metric, args in [
        ("mono/mpjpe_mm", metrics.MPJPE(0), mono),
        ("mono/n_mpjpe_mm", metrics.NMPJPE(0), mono),
        ("mono/p_mpjpe_mm", metrics.PMPJPE(0), mono),
        ("mono/pck150_pct", metrics.PCK(0, 150, moving), mono),
        ("mono/auc_pct", metrics.AUC(0, moving), mono),
        ("mono/mpjpe_wrists_mm", metrics.MPJPE(0, wrists), mono),
        ("mono/sf_mpjpe_mm", metrics.SFMPJPE(0, skeleton.flip), mono),
        ("tri/mpjpe_mm", metrics.MPJPE(0), tri),
        ("tri/p_mpjpe_mm", metrics.PMPJPE(0), tri),
        ("tri/auc_pct", metrics.AUC(0, moving), tri),
        ("ambiguity_pct", metrics.AmbiguityRatio(skeleton.flip, 0), mono),
        ("scene_flip_pct", metrics.SceneFlipRate(skeleton.flip, 0), mono),
    ]:
        assert figures[key] == pytest.approx(value(metric, *args)), key
    # 0.05 right and 0.05 down, over a side of 2
    assert figures["mono/mse_2d_pct"] == pytest.approx(100 * 0.05 * math.sqrt(2) / 2, rel=1e-4)


def test_uncalibrated_and_single_view_figures_are_nan(skeleton):
    collection = metrics.PoseMetrics(skeleton)
    collection.update(**batch(3, views=1) | {"joints_tri_world": None})
    figures = collection.compute()
    unknown = {key for key, figure in figures.items() if math.isnan(figure)}
    assert unknown == {key for key in figures if key.startswith("tri/")} | {"ambiguity_pct"}


def test_reset_forgets(skeleton):
    collection = metrics.PoseMetrics(skeleton)
    collection.update(**batch(2, seed=5))
    collection.reset()
    collection.update(**batch(2, seed=6))
    fresh = metrics.PoseMetrics(skeleton)
    fresh.update(**batch(2, seed=6))
    assert collection.compute() == fresh.compute()


def test_inside_a_lightning_module(skeleton):
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.metrics = metrics.PoseMetrics(skeleton)

        def validation_step(self, data, index):
            self.metrics.update(**data)

        def on_validation_epoch_end(self):
            self.log_dict({f"val/{key}": figure for key, figure in self.metrics.compute().items()})
            self.metrics.reset()

    module = Module()
    assert not module.state_dict(), "metric states do not belong into checkpoints"
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader([batch(2, seed=5), batch(2, seed=6)], batch_size=None)
    for _ in range(2):  # the second epoch must not remember the first
        trainer.validate(module, loader, verbose=False)
    expected = metrics.PoseMetrics(skeleton)
    expected.update(**batch(2, seed=5))
    expected.update(**batch(2, seed=6))
    for key, figure in expected.compute().items():
        assert trainer.callback_metrics[f"val/{key}"].item() == pytest.approx(figure), key


# ---- failures -----------------------------------------------------------------------------------


@pytest.fixture
def unchecked(monkeypatch):
    """Without the shape checks of the test run, as users have it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("joints_mono_cam", (2, 4, 17, 3), r"expected the shape \(2, 4, 18, 3\).*came \(2, 4, 17"),
        ("joints_mono_cam", (2, 18, 3), r"joints_mono_cam: expected the shape"),
        ("joints_cam_label", (2, 3, 18, 3), r"joints_cam_label: .* came \(2, 3, 18, 3\)"),
        ("xy_crop", (2, 4, 18, 3), r"xy_crop: expected the shape \(2, 4, 18, 2\)"),
        ("xy_crop_label", (2, 4, 17, 2), "xy_crop_label: expected"),
        ("joints_tri_world", (1, 18, 3), r"joints_tri_world: expected the shape \(2, 18, 3\)"),
        ("joints_world_label", (2, 17, 3), r"joints_world_label: .*came \(2, 17, 3\)"),
    ],
)
def test_wrong_shapes_raise(skeleton, name, shape, message):
    collection = metrics.PoseMetrics(skeleton)
    with pytest.raises(ValueError, match=message):
        collection.update(**batch(2) | {name: torch.zeros(shape)})


@pytest.mark.usefixtures("unchecked")
def test_wrong_shapes_raise_in_single_metrics(skeleton):
    eighteen, seventeen = torch.zeros(2, 18, 3), torch.zeros(2, 17, 3)
    with pytest.raises(ValueError, match=r"came \(2, 18, 3\) and \(2, 17, 3\)"):
        metrics.MPJPE(0).update(eighteen, seventeen)
    with pytest.raises(ValueError, match=r"expected .*\(..., joints, 2\)"):
        metrics.MSE2D().update(eighteen, eighteen)
    with pytest.raises(ValueError, match=r"joints \[40\], came poses of 18 joints"):
        metrics.MPJPE(0, joints=[3, 40]).update(eighteen, eighteen)
    flip_rate = metrics.SceneFlipRate(skeleton.flip, skeleton.root)
    for wrong in [eighteen[0], seventeen[None]]:
        with pytest.raises(ValueError, match=r"expected scenes of shape \(..., views, 18 joints"):
            flip_rate.update(wrong, wrong)


def test_pckh_is_relative_to_the_head():
    target = torch.zeros(3, 4, 2)
    prediction = torch.tensor([[0.1, 0.0], [0.0, 0.3], [0.0, 0.0], [0.5, 0.0]]).expand(3, 4, 2)
    target[1, 2] = torch.nan  # not labelled
    head = torch.tensor([0.4, 0.8, torch.nan])  # the third has no size and does not count
    metric = metrics.PCKh()
    metric.update(prediction, target, head)
    assert metric.compute() == pytest.approx(100 * (2 + 2) / (4 + 3))
    fewer = metrics.PCKh(threshold=1.0, joints=[1, 3])
    fewer.update(prediction, target, head)
    assert fewer.compute() == pytest.approx(100 * (1 + 2) / 4)


def test_joints_of_a_protocol_are_known_to_the_skeleton(human18):
    with pytest.raises(ValueError, match=r"\['hand'\]: human18 lacks them"):
        metrics.PoseMetrics(human18, ["head", "hand"])
