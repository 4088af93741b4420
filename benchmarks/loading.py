"""Views per second that a loader gives, against decoding the same JPEG files and nothing else.

    python benchmarks/loading.py
    python benchmarks/loading.py --root data/h36m --shards data/h36m_shards --moments 500
    python benchmarks/loading.py --weights

Without --root a small store is drawn from the embedded bodies, as files and in archives. All rows
are measured turn by turn in one process, each on one thread or in so many worker processes, which
are started before. Decoding is measured anew before each; ratios are of the two, per worker, and
all figures are medians, written to benchmarks/results/loading.json. Files are in memory after the
first turn, which does not count: disks are not measured.

Weights of masks, which the first epoch makes, are timed by themselves, too, against two solves by
fast marching on the whole picture, one from the middle of the mask, one from its border; written
to benchmarks/results/weights.json. With --weights nothing else is measured.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from record import record
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from mask_sup.data.lens import crop_square, mask_box
from mask_sup.data.manifest import PreparedData, tabulate, write_manifest
from mask_sup.data.moments import Moment, MomentDataset
from mask_sup.data.shards import write_shards
from mask_sup.files.masks import read_mask
from mask_sup.geometry.geodesic import GeodesicWeight
from mask_sup.prepare import store
from mask_sup.synthetic.data import SyntheticData

IMAGE_SIZE, PADDING = 256, 1.2
DRAWN, STORED = 640, 320  # side of pictures before and after they are prepared
SIZES = (64, 128)  # of masks and weights
BATCH = 8  # moments, as conf/data/prepared.yaml
JPEG = ("JPEG alone", 0)
MEMORY = "items made before"  # what handing them over costs


def fabricate(folder: Path, moments: int) -> tuple[Path, Path]:
    """A store of files and one of archives, as mask-sup prepare and mask-sup shard write."""
    root, shards = folder / "files", folder / "shards"
    made = {"size": DRAWN, "seed": 0, "background": "scene"}
    data = SyntheticData(root=root, moments={"train": moments}, **made)
    data.prepare()
    found = data.moments("train")
    for view in (view for moment in found for view in moment.views):
        image, mask = cv2.imread(str(view.image)), read_mask(view.mask)
        box = mask_box(mask, store.PADDING)
        jpeg, png = [cv2.IMWRITE_JPEG_QUALITY, store.JPEG_QUALITY], [cv2.IMWRITE_PNG_BILEVEL, 1]
        cv2.imwrite(str(view.image), crop_square(image, box, STORED), jpeg)
        cv2.imwrite(str(view.mask), 255 * (crop_square(mask, box, STORED) > 127), png)
    cameras = [str(k) for k in range(len(found[0].views))]
    write_manifest(root, tabulate(root, "train", found, cameras), {"dataset": "synthetic"})
    write_shards(root, shards, megabytes=256)
    return root, shards


def decode(moments: Sequence[Moment]) -> None:
    """Decode every picture."""
    for moment in moments:
        for view in moment.views:
            cv2.imdecode(np.frombuffer(view.image.read_bytes(), np.uint8), cv2.IMREAD_COLOR)


def through(items: MomentDataset | DataLoader) -> None:
    """Make every item."""
    if isinstance(items, DataLoader):
        for _ in items:
            pass
    else:
        for i in range(len(items)):
            items[i]


def timed(job: Callable[[], None]) -> float:
    """Seconds that a job takes."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def jobs(moments: Sequence[Moment], cache: Path) -> dict[tuple[str, int], Callable[[], None]]:
    """What is measured: (what, worker processes) -> one turn over all moments."""
    joints = len(moments[0].joints_world)
    found: dict[tuple[str, int], Callable[[], None]] = {JPEG: lambda: decode(moments)}
    kinds = {MEMORY: (SIZES[1], None, None), "masks and crops, no weights": (SIZES[0], None, None)}
    for size in SIZES:
        weight = GeodesicWeight(2.0, 0.5)
        kinds[f"first epoch, weights at {size}"] = (size, weight, None)
        kinds[f"later epochs, weights at {size}"] = (size, weight, cache)
    for what, (size, geodesic, kept) in kinds.items():
        settings = (joints, IMAGE_SIZE, size, PADDING, False, geodesic)
        dataset = MomentDataset(moments, *settings, memory=what == MEMORY, cache=kept)
        found[what, 0] = lambda items=dataset: through(items)
        for workers in (1, 2):
            options = {"num_workers": workers, "persistent_workers": True}
            loader = DataLoader(dataset, batch_size=BATCH, **options)
            found[what, workers] = lambda items=loader: through(items)
    return found


def two_solves(mask: np.ndarray) -> None:
    """What G would cost by fast marching alone."""
    import skfmm

    pixels = np.argwhere(mask)
    front = np.ones(mask.shape)
    front[tuple(pixels[((pixels - pixels.mean(0)) ** 2).sum(1).argmin()])] = -1.0
    skfmm.distance(np.ma.masked_array(front, ~mask))
    skfmm.distance(np.where(mask, -1.0, 1.0))


def time_weights(moments: Sequence[Moment], repeats: int) -> list[dict[str, float]]:
    """Milliseconds a mask by either way, one row per size: medians, turn by turn."""
    joints, rows = len(moments[0].joints_world), []
    ways = {"two_solves": two_solves, "weight": GeodesicWeight(2.0, 0.5)}
    for size in SIZES:
        settings = (joints, SIZES[0], size, PADDING, False, None, False)
        items = MomentDataset(moments, *settings)
        masks = [mask > 127 for i in range(len(items)) for mask in items[i].views.mask.numpy()]
        times: dict[str, list[float]] = {what: [] for what in ways}
        for _ in range(repeats):
            for what, way in ways.items():
                taken = timed(lambda way=way, masks=masks: [way(mask) for mask in masks])
                times[what].append(1e3 * taken / len(masks))
        row = {f"{what}_ms": statistics.median(found) for what, found in times.items()}
        rows.append({"size": size, **row, "faster": row["two_solves_ms"] / row["weight_ms"]})
    return rows


def tell_weights(moments: Sequence[Moment], repeats: int) -> None:
    """Print and write what `time_weights` finds."""
    rows = time_weights(moments, repeats)
    table = Table(title=f"weights of a mask, one thread, {repeats} turns")
    for column in ("pixels", "two solves", "G", "faster"):
        table.add_column(column, justify="right")
    for row in rows:
        both = (f"{row[name]:.2f} ms" for name in ("two_solves_ms", "weight_ms"))
        table.add_row(str(row["size"]), *both, f"{row['faster']:.1f}x")
    record("weights", moments=len(moments), rows=rows)
    Console(width=100).print(table)


def main() -> None:
    """Print one row per source, kind of item and number of workers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="a prepared store")
    parser.add_argument("--shards", type=Path, help="the same in archives (mask-sup shard)")
    parser.add_argument("--split", default="train")
    parser.add_argument("--moments", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--weights", action="store_true", help="measure weights of masks alone")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        roots = {"files": given.root, "archives": given.shards}
        if given.root is None:
            files, shards = fabricate(Path(folder), given.moments)
            roots = {"files": files, "archives": shards}
        read = PreparedData(next(root for root in roots.values() if root is not None))
        tell_weights(read.moments(given.split)[: given.moments], given.repeats)
        if given.weights:
            return
        todo, views = {}, 0
        for source, root in roots.items():
            if root is not None:
                moments = PreparedData(root).moments(given.split)[: given.moments]
                views = sum(len(moment.views) for moment in moments)
                found = jobs(moments, Path(folder) / "cache" / source)
                todo |= {(source, *key): job for key, job in found.items()}
        times: dict[tuple[str, str, int], list[float]] = {key: [] for key in todo}
        shares: dict[tuple[str, str, int], list[float]] = {key: [] for key in todo}
        for turn in range(given.repeats + 1):
            for key, job in todo.items():
                alone, seconds = timed(todo[key[0], *JPEG]), timed(job)
                if turn:
                    times[key].append(seconds)
                    shares[key].append(alone / seconds / max(key[2], 1))
    rows = []
    table = Table(title=f"{views} views, {IMAGE_SIZE} pixels, {given.repeats} turns")
    for column in ("from", "what", "workers", "views/s", "per worker", "of JPEG alone"):
        table.add_column(column, justify="left" if column in ("from", "what") else "right")
    for (source, what, workers), found in times.items():
        rate = views / statistics.median(found)
        share = statistics.median(shares[source, what, workers])
        row = {"from": source, "what": what, "workers": workers}
        rows.append(row | {"views_a_second": rate, "share_of_jpeg": share})
        each = f"{rate / max(workers, 1):.0f}"
        table.add_row(source, what, str(workers or "none"), f"{rate:.0f}", each, f"{share:.0%}")
    record("loading", views=views, image_size=IMAGE_SIZE, rows=rows)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
