"""mask-sup prepare: which data set is meant, and what is told where it is none."""

from importlib import import_module

import pytest
from click.testing import CliRunner

from mask_sup.prepare.__main__ import DATA_SETS, main
from mask_sup.prepare.protocol import load_protocol


def told(*words):
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_data_set_has_a_reader_and_a_protocol_of_its_own(name):
    kind = DATA_SETS[name]
    assert callable(import_module(f"mask_sup.prepare.{kind.module}").find_clips)
    assert load_protocol(kind.protocol).dataset == kind.dataset
    page = told(name, "--help").output
    assert f"\n    mask-sup prepare {name} downloads/" in page
    assert f"[default: {kind.protocol}]" in " ".join(page.split())
    assert name in told("--help").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["h3m", "a", "b"], "no command 'h3m': did you mean h36m?"),
        (["h36m"], "Missing argument 'ROOT'"),
        (["h36m", "raw", "store", "--protocl", "x"], "--protocol"),
        (["h36m", "raw", "store", "--size", "big"], "'big' is not a valid integer"),
        (["h36m", "raw", "store", "--protocol", "h36m_sixx"], "did you mean h36m_six?"),
        (["h36m", "raw", "store", "--protocol", "tiktok"], "is for tiktok, not h36m"),
        (["h36m", "raw", "store"], "raw"),
        (["3dhp", "raw", "store"], "raw"),
        (["tiktok", "raw", "store"], "raw"),
        (["mpii", "raw", "store"], "MPII has no masks"),
        (["mpii", "raw", "store", "--masks", "x"], "raw"),
    ],
)
def test_a_wrong_call_is_a_few_lines_and_leaves_nothing(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = told(*words)
    assert found.exit_code
    assert said in found.output
    assert len(found.output.splitlines()) <= 5
    assert not list(tmp_path.iterdir())
