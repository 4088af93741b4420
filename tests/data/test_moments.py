import cv2
import numpy as np
import pytest
import torch

from mask_sup.data.lens import mask_box
from mask_sup.data.moments import (
    GREY,
    Moment,
    MomentDataset,
    View,
    check_view,
    crop_view,
    drawn_views,
    expand,
    spread_views,
)
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import crop_from_world, is_calibrated
from mask_sup.geometry.geodesic import GeodesicWeight

SETTINGS = {
    "joints": 18,
    "image_size": 32,
    "mask_size": 16,
    "padding": 1.2,
    "mask_input": False,
    "geodesic": None,
    "memory": False,
}
K = np.array([[300.0, 0.0, 121.0], [0.0, 310.0, 83.0], [0.0, 0.0, 1.0]])
R = cv2.Rodrigues(np.array([0.1, -0.2, 0.05]))[0]
T = np.array([40.0, -30.0, 3000.0])
LENSES = {"ideal": np.zeros(5), "barrel": np.array([-0.35, 0.12, 0.004, -0.006, 0.02])}


def flat(batch):
    return (*batch.views[:3], *batch.views.camera, batch.labels.joints_world)


def dataset(moments, **settings):
    return MomentDataset(moments, **(SETTINGS | settings))


def rectangle(shape, top, bottom, left, right):
    mask = np.zeros(shape, np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


def write(folder, picture, mask, **camera):
    cv2.imwrite(str(folder / "image.png"), picture)
    if mask is not None:
        cv2.imwrite(str(folder / "mask.png"), mask)
    known = {"K": K, "R": R, "t": T, "distortion": np.zeros(5)} | camera
    return View(folder / "image.png", folder / "mask.png", **known)


@pytest.fixture
def moments(tmp_path, write_moments, cameras_around):
    return write_moments(tmp_path / "made", cameras_around(2))


@pytest.fixture
def view(tmp_path):
    picture = np.random.default_rng(0).integers(30, 256, (160, 240, 3), dtype=np.uint8)
    return write(tmp_path, picture, rectangle((160, 240), 40, 120, 90, 140))


# ---- the crop ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("area", "padding", "box"),
    [
        (
            (10, 30, 20, 25),
            1.0,
            (12.0, 10.0, 20.0),
        ),  # centre (22.5, 20): left edge 12.5, down to 12
        ((10, 30, 20, 25), 1.2, (10.0, 8.0, 24.0)),
        ((40, 45, 5, 35), 1.5, (-3.0, 20.0, 45.0)),  # centre (20, 42.5), beyond the left border
        ((49, 50, 49, 50), 1.0, (48.0, 48.0, 2.0)),  # one pixel: never smaller than 2
    ],
)
def test_the_box_is_square_and_centred_on_the_mask(area, padding, box):
    assert mask_box(rectangle((50, 60), *area), padding) == box


def test_faint_pixels_do_not_widen_the_box():
    mask = rectangle((50, 50), 10, 30, 20, 25)
    faint = np.maximum(mask, np.uint8(127))
    assert mask_box(faint, 1.2) == mask_box(mask, 1.2)


@pytest.mark.parametrize(
    ("height", "side"),
    [(210, 252), (212, 256), (213, 256), (214, 256), (215, 256), (217, 261)],  # x 1.2: 252 to 261
)
def test_a_crop_of_nearly_the_wanted_size_is_cut_out_unchanged(tmp_path, height, side):
    picture = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    mask = rectangle((320, 320), 50, 50 + height, 120, 200)
    view = write(tmp_path, picture, mask)
    crop = crop_view(view, 256, 64, 1.2, False)
    left, top, found = (int(value) for value in crop.box)
    assert found == side
    assert abs(left + side / 2 - 160) <= 0.5
    assert abs(top + side / 2 - (50 + height / 2)) <= 0.5
    if side == 256:
        cut = picture[top : top + 256, left : left + 256, ::-1]
        np.testing.assert_array_equal(crop.image, cut)


def with_dot(shape, px, radius=4.0):
    """A black picture with a round light spot about a continuous pixel."""
    rows, cols = np.indices(shape) + 0.5
    squared = (cols - px[0]) ** 2 + (rows - px[1]) ** 2
    return np.repeat(
        (255 * np.exp(-squared / radius**2)).round().astype(np.uint8)[..., None], 3, -1
    )


def spot_crop(image):
    """Crop coordinates of the light's centre of gravity."""
    light = image.float().mean(-1)
    h, w = light.shape
    x, y = (torch.arange(w) * 2 + 1) / w - 1, (torch.arange(h) * 2 + 1) / h - 1
    return torch.stack([(light.sum(0) * x).sum(), (light.sum(1) * y).sum()]) / light.sum()


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize(
    ("area", "point"),
    [
        ((40, 120, 90, 140), (0.0, 0.0, 0.0)),  # in the middle
        ((40, 120, 90, 140), (-150.0, 230.0, 100.0)),
        ((20, 150, 10, 60), (-820.0, 160.0, -200.0)),  # the box reaches over the left border
        ((90, 160, 160, 238), (800.0, 380.0, 300.0)),  # and over the corner
    ],
)
@pytest.mark.parametrize("size", [48, 256])  # the picture shrinks, the picture grows
def test_a_dot_lands_where_the_folded_camera_predicts(tmp_path, area, point, lens, size):
    x_world, distortion = np.array([point]), LENSES[lens]
    px, _ = cv2.projectPoints(x_world, cv2.Rodrigues(R)[0], T, K, distortion)
    picture = with_dot((160, 240), px[0, 0])
    assert picture.max() > 200  # the dot is in the picture
    mask = rectangle((160, 240), *area)
    view = write(tmp_path, picture, mask, distortion=distortion)
    label = np.full((18, 3), np.nan)
    item = dataset([Moment("dot", (view,), label)], image_size=size)[0]
    camera = Camera(*(part[0] for part in item.views.camera))
    predicted = crop_from_world(torch.tensor(x_world).float(), camera)[0]
    assert predicted.abs().max() < 0.9
    # half a pixel of the picture is at least 0.006 here
    assert (spot_crop(item.views.image[0]) - predicted).abs().max() < 0.002


def test_mask_and_image_are_cropped_to_the_same_place(tmp_path):
    # A white figure on black that is its own mask: both crops show the same.
    mask = cv2.ellipse(np.zeros((160, 240), np.uint8), (40, 100), (20, 55), 30, 0, 360, 255, -1)
    picture = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)
    view = write(tmp_path, picture, mask, distortion=LENSES["barrel"])
    crop = crop_view(view, 64, 64, 1.2, False)
    np.testing.assert_array_equal(crop.image[..., 0], crop.mask)
    rows, cols = np.nonzero(crop.mask > 127)
    longer = max(np.ptp(rows), np.ptp(cols)) + 1
    assert longer / 64 == pytest.approx(1 / 1.2, abs=0.03)


def test_beyond_the_border_the_crop_is_black(tmp_path):
    picture = np.full((160, 240, 3), 200, np.uint8)
    mask = rectangle((160, 240), 0, 100, 0, 40)  # box: left -30, top 0, side 100
    image = crop_view(write(tmp_path, picture, mask), 100, 16, 1.0, False).image
    assert (image[:, :30] == 0).all()
    assert (image[:, 30:] == 200).all()


def test_nothing_is_known_beyond_the_border_where_a_person_is_cut_off(tmp_path):
    picture = np.full((160, 240, 3), 200, np.uint8)
    cut = rectangle((160, 240), 20, 120, 0, 60)  # box: left -30, top 10, side 120
    view = write(tmp_path, picture, cut)
    crop = crop_view(view, 32, 48, 1.2, False)
    assert crop.box == (-30.0, 10.0, 120.0)
    assert crop.beyond[:, :12].all()
    assert not crop.beyond[:, 12:].any()
    item = dataset([Moment("cut", (view,), np.zeros((18, 3)))], mask_size=48)[0]
    np.testing.assert_array_equal(item.views.weight[0].numpy() == 0, crop.beyond)


def test_a_person_who_is_seen_whole_is_not_beyond_the_border(tmp_path):
    picture = np.full((160, 240, 3), 200, np.uint8)
    near = rectangle((160, 240), 20, 120, 8, 68)  # box: left -22
    crop = crop_view(write(tmp_path, picture, near), 32, 48, 1.2, False)
    assert crop.box[0] < 0
    assert not crop.beyond.any()


def test_colours_are_red_green_blue(tmp_path):
    picture = np.full((160, 240, 3), (10, 20, 200), np.uint8)  # OpenCV writes blue first
    view = write(tmp_path, picture, rectangle((160, 240), 40, 120, 90, 140))
    assert read_image(view.image)[0, 0].tolist() == [200, 20, 10]
    item = dataset([Moment("red", (view,), np.zeros((18, 3)))])[0]
    assert item.views.image[0, 16, 16].tolist() == [200, 20, 10]


def test_the_crop_comes_from_the_mask_alone(tmp_path, view):
    before = crop_view(view, 32, 16, 1.2, False)
    write(tmp_path, np.zeros((160, 240, 3), np.uint8), None)  # another picture, the same mask
    black = crop_view(view, 32, 16, 1.2, False)
    assert black.box == before.box
    assert not black.image.any()
    write(tmp_path, np.zeros((160, 240, 3), np.uint8), rectangle((160, 240), 43, 123, 95, 145))
    left, top, side = before.box
    assert crop_view(view, 32, 16, 1.2, False).box == (left + 5, top + 3, side)


def test_masked_input_has_a_grey_background_and_the_same_figure(tmp_path):
    picture = np.random.default_rng(0).integers(30, 256, (160, 240, 3), dtype=np.uint8)
    mask = rectangle((160, 240), 40, 120, 90, 140)  # box: left 75, top 40, side 80
    view = write(tmp_path, picture, mask)
    seen, masked = (crop_view(view, 80, 80, 1.0, mask_input).image for mask_input in (False, True))
    inside = np.zeros((80, 80), bool)
    inside[:, 15:65] = True
    assert (seen[~inside] > 0).all()
    assert (masked[~inside] == GREY).all()
    np.testing.assert_array_equal(masked[inside], seen[inside])


def test_without_a_mask_the_whole_picture_counts(view):
    crop = crop_view(view._replace(mask=None), 24, 12, 1.0, True)
    assert crop.box == (0.0, -40.0, 240.0)
    assert crop.image[12].all()  # masked input keeps the picture
    assert (crop.mask[2:10] == 255).all()
    assert not crop.mask[[0, -1]].any()  # above and below the picture


# ---- items ---------------------------------------------------------------------------------------


def test_an_item_holds_bytes_that_expand_to_the_documented_floats(moments):
    item = dataset(moments, geodesic=GeodesicWeight(2.0, 0.5))[1]
    assert (item.views.image.dtype, item.views.mask.dtype) == (torch.uint8, torch.uint8)
    full = expand(item)
    assert full.views.image.shape == (2, 3, 32, 32)
    assert full.views.mask.shape == full.views.weight.shape == (2, 16, 16)
    assert [tuple(part.shape) for part in full.views.camera] == [(2, 3, 3), (2, 3, 3), (2, 3)]
    tensors = (*full.views[:3], *full.views.camera, full.labels.joints_world)
    assert {part.dtype for part in tensors} == {torch.float32}
    colours_first = item.views.image.permute(0, 3, 1, 2).float()
    torch.testing.assert_close(full.views.image * 255, colours_first)
    assert full.views.mask.max() == 1
    assert full.views.mask.min() == 0
    assert full.labels.name == "figure/001"
    np.testing.assert_allclose(full.labels.joints_world, moments[1].joints_world, rtol=1e-6)


def test_labelled_joints_project_into_the_mask(moments):
    for item in map(expand, dataset(moments)):
        xy = crop_from_world(item.labels.joints_world[None], item.views.camera)
        col, row = ((xy + 1) * 8).floor().long().unbind(-1)
        assert (item.views.mask[torch.arange(2)[:, None], row, col] > 0.2).all()


def test_labels_never_influence_views(moments):
    unknown = [m._replace(joints_world=np.full((18, 3), np.nan)) for m in moments]
    elsewhere = [m._replace(joints_world=m.joints_world + 5000) for m in moments]
    geodesic = GeodesicWeight(2.0, 0.5)
    for others in (unknown, elsewhere):
        pairs = zip(
            dataset(moments, geodesic=geodesic), dataset(others, geodesic=geodesic), strict=True
        )
        for one, other in pairs:
            parts = zip(flat(one)[:-1], flat(other)[:-1], strict=True)
            assert all(torch.equal(a, b) for a, b in parts)
            assert not torch.equal(one.labels.joints_world, other.labels.joints_world)


def test_weights_are_the_geodesic_map_of_the_cropped_mask(moments):
    geodesic = GeodesicWeight(2.0, 0.5)
    item = dataset(moments, geodesic=geodesic)[0]
    for mask, weight in zip(item.views.mask.numpy(), item.views.weight.numpy(), strict=True):
        np.testing.assert_allclose(weight, geodesic(mask > 127), rtol=1e-3)
    assert item.views.weight.float().std() > 0.1


def test_without_geodesic_every_pixel_weighs_the_same(moments):
    assert (dataset(moments)[0].views.weight == 1).all()


@pytest.mark.parametrize("loaded", [False, True])
def test_items_are_the_same_from_memory_and_from_disk(moments, loaded):
    disk, memory = dataset(moments, memory=False), dataset(moments, memory=True)
    if loaded:
        memory.load()
    assert len(disk) == len(memory) == 3
    for i in (2, 0, 1, 0):
        assert all(torch.equal(a, b) for a, b in zip(flat(disk[i]), flat(memory[i]), strict=True))
        assert disk[i].labels.name == memory[i].labels.name == f"figure/{i:03d}"


def test_neighbours_in_time_share_a_number(moments):
    names = ["walk", "walk", "sit"]
    named = [m._replace(sequence=name) for m, name in zip(moments, names, strict=True)]
    assert [dataset(named)[i].views.sequence.item() for i in range(3)] == [0, 0, 1]
    assert [dataset(moments)[i].views.sequence.item() for i in range(3)] == [0, 1, 2]  # unnamed


def test_memory_reads_each_file_once(moments):
    memory, disk = dataset(moments, memory=True), dataset(moments, memory=False)
    before = memory[0].views.image
    picture = np.zeros((56, 72, 3), np.uint8)
    for view in moments[0].views:
        cv2.imwrite(str(view.image), picture)
    assert torch.equal(memory[0].views.image, before)
    assert not disk[0].views.image.any()


def test_uncalibrated_views_become_unknown_cameras(moments):
    unknown = {"K": np.full((3, 3), np.nan), "R": np.full((3, 3), np.nan), "t": np.full(3, np.nan)}
    single = [m._replace(views=(m.views[0]._replace(**unknown),)) for m in moments]
    data = dataset(single)
    assert not data.calibrated
    assert data.views == 1
    assert not is_calibrated(data[0].views.camera)
    assert dataset(moments).calibrated
    assert dataset(moments).views == 2


# ---- what is refused -----------------------------------------------------------------------------


def test_an_empty_mask_is_named(view):
    cv2.imwrite(str(view.mask), np.zeros((160, 240), np.uint8))
    with pytest.raises(ValueError, match=r"empty mask .*mask\.png: drop the moment or fix"):
        crop_view(view, 32, 16, 1.2, False)


def test_a_mask_that_the_lens_correction_empties_is_named(view):
    mask = rectangle((160, 240), 3, 4, 3, 4)  # one pixel, spread below half by interpolation
    cv2.imwrite(str(view.mask), mask)
    crop_view(view, 32, 16, 1.2, False)
    with pytest.raises(ValueError, match=r"empty mask .*mask\.png"):
        crop_view(view._replace(distortion=LENSES["barrel"]), 32, 16, 1.2, False)


def test_a_mask_of_half_the_size_crops_the_same_part(view):
    cv2.imwrite(str(view.mask), rectangle((160, 240), 40, 120, 90, 140))
    whole = crop_view(view, 32, 16, 1.2, True)
    cv2.imwrite(str(view.mask), rectangle((80, 120), 20, 60, 45, 70))
    half = crop_view(view, 32, 16, 1.2, True)
    assert half.box == whole.box
    np.testing.assert_array_equal(half.mask > 127, whole.mask > 127)


def test_a_mask_of_another_shape_is_refused(view):
    cv2.imwrite(str(view.mask), rectangle((240, 160), 20, 60, 45, 70))
    expected = r"mask .*mask\.png is 160x240 but its picture is 240x160: it is turned by 90"
    with pytest.raises(ValueError, match=expected):
        crop_view(view, 32, 16, 1.2, False)


@pytest.mark.parametrize("file", ["image", "mask"])
def test_a_missing_file_is_found_before_anything_is_read(moments, file):
    gone = getattr(moments[2].views[1], file)
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=f"missing file {gone}"):
        dataset(moments)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\x00\x00"])
@pytest.mark.parametrize(("file", "read"), [("image", read_image), ("mask", read_mask)])
def test_an_unreadable_picture_is_named_with_its_size(view, file, read, content):
    path = getattr(view, file)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"unreadable picture {path} \({len(content)} bytes\)"):
        read(path)


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_reading_a_missing_file_names_it(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"missing file .*gone\.png"):
        read(tmp_path / "gone.png")


def test_damage_is_found_while_loading_into_memory(moments):
    moments[1].views[0].image.write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"unreadable picture .*001_0\.png"):
        dataset(moments, memory=True).load()


@pytest.mark.parametrize("part", ["K", "R", "t"])
def test_a_camera_that_is_nan_in_part_is_refused(view, part):
    damaged = getattr(view, part).copy()
    damaged.flat[1] = np.nan
    check_view(view)
    with pytest.raises(ValueError, match=r"the camera of .*image\.png has NaN"):
        check_view(view._replace(**{part: damaged}))
    with pytest.raises(ValueError, match=r"the camera of .*image\.png has NaN"):
        check_view(view._replace(**{part: np.full_like(damaged, np.nan)}))


@pytest.mark.parametrize(
    ("part", "value"), [("distortion", np.nan), ("distortion", np.inf), ("t", np.inf)]
)
def test_numbers_that_are_not_finite_are_refused_in_a_calibrated_camera(view, part, value):
    damaged = getattr(view, part).copy()
    damaged[0] = value
    with pytest.raises(ValueError, match=r"the camera of .*image\.png"):
        check_view(view._replace(**{part: damaged}))


def test_an_uncalibrated_view_cannot_bring_a_distortion(view):
    unknown = {part: np.full_like(getattr(view, part), np.nan) for part in ("K", "R", "t")}
    check_view(view._replace(**unknown))
    for distortion in (LENSES["barrel"], np.full(5, np.nan)):
        with pytest.raises(ValueError, match=r"distortion zero for an uncalibrated view"):
            check_view(view._replace(distortion=distortion, **unknown))


@pytest.mark.parametrize(
    "wrong", [2 * R, -R, np.diag([1.0, 1.0, -1.0]), R + 0.01, np.zeros((3, 3))]
)
def test_an_r_that_is_no_rotation_is_refused(view, wrong):
    with pytest.raises(
        ValueError, match=r"the camera of .*image\.png has an R that is no rotation"
    ):
        check_view(view._replace(R=wrong))


def test_a_rotation_rounded_to_four_digits_passes(view):
    check_view(view._replace(R=R.round(4)))


def test_moments_may_differ_in_their_number_of_views(moments):
    mixed = [moments[0], moments[1]._replace(views=moments[1].views[:1])]
    data = dataset(mixed)
    assert [len(data[i].views.image) for i in range(2)] == [2, 1]
    assert (data.views, data.alike, data.single) == (1, False, True)
    assert dataset(moments).alike
    whole = dataset(moments)[1]
    for one, other in zip(data[1].views[:3], whole.views[:3], strict=True):
        assert torch.equal(one, other[:1])


@pytest.mark.parametrize(("views", "expected"), [(1, [[0], [0]]), (3, [[0, 1, 0], [0, 0, 0]])])
def test_items_have_as_many_views_as_are_asked_for(moments, views, expected):
    mixed = [moments[0], moments[1]._replace(views=moments[1].views[:1])]
    whole, data = dataset(mixed), dataset(mixed, views=views)
    assert (data.views, data.alike) == (views, True)
    for index, which in enumerate(expected):
        one, other = data[index], whole[index]
        pairs = zip(
            (*one.views[:3], *one.views.camera),
            (*other.views[:3], *other.views.camera),
            strict=True,
        )
        assert all(torch.equal(a, b[which]) for a, b in pairs)
        assert one.labels.xy.shape[0] == one.labels.head.shape[0] == views
        assert torch.equal(one.labels.joints_world, other.labels.joints_world)


@pytest.mark.parametrize(("there", "wanted"), [(2, 4), (3, 4), (4, 4), (5, 4), (8, 4), (8, 1)])
def test_views_are_drawn_evenly(there, wanted):
    drawn = [drawn_views(there, wanted, seed) for seed in range(400)]
    assert drawn == [drawn_views(there, wanted, seed) for seed in range(400)]
    for which in drawn:
        assert which == sorted(which)
        times = np.bincount(which, minlength=there)
        assert times.max() - times.min() <= 1  # none twice before all
    shares = np.bincount(np.concatenate(drawn), minlength=there) / len(drawn)
    np.testing.assert_allclose(shares, wanted / there, atol=0.12)
    spread = spread_views(there, wanted)
    assert len(spread) == wanted
    assert len(set(spread)) == min(there, wanted)


@pytest.mark.parametrize("shape", [(17, 3), (18, 2)])
def test_labels_of_another_skeleton_are_refused(moments, shape):
    wrong = [moments[0], moments[1]._replace(joints_world=np.zeros(shape))]
    with pytest.raises(
        ValueError, match=r"figure/001 has labels of shape .*skeleton has 18 joints"
    ):
        dataset(wrong)


def test_no_moments_are_refused():
    with pytest.raises(ValueError, match=r"no moments in this split"):
        dataset([])


def test_a_mask_too_thin_for_the_mask_size_is_refused(view):
    cv2.imwrite(str(view.mask), rectangle((160, 240), 80, 81, 20, 220))  # a line one pixel high
    data = dataset(
        [Moment("thin", (view,), np.zeros((18, 3)))], mask_size=8, geodesic=GeodesicWeight(2.0, 0.5)
    )
    with pytest.raises(ValueError, match=r"mask\.png vanishes at 8 pixels: .*renderer\.size"):
        data[0]
