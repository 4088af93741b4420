"""python -m mask_sup.train: chains the stages of the cascade."""

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mask_sup.files.build import build, trust_from_command_line
from mask_sup.files.config import Config, load_config, plain
from mask_sup.files.device import check_gpu
from mask_sup.files.disk import write_file
from mask_sup.files.errors import nearest
from mask_sup.files.lock import locked
from mask_sup.files.ranges import check_ranges
from mask_sup.files.threads import settle_threads
from mask_sup.files.words import command, shell_command

__all__ = ["build_data", "build_parts", "train"]

SETTINGS = "settings.json"  # what the weights of a stage were given
PURITY = "relabel.json"  # how pure a round's pseudo-labels are
POSES = "poses.npz"  # pseudo-labels, in the folder of their round
SIGN = "relabelling"  # there while they are made: signs of life for the processes that wait
SEARCHED = ".searched"  # what a round has found so far


def build_parts(cfg: DictConfig) -> tuple[Any, Any, Any]:
    """The shared networks, the fusion of views, and the geodesic weights.

    The one place that honours `cfg.without`: psi -> no shape prior, G -> None (all ones),
    Delta -> independent views.
    """
    from mask_sup.figure.anatomy import Anatomy
    from mask_sup.geometry.triangulate import Independent
    from mask_sup.method.pseudo import PseudoPoses
    from mask_sup.method.stages import Parts

    skeleton = build(cfg.skeleton, "skeleton")
    anatomy = build(cfg.anatomy, "anatomy", skeleton=skeleton)
    body = None if skeleton.is_free else build(cfg.body, "body", skeleton=skeleton)
    known = isinstance(anatomy, Anatomy)  # without bone lengths no pose can be fitted
    parts = Parts(
        build(cfg.detector, "detector", skeleton=skeleton),
        build(cfg.renderer, "renderer", skeleton=skeleton),
        None if cfg.without.psi else build(cfg.shape_prior, "shape_prior"),
        anatomy,
        body,
        build(cfg.fitter, "fitter", body=body, anatomy=anatomy) if known else None,
        PseudoPoses(),
    )
    fuse = Independent() if cfg.without.Delta else build(cfg.fuse, "fuse")
    geodesic = None if cfg.without.G else build(cfg.geodesic, "geodesic")
    return parts, fuse, geodesic


def build_data(cfg: DictConfig, skeleton: Any, geodesic: Any) -> Any:
    """The data module of a run."""
    return build(cfg.data, "data", skeleton=skeleton, geodesic=geodesic)


def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Train the cascade in `folder`; finished stages are skipped, a stopped one goes on.

    Returns:
        The last stage's validation metrics.

    Raises:
        ValueError: On unknown keys, or contradictions of the config with the data, before any
            training.
    """
    check(cfg)
    import logging

    import lightning

    from mask_sup.method.settings import merged, of_checkpoint, of_stage
    from mask_sup.models.checkpoint import start_from
    from mask_sup.models.shipped import say_shipped

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    parts, fuse, geodesic = build_parts(cfg)
    data = build_data(cfg, parts.detector.skeleton, geodesic)
    check_sizes(cfg, parts)
    # Every stage is built once before the first step: a wrong key in the last one costs no hours.
    for name in cfg.cascade:
        build_stage(cfg, str(name), parts, fuse).configure_optimizers()
    build_trainer(cfg, folder, logger=False, enable_checkpointing=False)
    ancestry = None
    if cfg.init:
        ancestry = of_checkpoint(start_from(cfg.init, parts.detector, parts.shape_prior))
        say_shipped("init", cfg.init)
    data.prepare_data()
    check_views(data, fuse)
    settle_threads(threads_of(folder))
    record_run(cfg, folder)
    record_data(data, folder)
    decide_precision(cfg, folder, parts, data)
    _forget_signs(folder)
    metrics: dict[str, Any] = {}
    for name in cfg.cascade:
        ancestry = merged(ancestry, of_stage(plain(cfg), str(name)))
        metrics = run_stage(cfg, folder, str(name), parts, fuse, data, ancestry)
    _record(folder / "metrics.json", json.dumps(metrics, indent=2))
    _report(folder)
    return metrics


def check(cfg: DictConfig) -> None:
    """Refuse what can be told to be wrong before any network library is loaded.

    Raises:
        ValueError: On unknown keys, numbers out of range, or a GPU where there is none.
    """
    check_keys(cfg)
    check_ranges(cfg)
    if cfg.trainer.get("accelerator") in ("gpu", "cuda"):
        check_gpu()


def build_trainer(cfg: DictConfig, folder: Path, **settings: Any) -> Any:
    """Lightning's trainer of a run.

    Raises:
        ValueError: If it does not go with this machine, or its settings with each other.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from mask_sup.method.precision import trainer_node

    try:
        return build(trainer_node(plain(cfg.trainer), folder), "trainer")(**settings)
    except MisconfigurationException as error:
        raise ValueError(f"trainer: {error}") from error


def check_keys(cfg: DictConfig) -> None:
    """Refuse root keys that a `+` on the command line has smuggled past the schema."""
    if not OmegaConf.is_dict(cfg.without):
        raise ValueError(f"without={cfg.without!r}: expected psi, G and Delta, each true or false")
    known = [field.name for field in dataclasses.fields(Config)]
    for key in set(cfg) - set(known):
        raise ValueError(f"unknown key {key!r}: {nearest(str(key), known)}")


def check_sizes(cfg: DictConfig, parts: Any) -> None:
    """Refuse sizes that the networks cannot halve as often as they do.

    Raises:
        ValueError: With the key, the value and the multiple.
    """
    sides = {"renderer.size": (cfg.renderer.size, parts.shape_prior)}
    sides |= {
        f"{key}.image_size": (node.image_size, parts.detector.backbone)
        for key, node in (("data", cfg.data), *_parts(cfg.data))
        if "image_size" in node
    }
    for key, (side, network) in sides.items():
        multiple = getattr(network, "multiple", 1)
        if side % multiple:
            raise ValueError(f"{key}={side}: expected a multiple of {multiple} for this network")


def _parts(data: DictConfig) -> list[tuple[str, Any]]:
    """The data sets of a mix, by their keys."""
    return [(f"data.parts.{name}", node) for name, node in data.get("parts", {}).items()]


def decide_precision(cfg: DictConfig, folder: Path, parts: Any, data: Any) -> None:
    """Decide what trainer.precision=auto is for this run, from its detector and its crops."""
    from mask_sup.method.precision import AUTO, settle

    if cfg.trainer.get("precision") == AUTO:
        views = data.train_datasets()[0].views
        first = next((node for _, node in _parts(cfg.data)), cfg.data)
        settle(folder, parts.detector, first.batch_size * views, first.image_size)


def build_stage(cfg: DictConfig, name: str, parts: Any, fuse: Any) -> Any:
    """The LightningModule of one stage of the cascade."""
    stage = cfg.cascade[name]
    unknown = set(stage) - {"module", "max_steps"}
    if unknown or "module" not in stage or "max_steps" not in stage:
        raise ValueError(
            f"cascade.{name} needs the keys module and max_steps alone, got {sorted(stage)}: "
            "this cascade has no such stage, but the experiment or an override sets keys of it"
        )
    return build(
        stage.module,
        f"cascade.{name}.module",
        parts=parts,
        fuse=fuse,
        optimizer=build(cfg.optimizer, "optimizer"),
    )


def check_views(data: Any, fuse: Any) -> None:
    """Refuse Delta on single or uncalibrated views; in a mix, some data may be of single views."""
    first, *others = data.train_datasets()
    for dataset in (first, *others):
        single = dataset.single
        if not fuse.needs_cameras or (dataset.calibrated and not single):
            continue
        if single and dataset is not first:
            continue  # trains the mask terms alone
        what = "single views" if single else "uncalibrated views"
        raise ValueError(
            f"Delta (fuse=triangulate) needs at least two calibrated views, but the data has "
            f"{what}: give the cameras, or train with +ablation=wo_Delta"
        )


def run_stage(
    cfg: DictConfig,
    folder: Path,
    name: str,
    parts: Any,
    fuse: Any,
    data: Any,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Fit one stage, or take it over where it is finished already.

    Args:
        cfg: The run's.
        folder: Of the run.
        name: Of the stage.
        parts: Shared networks.
        fuse: Ties views together.
        data: The data module.
        settings: What the weights were given, this stage included.
    """
    from mask_sup.method.relabel import RelabelStage
    from mask_sup.models.checkpoint import start_from

    here, max_steps = folder / name, cfg.cascade[name].max_steps
    last, done = here / "checkpoints" / "last.ckpt", here / "finished.json"
    _record(here / SETTINGS, json.dumps(settings, indent=2))
    if done.is_file() and (steps := _steps_done(last)) != json.loads(done.read_text())["steps"]:
        # The checkpoint before the last one has taken its place, as a damaged one's cure.
        print(f"stage {name}: finished before, but its checkpoint is of step {steps}: goes on")
    elif done.is_file():
        if (poses := here / POSES).is_file():
            parts.poses.load(poses, _names(data.dataset("train")))
        start_from(last, parts.detector, parts.shape_prior, parts.anatomy)
        print(f"stage {name}: finished before, taken over from {last}")
        return json.loads(done.read_text())
    print(f"stage {name}: up to {max_steps} steps")
    module = build_stage(cfg, name, parts, fuse)
    if isinstance(module, RelabelStage):
        _relabel(module, here, parts, data.dataset("train"), plain(cfg))
        module.start()
    resume = str(last) if last.is_file() else None
    data.plan(max_steps, _steps_done(last) if resume else 0, module.moments)
    loggers = build(cfg.logger, "logger")(folder=here, run=folder.name, stage=name)
    for logger in loggers:
        logger.log_hyperparams(plain(cfg) | {"settings": settings})
    trainer = _trainer(cfg, here, max_steps, loggers, settings)
    status = "error"
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        trainer.save_checkpoint(last)
        trainer.validate(module, datamodule=data, verbose=False)  # of the very last weights
        status = "success"
    finally:
        _close(loggers, status)
    metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
    _record(done, json.dumps({"steps": trainer.global_step, **metrics}, indent=2))
    return metrics


def _relabel(module: Any, here: Path, parts: Any, dataset: Any, config: dict[str, Any]) -> None:
    """Make a round's pseudo-labels, or read them where they are made already.

    Of several processes the first one makes them; the others wait for its file. What it has found
    is kept until they are written: a stopped round goes on, to the same pseudo-labels.
    """
    from lightning.pytorch.utilities import rank_zero_only

    from mask_sup.files.kept import Kept
    from mask_sup.method.waiting import sign_of_life, wait_for

    poses, names = here / POSES, _names(dataset)
    sign = here / SIGN
    if rank_zero_only.rank != 0:
        wait_for(poses, sign)
    elif not poses.is_file():
        with sign_of_life(sign):
            kept = Kept(here / SEARCHED, [config, names, version("mask-sup")])
            module.relabel(dataset, kept)
            parts.poses.save(poses, names)
            kept.forget()
    parts.poses.load(poses, names)
    if rank_zero_only.rank == 0 and not (here / PURITY).is_file():
        _tell_purity(here, parts, dataset)


def _forget_signs(folder: Path) -> None:
    """Remove what a round that failed has told: whoever waits now would take it for this one's."""
    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank == 0:
        for sign in folder.glob(f"*/{SIGN}"):
            sign.unlink()


def _names(dataset: Any) -> list[str]:
    return [moment.name for moment in dataset.moments]


def _trainer(
    cfg: DictConfig, here: Path, max_steps: int, loggers: list[Any], settings: dict[str, Any]
) -> Any:
    """The trainer of one stage, with all that watches it."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    from mask_sup.method.callbacks import (
        LogOverlays,
        Redraw,
        SaveConfig,
        StageProgress,
        WholeCheckpointIO,
    )
    from mask_sup.method.health import HealthMonitor
    from mask_sup.method.ranks import SameRun
    from mask_sup.method.stopping import SaveAndStop

    bar = [StageProgress(here.name)] if cfg.trainer.get("enable_progress_bar", True) else []
    return build_trainer(
        cfg,
        here.parent,
        max_steps=max_steps,
        val_check_interval=min(cfg.trainer.val_check_interval, max_steps),
        logger=loggers,
        default_root_dir=here,
        plugins=[WholeCheckpointIO()],
        callbacks=[
            *bar,
            SameRun(plain(cfg), here.parent),
            SaveConfig(plain(cfg), settings),
            SaveAndStop(here / "checkpoints" / "last.ckpt"),
            LogOverlays(here / "overlays"),
            HealthMonitor(here / "health.json"),
            Redraw(lambda: _report(here.parent)),
            ModelCheckpoint(
                here / "checkpoints",
                filename="last",
                every_n_train_steps=cfg.save_every,
                save_top_k=1,
                enable_version_counter=False,
            ),
        ],
    )


def _tell_purity(here: Path, parts: Any, dataset: Any) -> None:
    """Draw a round's pseudo-labels, and tell how pure they are; labels are read for this alone."""
    import numpy as np
    import torch

    from mask_sup.files.pictures import write_png
    from mask_sup.method.visualize import label_sheet, labels_of_all_kinds

    which = labels_of_all_kinds(parts.poses)
    title = f"{here.name}: pseudo-labels of training moments"
    sheet = label_sheet(parts.poses, dataset, which, parts.detector.skeleton, title)
    write_png(here / "labels.png", sheet)
    labels = torch.tensor(np.stack([m.joints_world for m in dataset.moments]), dtype=torch.float32)
    skeleton = parts.detector.skeleton
    told = parts.poses.monitors() | parts.poses.purity(labels, skeleton.root, skeleton.flip)
    known = {key: value for key, value in told.items() if value == value}
    _record(here / PURITY, json.dumps(known, indent=2))
    print("pseudo-labels:", ", ".join(f"{key} {value:.3g}" for key, value in known.items()))
    if words := parts.poses.doubt_in_words():
        print(f"! {words}")


def _report(folder: Path) -> None:
    """Draw curves.png and training.html; where that fails, it is told, and no training stops.

    Of several processes the first one does.
    """
    from lightning.pytorch.utilities import rank_zero_only

    from mask_sup.report.training import write_training

    try:
        if rank_zero_only.rank == 0:
            write_training(folder)
    except Exception as error:
        warnings.warn(f"no report of the training: {error!r}", stacklevel=2)


def _steps_done(path: Path) -> int:
    from mask_sup.models.checkpoint import read_checkpoint

    return int(read_checkpoint(path)["global_step"])


def _close(loggers: list[Any], status: str) -> None:
    """Finish W&B runs, so that the next stage is a run of its own and a crash shows as one."""
    for logger in loggers:
        logger.finalize(status)
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish(exit_code=0 if status == "success" else 1)


def _record(path: Path, text: str) -> None:
    """Write a file; of several processes the first one does."""
    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank == 0:
        write_file(path, text)


def record_run(cfg: DictConfig, folder: Path) -> None:
    """Write what made this run: resolved config, revision, versions, machine.

    Raises:
        ValueError: If the folder holds a run of another config, or a value holds `${`, which
            whoever reads the record would take for a reference.
    """
    path = folder / "config.yaml"
    for line in OmegaConf.to_yaml(cfg, resolve=True).splitlines():
        if "${" in line:
            raise ValueError(
                f"the config of this run says {line.strip()}: expected no value with ${{, which "
                "configs read as a reference to another key; rename it, or give a link to it"
            )
    if path.is_file() and plain(load_config(path)) != plain(cfg):
        raise ValueError(f"{folder} holds a run of another config: choose another name or folder")
    _record(path, OmegaConf.to_yaml(cfg, resolve=True))
    _record(folder / "run.json", json.dumps(_provenance(cfg), indent=2))


def record_data(data: Any, folder: Path) -> None:
    """Write which moments each split has, as hashes of their names, and the protocol.

    Raises:
        ValueError: If the folder holds a run on other moments: its stages would not go on with
            what the others have learned from.
    """
    told = dict(getattr(data.source, "header", {}))
    known = {key: told[key] for key in ("dataset", "protocol_hash", "masks") if key in told}
    names = {
        split: "\n".join(moment.name for moment in data.dataset(split).moments)
        for split in ("train", "val")
    }
    known["moments"] = {
        split: f"{len(text.splitlines())}, {hashlib.sha256(text.encode()).hexdigest()[:12]}"
        for split, text in names.items()
    }
    path = folder / "data.json"
    if path.is_file() and (there := json.loads(path.read_text())) != known:
        raise ValueError(
            f"{folder} holds a run on other data: {there}, not {known}; start a fresh run"
        )
    _record(path, json.dumps(known, indent=2))


def _provenance(cfg: DictConfig) -> dict[str, Any]:
    import torch

    packages = ("mask-sup", "torch", "lightning", "hydra-core", "numpy", "opencv-python-headless")
    return {
        "command": sys.argv,
        "seed": cfg.seed,
        "git": _git("rev-parse", "HEAD"),
        "git_changes": _git("status", "--porcelain"),
        "versions": {name: version(name) for name in packages} | _of_geodesics(),
        "python": platform.python_version(),
        "machine": this_machine(),
        "threads": torch.get_num_threads(),
    }


def _of_geodesics() -> dict[str, str]:
    from mask_sup.geometry.geodesic import INSTEAD, has_fast_marching

    return {"scikit-fmm": version("scikit-fmm") if has_fast_marching() else f"none: {INSTEAD}"}


def this_machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def threads_of(folder: Path) -> int | None:
    """The threads that a run in this folder began with, on such a machine; None: no such run."""
    try:
        told = json.loads((folder / "run.json").read_text())
    except OSError:
        return None
    return told.get("threads") if told.get("machine") == this_machine() else None


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # installed from a wheel, or no git
    return done.stdout.strip()


@command("train")
def main(cfg: DictConfig) -> None:
    """Train, or with resume=<folder> finish a stopped run with its own config."""
    warnings.filterwarnings("ignore", ".*LeafSpec")  # between Lightning and torch
    job = HydraConfig.get()
    cfg = trust_from_command_line(cfg, job.overrides.task)
    if cfg.resume:
        others = [
            word
            for word in job.overrides.task
            if not word.lstrip("+").startswith(("resume=", "trust="))
        ]
        if others:
            raise SystemExit(
                f"resume takes the run's own config: leave out {others}, or start a fresh run"
            )
        folder = Path(cfg.resume)
        cfg = load_config(folder / "config.yaml")
    else:
        folder = Path(job.runtime.output_dir)
    check(cfg)
    print(f"run folder: {folder}")
    from mask_sup.method.ranks import started_from
    from mask_sup.method.stopping import StoppedError, exit_code, listening

    trusted = [word for word in job.overrides.task if word.lstrip("+").startswith("trust=")]
    try:
        with _alone(folder), listening(), started_from(folder, trusted):
            train(cfg, folder)
    except StoppedError as stopped:
        print(f"{stopped}: {shell_command('train', resume=folder)} goes on")
        raise SystemExit(exit_code(stopped)) from None


def _alone(folder: Path) -> Any:
    """The folder's lock, which the first of several processes holds for all."""
    from contextlib import nullcontext

    from lightning.pytorch.utilities import rank_zero_only

    return locked(folder) if rank_zero_only.rank == 0 else nullcontext()


if __name__ == "__main__":
    main()
