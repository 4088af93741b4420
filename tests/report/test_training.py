import base64
import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from mask_sup.files.pictures import read_image
from mask_sup.report import write_report
from mask_sup.report.run import read_run
from mask_sup.report.training import write_training

EVIL = "<script>alert(1)</script>"


def write_csv(path: Path, rows: list[dict]):
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = sorted({key for row in rows for key in row})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows(rows)


def write_sheet(path: Path, seed: int, size=(400, 1300)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    cv2.imwrite(str(path), noise)


def stage(kind: str, steps: int):
    return {"max_steps": steps, "module": {"_target_": f"mask_sup.method.stages.{kind}"}}


@pytest.fixture
def run(tmp_path):
    """A run of three stages: one finished, a round in progress, one not begun."""
    folder = tmp_path / "a_run"
    folder.mkdir()
    cascade = {
        "skeleton": stage("SkeletonStage", 100),
        "round": stage("RelabelStage", 50),
        "arms": stage("ArmsStage", 10),
    }
    config = {"name": EVIL, "seed": 7, "cascade": cascade}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "run.json").write_text(json.dumps({"command": ["train.py", EVIL], "git": "abc"}))
    (folder / "data.json").write_text(json.dumps({"moments": {"train": "2000, 12ab"}}))
    here = folder / "skeleton"
    rows = [{"step": s, "train/total": 1 / (s + 1), "train/rest": 0.5} for s in range(19, 80, 20)]
    rows += [{"step": 79, "val/mono/mpjpe_mm": 91.26, "val/mono/mpjpe_wrists_mm": 123.4}]
    write_csv(here / "metrics.csv", rows)
    (here / "finished.json").write_text(json.dumps({"steps": 80}))
    trouble = {"value": 0.81, "limit": 0.5, "says": "upside down", "helps": "weights.upright=20"}
    (here / "health.json").write_text(json.dumps({"upside_down": trouble}))
    for step in range(12):
        write_sheet(here / "overlays" / f"{step * 5:06d}.png", step)
    here = folder / "round"
    rows = [{"step": 19, "train/total": 0.25}, {"step": 39, "train/total": "nan"}]
    write_csv(here / "metrics.csv", rows)
    (here / "relabel.json").write_text(json.dumps({"kept_pct": 56.04, "residual_all": 0.00731}))
    (here / "settings.json").write_text(json.dumps({"labels": None, "T": True, "anatomy": []}))
    write_sheet(here / "labels.png", 99)
    return folder


def test_stages_lie_one_after_the_other_on_one_axis(run):
    told = read_run(run)
    assert [s.name for s in told.stages] == ["skeleton", "round"]
    assert told.planned == ("skeleton", "round", "arms")
    first, second = told.stages
    assert (first.first, first.steps, first.finished, first.kind) == (0, 80, True, "SkeletonStage")
    assert (second.first, second.steps, second.finished) == (80, 20, False)
    assert first.curves["train/total"].steps.tolist() == [20, 40, 60, 80]
    assert first.curves["train/total"].values == pytest.approx([1 / 20, 1 / 40, 1 / 60, 1 / 80])
    assert second.curves["train/total"].values.tolist() == [0.25]  # NaN is no value
    assert not told.finished


def test_a_page_holds_what_the_run_has_told(run):
    text = write_training(run).read_text()
    assert read_image(run / "curves.png").std() > 10
    for said in (
        "stage round (2 of 3), step 20 of at most 50; 2,000 training moments, seed 7",
        "91.3 mm",
        ">123<",
        ">56.0<",
        ">0.0073<",
        "skeleton: upside down (upside down 81%, usual is below 50%); this helps: weights.upright",
        "<dt>labels</dt><dd>unknown</dd>",
        "<dt>T</dt><dd>yes</dd>",
        "<dt>anatomy</dt><dd>none</dd>",
        "max_steps: 100",
    ):
        assert said in text, said


def test_the_page_asks_nobody_and_runs_nothing(run):
    text = write_training(run).read_text()
    assert "<script" not in text
    assert EVIL.replace("<", "&lt;").replace(">", "&gt;") in text
    assert set(re.findall(r'(?:src|href)="([a-z]+):', text)) == {"data"}
    assert not re.search("https?:", text)
    assert "default-src 'none'" in text


def test_overlays_of_every_stage_are_shown_the_last_among_them(run):
    text = write_training(run).read_text()
    steps = re.findall(r"<figcaption>skeleton, step (\d+)</figcaption>", text)
    assert steps[0] == "0"
    assert steps[-1] == "55"
    assert 3 <= len(steps) < 12
    assert "round, pseudo-labels of training moments" in text
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), 1)
    assert shown.shape[1] == 1120


def test_the_page_of_a_long_run_stays_small(run):
    for i in range(60):
        write_sheet(run / "skeleton" / "overlays" / f"{i:06d}.png", i, (900, 1300))  # noise
    assert write_training(run).stat().st_size < 10e6


def test_a_run_that_has_just_begun_can_be_drawn(run):
    for path in ("metrics.csv", "finished.json", "health.json"):
        (run / "skeleton" / path).unlink()
    text = write_training(run).read_text()
    assert "stage round" in text


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("skeleton/finished.json", "{", "skeleton/finished.json is no JSON"),
        ("round/relabel.json", "[1]", "round/relabel.json holds no entries by name"),
        ("skeleton/metrics.csv", "a,b\n1,2\n", "skeleton/metrics.csv is no metrics.csv"),
        ("config.yaml", "seed: 1\n", "has no cascade"),
        ("config.yaml", "cascade: {arms: 3}\n", "cascade.arms has no module and max_steps"),
        ("skeleton/health.json", '{"zigzag": {"value": "x"}}', "zigzag.value is 'x'"),
        ("config.yaml", "cascade: {arms: {max_steps: 1, module: 2}}\n", "no module and max_steps"),
        ("skeleton/health.json", '{"zigzag": 3}', "health.json: zigzag is 3"),
        ("round/relabel.json", '{"kept_pct": null}', "relabel.json: kept_pct is None"),
        ("run.json", '{"command": 3}', "run.json: command is 3"),
        ("run.json", '{"versions": []}', "run.json: versions is []"),
        ("data.json", '{"moments": 1}', "data.json: moments is 1"),
        ("skeleton/finished.json", '{"steps": "many"}', "finished.json: steps is 'many'"),
    ],
)
def test_damaged_files_are_named(run, path, content, said):
    (run / path).write_text(content)
    with pytest.raises(ValueError, match=re.escape(said)):
        write_training(run)


def test_what_is_no_run_is_refused(tmp_path, run):
    with pytest.raises(FileNotFoundError, match="not the folder of a run"):
        write_training(tmp_path)
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    with pytest.raises(FileNotFoundError, match="no stage of the run in"):
        write_training(tmp_path)


def test_a_stage_called_like_a_path_stays_in_the_folder(run, tmp_path):
    write_csv(tmp_path / "outside" / "metrics.csv", [{"step": 0, "train/total": 4.0}])
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["cascade"]["../outside"] = stage("SkeletonStage", 3)
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert [s.name for s in read_run(run).stages] == ["skeleton", "round"]


def test_the_command_takes_predictions_or_a_run(run, compose_config):
    assert write_report(compose_config("report", f"run={run}")) == run
    assert (run / "training.html").is_file()
    for keys in ((), (f"run={run}", "poses=poses.npz")):
        with pytest.raises(ValueError, match="of predictions or of a training"):
            write_report(compose_config("report", *keys))
