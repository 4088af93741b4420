import pickle

import numpy as np
import pytest

from mask_sup.files.kept import Kept, digest


def test_what_was_made_is_read_and_not_made_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(3.0)}

    kept = Kept(tmp_path / "kept", {"x": 1})
    for again in (kept, kept, Kept(tmp_path / "kept", {"x": 1}), pickle.loads(pickle.dumps(kept))):
        assert again.made("part", make)["a"].tolist() == [0, 1, 2]
    assert len(made) == 1
    Kept(tmp_path / "kept", {"x": 2}).made("part", make)
    assert len(made) == 2
    assert len(list((tmp_path / "kept").iterdir())) == 1  # what depends on x = 1 is gone


def test_what_failed_leaves_nothing(tmp_path):
    def fail():
        raise KeyboardInterrupt

    kept = Kept(tmp_path / "kept", None)
    with pytest.raises(KeyboardInterrupt):
        kept.made("part", fail)
    assert not (tmp_path / "kept").exists()
    kept.forget()  # of nothing


def test_a_damaged_part_is_told(tmp_path):
    kept = Kept(tmp_path / "kept", None)
    kept.made("part", lambda: {"a": np.zeros(3)})
    path = next((tmp_path / "kept").rglob("part.npz"))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"part\.npz cannot be read .*: remove it"):
        kept.made("part", dict)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, np.float32)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.array([0.0, 1.0]), np.array([1.0, 0.0])),
    ],
)
def test_digests_tell_arrays_apart(one, other):
    assert digest("a", one) == digest("a", one.copy())
    assert digest("a", one) != digest("a", other)
    assert digest("a", one) != digest("b", one)
    # By what they hold, not by how it lies in memory.
    assert digest("a", np.arange(6).reshape(2, 3).T) == digest(
        "a", np.array([[0, 3], [1, 4], [2, 5]])
    )
