import cv2
import numpy as np
import pytest

from mask_sup.synthetic import looks
from mask_sup.synthetic.bodies import CONTROLS, all_bodies
from mask_sup.synthetic.data import draw_body
from mask_sup.synthetic.looks import Held, random_look, wide_look, worn
from mask_sup.synthetic.rigs import looking_at, project

STILL = np.tile(np.eye(3), (len(CONTROLS), 1, 1))


@pytest.fixture(scope="module")
def body():
    vertices, _ = all_bodies().pose(0, STILL, np.array([0.0, 0.0, 0.95]))
    return vertices


def drawn(body, look, centre=(0.0, -5.0, 1.0)):
    """Picture and mask, 128 pixels, of a body seen from in front or from elsewhere."""
    outfit = worn(all_bodies(), body, look)
    aim = np.array([0.0, 0.0, 0.9])
    rig = looking_at(np.array([centre]), aim, 280.0, 128)
    seen = outfit.vertices * 1000.0 @ rig.R[0].T + rig.t[0]
    room = cv2.resize(look.room[0], (256, 256))
    grain = np.ones(len(all_bodies().faces))
    pixels = project(rig.K[0], seen)
    return draw_body(pixels, seen, room, look, rig.R[0] @ look.light, grain, outfit)


def plain(**changes):
    return random_look(np.random.default_rng(0), 1, "plain")._replace(**changes)


def held(kind, in_mask):
    size = {"ball": 0.12, "stick": 1.0, "bag": 0.4}[kind]
    return plain(held=Held("left", kind, size, np.array([0.0, 255.0, 0.0]), in_mask))


def test_the_quick_look_adds_nothing(body):
    outfit = worn(all_bodies(), body, plain())
    assert outfit.vertices is body
    assert len(outfit.faces) == 0


def test_same_seed_same_look():
    first, again = (wide_look(np.random.default_rng(5), 2, "scene") for _ in range(2))
    np.testing.assert_array_equal(first.paint, again.paint)
    np.testing.assert_array_equal(first.room, again.room)


@pytest.mark.parametrize("kind", looks.THINGS)
def test_things_are_in_the_picture_and_in_the_mask_only_if_asked(body, kind):
    left = (5.0, -1.0, 1.0)
    bare, alone = drawn(body, plain(), left)
    picture, mask = drawn(body, held(kind, False), left)
    _, both = drawn(body, held(kind, True), left)
    assert (np.abs(picture - bare).max(-1) > 30).sum() > 8
    assert (mask <= alone).all()  # what it covers is not the person's
    assert both.astype(bool).sum() > alone.astype(bool).sum() + 10


def test_a_skirt_closes_the_gap_between_the_legs(body):
    legs = all_bodies().thigh_part
    _, without = drawn(body, plain())
    look = plain(skirt=legs < 0.9, skirt_colour=np.array([10.0, 200.0, 10.0]))
    picture, mask = drawn(body, look)
    assert (mask >= without).all()
    assert mask.astype(bool).sum() > without.astype(bool).sum() + 20
    assert (picture[..., 1] > picture[..., 0] + 40).sum() > 100


def test_hulls_face_outward():
    points = np.random.default_rng(0).normal(size=(60, 3))
    faces = looks._hull(points, np.arange(40))
    a, b, c = points[faces].transpose(1, 0, 2)
    assert (a * np.cross(b, c)).sum() / 6 > 0.5


def test_wide_looks_differ_in_what_the_quick_one_never_shows():
    some = [wide_look(np.random.default_rng(seed), 1, "scene") for seed in range(60)]
    assert {look.held.kind for look in some if look.held} == set(looks.THINGS)
    assert not any(look.held.in_mask for look in some if look.held)
    assert 0 < sum(look.skirt is not None for look in some) < 40
    bright = [look.room[0].mean() for look in some]
    assert min(bright) < 50 < 110 < max(bright)
    assert min(look.ambient for look in some) < 0.25
    assert min(look.light[2] for look in some) < 0 < max(look.light[2] for look in some)
    assert all(look.paint.shape == (len(all_bodies().faces), 3) for look in some)
