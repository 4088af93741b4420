import pytest
import torch
from figures import HUMAN, walking
from fitters import fitter, masks

from mask_sup.fitting.film import between, fit_film, key_moments

SEQUENCE = torch.tensor([0] * 9 + [1] * 4)


def walker(count, mm):
    """A walking figure that moves on by so many mm a moment."""
    return walking() + torch.arange(count)[:, None, None] * torch.tensor([float(mm), 0.0, 0.0])


def test_keys_are_far_apart_where_masks_change_little():
    still, apart = masks(walker(13, 2))[1], masks(walker(13, 400))[1]
    assert key_moments(still, SEQUENCE, change=0.4, apart=4).tolist() == [0, 4, 8, 9, 12]
    assert key_moments(still, SEQUENCE, change=0.4, apart=3).tolist() == [0, 3, 6, 8, 9, 12]
    assert key_moments(apart, SEQUENCE, change=0.4, apart=4).tolist() == list(range(13))


def test_between_keys_poses_go_straight_whatever_their_names():
    truth = walker(13, 20)
    keys = torch.tensor([0, 4, 8, 9, 12])
    poses = truth[keys].clone()
    poses[1] = truth[4][HUMAN.flip]
    found, before, after = between(poses, keys, torch.arange(13), HUMAN.flip)
    torch.testing.assert_close(found[1:4], truth[1:4])
    torch.testing.assert_close(found[10:12], truth[10:12])
    assert before.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 4]
    assert after.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 4, 4, 4]


@pytest.mark.slow
def test_a_film_is_found_from_few_of_its_moments(monkeypatch):
    truth = walker(7, 15)
    camera, mask = masks(truth)
    start = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)) * 200
    ours, done = fitter(), []
    original = type(ours).fit

    def fit(self, recipe, joints, *rest, **more):
        done.append((recipe, len(joints)))
        return original(self, recipe, joints, *rest, **more)

    monkeypatch.setattr(type(ours), "fit", fit)
    found = fit_film(ours, start, camera, mask, torch.zeros(7, dtype=torch.long))
    assert (found.joints_world - truth).norm(dim=-1).mean() < 40
    assert done[0] == ("keys", 2)
    assert ("settle", 7) in done
    assert found.front.isfinite().all()
    assert found.spread.isfinite().all()
