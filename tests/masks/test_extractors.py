import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import Frames
from omegaconf import OmegaConf

from mask_sup.files.build import build
from mask_sup.files.config import conf_dir
from mask_sup.masks.background import Plate, grow_plate, lab_of
from mask_sup.masks.chroma import ChromaKey
from mask_sup.masks.extract import mask_frames, survey_camera
from mask_sup.masks.extractor import components, fill_holes
from mask_sup.masks.followed import followed
from mask_sup.masks.learned import Sam, inner_points
from mask_sup.masks.survey import motion_energy

SETTINGS = {"size": 960, "samples": 41, "roi": None}
PLATE = {
    "_target_": "mask_sup.masks.background.Plate",
    "plates": None,
    "threshold": 9.0,
    "shadow_colour": 5.0,
    "closing": 0.0042,
}


def extract(extractor, frames, person=0):
    footage, who = Frames(frames), {}
    if person is not None and not extractor.final:
        surveys = [survey_camera(footage, extractor, SETTINGS)]
        who = followed(surveys, person, Path("memory"), [footage])
    found = mask_frames(footage, extractor, SETTINGS, range(len(frames)), who.get("cam01"))
    return [mask > 0 for _, mask in found]


@pytest.fixture(scope="module")
def extractor(compose_config):
    return lambda *overrides: build(compose_config("masks", *overrides).extractor, "extractor")


# ---- how good they are ---------------------------------------------------------------------------

# Measured on this footage: 0.86, 0.95, 0.94, 0.93 (mean overlap).
LEAST = {"plate": 0.82, "mog2": 0.9, "knn": 0.9, "grabcut": 0.89}


@pytest.mark.parametrize("name", LEAST)
def test_the_walking_figure_is_found_beside_a_bystander(name, extractor, walk, iou):
    frames, masks = walk()
    assert iou(extract(extractor(f"extractor={name}"), frames), masks) > LEAST[name]


def test_a_plate_grows_behind_a_figure_that_stands_for_half_of_the_time(walk):
    frames, masks = walk(stays=0.6, bystander=False)
    covered = np.mean(masks, 0)
    often = (covered > 0.5) & (covered < 0.8)
    assert often.sum() > 300  # where a median shows the figure
    empty = lab_of(walk(count=1, bystander=False)[0][0])
    empty_seen = ~np.any([walk(count=1, bystander=False)[1][0]], 0)
    plate, free, _ = grow_plate([lab_of(frame) for frame in frames])
    median = np.median([lab_of(frame) for frame in frames], 0)
    there = often & empty_seen
    wrong = [np.abs(one - empty).max(-1)[there].mean() for one in (plate, median)]
    assert wrong[0] < 0.5 * wrong[1]
    assert free[~np.any(masks, 0)].mean() > 0.98


def test_nothing_stays_the_same_is_an_error(walk):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (40, 60, 3)).astype(np.float32) for _ in range(8)]
    with pytest.raises(ValueError, match="no part of the scene stays the same: the camera moves"):
        grow_plate(noise)


def test_given_plates_need_no_first_pass_and_suppress_shadows(tmp_path, walk, iou):
    frames, masks = walk(bystander=False)
    empty = np.median(frames, 0).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "cam01.png"), empty[..., ::-1])
    shadowed = []
    for frame, mask in zip(frames, masks, strict=True):
        ground = frame.astype(float)
        shadow = np.roll(mask, 35, axis=1) & ~mask
        ground[shadow] *= 0.75
        shadowed.append(ground.astype(np.uint8))
    extractor = build(PLATE | {"plates": str(tmp_path), "shadow_colour": 12.0}, "extractor")
    assert not extractor.watches
    with_shadow = iou(extract(extractor, shadowed), masks)
    without = build(PLATE | {"plates": str(tmp_path), "shadow_colour": 0.0}, "extractor")
    assert with_shadow > iou(extract(without, shadowed), masks) + 0.1


def test_a_video_of_the_empty_scene_is_a_plate(tmp_path, walk, write_video, iou):
    frames, masks = walk(count=12, stays=0.9, bystander=False)  # it hardly leaves its spot
    empty = np.where(np.stack(masks)[..., None], 0, np.stack(frames)).max(0)
    passing = empty.copy()  # somebody runs through the picture while it is filmed
    passing[:, 100:140] = 255
    scene = [empty] * 8 + [passing] * 3 + [empty] * 8
    write_video(tmp_path / "cam01.mp4", scene)
    given = build(PLATE | {"plates": str(tmp_path)}, "extractor")
    made = iou(extract(build(PLATE, "extractor"), frames), masks)
    assert iou(extract(given, frames), masks) > max(0.75, made + 0.2)
    assert np.abs(given.plate.astype(int) - empty)[:, 100:140].mean() < 5
    cv2.imwrite(str(tmp_path / "cam01.png"), empty[..., ::-1])
    with pytest.raises(FileNotFoundError, match=r"found \['cam01.png', 'cam01.mp4'\]"):
        extract(build(PLATE | {"plates": str(tmp_path)}, "extractor"), frames)


def test_plates_of_another_shape_or_camera_are_refused(tmp_path, walk):
    frames, _ = walk(count=2)
    cv2.imwrite(str(tmp_path / "cam01.png"), np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(ValueError, match="plate of 'cam01' .* is 50x50, a shape other than"):
        extract(build(PLATE | {"plates": str(tmp_path)}, "extractor"), frames)
    (tmp_path / "cam01.png").rename(tmp_path / "cam02.png")
    with pytest.raises(FileNotFoundError, match=r"no plate of camera 'cam01'.*found \[\]"):
        extract(build(PLATE | {"plates": str(tmp_path)}, "extractor"), frames)


def green(frames, masks):
    screens = []
    for frame, mask in zip(frames, masks, strict=True):
        screen = np.full_like(frame, (40, 170, 60))
        screen[mask] = frame[mask]
        screens.append(screen)
    return screens


@pytest.mark.parametrize("override", ["extractor.hue=null", "extractor.hue=[100,160]"])
def test_a_green_screen_is_taken_off(override, extractor, walk, iou):
    frames, masks = walk(count=8)
    found = extract(extractor("extractor=chroma", override), green(frames, masks))
    assert iou(found, masks) > 0.93  # measured: 0.97


def test_a_screen_that_passes_red(extractor, walk, iou):
    frames, masks = walk(count=4)
    screens = [screen[..., [1, 0, 2]] for screen in green(frames, masks)]
    grey = [np.where(m[..., None], np.uint8(90), s) for s, m in zip(screens, masks, strict=True)]
    found = extract(extractor("extractor=chroma", "extractor.hue=[330,380]"), grey)
    assert iou(found, masks) > 0.93


def test_a_border_without_one_colour_is_no_screen(extractor, walk):
    with pytest.raises(ValueError, match=r"no key colour at the border.*extractor.hue=\[90,150\]"):
        extract(extractor("extractor=chroma"), walk(count=4)[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0.0}, "threshold=0.0: expected a Lab difference above 0"),
        ({"_target_": "mask_sup.masks.chroma.ChromaKey"}, "cannot build"),
    ],
)
def test_wrong_keys_are_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build(PLATE | changes, "extractor")


def test_wrong_values_are_refused(extractor):
    with pytest.raises(ValueError, match=r"hue=\[150, 90\]: expected \[from, to\]"):
        ChromaKey([150, 90], 30.0, 0.2, 0.2, 2)
    with pytest.raises(ValueError, match="kind='mog3': expected one of"):
        extractor("extractor=mog2", "extractor.kind=mog3")
    with pytest.raises(ValueError, match="scene=60.0: expected a share"):
        extractor("extractor=mog2", "extractor.scene=60.0")


# ---- the person ----------------------------------------------------------------------------------


def blocks(*places):
    mask = np.zeros((100, 200), bool)
    for x, y, width, height in places:
        mask[y : y + height, x : x + width] = True
    return mask


def test_what_stands_still_has_no_motion_energy(walk):
    frames, masks = walk()
    motion = motion_energy(np.stack(frames))
    walked = np.any(masks, 0)
    assert motion[:, 185:].mean() < 0.2
    assert motion[walked].mean() > 5


# ---- morphology ----------------------------------------------------------------------------------


def test_components_come_largest_first():
    labels, areas, centroids = components(blocks((0, 0, 5, 5), (50, 50, 20, 10)))
    assert areas.tolist() == [200, 25]
    assert labels[55, 55] == 1
    assert labels[2, 2] == 2
    assert centroids[0].tolist() == [59.5, 54.5]


def test_holes_are_filled_where_allowed_or_small():
    ring = blocks((10, 10, 60, 60)) & ~blocks((20, 20, 20, 20), (60, 60, 3, 3))
    nowhere = np.zeros_like(ring)
    assert fill_holes(ring, nowhere, 20).sum() == 60 * 60 - 400  # the small hole alone
    assert fill_holes(ring, blocks((18, 18, 30, 30)), 20).sum() == 60 * 60
    assert not fill_holes(blocks(), nowhere, 20).any()


# ---- networks of others --------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "module"), [("sam", "transformers"), ("rembg", "rembg")])
def test_a_missing_package_is_named_with_its_extra(name, module, extractor, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'mask-sup\[{name}\]'"):
        extractor(f"extractor={name}", "extractor.weights=here")


def whole_figure(picture):
    """A network that knows the figure's colours: it is darker than the scene."""
    return (picture.astype(int).sum(-1) < 270).astype(np.float32)


def test_rembg_sees_the_surroundings_of_the_person(extractor, walk, monkeypatch, tmp_path):
    shapes = []

    def remove(picture, session, only_mask):
        assert only_mask
        assert session == ("u2net_custom", str(tmp_path / "u2net.onnx"))
        shapes.append(picture.shape)
        return (whole_figure(picture) * 255).astype(np.uint8)

    fake = types.SimpleNamespace(
        new_session=lambda kind, model_path: (kind, model_path), remove=remove
    )
    monkeypatch.setitem(sys.modules, "rembg", fake)
    weights = f"extractor.weights={tmp_path / 'u2net.onnx'}"
    with pytest.raises(FileNotFoundError, match=r"no weights at .*u2net\.onnx: expected an \.onnx"):
        extractor("extractor=rembg", weights)
    (tmp_path / "u2net.onnx").touch()
    frames, masks = walk(count=12)
    found = extract(extractor("extractor=rembg", weights), frames)
    assert max(width for _, width, _ in shapes) < frames[0].shape[1]
    assert not np.any(found[:6], 0)[:, 190:].any()  # not the bystander


def test_points_lie_deep_inside_and_apart():
    mask = blocks((10, 10, 100, 30))
    points = inner_points(mask, 3)
    assert points.shape == (3, 2)
    for x, y in points:
        assert mask[int(y) - 5 : int(y) + 6, int(x) - 5 : int(x) + 6].all()
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(3, 1)]
    assert apart.min() > 15
    assert inner_points(blocks(), 3).shape == (0, 2)


class Prompted:
    """A Segment Anything that fills the box it is given."""

    config = types.SimpleNamespace(prompt_encoder_config=types.SimpleNamespace(image_size=64))

    def __call__(self, pixel_values, input_boxes, input_points, input_labels):
        import torch

        assert pixel_values.shape == (1, 3, 64, 64)
        assert input_points.shape[:2] == input_boxes.shape[:2] == (1, 1)
        assert input_labels.shape == input_points.shape[:3]
        left, top, right, bottom = (input_boxes[0, 0] / 4).round().int().tolist()
        masks = torch.full((1, 1, 3, 16, 16), -5.0)
        masks[0, 0, 1, top:bottom, left:right] = 5
        return types.SimpleNamespace(pred_masks=masks, iou_scores=torch.tensor([[[0.1, 0.9, 0.2]]]))


@pytest.mark.parametrize("keeps_shape", [True, False])
def test_sam_is_asked_for_the_box_of_the_person(keeps_shape, walk):
    frames, masks = walk(count=12, bystander=False)
    sam = Sam.__new__(Sam)
    super(Sam, sam).__init__(build(PLATE, "extractor"))
    sam.model, sam.keeps_shape, sam.points, sam.device = Prompted(), keeps_shape, 2, "cpu"
    for found, mask in zip(extract(sam, frames), masks, strict=True):
        box, true = (cv2.boundingRect(one.astype(np.uint8)) for one in (found, mask))
        assert np.abs(np.array(box) - true).max() <= 16  # a cell of the coarse answer is 15 pixels


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_sam_of_transformers_answers(kind, tmp_path, walk):
    transformers = pytest.importorskip("transformers")
    tiny_sam(transformers, kind).save_pretrained(tmp_path)
    sam = Sam(build(PLATE, "extractor"), str(tmp_path), points=2, device="cpu")
    assert sam.keeps_shape == (kind == "sam")
    frames, _ = walk(count=6)
    found = extract(sam, frames, person=None)
    assert [one.shape for one in found] == [frames[0].shape[:2]] * 6


PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")


def tiny_sam(transformers, kind):
    decoder = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "mlp_dim": 32,
        "iou_head_hidden_dim": 32,
    }
    if kind == "sam":
        vision = transformers.SamVisionConfig(
            hidden_size=32,
            output_channels=32,
            num_pos_feats=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            patch_size=16,
            mlp_dim=32,
            global_attn_indexes=[0],
        )
        prompt = transformers.SamPromptEncoderConfig(hidden_size=32, image_size=64, patch_size=16)
        mask = transformers.SamMaskDecoderConfig(**decoder)
        parts = dict(zip(PARTS, (vision, prompt, mask), strict=True))
        return transformers.SamModel(transformers.SamConfig(**parts))
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "blocks_per_stage": [1, 1, 2, 1],
        "global_attention_blocks": [3],
        "image_size": [128, 128],
    }
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        fpn_hidden_size=32,
    )
    prompt = transformers.Sam2PromptEncoderConfig(hidden_size=32, image_size=128, patch_size=16)
    mask = transformers.Sam2MaskDecoderConfig(**decoder)
    parts = dict(zip(PARTS, (vision, prompt, mask), strict=True))
    return transformers.Sam2Model(transformers.Sam2Config(**parts))


# ---- configs -------------------------------------------------------------------------------------


def test_every_extractor_composes_with_every_seed(compose_config):
    names = sorted(path.stem for path in (Path(conf_dir()) / "extractor").glob("*.yaml"))
    assert len(names) == 9
    for name in names:
        cfg = compose_config("masks", f"extractor={name}").extractor
        assert cfg._target_.startswith("mask_sup.masks.")
        if "seed" in cfg:
            assert cfg.seed == OmegaConf.create(PLATE)
    cfg = compose_config("masks", "extractor=grabcut", "extractor@extractor.seed=knn")
    assert build(cfg.extractor, "extractor").seed.kind == "knn"
    assert type(build(compose_config("masks").extractor, "extractor")) is Plate
