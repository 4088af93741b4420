"""Several people in the footage: followed over time and over views, and told by the gate."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mask_sup.calibration import Calibration
from mask_sup.masks.gate import check
from mask_sup.masks.hull import Hull, divided
from mask_sup.masks.person import Region, people_among, person_asked
from mask_sup.masks.several import leaps, second_figure
from mask_sup.masks.spool import Spool
from mask_sup.masks.survey import SCALE, Survey, joined
from mask_sup.masks.tracks import Detection, Tracker, colours_of, unlike
from mask_sup.masks.views import over_views

RED, BLUE = (np.eye(4, dtype=np.float32)[i] * 0.97 + 0.01 for i in (0, 1))


def seen(x, colours, size=20.0, alone=True, moved=1.0):
    return Detection(np.array([float(x), 50.0]), size, colours, moved, alone=alone)


def blocks(*places, shape=(100, 200)):
    mask = np.zeros(shape, bool)
    for x, y, width, height in places:
        mask[y : y + height, x : x + width] = True
    return mask


# ---- over time -----------------------------------------------------------------------------------


def follow(moments):
    """Numbers of the tracks in each detection of each moment."""
    tracker = Tracker()
    return tracker, [tracker.step(k, found) for k, found in enumerate(moments)]


def test_two_who_pass_each_other_as_one_blob_keep_their_numbers():
    moments = []
    for k in range(40):
        a, b = 10 + 5 * k, 210 - 5 * k
        near = abs(a - b) < 25
        mixed = [seen((a + b) / 2, (RED + BLUE) / 2, size=28, alone=False)]
        moments.append(mixed if near else [seen(a, RED), seen(b, BLUE)])
    tracker, held = follow(moments)
    assert len(tracker.tracks) == 2
    assert held[0] == [[0], [1]]
    assert held[-1] == [[0], [1]]
    assert any(sorted(tracks[0]) == [0, 1] for tracks in held if len(tracks) == 1)


def test_two_who_meet_and_turn_back_are_known_by_their_colours():
    moments = []
    for k in range(40):
        apart = abs(20 - k)
        a, b = 100 - 5 * apart, 100 + 5 * apart
        mixed = [seen(100, (RED + BLUE) / 2, size=28, alone=False)]
        moments.append(mixed if apart < 3 else [seen(a, RED), seen(b, BLUE)])
    _, held = follow(moments)
    assert held[-1] == [[0], [1]]


def test_who_comes_back_elsewhere_is_the_same_and_somebody_else_is_not():
    there = [[seen(20 + k, RED)] for k in range(10)]
    tracker, held = follow([*there, *[[]] * 15, [seen(180, BLUE)], [seen(150, RED)]])
    assert held[-2:] == [[[1]], [[0]]]
    assert people_among(tracker.tracks) == [0]  # the other one was there for a moment


def test_people_are_numbered_by_what_is_seen_of_them():
    moments = [[seen(20, RED, moved=0.5), seen(150, BLUE, moved=2.0)] for _ in range(9)]
    tracker, _ = follow(moments)
    assert people_among(tracker.tracks) == [1, 0]
    assert people_among([]) == []


def test_colours_tell_clothes_apart_and_halves_count():
    mask = blocks((20, 10, 30, 80))
    lab = np.full((100, 200, 3), 128, np.uint8)
    lab[:50, :, 1], lab[50:, :, 1] = 170, 90
    turned = lab[::-1].copy()
    rng = np.random.default_rng(0)
    noisy = np.clip(lab + rng.normal(0, 3, lab.shape), 0, 255).astype(np.uint8)
    same, other = (unlike(colours_of(lab, mask), colours_of(p, mask)) for p in (noisy, turned))
    assert same < 0.4 < 0.9 < other


# ---- the region that moves with the person -------------------------------------------------------


def test_a_region_takes_the_person_out_of_a_foreground_of_another_size():
    own, other = blocks((20, 20, 20, 60)), blocks((45, 20, 20, 60))
    touching = np.kron(blocks((20, 20, 45, 60)), np.ones((3, 3), bool))
    found = Region(own, other).choose(touching)
    true = np.kron(own, np.ones((3, 3), bool))
    assert (found & true).sum() > 0.95 * true.sum()
    assert found.sum() < 1.15 * true.sum()
    assert not Region(np.zeros_like(own), other).choose(touching).any()


def test_far_parts_are_not_the_person():
    own = blocks((20, 20, 20, 60))
    found = Region(own, np.zeros_like(own)).choose(own | blocks((150, 20, 20, 60)))
    assert (found == own).all()


def test_parts_across_a_small_gap_are_one():
    labels = joined(blocks((20, 20, 20, 20), (20, 43, 20, 30), (100, 20, 20, 60), (180, 2, 2, 2)))
    assert labels[30, 30] == labels[60, 30] != labels[50, 110]
    assert labels[3, 181] == 0  # a speck


@pytest.mark.parametrize("word", ["true", "false", "-1", "first"])
def test_what_is_no_number_of_a_person_is_refused(word, compose_config):
    cfg = compose_config("masks", "input=x", "output=y", f"person={word}")
    with pytest.raises(ValueError, match=r"person=.*0 for the one seen most.*all for all"):
        person_asked(cfg.person)


def test_a_person_is_a_number_or_all(compose_config):
    cfg = compose_config("masks", "input=x", "output=y")
    assert person_asked(cfg.person) == 0
    assert person_asked("all") is None


# ---- over views ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cameras():
    """Four around the origin, z up, mm."""
    turn = np.radians([10, 100, 190, 280])
    centres = np.stack([4000 * np.cos(turn), 4000 * np.sin(turn), np.full(4, 1500.0)], 1)
    ahead = np.array([0, 0, 900.0]) - centres
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    R = np.stack([right, np.cross(ahead, right), ahead], 1)
    K = np.tile(np.array([[400.0, 0, 200], [0, 400, 200], [0, 0, 1]]), (4, 1, 1))
    t = -np.einsum("vij,vj->vi", R, centres)
    sizes = np.full((4, 2), 400.0)
    return Calibration(tuple("abcd"), K, R, t, np.zeros((4, 5)), sizes)


def pillar(cameras, view, x, y):
    """Mask of a pillar as high as a person."""
    turn, z = np.meshgrid(np.linspace(0, 2 * np.pi, 24), np.linspace(0, 1800, 20))
    points = np.stack([x + 180 * np.cos(turn), y + 180 * np.sin(turn), z], -1).reshape(-1, 3)
    pixels = (points @ cameras.R[view].T + cameras.t[view]) @ cameras.K[view].T
    hull = cv2.convexHull((pixels[:, :2] / pixels[:, 2:] / 2).astype(np.float32))
    mask = np.zeros((200, 200), np.uint8)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    return mask > 0


@pytest.fixture(scope="module")
def hull(cameras):
    return Hull(cameras, [(200, 200)] * 4)


@pytest.mark.parametrize(
    "places", [[(0, 0)], [(-700, 200), (600, -300)], [(900, 900), (-900, 900), (0, -900)]]
)
def test_as_many_people_are_found_as_there_are_where_they_are(places, cameras, hull):
    views = [[pillar(cameras, v, *place) for place in places] for v in range(4)]
    labels = [joined(np.any(masks, 0)) for masks in views]
    bodies = hull.people(labels)
    assert len(bodies) == len(places)
    for place in places:
        away = [np.linalg.norm(body.place[:2] - place) for body in bodies]
        body = bodies[int(np.argmin(away))]
        assert min(away) < 150
        for v, masks in enumerate(views):
            here = masks[places.index(place)]
            assert set(np.unique(labels[v][here]).tolist()) <= body.parts[v]


def test_who_leaves_a_picture_is_not_who_stays_in_it(cameras, hull):
    """What is left of them at the border lies in front of somebody who is near that camera."""
    across, to_camera = cameras.R[0, 0], -cameras.R[0, 2]
    own = 2050.0 * across
    other = 900.0 * across + 1500.0 * to_camera
    labels = [joined(pillar(cameras, v, *own[:2])) for v in range(4)]
    assert hull.people(labels)[0].parts == [{1}, {1}, {1}, {1}]  # as long as they are alone
    labels[0] = joined((labels[0] > 0) | pillar(cameras, 0, *other[:2]))
    assert labels[0].max() == 1
    (body,) = hull.people(labels)
    assert body.parts == [set(), {1}, {1}, {1}]


def test_silhouettes_of_different_people_make_nobody(cameras, hull):
    labels = [joined(pillar(cameras, v, *((-900, 0), (900, 0))[v % 2])) for v in range(4)]
    assert hull.people(labels) == []


def survey_of(cameras, view, walks, touching):
    """Two pillars at the places of `walks`, one part of the foreground while they touch."""
    one = Survey(cameras.names[view], 1, (200, 200), Spool(), Spool(), Spool())
    for moment, places in enumerate(walks):
        masks = [pillar(cameras, view, *place) for place in places]
        labels = np.maximum(masks[0], 2 * masks[1] * ~masks[0]).astype(np.uint16)
        colours = np.stack([RED, BLUE])
        if moment in touching:
            labels = (labels > 0).astype(np.uint16)
            colours = np.stack([(RED + BLUE) / 2] * 2)
        one.parts.append(labels)
        one.whose.append(labels)
        one.looks.append(np.rint(np.column_stack([[0.01, 0.01], colours]) * SCALE))
    return one


def test_two_who_are_one_part_in_all_views_are_told_as_touching(cameras):
    """The middle of both is farther from each than a person is wide."""
    touching = range(12, 30)
    walks = [((along, 900.0), (along, -900.0)) for along in np.linspace(-400, 400, 35)]
    surveys = [survey_of(cameras, view, walks, touching) for view in range(4)]
    joined_up = over_views(surveys, cameras, None)
    first = [{int(label) for label in np.unique(one.whose[5]) if label} for one in joined_up]
    assert all(numbers == {1, 2} for numbers in first)
    wrong = []
    for view, one in enumerate(joined_up):
        assert set(touching) <= set(one.touching)
        own = np.bincount(one.whose[5][pillar(cameras, view, *walks[5][0])]).argmax()
        for moment in touching:
            mine, theirs = (pillar(cameras, view, *place) for place in walks[moment])
            alone = one.whose[moment][mine & ~theirs]
            wrong.append((alone != own).mean() if len(alone) else 0.0)
    assert np.mean(wrong) < 0.3  # whose pixels are is a guess, but a better one than chance


def test_who_is_in_front_owns_what_both_cover():
    part, left, right = blocks((20, 20, 60, 60)), blocks((20, 20, 40, 60)), blocks((40, 20, 40, 60))
    whose = divided(part, [left, right], [2000.0, 3000.0])
    assert (whose == 1).sum() == left.sum()
    assert (divided(part, [left, right], [3000.0, 2000.0]) == 2).sum() == right.sum()
    assert ((whose > 0) == part).all()


def test_a_hull_needs_three_cameras(cameras):
    with pytest.raises(ValueError, match="needs 3 cameras"):
        Hull(cameras.select(["a", "b"]), [(200, 200)] * 2)


def test_a_spool_gives_back_what_it_was_given(tmp_path):
    spool = Spool(tmp_path)
    arrays = [np.random.default_rng(i).integers(0, 65535, (3, 5, 2)) for i in range(4)]
    for array in arrays:
        spool.append(array)
    assert len(spool) == 4
    assert all((spool[i] == arrays[i]).all() for i in (2, 0, 3, 1))
    assert not list(tmp_path.iterdir())  # the file has no name
    with pytest.raises(IndexError):
        spool[4]


# ---- the gate ------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path, compose_config):
    """Masks -> share of the frames in which two people are told."""

    def run(masks):
        folder = tmp_path / "masks" / "cam01"
        folder.mkdir(parents=True)
        for i, mask in enumerate(masks):
            cv2.imwrite(str(folder / f"{i:06d}.png"), mask.astype(np.uint8) * 255)
        path = check(compose_config("check_masks", f"masks={tmp_path / 'masks'}"))
        flags = json.loads(path.read_text())["cameras"]["cam01"]["flags"]
        return sum("people" in kinds for kinds in flags.values()) / len(masks)

    return run


def test_two_who_walk_are_two_people(told, walk, capsys):
    _, masks = walk(bystander=False)
    assert told([mask | np.roll(mask[:, ::-1], 20, 1) for mask in masks]) > 0.3
    said = capsys.readouterr().out
    assert "cam01: people in" in said
    assert "person=0" in said


def test_a_mask_that_leaps_between_two_is_told(told, walk):
    _, masks = walk(count=40, bystander=False)
    far = [np.roll(mask, 110, 1) for mask in masks]
    assert told([b if i // 8 % 2 else a for i, (a, b) in enumerate(zip(masks, far, strict=True))])


@pytest.mark.parametrize("what", ["alone", "crumb", "shadow", "chair", "arm", "legs cut off"])
def test_one_person_is_not_two(what, told, walk):
    _, masks = walk(bystander=False)
    for mask in masks:
        x = int(np.nonzero(mask)[1].mean())
        if what == "crumb":
            mask[10:16, 2 * x % 200 : 2 * x % 200 + 6] = True
        elif what == "shadow":
            mask[150:158, max(0, x - 110) : max(0, x - 40)] = True
        elif what == "chair":
            mask[100:146, 190:225] = True
        elif what == "arm":
            mask[60:90, x + 26 : x + 34] = True
        elif what == "legs cut off":
            mask[96:106] = False
    assert told(masks) == 0


def test_a_second_figure_is_as_large_and_apart():
    nobody = np.zeros((100, 200), bool)
    one, two = blocks((20, 20, 20, 60)), blocks((100, 30, 14, 40))
    assert second_figure(one | two, nobody)
    assert not second_figure(one, nobody)
    assert not second_figure(one | blocks((100, 30, 8, 14)), nobody)  # small
    assert not second_figure(one | blocks((45, 20, 15, 60)), nobody)  # close
    assert not second_figure(one | blocks((100, 70, 40, 14)), nobody)  # flat
    assert not second_figure(one | two, two)  # a thing


def test_frames_far_apart_tell_no_leaps():
    slow = {i: (0.1 + 0.01 * i, 0.5, 0.1) for i in range(20)}
    assert leaps(slow) == []
    assert leaps(slow | {9: (0.9, 0.5, 0.1)}) == [9, 10]
    assert leaps({i: (0.1 + 0.3 * (i % 3), 0.5, 0.1) for i in range(20)}) == []  # once a second


def test_frames_in_which_an_extraction_guessed_are_told(tmp_path, compose_config, walk):
    folder = tmp_path / "masks" / "cam01"
    folder.mkdir(parents=True)
    for i, mask in enumerate(walk(bystander=False)[1]):
        cv2.imwrite(str(folder / f"{i:06d}.png"), mask.astype(np.uint8) * 255)
    people = {"cam01": {"people": 2, "touching": [3, 4]}}
    (tmp_path / "masks" / "people.json").write_text(json.dumps(people))
    path = check(compose_config("check_masks", f"masks={tmp_path / 'masks'}"))
    flags = json.loads(Path(path).read_text())["cameras"]["cam01"]["flags"]
    assert sorted(i for i, kinds in flags.items() if "touching" in kinds) == ["3", "4"]
