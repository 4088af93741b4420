"""CSV, TRC and NPZ: values against readers that know nothing of the writers."""

import csv
import json

import numpy as np
import pytest

from mask_sup.export import write_csv, write_npz, write_trc, y_up


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# ---- CSV -----------------------------------------------------------------------------------------


def test_csv_rows_hold_the_joints(clip, tmp_path):
    write_csv(clip, tmp_path / "a.csv")
    rows = read_csv(tmp_path / "a.csv")
    assert len(rows) == 60
    assert list(rows[0])[:6] == [
        *("frame", "time_s", "pelvis_x_mm", "pelvis_y_mm", "pelvis_z_mm", "pelvis_confidence")
    ]
    assert len(rows[0]) == 2 + 4 * 18
    assert (rows[3]["frame"], rows[3]["time_s"]) == ("3", "0.100000")
    for j, joint in enumerate(clip.joints):
        found = [[float(row[f"{joint}_{axis}_mm"]) for axis in "xyz"] for row in rows]
        np.testing.assert_allclose(found, clip.points_mm[:, j], atol=1e-4)  # z up, as they are
    assert {row["head_confidence"] for row in rows} == {"0.8000"}


def test_csv_cells_of_unknown_joints_are_empty(gappy, tmp_path):
    write_csv(gappy, tmp_path / "a.csv")
    empty = [row["left_wrist_y_mm"] == "" for row in read_csv(tmp_path / "a.csv")]
    assert np.flatnonzero(empty).tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 14]
    assert "nan" not in (tmp_path / "a.csv").read_text()


def test_csv_leaves_out_what_nobody_knows(clip, tmp_path):
    write_csv(clip._replace(fps=None, confidence=None), tmp_path / "a.csv")
    (first, *_) = read_csv(tmp_path / "a.csv")
    assert list(first)[:2] == ["frame", "pelvis_x_mm"]
    assert not any("confidence" in name for name in first)


# ---- TRC -----------------------------------------------------------------------------------------


def read_trc(path):
    """Header fields, marker names and (t, m, 3), by the format's description alone."""
    lines = path.read_text().split("\n")
    assert lines[0].split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    fields = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    names = lines[3].split("\t")
    assert names[:2] == ["Frame#", "Time"]
    markers = names[2::3]
    told = [f"{a}{i + 1}" for i in range(len(markers)) for a in "XYZ"]
    assert lines[4].split("\t")[2:] == [*told, ""]  # a tab ends each row
    assert lines[5] == ""
    assert all(line.endswith("\t") for line in lines[6:] if line)
    rows = [line.split("\t")[:-1] for line in lines[6:] if line]
    assert {len(row) for row in rows} == {2 + 3 * len(markers)}
    numbers = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
    return fields, markers, numbers[:, :2], numbers[:, 2:].reshape(len(rows), -1, 3)


def test_trc_holds_the_markers_y_up(clip, tmp_path):
    write_trc(clip, tmp_path / "a.trc")
    fields, markers, counted, points = read_trc(tmp_path / "a.trc")
    assert markers == list(clip.joints)
    assert (fields["DataRate"], fields["CameraRate"], fields["OrigDataRate"]) == ("30",) * 3
    assert (fields["NumFrames"], fields["NumMarkers"], fields["Units"]) == ("60", "18", "mm")
    assert fields["OrigNumFrames"] == "60"
    np.testing.assert_array_equal(counted[:, 0], np.arange(1, 61))
    np.testing.assert_allclose(counted[:, 1], np.arange(60) / 30, atol=1e-6)
    x, y, z = clip.points_mm.transpose(2, 0, 1)
    np.testing.assert_allclose(points, np.stack([x, z, -y], -1), atol=1e-4)
    assert "y up" in (tmp_path / "a.trc").read_text().split("\n")[0]


def test_trc_is_blank_where_unknown(gappy, tmp_path):
    write_trc(gappy, tmp_path / "a.trc")
    _, markers, _, points = read_trc(tmp_path / "a.trc")
    np.testing.assert_array_equal(np.isnan(points), np.isnan(gappy.points_mm))
    assert np.isnan(points[12, markers.index("left_wrist")]).all()
    assert "nan" not in (tmp_path / "a.trc").read_text()


def cells_of_opensim(line):
    """The cells that OpenSim's reader sees: each ends at a tab, a last one only if not blank."""
    *ended, rest = line.split("\t")
    return [*ended, rest] if rest else ended


@pytest.mark.parametrize("last", [np.nan, 1.0], ids=["unknown", "known"])
def test_opensim_finds_a_cell_for_each_coordinate(clip, tmp_path, last):
    points = clip.points_mm.copy()
    points[3, -1] = last
    write_trc(clip._replace(points_mm=points), tmp_path / "a.trc")
    lines = (tmp_path / "a.trc").read_text().split("\n")
    markers = [cell for cell in cells_of_opensim(lines[3])[2:] if cell]
    assert markers == list(clip.joints)
    rows = [cells_of_opensim(line) for line in lines[6:] if line]
    assert {len(row) for row in rows} == {2 + 3 * len(markers)}
    assert [bool(cell) for cell in rows[3][-3:]] == [np.isfinite(last)] * 3


def test_trc_needs_a_frame_rate(clip, tmp_path):
    with pytest.raises(ValueError, match="a TRC file needs a frame rate"):
        write_trc(clip._replace(fps=None), tmp_path / "a.trc")


@pytest.mark.parametrize(("fps", "told"), [(29.97002997, "29.97"), (59.94, "59.94"), (25.0, "25")])
def test_trc_tells_odd_frame_rates(clip, tmp_path, fps, told):
    write_trc(clip._replace(fps=fps), tmp_path / "a.trc")
    assert read_trc(tmp_path / "a.trc")[0]["DataRate"] == told


# ---- NPZ -----------------------------------------------------------------------------------------


def test_npz_explains_itself(gappy, tmp_path):
    write_npz(gappy, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
        assert set(header["arrays"]) == set(file.files) - {"header"}
        np.testing.assert_array_equal(file["joints_mm"], gappy.points_mm)
        np.testing.assert_array_equal(file["joints_px"], gappy.joints_px)
        np.testing.assert_array_equal(file["confidence"], gappy.confidence)
        assert file["pictures"][5, 1] == "cam1/5.jpg"
    assert header["joints"] == list(gappy.joints)
    assert header["parents"] == gappy.parents
    assert (header["fps"], header["up"], header["version"]) == (30.0, "z", 1)
    assert "mm, z up, relative to the world of the calibration" in header["arrays"]["joints_mm"]
    assert "how it is defined" in header["arrays"]["confidence"]


def test_npz_of_a_single_view_tells_its_axes(clip, tmp_path):
    write_npz(y_up(clip)._replace(confidence=None, fps=None), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
        assert "confidence" not in file.files
    assert header["fps"] is None
    assert "y up" in header["arrays"]["joints_mm"]
