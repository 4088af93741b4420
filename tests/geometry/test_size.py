"""A person's size from silhouettes: what tells the scale of a calibration."""

import numpy as np
import pytest
from figures import cameras, walking
from fitters import fitter, sitting

from mask_sup.geometry.size import area_and_middle, scale_in_words, silhouette_sizes


def ball(radius, distances):
    """Silhouettes of a ball, by the formula for small ones, in cameras all around it."""
    views = len(distances)
    angles = np.arange(views) * 2 * np.pi / max(views, 3)
    R = np.stack(
        [[[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]] for a in angles]
    )
    centre, focal = np.array([300.0, -200.0, 800.0]), 1200.0
    t = np.array([[40.0, -30.0, d] for d in distances]) - R @ centre  # off the middle
    K = np.tile(np.array([[focal, 0, 640.0], [0, focal, 360], [0, 0, 1]]), (views, 1, 1))
    seen = np.einsum("vij,j->vi", R, centre) + t
    middle = (np.einsum("vij,vj->vi", K, seen) / seen[:, 2:])[:, :2]
    area = np.pi * (focal * radius / np.array(distances)) ** 2
    return area[None], middle[None], K[None], R[None], t[None]


@pytest.mark.parametrize("distances", [(4000.0, 4000.0), (3000.0, 5000.0, 9000.0)])
def test_a_ball_has_its_size_wherever_cameras_stand(distances):
    (size,) = silhouette_sizes(*ball(400.0, distances))
    assert size == pytest.approx(400 * np.sqrt(np.pi))


@pytest.mark.parametrize("scale", [0.1, 1.5, 1000.0])
def test_sizes_follow_the_scale_of_the_calibration(scale):
    area, middle, K, R, t = ball(400.0, (3000.0, 5000.0, 9000.0))
    (size,) = silhouette_sizes(area, middle, K, R, scale * t)
    assert size == pytest.approx(scale * 400 * np.sqrt(np.pi))


def test_a_view_that_shows_nobody_leaves_the_size_open():
    area, middle, *camera = ball(400.0, (3000.0, 5000.0))
    area[0, 1] = 0
    assert np.isnan(silhouette_sizes(area, middle, *camera)).tolist() == [True]


@pytest.mark.parametrize("pose", [walking, sitting])
def test_people_have_a_persons_size_in_any_pose(pose):
    camera = cameras(1)
    mask = fitter().body(pose()[None], camera, 64)
    parts = (part.double().numpy() for part in camera)
    sizes = silhouette_sizes(*area_and_middle(mask.double().numpy()), *parts)
    assert 600 < sizes[0] < 800
    assert scale_in_words(sizes) == ""


@pytest.mark.parametrize("person", [0.95, 1.05])
@pytest.mark.parametrize(("factor", "undone"), [(0.1, 10), (10, 0.1), (1000, 0.001)])
def test_a_wrong_unit_and_how_to_undo_it_are_told(factor, undone, person):
    words = scale_in_words(np.full(5, 710.0 * person * factor))
    assert float(words.split()[4]) == pytest.approx(factor, rel=0.06)
    assert "its unit was taken for another" in words
    assert words.endswith(
        f"calibration convert input=<calibration> output=cameras.json scale={undone}"
    )
    assert "more than one person" not in words


@pytest.mark.parametrize("person", [0.95, 1.05])
def test_another_factor_is_told_as_about_what_it_is(person):
    words = scale_in_words(np.full(5, 710.0 * person * 1.5))
    assert float(words.split()[4]) == pytest.approx(1.5 * person, rel=0.03)
    assert "was a board or wand measured wrongly?), or the masks hold more than one person" in words
    assert words.endswith("(better: a length that you know over the same as calibrated)")


def test_children_and_giants_raise_no_doubt():
    for size in (340.0, 500.0, 900.0):
        assert scale_in_words(np.array([size, np.nan])) == ""
    assert scale_in_words(np.array([np.nan])) == ""
    assert scale_in_words(np.zeros(0)) == ""
