"""One reader of poses.npz, and one check in it."""

import json

import numpy as np
import pytest

from mask_sup.export import read_clip
from mask_sup.files.poses import SHAPES, read_poses


@pytest.fixture
def changed(tmp_path, human18):
    """Changes of header and arrays (None: gone) -> a poses.npz of three frames and two views."""
    sizes = {"n": 3, "v": 2, "j": len(human18.joints), "l": 5}
    arrays = {name: np.ones([sizes.get(a, a) for a in axes]) for name, axes in SHAPES.items()}
    arrays["pictures"] = arrays["pictures"].astype(str)
    header = {
        "version": 2,
        "joints": list(human18.joints),
        "parents": dict(human18.parents),
        "fps": 25,
        "limbs": ["trunk", "right leg", "left leg", "right arm", "left arm"],
    }

    def write(head=None, **changes):
        told = {key: value for key, value in (header | (head or {})).items() if value is not ...}
        found = {key: value for key, value in (arrays | changes).items() if value is not None}
        np.savez(tmp_path / "poses.npz", header=np.array(json.dumps(told)), **found)
        return tmp_path / "poses.npz"

    return write


def test_what_fits_is_read(changed):
    assert read_poses(changed())[1]["joints_px"].shape == (3, 2, 18, 2)


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: a[:, None],
        lambda a: a[:-1],
        lambda a: a.reshape(-1, 1),
        lambda a: np.array(1.0),
        lambda a: a.astype(float) if a.dtype.kind == "U" else a.astype(str),
    ],
)
def test_arrays_that_do_not_fit_are_named(changed, name, spoil):
    array = (
        np.full([3, 2], "1")
        if name == "pictures"
        else np.ones([{"n": 3, "v": 2, "j": 18, "l": 5}.get(a, a) for a in SHAPES[name]])
    )
    with pytest.raises(ValueError, match=r"(?s)poses.npz: .*(has the shape|holds).*predict again"):
        read_poses(changed(**{name: spoil(array)}))


@pytest.mark.parametrize("name", ["joints_px", "pictures", "joints_root_mm"])
def test_arrays_that_are_needed_are_named(changed, name):
    with pytest.raises(ValueError, match=rf"lacks \['{name}'\]"):
        read_poses(changed(**{name: None}))


@pytest.mark.parametrize("name", ["reprojected_px", "confidence", "picture_size_px"])
def test_what_an_export_needs_beside_is_named(changed, name):
    with pytest.raises(ValueError, match=rf"lacks \['{name}'\]"):
        read_clip(changed(**{name: None}))


@pytest.mark.parametrize("fps", [0, -25, float("nan"), float("inf"), "25", True, [25]])
def test_a_frame_rate_that_is_none_is_named(changed, fps):
    with pytest.raises(ValueError, match="fps of its header is .*above 0, or null"):
        read_clip(changed(head={"fps": fps}))


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ({"joints": ["a", "a"]}, "names that differ"),
        ({"joints": "abc"}, "a list of names"),
        ({"joints": [1, 2]}, "a list of names"),
        ({"joints": []}, "names that differ"),
        ({"parents": {"neck": "nobody"}}, "expected a joint for each joint"),
        ({"parents": {"neck": ["spine"]}}, "expected a joint for each joint"),
        ({"parents": [1]}, "expected a joint for each joint"),
        ({"parents": {}}, "no tree with one root"),
        ({"input": 3}, "are texts"),
    ],
)
def test_a_header_that_does_not_fit_is_told(changed, head, says):
    with pytest.raises(ValueError, match=f"poses.npz: .*{says}.*predict again"):
        read_poses(changed(head=head))


def test_parents_in_a_circle_are_no_tree(changed, human18):
    parents = dict(human18.parents)
    first, second = list(parents)[:2]
    parents |= {first: second, second: first}
    with pytest.raises(ValueError, match="no tree with one root"):
        read_poses(changed(head={"parents": parents}))
