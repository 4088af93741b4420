"""Rows of runs, scripts/collect.py and scripts/paper_tables.py, on fabricated run folders."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mask_sup.method.rows import grouped, read_rows, run_folders

ROOT = Path(__file__).parents[1]
FLAGS = {
    "UP": False, "T": False, "labels": False, "anatomy": [], "relabel": 0, "upright": False,
    "person_ids": False, "time": False, "stages": ["full/arms"],
}  # fmt: skip


def write_run(
    folder, seed=0, without=(), name="full", finished=True, mpjpe=100.0, flags=(), **keys
):
    """A run as a training leaves it, as far as tables look."""
    stage = {"module": {"_target_": "mask_sup.method.stages.ArmsStage"}, "max_steps": 1}
    config = {
        "name": name, "seed": seed, "cascade": {"arms": stage}, "detector": {"mask_input": True},
        "without": {part: part in without for part in ("psi", "G", "Delta")},
        "data": {"seed": seed, "source": {"_target_": "a.SyntheticData", "root": str(folder)}},
    } | keys  # fmt: skip
    (folder / "arms").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "data.json").write_text("{}")
    (folder / "arms" / "settings.json").write_text(json.dumps(FLAGS | dict(flags)))
    told = {
        "val/mono/mpjpe_mm": mpjpe, "val/mono/sf_mpjpe_mm": 1.0, "val/mono/mse_2d_pct": mpjpe / 20,
        "val/ambiguity_pct": mpjpe / 5,
    }  # fmt: skip
    if finished:
        (folder / "metrics.json").write_text(json.dumps(told))
    return folder


def evaluate(folder, data="h36m_six", split="test", untrained=False, **rows):
    """What an evaluation adds: figures by setting."""
    changes = {"plain": {}, "SF": {"SF": True}, "SPP_linear": {"SPP": True, "labels": True}}
    told = [
        {
            "setting": name,
            "flags": FLAGS | {"SF": False, "SPP": False} | changes[name],
            "figures": {"mono/mpjpe_mm": value, "mono/p_mpjpe_mm": None, "actions": {}},
        }
        for name, value in rows.items()
    ]
    path = folder / "evaluation" / f"{split}{untrained}" / "metrics.json"
    path.parent.mkdir(parents=True)
    about = {"rows": told, "data": data, "split": split, "untrained": untrained}
    path.write_text(json.dumps(about))


def script(name, *words):
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def sweep(tmp_path):
    """Two rows over three seeds, as Hydra numbers them, and one seed that is not finished."""
    folder = tmp_path / "sweep"
    for seed, (whole, less) in enumerate([(90.0, 110.0), (100.0, 120.0), (104.0, 112.0)]):
        write_run(folder / str(2 * seed), seed, mpjpe=whole)
        write_run(folder / str(2 * seed + 1), seed, ("psi", "G"), mpjpe=less)
    write_run(folder / "6", 3, finished=False)
    (folder / "7" / ".hydra").mkdir(parents=True)  # refused at its start
    return folder


def groups_of(*paths):
    return grouped(row for folder in run_folders(paths) for row in read_rows(folder))


def test_runs_that_differ_in_their_seed_alone_are_one_row(sweep):
    full, less = groups_of(sweep)
    assert (full.label, less.label) == ("full", "full, wo psi, G")
    assert full.seeds == less.seeds == (0, 1, 2)
    assert full.figures["mono/mpjpe_mm"] == (90.0, 100.0, 104.0)
    # By hand: a mean of 98, squared distances 64 + 4 + 36 over two.
    assert full.cell("mono/mpjpe_mm") == f"98.0 ± {52**0.5:.1f}"
    assert full.cell("ambiguity_pct") == f"19.6 ± {52**0.5 / 5:.1f}"
    assert (full.data, full.split, full.setting, full.given) == (
        "SyntheticData", "val", "plain", "nothing",
    )  # fmt: skip
    assert not [key for key in full.figures if "sf_" in key]


def test_a_sweep_and_its_runs_named_one_by_one_give_the_same_rows(sweep):
    assert groups_of(sweep) == groups_of(*sorted(sweep.iterdir(), reverse=True))


def test_settings_are_rows_of_their_own(tmp_path):
    evaluate(write_run(tmp_path / "a"), plain=100.0, SF=80.0, SPP_linear=60.0)
    rows = {(g.split, g.setting, g.given): g.figures["mono/mpjpe_mm"] for g in groups_of(tmp_path)}
    assert rows == {
        ("test", "plain", "nothing"): (100.0,),
        ("test", "SF", "SF"): (80.0,),
        ("test", "SPP_linear", "SPP, labels"): (60.0,),
        ("val", "plain", "nothing"): (100.0,),
    }


def test_an_evaluation_stands_for_the_validation_of_the_training(tmp_path):
    evaluate(write_run(tmp_path / "a", mpjpe=100.0), split="val", plain=99.0)
    evaluate(tmp_path / "a", split="val", untrained=True, plain=480.0)
    trained, untrained = groups_of(tmp_path)
    assert trained.figures["mono/mpjpe_mm"] == (99.0,)
    assert (untrained.name, untrained.figures["mono/mpjpe_mm"]) == ("full (untrained)", (480.0,))


def test_experiments_of_one_name_are_told_apart_by_what_differs(tmp_path):
    write_run(tmp_path / "a", renderer={"width": 0.1, "size": 64})
    write_run(tmp_path / "b", renderer={"width": 0.2, "size": 64})
    assert [group.name for group in groups_of(tmp_path)] == [
        "full renderer.width=0.1",
        "full renderer.width=0.2",
    ]


def test_stages_of_one_run_are_told_apart(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", flags={"stages": ["full/skeleton"]})
    assert [g.name for g in groups_of(tmp_path)] == [
        "full stage=full/arms", "full stage=full/skeleton",
    ]  # fmt: skip


def test_one_run_twice_is_refused(sweep):
    with pytest.raises(ValueError, match=r"two runs of full .* name each run once"):
        groups_of(sweep, sweep / "0")


def test_a_folder_that_is_no_run_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    done = script("collect", tmp_path / "empty")
    assert done.returncode == 1
    assert "empty is neither the folder of a run nor of a sweep" in done.stderr
    assert "Traceback" not in done.stderr


def test_collect_tells_mean_spread_and_what_is_not_finished(sweep, tmp_path):
    done = script("collect", sweep, "--out", tmp_path / "rows.json")
    assert done.returncode == 0, done.stderr
    assert "SyntheticData, val, setting plain" in done.stdout
    assert "| full, wo psi, G | nothing | 3 | 114.0 ± 5.3 |" in done.stdout
    assert "7: nothing" in done.stdout
    assert "6: nothing measured: its training is not finished" in done.stdout
    full, _ = json.loads((tmp_path / "rows.json").read_text())
    assert full["figures"]["mono/mpjpe_mm"] == {
        "mean": 98.0, "spread": pytest.approx(52**0.5), "values": [90.0, 100.0, 104.0],
    }  # fmt: skip


@pytest.fixture
def tables(sweep, tmp_path):
    """Tables of the sweep and of one run of Human3.6M under three settings."""
    run = write_run(tmp_path / "h36m", name="paper", finished=False)
    evaluate(run, plain=97.0, SF=85.0, SPP_linear=66.0)
    evaluate(run, untrained=True, plain=500.0)
    evaluate(run, split="val", plain=94.0)
    evaluate(run, data="h36m_fifteen", split="fifteen", plain=101.0)
    given = write_run(tmp_path / "given", name="ours", finished=False)
    path = given / "evaluation" / "test" / "metrics.json"
    path.parent.mkdir(parents=True)
    flags = FLAGS | {"SF": False, "SPP": False, "T": True, "anatomy": ["chains"]}
    row = {"setting": "plain", "flags": flags, "figures": {"mono/mpjpe_mm": 70.0}}
    about = {"rows": [row], "data": "h36m_six", "split": "test", "untrained": False}
    path.write_text(json.dumps(about))
    done = script("paper_tables", sweep, run, given, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    return sweep, run, given, tmp_path / "out"


def lines(out, table):
    return json.loads((out / "tables.json").read_text())[table]["rows"]


def test_published_figures_are_those_of_the_paper(tables):
    rows = {(row["method"], row["given"]): row["published"] for row in lines(tables[-1], "table1")}
    assert rows["Honari et al. [15]", "SPP"] == ["2.38", "73.8", "72.6", "63.0"]
    assert rows["Kundu et al. [23]", "UP, T, SF"] == ["", "99.2", "", ""]
    assert len([row for row in lines(tables[-1], "table1") if any(row["published"])]) == 15
    rows = {(row["method"], row["given"]): row["published"] for row in lines(tables[-1], "table2")}
    assert rows["Mask as Supervision", "nothing"] == ["60.2", "24.7", "19.36"]


def test_measured_rows_stand_beside_published_ones_of_the_same_settings_alone(tables):
    rows = {row["method"]: row for row in lines(tables[-1], "table1") if any(row["measured"])}
    rows |= {
        f"{row['method']} {row['data']}": row
        for row in lines(tables[-1], "table1") if row["method"] == "paper, plain"
    }  # fmt: skip
    rows.pop("paper, plain")
    beside = {key: (row["published"][1], row["measured"][1]) for key, row in rows.items()}
    assert beside == {
        "Mask as Supervision (paper, SPP_linear)": ("65.5", "66.0"),
        "Mask as Supervision (paper, SF)": ("85.6", "85.0"),
        "Mask as Supervision (paper, plain)": ("95.9", "97.0"),
        "paper, plain h36m_fifteen fifteen": ("", "101.0"),  # of another protocol
        "paper, plain h36m_six val": ("", "94.0"),  # of another split
        "paper (untrained), plain": ("", "500.0"),
        "ours, plain": ("", "70.0"),  # given a template and anatomy
        "full, plain": ("", f"98.0 ± {52**0.5:.1f}"),  # of other data
        "full, wo psi, G, plain": ("", "114.0 ± 5.3"),
    }
    assert rows["ours, plain"]["given"] == "T, anatomy"
    # Nothing of Human3.6M is in the table of MPI-INF-3DHP.
    measured = {row["data"] for row in lines(tables[-1], "table2") if any(row["measured"])}
    assert measured == {"SyntheticData val"}


def test_table_3_sets_rows_side_by_side_by_what_is_left_out(tables):
    rows = [
        (row["method"], row["published"], row["measured"][0]) for row in lines(tables[-1], "table3")
    ]
    assert rows == [
        ("wo psi, G, Delta (full)", ["118.1", "48.73"], ""),
        ("wo psi, G (full)", ["127.4", "23.34"], "114.0 ± 5.3"),
        ("wo G (full)", ["102.6", "22.83"], ""),
        ("full (full)", ["95.9", "20.33"], f"98.0 ± {52**0.5:.1f}"),
    ]


def test_the_files_are_equal_when_they_are_made_again(tables, tmp_path):
    sweep, run, given, out = tables
    again = script("paper_tables", given, *sorted(sweep.iterdir()), run, "--out", tmp_path / "more")
    assert again.returncode == 0, again.stderr
    for name in ("tables.md", "tables.tex", "tables.json"):
        assert (out / name).read_bytes() == (tmp_path / "more" / name).read_bytes()
        assert str(tmp_path) not in (out / name).read_text()
    text = (out / "tables.tex").read_text()
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 3
    assert "114.0 $\\pm$ 5.3" in text
    assert "MSE \\%" in text


def test_without_runs_all_measured_columns_are_blank(tmp_path):
    done = script("paper_tables", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for table in ("table1", "table2", "table3"):
        assert lines(tmp_path / "out", table)
        assert not any(cell for row in lines(tmp_path / "out", table) for cell in row["measured"])
