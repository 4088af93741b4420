"""Folders of weights for others, and ONNX."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mask_sup

SIZES = (1, 3, 8)  # of batches


@pytest.fixture(scope="module")
def model(tmp_path_factory, write_checkpoint):
    """Of a checkpoint whose data lay somewhere."""
    path = write_checkpoint(tmp_path_factory.mktemp("run"), "detector.mask_input=true")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"]["data"]["source"]["root"] = "/home/somebody/data"
    torch.save(checkpoint, path)
    return mask_sup.load(path)


def test_a_folder_comes_back_to_the_bit(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "handed" / "on")
    files = {"detector.safetensors", "detector.json", "README.md"}
    assert {path.name for path in folder.iterdir()} == files
    for again in (mask_sup.load(folder), mask_sup.Model.from_pretrained(str(folder))):
        state = again.detector.state_dict()
        assert state.keys() == model.detector.state_dict().keys()
        for name, value in model.detector.state_dict().items():
            assert torch.equal(state[name], value)
        picture = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
        mask = np.zeros((40, 30), bool)
        mask[5:35, 8:20] = True
        one, other = model.predict(picture, mask), again.predict(picture, mask)
        np.testing.assert_array_equal(one.joints_3d, other.joints_3d)
        assert one.settings == other.settings
    twice = mask_sup.load(folder).save_pretrained(tmp_path / "twice")
    for name in files:
        assert (twice / name).read_bytes() == (folder / name).read_bytes()


def test_the_card_tells_use_ancestry_and_figures_and_no_path(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "own")
    text = (folder / "README.md").read_text()
    assert "crops of 16 x 16 pixels with all but the person grey" in text
    assert "- `labels`: no" in text
    assert "None are known." in text
    assert "somebody" not in text + (folder / "detector.json").read_text()
    shipped = mask_sup.load().save_pretrained(tmp_path / "shipped") / "README.md"
    assert "license: mit" in shipped.read_text()
    card = mask_sup.load().card
    assert f"mono/mpjpe_mm {card['figures']['mocap']['mono/mpjpe_mm']:.1f}" in shipped.read_text()
    assert "- `stages`: quickstart/skeleton, quickstart/first_round" in shipped.read_text()
    assert mask_sup.load(tmp_path / "shipped").card["figures"] == card["figures"]


def test_nothing_in_a_folder_is_run(model, tmp_path):
    folder = model.save_pretrained(tmp_path)
    card = json.loads((folder / "detector.json").read_text())
    card["config"]["detector"]["_target_"] = "os.system"
    (folder / "detector.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=r"detector._target_ 'os.system' is refused"):
        mask_sup.Model.from_pretrained(folder)


EXPORT = """
import sys
import mask_sup
mask_sup.load(sys.argv[1]).to_onnx(sys.argv[2])
"""
RUN = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
given = numpy.load(sys.argv[2])
found = {name: session.run(None, {"image": given[name]})[0] for name in given.files}
numpy.savez(sys.argv[3], **found)
print(*sorted(session.get_modelmeta().custom_metadata_map))
"""


def python(code, *words):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("which", ["shipped", "whole pictures"])
def test_onnx_runs_without_torch_and_agrees(which, write_checkpoint, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = which
    if which != "shipped":
        words = ("detector.mask_input=false", "detector.mirror_test=false")
        path = write_checkpoint(tmp_path / "run", *words, seed=1)
    python(EXPORT, path, tmp_path / "detector.onnx")
    model = mask_sup.load(path)
    side = model.card["config"]["data"]["image_size"]
    rng = np.random.default_rng(0)
    given = {f"n{n}": rng.random((n, 3, side, side), np.float32) for n in SIZES}
    np.savez(tmp_path / "given.npz", **given)
    words = (tmp_path / "detector.onnx", tmp_path / "given.npz", tmp_path / "found.npz")
    assert python(RUN, *words).split() == ["input", "joints", "output"]
    found = np.load(tmp_path / "found.npz")
    for name, images in given.items():
        with torch.inference_mode():
            expected = model.detector(torch.from_numpy(images)).numpy()
        assert np.abs(found[name] - expected).max() <= 1e-4
        assert np.ptp(expected[..., :2]) > 0.05  # joints lie apart
    assert [path.name for path in tmp_path.glob("*.data")] == []


def test_without_the_packages_the_extra_is_told(model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'mask-sup\[onnx\]'"):
        model.to_onnx(tmp_path / "detector.onnx")
    assert not Path(tmp_path / "detector.onnx").exists()
