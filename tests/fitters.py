"""The fitter of the package, and people whose masks are exactly what it draws."""

import math

import torch
from figures import HUMAN, cameras, person
from omegaconf import OmegaConf

from mask_sup.files.build import build


def fitter(**changed):
    node = OmegaConf.load("conf/fitter/masks.yaml")
    settings = OmegaConf.to_container(node, resolve=False) | {"seed": 0}
    anatomy = build(OmegaConf.load("conf/anatomy/human.yaml"), "anatomy", skeleton=HUMAN)
    body = build(OmegaConf.load("conf/body/human.yaml"), "body", skeleton=HUMAN)
    return build(settings | changed, "fitter", body=body, anatomy=anatomy)


def masks(truth, size=64):
    """Cameras and what they see of the fitter's own body."""
    camera = cameras(len(truth))
    return camera, fitter().body(truth, camera, size)


def turned(pose, degrees, axis):
    """A pose turned about its pelvis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    a, b = [i for i in range(3) if i != axis]
    turn = torch.eye(3)
    turn[a, a], turn[a, b], turn[b, a], turn[b, b] = c, -s, s, c
    return (pose - pose[:1]) @ turn.T + pose[:1]


def sitting():
    return person(
        right_knee=(110, 385, 20), right_ankle=(110, 400, -400),
        left_knee=(-110, 385, 10), left_ankle=(-120, 330, -405),
        right_elbow=(230, 120, 262), right_wrist=(210, 370, 230),
        left_elbow=(-230, 130, 265), left_wrist=(-150, 370, 320),
    )  # fmt: skip


def kneeling():
    return person(
        right_knee=(95, 60, -382), right_ankle=(95, -350, -490),
        left_knee=(-95, 90, -376), left_ankle=(-95, -320, -484),
    )  # fmt: skip


def arms_crossed():
    """Before the trunk."""
    return person(
        right_elbow=(260, 60, 240), right_wrist=(-60, 250, 230),
        left_elbow=(-260, 60, 240), left_wrist=(60, 250, 330),
    )  # fmt: skip


def legs_crossed():
    """A long step to the side, one leg before the other."""
    return person(
        right_knee=(0, 130, -360), right_ankle=(-180, 170, -760),
        left_knee=(0, -110, -370), left_ankle=(180, -150, -770),
    )  # fmt: skip
