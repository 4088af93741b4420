"""A person as capsules around the joints: what a 3D pose covers in every calibrated view.

The Skeleton Mask draws thin lines of one width in the crop; a shape prior learns to fatten them.
This body is explicit instead: radii in millimetres, projected by the camera, feet that point to the
front. It names no pose and no person, and serves to judge and refine triangulated poses against
masks (`mask_sup.fitting`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mask_sup.figure.skeleton import Skeleton
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import cam_from_world, crop_from_cam
from mask_sup.geometry.segments import draw_segments

__all__ = ["Body", "Capsules"]

POWER = 2  # of the soft edge, exp(-(d / width)^(2 POWER)); Eq. (4) has 1


class Capsules(NamedTuple):
    """Line segments with a radius, mm."""

    ends: Float[Tensor, "*n b 2 3"]
    radius: Float[Tensor, "*#n b"]

    def only(self, which: Sequence[int]) -> "Capsules":
        """Some of them."""
        return Capsules(self.ends[..., list(which), :, :], self.radius[..., list(which)])


class Body(nn.Module):
    """Capsules on a skeleton, and which joints make its limbs, trunk and front.

    Args:
        skeleton: The figure. Whatever names a right joint below is mirrored to the left.
        size: Side of the drawn masks, pixels.
        capsules: (from, to, radius, beyond, ahead, ahead): two joints, the first the higher one of
            a person who stands; a radius in mm; how far the axis goes beyond the second joint in mm
            (a hand beyond the wrist; negative: short of it); and how far it lies in front of each
            joint in mm (negative: behind), at right angles to the bone and to the line of the hips
            or, above the pelvis, of the shoulders.
        feet: `drop`, `back`, `length`, `radius` in mm: an axis at right angles to the shank and to
            the line of the hips, `drop` below the ankle, from `back` behind it to `length` before.
        legs: Right hip, knee and ankle.
        arms: Right shoulder, elbow and wrist.
        trunk: The joints at the lower and the upper end of the trunk.
        face: (joint, from, to, forward): a joint `forward` mm in front of the middle of the line
            between two others.

    Raises:
        ValueError: If a joint is unknown or a radius is not positive.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        size: int,
        capsules: Sequence[Sequence[object]],
        feet: Mapping[str, float],
        legs: Sequence[str],
        arms: Sequence[str],
        trunk: Sequence[str],
        face: Sequence[object],
    ):
        super().__init__()
        named = [str(j) for c in capsules for j in c[:2]] + [*legs, *arms, *trunk]
        named += [str(j) for j in face[:3]]
        if unknown := sorted(set(named) - set(skeleton.joints)):
            raise ValueError(f"body names {unknown}, not joints of skeleton {skeleton.name!r}")
        if wrong := [list(c) for c in capsules if len(c) != 6]:
            raise ValueError(
                "body.capsules are [from, to, radius, beyond, ahead of from, ahead of to], got "
                f"{wrong[0]}"
            )
        radii = [float(c[2]) for c in capsules] + [feet["radius"]]
        if min(radii) <= 0:
            raise ValueError(f"body.capsules: radii must be above 0 mm, got {min(radii)}")
        index, flip = skeleton.index, skeleton.flip
        rows = [(index[str(a)], index[str(b)], *map(float, mm)) for a, b, *mm in capsules]
        parts = [[i] for i in range(len(rows))]
        for part, (a, b, *mm) in zip(parts, list(rows), strict=True):
            mirrored = (flip[a], flip[b], *mm)
            if mirrored[:2] != (a, b) and mirrored not in rows:
                part.append(len(rows))
                rows.append(mirrored)
        self.parts = [*parts, [len(rows), len(rows) + 1]]  # capsules of one radius; last, the feet
        self.skeleton, self.size, self.feet = skeleton, size, dict(feet)
        right_leg, right_arm = [index[j] for j in legs], [index[j] for j in arms]
        self.legs = (tuple(right_leg), tuple(flip[j] for j in right_leg))
        self.arms = (tuple(right_arm), tuple(flip[j] for j in right_arm))
        self.trunk = (index[trunk[0]], index[trunk[1]])
        self.bone = {child: bone for bone, (_, child) in enumerate(skeleton.tree)}
        self.spine = self._chain(*self.trunk)
        self.face = tuple(index[str(j)] for j in face[:3])
        self.forward_mm = float(face[3])
        self.start, self.end = [row[0] for row in rows], [row[1] for row in rows]
        low = {self.trunk[0], *self.legs[0], *self.legs[1]}
        self._keep("radius", [row[2] for row in rows] + [float(feet["radius"])] * 2)
        self._keep("beyond", [row[3] for row in rows])
        self._keep("ahead", [row[4:] for row in rows])
        self._keep("below", [row[1] in low for row in rows])

    def _chain(self, low: int, high: int) -> tuple[int, ...]:
        """Joints from the lower end of the trunk to the upper one, along the tree."""
        parent, chain = {child: parent for parent, child in self.skeleton.tree}, [high]
        while chain[-1] != low:
            chain.append(parent[chain[-1]])
        return tuple(chain[::-1])

    def _keep(self, name: str, values: list) -> None:
        self.register_buffer(name, torch.tensor(values), persistent=False)

    # -- directions -----------------------------------------------------------------------------

    def up(self, joints: Float[Tensor, "*n j 3"]) -> Float[Tensor, "*n 3"]:
        """Unit vector from the lower to the upper end of the trunk."""
        low, high = self.trunk
        return F.normalize(joints[..., high, :] - joints[..., low, :], dim=-1)

    def across(
        self, joints: Float[Tensor, "*n j 3"], limbs: Sequence[Sequence[int]]
    ) -> Float[Tensor, "*n 3"]:
        """Vector from the right hip (or shoulder) to the left one."""
        right, left = limbs
        return joints[..., left[0], :] - joints[..., right[0], :]

    def face_place(self, joints: Float[Tensor, "*n j 3"]) -> Float[Tensor, "*n 3"]:
        """Where the face joint belongs, as the shoulders are named; its front is detached."""
        _, low, high = self.face
        axis = F.normalize(joints[..., high, :] - joints[..., low, :], dim=-1)
        front = F.normalize(torch.linalg.cross(self.across(joints, self.arms), axis), dim=-1)
        middle = (joints[..., low, :] + joints[..., high, :]) / 2
        return middle + self.forward_mm * front.detach()

    def bent(self, joints: Float[Tensor, "*n j 3"]) -> Float[Tensor, "*n 2"]:
        """Sine of the angle by which either knee is bent backward, as the hips are named.

        A knee is a hinge about the line of the hips, which is detached.
        """
        across = F.normalize(self.across(joints, self.legs).detach(), dim=-1)
        sines = []
        for leg in self.legs:
            hip, knee, ankle = (joints[..., joint, :] for joint in leg)
            thigh, shank = (F.normalize(bone, dim=-1) for bone in (knee - hip, ankle - knee))
            sines.append((torch.linalg.cross(thigh, shank) * across).sum(-1))
        return torch.stack(sines, -1)

    # -- drawing --------------------------------------------------------------------------------

    def capsules(self, joints: Float[Tensor, "*n j 3"]) -> Capsules:
        """The capsules of poses in mm; directions to the front are detached."""
        start, end = joints[..., self.start, :], joints[..., self.end, :]
        axis = F.normalize(end - start, dim=-1)
        hips, shoulders = (self.across(joints, limbs) for limbs in (self.legs, self.arms))
        across = torch.where(self.below[:, None], hips[..., None, :], shoulders[..., None, :])
        ahead = F.normalize(torch.linalg.cross(axis, across), dim=-1).detach()
        start = start + ahead * self.ahead[:, :1]
        end = end + axis * self.beyond[:, None] + ahead * self.ahead[:, 1:]
        feet = [self._foot(joints, leg) for leg in self.legs]
        ends = torch.cat([torch.stack([start, end], -2), torch.stack(feet, -3)], -3)
        return Capsules(ends, self.radius)

    def _foot(self, joints: Tensor, leg: Sequence[int]) -> Tensor:
        _, knee, ankle = (joints[..., j, :] for j in leg)
        down = F.normalize((ankle - knee).detach(), dim=-1)
        # As the knee turns it: the trunk's front lies along the shank where somebody kneels.
        toes = torch.linalg.cross(down, self.across(joints, self.legs).detach())
        toes = F.normalize(toes, dim=-1)
        sole = ankle + self.feet["drop"] * down
        return torch.stack([sole - self.feet["back"] * toes, sole + self.feet["length"] * toes], -2)

    def of_limbs(self, limbs: Sequence[Sequence[int]]) -> list[int]:
        """Numbers of the capsules that move with the lower joints of the limbs, feet included."""
        moving = {j for limb in limbs for j in limb[1:]}
        found = [i for i, (a, b) in enumerate(zip(self.start, self.end, strict=True))
                 if a in moving or b in moving]  # fmt: skip
        feet = [len(self.start) + k for k, leg in enumerate(self.legs) if leg[2] in moving]
        return found + feet

    @property
    def limbs(self) -> tuple[tuple[int, ...], ...]:
        """Joints of the right and left leg, and of the right and left arm."""
        return (*self.legs, *self.arms)

    @property
    def limb_names(self) -> list[str]:
        """The trunk, with all that is on no limb, and the limbs, as people call them."""
        return ["trunk", "right leg", "left leg", "right arm", "left arm"]

    @property
    def limbs_exchanged(self) -> list[int]:
        """Numbers in `limb_names` once left and right are exchanged."""
        return [0, 2, 1, 4, 3]

    @property
    def ends_of(self) -> tuple[list[int], list[int]]:
        """The joints that each capsule begins and ends at; the ankle twice for a foot."""
        ankles = [leg[2] for leg in self.legs]
        return [*self.start, *ankles], [*self.end, *ankles]

    def width(
        self, capsules: Capsules, camera: Camera, cam: Float[Tensor, "*n v e 3"]
    ) -> Float[Tensor, "*n v b"]:
        """Width of each capsule's soft edge in each view, crop units.

        Args:
            capsules: Of poses (*n) whose views are `camera` (*n v).
            camera: Cameras of the crops.
            cam: All their ends in turn, as the cameras see them, mm.
        """
        depth = cam[..., 2].detach().mean(-1, keepdim=True).clamp_min(1.0)
        per_mm = camera.K[..., 0, 0, None] / depth
        return capsules.radius.unsqueeze(-2) * per_mm / math.log(2) ** (1 / (2 * POWER))

    def draw(
        self, capsules: Capsules, camera: Camera, size: int | None = None, scale: float = 1.0
    ) -> Float[Tensor, "*n v h w"]:
        """Masks of capsules in every view, 1/2 at their surface; differentiable in the ends.

        Args:
            capsules: Of a pose (*n) whose views are `camera` (*n v).
            camera: Cameras of the crops.
            size: Side of the masks; None: the body's own.
            scale: Factor on all radii.
        """
        n, count = capsules.ends.shape[:-3], capsules.ends.shape[-3]
        cam = cam_from_world(capsules.ends.flatten(-3, -2).unsqueeze(-3), camera)
        xy = crop_from_cam(cam, camera).unflatten(-2, (count, 2))
        width = (scale * self.width(capsules, camera, cam)).expand(*n, xy.shape[-4], count)
        return draw_segments(xy, width, size or self.size, "max", POWER)

    def forward(
        self, joints: Float[Tensor, "*n j 3"], camera: Camera, size: int | None = None
    ) -> Float[Tensor, "*n v h w"]:
        """The masks of whole poses."""
        return self.draw(self.capsules(joints), camera, size)
