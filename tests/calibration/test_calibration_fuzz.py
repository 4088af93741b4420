"""Damaged files raise CalibrationError (or name a missing file), whatever the damage."""

import json
import re
import time

import numpy as np
import pytest
from calibration_files import EVERY, files_of

from mask_sup.calibration import FORMATS, CalibrationError, read_calibration

CASES = 4  # of each damage to each format
WORDS = [
    "null",
    "-1",
    "1e999",
    "nan",
    "[]",
    "{}",
    '"x"',
    "true",
    "<a/>",
    "0",
    "[[1, 2], [3]]",
    "!!",
]


def truncated(text, rng):
    return text[: rng.integers(len(text))]


def swapped(text, rng):
    text = bytearray(text)
    for _ in range(rng.integers(1, 40)):
        i, j = rng.integers(len(text), size=2)
        text[i], text[j] = text[j], text[i]
    return bytes(text)


def overwritten(text, rng):
    text = np.frombuffer(text, np.uint8).copy()
    where = rng.integers(len(text), size=rng.integers(1, 20))
    text[where] = rng.integers(256, size=len(where))
    return text.tobytes()


def without_a_line(text, rng):
    lines = re.split(rb"(?<=[\n,>])", text)
    del lines[rng.integers(len(lines))]
    return b"".join(lines)


def of_another_type(text, rng):
    numbers = list(re.finditer(rb"-?\d+\.?\d*(e-?\d+)?", text))
    found = numbers[rng.integers(len(numbers))]
    word = WORDS[rng.integers(len(WORDS))].encode()
    return text[: found.start()] + word + text[found.end() :]


def without_a_key(text, rng):
    words = list(re.finditer(rb"[A-Za-z_]{1,}", text))
    found = words[rng.integers(len(words))]
    return text.replace(found.group(), b"gone")


def doubled(text, rng):
    i, j = sorted(rng.integers(len(text), size=2))
    return text[:j] + text[i:]


DAMAGES = (
    truncated,
    swapped,
    overwritten,
    without_a_line,
    of_another_type,
    without_a_key,
    doubled,
)


def attempt(path, format, options):
    """Read, with and without the format: only the two expected errors may come."""
    for told in (format, None):
        started = time.process_time()
        try:
            calibration = read_calibration(path, told, **options)
        except (CalibrationError, FileNotFoundError):
            pass
        else:
            assert np.isfinite(calibration.K).all()
        assert time.process_time() - started < 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_files_raise_nothing_else(damage, name, tmp_path):
    format, made, write, options = EVERY[name]
    path = write(tmp_path, made)
    rng = np.random.default_rng([list(EVERY).index(name), DAMAGES.index(damage)])
    whole = {file: file.read_bytes() for file in files_of(path)}
    for _ in range(CASES):
        file = list(whole)[rng.integers(len(whole))]
        file.write_bytes(damage(whole[file], rng))
        attempt(path, format, options)
        file.write_bytes(whole[file])


STARTS = [
    "",
    "{",
    "[",
    "<",
    "%YAML:1.0\n---\n",
    "<?xml version='1.0'?>",
    "Skeletool Camera ",
    "[a]\n",
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FORMATS)
def test_noise_raises_nothing_else(name, tmp_path):
    rng = np.random.default_rng(list(FORMATS).index(name))
    options = {"subject": 1} if name == "human36m" else {}
    for suffix in (".json", ".yml", ".xml", ".toml", ".txt"):
        for start in STARTS:
            files = FORMATS[name].files or (f"noise{suffix}",)
            for file in files:
                noise = rng.integers(256, size=rng.integers(400)).astype(np.uint8).tobytes()
                (tmp_path / file).write_bytes(start.encode() + noise)
            attempt(tmp_path / files[0], name, options)


DEEP = 100_000
HOSTILE = {
    "deep.json": '{"cameras": ' + "[" * DEEP,
    "deep2.json": '{"opencv-matrix": ' + '{"a":' * DEEP,
    "deep.yml": "%YAML:1.0\n---\nopencv-matrix: " + "[" * DEEP,
    "deep.xml": "<opencv_storage><a>opencv-matrix</a>"
    + "<a>" * DEEP
    + "</a>" * DEEP
    + "</opencv_storage>",
    "deep.toml": "matrix = " + "[" * DEEP + "\nrotation = 1\ntranslation = 1\n",
    "laughs.yml": "%YAML:1.0\n---\na0: &a0 [1, 1]\n"
    + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(12))
    + "K: *a12\nb: opencv-matrix\n",
    "laughs.xml": "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'opencv-matrix'>"
    + "".join(f"<!ENTITY b{i + 1} '{f'&b{i or str()};' * 9}'>" for i in range(9))
    + "]><opencv_storage>&b9;</opencv_storage>",
    "huge.yml": "%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n  rows: 3000000000\n"
    "  cols: 3000000000\n"
    "  dt: d\n  data: [1]\n",
    "number.json": '{"unit": "mm", "cameras": {"a": {"K": ' + "9" * 9999 + ', "R": 1, "t": 1}}}',
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_time(name, tmp_path):
    path = tmp_path / name
    path.write_text(HOSTILE[name])
    for format in (None, "opencv", "panoptic", "anipose", "qualisys", "easymocap"):
        started = time.process_time()
        with pytest.raises((CalibrationError, FileNotFoundError)):
            read_calibration(path, format)
        assert time.process_time() - started < 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("format", FORMATS)
def test_json_values_of_any_type_are_refused(format, tmp_path):
    options = {"subject": 1} if format == "human36m" else {}
    for value in (
        None,
        1,
        "x",
        [],
        {},
        [[]],
        {"cameras": 1},
        {"cameras": [1]},
        {"cameras": {"a": 1}},
    ):
        (tmp_path / "cameras.json").write_text(json.dumps(value))
        with pytest.raises((CalibrationError, FileNotFoundError)):
            read_calibration(tmp_path / "cameras.json", format, **options)
        with pytest.raises((CalibrationError, FileNotFoundError)):
            read_calibration(tmp_path, format, **options)
