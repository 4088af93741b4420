"""JSON in COCO's keypoint format: 2D joints per picture, for tools that read annotations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mask_sup.export.clip import Clip

__all__ = ["COCO_JOINTS", "write_coco"]

SIDED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_JOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *(f"{side}_{part}" for part in SIDED for side in ("left", "right")),
)
"""The 17 keypoints of COCO's person, in order."""

# fmt: off
COCO_EDGES = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)
# fmt: on
HALF_PIXEL = 0.5  # COCO counts keypoints from the centre of the first pixel, we from its corner
VISIBLE = 2
DECIMALS = 3


def write_coco(clip: Clip, path: Path) -> None:
    """Two annotations per picture: COCO's 17 keypoints, and all joints of the skeleton.

    The 17 are taken by name. Those that the skeleton lacks (eyes, ears) and unknown joints are 0, 0
    with visibility 0; all others, those of filled gaps too, have visibility 2. `keypoint_scores`
    are the confidences of the triangulated joints (0 where invisible) and `score` is their mean
    over the visible ones; single views know none, and all are 1. The box is that of the visible
    joints. Keypoints count from the centre of the first pixel, as COCO's do.
    """
    categories = [
        _category(1, "person", COCO_JOINTS, COCO_EDGES),
        _category(2, clip.source["skeleton"], clip.joints, _edges(clip)),
    ]
    images, annotations = [], []
    for frame, view in np.ndindex(*clip.pictures.shape):
        images.append(_image(clip, frame, view, len(images) + 1))
        scores = np.ones(len(clip.joints)) if clip.confidence is None else clip.confidence[frame]
        for category in categories:
            about = {"id": len(annotations) + 1, "image_id": len(images)}
            about |= {"category_id": category["id"]}
            rows = [clip.joints.index(n) if n in clip.joints else -1 for n in category["keypoints"]]
            annotations.append(about | _annotation(clip.joints_px[frame, view], scores, rows))
    told = {
        "info": {
            "description": "joints by mask_sup",
            "fps": clip.fps,
            "scores": "none: all 1" if clip.confidence is None else "confidence of the 3D joints",
        },
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    path.write_text(json.dumps(told, allow_nan=False))


def _category(number: int, name: str, keypoints: Any, edges: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "supercategory": "person",
        "keypoints": list(keypoints),
        "skeleton": [list(edge) for edge in edges],
    }


def _edges(clip: Clip) -> list[tuple[int, int]]:
    """Bones as pairs of joints, counted from 1."""
    return [(p + 1, j + 1) for j, p in enumerate(clip.parent_index) if p >= 0]


def _image(clip: Clip, frame: int, view: int, number: int) -> dict[str, Any]:
    width, height = clip.picture_size_px[frame, view]
    return {
        "id": number,
        "file_name": str(clip.pictures[frame, view]),
        "width": int(width),
        "height": int(height),
        "frame": frame,
        "view": view,
    }


def _annotation(
    xy: Float[np.ndarray, "j 2"], scores: Float[np.ndarray, " j"], rows: list[int]
) -> dict[str, Any]:
    """Keypoints, box and scores; `rows` tells each keypoint's joint, -1 for none."""
    picked = np.where(np.array(rows)[:, None] >= 0, xy[rows], np.nan)
    seen = np.isfinite(picked).all(-1)
    keypoints = np.zeros((len(rows), 3))
    keypoints[seen] = np.insert(picked[seen] - HALF_PIXEL, 2, VISIBLE, axis=1)
    each = np.where(seen, scores[rows], 0.0)
    box = np.zeros(4)
    if seen.any():
        box = np.concatenate([picked[seen].min(0), np.ptp(picked[seen], axis=0)])
    return {
        "keypoints": [*np.round(keypoints, DECIMALS).ravel().tolist()],
        "num_keypoints": int(seen.sum()),
        "keypoint_scores": np.round(each, DECIMALS).tolist(),
        "score": round(float(each[seen].mean()), DECIMALS) if seen.any() else 0.0,
        "bbox": np.round(box, DECIMALS).tolist(),
        "area": round(float(box[2] * box[3]), DECIMALS),
        "iscrowd": 0,
    }
