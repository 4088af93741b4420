"""How badly a pose explains its masks, and the way down from there."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from mask_sup.figure.anatomy import Anatomy
from mask_sup.figure.body import Body, Capsules
from mask_sup.fitting.scenes import Fit, Scenes
from mask_sup.fitting.sequences import bend
from mask_sup.geometry.distance import segment_distance

__all__ = ["Objective"]

MM_PER_M = 1000.0
TOUCHING = 0.7  # of their radii: closer than that, limbs are in each other
KNEE_MM = 150.0  # that a knee bent by a right angle is off the way from hip to ankle, or as good
KNEE_SLACK = 0.2  # sine of the angle by which a knee may be bent to the front: 12 degrees
FACE_SLACK = 40.0  # mm about its place in which the face joint is free
LAST_STEP = 0.1  # of the length of the first ones
BETAS = (0.8, 0.98)  # of Adam


class Objective:
    """Masks and anatomy as a loss on free 3D joints.

    Args:
        body: What is drawn.
        anatomy: Terms that keep the joints a figure's.
        weights: Weight per term of the anatomy, `face` (the face joint at its place), `through`
            and `knees` (see there), `mask`, and `smoothness` (each joint in the middle between the
            moments before and after).
        tolerance: Relative deviation from the bone lengths that is free.
    """

    def __init__(
        self, body: Body, anatomy: Anatomy, weights: Mapping[str, float], tolerance: float
    ):
        self.body, self.anatomy = body, anatomy
        self.weights, self.tolerance = dict(weights), tolerance
        bones = [frozenset(bone) for bone in zip(body.start, body.end, strict=True)]
        capsule = {bone: i for i, bone in enumerate(bones)}
        met = [
            (a, b)
            for right, left in (body.legs, body.arms)
            for a in pairwise(right)
            for b in pairwise(left)
        ]
        trunk = list(pairwise(body.spine))
        met += [(a, (arm[-2], arm[-1])) for arm in body.arms for a in trunk]
        met = [(a, b) for a, b in met if {frozenset(a), frozenset(b)} <= set(capsule)]
        self.crossing = [[list(bone) for bone in side] for side in zip(*met, strict=True)]
        self.crossing_capsules = [[capsule[frozenset(bone)] for bone in both] for both in met]

    def capsules(self, joints: Float[Tensor, "*n j 3"], radius: Float[Tensor, "*n c"]) -> Capsules:
        """The body of poses, as thick as their subjects are."""
        return self.body.capsules(joints)._replace(radius=radius)

    def residual(
        self, joints: Float[Tensor, "n j 3"], scenes: Scenes, drawn: Sequence[int] | None = None
    ) -> Float[Tensor, " n"]:
        """Mean squared difference of the drawn body, or some of its capsules, and the masks."""
        capsules = self.capsules(joints, scenes.radius)
        if drawn is not None:
            capsules = capsules.only(drawn)
        return (self.drawn(capsules, scenes) - scenes.mask).square().mean((1, 2, 3))

    def drawn(self, capsules: Capsules, scenes: Scenes) -> Float[Tensor, "n v h w"]:
        """Capsules as the pictures of scenes show them: nothing beyond where they end."""
        return self.body.draw(capsules, scenes.camera, scenes.mask.shape[-1]) * scenes.known

    def prior(self, joints: Float[Tensor, "n j 3"], scenes: Scenes) -> Float[Tensor, " n"]:
        """Weighted terms of the anatomy."""
        terms = self.anatomy.terms(joints, scenes.lengths, self.tolerance)
        place = self.body.face_place(joints)
        off = (joints[:, self.body.face[0]] - place).square().sum(-1).add(1e-6).sqrt()
        terms["face"] = ((off - FACE_SLACK).relu() / MM_PER_M).square()
        terms["through"] = self.through(joints, scenes.radius)
        terms["knees"] = self.knees(joints)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum(0)

    def through(
        self, joints: Float[Tensor, "*n j 3"], radius: Float[Tensor, "*n c"]
    ) -> Float[Tensor, "*n"]:
        """How deep limbs are in each other, and forearms in the trunk: squared metres, summed.

        Silhouettes show crossed legs as they show others; but knees that have changed places lead
        one thigh through the other. And an arm that no silhouette shows is before or behind the
        trunk, not in it.
        """
        one, other = (joints[..., bones, :].unbind(-2) for bones in self.crossing)  # *n p 3 each
        off = segment_distance(*one, *other)
        thick = radius[..., self.crossing_capsules].sum(-1)
        return ((TOUCHING * thick - off).relu() / MM_PER_M).square().sum(-1)

    def knees(self, joints: Float[Tensor, "*n j 3"]) -> Float[Tensor, "*n"]:
        """How far knees are bent to the front, as the hips are named: squared metres, summed.

        That tells the front where feet do not: they point anywhere when nobody stands on them.
        """
        off = KNEE_MM * (-self.body.bent(joints) - KNEE_SLACK).relu() / MM_PER_M
        return off.square().sum(-1)

    def fit_of(self, joints: Float[Tensor, "n j 3"], scenes: Scenes) -> Fit:
        """Poses as they are."""
        with torch.no_grad():
            residual = self.residual(joints, scenes)
            cost = residual + self.prior(joints, scenes) / self.weights["mask"]
        return Fit(joints, residual, cost)

    def descend(
        self,
        start: Float[Tensor, "n j 3"],
        scenes: Scenes,
        steps: int,
        step_mm: float,
        smooth: bool = False,
    ) -> Fit:
        """Follow the gradient of masks and anatomy.

        Args:
            start: Poses.
            scenes: Their masks.
            steps: Number of steps.
            step_mm: Length of the first ones; it falls to a tenth.
            smooth: Keep joints near the middle of their neighbours in time.
        """
        joints, mean, square = start.detach(), 0.0, 0.0
        for step in range(1, steps + 1):
            with torch.enable_grad():
                there = joints.requires_grad_(True)
                loss = self.weights["mask"] * self.residual(there, scenes)
                loss = loss + self.prior(there, scenes)
                if smooth:
                    loss = loss + self.weights["smoothness"] * bend(
                        there, scenes, self.body.skeleton.flip
                    )
                (slope,) = torch.autograd.grad(loss.sum(), [there])
            # Adam (Kingma and Ba, 2015); torch's loads its compiler first: 5 s in each process
            mean = BETAS[0] * mean + (1 - BETAS[0]) * slope
            square = BETAS[1] * square + (1 - BETAS[1]) * slope.square()
            root = (square / (1 - BETAS[1] ** step)).sqrt().add_(1e-8)
            length = step_mm * max(LAST_STEP, 1 - (step - 1) / steps)
            joints = joints.detach() - length / (1 - BETAS[0] ** step) * mean / root
        return self.fit_of(joints, scenes)
