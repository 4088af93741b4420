import hashlib
import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from mask_sup.synthetic import data as synthetic
from mask_sup.synthetic.bodies import JOINTS
from mask_sup.synthetic.data import PEOPLE, SPLITS, SyntheticData
from mask_sup.synthetic.motion import ACTIONS
from mask_sup.synthetic.rigs import CENTRES, RINGS
from mask_sup.synthetic.wide import KINDS

COUNTS = {"train": 12, "val": 2, "mocap": 6, "rings": 20, "spoilt": 2}
HOME = ("train", "val", "mocap")  # splits with clean masks before the cameras like Human3.6M's


def make(root, **changes):
    settings = {"moments": COUNTS, "size": 64, "seed": 3, "background": "scene"} | changes
    return SyntheticData(root=root, **settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    data = make(tmp_path_factory.mktemp("synthetic"))
    data.prepare()
    return data


def files(root):
    """Contents of all files by name, whatever the folder of the settings is called."""
    return {p.name: p.read_bytes() for p in root.glob("*/train/*")}


def project(view, points):
    pixels = (points @ view.R.T + view.t) @ view.K.T
    return pixels[:, :2] / pixels[:, 2:]


def read_mask(view):
    return cv2.imread(str(view.mask), cv2.IMREAD_UNCHANGED)


def test_same_settings_give_the_same_bytes_and_another_seed_does_not(tmp_path):
    counts = {"train": 2}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make(tmp_path / name, moments=counts, seed=seed).prepare()
    first, again, other = (files(tmp_path / name) for name in "abc")
    assert len(first) == 2 * 4 * 2 + 1
    assert first == again
    assert first["000000_cam0.jpg"] != other["000000_cam0.jpg"]


@pytest.mark.slow
def test_several_processes_draw_the_same_bytes_as_one(tmp_path, monkeypatch):
    one, many = (make(tmp_path / name, moments={"train": 12}) for name in ("one", "many"))
    one.prepare()
    monkeypatch.setattr(synthetic, "WORTH_A_POOL", 2)
    monkeypatch.setattr(synthetic, "_cores", lambda: 2)
    many.prepare()
    assert files(tmp_path / "one") == files(tmp_path / "many")


def test_falls_back_to_one_process(tmp_path, monkeypatch):
    def no_pool(*arguments):
        raise OSError("no semaphores here")

    monkeypatch.setattr(synthetic, "WORTH_A_POOL", 2)
    monkeypatch.setattr(synthetic, "_cores", lambda: 2)
    monkeypatch.setattr(synthetic, "ProcessPoolExecutor", no_pool)
    data = make(tmp_path)
    data.prepare()
    assert len(data.moments("train")) == COUNTS["train"]


def test_the_world_of_the_quickstart_stays_as_it_is(tmp_path):
    """People, movements, cameras, pictures and masks of a seed, as an earlier revision drew them.

    Other processors may compute other last bits; files are compared where these are the same.
    """
    data = make(tmp_path, moments={split: COUNTS[split] for split in HOME})
    data.prepare()
    told = json.loads(Path(__file__).with_name("h36m_world.json").read_text())
    moments = {m.name: m for split in HOME for m in data.moments(split)}
    for name, was in told["moments"].items():
        moment = moments[name]
        np.testing.assert_allclose(moment.joints_world[13], was["wrist_mm"], atol=0.006)
        areas = [(read_mask(view) > 127).sum() for view in moment.views]
        np.testing.assert_allclose(areas, was["area_px"], atol=3)
        greys = [cv2.imread(str(view.image)).mean() for view in moment.views]
        np.testing.assert_allclose(greys, was["grey"], atol=0.3)
        cameras = [part for view in moment.views for part in (view.K, view.R, view.t)]
        numbers = digest(part.tobytes() for part in (moment.joints_world, *cameras))
        if (numbers, cv2.__version__) == (was["numbers"], told["opencv"]):
            paths = [path for view in moment.views for path in (view.image, view.mask)]
            assert digest(path.read_bytes() for path in paths) == was["files"]


def digest(parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:16]


def test_more_moments_of_a_split_leave_the_first_ones_as_they_were(tmp_path):
    few, more = (make(tmp_path / str(n), moments={"val": n}) for n in (10, 20))
    for data in (few, more):
        data.prepare()
    for one, other in zip(few.moments("val"), more.moments("val"), strict=False):
        assert same_pictures(one, other)
        assert [v.mask.read_bytes() for v in one.views] == [
            v.mask.read_bytes() for v in other.views
        ]
    assert len(more.moments("val")) == 20


def same_pictures(one, other):
    """Whether two moments have the same joints, cameras and pictures, but for the split's name."""
    return (
        np.array_equal(one.joints_world, other.joints_world)
        and one.name.split("/")[1:] == other.name.split("/")[1:]
        and len(one.views) == len(other.views)
        and all(
            a.image.read_bytes() == b.image.read_bytes()
            and all(np.array_equal(x, y) for x, y in zip(a[2:], b[2:], strict=True))
            for a, b in zip(one.views, other.views, strict=True)
        )
    )


def test_spoilt_shows_the_scenes_of_val_with_other_masks(tmp_path):
    data = make(tmp_path, moments={"val": 10, "spoilt": 10})
    data.prepare()
    overlap = []
    for clean, spoilt in zip(data.moments("val"), data.moments("spoilt"), strict=True):
        assert same_pictures(clean, spoilt)
        for a, b in zip(clean.views, spoilt.views, strict=True):
            true, found = read_mask(a) > 127, read_mask(b) > 127
            overlap.append((true & found).sum() / (true | found).sum())
    assert 0.1 < np.mean(np.array(overlap) == 1.0) < 0.6  # faults are met by chance
    assert 0.75 < np.mean(overlap) < 0.97
    assert min(overlap) > 0.3


def test_spoilt_masks_are_for_training_too_and_change_nothing_else(tmp_path):
    clean, spoilt = (
        make(tmp_path, moments={"train": 4}, masks=masks) for masks in ("clean", "spoilt")
    )
    for data in (clean, spoilt):
        data.prepare()
    pairs = list(zip(clean.moments("train"), spoilt.moments("train"), strict=True))
    assert all(same_pictures(*pair) for pair in pairs)
    views = [pair for one, other in pairs for pair in zip(one.views, other.views, strict=True)]
    assert not all(a.mask.read_bytes() == b.mask.read_bytes() for a, b in views)


def test_rings_for_training_show_the_same_people_and_movements(tmp_path):
    home, rings = (
        make(tmp_path, moments={"train": 21, "val": 1}, rig=r) for r in ("h36m", "rings")
    )
    for data in (home, rings):
        data.prepare()
    for one, other in zip(home.moments("train"), rings.moments("train"), strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.joints_world, other.joints_world)
    assert same_pictures(home.moments("val")[0], rings.moments("val")[0])  # and val stays at home
    runs = {}
    for moment in rings.moments("train"):
        rig = np.stack([np.concatenate([v.R.ravel(), v.t]) for v in moment.views])
        np.testing.assert_array_equal(runs.setdefault(moment.sequence, rig), rig)
    first, second, third = runs.values()  # a rig of its own for every run
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(second[0], third[0])


def test_studio_is_a_rig_of_five_cameras_or_more_for_every_run(tmp_path):
    data = make(tmp_path, moments={"train": 40}, rig="studio", size=32, background="plain")
    data.prepare()
    assert all(len(moment.views) in range(5, 9) for moment in data.moments("train"))


def test_rings_show_half_motion_capture_before_cameras_of_all_kinds(tmp_path):
    data = make(tmp_path, moments={"rings": 200}, size=32, background="plain")
    moments = data.moments("rings")
    everyday = [m.action in ACTIONS for m in moments]
    assert np.mean(everyday) == 0.5
    assert {m.action for m in moments} > set(ACTIONS)
    assert len({m.action for m in moments}) == len(ACTIONS) + 6  # all clips
    counts = {len(m.views) for m in moments}
    assert counts <= set(range(RINGS.views[0], RINGS.views[1] + 1))
    assert len(counts) > 4
    centres = np.concatenate([[-v.R.T @ v.t for v in m.views] for m in moments[::10]])
    assert len(np.unique(centres.round(), axis=0)) == len(centres)  # no camera twice
    for moment in moments:
        for view in moment.views:
            depth = (moment.joints_world @ view.R.T + view.t)[:, 2]
            assert depth.min() > 1000  # nobody walks into a camera


def test_some_windows_of_rings_cut_the_person_and_the_mask_shows_what_is_left(data):
    inside, cut = [], []
    for moment in data.moments("rings"):
        for view in moment.views:
            mask = cv2.dilate(read_mask(view), np.ones((3, 3), np.uint8))
            pixels = np.floor(project(view, moment.joints_world)).astype(int)
            seen = ((pixels >= 0) & (pixels < 64)).all(1)
            columns, rows = pixels[seen].T
            inside.append(mask[rows, columns] > 0)
            edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
            cut.append(not seen.all())
            assert any(edge.any() for edge in edges) or not cut[-1]
    assert np.mean(np.concatenate(inside)) > 0.96  # nose and head top are on the surface
    assert 0.02 < np.mean(cut) < 0.3


def test_settings_have_their_own_folders(tmp_path):
    first = make(tmp_path, moments={"val": 1})
    other = make(tmp_path, moments={"val": 1}, background="plain")
    first.prepare()
    other.prepare()
    assert first.moments("val")[0].views[0].image != other.moments("val")[0].views[0].image


@pytest.mark.parametrize("split", COUNTS)
def test_moments_are_complete(data, split):
    moments = data.moments(split)
    assert len(moments) == COUNTS[split]
    for index, moment in enumerate(moments):
        assert moment.name.startswith(f"{split}/person")
        assert moment.name.endswith(f"/{index:06d}")
        assert moment.joints_world.shape == (18, 3)
        assert (len(moment.views) == 4) == (split != "rings") or len(moment.views) in range(2, 9)
        for view in moment.views:
            mask = read_mask(view)
            assert mask.shape == (64, 64)
            assert set(np.unique(mask)) == {0, 255}
            assert cv2.imread(str(view.image)).shape == (64, 64, 3)
            np.testing.assert_allclose(view.R @ view.R.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(view.R) > 0
            assert not view.distortion.any()


def test_moments_of_one_movement_are_one_sequence(data):
    train = data.moments("train")
    runs = [m.sequence for m in train]
    for one, other in pairwise(train):
        near = np.linalg.norm(one.joints_world - other.joints_world, axis=-1).mean() < 300
        same = (one.person, one.name.split("/")[2]) == (other.person, other.name.split("/")[2])
        assert (one.sequence == other.sequence) <= (near and same)
    assert runs == [str(i // 10) for i in range(len(runs))]
    assert {m.sequence for m in data.moments("mocap")} == {""}  # far apart in time


@pytest.mark.parametrize("split", HOME)
def test_labels_fall_inside_the_masks(data, split):
    inside = []
    sure = [JOINTS.index(n) for n in JOINTS if n not in ("nose", "head")]
    for moment in data.moments(split):
        for view in moment.views:
            # One pixel of leeway: masks are made of whole pixels.
            mask = cv2.dilate(read_mask(view), np.ones((3, 3), np.uint8))
            columns, rows = np.floor(project(view, moment.joints_world[sure])).astype(int).T
            inside.append(mask[rows, columns] > 0)
    assert np.mean(inside) > 0.98


def test_mask_is_where_the_surface_projects(data):
    """No half-pixel shift: the outline of the mask is that of the surface to a part of a pixel."""
    task = data._tasks("val", data._folder("val"))[0]
    scene = np.random.default_rng([task.seed, list(PEOPLE).index("val"), task.first])
    person = int(scene.choice(PEOPLE["val"]))
    motion, frame = synthetic._motions(task, scene, 0)[0]
    vertices, _ = synthetic.posed(person, motion, frame, scene.uniform(-0.4, 0.4, 2))
    errors = []
    for view in data.moments("val")[0].views:
        points = project(view, vertices * 1000.0)
        rows, columns = np.nonzero(read_mask(view))
        low = np.array([columns.min(), rows.min()])
        high = np.array([columns.max(), rows.max()]) + 1
        errors += [low - points.min(0), high - points.max(0)]
    assert np.abs(errors).max() < 1.6  # pixels: tips are thinner than a pixel
    assert np.abs(np.mean(errors, 0)).max() < 0.35


def test_the_person_fills_the_window(data):
    for moment in data.moments("train"):
        for view in moment.views:
            rows, columns = np.nonzero(read_mask(view))
            assert max(np.ptp(rows), np.ptp(columns)) > 64 / 1.5 - 3
            assert min(rows.min(), columns.min()) >= 0


def test_opposite_cameras_see_the_hips_the_other_way_round(data):
    opposite = []
    for moment in data.moments("train"):
        hips = [project(v, moment.joints_world[[4, 1]])[:, 0] for v in moment.views]
        order = [np.sign(left - right) for left, right in hips]
        opposite += [order[0] != order[3], order[1] != order[2]]
        centres = np.array([-v.R.T @ v.t for v in moment.views])
        np.testing.assert_allclose(centres, CENTRES * 1000.0, atol=1e-6)
    assert np.mean(opposite) > 0.8


def test_splits_share_no_person_with_training(data):
    people = {s: {m.name.split("/")[1] for m in data.moments(s)} for s in COUNTS}
    for split in set(COUNTS) - {"train"}:
        assert not people["train"] & people[split]
        assert not set(PEOPLE["train"]) & set(PEOPLE[split])
    assert set(SPLITS) == set(PEOPLE)
    assert PEOPLE["spoilt"] == PEOPLE["val"]


def test_mocap_moments_come_from_all_clips(data):
    actions = {m.action for m in data.moments("mocap")}
    assert len(actions) >= 4


def test_an_interrupted_split_is_not_there(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    data = make(tmp_path, moments={"train": 2})
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "_write_manifest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.prepare()
    assert not list(tmp_path.glob("*/*"))
    with pytest.raises(FileNotFoundError, match="prepare"):
        data.moments("train")
    data.prepare()
    assert len(data.moments("train")) == 2


def test_nothing_is_drawn_twice(data, monkeypatch):
    monkeypatch.setattr(synthetic, "_draw_run", None)
    data.prepare()
    assert all(len(data.moments(split)) == count for split, count in COUNTS.items())


def test_prepare_draws_what_a_training_reads(tmp_path):
    data = make(tmp_path, moments={"train": 1, "val": 1, "rings": 1})
    data.prepare()
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["train", "val"]
    assert len(data.moments("rings")) == 1


def test_manifest_needs_no_pickle_and_names_its_sources(data):
    data.moments("rings")
    with np.load(data._folder("rings") / "manifest.npz", allow_pickle=False) as manifest:
        assert {"names", "people", "joints_world", "views", "K", "R", "t"} <= set(manifest.files)
        assert len(manifest["K"]) == len(manifest["R"]) == len(manifest["t"])
        assert manifest["views"].sum() == len(manifest["K"])
        assert "Apache-2.0" in str(manifest["attribution"])


def test_unknown_names_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="'test'.*train.*val.*mocap"):
        data.moments("test")
    with pytest.raises(ValueError, match="'test'.*train.*val.*mocap"):
        make(tmp_path, moments={"test": 1})
    with pytest.raises(ValueError, match="one moment or more.*'val'"):
        make(tmp_path, moments={"val": 0})
    with pytest.raises(ValueError, match="'beach'.*scene.*plain"):
        make(tmp_path, background="beach")
    with pytest.raises(ValueError, match="rig 'ring'.*h36m.*rings"):
        make(tmp_path, rig="ring")
    with pytest.raises(ValueError, match="masks 'dirty'.*clean.*spoilt"):
        make(tmp_path, masks="dirty")
    with pytest.raises(ValueError, match="size 8"):
        make(tmp_path, size=8)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    data = make(tmp_path_factory.mktemp("wide"), world="wide", moments={"train": 24, "wide": 11})
    data.prepare()
    return data


def test_the_wide_world_has_everyday_and_wide_movements(wide):
    actions = [m.action for m in wide.moments("train")]
    assert set(actions[:10]) <= set(KINDS)
    assert set(actions[10:20]) <= set(ACTIONS)
    assert set(actions[20:]) <= set(KINDS)
    assert {m.action for m in wide.moments("wide")} <= set(KINDS)


def test_the_wide_world_shows_everybody_once(wide):
    people = [m.name.split("/")[1] for s in ("train", "wide") for m in wide.moments(s)]
    assert {p.removeprefix("person") for p in people} == {"8", "9", "10", "40008", "40009"}
    thighs = {}
    for split in ("train", "wide"):
        for moment in wide.moments(split):
            length = np.linalg.norm(moment.joints_world[4] - moment.joints_world[5])
            thighs.setdefault((split, moment.sequence), set()).add(round(float(length), 3))
    assert all(len(lengths) == 1 for lengths in thighs.values())  # one person a sequence
    assert len(set.union(*thighs.values())) == len(thighs)  # another one in each


def test_labels_of_the_wide_world_fall_inside_its_masks(wide):
    inside = []
    sure = [JOINTS.index(n) for n in JOINTS if n not in ("nose", "head")]
    for moment in wide.moments("train"):
        for view in moment.views:
            mask = cv2.dilate(read_mask(view), np.ones((3, 3), np.uint8))
            columns, rows = np.floor(project(view, moment.joints_world[sure])).astype(int).T
            inside.append(mask[rows, columns] > 0)
    assert np.mean(inside) > 0.95  # things in hands cover some


def test_splits_that_results_are_of_are_the_same_in_both_worlds(tmp_path):
    quick, wide = (make(tmp_path, world=world) for world in ("quick", "wide"))
    for split in ("val", "mocap", "rings", "spoilt"):
        assert quick._folder(split) == wide._folder(split)
    assert quick._folder("train") != wide._folder("train")
    assert make(tmp_path)._folder("train") == quick._folder("train")


def test_unknown_worlds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'flat'.*quick.*wide"):
        make(tmp_path, world="flat")
