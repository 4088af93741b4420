import pytest

from mask_sup.prepare.protocol import Keep, Protocol, Split, load_protocol

KEEP = "keep: {smallest: 0.01, largest: 0.8, border: 0.1, occluded: 0.5}\n"
TEXT = "dataset: h36m\njoints: none\nsplits: {train: {subjects: [S1], stride: 2}}\n" + KEEP


def protocol(**changes):
    splits = {"train": Split(("S1", "S5"), 5), "val": Split(("S9",), 2, frames=4)}
    given = {"name": "x", "dataset": "h36m", "splits": splits, "keep": Keep(0, 1, 1, 1)}
    return Protocol(**given | {"joints": "none"} | changes)


@pytest.fixture
def write(tmp_path):
    def written(text):
        (tmp_path / "mine.yaml").write_text(text)
        return tmp_path / "mine.yaml"

    return written


@pytest.mark.parametrize(
    "name", ["h36m_six", "h36m_fifteen", "mpi_inf_3dhp", "mpi_inf_3dhp_test", "tiktok", "mpii"]
)
def test_the_shipped_ones_load_under_their_names(name):
    found = load_protocol(name)
    assert found.name == name
    assert len(found.hash) == 12


def test_the_papers_evaluation_on_3dhp_leaves_out_occluded_moments_alone():
    paper = load_protocol("mpi_inf_3dhp").splits
    assert paper["train"].subjects == ("S1", "S2", "S3", "S4", "S5", "S6")
    for split in (paper["val"], paper["test"]):
        assert split.subjects == ("S7", "S8")
        assert split.drops("occluded")
        assert not split.drops("cut off at the border")
    assert load_protocol("mpi_inf_3dhp_test").splits["test"].drop is False


def test_what_is_dropped_is_a_fault_that_there_is(write):
    with pytest.raises(ValueError, match=r"train\.drop is true, false or occluded, not 'cut"):
        load_protocol(write(TEXT.replace("stride: 2", "drop: cut off")))


def test_each_frame_is_of_the_splits_of_its_subject():
    assert protocol().frames("S5", "Walking.1", 12) == {"train": (0, 5, 10)}
    assert protocol().frames("S7", "Walking.1", 12) == {}


def test_frames_are_drawn_once_and_for_all():
    first = protocol().frames("S9", "Walking.1", 100)["val"]
    assert len(first) == 4
    assert list(first) == sorted(first)
    assert all(n % 2 == 0 and 0 <= n < 100 for n in first)
    assert protocol().frames("S9", "Walking.1", 100)["val"] == first
    assert protocol().frames("S9", "Walking.2", 100)["val"] != first
    assert protocol(seed=1).frames("S9", "Walking.1", 100)["val"] != first


def test_the_hash_is_of_all_that_matters():
    assert protocol(name="y").hash == protocol().hash
    for change in ({"seed": 1}, {"actions": ("Walking",)}, {"keep": Keep(0, 1, 1, 0.5)}):
        assert protocol(**change).hash != protocol().hash


def test_actions_and_subjects_that_are_not_asked_for_are_not_wanted():
    walking = protocol(actions=("Walking",))
    assert walking.wants("S1", "Walking")
    assert not walking.wants("S1", "Eating")
    assert not walking.wants("S11", "Walking")


def test_a_file_of_ones_own(write):
    found = load_protocol(str(write(TEXT)))
    assert found.name == "mine"
    assert found.splits["train"] == Split(("S1",), 2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXT + "strides: 3\n", r"mine\.yaml expects the keys .* unknown keys \['strides'\]"),
        (TEXT.replace("stride: 2", "step: 2"), r"splits\.train expects .*unknown keys \['step'\]"),
        (TEXT.replace(KEEP, ""), r"mine\.yaml: keep expects the keys .*, got None"),
        (TEXT.replace("dataset: h36m\n", ""), r"mine\.yaml lacks a key: .*dataset"),
        (TEXT.replace("stride: 2", "stride: 0"), "stride and frames of 1 or more"),
        (TEXT.replace("[S1]", "[00034]"), r"names: quote \[28\]"),
    ],
)
def test_what_is_wrong_is_named(write, text, told):
    with pytest.raises(ValueError, match=told):
        load_protocol(str(write(text)))


def test_an_unknown_one_is_refused_with_those_there_are():
    with pytest.raises(FileNotFoundError, match=r"no protocol 'h37m'.*h36m_six"):
        load_protocol("h37m")
