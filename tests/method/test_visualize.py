import numpy as np
import pytest
import torch

from mask_sup.data.moments import Moment
from mask_sup.method.pseudo import PseudoPoses
from mask_sup.method.visualize import labels_of_all_kinds, of_several_people


def moments(people: str):
    return [Moment(f"m{i}", (), np.zeros((1, 3)), who) for i, who in enumerate(people)]


@pytest.mark.parametrize(
    ("people", "count", "expected"),
    [
        ("aaaaaaaabb", 2, [4, 9]),  # one of each, from the middle
        ("aaaabbbb", 4, [1, 3, 5, 7]),
        ("aaaaaaaa", 2, [2, 6]),
        ("abcdef", 4, [0, 1, 2, 3]),
        ("ab", 4, [0, 1]),
        ("", 4, []),
    ],
)
def test_moments_of_several_people(people, count, expected):
    assert of_several_people(moments(people), count) == expected


def test_labels_are_shown_from_the_best_to_the_worst_kept_and_not():
    poses = PseudoPoses()
    poses.residual = torch.tensor([0.5, torch.nan, 0.1, 0.3, 0.9, 0.7, 0.2])
    poses.kept = torch.tensor([True, False, True, True, False, False, True])
    assert labels_of_all_kinds(poses, each=2) == [2, 0, 5, 4]
    assert labels_of_all_kinds(poses, each=9) == [2, 6, 3, 0, 5, 4]
