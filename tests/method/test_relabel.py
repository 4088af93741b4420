import functools
import math

import cv2
import numpy as np
import pytest
import torch
from figures import HUMAN, INDEX, cameras, person, walking
from omegaconf import OmegaConf
from torch import nn

from mask_sup.files.kept import Kept
from mask_sup.fitting.fitter import Fitted, PoseFitter
from mask_sup.fitting.scenes import Build
from mask_sup.geometry.batch import Batch, Camera, Labels, Views
from mask_sup.geometry.triangulate import Independent, Triangulate
from mask_sup.method.losses import anchor_loss
from mask_sup.method.pseudo import PseudoPoses
from mask_sup.method.regression import (
    PATCH,
    SupervisedStage,
    crop_targets,
    mirrored,
    patched,
    recoloured,
    rolled,
    zoomed,
)
from mask_sup.method.relabel import RelabelStage, look, some_runs
from mask_sup.method.stages import Parts
from mask_sup.models.detector import Detector
from mask_sup.train import build_parts

ARMS = [INDEX[f"{side}_{joint}"] for side in ("right", "left")
        for joint in ("shoulder", "elbow", "wrist")]  # fmt: skip
SETTINGS = {"scenes": None, "keep": 1.0, "keep_front": 1.0, "fresh": False}
OPTIMIZER = {
    "optimizer": lambda p: torch.optim.SGD(p, 0.1),
    "mirror": False,
    "zoom": 0.0,
}


@pytest.fixture(scope="module")
def parts(compose_config):
    tiny = ("detector.backbone.channels=16", "data.image_size=32")
    cfg = compose_config("train", "anatomy=human", *tiny)
    few = {"branches": 12, "beams": 8, "finalists": 8}
    less = {"search": few, "rough_search": few, "improve": {"alternatives": 2}}
    less["hypotheses"], less["explore"] = {"trunks": 2, "yaws": 2}, {"followed": 3, "kept": 1}
    OmegaConf.update(cfg, "fitter", less, merge=True)
    return build_parts(cfg)[0]


class Scenes(torch.utils.data.Dataset):
    """Walking people as a data set: masks of the body itself, pictures of noise."""

    def __init__(self, body, poses, label=None, people=None):
        self.poses, self.moments = poses, [Named(f"walk/{i}") for i in range(len(poses))]
        self.items = []
        label = poses if label is None else label
        for i, pose in enumerate(poses):
            camera = cameras(1)
            mask = (body(pose[None], camera, 64)[0] * 255).round().to(torch.uint8)
            image = torch.full((4, 3, 32, 32), i, dtype=torch.uint8)
            views = Views(
                image, mask, torch.ones_like(mask).half(), Camera(*(c[0] for c in camera)),
                torch.tensor(i), torch.tensor(people[i] if people else 0), torch.tensor(i),
            )  # fmt: skip
            xy, head = torch.full((4, 18, 2), torch.nan), torch.full((4,), torch.nan)
            self.items.append(Batch(views, Labels(label[i], f"walk/{i}", "", xy, head)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Named:
    def __init__(self, name):
        self.name = name


class Oracle(Detector):
    """A detector that knows each scene by its grey value; poses are those it was given."""

    def __init__(self, poses, depth_range=2000.0):
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.zeros(1))
        self.skeleton, self.depth_range = HUMAN, depth_range
        self.poses = poses

    def forward(self, image):
        which = (image.flatten(2).mean((1, 2)) * 255).round().long()
        camera = cameras(len(which))
        return crop_targets(self.poses[which], camera, HUMAN.root, self.depth_range)


@pytest.fixture
def relabelled(parts, tmp_path):
    return functools.partial(_relabelled, tmp_path, parts)


def _relabelled(folder, parts, poses, seen, fuse=None, label=None, kept=None, **changed):
    ours = parts._replace(detector=Oracle(seen), poses=PseudoPoses())
    stage = RelabelStage(
        ours, fuse or Triangulate(), how="polish", **SETTINGS | changed, **OPTIMIZER
    )
    kept = kept or Kept(folder / f"kept{len(list(folder.iterdir()))}", "of no other round")
    stage.relabel(Scenes(parts.body, poses, label), kept)
    return stage


@pytest.fixture(scope="module")
def two_scenes(parts):
    """One scene named right, one named wrong, both 40 mm off."""
    poses = torch.stack([walking(), walking()])
    noise = 40 * torch.randn(poses.shape, generator=torch.Generator().manual_seed(0))
    return poses, torch.stack([poses[0], poses[1][HUMAN.flip]]) + noise


def test_a_round_names_both_sides_and_comes_closer(relabelled, two_scenes):
    poses, seen = two_scenes
    found = relabelled(poses, seen).poses
    off = (found.joints_world - poses).norm(dim=-1).mean(-1)
    assert (off < 50).all()
    assert found.kept.all()


def test_what_explains_its_masks_badly_is_left_out(relabelled, two_scenes):
    poses, seen = two_scenes
    lost = seen.clone()
    lost[1] += torch.tensor([400.0, 0.0, 0.0])  # a search of limbs cannot bring it back
    stage = relabelled(poses, lost, keep=0.5)
    assert stage.poses.kept.tolist() == [True, False]
    assert stage.moments == [0]


def test_what_may_be_named_either_way_is_left_out(relabelled):
    poses = torch.stack([walking(), person()])
    stage = relabelled(poses, poses, keep_front=0.5)
    front, kept = stage.poses.front, stage.poses.kept
    assert (front > 0).all()
    assert kept.sum() == 1
    assert front[kept] == front.max()


def test_labels_never_reach_the_pseudo_labels(relabelled, two_scenes):
    poses, seen = two_scenes
    found = [
        relabelled(poses, seen, label=label).poses
        for label in (None, torch.full_like(poses, torch.nan))
    ]
    assert torch.equal(*(f.joints_world for f in found))
    assert torch.equal(*(f.kept for f in found))


def test_a_later_round_may_meet_people_whom_the_first_one_has_not_seen(parts, tmp_path):
    poses = torch.stack([walking(), walking()])
    ours = parts._replace(detector=Oracle(poses), poses=PseudoPoses())
    stage = RelabelStage(ours, Triangulate(), how="polish", **SETTINGS, **OPTIMIZER)
    stage.relabel(Scenes(parts.body, poses[:1]), Kept(tmp_path / "first", ""))
    first = stage.poses.lengths
    stage.relabel(Scenes(parts.body, poses, people=[0, 1]), Kept(tmp_path / "second", ""))
    assert first.shape[0] == 1
    assert stage.poses.lengths.shape == stage.poses.radius.shape[:1] + first.shape[1:]
    assert len(stage.poses.lengths) == 2
    assert ((stage.poses.joints_world - poses).norm(dim=-1).mean(-1) < 50).all()


def interrupt(monkeypatch, after):
    """Let the fitter's jobs end as by Ctrl-C after so many; returns what is done before."""
    done = []

    def counted(work):
        @functools.wraps(work)
        def job(self, *words):
            if len(done) == after:
                raise KeyboardInterrupt
            done.append(work.__name__)
            return work(self, *words)

        return job

    for name in ("_alternatives", "_settle"):
        monkeypatch.setattr(PoseFitter, name, counted(getattr(PoseFitter, name)))
    return done


@pytest.mark.parametrize(
    "after", [pytest.param(after, marks=pytest.mark.slow) for after in (0, 1, 3, 4)]
)
def test_a_stopped_round_goes_on_to_the_same_pseudo_labels(
    relabelled, two_scenes, tmp_path, monkeypatch, after
):
    poses, seen = two_scenes
    with monkeypatch.context() as counting:
        jobs = interrupt(counting, after=None)
        whole = relabelled(poses, seen)
    kept = Kept(tmp_path / "round", "settings")
    with monkeypatch.context() as stopped:
        interrupt(stopped, after)
        with pytest.raises(KeyboardInterrupt):
            relabelled(poses, seen, kept=kept)
    rest = interrupt(monkeypatch, after=None)
    # A device that detects the same only nearly must not make a resumed round start anew.
    again = relabelled(poses, seen + 0.01, kept=kept)
    assert rest == jobs[after:]
    for name, value in vars(whole.poses).items():
        assert torch.equal(value, getattr(again.poses, name)), name
    kept.forget()
    assert not (tmp_path / "round").exists()


@pytest.mark.slow
def test_a_round_of_other_settings_starts_anew(relabelled, two_scenes, tmp_path, monkeypatch):
    poses, seen = two_scenes
    relabelled(poses, seen, kept=Kept(tmp_path / "round", "settings"))
    jobs = interrupt(monkeypatch, after=None)
    relabelled(poses, seen, kept=Kept(tmp_path / "round", "settings"))
    assert jobs == []
    relabelled(poses, seen, kept=Kept(tmp_path / "round", "others"))
    assert len(jobs) > 3


def test_some_moments_come_in_runs():
    some = some_runs(95, 20, seed=0)
    assert len(some) == 20
    assert torch.equal(some, some.unique())
    assert some.max() < 95
    assert (some.diff() == 1).sum() >= 17  # at most three runs
    assert not torch.equal(some, some_runs(95, 20, seed=1))
    assert some_runs(95, None, seed=0).tolist() == list(range(95))


def test_some_scenes_are_enough(relabelled, two_scenes):
    poses, seen = two_scenes
    found = relabelled(poses, seen, scenes=1).poses
    assert found.residual.isnan().sum() == 1
    assert found.kept.sum() == 1


def test_only_pseudo_labels_are_learned(relabelled, parts, two_scenes):
    poses, _ = two_scenes
    stage = relabelled(poses, poses)
    data = Scenes(parts.body, poses, label=torch.full_like(poses, torch.nan))
    batch = torch.utils.data.default_collate([data[0], data[1]])
    targets, known = stage.targets(batch)
    assert torch.equal(targets, stage.poses.joints_world)
    assert known.all()


@pytest.mark.parametrize(
    ("changed", "fuse"), [({"fitter": None}, Triangulate()), ({}, Independent())]
)
def test_what_a_round_needs_is_told(parts, changed, fuse):
    with pytest.raises(ValueError, match="quick_masks"):
        RelabelStage(parts._replace(**changed), fuse, how="polish", **SETTINGS, **OPTIMIZER)


def test_a_round_follows_a_recipe_of_the_fitter(parts):
    with pytest.raises(ValueError, match="how='guess': expected one of fitter.recipes"):
        RelabelStage(parts, Triangulate(), how="guess", **SETTINGS, **OPTIMIZER)


def found(joints, residual, front):
    """What a fitter may have found."""
    build = Build(torch.rand(2, 17), torch.rand(2, 23))
    return Fitted(joints, residual, 10 * residual, front, joints[..., 0], build)


def test_pseudo_labels_come_back_from_their_file(tmp_path):
    poses, back = PseudoPoses(), PseudoPoses()
    kept = torch.tensor([True, False])
    fit = found(torch.rand(2, 18, 3), torch.rand(2), torch.rand(2))
    poses.fill(3, torch.tensor([2, 0]), fit, kept)
    poses.save(tmp_path / "new" / "poses.npz", ["a", "b", "c"])
    back.load(tmp_path / "new" / "poses.npz", ["a", "b", "c"])
    joints, trusted = back.at(torch.tensor([2, 1]))
    assert torch.equal(joints[0], fit.joints_world[0])
    assert torch.equal(back.radius, poses.radius)
    assert torch.equal(back.lengths, poses.lengths)
    assert trusted.tolist() == [True, False]
    with pytest.raises(ValueError, match="other moments"):
        back.load(tmp_path / "new" / "poses.npz", ["a", "b"])
    with np.load(tmp_path / "new" / "poses.npz") as file:
        assert file["names"].tolist() == ["a", "b", "c"]
        np.savez(tmp_path / "old.npz", **{k: v for k, v in file.items() if k != "radius"})
    with pytest.raises(ValueError, match="lacks \\['radius'\\], an earlier version"):
        back.load(tmp_path / "old.npz", ["a", "b", "c"])


def test_purity_is_measured_with_and_without_labels():
    truth = torch.stack([walking(), walking(), walking()])
    joints = truth.clone()
    joints[1] = walking()[HUMAN.flip]
    joints[2] += 500  # a shift of the whole pose is no error: metrics are root-relative
    poses = PseudoPoses()
    fit = found(joints, torch.tensor([0.01, 0.02, 0.03]), torch.tensor([1.0, 3.0, 0.0]))
    poses.fill(3, torch.arange(3), fit, torch.tensor([True, True, False]))
    told = poses.monitors()
    assert told["kept_pct"] == pytest.approx(200 / 3)
    assert told["residual_kept"] == pytest.approx(0.01)
    with_labels = poses.purity(truth, HUMAN.root, HUMAN.flip)
    flipped = (walking()[HUMAN.flip] - walking()).norm(dim=-1).mean().item()
    assert with_labels["named_right_kept_pct"] == pytest.approx(50)
    assert with_labels["mpjpe_kept_mm"] == pytest.approx(flipped / 2, rel=1e-4)
    unlabelled = poses.purity(torch.full_like(truth, torch.nan), HUMAN.root, HUMAN.flip)
    assert all(value != value for value in unlabelled.values())


def test_a_round_whose_masks_hold_more_than_a_person_says_so():
    poses, joints = PseudoPoses(), walking()[None].repeat(3, 1, 1)
    trusted, which = torch.tensor([True, True, False]), torch.arange(3)
    fit = found(joints, torch.full((3,), 0.01), torch.ones(3))
    poses.fill(3, which, fit._replace(unexplained=torch.tensor([0.03, 0.02, 0.5])), trusted)
    assert poses.doubt_in_words() == ""
    poses.fill(3, which, fit._replace(unexplained=torch.tensor([0.03, 0.11, 0.2])), trusted)
    assert "leave 11 % of the masks unexplained (median), where 2 to 6 %" in poses.doubt_in_words()


def test_an_anchor_without_a_round_is_told():
    with pytest.raises(RuntimeError, match="put a relabel stage before"):
        PseudoPoses().at(torch.tensor([0]))


def test_the_anchor_holds_trusted_poses_alone():
    joints = torch.zeros(2, 18, 3, requires_grad=True)
    poses = torch.full((2, 18, 3), 100.0)
    loss = anchor_loss(joints, poses, torch.tensor([True, False]))
    assert loss.item() == pytest.approx(3 * 0.1**2)  # 100 mm on each axis, squared metres
    loss.backward()
    assert joints.grad[0].all()
    assert not joints.grad[1].any()
    assert anchor_loss(joints, poses, torch.tensor([False, False])).item() == 0


def test_crop_targets_are_what_a_perfect_detector_says():
    # Straight ahead at 4 m: 1200 mm are one crop unit, 1000 mm one unit of depth.
    pose = person()[None]
    camera = cameras(1, views=1)
    joints = crop_targets(pose, camera, HUMAN.root, 2000.0)[0, 0]
    assert joints[HUMAN.root].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    head = joints[INDEX["head"]]
    assert head.tolist() == pytest.approx([0.0, -0.75, 0.0], abs=1e-4)


def test_a_mirror_turns_picture_and_names():
    image = torch.rand(2, 3, 4, 4)
    joints = torch.rand(2, 18, 3)
    seen, there = mirrored(image, joints, torch.tensor([True, False]), HUMAN.flip)
    assert torch.equal(seen[0, :, :, 0], image[0, :, :, 3])
    right, left = INDEX["right_knee"], INDEX["left_knee"]
    assert there[0, right].tolist() == (joints[0, left] * torch.tensor([-1, 1, 1])).tolist()
    assert torch.equal(seen[1], image[1])
    assert torch.equal(there[1], joints[1])


@pytest.mark.parametrize("by", [1.15, 0.9])
def test_joints_stay_on_their_pixels_when_crops_grow(by):
    """A blob's own centre of mass tells where the picture of a joint went."""
    at, size = torch.tensor([0.4, -0.3]), 128
    places = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(places, places, indexing="ij")
    blob = torch.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 0.005).expand(1, 3, size, size)
    seen, there = zoomed(blob, torch.tensor([[[*at, -0.2]]]), torch.tensor([by]))
    mass = seen[0, 0] / seen[0, 0].sum()
    centre = [(mass * x).sum().item(), (mass * y).sum().item(), -0.2]
    assert centre == pytest.approx(there.flatten().tolist(), abs=2e-3)
    assert seen[0, 0].sum() / blob[0, 0].sum() == pytest.approx(by**2, rel=1e-2)


@pytest.mark.parametrize("degrees", [25.0, -60.0])
def test_joints_stay_on_their_pixels_when_crops_roll(degrees):
    """As through a camera that is rolled about its axis; a turn to the right is clockwise."""
    at, size, angle = torch.tensor([0.4, -0.3]), 128, torch.tensor([math.radians(degrees)])
    places = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(places, places, indexing="ij")
    blob = torch.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 0.005).expand(1, 3, size, size)
    seen, there = rolled(blob, torch.tensor([[[*at, -0.2]]]), angle)
    mass = seen[0, 0] / seen[0, 0].sum()
    centre = [(mass * x).sum().item(), (mass * y).sum().item(), -0.2]
    assert centre == pytest.approx(there.flatten().tolist(), abs=2e-3)
    turn = cv2.getRotationMatrix2D((0, 0), -degrees, 1)[:, :2]  # OpenCV counts anticlockwise
    assert there[0, 0, :2].tolist() == pytest.approx((turn @ at.numpy()).tolist(), abs=1e-6)


def test_colours_change_and_the_grey_behind_stays():
    generator = torch.Generator().manual_seed(0)
    image = 0.2 + 0.6 * torch.rand(5, 3, 8, 8, generator=generator)
    image[..., :3] = 102 / 255
    none = torch.zeros(4, 5)
    assert torch.allclose(recoloured(image, none), image, atol=1e-6)
    for which in range(4):
        by = none.clone()
        by[which, :4] = 0.3  # the last crop stays
        seen = recoloured(image, by)
        assert torch.equal(seen[..., :3], image[..., :3])
        assert (seen[:4, ..., 3:] - image[:4, ..., 3:]).abs().mean() > 0.01
        assert torch.allclose(seen[4], image[4], atol=1e-6)
        assert seen.min() >= 0
        assert seen.max() <= 1
    red, turned = torch.zeros(1, 3, 1, 1), torch.zeros(4, 1)
    red[:, 0], turned[3] = 1.0, 1.0
    assert recoloured(red, turned).flatten().tolist() == pytest.approx([0, 1, 0], abs=1e-5)


def test_regression_varies_what_it_shows_and_the_same_when_resumed(parts, monkeypatch):
    stage = SupervisedStage(parts, Triangulate(), **{**OPTIMIZER, "zoom": 0.2})
    image, joints = torch.rand(64, 3, 16, 16), torch.rand(1, 18, 3).expand(64, -1, -1)
    seen, there = stage._varied(image, joints)
    by = there[..., :2].norm(dim=-1) / joints[..., :2].norm(dim=-1)
    assert 1 / 1.201 < by.min() < 0.87
    assert 1.15 < by.max() < 1.201
    assert torch.equal(there[..., 2], joints[..., 2])
    assert torch.equal(stage._varied(image, joints)[0], seen)
    stage.colour = 0.5
    recolour, same = stage._varied(image, joints)
    assert torch.equal(same, there)
    assert not torch.equal(recolour, seen)
    assert torch.equal(stage._varied(image, joints)[0], recolour)
    stage.colour = 0.0
    monkeypatch.setattr(SupervisedStage, "global_rank", 1)
    assert not torch.equal(stage._varied(image, joints)[0], seen)
    still = SupervisedStage(parts, Triangulate(), **OPTIMIZER)._varied(image, joints)
    assert torch.equal(still[0], image)
    assert torch.equal(still[1], joints)


def test_supervision_reads_labels_and_needs_them(parts, two_scenes):
    poses, _ = two_scenes
    stage = SupervisedStage(parts, Triangulate(), **OPTIMIZER)
    half = poses.clone()
    half[1, 3] = torch.nan
    data = Scenes(parts.body, poses, label=half)
    batch = torch.utils.data.default_collate([data[0], data[1]])
    targets, known = stage.targets(batch)
    assert known.tolist() == [True, False]
    assert torch.equal(targets[0], poses[0])
    data = Scenes(parts.body, poses, label=torch.full_like(poses, torch.nan))
    with pytest.raises(ValueError, match="labelled moments"):
        stage.targets(torch.utils.data.default_collate([data[0]]))


def test_the_learning_rate_falls_as_a_cosine(parts):
    stage = SupervisedStage(parts, Triangulate(), **OPTIMIZER)
    stage._trainer = type("T", (), {"max_steps": 1000})()
    assert [stage._rate(0), stage._rate(49)] == [1 / 50, 1.0]
    assert stage._rate(500) == pytest.approx(0.5)
    assert stage._rate(999) == 0.02


def test_a_fresh_detector_forgets(parts):
    before = {k: v.clone() for k, v in parts.detector.state_dict().items()}
    parts.detector.reset()
    after = parts.detector.state_dict()
    assert after.keys() == before.keys()
    moved = [k for k in after if after[k].std() > 0 and not torch.equal(after[k], before[k])]
    assert len(moved) > len([k for k in after if k.endswith("0.weight")]) // 2
    assert isinstance(parts, Parts)


def test_a_round_knows_where_pictures_end(parts):
    """Where training weighs nothing, the fitter is told that nothing is known."""
    data = Scenes(parts.body, torch.stack([walking()]))
    data.items[0].views.weight[2, :, 40:] = 0
    found = look(Oracle(walking()[None]), Triangulate(), data)
    assert found.mask[0, 2, :, 40:].isnan().all()
    assert found.mask.isnan().sum() == 64 * 24
    scenes = parts.fitter.scenes(found.camera, found.mask, parts.fitter.usual())
    assert scenes.known.shape == scenes.mask.shape
    assert not scenes.known[0, 2, :, -1].any()


def test_patches_show_an_ellipse_of_the_crop_before_in_a_share_of_all():
    crops = torch.arange(200.0).view(200, 1, 1, 1).expand(-1, 3, 32, 32)
    seen = patched(crops, 0.4, torch.Generator().manual_seed(0))
    other = seen != crops
    assert torch.equal(seen[other], crops.roll(1, 0)[other])  # of that one crop alone
    assert torch.equal(other.all(1), other.any(1))  # in all channels alike
    area = other[:, 0].float().mean((1, 2))
    assert 0.3 < (area > 0).float().mean() < 0.45  # a small one may lie beyond the border
    assert area.max() < math.pi * PATCH[1] ** 2 + 0.01
    rows = other[:, 0].any(-1).float().mean(-1)
    assert rows.max() <= 2 * PATCH[1] + 1 / 32
    assert torch.equal(patched(crops, 0.0, torch.Generator()), crops)
