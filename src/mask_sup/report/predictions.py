"""Reading `poses.npz` back: what a report draws and measures."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.poses import VERDICT, read_poses

__all__ = ["Predictions", "read_predictions"]


class Predictions(NamedTuple):
    """The content of a `poses.npz`; n frames, v views, j joints; what is not in it is None."""

    header: dict[str, Any]
    skeleton: Skeleton
    cameras: tuple[str, ...]  # a name per view
    pictures: np.ndarray  # (n, v) paths as text
    joints_px: np.ndarray  # (n, v, j, 2) detected, continuous pixels of the pictures
    joints_root_mm: np.ndarray  # (n, v, j, 3) x right, y down, z away, relative to the root
    joints_world_mm: np.ndarray | None  # (n, j, 3)
    reprojected_px: np.ndarray | None  # (n, v, j, 2)
    error_px: np.ndarray | None  # (n, v, j) distance of detected and triangulated joint
    confidence: np.ndarray | None  # (n, j) of the triangulated joints, in [0, 1]
    fps: float | None
    unexplained: np.ndarray | None = None  # (n,) share of the masks that the body does not explain
    unexplained_view: np.ndarray | None = None  # (n, v) of each view's masks
    unexplained_limb: np.ndarray | None = None  # (n, l) of what is nearest to each limb
    front: np.ndarray | None = None  # (n,) more that is unexplained with the sides exchanged
    strain: np.ndarray | None = None  # (n,) what the anatomy has against the pose
    size_mm: np.ndarray | None = None  # (n,) of the silhouettes, at the person's distance
    expected_error_mm: np.ndarray | None = None  # (n, j) of joints_world_mm

    @property
    def points_mm(self) -> Float[np.ndarray, "n j 3"]:
        """The pose in 3D: in the world where it is known, else relative to the root, first view."""
        known = self.joints_world_mm
        return self.joints_root_mm[:, 0] if known is None else known

    @property
    def drawn_px(self) -> Float[np.ndarray, "n v j 2"]:
        """What is drawn over the pictures: the triangulated joints where there are some."""
        return self.joints_px if self.reprojected_px is None else self.reprojected_px

    @property
    def source(self) -> Path:
        """What the poses were predicted from."""
        return Path(self.header.get("input", ""))


def read_predictions(path: Path) -> Predictions:
    """The poses, checked.

    Raises:
        FileNotFoundError: If there is no such file, or one of its pictures is gone.
        ValueError: If it is no file of `mask_sup.predict`, or its arrays do not fit each other.
    """
    header, arrays = read_poses(path)
    if not np.isfinite(arrays["joints_px"]).any():
        frames = len(arrays["joints_px"])
        raise ValueError(f"{path} holds no pose in its {frames} frames: predict again")
    pictures = arrays["pictures"]
    for picture in pictures.flat:
        if not Path(picture).is_file():
            raise FileNotFoundError(
                f"missing picture {picture}, named in {path}: put it back, run from the folder "
                "where the poses were predicted, or predict again"
            )
    fps = header.get("fps")
    return Predictions(
        header=header,
        skeleton=_skeleton(header),
        cameras=_camera_names(pictures, Path(header.get("input", ""))),
        pictures=pictures,
        joints_px=arrays["joints_px"],
        joints_root_mm=arrays["joints_root_mm"],
        joints_world_mm=arrays.get("joints_world_mm"),
        reprojected_px=arrays.get("reprojected_px"),
        error_px=arrays.get("reprojection_error_px"),
        confidence=arrays.get("confidence"),
        fps=float(fps) if fps else None,
        **{name: arrays.get(name) for name in (*VERDICT, "size_mm")},
    )


def _skeleton(header: dict[str, Any]) -> Skeleton:
    """Joints and tree; bone groups and heights, which nothing here reads, are not in the file."""
    joints = header["joints"]
    sides = [name.removeprefix("right_") for name in joints if name.startswith("right_")]
    return Skeleton(
        name=header.get("skeleton", "predicted"),
        joints=joints,
        parents=header["parents"],
        bones={},
        pairs=[(f"right_{name}", f"left_{name}") for name in sides],
        heights=dict.fromkeys(joints, 0.0),
    )


def _camera_names(pictures: np.ndarray, source: Path) -> tuple[str, ...]:
    """Each view's folder where these differ (frames/<camera>/...), else view0, view1, ..."""
    if pictures.shape[1] == 1:
        return (source.stem or "view0",)
    folders = tuple(Path(picture).parent.name for picture in pictures[0])
    if len(set(folders)) == len(folders):
        return folders
    return tuple(f"view{k}" for k in range(len(folders)))
