"""MPII as it is downloaded, made of embedded bodies: the nested .mat, the .json files and masks.

A green dot marks the pelvis of each person.
"""

import json
from functools import cache

import cv2
import numpy as np
from release_bodies import NAMES, dot, film, looking, middle, pixels, walk
from scipy.io import savemat

MAT = "mpii_human_pose_v1_u12_1.mat"
JOINTS16 = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis"),
    *("thorax", "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder"),
    *("left_shoulder", "left_elbow", "left_wrist"),
)
ALIKE = {"upper_neck": "neck", "head_top": "head"}  # theirs: ours
MISSING = {("000000001.jpg", 0): "left_wrist"}  # a joint outside of the labels
BYSTANDER = "000000005.jpg"  # where the .mat has somebody without labels as well
# Picture: part, size, and the people in it with their places in the world, metres to the right.
PICTURES = {
    "000000001.jpg": ("train", (240, 320), {0: 0.0}),
    "000000002.jpg": ("train", (420, 300), {1: -1.1, 2: 1.1}),
    "000000003.jpg": ("val", (260, 300), {3: 0.0}),
    "000000004.jpg": ("none", (200, 200), {4: 0.0}),
    "000000005.jpg": ("train", (200, 300), {5: 0.0}),
}


@cache
def drawn(name):
    """The picture, and mask, all 18 joints (continuous pixels) and head box of each person."""
    _, size, people = PICTURES[name]
    picture, found = None, []
    for person, aside in people.items():
        vertices, joints = (part[0] + [1000 * aside, 0, 0] for part in walk(person, 1))
        at = middle(person, 1)
        K = np.array([[520.0, 0, size[0] / 2], [0, 520, size[1] / 2], [0, 0, 1]])
        camera = K, *looking(at + [0, -4300, 0], at)
        one, mask = film(person, vertices, *camera, size)
        px = pixels(*camera, joints)
        dot(one, px[0])
        picture = one if picture is None else np.where(mask[..., None] > 0, one, picture)
        neck, top = px[NAMES.index("neck")], px[NAMES.index("head")]
        box = np.array([[top[0] - 12, top[1] - 3], [top[0] + 14, neck[1]]])
        found.append((mask, px, box))
    return picture, found


def labels(name):
    """(joint number, x, y) of each person, pixels numbered from 1."""
    told = []
    for person, (_, px, _) in enumerate(drawn(name)[1]):
        ours = [NAMES.index(ALIKE.get(joint, joint)) for joint in JOINTS16]
        points = [(number, *(px[i] + 0.5)) for number, i in enumerate(ours)]
        missing = MISSING.get((name, person))
        told.append([p for p in points if JOINTS16[p[0]] != missing])
    return told


def struct(rows, keys):
    """A MATLAB struct array of shape (1, n)."""
    array = np.empty((1, len(rows)), [(key, object) for key in keys])
    for i, row in enumerate(rows):
        for key in keys:
            array[0, i][key] = row[key]
    return array


def write_mat(path):
    """RELEASE, as mpii_human_pose_v1_u12_1.mat nests it."""
    pictures = []
    for name, (part, _, _) in PICTURES.items():
        rects = []
        for points, (_, _, box) in zip(labels(name), drawn(name)[1], strict=True):
            rect = {"scale": 1.5, "objpos": struct([{"x": 100, "y": 120}], ("x", "y"))}
            if part != "none":
                told = [
                    # Some of the release's joints do not say whether they are visible.
                    {"x": x, "y": y, "id": i, "is_visible": np.array([]) if i == 7 else i % 2}
                    for i, x, y in points
                ]
                point = struct(told, ("x", "y", "id", "is_visible"))
                rect["annopoints"] = struct([{"point": point}], ("point",))
                rect |= dict(zip(("x1", "y1", "x2", "y2"), box.ravel() + 0.5, strict=True))
            rects.append(rect)
        if name == BYSTANDER:
            rects.append(dict.fromkeys(rects[0], np.array([])))
        pictures.append(
            {
                "image": struct([{"name": name}], ("name",)),
                "annorect": struct(rects, tuple(rects[0])),
                "frame_sec": np.array([]),
                "vididx": np.array([]),
            }
        )
    training = np.array([[float(part != "none") for part, *_ in PICTURES.values()]])
    single = np.empty((len(PICTURES), 1), object)
    single[:, 0] = [np.array([[1.0]])] * len(PICTURES)
    release = {
        "annolist": struct(pictures, ("image", "annorect", "frame_sec", "vididx")),
        "img_train": training,
        "version": "12",
        "single_person": single,
    }
    savemat(path, {"RELEASE": struct([release], tuple(release))})


def write_json(folder):
    """annot/mpii_train.json, mpii_val.json and mpii_gt_val.mat."""
    folder.mkdir()
    for part in ("train", "val"):
        people, boxes = [], []
        for name, (of, *_) in PICTURES.items():
            for points, (_, _, box) in zip(labels(name), drawn(name)[1], strict=True):
                if of == part:
                    joints, there = np.full((16, 2), -1.0), np.zeros(16, int)
                    for number, x, y in points:
                        joints[number], there[number] = (x, y), 1
                    people.append(
                        {
                            "image": name,
                            "joints": joints.tolist(),
                            "joints_vis": there.tolist(),
                            "center": [100.0, 120.0],
                            "scale": 1.5,
                        }
                    )
                    boxes.append(box + 0.5)
        (folder / f"mpii_{part}.json").write_text(json.dumps(people))
        if part == "val":
            savemat(folder / "mpii_gt_val.mat", {"headboxes_src": np.stack(boxes, -1)})


def make(root, kind):
    """Pictures, masks, and labels as mat or json."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for name in PICTURES:
        picture, people = drawn(name)
        options = [cv2.IMWRITE_JPEG_QUALITY, 97]
        cv2.imwrite(str(root / "images" / name), picture[..., ::-1], options)
        stem = name.removesuffix(".jpg")
        for person, (mask, _, _) in enumerate(people):
            numbered = len(people) > 1 or name == BYSTANDER  # alone, one needs no number
            cv2.imwrite(str(root / "masks" / f"{stem}{f'_{person}' * numbered}.png"), mask)
    if kind == "json":
        write_json(root / "annot")
    else:
        write_mat(root / MAT)
    return root
