import json
import subprocess
import sys

import numpy as np
import pytest

from mask_sup.calibration import find_calibration, read_calibration
from mask_sup.files.masks import read_mask
from mask_sup.files.video import read_frames


def run(*words):
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def filmed(root, fault, *more):
    run("-m", "mask_sup.film", root, "--fault", fault, *more)
    return json.loads((root / "answer" / "fault.json").read_text())


def test_a_film_comes_with_its_calibration_and_its_truth(tmp_path):
    told = filmed(tmp_path, "swapped", "--seconds", 0.2, "--size", 320)
    given = read_calibration(find_calibration(tmp_path))
    true = read_calibration(tmp_path / "answer" / "cameras.json")
    wrong = [
        name
        for name, R, S in zip(given.names, given.R, true.R, strict=True)
        if not np.allclose(R, S, atol=1e-6)
    ]
    assert wrong == told["cameras"]
    joints = np.load(tmp_path / "answer" / "joints.npz")["joints_world_mm"]
    assert joints.shape == (5, 18, 3)
    for name, K, R, t in zip(true.names, true.K, true.R, true.t, strict=True):
        frames = list(read_frames(tmp_path / "videos" / f"{name}.mp4"))
        assert len(frames) == 5
        seen = (joints[0] @ R.T + t) @ K.T
        x, y = (seen[:, :2] / seen[:, 2:]).T.round().astype(int)
        mask = read_mask(tmp_path / "answer" / "masks" / name / "000000.png")
        assert mask.shape == frames[0].shape[:2]
        assert mask[y, x].mean() > 0.9 * 255


@pytest.mark.slow
def test_a_film_of_two_people_tells_them_apart(tmp_path):
    told = filmed(tmp_path, "two_people", "--seconds", 0.08, "--size", 160)
    assert told == {"fault": "two_people", "cameras": []}
    found = []
    for path in sorted((tmp_path / "answer" / "masks").rglob("*.png")):
        one, other = (
            read_mask(tmp_path / "answer" / who / path.parent.name / path.name, True) > 0
            for who in ("masks", "others")
        )
        assert not (one & other).any()
        found.append((one.any(), other.any()))
    assert np.any(found, 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", "swapped", "early"])
def test_the_hidden_fault_is_found_with_masks_of_our_own(tmp_path, fault):
    told = filmed(tmp_path, fault, "--seconds", 3, "--seed", 2)
    found = (f"input={tmp_path}", f"output={tmp_path}/masks", f"extractor.plates={tmp_path}/plates")
    run("-m", "mask_sup.masks", *found, "extractor=plate")
    said = run("-m", "mask_sup.calibration", "check", f"input={tmp_path}")
    name = "time" if fault == "early" else fault
    line = next(line for line in said.splitlines() if line.startswith(f"{name}: "))
    assert [camera for camera in ("cam0", "cam1", "cam2", "cam3") if camera in line] == (
        told["cameras"]
    )
    if fault == "early":
        assert "4 frames early" in line
