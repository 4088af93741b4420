import numpy as np
import pytest

from mask_sup.export import fit_figure, write_bvh

bvhio = pytest.importorskip("bvhio")


def read(path, joints):
    """Joint places (t, j, 3) of a BVH file by another program, and its frame time."""
    root = bvhio.readAsHierarchy(str(path))
    found = {joint.Name: joint for joint, _, _ in root.layout()}
    frames = []
    for frame in range(root.getKeyframeRange()[1] + 1):
        root.loadPose(frame)
        frames.append([list(found[name].PositionWorld) for name in joints])
    return np.array(frames), bvhio.readAsBvh(str(path)).FrameTime


def test_another_reader_finds_the_figure(clip, tmp_path):
    write_bvh(clip, tmp_path / "a.bvh")
    places, frame_time = read(tmp_path / "a.bvh", clip.joints)
    expected = fit_figure(clip).positions()
    assert places.shape == (60, 18, 3)
    assert np.abs(10 * places - expected).max() < 0.1  # mm of centimetres
    assert frame_time == pytest.approx(1 / 30, abs=1e-7)


def test_gaps_hold_the_last_pose(gappy, tmp_path):
    write_bvh(gappy, tmp_path / "a.bvh")
    places, _ = read(tmp_path / "a.bvh", gappy.joints)
    assert np.abs(10 * places - fit_figure(gappy).positions()).max() < 0.1
    assert "nan" not in (tmp_path / "a.bvh").read_text()


def test_the_file_by_hand(clip, tmp_path):
    # A spine of 200 mm on a pelvis at (10, 20, 30) mm, upright and then fallen over to its left.
    points = np.array([[[10.0, 20, 30], [10, 220, 30]], [[10, 20, 30], [210, 20, 30]]])
    two = clip._replace(joints=("pelvis", "spine"), parents={"spine": "pelvis"})
    write_bvh(two._replace(points_mm=points, up="y", fps=50.0), tmp_path / "a.bvh")
    expected = """HIERARCHY
ROOT pelvis
{
\tOFFSET 0.000000 0.000000 0.000000
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT spine
\t{
\t\tOFFSET 0.000000 20.000000 0.000000
\t\tCHANNELS 3 Zrotation Xrotation Yrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0.000000 5.000000 0.000000
\t\t}
\t}
}
MOTION
Frames: 2
Frame Time: 0.02000000
1.000000 2.000000 3.000000 0.000000 0.000000 0.000000 0.000000 0.000000 0.000000
1.000000 2.000000 3.000000 -90.000000 0.000000 0.000000 0.000000 0.000000 0.000000
"""
    assert (tmp_path / "a.bvh").read_text().replace("-0.000000", "0.000000") == expected


def test_the_hierarchy_is_that_of_the_skeleton(clip, tmp_path):
    write_bvh(clip, tmp_path / "a.bvh")
    root = bvhio.readAsHierarchy(str(tmp_path / "a.bvh"))
    parents = {joint.Name: joint.Parent.Name for joint, _, _ in root.layout() if joint.Parent}
    assert {name: parents[name] for name in clip.parents} == clip.parents
    assert root.Name == "pelvis"


def test_angles_do_not_jump_by_whole_turns(clip, tmp_path):
    turning = clip.points_mm.copy()
    angle = np.linspace(0, 4 * np.pi, 60)  # two turns about the vertical
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    still = clip.points_mm[:1]
    turning = np.stack(
        [
            c * still[..., 0] - s * still[..., 1],
            s * still[..., 0] + c * still[..., 1],
            0 * c + still[..., 2],
        ],
        -1,
    )
    write_bvh(clip._replace(points_mm=turning), tmp_path / "a.bvh")
    rows = np.loadtxt(tmp_path / "a.bvh", skiprows=_motion_line(tmp_path / "a.bvh"))
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 15


def _motion_line(path):
    return path.read_text().splitlines().index("MOTION") + 3


def test_a_frame_rate_is_needed(clip, tmp_path):
    with pytest.raises(ValueError, match="a BVH file needs a frame rate"):
        write_bvh(clip._replace(fps=None), tmp_path / "a.bvh")
