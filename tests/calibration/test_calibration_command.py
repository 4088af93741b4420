import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from calibration_files import rig, write_anipose, write_human36m, write_qualisys

from mask_sup.calibration import CalibrationError, read_calibration
from mask_sup.calibration.convert import convert

HEAVY = ("torch", "lightning", "kornia", "scipy", "cv2")


def configured(compose_config, **told):
    return compose_config("calibration_convert", *(f"{key}={value}" for key, value in told.items()))


def command(folder, *words):
    words = [sys.executable, "-m", "mask_sup.calibration", *words]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)


def test_the_command_converts(tmp_path):
    write_qualisys(tmp_path, rig())
    done = command(tmp_path, "convert", "input=Calib.qca.txt", "output=new/cameras.json")
    assert done.returncode == 0, done.stderr
    assert "4 camera(s) of Calib.qca.txt written to new/cameras.json" in done.stdout
    assert "cam01: 1280x720 px, focal lengths" in done.stdout
    np.testing.assert_allclose(read_calibration(tmp_path / "new" / "cameras.json").t, rig().t)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Calib.qca.txt", "new"]


@pytest.mark.slow
def test_help_names_the_commands_and_their_keys(tmp_path):
    for words in ((), ("--help",)):
        done = command(tmp_path, *words)
        assert done.returncode == 0, done.stderr
        assert all(f"\n  {name} " in done.stdout for name in ("convert", "check", "refine"))
    assert "output_format=null" in command(tmp_path, "convert", "--help").stdout
    done = command(tmp_path, "refline", "input=a")
    assert done.returncode != 0
    assert "no command 'refline'" in done.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['x', 'convert', '--cfg', 'job']; import runpy\n"
        "try: runpy.run_module('mask_sup.calibration', run_name='__main__')\n"
        f"finally: print('LOADED', *(set(sys.modules) & set({HEAVY})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    told, _, loaded = done.stdout.partition("LOADED")
    assert yaml.safe_load(told)["unit"] is None
    assert loaded.split() == []


def test_cameras_units_and_formats_are_chosen(compose_config, tmp_path):
    made = rig()
    made.t = made.t / 1000
    path = write_anipose(tmp_path, made)
    told = {"input": path, "output": tmp_path / "out.txt"}
    convert(configured(compose_config, **told, unit="m", cameras="[cam03]", output_format="opencv"))
    again = read_calibration(tmp_path / "out.txt")
    assert again.names == ("cam03",)
    np.testing.assert_allclose(again.t, rig().t[2:3])


def test_a_wrong_scale_is_undone(compose_config, tmp_path):
    made = rig()
    made.t = made.t / 1000  # no distance of cameras, in millimetres
    path, out = write_anipose(tmp_path, made), tmp_path / "cameras.json"
    with pytest.raises(CalibrationError, match=r"mm apart at most: .*scale=0.001 or 1000"):
        read_calibration(path)
    convert(configured(compose_config, input=path, output=out, scale=1000))
    np.testing.assert_allclose(read_calibration(out).t, rig().t)
    for bad in ("0", "-2", "inf"):
        with pytest.raises(CalibrationError, match="scale=.*: expected a factor above 0"):
            convert(configured(compose_config, input=path, output=out, scale=bad))


def test_numbers_may_be_names(compose_config, tmp_path):
    path = write_anipose(tmp_path, rig(names=["1", "02", "x", "y"]))
    out = tmp_path / "cameras.json"
    convert(configured(compose_config, input=path, output=out, cameras="['02',1]"))
    assert read_calibration(out).names == ("02", "1")


def test_a_subject_is_chosen(compose_config, tmp_path):
    path = write_human36m(tmp_path, rig(), subject=9)
    out = tmp_path / "cameras.json"
    convert(configured(compose_config, input=path, output=out, subject=9))
    assert read_calibration(out).names[0] == "54138969"
    with pytest.raises(CalibrationError, match="say whose"):
        convert(configured(compose_config, input=path, output=out))


def test_k_is_fitted_to_videos_and_pictures(compose_config, tmp_path, write_video):
    path = write_qualisys(tmp_path, rig())  # cam01 1280x720, cam03 640x480
    write_video(tmp_path / "videos" / "cam01.mp4", [np.zeros((192, 320, 3), np.uint8)])
    out = tmp_path / "cameras.json"
    told = {"input": path, "output": out, "videos": tmp_path / "videos"}
    convert(configured(compose_config, **told, cameras="[cam01]"))
    fitted = read_calibration(out)
    assert fitted.sizes.tolist() == [[320, 192]]  # a quarter, and bars of 6 pixels
    np.testing.assert_allclose(fitted.K[0, :2], rig().K[0, :2] / 4 + [[0, 0, 0], [0, 0, 6]])
    with pytest.raises(FileNotFoundError, match=r"'cam03' .* needs one video"):
        convert(configured(compose_config, **told, cameras="[cam03]"))
