import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "lightning", "torchmetrics", "kornia", "wandb", "matplotlib", "scipy", "cv2")
ASSETS = ROOT / "src" / "mask_sup" / "assets"
pytestmark = pytest.mark.slow


def python(*words, cwd, env=None):
    """A fresh interpreter's standard output."""
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=dict(os.environ) | (env or {}),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the wheel ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    # Where the build backend is installed already, nothing has to be downloaded.
    isolation = [] if importlib.util.find_spec("hatchling") is None else ["--no-isolation"]
    python("-m", "build", "--wheel", *isolation, "--outdir", str(folder), cwd=ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    """What pip would put into site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def installed(unpacked, tmp_path):
    """Words -> output of an interpreter in an empty folder that finds the unpacked wheel first."""
    return lambda *words: python(*words, cwd=tmp_path, env={"PYTHONPATH": str(unpacked)})


def files(folder, pattern):
    return {path.relative_to(folder).as_posix() for path in folder.rglob(pattern)}


def test_the_wheel_holds_every_module_config_and_asset(unpacked):
    here = unpacked / "mask_sup"
    assert (here / "conf" / "train.yaml").is_file()
    assert files(here / "conf", "*.yaml") == files(ROOT / "conf", "*.yaml")
    assert files(here, "*.py") == files(ROOT / "src" / "mask_sup", "*.py")
    assert files(here / "assets", "*") == files(ASSETS, "*") > {"body_lite.npz", "mocap.npz"}
    for asset in ASSETS.iterdir():
        assert (here / "assets" / asset.name).read_bytes() == asset.read_bytes()


def test_the_wheel_holds_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mask_sup"}
    assert not [name for name in names if name.endswith((".pyc", ".ckpt"))]
    assert [name for name in names if name.endswith("LICENSE")]


def test_the_wheel_runs_from_an_empty_folder(installed, unpacked, tmp_path):
    where = installed("-c", "import mask_sup; print(mask_sup.__file__)")
    assert Path(where.strip()).is_relative_to(unpacked)
    told = yaml.safe_load(installed("-m", "mask_sup.train", "--cfg", "job"))
    assert told["name"] == "default"
    assert told["cascade"].keys() == {"skeleton", "physique", "arms"}
    told = yaml.safe_load(
        installed("-m", "mask_sup.train", "+experiment=h36m_full", "+ablation=wo_G", "--cfg", "job")
    )
    assert (told["name"], told["without"]["G"]) == ("h36m_full", True)
    assert not list(tmp_path.iterdir())


COMMANDS = ["train", "evaluate", "predict", "export", "report", "sync", "masks", "look"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_wheels_commands_explain_themselves(command, installed, tmp_path):
    assert "\nexamples:\n" in installed("-m", f"mask_sup.{command}", "--help")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["prepare", "shard", "film", "fetch", "completion", "doctor"])
def test_the_wheels_commands_of_options_are_quick_to_explain_themselves(command, installed):
    told = installed("-c", HELP.format(command=command, heavy=HEAVY))
    assert f"Usage: mask-sup {command} " in told
    (loaded,) = re.findall(r"^LOADED(.*)$", told, re.M)
    assert loaded.split() == []


def test_predict_of_the_wheel_needs_no_more_than_pictures_and_masks(installed, tmp_path):
    for name, value in (("pictures", 128), ("masks", 255)):
        (tmp_path / name).mkdir()
        picture = np.zeros((60, 50, 3), np.uint8)
        picture[5:55, 15:30] = value
        cv2.imwrite(str(tmp_path / name / "000.png"), picture)
    told = installed("-m", "mask_sup.predict", "input=pictures", "masks=masks")
    assert "weights: the detector that comes with mask_sup" in told
    assert (tmp_path / "predictions" / "pictures" / "poses.npz").is_file()
    told = installed("-c", "import mask_sup\nprint(mask_sup.load().card['settings']['labels'])")
    assert told == "False\n"


def test_the_wheel_finds_its_assets(installed):
    count = installed(
        "-c",
        "from mask_sup.synthetic.motion import mocap_clips\nprint(len(mocap_clips()))",
    )
    assert int(count) > 0


# -- imports --------------------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, pkgutil, sys

sys.modules["torchvision"] = None  # as if it were not installed: importing it is an error
import mask_sup
for module in pkgutil.walk_packages(mask_sup.__path__, "mask_sup."):
    importlib.import_module(module.name)
    print(module.name)
assert sys.modules["torchvision"] is None
"""


def test_nothing_needs_torchvision(tmp_path):
    imported = python("-c", IMPORT_ALL, cwd=tmp_path).split()
    here = ROOT / "src"
    modules = {
        ".".join(path.relative_to(here).with_suffix("").parts)
        for path in (here / "mask_sup").rglob("*.py")
    }
    assert set(imported) == {name.removesuffix(".__init__") for name in modules} - {"mask_sup"}
    sources = [
        path.read_text() for folder in ("src", "scripts") for path in (ROOT / folder).rglob("*.py")
    ]
    assert not [text for text in sources if re.search(r"^\s*(import|from) torchvision", text, re.M)]


HELP = """
import resource, runpy, sys
sys.argv = ["python -m mask_sup.{command}", "--help"]
try:
    runpy.run_module("mask_sup.{command}", run_name="__main__")
finally:
    print("LOADED", *sorted(set(sys.modules) & set({heavy})))
    print("SECONDS", resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""


LOADING = """
import resource, torch, lightning
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""


@pytest.fixture(scope="module")
def loading_networks(tmp_path_factory) -> float:
    """Seconds of processor time that loading the network libraries takes on this machine."""
    return float(python("-c", LOADING, cwd=tmp_path_factory.mktemp("elsewhere")))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_quick_and_loads_no_network_library(command, loading_networks, tmp_path):
    told = python("-c", HELP.format(command=command, heavy=HEAVY), cwd=tmp_path)
    assert f"usage: python -m mask_sup.{command} " in told
    (loaded,) = re.findall(r"^LOADED(.*)$", told, re.M)
    assert loaded.split() == []
    (seconds,) = re.findall(r"^SECONDS (.*)$", told, re.M)
    assert float(seconds) < loading_networks / 4  # of its 3 seconds, help takes 0.5


@pytest.mark.parametrize(("command", "given"), [("evaluate", []), ("predict", ["input=."])])
def test_commands_name_a_missing_checkpoint_and_leave_nothing_behind(command, given, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", f"mask_sup.{command}", "checkpoint=nosuch.ckpt", *given],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert "no checkpoint at nosuch.ckpt" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_mistake_in_the_config_is_told_before_anything_heavy_is_loaded(tmp_path):
    code = HELP.format(command="train", heavy=HEAVY).replace('"--help"', '"sead=1"')
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "sead" in done.stderr
    assert re.findall(r"^LOADED(.*)$", done.stdout, re.M) == [""]


# -- sweeps ---------------------------------------------------------------------------------------


def test_table_3_trains_its_rows_and_single_removals(tmp_path):
    python(
        *("-m", "mask_sup.train", "+experiment=smoke", "+sweep=table3", "cascade=quick_masks"),
        *("~cascade.skeleton", "~cascade.physique", "cascade.arms.max_steps=1"),
        *("trainer.val_check_interval=1", "data.batch_size=1", "data.source.size=32"),
        *("data.source.moments={train: 2, val: 1}", "~data.source.moments.mocap"),
        *("data.source.root=cache", "seed=0"),
        cwd=tmp_path,
    )
    (sweep,) = (tmp_path / "outputs" / "smoke").iterdir()
    rows = [yaml.safe_load((sweep / str(job) / "config.yaml").read_text()) for job in range(6)]
    told = [[name for name, absent in row["without"].items() if absent] for row in rows]
    table = [["psi", "G", "Delta"], ["psi", "G"], ["G"], []]
    assert told == [*table, ["psi"], ["Delta"]]
    assert len(list(sweep.rglob("last.ckpt"))) == len(told)
    assert not [path for path in tmp_path.rglob("*") if set(path.name) & set("=,: ")]
