"""python -m mask_sup.evaluate: a checkpoint and a split -> tables, metrics.json, overlays."""

import json
from collections.abc import Iterator
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


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Metrics of a checkpoint on a split; prints tables, writes metrics.json and overlays.png.

    Returns:
        Flat metrics of the first setting, what they are of, `actions`, figures by action where the
        data tells them, and `rows`: of each setting its name, all of its flags, and its figures.

    Raises:
        ValueError: If the split or a setting is unknown, nothing in the split is labelled, or a
            setting that was named (not by `all`) cannot be had, or there is no such device.
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
    settings, left_out = _settings(cfg, detector, data)
    figures, sheet = _measure(cfg, detector, data, settings)
    about = _about(cfg, checkpoint, data) | {"weights": fingerprint(detector)}
    rows = [_row(name, settings[name], figures[name], about) for name in settings]
    first = {"settings": rows[0]["flags"], "left_right": rows[0]["left_right"]}
    told = {**figures[rows[0]["setting"]], **about, **first, "rows": rows}
    folder = Path(cfg.output) if cfg.output else _default_folder(cfg)
    write_file(folder / "metrics.json", json.dumps(_strict(told), indent=2))
    write_png(folder / "overlays.png", sheet)
    _print(rows, about, left_out, folder)
    return told


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


def _settings(cfg: DictConfig, detector: Any, data: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings that are asked for, ready to measure, and why others of `all` are left out.

    Raises:
        ValueError: If one is unknown, or was named and cannot be had.
    """
    from mask_sup.method.measuring import Plain, SupervisedFlip, chosen, post_process

    names, left_out, ready = chosen(plain(cfg.settings)), {}, {}
    makers = {"plain": Plain, "SF": SupervisedFlip}
    theta = [name for name in names if name not in makers]
    if detector.skeleton.is_free:
        why = f"the points of {detector.skeleton.name} are no joints: SPP alone names them"
        left_out |= {name: why for name in names if name in makers}
    ready |= {name: makers[name]() for name in names if name in makers and name not in left_out}
    if theta:
        root, depth = detector.skeleton.labelled.root, detector.depth_range
        found = _detections(cfg, detector, data, "train")
        try:
            ready |= post_process(theta, found, root, depth, plain(cfg.spp))
        except ValueError as error:
            left_out |= dict.fromkeys(theta, str(error))
    if left_out and (cfg.settings != "all" or not ready):
        raise ValueError("; ".join(f"no setting {name}: {why}" for name, why in left_out.items()))
    return ready, left_out


def _detections(cfg: DictConfig, detector: Any, data: Any, split: str) -> Any:
    """Joints and batch, one batch of a split after the other."""
    import torch
    from lightning.fabric.utilities import move_data_to_device

    from mask_sup.data.moments import expand

    with torch.inference_mode():
        for batch in data.eval_dataloader(split):
            batch = move_data_to_device(expand(batch), cfg.device)
            yield detector(batch.views.image), batch


def _measure(
    cfg: DictConfig, detector: Any, data: Any, settings: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], Any]:
    """All figures of a split by setting, and a sheet of its first batch under the first one."""
    from mask_sup.method.measuring import Tally
    from mask_sup.metrics import PoseMetrics

    skeleton, sheet = detector.skeleton.labelled, None

    def fresh() -> PoseMetrics:
        return PoseMetrics(skeleton, _protocol(data).get("pck_joints")).to(cfg.device)

    tallies = {name: Tally(setting, skeleton, fresh) for name, setting in settings.items()}
    first = next(iter(settings.values()))
    for joints, batch in _detections(cfg, detector, data, cfg.split):
        poses = [tally.add(joints, batch, detector.depth_range) for tally in tallies.values()]
        if poses[0] is None and bool(batch.labels.xy.isnan().all()):
            raise ValueError(
                f"split {cfg.split!r} has no labels to evaluate against: use "
                "python -m mask_sup.predict to see its poses"
            )
        if sheet is None:
            sheet = _sheet(skeleton, batch, first.detected(joints)[1], poses[0])
    return {name: tally.figures() for name, tally in tallies.items()}, sheet


def _row(name: str, setting: Any, figures: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """A setting's name, all of its flags, and its figures; none of another setting among them."""
    return {
        "setting": name,
        "flags": about["settings"] | setting.flags,
        "left_right": setting.left_right or about["left_right"],
        "figures": {key: value for key, value in figures.items() if "/sf_" not in key},
    }


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
        "settings": facts | at_test(checkpoint["config"]["detector"]),
        "root_depth": "labels (monocular), none (triangulated)",
        "n_mpjpe": "root-relative, least-squares scale",
        "left_right": left_right,
        "checkpoint": str(cfg.checkpoint),
        "untrained": cfg.untrained,
        "data": _protocol(data).get("name", type(data.source).__name__),
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
        key: _strict(value)
        if isinstance(value, dict)
        else [_strict(v) if isinstance(v, dict) else v for v in value]
        if isinstance(value, list)
        else None
        if value != value
        else value
        for key, value in values.items()
    }


def _default_folder(cfg: DictConfig) -> Path:
    from mask_sup.models.checkpoint import run_folder

    name = f"{cfg.split}_untrained" if cfg.untrained else cfg.split
    return run_folder(cfg.checkpoint) / "evaluation" / name


def _sheet(skeleton: Any, batch: Any, joints: Any, poses: Any) -> Any:
    """Rows of moments; per view the detection over the image, then label and detection in 3D."""
    from mask_sup.figure.draw import draw_pose, draw_skeleton, pose_sheet

    size, rows = 192, []
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


def _print(
    rows: list[dict[str, Any]], about: dict[str, Any], left_out: dict[str, str], folder: Path
) -> None:
    """A table for each setting, with its flags below it."""
    from rich.console import Console

    console = Console()
    for row in rows:
        for table in _tables(row, about):
            console.print(table)
        console.print(f"settings {row['flags']}; left and right: {row['left_right']}")
    for name, why in left_out.items():
        console.print(f"no setting {name}: {why}")
    if "protocol" in about:
        console.print(f"protocol {about['protocol']}; masks: {about['masks']}")
    console.print(f"root depth: {about['root_depth']}")
    console.print(f"written to {folder}")


def _tables(row: dict[str, Any], about: dict[str, Any]) -> Iterator[Any]:
    """The figures of one setting, and those by action where the data tells them."""
    from rich.table import Table

    from mask_sup.method.measuring import PER_ACTION

    values = row["figures"]
    title = f"{about['split']}, {about['moments']} moments, setting {row['setting']}"
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
    yield table
    if "actions" in values:
        table = Table("action", *PER_ACTION)
        for name, told in values["actions"].items():
            table.add_row(name, *(f"{told[key]:.1f}" for key in PER_ACTION))
        means = (values[f"mean_over_actions/{key}"] for key in PER_ACTION)
        table.add_row("mean over actions", *(f"{mean:.1f}" for mean in means))
        yield table


@command("evaluate")
def main(cfg: DictConfig) -> None:
    """Figures of a checkpoint on a split that has labels: tables, metrics.json, overlays."""
    cfg = trust_from_command_line(cfg, HydraConfig.get().overrides.task)
    check_ranges(cfg)
    evaluate(cfg)


if __name__ == "__main__":
    main()
