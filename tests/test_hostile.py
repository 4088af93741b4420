"""Files that a stranger might send: refused in words, nothing run, no memory taken."""

import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest
import torch

from mask_sup.calibration import CalibrationError, read_calibration
from mask_sup.data.manifest import PreparedData, read_manifest, write_manifest
from mask_sup.data.shards import write_shards
from mask_sup.files.disk import read_arrays
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.models.checkpoint import load

ATTACKS = [
    {
        "_target_": "lightning.pytorch.cli.instantiate_class",
        "args": [],
        "init": {"class_path": "os.system", "init_args": {"command": "touch canary"}},
    },
    {
        "_target_": "lightning.pytorch.LightningModule.load_from_checkpoint",
        "checkpoint_path": "http://localhost:9/x.ckpt",
    },
    {
        "_target_": "lightning.pytorch.core.saving.save_hparams_to_yaml",
        "config_yaml": "canary",
        "hparams": {},
    },
    {"_target_": "os.system", "command": "touch canary"},
]


@pytest.fixture
def sent(tmp_path, write_checkpoint, monkeypatch):
    """A node -> a checkpoint that names it in the place of its skeleton or detector."""
    path = write_checkpoint(tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def infect(where, node):
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["config"][where] = node
        torch.save(checkpoint, tmp_path / "sent.ckpt")
        return tmp_path / "sent.ckpt"

    return infect


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda node: node["_target_"])
@pytest.mark.parametrize("where", ["skeleton", "detector"])
def test_a_checkpoint_runs_nothing(sent, tmp_path, attack, where):
    path = sent(where, attack)
    with pytest.raises(ValueError, match="is refused"):
        load(path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "evaluate", "train"])
def test_nor_does_one_given_to_a_command(sent, tmp_path, command):
    path = sent("skeleton", ATTACKS[0])
    words = {
        "predict": [f"checkpoint={path}", f"input={tmp_path}"],
        "evaluate": [f"checkpoint={path}"],
        "train": ["+experiment=smoke", f"init={path}", "hydra.run.dir=out"],
    }[command]
    done = subprocess.run(
        [sys.executable, "-m", f"mask_sup.{command}", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert "is refused" in done.stderr
    assert not (tmp_path / "canary").exists()


def test_nor_does_a_run_folder(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("name: ${oc.env:HOME}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mask_sup.train", f"resume={run}"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "holds interpolations" in done.stderr


def test_a_detector_too_large_for_its_file_takes_no_memory(tmp_path, write_checkpoint):
    path = write_checkpoint(tmp_path / "run")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"]["detector"]["backbone"]["channels"] = 32 * 1024
    torch.save(checkpoint, path)
    start = time.monotonic()
    with pytest.raises(ValueError, match="of detector do not fit their config: .*, and .* more"):
        load(path)
    assert time.monotonic() - start < 20


# -- bombs ----------------------------------------------------------------------------------------


def png_bomb(path, side):
    """A PNG that says it is side x side, a megabyte that unpacks to gigabytes."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    head = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    packed = zlib.compress(bytes(1 << 20), 9)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [13_000, 40_000])
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_picture_bomb_is_refused_by_its_head(tmp_path, side, read):
    png_bomb(tmp_path / "bomb.png", side)
    with pytest.raises(ValueError, match="says that it is a picture of .* megapixels"):
        read(tmp_path / "bomb.png")


def npz_of(path, name, shape, kind):
    """An npz whose array says its shape; what it says need not be there."""
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w") as archive, archive.open(f"{name}.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)


@pytest.mark.parametrize(
    ("shape", "kind", "says"), [((1 << 40,), "<f8", "GB"), ((2,), "|O", "Python objects")]
)
def test_an_npz_bomb_is_refused_by_its_head(tmp_path, shape, kind, says):
    npz_of(tmp_path / "bomb.npz", "joints_px", shape, kind)
    with pytest.raises(ValueError, match=f"(?s)bomb.npz cannot be read.*joints_px holds .*{says}"):
        read_arrays(tmp_path / "bomb.npz", ["joints_px"], 2, "predict again")


@pytest.mark.parametrize("text", ["x = 1\n" + "[" + "a." * 50_000 + "b]\n", "a." * 50_000 + "b=1"])
def test_toml_nested_without_end_is_refused(tmp_path, text):
    (tmp_path / "rig.toml").write_text(text)
    start = time.monotonic()
    with pytest.raises(CalibrationError, match="nested 20 deep"):
        read_calibration(tmp_path / "rig.toml", "anipose")
    assert time.monotonic() - start < 5


# -- paths ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path, write_moments, cameras_around):
    """A change of the manifest's arrays -> the prepared data set with it."""
    from mask_sup.data.manifest import tabulate

    root = tmp_path / "store"
    moments = write_moments(root / "train", cameras_around(2), count=2)
    table = tabulate(root, "train", moments, ["a", "b"])

    def write(**changes):
        write_manifest(root, {**table, **changes}, {})
        return root

    write.table = table
    return write


@pytest.mark.parametrize(
    "text", ["../secret.txt", "/etc/passwd", "a/../../b.png", "C:\\x.png", "..\\x", "../y.tar@0+9"]
)
@pytest.mark.parametrize("key", ["images", "masks"])
def test_a_manifest_stays_in_its_folder(store, key, text, tmp_path):
    changed = store.table[key].astype(object)
    changed[0, 0] = text
    root = store(**{key: changed.astype(str)})
    for use in (read_manifest, lambda root: write_shards(root, tmp_path / "shards", 1.0)):
        with pytest.raises(ValueError, match="expected a file inside"):
            use(root)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("split", ["../../y", "a/b", ""])
def test_splits_are_words(store, split):
    with pytest.raises(ValueError, match="has a split .*expected a word"):
        PreparedData(store(split=np.array([split] * 2))).prepare()


def test_a_clean_store_is_read(store):
    assert len(PreparedData(store()).moments("train")) == 2
