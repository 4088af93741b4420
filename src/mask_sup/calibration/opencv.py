"""OpenCV's FileStorage (yml, xml, json), and cameras.json of a recording.

FileStorage: a folder with one file per camera, named like it; or one file with a node per camera.
Each has a camera_matrix, distortion_coefficients, R (3x3, or a rotation vector) and T, and maybe
image_width and image_height, under any of the usual names (`keys.SPELLINGS`). Among these are the
files of MC-Calib (camera_pose_matrix is camera -> world), of JARVIS and MATLAB (intrinsicMatrix for
row vectors: K and R are transposed), and stereo_calib's two files (cameras cam1 and cam2). One file
with intrinsics alone stands for all that have a pose alone. Parsed in Python: the native parser may
crash on damaged files.

Sources: rameau-fr/MC-Calib (README: distortion_type 1 is a fisheye, the unit is the board's;
display_calib_cameras.py); JARVIS-MoCap/JARVIS-AnnotationTool (extrinsicscalibrator.cpp writes K and
R transposed, T as it is) and JARVIS-HybridNet (utils/reprojection.py: x' = (x_world' R + T) K, and
OpenCV's k1 k2); OpenCV's samples/cpp/stereo_calib.cpp.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.entries import (
    COEFFICIENTS,
    LARGEST_FILE,
    Cameras,
    Entry,
    LeftOut,
    Unread,
    matrix,
    parse_xml,
    read_each,
    read_text,
)
from mask_sup.calibration.keys import is_camera, meanings, read_camera, with_shared_intrinsics
from mask_sup.files.disk import write_file
from mask_sup.files.names import natural_order

__all__ = ["LAYOUT", "is_storage", "read", "read_storage", "recognises", "storages", "write"]

LAYOUT = (
    '{"unit": "mm" or "m", "cameras": {name: {"K": 3x3, "R": 3x3, "t": 3, "dist": 5}}}, '
    "or files of cv2.FileStorage with camera_matrix, distortion_coefficients, R and T"
)
MATRICES = ("opencv-matrix", "opencv-nd-matrix")  # OpenCV 5 writes vectors as the second
SUFFIXES = (".yml", ".yaml", ".xml", ".json")


def recognises(path: Path, text: str) -> bool:
    """Whether this is a FileStorage, or has the keys of cameras.json."""
    return is_storage(text) or (
        text.lstrip()[:1] == "{"
        and bool(re.search(r'"cameras"\s*:\s*\{', text))
        and all(f'"{key}"' in text for key in "KRt")
    )


def is_storage(text: str) -> bool:
    """Whether this is a FileStorage that holds matrices."""
    start = text.lstrip()
    starts = ("%YAML", "{", "<?xml", "<opencv_storage")
    return start.startswith(starts) and any(kind in text for kind in MATRICES)


def read(path: Path, unit: str | None = None) -> tuple[Cameras, str | None]:
    """The cameras, and the unit where the file says it: cameras.json must, or else the caller."""
    if path.is_dir():
        files = storages(path)
        nodes = {file.stem: read_storage(file) for file in files}
        return _read_nodes(nodes) + _without_matrices(path, files), None
    text = read_text(path)
    as_json = path.suffix.lower() == ".json" or text.lstrip()[:1] == "{"
    if as_json and not is_storage(text):
        return _read_json(text, unit)
    nodes = read_storage(path)
    if "K" in meanings(nodes) or _stereo(nodes):
        return _read_nodes({path.stem: nodes}), None
    if not meanings(nodes).keys() & {"R", "t"} and "M1" in nodes:
        raise CalibrationError(
            f"{path.name} has the intrinsics of stereo_calib alone: give the folder of both files"
        )
    return _read_nodes({name: node for name, node in nodes.items() if is_camera(name, node)}), None


def storages(folder: Path) -> list[Path]:
    """The files of a folder that are FileStorages: one per camera, where there are several."""
    files = [
        p for p in natural_order(folder.iterdir()) if p.suffix.lower() in SUFFIXES and p.is_file()
    ]
    fits = [file for file in files if file.stat().st_size <= LARGEST_FILE]
    return [file for file in fits if is_storage(read_text(file))]


def _read_nodes(nodes: Mapping[str, Any]) -> Cameras:
    """The cameras of a table of nodes for each; of two in one stereo calibration."""
    if not any("K" in meanings(table) for table in nodes.values()):
        merged = {key: value for table in nodes.values() for key, value in table.items()}
        nodes = _stereo(merged) or nodes
    nodes = with_shared_intrinsics(nodes)
    return _of_one_group(nodes, read_each(nodes.items(), read_camera))


def _of_one_group(nodes: Mapping[str, Any], found: Cameras) -> Cameras:
    """The same cameras, those left out that MC-Calib could not tie to the largest group."""
    groups = [str(table.get("camera_group", "")) for table in nodes.values()]
    largest = max(groups, key=groups.count, default="")
    why = f"shares no world with the others (its camera_group is not {largest})"
    return [
        camera
        if group == largest
        else LeftOut(camera.name, why, Unread(camera.name, CalibrationError(why)))
        for camera, group in zip(found, groups, strict=True)
    ]


def _without_matrices(folder: Path, files: list[Path]) -> list[LeftOut]:
    """Other files with the ending of cameras: damaged ones, maybe."""
    endings = {file.suffix for file in files} - {".json"}
    others = [p for p in sorted(folder.iterdir()) if p.suffix in endings and p not in files]
    why = "holds no matrix of OpenCV"
    return [LeftOut(p.name, why, Unread(p.name, ValueError(f"{p.name} {why}"))) for p in others]


def _stereo(nodes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The two cameras of OpenCV's stereo_calib, which puts the world into the first; or none.

    M1 and D1 are of the first camera, M2 and D2 of the second, x_cam2 = R x_cam1 + T.
    """
    lenses = {
        number: {
            key[:-1]: value
            for key, value in nodes.items()
            if key.endswith(number) and set(meanings({key[:-1]: 0})) & {"K", "distortion"}
        }
        for number in "12"
    }
    told = meanings(nodes)
    found = [meanings(lens).get("K") for lens in lenses.values()]
    if "K" in told or not {"R", "t"} <= set(told) or any(np.size(K) != 9 for K in found):
        return {}
    size = {key: told[key] for key in ("width", "height", "size") if key in told}
    first, second = {"R": np.eye(3), "t": np.zeros(3)}, {"R": told["R"], "t": told["t"]}
    return {"cam1": lenses["1"] | size | first, "cam2": lenses["2"] | size | second}


def _read_json(text: str, unit: str | None) -> tuple[Cameras, str | None]:
    told = json.loads(text)
    if "unit" in told or unit is None:
        unit = told["unit"]
        if unit not in ("mm", "m"):
            raise ValueError(f'the unit {unit!r}, not "mm" or "m"')
    cameras = [(str(name), camera) for name, camera in told["cameras"].items()]
    return read_each(cameras, _of_a_recording), unit


def _of_a_recording(name: str, table: Mapping[str, Any]) -> Entry:
    """Here four coefficients, or a rotation vector, are a mistake: the file is of this project."""
    told = meanings(table)
    given = told.get("distortion", np.zeros(len(COEFFICIENTS)))
    if np.size(given) < len(COEFFICIENTS):
        raise ValueError(
            f"{np.size(given)} distortion coefficients, not {len(COEFFICIENTS)}: "
            f"{' '.join(COEFFICIENTS)}"
        )
    matrix(told.get("R", np.eye(3)), 3, 3)
    return read_camera(name, table)


def write(calibration: Calibration, path: Path) -> None:
    """Write cameras.json, in mm."""
    cameras = {}
    for index, name in enumerate(calibration.names):
        cameras[name] = {key: getattr(calibration, key)[index].tolist() for key in ("K", "R", "t")}
        cameras[name]["dist"] = calibration.distortion[index].tolist()
        if np.isfinite(calibration.sizes[index]).all():
            cameras[name]["size"] = calibration.sizes[index].tolist()
    told = {"unit": "mm", "cameras": cameras}
    write_file(path, json.dumps(told, indent=1) + "\n")


def read_storage(path: Path, words: bool = False) -> dict[str, Any]:
    """All nodes of a FileStorage; matrices as arrays of their rows and columns.

    Args:
        path: The file.
        words: Of YAML: take everything for text, so that 01 stays 01; matrices are not read.

    Raises:
        ValueError: If it is none, or one of the errors of YAML, XML and JSON.
    """
    text = read_text(path)
    start = text.lstrip()
    if start.startswith("<"):
        nodes = _from_xml(parse_xml(text))
    elif start.startswith("{"):
        nodes = json.loads(text)
    else:
        nodes = _from_yaml(text, words)
    if not isinstance(nodes, Mapping):
        raise ValueError(f"{path.name} has no nodes")
    return {str(name): _value(node) for name, node in nodes.items()}


def _from_yaml(text: str, words: bool) -> Any:
    import yaml

    kind = "BaseLoader" if words else "SafeLoader"

    class Loader(getattr(yaml, f"C{kind}", getattr(yaml, kind))):
        pass

    if re.search(r"(^|[\s\[{,:-])[*&]\w", text):
        raise ValueError("it has YAML aliases, which FileStorage never writes")

    def construct(loader: Loader, suffix: str, node: yaml.MappingNode) -> Any:
        return loader.construct_mapping(node, deep=True) | {"type_id": f"opencv-{suffix}"}

    Loader.add_multi_constructor("tag:yaml.org,2002:opencv-", construct)
    # OpenCV writes %YAML:1.0, which is no directive of YAML.
    return yaml.load(re.sub(r"\A\s*%YAML[^\n]*", "", text), Loader)


def _from_xml(element: ElementTree.Element) -> Any:
    if element.get("type_id") in MATRICES:
        found = {child.tag: (child.text or "").split() for child in element}
        return found | {"type_id": element.get("type_id")}
    if len(element) and all(child.tag == "_" for child in element):
        return [_from_xml(child) for child in element]
    if len(element):
        return {child.tag: _from_xml(child) for child in element}
    return (element.text or "").strip().strip('"')


def _value(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    if node.get("type_id") in MATRICES:
        sides = node["sizes"] if "sizes" in node else (node["rows"], node["cols"])
        return matrix(node["data"], *np.array(sides, int).ravel().tolist())
    return {str(name): _value(child) for name, child in node.items()}
