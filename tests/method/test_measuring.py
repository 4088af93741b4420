import numpy as np
import pytest
import torch

from mask_sup.method.measuring import Plain, SupervisedFlip, chosen
from mask_sup.metrics import PoseMetrics, Poses


def random_poses(human18, seed=0):
    """Predictions near labels or near their left-right flip, by chance; three scenes of four."""
    rng = np.random.default_rng(seed)
    shape = (3, 4, 18)
    label, label_world = rng.normal(0, 400, (*shape, 3)), rng.normal(0, 400, (3, 18, 3))
    label_xy = rng.uniform(-1, 1, (*shape, 2))
    turned = rng.random((3, 4)) < 0.5
    flip = list(human18.flip)

    def near(values, which, noise):
        return np.where(which[..., None, None], values[..., flip, :], values) + rng.normal(
            0, noise, values.shape
        )

    parts = (
        near(label, turned, 80), label, near(label_xy, turned, 0.05), label_xy,
        near(label_world, turned[:, 0], 80), label_world,
    )  # fmt: skip
    return Poses(*(torch.tensor(part) for part in parts))


def figures(poses, human18):
    metrics = PoseMetrics(human18)
    metrics.update(*poses)
    return metrics.compute()


def distances(prediction, label):
    """Root-relative."""
    return np.linalg.norm((prediction - prediction[:1]) - (label - label[:1]), axis=-1)


def test_a_supervised_flip_takes_the_better_name_of_each_pose_for_all_of_its_figures(human18):
    poses, flip = random_poses(human18), list(human18.flip)
    found = figures(SupervisedFlip().placed(poses, human18), human18)
    mono, planar, world = [], [], []
    for n in range(3):  # with plain loops
        for v in range(4):
            pose, label = poses.cam[n, v].numpy(), poses.label_cam[n, v].numpy()
            order = min((list(range(18)), flip), key=lambda o: distances(pose[o], label).sum())
            mono.append(distances(pose[order], label))
            xy, label_xy = poses.xy[n, v].numpy(), poses.label_xy[n, v].numpy()
            planar.append(50 * np.linalg.norm(xy[order] - label_xy, axis=-1))
        pose, label = poses.world[n].numpy(), poses.label_world[n].numpy()
        world.append(min(distances(pose[o], label).mean() for o in (list(range(18)), flip)))
    assert found["mono/mpjpe_mm"] == pytest.approx(np.mean(mono))
    assert found["mono/pck150_pct"] == pytest.approx(100 * (np.array(mono)[:, 1:] < 150).mean())
    assert found["mono/mse_2d_pct"] == pytest.approx(np.mean(planar))
    assert found["tri/mpjpe_mm"] == pytest.approx(np.mean(world))
    plain = figures(Plain().placed(poses, human18), human18)
    for key in ("mpjpe_mm", "n_mpjpe_mm", "p_mpjpe_mm"):
        assert found[f"mono/{key}"] < plain[f"mono/{key}"]
        assert found[f"tri/{key}"] <= plain[f"tri/{key}"]


def test_where_labels_are_in_the_picture_alone_the_picture_decides(human18):
    poses, flip = random_poses(human18), list(human18.flip)
    found = SupervisedFlip().in_picture(poses.xy, poses.label_xy, human18)
    for xy, label, told in zip(
        poses.xy.flatten(0, 1), poses.label_xy.flatten(0, 1), found.flatten(0, 1), strict=True
    ):
        off = [float((one - label).norm(dim=-1).sum()) for one in (xy, xy[flip])]
        assert torch.equal(told, (xy, xy[flip])[int(off[1] < off[0])])


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("plain", ["plain"]),
        ("all", ["plain", "SF", "SPP_linear", "SPP_hidden"]),
        (["SPP_hidden", "plain", "plain"], ["plain", "SPP_hidden"]),
    ],
)
def test_settings_are_each_taken_once(asked, names):
    assert chosen(asked) == names
