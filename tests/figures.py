"""A person in known poses, seen by cameras all round: for tests of what reads bodies and masks."""

import math

import torch
from omegaconf import OmegaConf
from torch import Tensor

from mask_sup.files.build import build
from mask_sup.geometry.batch import Camera

HUMAN = build(OmegaConf.load("conf/skeleton/human18.yaml"), "skeleton")
INDEX = HUMAN.index


def person(**moved: tuple[float, float, float]) -> Tensor:
    """(18, 3) mm: a person of ordinary build, z up, facing +y, arms hanging; or joints moved."""
    place = {"pelvis": (0, 0, 0), "spine": (0, 0, 245), "thorax": (0, 0, 490)}
    place |= {"neck": (0, 0, 578), "head": (0, 0, 900), "nose": (0, 130, 739)}
    for side, sign in (("right", 1), ("left", -1)):
        place |= {
            f"{side}_hip": (95 * sign, 0, 0),
            f"{side}_knee": (95 * sign, 0, -387),
            f"{side}_ankle": (95 * sign, 0, -811),
            f"{side}_shoulder": (170 * sign, 0, 490),
            f"{side}_elbow": (170 * sign, 0, 218),
            f"{side}_wrist": (170 * sign, 0, -43),
        }
    return torch.tensor([(place | moved)[joint] for joint in HUMAN.joints]).float()


def walking() -> Tensor:
    """(18, 3) mm: one leg before the other, knees bent, one arm stretched aside, one forward."""
    return person(
        right_knee=(95, 220, -318), right_ankle=(95, 130, -732),
        left_knee=(-95, -60, -382), left_ankle=(-95, -330, -709),
        right_elbow=(430, 0, 410), right_wrist=(680, 40, 350),
        left_elbow=(-190, 180, 287), left_wrist=(-150, 430, 330),
    )  # fmt: skip


def cameras(scenes: int, views: int = 4, distance: float = 4000.0) -> Camera:
    """(scenes, views) level cameras round the origin; a crop of 2.4 m at their distance.

    No two are opposite each other: those would see the same outline, mirrored.
    """
    R, t = [], []
    for view in range(views):
        angle = 0.4 + 1.4 * view
        c, s = math.cos(angle), math.sin(angle)
        R.append(torch.tensor([[c, s, 0.0], [0.0, 0.0, -1.0], [-s, c, 0.0]]))
        t.append(torch.tensor([0.0, 0.0, distance]))
    K = torch.diag(torch.tensor([distance / 1200, distance / 1200, 1.0]))
    return Camera(
        K.expand(scenes, views, 3, 3).contiguous(),
        torch.stack(R).expand(scenes, views, 3, 3).contiguous(),
        torch.stack(t).expand(scenes, views, 3).contiguous(),
    )
