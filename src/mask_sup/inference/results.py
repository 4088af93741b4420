"""What a prediction tells: poses with named joints, which save and draw themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mask_sup.data.moments import Moment
from mask_sup.figure.draw import draw_skeleton, pose_sheet
from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.errors import nearest
from mask_sup.files.pictures import read_image, write_png
from mask_sup.files.poses import healthy, write_poses
from mask_sup.inference.poses import Predictor

__all__ = ["Poses", "Request", "drawn", "gathered", "in_a_row"]

OVERLAY_SIZE = 720  # pixels, of a view, at most


@dataclass(frozen=True)
class Request:
    """What was asked for, as poses.npz tells it."""

    checkpoint: str
    input: str
    """What the pictures are from, in words or as a path."""
    every: int = 1
    person_height: float = 1700.0
    """Stature in mm of whoever is seen by one view alone."""


@dataclass(frozen=True, eq=False, repr=False)
class Poses:
    """Poses of moments in the order of time, with joints by name.

    Lengths are millimetres, places in pictures continuous pixels from the upper left corner.
    """

    arrays: Mapping[str, np.ndarray]
    """All that poses.npz holds but the pictures' names; its header explains each."""
    skeleton: Skeleton
    moments: Sequence[Moment]
    """What was looked at."""
    crops: Float[np.ndarray, "n v 3"]
    """Left, top and side of the squares that the detector saw, pixels."""
    limbs: Sequence[str]
    """Names of the columns of `unexplained_limb`."""
    fps: float | None
    """Moments a second; None: unknown."""
    request: Request
    settings: Mapping[str, Any]
    """What the poses were given: to learn from by all ancestors of the weights, and now (masks,
    boxes, whether they were fitted); see `mask_sup.method.settings`."""
    box: str
    """Where the person's box came from: the `mask`, as `given`, or `found` by the detector."""
    keep: Any = None
    """What has to live as long as the pictures: the folder of a video's frames."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(self.skeleton.joints)

    @property
    def frame(self) -> str:
        """What `joints_3d` stands in: the `world` of the calibration, or the `camera`'s axes.

        In the latter x is right, y down, z away from the camera; the root joint is the origin, and
        the scale is that of a person of `request.person_height`: one picture cannot tell it.
        """
        return "world" if "joints_world_mm" in self.arrays else "camera"

    @property
    def joints_2d(self) -> Float[np.ndarray, "n v j 2"]:
        """Joints in each view, pixels; NaN where nobody is seen.

        Of calibrated views, the joints of `joints_3d` seen again; what the detector saw in each by
        itself is `arrays["joints_px"]`.
        """
        return self.arrays.get("reprojected_px", self.arrays["joints_px"])

    @property
    def joints_3d(self) -> Float[np.ndarray, "n j 3"]:
        """Joints in mm, see `frame`; NaN where too few views show anybody."""
        if self.frame == "world":
            return self.arrays["joints_world_mm"]
        return self.arrays["joints_root_mm"][:, 0]

    @property
    def confidence(self) -> Float[np.ndarray, "n j"] | None:
        """Of `joints_3d`, in [0, 1]; None for single views, which cannot tell."""
        return self.arrays.get("confidence")

    def __len__(self) -> int:
        return len(self.arrays["joints_px"])

    def __getitem__(self, joint: str) -> Float[np.ndarray, "n 3"]:
        """One joint of `joints_3d` by its name."""
        if joint not in self.names:
            raise KeyError(f"no joint {joint!r}: {nearest(str(joint), self.names)}")
        return self.joints_3d[:, self.skeleton.index[joint]]

    def __repr__(self) -> str:
        fitted = ", fitted to masks" if self.settings.get("fitted_at_test") else ""
        views = self.arrays["joints_px"].shape[1]
        return (
            f"<Poses of {len(self)} moment(s) in {views} view(s): {len(self.names)} joints, mm in "
            f"the {self.frame}'s axes{fitted}>"
        )

    @property
    def pictures(self) -> np.ndarray:
        """(n, v) names of the pictures, files where they are such."""
        return np.array([[str(view.image) for view in moment.views] for moment in self.moments])

    def save(self, path: str | Path) -> Path:
        """Write a poses.npz, which `mask_sup.export` and `mask_sup.report` read; returns its path.

        The report shows pictures, so that it needs poses that were predicted from files.
        """
        path = Path(path).expanduser()
        write_poses(
            *(path, dict(self.arrays), self.pictures, self.skeleton, self.limbs),
            *(self.fps, self.request, dict(self.settings), self.box),
        )
        return path

    def draw(self, moment: int = 0, path: str | Path | None = None) -> np.ndarray:
        """The skeleton over the picture of a moment, (h, w, 3) uint8 RGB; several views in a row.

        Args:
            moment: Which one.
            path: Where it is written as PNG, too.
        """
        views = drawn(self.moments[moment], self.joints_2d[moment], self.skeleton)
        picture = views[0] if len(views) == 1 else in_a_row(views)
        if path is not None:
            write_png(Path(path).expanduser(), picture)
        return picture


def gathered(
    arrays: dict[str, np.ndarray],
    predictor: Predictor,
    moments: Sequence[Moment],
    request: Request,
    settings: Mapping[str, Any],
    box: str,
    fps: float | None = None,
    keep: Any = None,
) -> Poses:
    """The poses of a predictor's arrays, and which of them nothing speaks against.

    Args:
        arrays: As `mask_sup.inference.parts.in_parts` gives them.
        predictor: What made them.
        moments: What it saw.
        request: What was asked for.
        settings: See `Poses`.
        box: See `Poses`.
        fps: Moments a second, where that is known.
        keep: See `Poses`.
    """
    arrays = dict(arrays)
    crops = arrays.pop("boxes")
    if "unexplained" in arrays:
        arrays["healthy"] = healthy(arrays).astype(np.uint8)
    limbs = predictor.fitter.body.limb_names if predictor.fitter is not None else []
    skeleton = predictor.detector.skeleton
    return Poses(arrays, skeleton, moments, crops, limbs, fps, request, settings, box, keep)


def drawn(
    moment: Moment, joints_px: Float[np.ndarray, "v j 2"], skeleton: Skeleton
) -> list[np.ndarray]:
    """The pictures of a moment with the skeleton over each, RGB."""
    return [
        draw_skeleton(read_image(view.image), joints, skeleton)
        for view, joints in zip(moment.views, joints_px, strict=True)
    ]


def in_a_row(pictures: list[np.ndarray]) -> np.ndarray:
    """RGB pictures side by side, each with a black border as a square of at most `OVERLAY_SIZE`."""
    return pose_sheet([pictures], min(OVERLAY_SIZE, max(pictures[0].shape[:2])))
