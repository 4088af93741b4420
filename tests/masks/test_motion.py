"""Masks that lack what moves, and masks of another camera."""

import json

import cv2
import numpy as np
import pytest

from mask_sup.masks.background import lab_of
from mask_sup.masks.gate import check
from mask_sup.masks.motion import motion_of, partial, swapped


def motion(frames, masks):
    return motion_of([lab_of(frame).astype(np.uint8) for frame in frames], masks)


def upper(masks):
    """Nothing below the hips."""
    return [mask & (np.arange(len(mask)) < 100)[:, None] for mask in masks]


def test_what_moves_is_in_true_masks(walk):
    frames, masks = walk(bystander=False)
    found = motion(frames, masks)
    assert not partial(found)
    assert (found.moves & found.masks).sum() > 0.99 * found.moves.sum() > 0


def test_legs_that_no_mask_holds_are_missed(walk):
    frames, masks = walk(bystander=False)
    assert partial(motion(frames, upper(masks)))


def test_somebody_else_who_moves_is_no_missing_part(walk):
    frames, masks = walk(bystander=False)
    for i, frame in enumerate(frames):
        cv2.circle(frame, (200, 20 + 2 * i), 14, (250, 250, 0), -1)
    assert not partial(motion(frames, masks))


def test_a_still_picture_tells_nothing(walk):
    frames, masks = walk(count=2)
    still = motion([frames[0]] * 10, upper([masks[0]] * 10))
    assert not partial(still)
    assert swapped({"cam01": still, "cam02": still}) == {}


def test_masks_that_are_empty_in_some_frames_are_not_swapped(walk):
    """Another camera's lie much where the figure walks, and are all there."""
    frames, masks = walk(bystander=False)
    other = motion(frames, [cv2.dilate(np.uint8(mask), np.ones((9, 9))) > 0 for mask in masks])
    gone = [mask & (i < len(masks) // 2) for i, mask in enumerate(masks)]
    assert swapped({"cam01": motion(frames, gone), "cam02": other}) == {}
    assert swapped({"cam01": motion(frames, [mask[::-1] for mask in masks]), "cam02": other})


@pytest.fixture
def two(tmp_path, walk):
    """Footage and masks of two cameras, one of which sees the figure from the other side."""
    views = {"cam01": walk(bystander=False), "cam02": walk(bystander=False, seed=1)}
    for camera, (frames, masks) in views.items():
        for kind, pictures in (("frames", frames), ("masks", masks)):
            (tmp_path / kind / camera).mkdir(parents=True)
            for i, picture in enumerate(pictures):
                picture = np.uint8(picture * 255) if kind == "masks" else picture[..., ::-1]
                turned = picture[:, ::-1] if camera == "cam02" else picture
                cv2.imwrite(str(tmp_path / kind / camera / f"{i:06d}.png"), turned)
    return tmp_path


def test_masks_in_the_folder_of_another_camera_are_told(two, compose_config, capsys):
    words = [f"masks={two / 'masks'}", f"input={two / 'frames'}"]

    def kinds():
        told = json.loads(check(compose_config("check_masks", *words)).read_text())["cameras"]
        return {kind for one in told.values() for found in one["flags"].values() for kind in found}

    assert not {"swapped", "partial"} & kinds()
    for name, to in (("cam01", "x"), ("cam02", "cam01"), ("x", "cam02")):
        (two / "masks" / name).rename(two / "masks" / to)
    assert "swapped" in kinds()
    said = " ".join(capsys.readouterr().out.split())
    assert "cam01: swapped in 24 of 24 frames (0-23): " in said
    assert "exchange the folders" in said
