"""A look at data sets: what is told, what is missing, and where labels are drawn."""

import json
import shutil

import cv2
import numpy as np
import pytest

from mask_sup import look as command
from mask_sup.data.manifest import join, tabulate, write_manifest
from mask_sup.data.moments import Moment, View
from mask_sup.data.shards import write_shards
from mask_sup.figure.draw import BAND as HEAD
from mask_sup.files.pictures import read_image
from mask_sup.look import SIZE, label_px, main

PREPARED = {
    "dataset": "h36m",
    "layout": "official",
    "protocol": {"name": "six"},
    "protocol_hash": "0123456789ab",
    "masks": "ground_truth_bs",
    "skipped": {"S9/Waiting.1": "shifted"},
    "dropped": {"empty mask": 4},
    "notes": ["S1/Walking.1: the last 2 of 9 frames lack a picture"],
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory, write_moments, cameras_around):
    """A store of four moments to train on and one to validate on, which has no label."""
    root = tmp_path_factory.mktemp("store") / "clean"
    moments = [
        moment._replace(
            name=f"S{1 + i // 2}/Walk.1/{i:06d}",
            views=tuple(jpeg(view) for view in moment.views),
        )
        for i, moment in enumerate(write_moments(root, cameras_around(2), count=5))
    ]
    unknown = moments[4]._replace(joints_world=np.full((18, 3), np.nan))
    splits = {"train": moments[:4], "val": [unknown]}
    tables = [tabulate(root, split, chosen, ("a", "b")) for split, chosen in splits.items()]
    write_manifest(root, join(tables), PREPARED)
    return root


def jpeg(view):
    path = view.image.with_suffix(".jpg")
    cv2.imwrite(str(path), cv2.imread(str(view.image)))
    return view._replace(image=path)


@pytest.fixture
def broken(clean, tmp_path):
    root = shutil.copytree(clean, tmp_path / "broken")
    (root / "masks" / "001_0.png").unlink()
    return root


@pytest.fixture
def look(compose_config, tmp_path):
    """Overrides -> the report, and the folder it was written to."""

    def run(*overrides):
        out = tmp_path / "out"
        return command.look(compose_config("look", f"output={out}", *overrides)), out

    return run


def of(root):
    return "data=h36m", f"data.source.root={root}"


# ---- what is told --------------------------------------------------------------------------------


def test_a_clean_store(clean, look, capsys):
    report, out = look(*of(clean))
    assert report["splits"] == {
        "train": {
            "moments": 4,
            "people": 2,
            "sequences": 2,
            "views": 2,
            "calibrated": 1.0,
            "labelled": 1.0,
            "incomplete": 0,
        },
        "val": {
            "moments": 1,
            "people": 1,
            "sequences": 1,
            "views": 2,
            "calibrated": 1.0,
            "labelled": 0.0,
            "incomplete": 0,
        },
    }
    assert report["missing"] == report["damaged"] == {"count": 0, "first": []}
    assert [(row["view"], row["masks"]) for row in report["masks"]["train"]] == [(0, 4), (1, 4)]
    assert json.loads((out / "look.json").read_text(), parse_constant=pytest.fail) == report
    told = capsys.readouterr().out
    for text in (
        "dataset: h36m",
        "layout: official",
        "protocol: six 0123456789ab",
        "masks: ground_truth_bs",
        "left out S9/Waiting.1: shifted",
        "dropped 4 moments: empty mask",
        "S1/Walking.1: the last 2 of 9 frames",
        "missing: 0",
    ):
        assert text in told


def test_the_sheet_shows_moments_of_every_split(clean, look):
    _, out = look(*of(clean), "pictures=2")
    sheet = read_image(out / "sheet.png")
    assert sheet.shape == (3 * (HEAD + SIZE), 2 * SIZE, 3)  # two of train, one of val
    for row in np.split(sheet, 3):
        for picture in np.split(row[HEAD:], 2, axis=1):
            assert picture.std() > 20
            assert (picture == [80, 255, 160]).all(-1).sum() > SIZE / 2  # the outline


def test_shares_of_known_masks(clean, look, tmp_path):
    root = shutil.copytree(clean, tmp_path / "copy")
    for i, (left, top) in enumerate([(10, 10), (0, 10), (30, 5), (40, 30)]):
        mask = np.zeros((56, 72), np.uint8)
        mask[top : top + 20, left : left + 6 * (i + 1)] = 255
        cv2.imwrite(str(root / "masks" / f"{i:03d}_1.png"), mask)
    row = look(*of(root))[0]["masks"]["train"][1]
    # Squares of 24 pixels around 20 x 6, 12 and 18; of 29 around 20 x 24.
    shares = np.array([20 * 6 / 24**2, 20 * 12 / 24**2, 20 * 18 / 24**2, 20 * 24 / 29**2])
    assert row["least"] == pytest.approx(shares[0])
    assert row["most"] == pytest.approx(shares[2])
    assert row["median"] == pytest.approx(np.median(shares))
    assert row["border"] == 0.25


def test_a_sample_is_spread(clean, look):
    report, _ = look(*of(clean), "sample=3")
    assert [row["masks"] for row in report["masks"]["train"]] == [3, 3]


@pytest.mark.slow
def test_synthetic_data_is_made_first(look, tmp_path):
    splits = ("train", "val", "mocap", "rings", "wide", "spoilt")
    root, counts = tmp_path / "cache", [f"data.source.moments.{split}=1" for split in splits]
    report, _ = look("data=synthetic", f"data.source.root={root}", *counts, "data.source.size=32")
    assert list(report["splits"]) == list(splits)
    assert report["header"] is None
    assert report["splits"]["mocap"]["labelled"] == 1.0


def test_a_recording(look, tmp_path, write_recording, cameras_around):
    root = write_recording(tmp_path / "session", cameras_around(2, [0.1, 0.02, 0, 0, 0]))
    report, out = look("data=recording", f"data.source.root={root}")
    assert report["splits"]["train"]["moments"] == 3
    assert (report["splits"]["train"]["calibrated"], report["splits"]["train"]["labelled"]) == (
        1,
        0,
    )
    assert (out / "sheet.png").is_file()


def test_single_pictures_without_a_camera(look, tmp_path, write_moments, cameras_around):
    root = tmp_path / "photos"
    write_moments(root, cameras_around(1))
    (root / "masks" / "002_0.png").unlink()
    report, _ = look("data=images", f"data.source.root={root}")
    train = report["splits"]["train"]
    assert (train["views"], train["calibrated"], train["incomplete"]) == (1, 0.0, 1)
    assert report["missing"] == {"count": 1, "first": [str(root / "masks" / "002_0.png")]}


# ---- what is missing or damaged ------------------------------------------------------------------


def test_a_missing_mask_is_reported(broken, look, capsys):
    report, _ = look(*of(broken))
    path = str(broken / "masks" / "001_0.png")
    assert report["missing"] == {"count": 1, "first": [path]}
    assert report["splits"]["train"]["incomplete"] == 1
    assert [row["masks"] for row in report["masks"]["train"]] == [3, 3]
    assert path in capsys.readouterr().out


def test_only_the_first_of_many_missing_files_are_named(clean, look, tmp_path):
    root = shutil.copytree(clean, tmp_path / "copy")
    shutil.rmtree(root / "images")
    (root / "masks" / "000_0.png").unlink()
    report, out = look(*of(root))
    assert report["missing"]["count"] == 11
    assert len(report["missing"]["first"]) == 10
    assert report["masks"] == {"train": [], "val": []}
    assert not (out / "sheet.png").exists()


def test_a_missing_archive_is_reported(clean, look, tmp_path):
    write_shards(clean, tmp_path / "shards", 1)
    (tmp_path / "shards" / "val-00000.tar").unlink()
    report, _ = look(*of(tmp_path / "shards"))
    assert report["missing"]["count"] == 4
    assert report["missing"]["first"][0].startswith(str(tmp_path / "shards" / "val-00000.tar@"))
    assert report["splits"]["train"]["incomplete"] == 0


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_damaged_file_of_the_sample_is_reported(kind, clean, look, tmp_path):
    root = shutil.copytree(clean, tmp_path / "copy")
    path = root / kind / ("004_1.png" if kind == "masks" else "004_1.jpg")
    path.write_bytes(b"not a picture")
    report, _ = look(*of(root))
    assert report["damaged"]["count"] == 1
    assert str(path) in report["damaged"]["first"][0]


def test_labels_of_another_skeleton_are_refused(clean, look, tmp_path):
    root = tmp_path / "photos"
    shutil.copytree(clean / "images", root / "images")
    with pytest.raises(
        ValueError, match=r"shape \(17, 3\), the skeleton human18 expects \(18, 3\)"
    ):
        look("data=images", f"data.source.root={root}", "data.source.joints=17")


def test_a_mix_is_looked_at_in_parts(look):
    with pytest.raises(ValueError, match="look at one at a time"):
        look("data=wild_mix")


# ---- where labels are drawn ----------------------------------------------------------------------

BOX = (11.0, -4.0, 60.0)


@pytest.fixture
def moment(tmp_path, write_moments, cameras_around):
    return write_moments(tmp_path / "made", cameras_around(3), count=1)[0]


def test_labels_in_3d_are_projected(moment, project):
    for k, view in enumerate(moment.views):
        px = project(moment.joints_world, view._asdict())
        expected = (px - [11, -4]) * (240 / 60)
        np.testing.assert_allclose(label_px(moment, k, BOX, 240), expected, atol=1e-6)


def test_labels_of_single_views_are_taken_as_they_are():
    unknown = np.full((3, 3), np.nan)
    view = View("a.jpg", "a.png", unknown, unknown, unknown[0], np.zeros(5))
    px = np.array([[[11.0, -4.0], [41.0, 26.0], [np.nan, np.nan]]])
    moment = Moment("a", (view,), unknown, joints_px=px)
    expected = [[0, 0], [120, 120], [np.nan, np.nan]]
    np.testing.assert_allclose(label_px(moment, 0, BOX, 240), expected)


def test_no_label_is_drawn_nowhere(moment):
    blank = moment._replace(joints_world=np.full((18, 3), np.nan))
    assert np.isnan(label_px(blank, 0, BOX, 240)).all()


# ---- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clean", "broken"])
def test_the_exit_status_tells_of_missing_files(name, request, tmp_path, monkeypatch):
    root = request.getfixturevalue(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["look", *of(root)])
    if name == "clean":
        main()
    else:
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 1
    written = tmp_path / "outputs" / "look" / "h36m"
    assert sorted(path.name for path in written.iterdir()) == ["look.json", "sheet.png"]
