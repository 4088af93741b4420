"""python -m mask_sup.look: what a training would read -> tables, look.json, sheet.png."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mask_sup.files.build import build, trust_from_command_line
from mask_sup.files.config import plain
from mask_sup.files.disk import write_file
from mask_sup.files.ranges import check_ranges
from mask_sup.files.words import command

if TYPE_CHECKING:
    from mask_sup.data.moments import Moment
    from mask_sup.figure.skeleton import Skeleton

__all__ = ["label_px", "look"]

VERSION = 1
NAMED = 10  # missing and damaged files that are listed
SIZE = 256  # pixels, side of a picture in the sheet
OUTLINE = (80, 255, 160)


def look(cfg: DictConfig) -> dict[str, Any]:
    """Look at every split: counts, missing files, masks, labels; nothing is trained.

    Files that are missing, and of the sample those that are damaged, are counted and named; only
    complete moments are read.

    Returns:
        What look.json holds.

    Raises:
        FileNotFoundError: If the data set itself is missing.
        ValueError: If its labels are of another skeleton, or it is a mix of several.
    """
    from mask_sup.data.datamodule import PoseDataModule
    from mask_sup.files.pictures import write_png

    skeleton = build(cfg.skeleton, "skeleton")
    data = build(cfg.data, "data", skeleton=skeleton, geodesic=None)
    if not isinstance(data, PoseDataModule):
        raise ValueError("this is a mix of several data sets: look at one at a time, data=<part>")
    data.prepare_data()
    padding = data.item_settings["padding"]
    splits, masks, missing, damaged, rows = {}, {}, {}, {}, []
    for split in data.source.splits:
        moments = data.source.moments(split)
        _check_labels(moments, skeleton)
        complete = _complete(moments, split, missing)
        splits[split] = _described(moments) | {"incomplete": len(moments) - len(complete)}
        masks[split] = _measured(_spread(complete, cfg.sample), split, padding, damaged)
        for moment in _spread(complete, cfg.pictures):
            try:
                rows.append(_row(moment, split, skeleton, padding))
            except ValueError as error:
                damaged[str(error)] = None
    report = {
        "version": VERSION,
        "source": plain(cfg.data)["source"],
        "header": getattr(data.source, "header", None),
        "splits": splits,
        "masks": masks,
        "missing": {"count": len(missing), "first": list(missing)[:NAMED]},
        "damaged": {"count": len(damaged), "first": list(damaged)[:NAMED]},
    }
    folder = Path(cfg.output).expanduser()
    write_file(folder / "look.json", json.dumps(report, indent=2) + "\n")
    if rows:
        write_png(folder / "sheet.png", _below_each_other(rows))
    _print_report(report, folder)
    return report


def label_px(moment: "Moment", view: int, box: tuple[float, float, float], size: int) -> np.ndarray:
    """Where the labels of a moment lie in a square crop of one view.

    Args:
        moment: Its labels are in 3D, or in pixels of single views.
        view: Which of its views.
        box: Left, top and side of the crop in continuous pixels of the whole picture.
        size: Side of the drawn crop, pixels.

    Returns:
        (j, 2) continuous pixels of the drawn crop; NaN where there is no label or no camera.
    """
    import torch

    from mask_sup.geometry.batch import Camera
    from mask_sup.geometry.camera import crop_from_world, fold_crop

    K, R, t = moment.views[view][2:5]
    told = (moment.joints_world, fold_crop(K, box), R, t)
    joints, *camera = (torch.tensor(part, dtype=torch.float64) for part in told)
    found = (crop_from_world(joints, Camera(*camera)).numpy() + 1) * size / 2
    if moment.joints_px is None:
        return found
    drawn = (moment.joints_px[view] - np.array(box[:2])) * size / box[2]
    return np.where(np.isnan(found), drawn, found)


def _check_labels(moments: Sequence["Moment"], skeleton: "Skeleton") -> None:
    expected = (len(skeleton.joints), 3)
    for moment in moments:
        if moment.joints_world.shape != expected:
            raise ValueError(
                f"moment {moment.name} has labels of shape {moment.joints_world.shape}, the "
                f"skeleton {skeleton.name} expects {expected}: choose the skeleton of this data set"
            )


def _complete(moments: Sequence["Moment"], split: str, missing: dict[str, None]) -> list["Moment"]:
    """The moments whose files are all there; names of other files are added to `missing`."""
    from rich.progress import track

    complete = []
    for moment in track(moments, f"files of {split}", transient=True):
        paths = (path for view in moment.views for path in (view.image, view.mask))
        absent = [str(path) for path in paths if path is not None and not path.is_file()]
        missing.update(dict.fromkeys(absent))
        if not absent:
            complete.append(moment)
    return complete


def _spread(moments: Sequence["Moment"], most: int) -> list["Moment"]:
    """At most so many of the moments, spread evenly."""
    places = np.linspace(0, len(moments) - 1, min(most, len(moments))).round().astype(int)
    return [moments[i] for i in places]


def _described(moments: Sequence["Moment"]) -> dict[str, Any]:
    """A split in numbers; people and sequences are 0 where the data set does not tell."""
    views = [view for moment in moments for view in moment.views]
    labelled = [
        np.isfinite(m.joints_world).any()
        or (m.joints_px is not None and np.isfinite(m.joints_px).any())
        for m in moments
    ]
    return {
        "moments": len(moments),
        "people": len({m.person for m in moments if m.person}),
        "sequences": len({m.sequence for m in moments if m.sequence}),
        "views": max(len(m.views) for m in moments),
        "calibrated": float(np.mean([np.isfinite(view.K).all() for view in views])),
        "labelled": float(np.mean(labelled)),
    }


def _measured(
    moments: Sequence["Moment"], split: str, padding: float, damaged: dict[str, None]
) -> list[dict[str, Any]]:
    """The masks of each view in numbers; what is wrong with bad ones is added to `damaged`."""
    from rich.progress import track

    shares: dict[int, list[float]] = {}
    border: dict[int, int] = {}
    for moment in track(moments, f"masks of {split}", transient=True):
        for k, view in enumerate(moment.views):
            try:
                share, touches = _covered(view, padding)
            except ValueError as error:
                damaged[str(error)] = None
                continue
            shares.setdefault(k, []).append(share)
            border[k] = border.get(k, 0) + touches
    return [
        {
            "view": k,
            "masks": len(found),
            "median": float(np.median(found)),
            "least": min(found),
            "most": max(found),
            "border": border[k] / len(found),
        }
        for k, found in sorted(shares.items())
    ]


def _covered(view: Any, padding: float) -> tuple[float, bool]:
    """Share of its crop that a mask covers, and whether it touches the border of its picture."""
    from mask_sup.data.lens import straight_mask
    from mask_sup.data.moments import taken_mask

    mask = taken_mask(view)
    touches = any((edge > 127).any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    straight = straight_mask(mask, view.K, view.distortion)
    if not (straight.pixels > 127).any():
        raise ValueError(f"empty mask {view.mask}: drop the moment or fix the mask")
    return float((straight.pixels > 127).sum() / straight.box(padding)[2] ** 2), touches


def _row(moment: "Moment", split: str, skeleton: "Skeleton", padding: float) -> np.ndarray:
    """One row of the sheet: its name, and every view with the mask's outline and the labels."""
    import cv2

    from mask_sup.data.moments import crop_view
    from mask_sup.figure.draw import draw_skeleton, title_band

    pictures = []
    for k, view in enumerate(moment.views):
        crop = crop_view(view, SIZE, SIZE, padding, mask_input=False)
        inside = (crop.mask > 127).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        picture = cv2.drawContours(crop.image, outlines, -1, OUTLINE, 1)
        pictures.append(draw_skeleton(picture, label_px(moment, k, crop.box, SIZE), skeleton))
    head = title_band(f"{split}: {moment.name}", SIZE * len(pictures))
    return np.concatenate([head, np.concatenate(pictures, 1)])


def _below_each_other(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of pictures as one sheet, as wide as the widest of them."""
    wide = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, wide - row.shape[1]), (0, 0))) for row in rows])


def _print_report(report: Mapping[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    def told(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(title=title)
        for column in columns:
            table.add_column(column, justify="left" if column == "split" else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)

    def percent(share: float) -> str:
        return f"{100 * share:.1f} %"

    console = Console(width=100)
    counts = ("moments", "people", "sequences", "views", "calibrated", "labelled", "incomplete")
    told(
        "splits",
        ("split", *counts),
        [
            (split, *(percent(n) if isinstance(n, float) else str(n) for n in map(row.get, counts)))
            for split, row in report["splits"].items()
        ],
    )
    shares = ("median", "least", "most", "border")
    told(
        "share of the crop that a mask covers; masks that touch the border of their picture",
        ("split", "view", "masks", *shares),
        [
            (split, str(row["view"]), str(row["masks"]), *(percent(row[key]) for key in shares))
            for split, rows in report["masks"].items()
            for row in rows
        ],
    )
    lines = _header_lines(report["header"] or {})
    for kind in ("missing", "damaged"):
        count, first = report[kind]["count"], report[kind]["first"]
        lines.append(f"{kind}: {count}" + (", the first are" if count > len(first) else ""))
        lines += [f"  {text}" for text in first]
    for line in [*lines, f"written to {folder}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _header_lines(header: Mapping[str, Any]) -> list[str]:
    """What made a prepared store, as far as its header tells."""
    lines = [f"{key}: {header[key]}" for key in ("dataset", "layout", "masks") if key in header]
    if "protocol" in header:
        lines.append(f"protocol: {header['protocol']['name']} {header.get('protocol_hash', '')}")
    lines += [f"left out {name}: {why}" for name, why in header.get("skipped", {}).items()]
    lines += [f"dropped {n} moments: {why}" for why, n in header.get("dropped", {}).items()]
    return [*lines, *header.get("notes", [])]


@command("look")
def main(cfg: DictConfig) -> None:
    """What a training would read of a data set; ends with 1 where files are missing or damaged."""
    cfg = trust_from_command_line(cfg, HydraConfig.get().overrides.task)
    check_ranges(cfg)
    report = look(cfg)
    if report["missing"]["count"] or report["damaged"]["count"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
