"""python -m mask_sup.evaluate: a checkpoint and a split -> a table, metrics.json, overlays."""

import json
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mask_sup.files.build import build, trust_from_command_line
from mask_sup.files.config import plain
from mask_sup.files.device import check_device
from mask_sup.files.disk import write_file
from mask_sup.files.ranges import check_ranges
from mask_sup.files.threads import settle_threads
from mask_sup.files.words import command

__all__ = ["evaluate"]

SHEET_MOMENTS = 4
PER_ACTION = ("mono/mpjpe_mm", "mono/p_mpjpe_mm", "tri/mpjpe_mm")


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Metrics of a checkpoint on a split; prints a table, writes metrics.json and overlays.png.

    Returns:
        Flat metrics, what they are of, and `actions`, figures by action where the data tells them.

    Raises:
        ValueError: If the split is unknown, nothing in it is labelled, or there is no such device.
    """
    check_device(cfg.device)
    from mask_sup.files.pictures import write_png
    from mask_sup.models.checkpoint import fingerprint, read_checkpoint
    from mask_sup.models.shipped import say_shipped

    checkpoint = read_checkpoint(cfg.checkpoint)
    say_shipped("checkpoint", cfg.checkpoint)
    detector = _detector(cfg, checkpoint)
    data = _data(cfg, checkpoint["config"], detector.skeleton)
    settle_threads()
    values, sheet = _measure(cfg, detector, data)
    about = _about(cfg, checkpoint, data) | {"weights": fingerprint(detector)}
    folder = Path(cfg.output) if cfg.output else _default_folder(cfg)
    write_file(folder / "metrics.json", json.dumps(_strict({**values, **about}), indent=2))
    write_png(folder / "overlays.png", sheet)
    _print_table(values, about, folder)
    return {**values, **about}


def _detector(cfg: DictConfig, checkpoint: dict[str, Any]) -> Any:
    """The trained detector, or one of the same kind that has learned nothing."""
    import lightning

    from mask_sup.models.checkpoint import restore

    detector = restore(checkpoint)
    if cfg.untrained:
        trained = checkpoint["config"]
        lightning.seed_everything(trained["seed"], verbose=False)
        detector = build(trained["detector"], "detector", skeleton=detector.skeleton).eval()
    return detector.to(cfg.device)


def _data(cfg: DictConfig, trained: dict[str, Any], skeleton: Any) -> Any:
    """The data of the training, with the keys that are replaced."""
    node = OmegaConf.merge(trained["data"], plain(cfg.data))
    data = build(node, "data", skeleton=skeleton, geodesic=None)
    data.prepare_data()
    if cfg.split not in data.source.splits:
        raise ValueError(f"this data has the splits {list(data.source.splits)}, not {cfg.split!r}")
    return data


def _measure(cfg: DictConfig, detector: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """All figures of a split, and a sheet of its first batch."""
    import torch
    from lightning.fabric.utilities import move_data_to_device

    from mask_sup.data.moments import expand
    from mask_sup.metrics import PoseMetrics, score

    def fresh() -> PoseMetrics:
        return PoseMetrics(detector.skeleton, _protocol(data).get("pck_joints")).to(cfg.device)

    metrics, by_action, sheet = fresh(), {}, None
    with torch.inference_mode():
        for batch in data.eval_dataloader(cfg.split):
            batch = move_data_to_device(expand(batch), cfg.device)
            joints = detector(batch.views.image)
            labelled, poses = score(metrics, joints, batch, detector.depth_range)
            if not labelled:
                raise ValueError(
                    f"split {cfg.split!r} has no labels to evaluate against: use "
                    "python -m mask_sup.predict to see its poses"
                )
            if sheet is None:
                sheet = _sheet(detector, batch, joints, poses)
            for action in sorted(set(batch.labels.action) - {""}) if poses else ():
                rows = [i for i, name in enumerate(batch.labels.action) if name == action]
                by_action.setdefault(action, fresh()).update(*poses.part(rows))
    values: dict[str, Any] = metrics.compute()
    if by_action:
        actions = {name: by_action[name].compute() for name in sorted(by_action)}
        values["actions"] = {
            name: {key: told[key] for key in PER_ACTION} for name, told in actions.items()
        }
        for key in PER_ACTION:  # every action counts the same, however many frames it has
            mean = sum(told[key] for told in actions.values()) / len(actions)
            values[f"mean_over_actions/{key}"] = mean
    return values, sheet


def _protocol(data: Any) -> dict[str, Any]:
    """The protocol that the data was prepared by, where there was one."""
    return getattr(data.source, "header", {}).get("protocol", {})


def _about(cfg: DictConfig, checkpoint: dict[str, Any], data: Any) -> dict[str, Any]:
    """The conditions of the figures."""
    from mask_sup.method.settings import at_test, of_checkpoint

    facts = of_checkpoint(checkpoint)
    left_right = "not fixed by labels or priors"
    if facts["relabel"]:
        left_right = "fixed by the masks and the template's front (feet point there)"
    if facts["labels"] is None or facts["relabel"] is None:
        left_right = "unknown: not all that has led to these weights is known"
    if facts["labels"]:
        left_right = "fixed by labels"
    about = {
        # SF, SPP: done to predictions by an evaluation; no figure but those named sf_ has it.
        "settings": facts | at_test(checkpoint["config"]["detector"]) | {"SF": False, "SPP": False},
        "root_depth": "labels (monocular), none (triangulated)",
        "n_mpjpe": "root-relative, least-squares scale",
        "left_right": left_right,
        "checkpoint": str(cfg.checkpoint),
        "untrained": cfg.untrained,
        "split": cfg.split,
        "moments": len(data.dataset(cfg.split)),
    }
    if protocol := _protocol(data):
        header = data.source.header
        about["protocol"] = f"{protocol['name']} {header['protocol_hash']}"
        about["masks"] = header["masks"]
    return about


def _strict(values: dict[str, Any]) -> dict[str, Any]:
    """Values for strict JSON, which has no NaN."""
    return {
        key: _strict(value) if isinstance(value, dict) else None if value != value else value
        for key, value in values.items()
    }


def _default_folder(cfg: DictConfig) -> Path:
    from mask_sup.models.checkpoint import run_folder

    name = f"{cfg.split}_untrained" if cfg.untrained else cfg.split
    return run_folder(cfg.checkpoint) / "evaluation" / name


def _sheet(detector: Any, batch: Any, joints: Any, poses: Any) -> Any:
    """Rows of moments; per view the detection over the image, then label and detection in 3D."""
    from mask_sup.figure.draw import draw_pose, draw_skeleton, pose_sheet

    skeleton, size, rows = detector.skeleton, 192, []
    step = max(1, len(joints) // SHEET_MOMENTS)
    for i in list(range(0, len(joints), step))[:SHEET_MOMENTS]:
        row = []
        for k in range(joints.shape[1]):
            image = (255 * batch.views.image[i, k]).byte().permute(1, 2, 0).cpu().numpy()
            image = pose_sheet([[image]], size)
            xy = (joints[i, k, :, :2].cpu().numpy() + 1) * size / 2
            row.append(draw_skeleton(image, xy, skeleton))
        for turn in (0.0, 90.0) if poses else ():
            row.append(draw_pose(poses.label_cam[i, 0].cpu().numpy(), skeleton, size, turn))
            row.append(draw_pose(poses.cam[i, 0].cpu().numpy(), skeleton, size, turn))
        rows.append(row)
    return pose_sheet(rows, size)


def _print_table(values: dict[str, Any], about: dict[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{about['split']}, {about['moments']} moments"
    table = Table(title=title + (", untrained network" if about["untrained"] else ""))
    for column in ("metric", "monocular", "triangulated"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for key in (k.removeprefix("mono/") for k in values if k.startswith("mono/")):
        cells = (values.get(f"{view}/{key}") for view in ("mono", "tri"))
        told = ["" if v is None or v != v else f"{v:.1f}" for v in cells]
        if any(told):
            table.add_row(key, *told)
    for key in ("ambiguity_pct", "scene_flip_pct"):
        if values[key] == values[key]:
            table.add_row(key, f"{values[key]:.1f}", "")
    console = Console()
    console.print(table)
    if "actions" in values:
        table = Table("action", *PER_ACTION)
        for name, told in values["actions"].items():
            table.add_row(name, *(f"{told[key]:.1f}" for key in PER_ACTION))
        means = (values[f"mean_over_actions/{key}"] for key in PER_ACTION)
        table.add_row("mean over actions", *(f"{mean:.1f}" for mean in means))
        console.print(table)
    if "protocol" in about:
        console.print(f"protocol {about['protocol']}; masks: {about['masks']}")
    console.print(f"settings {about['settings']}; root depth: {about['root_depth']}")
    console.print(f"written to {folder}")


@command("evaluate")
def main(cfg: DictConfig) -> None:
    """Figures of a checkpoint on a split that has labels: a table, metrics.json, overlays."""
    cfg = trust_from_command_line(cfg, HydraConfig.get().overrides.task)
    check_ranges(cfg)
    evaluate(cfg)


if __name__ == "__main__":
    main()
