"""mask-sup: the one word for all commands, and its doctor."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from click.testing import CliRunner

from mask_sup import __main__ as front
from mask_sup import doctor

PACKAGE = Path(front.__file__).parent


def told(*words):
    return CliRunner().invoke(front.main, words, prog_name="mask-sup")


def test_the_overview_has_every_command_there_is():
    runs = {path for path in PACKAGE.glob("*.py") if "__main__" in path.read_text()}
    runs |= {path.parent for path in PACKAGE.glob("*/__main__.py")}
    commands = {path.stem for path in runs} - {"__main__"}
    words = [word for group in front.COMMANDS.values() for word in group]
    assert {word.split()[0] for word in words} == commands
    page = told().stdout
    assert told().exit_code == 0
    for word in words:
        assert f"\n  {word} " in page
    assert page == told("--help").stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("trian", "did you mean train?"),
        ("Predict", "did you mean predict?"),
        ("xyz", "expected one of new, masks,"),
    ],
)
def test_a_wrong_word_gets_the_nearest_right_one(word, said):
    found = told(word, "input=x")
    assert found.exit_code == 2
    assert f"no command {word!r}" in found.output
    assert said in found.output
    assert "Traceback" not in found.output


def test_nothing_heavy_is_loaded_before_a_command_is_chosen():
    code = (
        "import sys, mask_sup.__main__ as front\n"
        "try: front.main([], prog_name='mask-sup')\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'hydra', 'numpy', 'cv2', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_command_runs_as_its_module_does(tmp_path):
    words = ["new", str(tmp_path / "project"), "--videos", str(tmp_path / "nowhere")]
    one, other = (
        subprocess.run([sys.executable, "-m", *how], capture_output=True, text=True, check=False)
        for how in (["mask_sup", *words], ["mask_sup.new", *words[1:]])
    )
    assert one.returncode == other.returncode == 1
    assert one.stderr == other.stderr
    assert "nowhere" in one.stderr


def test_the_version_says_what_runs():
    found = told("--version").output
    assert found.startswith("mask-sup ")
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in found
    assert "torch" in found
    assert "device" in found


# -- the doctor -----------------------------------------------------------------------------------


def by_name(check):
    return {one.name: one for one in check()}


def test_a_healthy_installation_is_fine(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["doctor", "--json"])
    with pytest.raises(SystemExit) as end:
        doctor.main()
    found = json.loads(capsys.readouterr().out)
    assert {"torch", "device", "scikit-fmm", "OpenCV", "weights", "disk"} <= {
        one["name"] for one in found
    }
    wrong = [one for one in found if not one["fine"]]
    assert bool(end.value.code) == bool(wrong)


def test_missing_and_old_packages_are_named(monkeypatch):
    asked = ["numpy>=999", "no-such-package>=1", "av>=1; extra == 'never'", "torch>=2"]
    monkeypatch.setattr(doctor, "requires", lambda name: asked)
    real = doctor.version

    def version(name):
        if name == "no-such-package":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    found = by_name(doctor._packages)["packages"]
    assert not found.fine
    assert "expected >=999" in found.told
    assert "no-such-package>=1 is missing" in found.told
    assert "av" not in found.told.replace("available", "")
    assert found.cure


def test_two_opencvs_are_too_many(monkeypatch):
    class Package:
        version = "1"

        def __init__(self, name):
            self.metadata = {"Name": name}

    both = [Package("opencv-python"), Package("opencv-python-headless"), Package("numpy")]
    monkeypatch.setattr(doctor, "distributions", lambda: both)
    found = by_name(doctor._opencv)["OpenCV"]
    assert not found.fine
    assert found.told == "opencv-python 1, opencv-python-headless 1"
    assert "overwrite each other" in found.cure


@pytest.mark.parametrize(("compiler", "cure"), [("/bin/c++", "pip install"), (None, "a C++ compi")])
def test_without_fast_marching_the_way_to_it_is_told(monkeypatch, compiler, cure):
    def without(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(doctor, "import_module", without)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: compiler)
    found = by_name(doctor._geodesic)["scikit-fmm"]
    assert found.fine
    assert "geodesic weights by sweeps" in found.told
    assert cure in found.cure


def test_a_full_disk_and_a_wrong_mode_end_with_one(monkeypatch, capsys):
    class Usage:
        free = 1e6

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: Usage)
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    monkeypatch.setattr(doctor, "CHECKS", (doctor._room, doctor._wandb))
    monkeypatch.setattr(sys, "argv", ["doctor"])
    with pytest.raises(SystemExit) as end:
        doctor.main()
    assert end.value.code == 1
    page = capsys.readouterr().out
    assert "!! disk" in page
    assert "make room" in page
    assert "WANDB_MODE is online, offline or disabled" in page


def test_a_check_that_fails_is_a_finding(monkeypatch):
    def broken():
        raise RuntimeError("libGL is missing")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (broken,))
    (found,) = doctor.examine()
    assert found == doctor.Finding("broken", False, "RuntimeError: libGL is missing", "reinstall")
