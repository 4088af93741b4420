import builtins

import numpy as np
import pytest

from mask_sup.export import write_rrd, y_up


@pytest.fixture
def table(gappy, tmp_path):
    """Entity, column -> what Rerun's own reader finds there."""
    chunk = pytest.importorskip("rerun.chunk")
    write_rrd(gappy, tmp_path / "a.rrd")
    chunks = chunk.RrdReader(tmp_path / "a.rrd").stream()
    found = {c.entity_path: c.to_record_batch() for c in chunks}
    return lambda entity, column: found[entity].column(column)


def test_joints_come_back_from_the_file(gappy, table):
    assert table("/person/joints", "frame").to_pylist() == list(range(60))
    nanoseconds = table("/person/joints", "time").cast("int64").to_pylist()
    np.testing.assert_allclose(nanoseconds, 1e9 * np.arange(60) / 30, atol=1)
    names_of = table("/person/joints", "Points3D:labels").to_pylist()
    places_of = table("/person/joints", "Points3D:positions").to_pylist()
    for frame, (names, places) in enumerate(zip(names_of, places_of, strict=True)):
        points = y_up(gappy).points_mm[frame]
        known = np.isfinite(points).all(-1)
        np.testing.assert_allclose(places, points[known], atol=1e-3)
        assert names == [n for n, k in zip(gappy.joints, known, strict=True) if k]


def test_bones_end_at_known_joints(gappy, table):
    strips = table("/person/bones", "LineStrips3D:strips").to_pylist()
    # Without the left wrist one bone is gone, without the pelvis its three.
    assert [len(strips[frame]) for frame in (5, 12, 20)] == [17, 16, 14]
    points = y_up(gappy).points_mm[5]
    bones = [
        points[[gappy.joints.index(p), gappy.joints.index(j)]] for j, p in gappy.parents.items()
    ]
    found = sorted(np.round(bone, 2).ravel().tolist() for bone in strips[5])
    expected = sorted(np.round(bone, 2).ravel().tolist() for bone in bones)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_missing_package_is_told_with_its_command(clip, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "rerun":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match="pip install rerun-sdk"):
        write_rrd(clip, tmp_path / "a.rrd")
