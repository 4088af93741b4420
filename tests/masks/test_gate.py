import base64
import json
import re

import cv2
import numpy as np
import pytest

from mask_sup.data.recording import RecordingData
from mask_sup.masks.gate import KINDS, check, list_masks
from mask_sup.masks.motion import MOTION
from mask_sup.masks.scene import SCENE
from mask_sup.masks.several import SEVERAL

COUNT, HEIGHT, WIDTH = 30, 120, 160


def standing(i, x=None, lower=0):
    """A mask of somebody who walks slowly."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    x = 50 + i if x is None else x
    cv2.rectangle(mask, (x - 10, 30), (x + 10, 100 + lower), 255, -1)
    cv2.circle(mask, (x, 25), 9, 255, -1)
    return mask


def doubled(i):
    return standing(i) | np.roll(standing(i), 60, axis=1) if i < 20 else standing(i)


def leaking(i):
    mask = standing(i)
    mask[60:110, 30:120] = 255
    return mask


def shrunk(i):
    mask = standing(i)
    mask[:70] = 0
    return mask


# What is done to frame 12, and the kind that has to be found there.
FAULTS = {
    "missing": lambda i: None,
    "unreadable": lambda i: standing(i) // 255 + np.roll(standing(i), 60, axis=1) // 127,
    "misshapen": lambda i: np.rot90(standing(i)).copy(),
    "empty": lambda i: np.zeros_like(standing(i)),
    "white": lambda i: np.full_like(standing(i), 255),
    "inverted": lambda i: 255 - standing(i),
    "cut_off": lambda i: standing(i) | standing(i, lower=20),
    "doubled": doubled,
    "leaking": leaking,
    "shrunk": shrunk,
    "jumping": lambda i: standing(i, x=120),
}


@pytest.fixture
def write(tmp_path):
    """Cameras -> {frame: fault} as a folder of masks."""

    def masks(**cameras):
        for camera, faults in cameras.items():
            (tmp_path / "masks" / camera).mkdir(parents=True)
            for i in range(COUNT):
                mask = FAULTS[faults[i]](i) if i in faults else standing(i)
                if mask is not None:
                    cv2.imwrite(str(tmp_path / "masks" / camera / f"{i:06d}.png"), mask)
        return tmp_path / "masks"

    return masks


@pytest.fixture
def checked(compose_config):
    """Folder of masks, overrides -> cameras of check.json."""

    def run(root, *overrides):
        path = check(compose_config("check_masks", f"masks={root}", *overrides))
        return json.loads(path.read_text())["cameras"]

    return run


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_found_where_it_is_and_nowhere_else(kind, write, checked):
    told = checked(write(cam01={12: kind}, cam02={}))
    assert list(told["cam01"]["flags"]) == ["12"]
    assert kind in told["cam01"]["flags"]["12"]
    assert told["cam02"] == {"masks": COUNT, "frames": COUNT, "flags": {}}


def test_every_kind_has_a_fault_here():
    assert {*FAULTS, "frozen", "crumbs", *SCENE, *MOTION, *SEVERAL} == set(KINDS)


def crumb(i):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[30 + i : 35 + i, 40:45] = 255
    return mask


def test_crumbs_of_a_person_who_stays_are_told_with_the_remedy(write, checked, capsys, monkeypatch):
    monkeypatch.setitem(FAULTS, "crumbs", crumb)
    told = checked(write(cam01={}, cam02=dict.fromkeys(range(COUNT), "crumbs")))
    assert told["cam01"]["flags"] == {}
    assert all("crumbs" in kinds for kinds in told["cam02"]["flags"].values())
    assert len(told["cam02"]["flags"]) == COUNT
    said = " ".join(capsys.readouterr().out.split())
    assert "cam02: crumbs in 30 of 30 frames (0-29): " in said
    assert "extractor=mediapipe" in said
    assert "extractor.plates=" in said


def test_a_single_crumb_among_good_masks_is_shrunk(write, checked, monkeypatch):
    monkeypatch.setitem(FAULTS, "crumbs", crumb)
    told = checked(write(cam01={12: "crumbs"}))
    assert "shrunk" in told["cam01"]["flags"]["12"]


@pytest.mark.parametrize("kind", ["unreadable", "misshapen", "empty", "white", "inverted"])
@pytest.mark.parametrize("bad", [range(COUNT), [3, 4, 5, 9]])
def test_masks_of_nobody_are_told_with_camera_frames_and_word(write, checked, capsys, kind, bad):
    told = checked(write(cam01={}, cam02=dict.fromkeys(bad, kind)))
    if kind == "misshapen" and len(bad) == COUNT:
        assert told["cam02"]["flags"] == {}  # without the footage their shape may be right
        return
    assert told["cam02"]["flags"] == {str(i): [kind] for i in bad}
    assert told["cam01"]["flags"] == {}
    frames = "0-29" if len(bad) == COUNT else "3-5, 9"
    said = " ".join(capsys.readouterr().out.split())
    assert f"cam02: {kind} in {len(bad)} of {COUNT} frames ({frames}): " in said
    if kind == "unreadable":
        assert "000.png has the values 1, 2: expected the mask of one person" in said.replace(
            "003.png", "000.png"
        )


def test_a_camera_whose_masks_stand_still_is_told(write, checked, capsys):
    root = write(cam01={}, cam02={})
    for i in range(11, 20):
        cv2.imwrite(str(root / "cam02" / f"{i:06d}.png"), standing(10))
    told = checked(root)
    flags = told["cam02"]["flags"]
    assert [int(i) for i, kinds in flags.items() if "frozen" in kinds] == list(range(10, 20))
    assert told["cam01"]["flags"] == {}
    assert "cam02: frozen in 10 of 30 frames (10-19): it stays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((HEIGHT, WIDTH), "misshapen in 30 of 30 frames (0-29): masks are 160x120, pictures "),
        ((WIDTH, 2 * WIDTH), "misshapen"),
        ((2 * WIDTH, 2 * HEIGHT), "masks are 160x120, pictures 320x240: they are scaled where"),
        ((WIDTH, HEIGHT), None),
    ],
)
def test_masks_are_compared_with_the_size_of_the_footage(
    write, checked, write_video, tmp_path, capsys, size, words
):
    root = write(cam01={})
    pictures = [np.full((*size[::-1], 3), 90, np.uint8)] * COUNT
    write_video(tmp_path / "videos" / "cam01.mp4", pictures)
    told = checked(root, f"input={tmp_path / 'videos'}")
    said = " ".join(capsys.readouterr().out.split())
    assert words is None or f"cam01: {words}" in said
    assert ("turned by 90 degrees" in said) == (size == (HEIGHT, WIDTH))
    assert ("cut off or stretched" in said) == (size == (WIDTH, 2 * WIDTH))
    misshapen = {str(i): ["misshapen"] for i in range(COUNT)}
    assert told["cam01"]["flags"] == (misshapen if words and "mis" in words else {})


def test_many_faults_in_noise_are_found_without_false_alarms(write, checked):
    faults = {4: "leaking", 9: "empty", 14: "doubled", 20: "shrunk", 25: "missing"}
    told = checked(write(cam01=faults))["cam01"]["flags"]
    assert {int(i): kinds for i, kinds in told.items()}.keys() == faults.keys()
    assert all(kind in told[str(i)] for i, kind in faults.items())


def test_a_leak_that_stays_is_found_by_the_usual_area(write, checked):
    root = write(cam01={})
    for i in range(12, 22):
        mask = standing(i)
        mask[20:115, 20:150] = 255
        cv2.imwrite(str(root / "cam01" / f"{i:06d}.png"), mask)
    flags = checked(root)["cam01"]["flags"]
    assert {str(i) for i in range(12, 22)} <= {
        i for i, kinds in flags.items() if "leaking" in kinds
    }


def test_kinds_can_be_ignored(write, checked, compose_config):
    root = write(cam01={12: "cut_off"})
    assert checked(root, "ignore=[cut_off]")["cam01"]["flags"] == {}
    with pytest.raises(ValueError, match=r"ignore=\['cut_of'\]: expected kinds of"):
        checked(root, "ignore=[cut_of]")


def test_the_footage_tells_what_is_missing_at_the_end(write, checked, write_video, tmp_path):
    root = write(cam01={}, cam02={})
    (root / "cam02" / "000029.png").unlink()
    pictures = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * (COUNT + 1)
    for camera in ("cam01", "cam02"):
        write_video(tmp_path / "videos" / f"{camera}.mp4", pictures)
    told = checked(root, f"input={tmp_path / 'videos'}")
    assert told["cam01"]["flags"] == {"30": ["missing"]}
    assert told["cam02"]["flags"] == {"29": ["missing"], "30": ["missing"]}


def test_masks_beyond_the_footage_are_refused(write, checked, write_video, tmp_path):
    root = write(cam01={})
    write_video(tmp_path / "cam01.mp4", [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 5)
    with pytest.raises(ValueError, match="'cam01' has a mask of frame 29 but .* has 5 frames"):
        checked(root, f"input={tmp_path / 'cam01.mp4'}")


def test_the_sheet_shows_flagged_frames_and_needs_no_other_file(
    write, checked, write_video, tmp_path
):
    root = write(cam01={12: "leaking", 20: "missing"}, cam02={})
    pictures = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * COUNT
    write_video(tmp_path / "cam01.mp4", pictures)
    for source in ("", f"input={tmp_path / 'cam01.mp4'}"):
        checked(root, *[source] if source else [])
        page = (root / "check.html").read_text()
        images = re.findall(r'src="([^"]*)"', page)
        assert len(images) == 2
        assert "12: leaking" in page
        assert "20: missing" in page
        for image in images:
            kind, data = image.split(",")
            assert kind == "data:image/jpeg;base64"
            decoded = np.frombuffer(base64.b64decode(data), np.uint8)
            assert cv2.imdecode(decoded, cv2.IMREAD_COLOR) is not None
        assert "http" not in page


def test_a_sheet_does_not_grow_without_end(write, checked):
    root = write(cam01=dict.fromkeys(range(0, COUNT, 2), "empty"))
    checked(root, "pictures=4")
    page = (root / "check.html").read_text()
    assert page.count("<img") == 4
    assert "15 of 30 frames" in page


def test_the_table_names_kinds_and_cameras(write, checked, capsys):
    checked(write(cam01={12: "leaking"}, cam02={}))
    said = capsys.readouterr().out
    assert "cam02" in said
    assert "leaking" in said
    assert "doubled" not in said


def test_names_are_numbers_of_frames(tmp_path):
    (tmp_path / "cam01").mkdir()
    for name in ("cam01_007.png", "cam01_010.png"):
        cv2.imwrite(str(tmp_path / "cam01" / name), standing(0))
    assert list(list_masks(tmp_path)["cam01"]) == [7, 10]
    cv2.imwrite(str(tmp_path / "cam01" / "7.png"), standing(0))
    with pytest.raises(ValueError, match="are of one frame: delete one"):
        list_masks(tmp_path)
    (tmp_path / "cam01" / "7.png").rename(tmp_path / "cam01" / "person.png")
    with pytest.raises(ValueError, match=r"person\.png has no frame number"):
        list_masks(tmp_path)
    for name in ("cam01_007.png", "cam01_010.png"):
        (tmp_path / "cam01" / name).unlink()
    assert list(list_masks(tmp_path)["cam01"]) == [0]
    with pytest.raises(FileNotFoundError, match="no masks in"):
        list_masks(tmp_path / "cam01")


def test_the_number_of_a_frame_is_the_one_that_counts(tmp_path):
    (tmp_path / "cam01").mkdir()
    for i in (9, 10, 11):
        cv2.imwrite(str(tmp_path / "cam01" / f"{i}_640x360.png"), standing(0))
    assert list(list_masks(tmp_path)["cam01"]) == [9, 10, 11]


def test_frames_that_no_camera_counts_are_not_missing(write, checked):
    root = write(cam01={}, cam02={})
    for path in root.glob("*/*.png"):
        if int(path.stem) % 4:
            path.unlink()
    (root / "cam02" / "000012.png").unlink()
    told = checked(root)
    assert (told["cam01"]["frames"], told["cam02"]["frames"]) == (8, 8)
    assert told["cam02"]["flags"] == {"12": ["missing"]}


@pytest.mark.parametrize("names", [range(1, COUNT + 1), range(0, 4 * COUNT, 4)])
def test_masks_have_the_numbers_of_the_pictures(write, checked, tmp_path, names):
    root = write(cam01={12: "leaking"})
    (tmp_path / "frames" / "cam01").mkdir(parents=True)
    for i in names:
        picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        cv2.imwrite(str(tmp_path / "frames" / "cam01" / f"{i}.jpg"), picture)
    with pytest.raises(ValueError, match="go together by the numbers"):
        checked(root, f"input={tmp_path / 'frames'}")
    for i, name in reversed(list(enumerate(names))):
        (root / "cam01" / f"{i:06d}.png").rename(root / "cam01" / f"{name}.png")
    told = checked(root, f"input={tmp_path / 'frames'}")["cam01"]
    assert told["frames"] == COUNT
    assert list(told["flags"]) == [str(names[12])]


def test_masks_and_pictures_without_numbers_go_by_their_stems(write, checked, tmp_path):
    root = write(cam01={})
    (tmp_path / "frames" / "cam01").mkdir(parents=True)
    for i in range(COUNT):
        name = chr(ord("a") + i // 26) + chr(ord("a") + i % 26)
        picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        cv2.imwrite(str(tmp_path / "frames" / "cam01" / f"{name}.jpg"), picture)
        (root / "cam01" / f"{i:06d}.png").rename(root / "cam01" / f"{name}.png")
    (root / "cam01" / "ac.png").unlink()
    told = checked(root, f"input={tmp_path / 'frames'}")["cam01"]
    assert told["flags"] == {"2": ["missing"]}


# ---- training without what is flagged -----------------------------------------------------------


@pytest.fixture
def recording(tmp_path, write_recording, cameras_around):
    """A recording of 6 moments and 2 cameras, with flags as the gate writes them."""
    root = write_recording(tmp_path / "walk", cameras_around(2), 6)

    def flagged(**cameras):
        told = {
            name: {"masks": 6, "flags": dict.fromkeys(map(str, flags), ["leaking"])}
            for name, flags in cameras.items()
        }
        (root / "masks" / "check.json").write_text(json.dumps({"cameras": told}))
        return RecordingData(root, None, joints=18, every=1, drop_flagged=True)

    return flagged


def test_moments_flagged_in_any_camera_are_left_out(recording):
    moments = recording(cam0=[2], cam1=[2, 4]).moments("train")
    assert [moment.name[-1] for moment in moments] == ["0", "1", "3", "5"]
    sequences = [moment.sequence for moment in moments]
    assert sequences[0] == sequences[1] != sequences[2] != sequences[3]  # gaps part neighbours
    assert len(set(sequences)) == 3


def test_nothing_is_left_out_unless_asked(recording):
    data = recording(cam0=[2], cam1=[])
    data.drop_flagged = False
    moments = data.moments("train")
    assert len(moments) == 6
    assert len({moment.sequence for moment in moments}) == 1


def test_flags_that_do_not_belong_to_the_masks_are_refused(recording):
    with pytest.raises(ValueError, match=r"check\.json is not of the masks of camera 'cam1': run"):
        recording(cam0=[2]).moments("train")
    data = recording(cam0=[0, 1, 2, 3, 4, 5], cam1=[])
    with pytest.raises(ValueError, match="every moment is flagged"):
        data.moments("train")
    (data.masks / "check.json").unlink()
    with pytest.raises(FileNotFoundError, match="drop_flagged needs .*mask_sup.masks check"):
        data.moments("train")


def chair(i):
    mask = standing(i)
    mask[70:100, 95:120] = 255
    return mask


def test_a_chair_in_the_masks_is_told_with_frames_and_remedy(write, checked, capsys, monkeypatch):
    monkeypatch.setitem(FAULTS, "chair", chair)
    told = checked(write(cam01={}, cam02=dict.fromkeys(range(COUNT), "chair")), "ignore=[doubled]")
    assert told["cam01"]["flags"] == {}
    assert [kinds.count("object") for kinds in told["cam02"]["flags"].values()] == [1] * COUNT
    said = " ".join(capsys.readouterr().out.split())
    assert "cam02: object in 30 of 30 frames (0-29): part of it keeps its outline" in said
    assert "extractor=mediapipe" in said
