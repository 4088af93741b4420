"""The cameras of one rig, checked on construction, and their fit to pictures of another size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["Calibration", "CalibrationError", "fit_picture"]

ROTATION_TOLERANCE = 1e-3  # files print a few digits only
NEAREST_MM, FURTHEST_MM = 100.0, 1e6  # of the two cameras that are furthest apart
OFF_MIDDLE = 0.15  # of the picture: a principal point is doubted from there on
ALIKE = 0.1  # two scales that differ by less of themselves are one
SCALES = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2, 3, 4)  # of the usual sizes
WIDEST_BARS = 0.25  # share of the picture: 4:3 inside 16:9
ARRAYS = {"K": (3, 3), "R": (3, 3), "t": (3,), "distortion": (5,), "sizes": (2,)}


class CalibrationError(ValueError):
    """A calibration that cannot be read, is damaged or does not fit its pictures."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Cameras of one rig in one world, OpenCV axes (x right, y down, z forward).

    Numbers are as the files tell them: no half-pixel terms are added or taken away.

    Attributes:
        names: One per camera, as its video or folder of pictures is called.
        K: Camera -> pixels of the pictures.
        R: World -> camera, x_cam = R x_world + t.
        t: World -> camera, mm.
        distortion: OpenCV's k1 k2 p1 p2 k3; zeros for an ideal lens.
        sizes: Width and height of the pictures in pixels; NaN where the file does not say.
        source: Where it came from, for messages.
        notes: What its user should know: cameras that were left out, doubts. Commands print them.

    Raises:
        CalibrationError: If an array has another shape or numbers that are not finite, R is no
            rotation, a focal length is not positive, the principal point lies outside the picture,
            or the cameras are too near or too far for millimetres.
    """

    names: tuple[str, ...]
    K: Float[np.ndarray, "v 3 3"]
    R: Float[np.ndarray, "v 3 3"]
    t: Float[np.ndarray, "v 3"]
    distortion: Float[np.ndarray, "v 5"]
    sizes: Float[np.ndarray, "v 2"]
    source: str = "the calibration"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        _check_names(self)
        for key, shape in ARRAYS.items():
            object.__setattr__(self, key, _array(self, key, (len(self.names), *shape)))
        with np.errstate(all="ignore"):  # numbers may be huge
            for index, name in enumerate(self.names):
                camera = f"camera {name!r} of {self.source}"
                _check_numbers(self, index, camera)
                _check_rotation(self.R[index], camera)
                _check_intrinsics(self.K[index], camera)
                _check_picture(self.K[index], self.sizes[index], camera)
            _check_distances(self)

    @property
    def centres(self) -> Float[np.ndarray, "v 3"]:
        """Centres of projection in the world, mm."""
        return -np.einsum("vij,vi->vj", self.R, self.t)

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and doubts about principal points far off the middle of their pictures."""
        doubted: dict[str, list[int]] = {}  # what may be the matter -> cameras
        for index, (K, size) in enumerate(zip(self.K, self.sizes, strict=True)):
            if np.isfinite(size).all() and np.abs(K[:2, 2] / size - 0.5).max() > OFF_MIDDLE:
                doubted.setdefault(_likely_size(K[:2, 2], size), []).append(index)
        remarks = list(self.notes)
        for why, (first, *more) in doubted.items():
            camera = f"camera {self.names[first]!r} of {self.source}"
            told = _principal_point(self.K[first], self.sizes[first], camera)
            likewise = f"; likewise {[self.names[index] for index in more]}" if more else ""
            remarks.append(f"{told}, far off the middle: {why}{likewise}")
        return tuple(remarks)

    def tell(self) -> None:
        """Print the remarks."""
        for remark in self.remarks:
            print(f"! {remark}")

    def select(self, names: Sequence[str]) -> "Calibration":
        """These cameras alone, in this order.

        Raises:
            CalibrationError: If there is no camera of that name.
        """
        if missing := [name for name in names if name not in self.names]:
            raise CalibrationError(
                f"no camera {missing} in {self.source}: it has {list(self.names)}"
            )
        rows = [self.names.index(name) for name in names]
        return replace(
            self, names=tuple(names), **{key: getattr(self, key)[rows] for key in ARRAYS}
        )

    def fitted_to(self, sizes: Sequence[Any] | np.ndarray) -> "Calibration":
        """The same cameras for pictures of other sizes: K follows a scaling or a letterbox.

        A recorder that keeps the proportions scales the calibrated picture by s and centres it
        between black bars: x' = s x + (width' - s width) / 2, and y' alike. Sizes cannot tell that
        from a crop: look for the bars. Where the calibrated size is unknown, K stays.

        Args:
            sizes: (v, 2) width and height of the true pictures, pixels.

        Raises:
            CalibrationError: If neither the same size, a scaling, nor a letterbox explains them.
        """
        true = np.array(sizes, float)
        if true.shape != self.sizes.shape or not (true > 0).all():
            raise CalibrationError(
                f"expected a width and height in pixels for each of the {len(self.names)} cameras "
                f"of {self.source}, got {np.array(sizes).tolist()}"
            )
        K = self.K.copy()
        for index, name in enumerate(self.names):
            if np.isfinite(self.sizes[index]).all():
                camera = f"camera {name!r} of {self.source}"
                scale, shift = fit_picture(self.sizes[index], true[index], camera)
                K[index, :2] *= scale[:, None]
                K[index, :2, 2] += shift
        return replace(self, K=K, sizes=true)


def fit_picture(
    calibrated: Sequence[float] | np.ndarray,
    true: Sequence[float] | np.ndarray,
    camera: str = "a camera",
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Scale and shift (x, y) from pixels of the calibrated picture to those of the true one.

    Args:
        calibrated: Width and height the calibration is for, pixels.
        true: Width and height of the pictures, pixels.
        camera: Its name, for messages.

    Raises:
        CalibrationError: If the true picture is neither a scaling nor a letterbox of the other.

    >>> scale, shift = fit_picture((1088, 1920), (1080, 1920))
    >>> scale.round(5).tolist(), shift.round(2).tolist()
    ([0.99265, 0.99265], [0.0, 7.06])
    """
    calibrated, true = np.array(calibrated, float), np.array(true, float)
    scale = true / calibrated
    if np.abs(calibrated * scale[::-1] - true).min() <= 1:  # sides are rounded to whole pixels
        return scale, np.zeros(2)
    told = f"{camera} is calibrated for {_size(calibrated)} but its pictures are {_size(true)}"
    if np.subtract(*calibrated) * np.subtract(*true) < 0:
        raise CalibrationError(
            f"{told}: one of the two is in portrait, the other in landscape; turn the videos back, "
            "calibrate with turned ones, or turn the camera with its video, by degrees clockwise: "
            "python -m mask_sup.calibration convert 'turn={<camera>: 90}' (or 270)"
        )
    bars = true - calibrated * scale.min()
    if (bars / true).max() > WIDEST_BARS:
        raise CalibrationError(
            f"{told}: neither a scaling nor a letterbox explains that; a crop? give the pictures "
            "that were calibrated, or a calibration of these"
        )
    return np.full(2, scale.min()), bars / 2


def _size(size: np.ndarray) -> str:
    return "x".join(f"{side:.0f}" for side in size)


def _check_names(calibration: Calibration) -> None:
    names, source = calibration.names, calibration.source
    if not names:
        raise CalibrationError(f"{source} has no camera in it")
    # Names are those of files and folders.
    if bad := [n for n in names if not isinstance(n, str) or not n.isprintable() or not n.strip()]:
        raise CalibrationError(f"{source} names cameras {bad}: expected words")
    if bad := [n for n in names if set(n) & set("/\\") or n in (".", "..")]:
        raise CalibrationError(f"{source} names cameras {bad}: no file can be called so")
    if bad := sorted({name for name in names if names.count(name) > 1}):
        raise CalibrationError(f"{source} has several cameras of the same name: {bad}")


def _array(calibration: Calibration, key: str, shape: tuple[int, ...]) -> np.ndarray:
    value = np.array(getattr(calibration, key), float)
    if value.shape != shape:
        raise CalibrationError(
            f"{calibration.source} has {len(calibration.names)} cameras: expected {key} of shape "
            f"{shape}, got {value.shape}"
        )
    return value


def _check_numbers(calibration: Calibration, index: int, camera: str) -> None:
    keys = ("K", "R", "t", "distortion")
    if bad := [key for key in keys if not np.isfinite(getattr(calibration, key)[index]).all()]:
        raise CalibrationError(f"{camera} has NaN or infinite numbers in {bad}")
    size = calibration.sizes[index]
    if not (np.isnan(size).all() or (np.isfinite(size).all() and (size > 0).all())):
        raise CalibrationError(
            f"{camera} has pictures of the size {size.tolist()}: expected width and height in "
            "pixels, or NaN for both"
        )


def _check_rotation(R: np.ndarray, camera: str) -> None:
    if not np.allclose(R @ R.T, np.eye(3), rtol=0, atol=ROTATION_TOLERANCE):
        raise CalibrationError(
            f"{camera} has an R that is no rotation: expected world -> camera, orthonormal, "
            "determinant +1"
        )
    if np.linalg.det(R) < 0:
        raise CalibrationError(
            f"{camera} has an R that is a reflection (determinant -1), not a rotation: wrong "
            "handedness; the axes of the world or of the camera are left-handed, turn one around"
        )


def _check_intrinsics(K: np.ndarray, camera: str) -> None:
    if not (K[0, 0] > 0 and K[1, 1] > 0):
        raise CalibrationError(
            f"{camera} has the focal lengths {K[0, 0]:g} and {K[1, 1]:g}: expected positive pixels"
        )
    if np.abs(K[[1, 2, 2], [0, 0, 1]]).max() > 1e-9 or abs(K[2, 2] - 1) > 1e-9:
        raise CalibrationError(
            f"{camera} has the K {K.tolist()}: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"
        )
    if abs(K[0, 1]) > 1e-6 * K[0, 0]:
        raise CalibrationError(
            f"{camera} has a skew of {K[0, 1]:g}: OpenCV's lenses have none, calibrate without"
        )


def _check_picture(K: np.ndarray, size: np.ndarray, camera: str) -> None:
    """Refuse a principal point outside of the picture, and one that belongs to a turned picture."""
    if np.isnan(size).any():
        return
    centre = K[:2, 2]
    off, off_turned = np.abs(centre / size - 0.5).max(), np.abs(centre / size[::-1] - 0.5).max()
    told = _principal_point(K, size, camera)
    if off > 0.1 and off_turned < off / 3:
        raise CalibrationError(
            f"{told}, the middle of {_size(size[::-1])}: width and height are swapped, one of the "
            "two is in portrait and the other in landscape"
        )
    if not ((centre >= 0) & (centre <= size)).all():
        raise CalibrationError(f"{told}, outside: {_likely_size(centre, size)}")


def _principal_point(K: np.ndarray, size: np.ndarray, camera: str) -> str:
    at = K[:2, 2].round(1).tolist()
    return f"{camera} has its principal point at {at} of {_size(size)} pixels"


def _likely_size(centre: np.ndarray, size: np.ndarray) -> str:
    """What may be the matter with a principal point far off the middle, and what to do."""
    scale = 2 * centre / size
    if not (scale > 0).all() or abs(scale[0] / scale[1] - 1) > ALIKE:
        return "is this the calibration of these pictures, and were they not cropped?"
    usual = min(SCALES, key=lambda known: abs(known / scale.mean() - 1))
    near = abs(usual / scale.mean() - 1) <= ALIKE
    width, height = (size * (usual if near else scale.mean())).round().astype(int)
    return (
        f"K seems to be for pictures of {width}x{height}, {width / size[0]:.2g} times the size; if "
        "so: python -m mask_sup.calibration convert input=<calibration> videos=<folder> "
        f"'calibrated_size=[{width},{height}]' output=cameras.json"
    )


def _check_distances(calibration: Calibration) -> None:
    centres = calibration.centres
    furthest = max(np.linalg.norm(centres - centre, axis=1).max() for centre in centres)
    if len(centres) > 1 and not NEAREST_MM <= furthest <= FURTHEST_MM:
        raise CalibrationError(
            f"the cameras of {calibration.source} are {furthest:.3g} mm apart at most: expected "
            f"{NEAREST_MM:g} mm to {FURTHEST_MM / 1e6:g} km; give the unit of the file, "
            "unit=mm, cm or m (a recording's: convert it to cameras.json with that unit; where the "
            "file says a wrong one: scale=0.001 or 1000)"
        )
