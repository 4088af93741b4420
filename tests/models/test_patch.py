import pytest
import torch
from torch import nn

from mask_sup.files.build import build
from mask_sup.files.config import plain
from mask_sup.models.checkpoint import load, save_checkpoint
from mask_sup.models.patch import PatchPyramid


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def pyramid(widths=(8, 12, 16), blocks=1, stem_stride=4):
    torch.manual_seed(0)
    return PatchPyramid(widths, blocks, stem_stride, channels_per_group=4)


@pytest.fixture(scope="module")
def config(compose_config):
    return compose_config("train", "detector=patch")


@pytest.fixture
def detector(config, human18):
    torch.manual_seed(0)
    return build(config.detector, "detector", skeleton=human18)


@pytest.mark.parametrize(
    ("stem_stride", "widths", "size", "expected"),
    [
        (4, (8, 12, 16), (64, 64), (16, 16)),
        (8, (8, 12, 16), (128, 128), (16, 16)),
        (4, (8, 12, 16), (32, 48), (8, 12)),
        (4, (8,), (12, 8), (3, 2)),
        (8, (8, 4), (16, 16), (2, 2)),
    ],
)
def test_features_are_the_image_over_the_stride(stem_stride, widths, size, expected):
    features = pyramid(widths, stem_stride=stem_stride)(images(2, 3, *size))
    assert features.shape == (2, 8, *expected)


@pytest.mark.parametrize(
    ("stem_stride", "size", "multiple"), [(4, (64, 72), 16), (8, (48, 64), 32), (4, (8, 16), 16)]
)
def test_images_that_do_not_fit_are_refused(stem_stride, size, multiple):
    network = pyramid(stem_stride=stem_stride)
    assert network.multiple == multiple
    message = rf"multiples of {multiple}, got \({size[0]}, {size[1]}\): change data.image_size"
    with pytest.raises(ValueError, match=message):
        network(images(1, 3, *size))


@pytest.mark.parametrize("stride", [2, 6, 16])
def test_other_strides_of_the_stem_are_refused(stride):
    with pytest.raises(ValueError, match=f"stem_stride is 4 or 8, not {stride}"):
        pyramid(stem_stride=stride)


def test_every_level_and_every_block_adds_to_the_features():
    network, image = pyramid(blocks=2), images(1, 3, 32, 32)
    whole = network(image)
    adding = [*network.up, *(level[k].body[-1] for level in network.levels for k in (1, 2))]
    assert len(adding) == 2 + 6
    for layer in adding:
        kept = layer.weight.detach().clone()
        nn.init.zeros_(layer.weight)
        assert (network(image) - whole).abs().max() > 1e-4
        layer.weight.data.copy_(kept)
    assert torch.equal(network(image), whole)


def test_a_patch_is_seen_whole_by_the_first_layer():
    # Every pixel of a 4x4 patch has weights of its own: none is lost by a stride.
    network = pyramid((8,))
    image = images(1, 3, 8, 8).requires_grad_()
    network.levels[0][0][0](network.patches(image))[0, 0, 1, 1].backward()
    assert (image.grad != 0).all()


def test_the_option_has_about_1_4_million_parameters(detector):
    assert 1.3e6 < sum(p.numel() for p in detector.parameters()) < 1.45e6
    counts = {
        m.num_channels // m.num_groups for m in detector.modules() if isinstance(m, nn.GroupNorm)
    }
    assert counts == {16}


def test_gradients_reach_every_parameter(detector):
    joints = detector.train()(images(2, 3, 64, 64))
    weight = torch.randn(joints.shape, generator=torch.Generator().manual_seed(2))
    (joints * weight).sum().backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if name != "head.heatmap.bias":  # shared by a whole softmax, it shifts nothing
            assert parameter.grad.abs().max() > 0, name


def test_a_mirror_image_is_averaged_in(detector, human18):
    detector.head.heatmap.weight.data.mul_(1e3)
    image = images(2, 3, 64, 64)
    twice = detector.eval()(image)
    detector.mirror_test = False
    turned = detector(image.flip(-1))[:, human18.flip] * torch.tensor([-1.0, 1.0, 1.0])
    assert (detector(image) - turned).abs().max() > 1e-3
    torch.testing.assert_close(twice, (detector(image) + turned) / 2)


def test_it_comes_back_from_a_checkpoint(detector, config, tmp_path):
    weights = {f"detector.{name}": value for name, value in detector.state_dict().items()}
    save_checkpoint({"config": plain(config), "state_dict": weights}, tmp_path / "last.ckpt")
    again, image = load(tmp_path / "last.ckpt"), images(1, 3, 64, 64)
    assert torch.equal(again(image), detector.eval()(image))


def test_128_pixels_give_as_many_joints_from_the_same_map(compose_config, human18):
    overrides = ("detector=patch128", "data.image_size=128")
    cfg = compose_config("train", *overrides)
    detector = build(cfg.detector, "detector", skeleton=human18)
    assert detector(images(1, 3, 128, 128)).shape == (1, 18, 3)
    assert detector.backbone(images(1, 3, 128, 128)).shape[-2:] == (16, 16)


def test_it_starts_again_from_new_weights(detector):
    image = images(1, 3, 64, 64)
    before = detector(image)
    detector.reset()
    assert not torch.equal(detector(image), before)
