"""python -m mask_sup.evaluate: a checkpoint and a split -> a table, metrics.json, overlays."""

import json
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from mask_sup.config import build, conf_dir, plain

__all__ = ["evaluate", "run_folder"]

SHEET_MOMENTS = 4


def run_folder(checkpoint: str | Path) -> Path:
    """The run that a checkpoint belongs to: <run>/<stage>/checkpoints/<file>."""
    path = Path(checkpoint).absolute()
    return path.parents[2] if path.parent.name == "checkpoints" else path.parent


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """What a training was given beside masks and cameras, in the words of the paper's table 1.

    UP: unpaired poses, T: a template, SF: a supervised flip, SPP: supervised post-processing; none
    of them exists here. Ours: `anatomy` (terms that a stage weighs), the `upright` start, the
    `relabel`ling rounds, `labels` where a yardstick was trained on them, and the `mirror_test`.
    """
    from mask_sup.anatomy import ANATOMY_TERMS

    modules = [stage["module"] for stage in config["cascade"].values()]
    weights = [module["weights"] for module in modules if "weights" in module]
    kinds = [module["_target_"] for module in modules]
    on = {term for stage in weights for term, weight in stage.items() if weight}
    bare = config["anatomy"]["_target_"].endswith("NoAnatomy")
    anatomy = sorted(on & ANATOMY_TERMS)
    return {
        **dict.fromkeys(("UP", "T", "SF", "SPP"), False),
        "anatomy": "none" if bare or not anatomy else "+".join(anatomy),
        "upright": "upright" in on,
        "relabel": sum(kind.endswith(".RelabelStage") for kind in kinds),
        "labels": any(kind.endswith(".SupervisedStage") for kind in kinds),
        "mirror_test": config["detector"].get("mirror_test", False),
    }


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Metrics of a checkpoint on a split; prints a table, writes metrics.json and overlays.png.

    Returns:
        Flat metrics, and the settings flags under `settings`.

    Raises:
        ValueError: If the split is unknown or nothing in it is labelled.
    """
    import lightning
    import torch
    from lightning.fabric.utilities import move_data_to_device

    from mask_sup.checkpoint import read_checkpoint, restore
    from mask_sup.data.moments import expand
    from mask_sup.metrics import PoseMetrics, score
    from mask_sup.visualize import write_png

    checkpoint = read_checkpoint(cfg.checkpoint)
    trained = checkpoint["config"]
    detector = restore(checkpoint)
    if cfg.untrained:
        lightning.seed_everything(trained["seed"], verbose=False)
        detector = build(trained["detector"], skeleton=detector.skeleton).eval()
    detector = detector.to(cfg.device)
    node = OmegaConf.merge(trained["data"], plain(cfg.data))
    data = build(node, skeleton=detector.skeleton, geodesic=None)
    data.prepare_data()
    if cfg.split not in data.source.splits:
        raise ValueError(f"this data has the splits {list(data.source.splits)}, not {cfg.split!r}")
    metrics = PoseMetrics(detector.skeleton).to(cfg.device)
    first, poses = None, {}
    with torch.inference_mode():
        for batch in data.eval_dataloader(cfg.split):
            batch = move_data_to_device(expand(batch), cfg.device)
            joints = detector(batch.views.image)
            scored = score(metrics, joints, batch, detector.depth_range)
            if not scored:
                raise ValueError(
                    f"split {cfg.split!r} has no labels to evaluate against: use "
                    "python -m mask_sup.predict to see its poses"
                )
            if first is None:
                first, poses = (batch, joints), scored
    values: dict[str, Any] = metrics.compute()
    folder = Path(cfg.output) if cfg.output else _default_folder(cfg)
    folder.mkdir(parents=True, exist_ok=True)
    told = settings(trained)
    left_right = "not fixed by labels or priors"
    if told["relabel"]:
        left_right = "fixed by the masks (feet point to the front)"
    if told["labels"]:
        left_right = "fixed by labels"
    about = {
        "settings": told,
        "root_depth": "labels (monocular), none (triangulated)",
        "n_mpjpe": "root-relative, least-squares scale",
        "left_right": left_right,
        "checkpoint": str(cfg.checkpoint),
        "untrained": cfg.untrained,
        "split": cfg.split,
        "moments": len(data.dataset(cfg.split)),
    }
    strict = {key: value if value == value else None for key, value in values.items()}  # no NaN
    (folder / "metrics.json").write_text(json.dumps({**strict, **about}, indent=2))
    write_png(folder / "overlays.png", _sheet(detector, *first, poses))
    _print_table(values, about, folder)
    return {**values, **about}


def _default_folder(cfg: DictConfig) -> Path:
    name = f"{cfg.split}_untrained" if cfg.untrained else cfg.split
    return run_folder(cfg.checkpoint) / "evaluation" / name


def _sheet(detector: Any, batch: Any, joints: Any, poses: dict[str, Any]) -> Any:
    """Rows of moments; per view the detection over the image, then label and detection in 3D."""
    from mask_sup.camera import cam_from_world
    from mask_sup.visualize import draw_pose, draw_skeleton, pose_sheet

    skeleton, size, rows = detector.skeleton, 192, []
    label = cam_from_world(batch.labels.joints_world.unsqueeze(1), batch.views.camera)
    step = max(1, len(joints) // SHEET_MOMENTS)
    for i in list(range(0, len(joints), step))[:SHEET_MOMENTS]:
        row = []
        for k in range(joints.shape[1]):
            image = (255 * batch.views.image[i, k]).byte().permute(1, 2, 0).cpu().numpy()
            image = pose_sheet([[image]], size)
            xy = (joints[i, k, :, :2].cpu().numpy() + 1) * size / 2
            row.append(draw_skeleton(image, xy, skeleton))
        for turn in (0.0, 90.0):
            row.append(draw_pose(label[i, 0].cpu().numpy(), skeleton, size, turn))
            row.append(draw_pose(poses["cam"][i, 0].cpu().numpy(), skeleton, size, turn))
        rows.append(row)
    return pose_sheet(rows, size)


def _print_table(values: dict[str, float], about: dict[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{about['split']}, {about['moments']} moments"
    table = Table(title=title + (", untrained network" if about["untrained"] else ""))
    for column in ("metric", "monocular", "triangulated"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for key in (k.removeprefix("mono/") for k in values if k.startswith("mono/")):
        cells = (values.get(f"{view}/{key}") for view in ("mono", "tri"))
        table.add_row(key, *("" if v is None or v != v else f"{v:.1f}" for v in cells))
    for key in ("ambiguity_pct", "scene_flip_pct"):
        table.add_row(key, f"{values[key]:.1f}", "")
    console = Console()
    console.print(table)
    console.print(f"settings {about['settings']}; root depth: {about['root_depth']}")
    console.print(f"written to {folder}")


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate a checkpoint."""
    evaluate(cfg)


if __name__ == "__main__":
    main()
