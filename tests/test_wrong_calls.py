"""Calls as people mistype them: each ends with a few lines that name what is wrong and what is not.

All run in this process, a few as processes of their own, too.
"""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from mask_sup import __main__ as front
from mask_sup.files.device import check_gpu

LONGEST = 5  # lines
PATIENCE_S = 300  # for one process, on a machine that does much else
MASKED = ["predict", "input=pictures", "masks=masks"]
CONVERT = ["calibration", "convert", "input=broken.npz", "output=cameras.json"]
QUICK = ["train", "+experiment=quickstart"]
# Words, what is named, what was expected or comes nearest.
CALLS = [
    (["trian"], "'trian'", "did you mean train?"),
    (["Predict", "input=pictures"], "'Predict'", "did you mean predict?"),
    (["xyz"], "'xyz'", "expected one of new, masks,"),
    (["--verson"], "--verson", "--version"),
    (["masks", "chek"], "'chek'", "did you mean check?"),
    (["calibration", "chekc", "input=x"], "'chekc'", "did you mean check?"),
    (["calibration", "input=x"], "'input=x'", "expected one of convert, check, refine"),
    (["prepare", "h3m", "a", "b"], "'h3m'", "did you mean h36m?"),
    (["predict"], "input= is missing", "an image, a folder of images"),
    (["predict", "inptu=pictures"], "inptu= is no key", "input= is missing"),
    (["predict", "input=nowhere"], "no input at nowhere", "give a picture, video"),
    (["predict", "input=S01, walk (1) é"], "S01, walk (1) é", "give a picture, video"),
    (["predict", "input=pictures", "masks=nowhere"], "no masks at nowhere", "give their folder"),
    ([*MASKED, "checkpoint=nosuch.ckpt"], "nosuch.ckpt", "expected outputs/<run>"),
    ([*MASKED, "checkpoint=broken.ckpt"], "broken.ckpt cannot be read", "copy it again"),
    ([*MASKED, "fit=perhaps"], "'perhaps'", "bool"),
    ([*MASKED, "stride=2"], "stride=2: there is no such key", "did you mean"),
    ([*MASKED, "device=cdua"], "device=cdua", "give device=cpu"),
    (["evaluate", "device=vulkan"], "device=vulkan", "give device=cpu"),
    (["evaluate", "checkpoint=nosuch.ckpt"], "nosuch.ckpt", "expected outputs/<run>"),
    (["export"], "poses= is missing", "poses.npz of mask_sup.predict"),
    (["export", "poses=nowhere.npz"], "no poses at nowhere.npz", "give the poses.npz"),
    (["export", "poses=broken.npz"], "broken.npz cannot be read", "predict again"),
    (["export", "poses=broken.npz", "formats=[bhv]"], "'bhv'", "did you mean bvh?"),
    (["export", "poses=broken.npz", "format=bvh"], "format=bvh: there is no", "mean formats?"),
    (["report"], "predictions or of a training", "give poses="),
    (["report", "poses=nowhere.npz"], "no poses at nowhere.npz", "give the poses.npz"),
    (["report", "run=nowhere"], "nowhere", "not the folder of a run"),
    (["train", "detectr=patch"], "detectr=patch: there is no such key", "did you mean detector?"),
    (["train", "detector=pach"], "detector=pach: there is no such option", "did you mean patch?"),
    (["train", "+detector=patch"], "+detector=patch: there is one already", "detector=patch"),
    (["train", "+experiment=h36m_ful"], "experiment=h36m_ful", "did you mean h36m_full?"),
    (["train", "+experiment=h36m_full"], "asks for a GPU", "trainer=cpu"),
    (["train", "+ablation=wo_X"], "ablation=wo_X: there is no", "did you mean wo_"),
    (["train", "seed"], "seed: expected", "seed=<value>"),
    (["train", "name=["], "name=[", "cannot be read"),
    (["train", "--confg-dir", "x"], "--confg-dir", "did you mean --config-dir?"),
    (["train", "--cfg", "jb"], "'jb'", "job"),
    (["train", "resume=nowhere"], "nowhere", "not the folder of a run"),
    ([*QUICK, "seed=one"], "'one'", "Integer"),
    ([*QUICK, "data.batch_size=0"], "data.batch_size=0", "expected a whole number from 1"),
    ([*QUICK, "data.batch_size=many"], "data.batch_size=many", "expected a whole number from 1"),
    ([*QUICK, "data.batchsize=2"], "data.batchsize=2: there is no", "mean data.batch_size?"),
    (["masks", "input=nowhere", "output=out"], "no input at nowhere", "give a video"),
    (["masks", "input=pictures", "output=out", "extractor=grabct"], "grabct", "mean grabcut?"),
    (["masks", "check", "maks=masks"], "maks= is no key", "masks= is missing"),
    (["masks", "check", "masks=nowhere"], "no masks in nowhere", "expected nowhere/<camera>"),
    (["calibration", "refine"], "input= is missing", "output= is missing"),
    ([*CONVERT, "format=anipos"], "anipos", "did you mean anipose?"),
    (["calibration", "check", "input=empty"], "empty", "needs its cameras as"),
    (["sync", "input=nowhere"], "nowhere/masks", "expected masks of two cameras"),
    (["look", "data=h36"], "data=h36: there is no such option", "did you mean h36m?"),
    (["new"], "Missing argument 'PROJECT'", "mask-sup new --help"),
    (["new", "man", "--vidoes", "empty"], "--vidoes", "--videos"),
    (["new", "man", "--videos", "nowhere"], "no input at nowhere", "give a video"),
    (["new", "man", "--videos", "empty", "--turn", "{a"], "'{a'", "{cam01: 90}"),
    (["prepare", "h36m", "nowhere", "store"], "nowhere", "expected S1/Videos/"),
    (["prepare", "h36m", "nowhere", "store", "--protocol", "h36m_si"], "'h36m_si'", "h36m_six?"),
    (["shard", "nowhere", "out"], "missing nowhere", "mask-sup prepare"),
    (["film", "out", "--fault", "swaped"], "'swaped'", "'swapped'"),
    (["film", "out", "--size", "big"], "'big'", "integer"),
    (["fetch", "out", "--masks", "nowhere"], "no masks at nowhere", "give a folder or zip"),
    (["doctor", "--jsn"], "--jsn", "--json"),
]


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """A folder with what calls name, on a machine without a GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("pictures", "masks", "empty"):
        (tmp_path / name).mkdir()
        if name != "empty":
            cv2.imwrite(str(tmp_path / name / "0.png"), np.full((40, 40), 255, np.uint8))
    for name in ("broken.ckpt", "broken.npz"):
        (tmp_path / name).write_text("something else")


def check(told, *said):
    lines = told.strip().splitlines()
    assert 1 <= len(lines) <= LONGEST, told
    assert "Traceback" not in told
    for words in said:
        assert words in told


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("words", "named", "expected"), CALLS, ids=[" ".join(c[0]) for c in CALLS])
def test_a_wrong_call_is_told_in_a_few_lines(words, named, expected, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mask-sup", *words])
    with pytest.raises(SystemExit) as end:
        front.main()
    code, told = end.value.code, capsys.readouterr().err
    assert code
    check(told + (code if isinstance(code, str) else ""), named, expected)


@pytest.mark.parametrize(
    ("words", "named", "expected"),
    [
        CALLS[0],
        (["predict", "inptu=x"], "inptu= is no key", "input= is missing"),
        (["train", "--confg-dir", "x"], "--confg-dir", "did you mean --config-dir?"),
        (["export", "poses=broken.npz", "formats=[bhv]"], "'bhv'", "did you mean bvh?"),
    ],
)
def test_a_process_that_is_called_wrongly_ends_so(words, named, expected):
    done = subprocess.run(
        [sys.executable, "-m", "mask_sup", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode
    assert done.stdout == ""
    check(done.stderr, named, expected)


def test_a_gpu_that_is_there_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_gpu()
