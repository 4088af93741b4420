"""Figures of the paper from run folders, each as PNG and PDF.

python scripts/paper_figures.py loss outputs/cascade outputs/single --out figure4
python scripts/paper_figures.py poses outputs/run/arms/checkpoints/last.ckpt --out figure5
python scripts/paper_figures.py poses <ckpt> --data source.root=data/tiktok --out figure7

`loss` is Figure 4: the skeleton loss of a run with a cascade, its stages in colours, and of one
without, over one axis of steps; relabelling rounds draw none and leave a gap. `poses` is Figures 5
and 7: joints over the picture of each view, the pose in 3D from several sides, and the labels'
where there are some.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSS = "train/skeleton"
SMOOTH = 15  # logged values in the window of the running median
ALONE = "#c03028"  # the run without a cascade, red as in the paper
STAGES = ("#1f4e9c", "#3f8fd2", "#57b8c9", "#6aa84f", "#8e7cc3")  # of the cascade, in turn
SIDES = {"right": "#ff6e28", "left": "#2f9bff", "middle": "#555555"}
TURNS = (0, 45, 90)  # degrees about the vertical axis
INCH = 1.6  # side of a picture
DOTS = 150  # per inch, of the PNG
REACH = 1100  # mm, half the side of a drawing in 3D


def main() -> None:
    """One subcommand a figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    loss = commands.add_parser("loss", help="Figure 4")
    loss.add_argument("cascade", type=Path, help="folder of a run with a cascade")
    loss.add_argument("single", type=Path, help="folder of a run without")
    loss.set_defaults(draw=lambda given: loss_figure(given.cascade, given.single))
    poses = commands.add_parser("poses", help="Figures 5 and 7")
    poses.add_argument("checkpoint", type=Path)
    poses.add_argument("--split", default="val")
    poses.add_argument("--moments", type=int, default=3)
    poses.add_argument("--data", nargs="*", default=[], help="keys of the data that are replaced")
    poses.set_defaults(
        draw=lambda given: pose_figure(given.checkpoint, given.split, given.moments, given.data)
    )
    for command in (loss, poses):
        command.add_argument("--out", type=Path, required=True, help="file without its ending")
    given = parser.parse_args()
    try:
        save(given.draw(given), given.out)
    except (OSError, ValueError) as error:
        sys.exit(str(error))


def save(figure: "Figure", path: Path) -> None:
    """Write both files; without the hour in them, so that they are equal when made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=DOTS)
    figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    print(f"written: {path.with_suffix('.png')}, {path.with_suffix('.pdf')}")


# ---- Figure 4 ------------------------------------------------------------------------------------


def loss_figure(cascade: Path, single: Path) -> "Figure":
    """The skeleton loss with and without a cascade over all of their steps.

    Raises:
        ValueError: If neither stage of a run has logged that loss.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axis = figure.subplots()
    for folder, colours, kind in ((cascade, STAGES, "cascade"), (single, (ALONE,), "no cascade")):
        for i, (name, steps, values) in enumerate(stage_losses(folder)):
            colour = colours[i % len(colours)]
            axis.plot(steps, values, color=colour, label=f"{kind}: {name}", linewidth=1.4)
    axis.set_xlabel("step")
    axis.set_ylabel("skeleton loss of what is drawn")
    axis.set_yscale("log")
    axis.set_xlim(left=0)
    axis.legend(frameon=False, fontsize=8)
    return figure


def stage_losses(folder: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name of each stage that draws skeletons, its steps counted over the run, and its loss."""
    from scipy.ndimage import median_filter

    from mask_sup.report.run import read_run

    curves = []
    for stage in read_run(folder).stages:
        if LOSS in stage.curves:
            steps, values = stage.curves[LOSS]
            smooth = median_filter(values, SMOOTH, mode="reflect")
            curves.append((stage.name, steps + stage.first, smooth))
    if not curves:
        raise ValueError(f"no stage of {folder} has logged {LOSS}: a run that trains on masks has")
    return curves


# ---- Figures 5 and 7 -----------------------------------------------------------------------------


def pose_figure(checkpoint: Path, split: str, moments: int, data: list[str]) -> "Figure":
    """A row of pictures for each view: joints in 2D, the pose in 3D, the label in 3D.

    Args:
        checkpoint: Whose detector is shown.
        split: Of the data that it was trained with, or of `data`.
        moments: How many, evenly over the split.
        data: Keys of the data that are replaced, `key=value`.
    """
    import torch
    from matplotlib.figure import Figure
    from omegaconf import OmegaConf

    from mask_sup.data.moments import expand
    from mask_sup.files.build import build
    from mask_sup.models.checkpoint import read_checkpoint, restore

    told = read_checkpoint(checkpoint)
    detector = restore(told)
    if detector.skeleton.is_free:
        raise ValueError(f"{detector.skeleton.name} has points without a skeleton to draw")
    node = OmegaConf.merge(told["config"]["data"], OmegaConf.from_dotlist(data))
    module = build(node, "data", skeleton=detector.skeleton, geodesic=None)
    module.prepare_data()
    dataset, rows = module.dataset(split), []
    for i in np.linspace(0, len(dataset) - 1, min(moments, len(dataset))).astype(int):
        item = expand(dataset[int(i)])
        with torch.inference_mode():
            joints = detector(item.views.image[None])[0]
        labels = label_of(item, detector)
        rows += [(item.views.image[k], joints[k], labels[k]) for k in range(len(joints))]
    across = 1 + 2 * len(TURNS) if any(label is not None for *_, label in rows) else 1 + len(TURNS)
    figure = Figure(figsize=(INCH * across, INCH * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), across, squeeze=False)
    for axes, (image, found, label) in zip(grid, rows, strict=True):
        draw_row(axes, image, found, label, detector)
    heads = ["picture", *(f"{turn}°" for turn in TURNS), *(f"label, {turn}°" for turn in TURNS)]
    for axis, head in zip(grid[0], heads, strict=False):
        axis.set_title(head, fontsize=8)
    return figure


def label_of(item: Any, detector: Any) -> list[Any]:
    """Labels of each view as the detector would see them; None where they are not in 3D."""
    from mask_sup.geometry.camera import is_calibrated
    from mask_sup.method.regression import crop_targets

    camera, joints = item.views.camera, item.labels.joints_world
    if not is_calibrated(camera) or bool(joints.isnan().all()):
        return [None] * len(item.views.image)
    batched = camera.part(np.newaxis)
    root, depth = detector.skeleton.root, detector.depth_range
    return list(crop_targets(joints[None], batched, root, depth)[0])


def draw_row(axes: Any, image: Any, found: Any, label: Any, detector: Any) -> None:
    """One view; in 3D the crop counts as `depth_range` wide: shapes and angles, no exact sizes."""
    skeleton, half = detector.skeleton, detector.depth_range / 2
    axes[0].imshow(image.permute(1, 2, 0).numpy(), extent=(-1, 1, 1, -1))
    draw_bones(axes[0], found[:, :2].numpy(), skeleton)
    for first, pose in ((1, found), (1 + len(TURNS), label)):
        for axis, turn in zip(axes[first:], TURNS if pose is not None else (), strict=False):
            draw_bones(axis, turned(half * pose.numpy(), turn), skeleton)
            axis.set_xlim(-REACH, REACH)
            axis.set_ylim(REACH, -REACH)
            axis.set_aspect("equal")
    for axis in axes:
        axis.set_axis_off()


def turned(pose: np.ndarray, turn: float) -> np.ndarray:
    """X and y (j, 2) of a pose (j, 3) about its middle, turned about the vertical axis."""
    x, y, z = (pose - np.nanmean(pose, 0)).T
    angle = np.deg2rad(turn)
    return np.stack([np.cos(angle) * x + np.sin(angle) * z, y], -1)


def draw_bones(axis: "Axes", xy: np.ndarray, skeleton: Any) -> None:
    """The tree of a skeleton: right orange, left blue, the middle grey."""
    for parent, child in skeleton.tree:
        side = skeleton.joints[child].partition("_")[0]
        colour = SIDES.get(side, SIDES["middle"])
        axis.plot(*xy[[parent, child]].T, color=colour, linewidth=1.5, solid_capstyle="round")


if __name__ == "__main__":
    main()
