"""OpenCV's FileStorage (yml, xml, json), and cameras.json of a recording.

FileStorage: a folder with one file per camera, named like it; or one file with a node per camera.
Each has a camera_matrix, distortion_coefficients, R (3x3, or a rotation vector) and T, and maybe
image_width and image_height, under any of the usual names. Parsed in Python: the native parser
may crash on damaged files.
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
    UNKNOWN_SIZE,
    Entry,
    lens,
    matrix,
    parse_xml,
    read_text,
    rotation,
)
from mask_sup.files.disk import write_file

__all__ = ["LAYOUT", "is_storage", "read", "read_storage", "recognises", "write"]

LAYOUT = (
    '{"unit": "mm" or "m", "cameras": {name: {"K": 3x3, "R": 3x3, "t": 3, "dist": 5}}}, '
    "or files of cv2.FileStorage with camera_matrix, distortion_coefficients, R and T"
)
MATRICES = ("opencv-matrix", "opencv-nd-matrix")  # OpenCV 5 writes vectors as the second
SUFFIXES = (".yml", ".yaml", ".xml", ".json")
# Lower case, without underscores.
NAMES = {
    "K": ("cameramatrix", "intrinsicmatrix", "k", "m", "mtx"),
    "distortion": ("distortioncoefficients", "distcoeffs", "distcoefs", "dist", "distortion", "d"),
    "R": ("r", "rot", "rotation", "rotationmatrix", "rvec", "rotationvector"),
    "t": ("t", "translation", "translationvector", "tvec"),
    "width": ("imagewidth", "width", "w"),
    "height": ("imageheight", "height", "h"),
    "size": ("imagesize", "size"),
    "fisheye": ("fisheye", "fisheyemodel"),
}


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


def read(path: Path, unit: str | None = None) -> tuple[list[Entry], str | None]:
    """The cameras, and the unit where the file says it: cameras.json must, or else the caller."""
    if path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES and p.is_file()]
        files = [file for file in files if is_storage(read_text(file))]
        return [_entry(file.stem, read_storage(file)) for file in files], None
    text = read_text(path)
    as_json = path.suffix.lower() == ".json" or text.lstrip()[:1] == "{"
    if as_json and not is_storage(text):
        return _read_json(text, unit)
    nodes = read_storage(path)
    if _find(nodes, "K") is not None:
        return [_entry(path.stem, nodes)], None
    cameras = {name: node for name, node in nodes.items() if _find(node, "K") is not None}
    return [_entry(name, node) for name, node in cameras.items()], None


def _read_json(text: str, unit: str | None) -> tuple[list[Entry], str | None]:
    told = json.loads(text)
    if "unit" in told or unit is None:
        unit = told["unit"]
        if unit not in ("mm", "m"):
            raise ValueError(f'the unit {unit!r}, not "mm" or "m"')
    entries = [
        Entry(
            str(name),
            matrix(camera["K"], 3, 3),
            matrix(camera["R"], 3, 3),
            matrix(camera["t"], 3),
            _five(camera.get("dist", np.zeros(5))),
            tuple(matrix(camera.get("size", UNKNOWN_SIZE), 2)),
        )
        for name, camera in told["cameras"].items()
    ]
    return entries, unit


def _five(coefficients: Any) -> np.ndarray:
    """Here four coefficients are a mistake: the file is this project's own."""
    if np.size(coefficients) < 5:
        raise ValueError(f"{np.size(coefficients)} distortion coefficients, not 5: k1 k2 p1 p2 k3")
    return lens(coefficients)


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


def read_storage(path: Path) -> dict[str, Any]:
    """All nodes of a FileStorage; matrices as arrays of their rows and columns.

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
        nodes = _from_yaml(text)
    if not isinstance(nodes, Mapping):
        raise ValueError(f"{path.name} has no nodes")
    return {str(name): _value(node) for name, node in nodes.items()}


def _from_yaml(text: str) -> Any:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
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


def _find(nodes: Any, meaning: str) -> Any:
    """The value of the first node of that meaning; None where there is none."""
    if not isinstance(nodes, Mapping):
        return None
    known = {str(name).lower().replace("_", ""): value for name, value in nodes.items()}
    return next((known[name] for name in NAMES[meaning] if name in known), None)


def _entry(name: str, nodes: Mapping[str, Any]) -> Entry:
    found = {meaning: _find(nodes, meaning) for meaning in NAMES}
    if missing := [key for key in ("K", "R", "t") if found[key] is None]:
        raise ValueError(
            f"camera {name!r} has no {missing}, only {list(nodes)}: intrinsics alone are no rig, "
            "each camera needs its R and T in one common world"
        )
    if found["fisheye"] not in (None, 0, "0", False):
        raise CalibrationError(f"camera {name!r} is a fisheye: only OpenCV's ordinary lens is read")
    size = found["size"]
    if found["width"] is not None and found["height"] is not None:
        size = (found["width"], found["height"])
    return Entry(
        name,
        matrix(found["K"], 3, 3),
        rotation(found["R"]),
        matrix(found["t"], 3),
        lens([] if found["distortion"] is None else found["distortion"]),
        UNKNOWN_SIZE if size is None else tuple(matrix(size, 2)),
    )
