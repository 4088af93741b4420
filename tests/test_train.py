import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mask_sup.files.config import conf_dir
from mask_sup.method.stopping import StoppedError
from mask_sup.models.checkpoint import load
from mask_sup.train import record_run, train

STAGES = ("skeleton", "physique", "arms")
WITHOUT_VIEWS = ("+ablation=wo_Delta", "~cascade.relabel", "cascade.arms.module.weights.anchor=0")
SIZES = "data.source.moments={train:8,val:4,mocap:4}"


def smoke(cache: Path, *overrides: str):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose(
            "train", ["+experiment=smoke", f"data.source.root={cache}", SIZES, *overrides]
        )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(cache):
    """A run of all stages."""
    folder = cache / "run"
    metrics = train(smoke(cache), folder)
    return folder, metrics


def weights(folder: Path, stage: str = "arms"):
    path = folder / stage / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def logged(path: Path, key: str) -> dict[int, float]:
    with path.open() as file:
        return {int(r["step"]): float(r[key]) for r in csv.DictReader(file) if r.get(key)}


def test_a_run_leaves_all_that_explains_it(finished):
    folder, metrics = finished
    assert metrics["val/mono/mpjpe_mm"] > 0
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    told = json.loads((folder / "run.json").read_text())
    assert told["seed"] == 0
    assert told["versions"]["torch"] == torch.__version__
    assert OmegaConf.load(folder / "config.yaml").detector.depth_range == 2000
    for stage in (*STAGES, "relabel"):
        assert (folder / stage / "finished.json").is_file()
        sheet = cv2.imread(str(next((folder / stage / "overlays").glob("*.png"))))
        assert sheet.std() > 10  # a picture, not a blank
        assert json.loads((folder / stage / "settings.json").read_text())["labels"] is False
    assert cv2.imread(str(folder / "relabel" / "labels.png")).std() > 10
    assert cv2.imread(str(folder / "curves.png")).std() > 10
    page = (folder / "training.html").read_text()
    assert "finished after" in page
    assert page.count("<figcaption>") == 5  # a sheet a stage, and the pseudo-labels


@pytest.mark.slow
def test_rigs_of_all_kinds_and_spoilt_masks_train_every_stage(cache):
    folder = cache / "rings"
    metrics = train(smoke(cache, "data.source.rig=rings", "data.source.masks=spoilt"), folder)
    assert metrics["val/tri/mpjpe_mm"] > 0
    for stage in (*STAGES, "relabel"):
        assert (folder / stage / "finished.json").is_file()
    told = json.loads((folder / "arms" / "settings.json").read_text())
    assert told["masks"] == ["rendered, spoilt by chance as extractors' are"]


@pytest.mark.slow
def test_a_round_tells_again_what_a_kill_has_lost(finished, cache, capsys):
    folder, _ = finished
    path = folder / "relabel" / "relabel.json"
    before = path.read_text()
    path.unlink()
    (folder / "relabel" / "finished.json").rename(folder / "kept.json")
    train(smoke(cache), folder)
    assert path.read_text() == before
    assert "pseudo-labels: kept_pct" in capsys.readouterr().out


def test_a_signal_while_the_report_is_drawn_ends_the_training(finished, cache, monkeypatch):
    def stopped(folder):
        raise StoppedError(15)

    monkeypatch.setattr("mask_sup.report.training.write_training", stopped)
    with pytest.raises(StoppedError):
        train(smoke(cache), finished[0])


def test_a_report_that_cannot_be_drawn_stops_no_training(finished, cache, monkeypatch):
    def fails(folder):
        raise RuntimeError("no room")

    monkeypatch.setattr("mask_sup.report.training.write_training", fails)
    with pytest.warns(UserWarning, match="no report of the training: RuntimeError\\('no room'"):
        train(smoke(cache), finished[0])


def test_the_loss_falls_in_the_first_stage(finished):
    folder, _ = finished
    values = list(logged(folder / "skeleton" / "metrics.csv", "train/total").values())
    assert len(values) == 20
    assert np.mean(values[-4:]) < 0.9 * np.mean(values[:4])


def test_file_names_can_be_typed_as_overrides(finished):
    folder, _ = finished
    names = [p.name for p in folder.rglob("*")]
    assert not [name for name in names if set(name) & set("=,: ")]


def test_the_last_checkpoint_gives_the_trained_detector(finished):
    folder, _ = finished
    detector = load(folder / "arms" / "checkpoints" / "last.ckpt")
    assert detector(torch.rand(2, 3, 32, 32)).shape == (2, 18, 3)
    for name, value in detector.state_dict().items():
        assert torch.equal(value, weights(folder)[f"detector.{name}"])


def test_a_finished_run_is_taken_over_without_training(finished, cache):
    folder, metrics = finished
    before = (folder / "arms" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    again = train(smoke(cache), folder)
    assert again["val/mono/mpjpe_mm"] == metrics["val/mono/mpjpe_mm"]
    assert (folder / "arms" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


@pytest.mark.slow
def test_what_a_failed_round_told_is_forgotten(finished, cache):
    sign = finished[0] / "relabel" / "relabelling"
    sign.write_text("failed: ValueError: in the run before")
    train(smoke(cache), finished[0])
    assert not sign.exists()


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(finished, cache, tmp_path, monkeypatch):
    from mask_sup.method.stages import PhysiqueStage

    whole, _ = finished
    step = PhysiqueStage.training_step

    def stop(self, batch, batch_idx):
        if self.global_step == 12:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    overrides = ("+trainer.enable_progress_bar=false", "save_every=5")
    monkeypatch.setattr(PhysiqueStage, "training_step", stop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(smoke(cache, *overrides), tmp_path)
    assert (tmp_path / "skeleton" / "finished.json").is_file()
    assert not (tmp_path / "physique" / "finished.json").exists()
    monkeypatch.undo()
    train(smoke(cache, *overrides), tmp_path)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(tmp_path)[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_a_stopped_run_on_pasted_backgrounds_goes_on_to_the_same_weights(
    cache, tmp_path, monkeypatch
):
    from mask_sup.method.regression import SupervisedStage

    overrides = ("cascade=supervised", "cascade.supervised.max_steps=8", "save_every=2")
    overrides += ("detector.mask_input=false", "data.background=pasted")
    seen, step = [], SupervisedStage.training_step

    def remember(self, batch, batch_idx):
        seen.append((self.global_step, batch.views.image))
        if self.global_step == stop_at:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SupervisedStage, "training_step", remember)
    stop_at = None
    train(smoke(cache, *overrides), tmp_path / "whole")
    whole, stop_at = dict(seen), 5
    seen.clear()
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(smoke(cache, *overrides), tmp_path / "stopped")
    stop_at = None
    train(smoke(cache, *overrides), tmp_path / "stopped")
    assert [at for at, _ in seen] == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7]
    assert all(torch.equal(image, whole[at]) for at, image in seen)
    one, other = (weights(tmp_path / name, "supervised") for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_config_in_the_same_folder_is_refused(finished, cache):
    folder, _ = finished
    with pytest.raises(ValueError, match="another config"):
        train(smoke(cache, "optimizer.lr=0.1"), folder)


@pytest.mark.slow
def test_a_run_can_start_from_another_runs_weights(finished, cache, tmp_path):
    folder, _ = finished
    start = folder / "arms" / "checkpoints" / "last.ckpt"
    overrides = ["~cascade.physique", "~cascade.arms", "cascade.skeleton.max_steps=1"]
    cfg = smoke(cache, f"init={start}", "optimizer.lr=1e-30", *overrides)
    train(cfg, tmp_path)
    for name, value in weights(tmp_path, "skeleton").items():
        same = torch.equal(value, weights(folder)[name])
        assert same == (name != "anatomy.running"), name  # other data has other people


@pytest.fixture
def single_views(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        mask = np.zeros((60, 50), np.uint8)
        mask[5:55, 15 + i : 30 + i] = 255
        for name, picture in (("images", rng.integers(0, 255, (60, 50, 3))), ("masks", mask)):
            (tmp_path / name).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name / f"{i:03d}.png"), picture)
    return tmp_path


def images(root: Path, *overrides: str):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        given = ["data=images", "+experiment=smoke", "~data.source.moments", "~data.source.size"]
        return compose("train", [*given, f"data.source.root={root}", *overrides])


@pytest.mark.slow
def test_single_uncalibrated_views_train_the_mask_terms(single_views):
    metrics = train(images(single_views, *WITHOUT_VIEWS), single_views / "run")
    assert set(metrics) == {"val/skeleton"}  # nothing is labelled
    columns = (single_views / "run" / "arms" / "metrics.csv").read_text().splitlines()[0]
    assert "train/physique" in columns
    assert "train/depth" not in columns


def test_pseudo_labels_are_kept_and_learned(finished):
    folder, _ = finished
    with np.load(folder / "relabel" / "poses.npz") as file:
        assert file["joints_world"].shape == (8, 18, 3)
        assert file["kept"].any()
        assert np.isfinite(file["joints_world"][file["kept"]]).all()
    assert logged(folder / "arms" / "metrics.csv", "train/anchor")
    header = (folder / "arms" / "metrics.csv").read_text().splitlines()[0]
    assert "health/views_disagree" in header.split(",")


@pytest.mark.slow
def test_single_views_beside_calibrated_ones_train_the_mask_terms(single_views, cache):
    cfg, alone = smoke(cache), images(single_views, *WITHOUT_VIEWS)
    parts = {"bodies": {**cfg.data, "_partial_": True}, "wild": {**alone.data, "_partial_": True}}
    cfg.data = {
        "_target_": "mask_sup.data.mix.MixedDataModule",
        "parts": parts,
        "weights": {"bodies": 1, "wild": 1},
        "seed": 0,
    }
    metrics = train(cfg, single_views / "run")
    assert metrics["val/tri/mpjpe_mm"] > 0  # of the bodies
    path = single_views / "run" / "arms" / "metrics.csv"
    steps = len(logged(path, "train/skeleton"))
    assert 0 < len(logged(path, "train/depth")) < steps  # of the calibrated batches alone


def test_a_run_on_other_moments_is_refused(finished, cache):
    folder, _ = finished
    told = json.loads((folder / "data.json").read_text())
    assert told["moments"]["train"].startswith("8, ")
    changed = told | {"moments": told["moments"] | {"train": "8, 0123456789ab"}}
    (folder / "data.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match="a run on other data.*start a fresh run"):
        train(smoke(cache), folder)
    (folder / "data.json").write_text(json.dumps(told))


def test_delta_on_single_views_is_refused_before_training(single_views):
    with pytest.raises(ValueError, match=r"single views.*\+ablation=wo_Delta"):
        train(images(single_views), single_views / "run")
    assert not (single_views / "run").exists()


def test_a_wrong_key_in_the_last_stage_is_found_before_the_first(cache, tmp_path):
    cfg = smoke(cache, "+cascade.arms.module.wdith_start=2.0")
    with pytest.raises(TypeError, match="wdith_start"):
        train(cfg, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_mask_is_found_before_training(single_views):
    (single_views / "masks" / "003.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="003.png"):
        train(images(single_views, *WITHOUT_VIEWS), single_views / "run")
    assert not (single_views / "run").exists()


def test_a_value_that_a_record_cannot_say_is_refused_in_a_line(tmp_path):
    cfg = OmegaConf.create({"data": {"source": {"root": "videos/\\${x}"}}})
    with pytest.raises(ValueError, match=r"says root: videos/\$\{x\}: expected no value with \$\{"):
        record_run(cfg, tmp_path)
    assert list(tmp_path.iterdir()) == []
