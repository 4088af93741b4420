"""One camera as people have it, in pixels of its pictures; several of them are a `Calibration`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.entries import lens, rotation
from mask_sup.calibration.formats import read_calibration

__all__ = ["Camera", "calibration_of", "straightened"]

IDEAL = (0.0,) * 5


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera, OpenCV axes (x right, y down, z forward): x_cam = R x_world + t.

    Pixels are as OpenCV's calibration counts them: nothing is added to K.
    """

    K: Float[np.ndarray, "3 3"]
    """Camera -> pixels."""
    R: Float[np.ndarray, "3 3"]
    """World -> camera."""
    t: Float[np.ndarray, "3"]
    """World -> camera, mm."""
    distortion: Float[np.ndarray, "5"]
    """OpenCV's k1 k2 p1 p2 k3."""

    @classmethod
    def from_opencv(cls, K: Any, R: Any, t: Any, dist: Any = None) -> "Camera":
        """A camera of what OpenCV's calibration gives.

        Args:
            K: (3, 3) intrinsics, pixels.
            R: (3, 3) rotation or the 3 numbers of a rotation vector, world -> camera.
            t: 3 numbers, mm.
            dist: Coefficients k1 k2 p1 p2 [k3]; None: an ideal lens.

        Raises:
            CalibrationError: If these are of another shape, or no camera's.
        """
        try:
            K, t = np.array(K, float).reshape(3, 3), np.array(t, float).reshape(3)
            R, distortion = rotation(R), lens(IDEAL if dist is None else dist)
        except (TypeError, ValueError) as error:
            raise CalibrationError(
                f"expected K (3, 3), R (3, 3) or (3,), t (3,) in mm and dist (4,) or (5,): {error}"
            ) from error
        camera = cls(K, R, t, distortion)
        calibration_of([camera])  # refuses what no camera is
        return camera

    def project(self, points_mm: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 2"]:
        """World points -> pixels of the picture, through the lens; NaN stays NaN."""
        import cv2

        points = np.asarray(points_mm, float)
        turn = cv2.Rodrigues(self.R)[0]
        px, _ = cv2.projectPoints(points.reshape(-1, 1, 3), turn, self.t, self.K, self.distortion)
        return px.reshape(*points.shape[:-1], 2)


def calibration_of(cameras: Any) -> Calibration:
    """The cameras of one rig, checked against each other.

    Args:
        cameras: Name -> `Camera`; a list of them, which get the names cam0, cam1, ...; the path of
            a calibration in any known format; or a `Calibration`.

    Raises:
        TypeError: If it is none of these.
        CalibrationError: If they make no rig.
    """
    if isinstance(cameras, Calibration):
        return cameras
    if isinstance(cameras, str | Path):
        return read_calibration(cameras)
    if isinstance(cameras, Sequence):
        cameras = {f"cam{k}": camera for k, camera in enumerate(cameras)}
    if not isinstance(cameras, Mapping) or not all(isinstance(c, Camera) for c in cameras.values()):
        raise TypeError(
            "expected cameras as {name: Camera}, a list of Camera or the path of a calibration; "
            "mask_sup.Camera.from_opencv(K, R, t, dist) makes one"
        )
    K, R, t, distortion = (
        np.array([getattr(camera, key) for camera in cameras.values()])
        for key in ("K", "R", "t", "distortion")
    )
    unknown = np.full((len(cameras), 2), np.nan)
    return Calibration(tuple(cameras), K, R, t, distortion, unknown, "cameras")


def straightened(
    px: Float[np.ndarray, "*n 2"], K: Float[np.ndarray, "3 3"], distortion: Float[np.ndarray, "5"]
) -> Float[np.ndarray, "*n 2"]:
    """Pixels of a picture -> pixels of an ideal lens with the same K; NaN stays NaN."""
    import cv2

    if not np.any(distortion):
        return px
    ideal = cv2.undistortPoints(px.reshape(-1, 1, 2), K, distortion, P=K)
    return ideal.reshape(px.shape)
