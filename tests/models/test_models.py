import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mask_sup.files.build import build
from mask_sup.models.blocks import ResidualBlock, norm
from mask_sup.models.detector import Detector, FactorisedHead, VolumeHead, expectation
from mask_sup.models.hourglass import StackedHourglass
from mask_sup.models.resnet import ResNet50
from mask_sup.models.shape_prior import PatchShapePrior, ShapePrior

HEADS = {"volume": VolumeHead, "factorised": FactorisedHead}


def hourglass(stacks=1, depth=1, channels=16, stem_stride=2):
    return StackedHourglass(stacks, depth, channels, stem_stride)


def make_detector(skeleton, head="volume", backbone=None, seed=0):
    torch.manual_seed(seed)
    backbone = backbone or hourglass()
    return Detector(skeleton, backbone, HEADS[head](8), depth_range=2000.0, mask_input=False)


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def built_head(kind, channels=3, joints=2, bins=5):
    head = HEADS[kind](bins)
    head.build(channels, joints)
    return head


def test_a_mirror_test_averages_over_the_mirror_image(human18):
    plain, twice = (make_detector(human18) for _ in range(2))
    twice.mirror_test = True
    image = images(2, 3, 32, 32)
    for detector in (plain, twice):
        detector.head.heatmap.weight.data.mul_(1e3)
        detector.eval()
    turned = plain(image.flip(-1))[:, human18.flip] * torch.tensor([-1.0, 1.0, 1.0])
    assert (plain(image) - turned).abs().max() > 1e-3
    torch.testing.assert_close(twice(image), (plain(image) + turned) / 2)
    torch.testing.assert_close(twice.train()(image), plain.train()(image))


# -- backbones ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem_stride", "stacks", "depth", "size", "expected"),
    [(2, 1, 2, 32, 16), (4, 2, 2, 32, 8), (4, 1, 1, 48, 12)],
)
def test_hourglass_features_are_the_image_over_the_stride(
    stem_stride, stacks, depth, size, expected
):
    features = hourglass(stacks, depth, 8, stem_stride)(images(2, 3, size, size))
    assert features.shape == (2, 8, expected, expected)


def test_every_hourglass_of_a_stack_adds_to_the_features():
    backbone = hourglass(stacks=2)
    image = images(1, 3, 16, 16)
    both = backbone(image)
    one = backbone.stem(image)
    one = one + backbone.stacks[0](one)
    assert not torch.allclose(one, both)
    torch.testing.assert_close(one + backbone.stacks[1](one), both)


def test_resnet_features_are_a_quarter_of_the_image():
    assert ResNet50(channels=8)(images(1, 3, 32, 64)).shape == (1, 8, 8, 16)


def test_resnet_has_the_parameters_of_resnet_50():
    # 25,557,032 of the published network less the 2,049,000 of its classifier.
    encoder = ResNet50(channels=8).layers[:-9]
    assert sum(p.numel() for p in encoder.parameters()) == 23_508_032


@pytest.mark.parametrize(
    ("backbone", "size", "message"),
    [
        (
            hourglass(depth=2, stem_stride=4),
            (16, 24),
            r"multiples of 16, got \(16, 24\): change data",
        ),
        (
            hourglass(depth=2, stem_stride=2),
            (12, 16),
            r"multiples of 8, got \(12, 16\): change data",
        ),
        (
            ResNet50(channels=8),
            (32, 48),
            r"multiples of 32, got \(32, 48\): change data.image_size",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(backbone, size, message):
    with pytest.raises(ValueError, match=message):
        backbone(images(1, 3, *size))


def test_other_strides_of_the_stem_are_refused():
    with pytest.raises(ValueError, match="stem_stride is 2 or 4, not 3"):
        hourglass(stem_stride=3)


# -- normalisation --------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["hourglass", "hourglass_tiny", "patch", "resnet50"])
def test_detectors_normalise_by_groups_alone(option, compose_config):
    cfg = compose_config("train", f"detector={option}")
    detector = build(cfg.detector, "detector", skeleton=build(cfg.skeleton, "skeleton"))
    assert_groups_alone(detector)
    if option in ("hourglass", "resnet50"):
        assert {m.num_groups for m in detector.modules() if isinstance(m, nn.GroupNorm)} <= {16, 32}


@pytest.mark.parametrize(
    "network",
    [
        lambda **size: StackedHourglass(1, 2, 96, 4, **size),
        lambda **size: ResNet50(channels=32, **size),
        lambda **size: ShapePrior([16, 32], **size),
        lambda **size: PatchShapePrior([16, 32], **size),
    ],
)
def test_every_layer_of_a_network_has_groups_of_the_asked_size(network):
    for size in ({}, {"channels_per_group": 16}):
        layers = [m for m in network(**size).modules() if isinstance(m, nn.GroupNorm)]
        least = size.get("channels_per_group", 4)
        assert len(layers) > 5
        for layer in layers:
            assert layer.num_groups <= 32
            assert layer.num_channels // layer.num_groups >= least
        assert min(layer.num_channels // layer.num_groups for layer in layers) == least


@pytest.mark.parametrize("option", ["unet", "patch"])
def test_psi_normalises_by_groups_alone(option, compose_config):
    cfg = compose_config("train", f"shape_prior={option}")
    assert_groups_alone(build(cfg.shape_prior, "shape_prior"))


def assert_groups_alone(network):
    kinds = {type(m) for m in network.modules()}
    assert nn.GroupNorm in kinds
    assert not [kind for kind in kinds if issubclass(kind, _NormBase)]
    assert not list(network.buffers())


@pytest.mark.parametrize(
    ("channels", "per_group", "groups"),
    [
        (256, 4, 32), (128, 4, 32), (64, 4, 16), (96, 4, 24), (16, 4, 4), (8, 4, 2), (6, 4, 1),
        (3, 4, 1), (256, 8, 32), (1024, 16, 32), (96, 16, 6), (48, 16, 3), (72, 16, 4), (8, 16, 1),
    ],
)  # fmt: skip
def test_group_norm_has_at_most_32_groups_of_so_many_channels_or_more(channels, per_group, groups):
    layer = norm(channels, per_group)
    assert (layer.num_groups, layer.num_channels) == (groups, channels)


@pytest.mark.parametrize("head", HEADS)
def test_training_and_inference_see_the_same_whoever_else_is_in_the_batch(head, human18):
    detector = make_detector(human18, head)
    batch = images(3, 3, 16, 16)
    together = detector.train()(batch)
    alone = detector.eval()(batch[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("inputs", "stride"), [(8, 1), (8, 2), (4, 1)])
def test_residual_blocks_project_only_where_shapes_change(inputs, stride):
    block = ResidualBlock(inputs, outputs=8, bottleneck=4, per_group=4, stride=stride)
    assert block(images(2, inputs, 8, 8)).shape == (2, 8, 8 // stride, 8 // stride)
    assert isinstance(block.shortcut, nn.Identity) == (inputs == 8 and stride == 1)


# -- heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 2, 7, 64])
def test_the_integral_of_one_bin_is_its_centre(bins):
    centres = [(2 * i + 1) / bins - 1 for i in range(bins)]
    torch.testing.assert_close(expectation(torch.eye(bins)), torch.tensor(centres))


def test_the_integral_of_an_even_distribution_is_the_middle():
    assert expectation(torch.full((2, 3, 8), 1 / 8)).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("kind", HEADS)
def test_a_single_hot_voxel_is_read_at_its_centre(kind):
    head = built_head(kind)
    row, col, depth = 1, 4, 3  # of 4 rows, 6 columns, 5 bins
    features = torch.zeros(1, 3, 4, 6)
    features[0, 0, row, col] = 10.0
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        if kind == "volume":
            head.heatmap.weight[head.depth_bins + depth, 0] = 100.0  # of the second joint
        else:
            head.heatmap.weight[1, 0] = 100.0
            head.context.weight[0, 0] = 1.0
            head.depth[1, 0, depth] = 100.0
        joints = head(features)
    expected = [(2 * col + 1) / 6 - 1, (2 * row + 1) / 4 - 1, (2 * depth + 1) / 5 - 1]
    torch.testing.assert_close(joints[0, 1], torch.tensor(expected))
    if kind == "volume":  # the other joint's map is even
        torch.testing.assert_close(joints[0, 0], torch.zeros(3), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("head", HEADS)
def test_gradients_reach_every_parameter(head, human18):
    detector = make_detector(human18, head)
    joints = detector(images(2, 3, 16, 16))
    (
        joints * torch.randn(joints.shape, generator=torch.Generator().manual_seed(2))
    ).sum().backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias shared by a whole softmax shifts nothing.
        if name != "head.heatmap.bias" or head == "volume":
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_coordinate_alone_moves_the_features(head, axis):
    layers = built_head(head)
    features = images(1, 3, 4, 6).requires_grad_()
    layers(features)[..., axis].sum().backward()
    assert features.grad.abs().max() > 0


@pytest.mark.parametrize("kind", HEADS)
def test_coordinates_stay_in_float32_under_autocast(kind):
    head = built_head(kind)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(images(1, 3, 4, 6)).dtype == torch.float32


def test_the_factorised_head_computes_in_float32_under_autocast():
    head = built_head("factorised")
    full = head(images(1, 3, 4, 6))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(images(1, 3, 4, 6)), full)


def test_a_physique_mask_is_not_rounded_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert ShapePrior([4, 8])(images(1, 8, 8)).dtype == torch.float32


def test_the_integral_is_not_rounded_under_autocast():
    weight = images(5, 64).softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = expectation(weight)
    assert torch.equal(rounded, expectation(weight))


# -- detector -------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", ["hourglass", "resnet50"])
def test_joints_have_a_place_in_the_crop_and_depth_about_the_root(backbone, head, human18):
    network = hourglass() if backbone == "hourglass" else ResNet50(channels=8)
    with torch.no_grad():
        joints = make_detector(human18, head, network)(images(2, 3, 32, 32))
    assert joints.shape == (2, 18, 3)
    assert joints[..., :2].abs().max() < 1
    assert joints[..., 2].abs().max() < 2
    assert len(joints[0, :, 2].unique()) > 10  # it is not all zero


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("seed", range(3))
def test_the_root_is_exactly_at_depth_zero(head, seed, human18):
    detector = make_detector(human18, head, seed=seed)
    nn.init.normal_(detector.head.heatmap.weight, std=1.0)
    z = detector(images(3, 3, 16, 16))[..., 2]
    assert torch.equal(z[:, human18.root], torch.zeros(3))
    assert z.abs().max() > 0


@pytest.mark.parametrize("head", HEADS)
def test_views_are_seen_one_by_one(head, human18):
    detector = make_detector(human18, head)
    views = images(2, 3, 3, 16, 16)
    joints = detector(views)
    assert joints.shape == (2, 3, 18, 3)
    for i in range(2):
        for k in range(3):
            torch.testing.assert_close(joints[i, k], detector(views[i, k]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_detection_follows_what_is_seen(head, human18):
    detector = make_detector(human18, head)
    first, second = detector(images(2, 3, 16, 16))
    assert not torch.allclose(first, second, atol=1e-6)


def test_heads_fit_the_skeleton(human18):
    assert make_detector(human18).head.heatmap.out_channels == 18 * 8
    assert make_detector(human18, "factorised").head.depth.shape == (18, 16, 8)


# -- psi ------------------------------------------------------------------------------------------


def test_psi_has_about_the_parameters_of_the_paper(compose_config):
    prior = build(compose_config("train").shape_prior, "shape_prior")
    assert 0.46e6 < sum(p.numel() for p in prior.parameters()) < 0.48e6


def make_psi(kind, channels):
    """psi with weights all over, as after training: fresh patch networks add nothing."""
    torch.manual_seed(0)
    prior = kind(channels)
    nn.init.normal_(prior.out.weight, std=0.1)
    return prior


BOTH = pytest.mark.parametrize("kind", [ShapePrior, PatchShapePrior])


@BOTH
@pytest.mark.parametrize("shape", [(16, 16), (3, 16, 24), (2, 4, 8, 8)])
def test_psi_draws_a_mask_in_0_to_1_of_the_same_shape(kind, shape):
    physique = make_psi(kind, [8, 16, 16])(images(*shape))
    assert physique.shape == shape
    assert physique.min() > 0
    assert physique.max() < 1
    assert physique.std() > 0


@BOTH
def test_psi_keeps_channels_of_a_pixel_together_all_the_way(kind):
    prior, seen = make_psi(kind, [8, 16, 16]), []
    for layer in prior.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.GroupNorm)):
            layer.register_forward_hook(lambda layer, given, out: seen.append(out))
    prior(images(2, 16, 16))
    assert len(seen) == 23
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in seen)


@BOTH
def test_psi_sees_every_mask_alone(kind):
    prior = make_psi(kind, [4, 8])
    masks = images(3, 2, 8, 8)
    together = prior(masks)
    torch.testing.assert_close(together[1, 1], prior(masks[1, 1]), atol=1e-6, rtol=1e-5)


@BOTH
def test_gradients_pass_through_psi_to_the_skeleton_mask(kind):
    mask = images(1, 16, 16).requires_grad_()
    prior = make_psi(kind, [4, 8, 8])
    prior(mask).square().sum().backward()
    assert (mask.grad != 0).float().mean() > 0.9
    for name, parameter in prior.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@BOTH
def test_gradients_of_psi_are_those_of_finite_differences(kind):
    prior, mask = make_psi(kind, [2, 4]).double(), images(1, 8, 8).double()
    # psi's mask is in single precision, so the step is wide.
    pixels = torch.randn(1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask.requires_grad_()
    (slope,) = torch.autograd.grad((prior(mask) * pixels).sum(), mask)
    step = 1e-3 * torch.sign(slope)
    with torch.no_grad():
        rise = ((prior(mask + step) - prior(mask - step)).double() * pixels).sum() / 2
    assert rise.item() == pytest.approx((slope * step).sum().item(), rel=0.02)


def test_psi_of_one_level_does_not_halve():
    assert ShapePrior([4])(images(1, 5, 7)).shape == (1, 5, 7)
    assert PatchShapePrior([4])(images(1, 6, 8)).shape == (1, 6, 8)


@pytest.mark.parametrize(("kind", "multiple"), [(ShapePrior, 4), (PatchShapePrior, 8)])
def test_masks_that_cannot_be_halved_are_refused(kind, multiple):
    message = (
        rf"psi with 3 levels needs mask sides that are multiples of {multiple}, "
        r"got \(8, 10\): .*renderer"
    )
    with pytest.raises(ValueError, match=message):
        kind([4, 4, 4])(images(1, 8, 10))


def test_a_fresh_patch_psi_draws_the_skeleton_itself():
    bones = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 3.0])  # sums of bones exceed 1
    drawn = bones.repeat_interleave(4).reshape(1, 4, 6)
    expected = (1 / (1 + (4 - 8 * drawn.clamp(max=1)).exp())).reshape(1, 4, 6)
    torch.testing.assert_close(PatchShapePrior([4])(drawn), expected)


@pytest.mark.slow
@BOTH
def test_psi_learns_to_fatten(kind):
    # Thin crosses, and the same as wide as a limb: what is between them is found from all around.
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    generator = torch.Generator().manual_seed(0)
    middles = torch.randint(8, 24, (48, 2, 1, 1), generator=generator)
    off = torch.minimum((y - middles[:, 0]).abs(), (x - middles[:, 1]).abs())
    bones, bodies = (off < 1).float(), (off < 4).float()
    torch.manual_seed(0)
    prior = kind([8, 16])
    optimizer = torch.optim.Adam(prior.parameters(), 1e-2)
    for step in range(120):
        some = torch.arange(40)[step % 5 :: 5]
        optimizer.zero_grad()
        (prior(bones[some]) - bodies[some]).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        error = (prior(bones[40:]) - bodies[40:]).square().mean()
    assert error < 0.02
    assert (bones[40:] - bodies[40:]).square().mean() > 0.2
