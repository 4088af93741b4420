"""Camera calibrations: readers and writers, one file per family of formats, one shared type.

    calibration = read_calibration("Calib.qca.txt").fitted_to(sizes)
    write_calibration(calibration, "cameras.json")

A new format is a module like `panoptic` and an entry in `formats.FORMATS`; what its keys may be
called is in `keys`. `fitting` makes a rig fit its videos.
"""

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.formats import (
    FORMATS,
    find_calibration,
    read_calibration,
    write_calibration,
)

__all__ = [
    "FORMATS",
    "Calibration",
    "CalibrationError",
    "find_calibration",
    "read_calibration",
    "write_calibration",
]
