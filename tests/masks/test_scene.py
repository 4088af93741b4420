"""Chairs and shadows in masks of a figure that walks, or that stays where it is."""

import cv2
import numpy as np
import pytest
from footage import Frames

from mask_sup.masks.scene import fixed_outline, scene_in, standing_object

CHAIR = np.s_[100:146, 158:190]  # the person touches it in the end


@pytest.fixture
def looked_at(tmp_path):
    """Frames, masks -> kinds per frame."""

    def look(frames, masks):
        files = {}
        for i, mask in enumerate(masks):
            files[i] = tmp_path / f"{i:06d}.png"
            cv2.imwrite(str(files[i]), mask.astype(np.uint8) * 255)
        return scene_in(files, Frames(frames) if frames is not None else None).kinds

    return look


def cast(frames, masks):
    """Frames and masks with a soft shadow on the floor beside the feet, in the masks."""
    dark, larger = [], []
    for frame, mask in zip(frames, masks, strict=True):
        x = int(np.nonzero(mask)[1].mean()) + 14
        light = np.ones(mask.shape, np.float32)
        cv2.ellipse(light, (x, 148), (36, 9), 0, 0, 360, 0.6, -1)
        light = cv2.GaussianBlur(light, (0, 0), 1.5)
        light[mask] = 1
        dark.append((frame * light[..., None]).astype(np.uint8))
        larger.append(mask | (light < 0.9))
    return dark, larger


def test_good_masks_are_left_alone(looked_at, walk):
    assert looked_at(*walk(bystander=False)) == {}
    assert looked_at(*walk(stays=0.9, bystander=False)) == {}


def test_a_chair_is_found_where_it_stands_although_the_person_passes_it(looked_at, walk):
    frames, masks = walk(bystander=False)
    for mask in masks:
        mask[CHAIR] = True
    found = standing_object(np.stack(masks))
    where = np.zeros_like(found)
    where[CHAIR] = True
    assert (found & where).sum() > 0.95 * (found | where).sum()
    assert looked_at(None, masks) == {i: ["object"] for i in range(len(masks))}
    assert looked_at(frames, masks) == {i: ["object"] for i in range(len(masks))}


def test_a_chair_is_found_although_the_person_stays_before_it(looked_at, walk):
    _, masks = walk(stays=0.5, bystander=False)
    for mask in masks:
        mask[104:146, 98:140] = True  # the person stands at 95 for most of the time
    assert not standing_object(np.stack(masks)).any()  # its surroundings are not seldom free
    assert fixed_outline(np.stack(masks)) > 0.16
    assert looked_at(None, masks) == {i: ["object"] for i in range(len(masks))}


def test_who_sways_where_they_stand_is_no_object(looked_at, walk):
    _, masks = walk(count=2)
    swaying = []
    for i in range(40):
        lean = np.float32([[1, -0.06 * np.sin(i / 3), 0.06 * 146 * np.sin(i / 3)], [0, 1, 0]])
        mask = cv2.warpAffine(masks[0].astype(np.uint8), lean, masks[0].shape[::-1])
        swaying.append(mask > 0)
    assert fixed_outline(np.stack(swaying)) < 0.16
    assert looked_at(None, swaying) == {}


def test_a_person_who_stands_still_is_no_object(walk):
    _, masks = walk(count=2)
    assert not standing_object(np.stack([masks[0]] * 20)).any()
    assert fixed_outline(np.stack([masks[0]] * 20)) == 0
    assert not standing_object(np.ones((20, 40, 40), bool)).any()


def test_a_shadow_is_found_in_the_frames_that_have_one(looked_at, walk):
    frames, masks = walk(bystander=False)
    dark, larger = cast(frames, masks)
    assert looked_at(None, larger) == {}  # without pictures it may be anything
    told = looked_at(dark[:12] + frames[12:], larger[:12] + masks[12:])
    assert set(told) <= set(range(12))
    assert len(told) >= 10
    assert all(kinds == ["shadow"] for kinds in told.values())


def test_the_shadow_of_somebody_who_stays_is_found_by_the_floor_beside_it(looked_at, walk):
    """No frame shows the floor under it; a plain one looks there as it does beside."""
    frames, masks = (part[12:36] for part in walk(count=48, stays=0.9, bystander=False))
    plain = [cv2.GaussianBlur(frame, (0, 0), 15) for frame in frames]
    frames = [np.where(m[..., None], f, p) for f, m, p in zip(frames, masks, plain, strict=True)]
    told = looked_at(*cast(frames, masks))
    assert sum("shadow" in kinds for kinds in told.values()) > 0.8 * len(masks)
    assert not any("shadow" in kinds for kinds in looked_at(frames, masks).values())


def test_a_shadow_that_is_no_part_of_the_mask_is_fine(looked_at, walk):
    frames, masks = walk(bystander=False)
    assert looked_at(cast(frames, masks)[0], masks) == {}


def test_frames_between_those_of_the_sample_are_told_like_the_nearer_one(
    looked_at, walk, monkeypatch
):
    monkeypatch.setattr("mask_sup.masks.sample.SAMPLE", 12)
    frames, masks = walk(bystander=False)
    told = looked_at(*cast(frames, masks))
    assert len(told) >= 20


def test_few_masks_tell_nothing(looked_at, walk):
    assert looked_at(None, walk(count=3)[1]) == {}
