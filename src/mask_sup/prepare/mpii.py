"""MPII: single pictures of people, labelled in the picture alone (PCKh); it has no masks.

    images/015601864.jpg     or mpii_human_pose_v1/images/
and labels in the original file, whose people with labels are all for training:
    mpii_human_pose_v1_u12_1.mat     or mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat
or, where there is a folder annot, in the files that most programs use:
    annot/mpii_train.json, annot/mpii_val.json
    annot/mpii_gt_val.mat     sizes of heads for PCKh
Masks, of one person each, numbered from 0 in the order of the labels of the picture (of the .mat,
all people in it; of the .json, those that this file lists):
    masks/015601864_0.png     or masks/015601864.png where there is one person

Pixels of all these files are numbered from 1: the middle of the first one is at 1, and at 0.5 in
the continuous pixels of the store.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mask_sup.prepare.frames import Pictures
from mask_sup.prepare.protocol import Protocol
from mask_sup.prepare.release import Clip, Release, names_in, refuse_missing

__all__ = ["JOINTS", "find_clips", "human18"]

PER_CLIP = 500  # people: what is done at a time, and done again by a run that was stopped
MAT = "mpii_human_pose_v1_u12_1.mat"
HEAD = 0.6  # size of a head over the diagonal of its box, by the definition of PCKh
NONE = 16  # after the 16 joints
# Of the 16 joints: human18 without spine and nose.
JOINTS = (6, 2, 1, 0, 3, 4, 5, NONE, 8, NONE, 9, 13, 14, 15, 12, 11, 10, 7)


class Person(NamedTuple):
    """A labelled person in a picture."""

    picture: str  # name of its file
    index: int  # among the people of the picture
    alone: bool
    joints_px: np.ndarray  # (16, 2) continuous pixels, NaN where there is no label
    head_px: float  # or NaN


def human18(joints: np.ndarray) -> np.ndarray:
    """(..., 18, 2) from the data set's (..., 16, 2); spine and nose are NaN."""
    none = np.full_like(joints[..., :1, :], np.nan)
    return np.concatenate([joints, none], axis=-2)[..., JOINTS, :]


def find_clips(root: Path, protocol: Protocol, masks: Path | None = None) -> Release:
    """The people that a protocol asks for, as sequences of at most 500 pictures.

    Args:
        root: Folder of the release.
        protocol: Which of train and val, as subjects, and which pictures.
        masks: Folder with the masks.

    Raises:
        FileNotFoundError: If this is no such release, or a file that should be there is missing;
            with all that are missing.
        ValueError: If a file is damaged or of another kind.
    """
    asked = {subject for split in protocol.splits.values() for subject in split.subjects}
    if unknown := sorted(asked - {"train", "val"}):
        raise ValueError(f"protocol {protocol.name} asks for {unknown}: MPII has train and val")
    if masks is None:
        raise FileNotFoundError(
            "MPII has no masks: make one of each person with a segmentation model and give their "
            "folder by --masks, with 015601864_0.png for person 0 of images/015601864.jpg"
        )
    layout, people, notes = _people(root, sorted(asked))
    images = next(
        (p for p in (root / "images", root / "mpii_human_pose_v1" / "images") if p.is_dir()),
        root / "images",
    )
    clips, no_picture, no_mask = [], [], []
    for subject, everyone in people.items():
        for first in range(0, len(everyone), PER_CLIP):
            name = f"{subject}/{first // PER_CLIP:04d}"
            clip = _clip(name, protocol, everyone[first : first + PER_CLIP], images, masks)
            for number in sorted({n for chosen in clip.frames.values() for n in chosen}):
                picture, mask = (s[0].paths[number] for s in (clip.pictures, clip.masks))
                no_picture += [] if picture.is_file() else [picture]
                no_mask += [] if mask.is_file() else [mask]
            clips.append(clip)
    refuse_missing(no_picture, root)
    if no_mask:
        some = "\n  ".join(str(path) for path in no_mask[:10])
        raise FileNotFoundError(
            f"{len(no_mask)} people have no mask; the first are\n  {some}\nmake the masks of all "
            "people with a segmentation model, named after picture and person"
        )
    return Release(clips, layout, f"given in {masks}", {}, notes)


def _people(root: Path, asked: list[str]) -> tuple[str, dict[str, list[Person]], list[str]]:
    """Name of the layout, labelled people of each part, and notes."""
    if (root / "annot").is_dir():
        paths = {part: root / "annot" / f"mpii_{part}.json" for part in asked}
        refuse_missing([path for path in paths.values() if not path.is_file()], root)
        heads = {part: root / "annot" / f"mpii_gt_{part}.mat" for part in asked}
        notes = [
            f"{part}: no {path.name}, so no size of heads, which PCKh needs"
            for part, path in heads.items()
            if not path.is_file()
        ]
        return "json", {part: _from_json(paths[part], heads[part]) for part in asked}, notes
    for path in (root / MAT, root / MAT.replace("_1.mat", "_2") / MAT):
        if path.is_file():
            people, notes = _from_mat(path)
            if "val" in asked:
                notes.append(f"{MAT} has no part val: that is in annot/mpii_val.json")
            return "mat", {"train": people} if "train" in asked else {}, notes
    raise FileNotFoundError(
        f"no MPII in {root}: expected annot/mpii_train.json or {MAT}, and images/, found "
        f"{names_in(root)}"
    )


def _from_json(path: Path, heads: Path) -> list[Person]:
    """People of one part; sizes of heads where that file is there."""
    from scipy.io import loadmat

    try:
        told = json.loads(path.read_text())
        joints = np.array([entry["joints"] for entry in told], float).reshape(-1, 16, 2)
        there = np.array([entry["joints_vis"] for entry in told]).reshape(-1, 16) > 0
        names = [str(entry["image"]) for entry in told]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}: {error}): expected a list of people "
            "with image, joints (16 of 2) and joints_vis (16); copy it again"
        ) from error
    head = np.full(len(told), np.nan)
    if heads.is_file():
        try:
            corners = loadmat(heads)["headboxes_src"].astype(float)
        except Exception as error:  # scipy raises whatever its bytes lead to
            raise ValueError(
                f"{heads} cannot be read ({type(error).__name__}: {error}): expected headboxes_src"
            ) from error
        if corners.shape != (2, 2, len(told)):
            raise ValueError(
                f"{heads}: headboxes_src has the shape {corners.shape}, but {path} has "
                f"{len(told)} people: expected (2, 2, {len(told)}), files of two versions"
            )
        head = HEAD * np.linalg.norm(corners[1] - corners[0], axis=0)
    px = np.where(there[..., None], _continuous(joints), np.nan)
    people, total, seen = [], Counter(names), Counter()
    for name, labels, size in zip(names, px, head, strict=True):
        people.append(Person(name, seen[name], total[name] == 1, labels, float(size)))
        seen[name] += 1
    return people


def _from_mat(path: Path) -> tuple[list[Person], list[str]]:
    """People with labels in the original file, and how many pictures have none."""
    from scipy.io import loadmat

    people, without = [], 0
    try:
        release = loadmat(path, squeeze_me=True, struct_as_record=False)["RELEASE"]
        training = np.atleast_1d(release.img_train) > 0
        for picture, is_training in zip(_listed(release.annolist), training, strict=True):
            rects = _listed(getattr(picture, "annorect", [])) if is_training else []
            labelled = [(i, rect) for i, rect in enumerate(rects) if _points(rect)]
            without += not labelled
            for i, rect in labelled:
                joints = np.full((16, 2), np.nan)
                for point in _points(rect):
                    joints[int(point.id)] = _continuous(np.array([point.x, point.y], float))
                name, alone = str(picture.image.name), len(rects) == 1
                people.append(Person(name, i, alone, joints, _head_size(rect)))
    except Exception as error:  # scipy raises whatever its bytes lead to
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}: {error}): expected RELEASE with "
            "annolist and img_train; copy it again from the release"
        ) from error
    return people, [f"{without} pictures are not for training or have no labels: left out"]


def _points(rect: Any) -> list[Any]:
    """The labelled joints of a person."""
    points = getattr(rect, "annopoints", None)
    return _listed(getattr(points, "point", []))


def _head_size(rect: Any) -> float:
    """What PCKh is relative to; NaN where a person has no box around the head."""
    x1, y1, x2, y2 = (getattr(rect, key, np.nan) for key in ("x1", "y1", "x2", "y2"))
    boxed = all(np.size(value) for value in (x1, y1, x2, y2))
    return HEAD * float(np.hypot(x2 - x1, y2 - y1)) if boxed else np.nan


def _listed(value: Any) -> list[Any]:
    """Elements of a MATLAB array, which scipy gives without a list around one."""
    return list(np.atleast_1d(value))


def _continuous(px: np.ndarray) -> np.ndarray:
    """Continuous pixels of pixels numbered from 1."""
    return px - 0.5


def _clip(name: str, protocol: Protocol, people: list[Person], images: Path, masks: Path) -> Clip:
    """Some people; frames are places in their list."""
    return Clip(
        name,
        "",
        protocol.frames(*name.split("/"), len(people)),
        ("0",),
        K=np.full((1, 3, 3), np.nan),
        R=np.full((1, 3, 3), np.nan),
        t=np.full((1, 3), np.nan),
        distortion=np.zeros((1, 5)),
        pictures=(Pictures(tuple(images / person.picture for person in people)),),
        masks=(Pictures(tuple(_mask(masks, person) for person in people), mask=True),),
        joints_world=np.full((len(people), 18, 3), np.nan),
        joints_px=human18(np.stack([person.joints_px for person in people]))[:, None],
        head_px=np.array([[person.head_px] for person in people]),
    )


def _mask(folder: Path, person: Person) -> Path:
    stem = Path(person.picture).stem
    alone = folder / f"{stem}.png"
    return alone if person.alone and alone.is_file() else folder / f"{stem}_{person.index}.png"
