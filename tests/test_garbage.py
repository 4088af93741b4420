"""A few of the damaged inputs that benchmarks/reliability.py counts by the thousand."""

import garbage
import pytest

CASES = 25


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_damage_is_unhandled_or_silently_wrong(tmp_path, write_checkpoint):
    checkpoint = write_checkpoint(tmp_path / "run")
    for number, (name, kind) in enumerate(garbage.all_kinds(tmp_path, checkpoint).items()):
        kind.run(CASES, number)
        assert set(kind.found) <= {"read", "refused"}, (name, kind.told[:3])
