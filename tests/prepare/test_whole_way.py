"""Every data set as its user would: raw release -> store -> training -> figures."""

import json
import subprocess
import sys
from dataclasses import asdict

import lightning
import pytest
import release_3dhp
import release_h36m
import release_mpii
import release_tiktok
import torch
import yaml
from figures import HUMAN, INDEX
from torch.utils.data import default_collate

from mask_sup.data.manifest import PreparedData
from mask_sup.data.moments import MomentDataset, expand
from mask_sup.data.shards import write_shards
from mask_sup.evaluate import evaluate
from mask_sup.files.config import load_config
from mask_sup.method.regression import crop_targets
from mask_sup.metrics import PoseMetrics, score
from mask_sup.models.checkpoint import load
from mask_sup.prepare.protocol import load_protocol
from mask_sup.train import build_parts, train

pytestmark = pytest.mark.slow

QUICK = (
    "cascade=smoke", "anatomy=human", "renderer.merge=max", "renderer.size=32",
    "shape_prior.channels=[8,16]", "detector.backbone.channels=32", "trainer.val_check_interval=20",
    "fitter=few",
)  # fmt: skip
LOADED = ("image_size=32", "batch_size=2", "workers=0")


def prepare(name, root, out, *options, **changes):
    """Run the command with the usual protocol, or with one that is changed for few sequences."""
    if changes:
        usual = asdict(load_protocol(changes.pop("protocol")))
        usual.pop("name")
        path = out.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(json.loads(json.dumps({**usual, **changes}))))
        options = (*options, "--protocol", str(path))
    words = [sys.executable, "-m", "mask_sup.prepare", name, str(root), str(out), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"written to {out}" in done.stdout
    return out


@pytest.fixture(scope="module")
def h36m(tmp_path_factory):
    folder = tmp_path_factory.mktemp("h36m")
    missing = {
        f"{subject}/{name}": "not made"
        for subject in ("S1", "S9")
        for name in ("Walking.1", "Walking.2")
    }
    made = [name for name in missing if name.endswith(".1")]
    return prepare(
        "h36m",
        release_h36m.make(folder / "raw"),
        folder / "store",
        protocol="h36m_six",
        splits={
            "train": {"subjects": ["S1"], "stride": 4},
            "val": {"subjects": ["S9"], "stride": 8},
            "test": {"subjects": ["S9"], "stride": 4},
        },
        actions=["Walking"],
        exclude={name: why for name, why in missing.items() if name not in made},
    )


@pytest.fixture(scope="module")
def mpi_inf_3dhp(tmp_path_factory):
    """The training set's store, and the test set's."""
    folder = tmp_path_factory.mktemp("mpi_inf_3dhp")
    raw = release_3dhp.make(folder / "raw")
    release_3dhp.make_test(raw, "TS1", folder / "masks")
    training = prepare(
        "3dhp",
        raw,
        folder / "store",
        protocol="mpi_inf_3dhp",
        splits={
            "train": {"subjects": ["S1"], "stride": 2},
            "val": {"subjects": ["S7"], "stride": 4},
        },
        exclude={"S7/Seq2": "not made"},
    )
    test = prepare(
        "3dhp",
        raw,
        folder / "test",
        "--masks",
        str(folder / "masks"),
        protocol="mpi_inf_3dhp_test",
        splits={"test": {"subjects": ["TS1"], "drop": False}},
    )
    return training, test


@pytest.fixture(scope="module")
def tiktok(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiktok")
    raw = release_tiktok.make(folder / "raw", ("00034", "00326"))
    splits = {"train": {"subjects": ["00034"]}, "val": {"subjects": ["00326"], "drop": False}}
    return prepare("tiktok", raw, folder / "store", protocol="tiktok", splits=splits)


@pytest.fixture(scope="module")
def mpii(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpii")
    raw = release_mpii.make(folder / "raw", "json")
    return prepare("mpii", raw, folder / "store", "--masks", str(raw / "masks"))


def learned(compose_config, run, *overrides):
    """The checkpoint of a short training."""
    train(compose_config("train", *QUICK, *overrides), run)
    return run / "arms" / "checkpoints" / "last.ckpt"


def one(kind, root):
    """Overrides for a training on one store."""
    return (f"data={kind}", f"data.source.root={root}", *(f"data.{key}" for key in LOADED))


def figures_of_labels(root, split, shift):
    """What the labels themselves would score, with one wrist that is so many mm off."""
    data = PreparedData(root)
    items = MomentDataset(data.moments(split), 18, 32, 32, 1.2, True, None, False)
    batch = expand(default_collate([items[i] for i in range(len(items))]))
    poses = batch.labels.joints_world.clone()
    poses[:, INDEX["left_wrist"], 2] += shift
    seen = crop_targets(poses, batch.views.camera, HUMAN.root, 2000.0)
    metrics = PoseMetrics(HUMAN, data.header["protocol"]["pck_joints"])
    score(metrics, seen, batch, 2000.0)
    return metrics.compute()


def test_human36m(h36m, compose_config, tmp_path):
    checkpoint = learned(compose_config, tmp_path / "run", *one("h36m", h36m))
    header = PreparedData(h36m).header
    told = json.loads((tmp_path / "run" / "data.json").read_text())
    assert told["protocol_hash"] == header["protocol_hash"]
    values = evaluate(compose_config("evaluate", f"checkpoint={checkpoint}", "split=test"))
    assert values["protocol"] == f"store {header['protocol_hash']}"
    assert values["moments"] == 3
    assert set(values["actions"]) == {"Walking"}
    mean = values["mean_over_actions/mono/mpjpe_mm"]
    assert mean == pytest.approx(values["mono/mpjpe_mm"])


def test_two_processes_learn_from_archives_what_one_learns_from_files(h36m, tmp_path):
    """Half a batch each, gradients shared: the same weights but for rounding."""
    write_shards(h36m, tmp_path / "shards", megabytes=1)
    weights = []
    for root, ranks in ((h36m, 1), (tmp_path / "shards", 2)):
        run = tmp_path / str(ranks)
        learn_together(
            ranks, run, *one("h36m", root), f"data.batch_size={2 // ranks}", "cascade=supervised",
            "cascade.supervised.max_steps=4", "cascade.supervised.module.mirror=false",
            "cascade.supervised.module.zoom=0",
        )  # fmt: skip
        detector = load(run / "supervised" / "checkpoints" / "last.ckpt")
        weights.append(torch.cat([p.flatten() for p in detector.parameters()]))
    start = torch.cat([p.flatten() for p in untrained(run).parameters()])
    learned = (weights[0] - start).norm()
    assert (weights[1] - weights[0]).norm() < 0.01 * learned


def test_two_processes_end_a_stage_at_the_same_step(h36m, tmp_path):
    """Each sees other moments, so their losses come to rest at different steps."""
    learn_together(
        2, tmp_path / "run", *one("h36m", h36m), "data.batch_size=1", "cascade=smoke",
        "~cascade.physique", "~cascade.relabel", "~cascade.arms", "cascade.skeleton.max_steps=300",
        "cascade.skeleton.module.exit_plateau={window: 40, tolerance: 0.9}",
    )  # fmt: skip
    finished = json.loads((tmp_path / "run" / "skeleton" / "finished.json").read_text())
    assert 50 <= finished["steps"] < 300  # a window after the widths have come to rest, at step 10


def learn_together(ranks, run, *overrides):
    """A training in so many processes."""
    quick = [word for word in QUICK if "cascade" not in word]
    words = (
        *quick, *overrides, "trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true",
        f"trainer.devices={ranks}", f"hydra.run.dir={run}",
    )  # fmt: skip
    command = [sys.executable, "-m", "mask_sup.train", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


def untrained(run):
    """The detector of a run before its first step."""
    cfg = load_config(run / "config.yaml")
    lightning.seed_everything(cfg.seed, verbose=False)
    return build_parts(cfg)[0].detector


@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_true_poses_of_human36m_and_shifted_ones(h36m, shift):
    values = figures_of_labels(h36m, "test", shift)
    assert values["mono/mpjpe_mm"] == pytest.approx(shift / 18, abs=0.02)
    assert values["tri/mpjpe_mm"] == pytest.approx(shift / 18, abs=0.02)


def test_mpi_inf_3dhp(mpi_inf_3dhp, compose_config, tmp_path):
    training, test = mpi_inf_3dhp
    checkpoint = learned(compose_config, tmp_path / "run", *one("mpi_inf_3dhp", training))
    overrides = (f"checkpoint={checkpoint}", "split=test", f"+data.source.root={test}")
    values = evaluate(compose_config("evaluate", *overrides))
    assert values["moments"] == 8
    assert values["protocol"].startswith("test ")
    assert set(values["actions"]) == {"Stand/Walk", "Crouch/Reach"}
    assert 0 <= values["mono/pck150_pct"] <= 100


@pytest.mark.parametrize("shift", [0.0, 200.0])
def test_true_poses_of_mpi_inf_3dhp_and_shifted_ones(mpi_inf_3dhp, shift):
    """A wrist that is further off than 150 mm is one of the 14 official joints."""
    values = figures_of_labels(mpi_inf_3dhp[1], "test", shift)
    assert values["mono/mpjpe_mm"] == pytest.approx(shift / 17, abs=0.02)  # no thorax is labelled
    assert values["mono/pck150_pct"] == pytest.approx(100 * (13 / 14 if shift else 1))


def test_a_mix_is_evaluated_on_each_of_its_data_sets_and_on_others(
    h36m, tiktok, mpii, compose_config, tmp_path
):
    parts = {"h36m": h36m, "tiktok": tiktok}
    overrides = [f"data.parts.{name}.source.root={root}" for name, root in parts.items()]
    overrides += [f"data.parts.{name}.{key}" for name in parts for key in LOADED]
    checkpoint = learned(compose_config, tmp_path / "run", "data=wild_mix", *overrides)
    seen = evaluate(compose_config("evaluate", f"checkpoint={checkpoint}", "split=test"))
    assert seen["moments"] == 3
    other = f"+data.parts.h36m.source.root={mpii}"
    values = evaluate(compose_config("evaluate", f"checkpoint={checkpoint}", other))
    assert values["moments"] == 1
    assert 0 <= values["mono/pckh50_pct"] <= 100


def test_single_views_alone_teach_without_triangulation(tiktok, compose_config, tmp_path):
    overrides = ("cascade=single_stage", "cascade.arms.max_steps=2", "fuse=independent")
    run = tmp_path / "run"
    train(compose_config("train", *one("tiktok", tiktok), *overrides), run)
    assert load(run / "arms" / "checkpoints" / "last.ckpt").skeleton.name == "human18"
