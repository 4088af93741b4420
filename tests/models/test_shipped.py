import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mask_sup
from mask_sup.data.manifest import join, tabulate, write_manifest
from mask_sup.evaluate import evaluate
from mask_sup.files.config import plain
from mask_sup.models import shipped
from mask_sup.models.checkpoint import (
    fingerprint,
    load,
    read_checkpoint,
    restore,
    run_folder,
    start_from,
)
from mask_sup.predict import predict
from mask_sup.train import train

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "ship_weights.py"
HEAT = "detector.head.heatmap.weight"
PAGE = "# A page\n\n{0}\nold figures\n{1}\n\nIts end.\n"


@pytest.fixture(scope="module")
def ships():
    """The module of the script."""
    spec = importlib.util.spec_from_file_location("ship_weights", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shipped")


@pytest.fixture(scope="module")
def trained(folder, write_checkpoint, write_moments, cameras_around):
    """The checkpoint of a run that has learned without labels, on a prepared data set."""
    data, tables = folder / "data", []
    for seed, split in enumerate(("train", "val")):
        moments = write_moments(data / split, cameras_around(2), count=3, seed=10 * seed)
        tables.append(tabulate(data, split, moments, ["a", "b"]))
    write_manifest(data, join(tables), {})
    path = write_checkpoint(folder / "run", f"data.source.root={data}")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"][HEAT] *= 0.1  # heatmaps as wide as a trained one's
    torch.save(checkpoint, path)
    told = {
        "command": ["/somewhere/train.py", "data=h36m", "hydra.run.dir=/somewhere/run"],
        "git": "0123456789abcdef",
        "git_changes": "",
        "seed": 0,
        "versions": {"torch": torch.__version__},
        "machine": "a machine",
    }
    (folder / "run" / "run.json").write_text(json.dumps(told))
    return path


@pytest.fixture(scope="module")
def metrics(trained, compose_config):
    evaluate(compose_config("evaluate", f"checkpoint={trained}"))
    return trained.parents[2] / "evaluation" / "val" / "metrics.json"


@pytest.fixture(scope="module")
def page(folder, ships):
    path = folder / "page.md"
    path.write_text(PAGE.format(ships.BEGIN, ships.END))
    return path


@pytest.fixture(scope="module")
def pair(folder, ships, trained, metrics, page):
    """A folder with the two files."""
    ships.ship(trained, [metrics], folder / "pair", page)
    return folder / "pair"


@pytest.fixture
def copied(pair, tmp_path):
    """A folder with a copy of the two files, and what changes one of them."""
    for file in pair.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change_card(folder, change, name="detector.json"):
    card = json.loads((folder / name).read_text())
    change(card)
    (folder / name).write_text(json.dumps(card))


def change_weights(folder, change):
    """Other weights, whose sum the card tells."""
    state = load_file(folder / "detector.safetensors")
    change(state)
    save_file(state, folder / "detector.safetensors")
    found = hashlib.sha256((folder / "detector.safetensors").read_bytes()).hexdigest()
    change_card(folder, lambda card: card["weights"].update(sha256=found))


def images(count=4, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


# -- there and back -------------------------------------------------------------------------------


def test_weights_come_back_rounded_to_half_floats_and_no_more(pair, trained):
    before, after = load(trained).state_dict(), load(pair).state_dict()
    assert list(before) == list(after)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value.half().float(), rtol=0, atol=0)
        # 11 bits of a mantissa; below 2^-14 steps of 2^-24
        torch.testing.assert_close(after[name], value, rtol=2**-11, atol=2**-25)


def test_joints_of_pictures_move_by_no_more_than_the_card_allows(pair, trained, ships):
    told = load(pair).card["weights"]
    assert told["dtype"] == "float16"
    with torch.inference_mode():
        moved = 50 * (load(pair)(images()) - load(trained)(images())).norm(dim=-1)
    assert 0 < moved.max() < ships.TINY_PCT["largest_pct_of_crop"]
    measured = told["rounding_moves_joints_by"]
    assert 0 < measured["mean_pct_of_crop"] < measured["largest_pct_of_crop"]
    assert all(measured[key] < most for key, most in ships.TINY_PCT.items())
    assert measured["joints"] == 3 * 2 * 18  # moments, views


def test_weights_that_half_floats_would_change_stay_whole(ships, trained):
    read = read_checkpoint(trained)
    read["state_dict"][HEAT] *= 100  # narrow heatmaps, in which little decides
    detector = restore(read)
    state, told = ships.rounded(detector, read["config"])
    assert told["dtype"] == "float32"
    measured = told["float16_would_move_joints_by"]
    assert any(measured[key] > most for key, most in ships.TINY_PCT.items())
    assert all(torch.equal(value, state[name]) for name, value in detector.state_dict().items())


@pytest.mark.parametrize("name", ["", "detector.safetensors", "detector.json"])
def test_a_pair_goes_by_its_folder_and_both_its_files(pair, name):
    assert fingerprint(load(pair / name)) == fingerprint(load(pair))
    assert run_folder(pair / name) == pair


def test_a_pair_may_have_another_name(copied):
    for file in list(copied.glob("detector.*")):
        file.rename(file.with_stem("mine"))
    assert not load(copied / "mine.json").training


def test_the_card_tells_ancestry_training_and_figures(pair, metrics, trained):
    card, told = load(pair).card, json.loads(metrics.read_text())
    assert card["settings"]["labels"] is False
    assert card["training"]["command"] == "python -m mask_sup.train data=h36m"
    assert card["training"]["commit"] == "0123456789abcdef"
    figures = card["figures"]["val"]
    assert figures["mono/mpjpe_mm"] == told["mono/mpjpe_mm"]
    assert (figures["command"], figures["moments"]) == ("python -m mask_sup.evaluate split=val", 3)
    assert set(card["config"]) == {"name", "seed", "skeleton", "detector", "data"}
    assert card["weights"]["bytes"] == (pair / "detector.safetensors").stat().st_size


def test_the_card_of_embedded_data_names_no_folder_of_this_machine(ships, compose_config):
    config = plain(compose_config("train", "data.source.root=/here/alone"))
    told = ships.portable(config)
    assert "/here" not in json.dumps(told)
    assert config["data"]["source"]["root"] == "/here/alone"
    assert told["data"]["source"]["moments"] == config["data"]["source"]["moments"]


def test_a_trainings_checkpoint_has_a_card_too(trained):
    assert load(trained).card["config"] == read_checkpoint(trained)["config"]


def test_the_page_gets_the_figures_and_keeps_its_words(pair, page, ships, metrics):
    text, told = page.read_text(), json.loads(metrics.read_text())
    assert "old figures" not in text
    assert text.startswith("# A page\n")
    assert text.endswith("Its end.\n")
    assert f"| `val` | 3 | {told['mono/mpjpe_mm']:.1f} / {told['tri/mpjpe_mm']:.1f} |" in text


def test_a_pair_is_evaluated_as_its_checkpoint_is(pair, metrics, compose_config, tmp_path):
    values = evaluate(compose_config("evaluate", f"checkpoint={pair}", f"output={tmp_path}"))
    told = json.loads(metrics.read_text())
    for key in ("mono/mpjpe_mm", "tri/mpjpe_mm", "mono/mse_2d_pct"):
        assert values[key] == pytest.approx(told[key], abs=0.5)
    assert values["settings"] == told["settings"]
    assert values["weights"] == fingerprint(load(pair)) != told["weights"]


def test_the_packages_own_are_small_without_labels_and_as_the_page_says(ships):
    card = mask_sup.load().card
    assert shipped.weights_file("shipped").stat().st_size <= 4_000_000
    assert card["settings"]["labels"] is False
    assert card["licence"] == "MIT"
    assert {"val", "mocap"} <= set(card["figures"])
    text = (ROOT / card["docs"]).read_text()
    assert text.split(ships.BEGIN)[1].split(ships.END)[0].strip() == ships.in_words(card).strip()


# -- what is no pair ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["detector.safetensors", "detector.json"])
def test_a_file_that_is_missing_is_told(name, copied):
    (copied / name).unlink()
    other = next(iter(copied.glob("detector.*")))
    with pytest.raises(FileNotFoundError, match=f"no {name} in {copied}: weights and card"):
        load(other)


def test_changed_weights_are_seen(copied):
    path = copied / "detector.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not the file that detector.json describes"):
        load(copied)


def rename(state):
    state["head.heatmap.bios"] = state.pop("head.heatmap.bias")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, "head.heatmap.bias is missing, head.heatmap.bios is unknown"),
        (lambda state: state.pop("head.heatmap.bias"), "head.heatmap.bias is missing"),
        (
            lambda state: state.update({"head.heatmap.bias": torch.zeros(3)}),
            r"head.heatmap.bias is \(3,\), not \(18,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_told_in_a_line(copied, change, message):
    change_weights(copied, change)
    with pytest.raises(ValueError, match=message) as told:
        load(copied)
    assert len(str(told.value)) < 300


def test_of_many_weights_that_do_not_fit_a_few_are_named(copied):
    change_weights(copied, lambda state: [state.pop(name) for name in list(state)[2:12]])
    with pytest.raises(ValueError, match="and 7 more") as told:
        load(copied)
    assert len(str(told.value)) < 300


def test_what_is_no_file_of_weights_is_told(copied):
    content = b"no weights"
    (copied / "detector.safetensors").write_bytes(content)
    told = hashlib.sha256(content).hexdigest()
    change_card(copied, lambda card: card["weights"].update(sha256=told))
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load(copied)


@pytest.mark.parametrize("key", ["config", "settings", "weights", "format"])
def test_a_card_without_one_of_its_parts_is_refused(copied, key):
    change_card(copied, lambda card: card.pop(key))
    with pytest.raises(ValueError, match="is (no card of weights|a card of format None)"):
        load(copied)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\udc80"])
def test_a_card_that_is_none_is_refused(copied, text):
    (copied / "detector.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"detector.json (cannot be read|is no card)"):
        load(copied)


@pytest.mark.parametrize("where", ["skeleton", "detector"])
def test_a_card_runs_nothing(copied, where, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"executed {command}"))
    for target in ("os.system", "mask_sup.train.os.system"):
        node = {"_target_": target, "command": "true"}
        change_card(copied, lambda card, node=node: card["config"].update({where: node}))
        with pytest.raises(ValueError, match="refused"):
            load(copied)


def test_an_unknown_key_of_the_config_is_told(copied):
    change_card(copied, lambda card: card["config"]["detector"].update(depth_rage=1))
    with pytest.raises(TypeError, match="detector: cannot build .*depth_rage"):
        load(copied)


# -- what is not shipped --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"), [(True, "labels have led to"), (None, "nobody knows whether labels")]
)
def test_weights_that_labels_may_have_led_to_are_refused(
    ships, trained, page, tmp_path, labels, message
):
    run = tmp_path / "run" / "arms" / "checkpoints"
    run.mkdir(parents=True)
    checkpoint = torch.load(trained, weights_only=True)
    checkpoint["settings"] = {"labels": labels, "stages": ["teacher/supervised", "pupil/round"]}
    torch.save(checkpoint, run / "last.ckpt")
    with pytest.raises(ValueError, match=f"{message}.*teacher/supervised"):
        ships.ship(run / "last.ckpt", [], tmp_path / "pair", page)
    assert not (tmp_path / "pair").exists()


def test_figures_of_other_weights_are_refused(ships, trained, metrics, page, tmp_path):
    told = json.loads(metrics.read_text()) | {"weights": "0" * 16}
    (tmp_path / "metrics.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="has the figures of other weights.*split=val"):
        ships.ship(trained, [tmp_path / "metrics.json"], tmp_path / "pair", page)
    assert not (tmp_path / "pair").exists()


def test_figures_of_the_rounded_weights_are_taken(ships, trained, pair, page, compose_config):
    out = pair.parent / "again"
    evaluate(compose_config("evaluate", f"checkpoint={pair}", f"output={out}"))
    card = ships.ship(trained, [out / "metrics.json"], out / "pair", page)
    assert list(card["figures"]) == ["val"]


def test_large_files_are_refused(tmp_path):
    weights = {"one": torch.zeros(shipped.MOST_BYTES // 4)}
    with pytest.raises(ValueError, match=r"take 4,0\d\d,\d{3} bytes, expected at most 4,000,000"):
        shipped.write_pair(tmp_path, weights, {})
    assert not list(tmp_path.iterdir())


def test_the_script_tells_a_mistake_in_a_line(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "gone.ckpt"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert done.stderr.startswith("FileNotFoundError: no checkpoint at")
    assert done.stderr.count("\n") == 1


# -- where nobody says which ----------------------------------------------------------------------


@pytest.fixture
def in_the_package(pair, monkeypatch, tmp_path):
    """The pair as the package's own, in an empty current folder."""
    monkeypatch.setattr(shipped, "ASSETS", pair)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


def test_load_without_a_path_loads_the_packages_own(in_the_package, pair):
    assert fingerprint(mask_sup.load().detector) == fingerprint(load(pair))


def test_predict_takes_the_packages_own_and_writes_where_it_is_run(
    in_the_package, compose_config, tmp_path, capsys
):
    rng = np.random.default_rng(0)
    mask = np.zeros((60, 50), np.uint8)
    mask[5:55, 15:30] = 255
    for name, picture in (("picture", rng.integers(0, 255, (60, 50, 3))), ("mask", mask)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "000.png"), picture)
    cfg = compose_config("predict", f"input={tmp_path / 'picture'}", f"masks={tmp_path / 'mask'}")
    assert predict(cfg).absolute() == tmp_path / "empty" / "predictions" / "picture"
    assert "weights: the detector that comes with mask_sup" in capsys.readouterr().out
    assert (tmp_path / "empty" / "predictions" / "picture" / "poses.npz").is_file()


def test_evaluate_takes_the_packages_own_and_writes_where_it_is_run(
    in_the_package, compose_config, tmp_path, metrics
):
    values = evaluate(compose_config("evaluate"))
    assert (values["checkpoint"], values["moments"]) == ("shipped", 3)
    assert (tmp_path / "empty" / "evaluation" / "val" / "metrics.json").is_file()


def test_a_package_without_weights_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "ASSETS", tmp_path)
    with pytest.raises(FileNotFoundError, match="no weights in it.*give checkpoint=.*make demo"):
        load()


def test_adapting_starts_from_the_packages_own_unless_another_is_named(compose_config):
    assert compose_config("train", "cascade=adapt").init == "shipped"
    assert compose_config("train", "+experiment=recording", "cascade=adapt").init == "shipped"
    assert compose_config("train", "cascade=adapt", "init=other.ckpt").init == "other.ckpt"
    assert compose_config("train", "+experiment=recording").init is None


@pytest.mark.slow
def test_a_training_starts_from_a_pair(in_the_package, pair, compose_config, tmp_path, capsys):
    cfg = compose_config(
        *("train", "+experiment=smoke", "cascade=adapt", "~cascade.second_round"),
        *("detector.backbone.channels=16", "detector.backbone.depth=1"),
        *("detector.head.depth_bins=8", "data.image_size=16", "cascade.first_round.max_steps=1"),
        *("data.source.moments={train: 2, val: 1}", "data.source.size=32", "data.batch_size=1"),
        *("optimizer.lr=1e-30", "trainer.val_check_interval=1"),
        f"data.source.root={tmp_path / 'cache'}",
    )
    train(cfg, tmp_path / "run")
    assert "init=<path> takes others" in capsys.readouterr().out
    last = tmp_path / "run" / "first_round" / "checkpoints" / "last.ckpt"
    for name, value in load(pair).state_dict().items():
        torch.testing.assert_close(load(last).state_dict()[name], value, rtol=0, atol=1e-12)
    stages = read_checkpoint(last)["settings"]["stages"]
    assert stages == ["unknown", "smoke/first_round"]


def test_another_architecture_is_told(pair, compose_config):
    from mask_sup.train import build_parts

    parts = build_parts(compose_config("train", "detector.backbone.channels=16"))[0]
    with pytest.raises(ValueError, match="other networks than this run: use the detector"):
        start_from(pair, parts.detector, None)


ALONE = """
import sys, mask_sup
detector = mask_sup.load({path!r}).detector
heavy = {{"hydra", "lightning", "pytorch_lightning", "kornia", "wandb", "cv2"}}
print(sorted(heavy & {{name.partition(".")[0] for name in sys.modules}}), detector.training)
"""


def test_load_imports_neither_hydra_nor_lightning(pair, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ALONE.format(path=str(pair))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout == "[] False\n", done.stderr
