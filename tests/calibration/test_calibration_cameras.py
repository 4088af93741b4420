import numpy as np
import pytest
from calibration_files import expected_px, points, rig

from mask_sup.calibration import Calibration, CalibrationError
from mask_sup.calibration.cameras import fit_picture

ARRAYS = ("K", "R", "t", "distortion", "sizes")


def calibration(made=None, **changes):
    made = made or rig()
    parts = {key: getattr(made, key).copy() for key in ARRAYS} | {"names": tuple(made.names)}
    return Calibration(**(parts | changes), source="rig.toml")


def changed(key, where, value):
    array = getattr(rig(), key).copy()
    array[where] = value
    return {key: array}


def test_centres_are_where_the_cameras_stand():
    made = rig()
    np.testing.assert_allclose(calibration(made).centres, made.centres, atol=1e-9)


def test_cameras_are_chosen_by_name_in_that_order():
    chosen = calibration().select(["cam03", "cam01"])
    assert chosen.names == ("cam03", "cam01")
    for key in ARRAYS:
        np.testing.assert_array_equal(getattr(chosen, key), getattr(rig(), key)[[2, 0]])
    with pytest.raises(CalibrationError, match=r"no camera \['cam9'\] in rig.toml"):
        calibration().select(["cam01", "cam9"])


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", ["K", "R", "t", "distortion"])
def test_numbers_that_are_not_finite_are_named(key, value):
    where = (1, *([0] * (getattr(rig(), key).ndim - 1)))
    with pytest.raises(
        CalibrationError, match=rf"'cam02' of rig.toml has NaN or infinite .*'{key}'"
    ):
        calibration(**changed(key, where, value))


def test_a_reflection_is_named_as_wrong_handedness():
    mirrored = np.diag([1, 1, -1]) @ rig().R[2]
    with pytest.raises(CalibrationError, match="'cam03' .* reflection .* wrong handedness"):
        calibration(**changed("R", 2, mirrored))


def test_a_left_handed_world_is_named_as_wrong_handedness():
    with pytest.raises(CalibrationError, match="wrong handedness"):
        calibration(R=rig().R @ np.diag([1.0, -1.0, 1.0]))


@pytest.mark.parametrize("R", [np.zeros((3, 3)), 2 * np.eye(3), np.full((3, 3), 1e200)])
def test_an_r_that_is_no_rotation_is_refused(R):
    with pytest.raises(CalibrationError, match="'cam01' .* has an R that is no rotation"):
        calibration(**changed("R", 0, R))


def test_rotations_may_be_printed_with_few_digits():
    assert calibration(R=rig().R.round(4)).names[0] == "cam01"


@pytest.mark.parametrize("where", [(0, 0, 0), (0, 1, 1)])
@pytest.mark.parametrize("value", [0, -900])
def test_focal_lengths_are_positive(where, value):
    with pytest.raises(CalibrationError, match="'cam01' .* focal lengths .* positive"):
        calibration(**changed("K", where, value))


def test_skewed_and_transposed_k_are_refused():
    with pytest.raises(CalibrationError, match="skew of 3"):
        calibration(**changed("K", (0, 0, 1), 3))
    with pytest.raises(CalibrationError, match=r"expected \[\[fx, 0, cx\]"):
        calibration(K=rig().K.transpose(0, 2, 1).copy())


def test_the_principal_point_lies_inside_the_picture():
    with pytest.raises(CalibrationError, match=r"'cam01' .*\[1300.0, .* of 1280x720 .*outside"):
        calibration(**changed("K", (0, 0, 2), 1300))
    unknown = np.full((4, 2), np.nan)
    assert np.isnan(calibration(**changed("K", (0, 0, 2), 1300), sizes=unknown).sizes).all()


@pytest.mark.parametrize("index", range(4))
def test_swapped_width_and_height_are_named_as_a_turned_picture(index):
    sizes = rig().sizes
    sizes[index] = sizes[index][::-1]
    with pytest.raises(
        CalibrationError, match=f"'cam0{index + 1}' .* width and height are swapped"
    ):
        calibration(sizes=sizes)


def test_no_good_camera_is_taken_for_a_turned_one():
    rng = np.random.default_rng(0)
    for _ in range(100):
        width, height = rng.integers(300, 4000, 2)
        made = rig(seed=int(rng.integers(1000)))
        made.sizes[:] = width, height
        made.K[:, :2, 2] = made.sizes * rng.normal(0.5, 0.02, (4, 2))
        calibration(made)


@pytest.mark.parametrize("size", [(0, 720), (-1280, 720), (np.inf, 720), (1280, np.nan)])
def test_sizes_are_pixels_or_unknown(size):
    with pytest.raises(CalibrationError, match="'cam01' .* has pictures of the size"):
        calibration(**changed("sizes", 0, size))


@pytest.mark.parametrize("scale", [1e-3, 1e3, 0.01])
def test_distances_between_cameras_tell_a_wrong_unit(scale):
    with pytest.raises(CalibrationError, match=r"cameras of rig.toml are .* mm apart .*unit=mm"):
        calibration(t=rig().t * scale)


def test_a_single_camera_has_no_distances():
    assert calibration().select(["cam01"]).names == ("cam01",)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a", "b", "a", "c"), r"same name: \['a'\]"),
        (("a", "b", "../c", "d"), r"cameras \['../c'\]"),
        (("a", "b", "", "d"), r"cameras \[''\]"),
        (("a", "b", "x\ny", "d"), "expected words"),
    ],
)
def test_names_are_those_of_files(names, told):
    with pytest.raises(CalibrationError, match=told):
        calibration(names=names)


def test_a_rig_has_a_camera():
    with pytest.raises(CalibrationError, match="rig.toml has no camera in it"):
        calibration(names=(), **{key: getattr(rig(), key)[:0] for key in ARRAYS})


# ---- pictures of another size --------------------------------------------------------------------


def test_a_letterbox_by_hand():
    """1088x1920 inside 1080x1920: scale 1080 / 1088, bars of (1920 - 1920 * scale) / 2."""
    scale, shift = fit_picture((1088, 1920), (1080, 1920))
    assert scale.tolist() == [1080 / 1088] * 2
    np.testing.assert_allclose(shift, [0, (1920 - 1920 * 1080 / 1088) / 2])


@pytest.mark.parametrize("size", [(1280, 720), (640, 360), (960, 720), (1280, 800), (854, 480)])
def test_pixels_follow_a_scaling_or_a_letterbox(size):
    """The picture is scaled and centred: so is every point of it."""
    made = rig()
    fitted = calibration(made).fitted_to([size, *made.sizes[1:]])
    scale = min(size[0] / 1280, size[1] / 720)
    bars = (np.array(size) - scale * made.sizes[0]) / 2
    before = expected_px(made, 0, points())
    made.K, made.sizes = fitted.K, fitted.sizes
    np.testing.assert_allclose(expected_px(made, 0, points()), before * scale + bars, atol=1.0)
    assert fitted.sizes.tolist() == [list(size), *rig().sizes[1:].tolist()]
    np.testing.assert_array_equal(fitted.K[1:], rig().K[1:])


def test_the_same_size_changes_nothing():
    fitted = calibration().fitted_to(rig().sizes)
    np.testing.assert_array_equal(fitted.K, rig().K)


def test_where_the_size_was_unknown_k_stays():
    fitted = calibration(sizes=np.full((4, 2), np.nan)).fitted_to(rig().sizes)
    np.testing.assert_array_equal(fitted.K, rig().K)
    np.testing.assert_array_equal(fitted.sizes, rig().sizes)


@pytest.mark.parametrize("true", [(720, 1280), (360, 640), (1080, 1920), (480, 720)])
def test_turned_pictures_are_named(true):
    with pytest.raises(CalibrationError, match="'cam01' .* 1280x720 but .* portrait"):
        calibration().fitted_to([true, *rig().sizes[1:]])


@pytest.mark.parametrize("true", [(1280, 300), (720, 720), (1280, 1200), (4000, 720)])
def test_other_sizes_are_refused(true):
    with pytest.raises(CalibrationError, match="neither a scaling nor a letterbox"):
        calibration().fitted_to([true, *rig().sizes[1:]])


@pytest.mark.parametrize("sizes", [[(1280, 720)], [(1280, 720, 3)] * 4, [(0, 0)] * 4])
def test_one_size_per_camera_is_needed(sizes):
    with pytest.raises(CalibrationError, match="expected a width and height"):
        calibration().fitted_to(sizes)
