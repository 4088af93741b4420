import json

import pytest
import torch
from torch import nn

from mask_sup.files.config import plain
from mask_sup.method import precision
from mask_sup.method.precision import AUTO, BF16, FULL, decided, settle, trainer_node
from mask_sup.models.checkpoint import read_checkpoint
from mask_sup.train import train

SHORT = (
    "+experiment=smoke",
    "trainer.precision=auto",
    "data.source.moments={train: 4, val: 1}",
    "~data.source.moments.mocap",
    "data.source.size=32",
    "data.batch_size=1",
    "detector.backbone.channels=16",
    "~cascade.physique",
    "~cascade.relabel",
    "~cascade.arms",
    "cascade.skeleton.max_steps=6",
    "trainer.val_check_interval=6",
    "save_every=3",
    "+trainer.enable_progress_bar=false",
)


@pytest.fixture
def bf16_processor(monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda: True)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 1)).eval()


def steps_take(monkeypatch, **ms):
    """Steps of a known length; the first each way are slow."""
    calls = {FULL: 0, BF16: 0}

    def step(network, images, way):
        calls[way] += 1
        return 9.0 if calls[way] == 1 else ms["full" if way == FULL else "bf16"] / 1e3

    monkeypatch.setattr(precision, "_step", step)
    return calls


def test_a_processor_without_bf16_is_not_measured(monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    calls = steps_take(monkeypatch, full=10, bf16=1)
    told = decided(network(), 8, 16)
    assert told["precision"] == FULL
    assert "no AMX" in told["why"]
    assert calls == {FULL: 0, BF16: 0}


@pytest.mark.parametrize(
    ("bf16", "chosen"), [(4.0, BF16), (8.9, BF16), (9.5, FULL), (10.0, FULL), (300.0, FULL)]
)
def test_bf16_is_taken_where_it_is_clearly_faster(bf16, chosen, bf16_processor, monkeypatch):
    calls = steps_take(monkeypatch, full=10.0, bf16=bf16)
    told = decided(network(), 8, 16)
    assert told["precision"] == chosen
    assert told["ms"] == pytest.approx({FULL: 10.0, BF16: bf16})
    assert calls[FULL] == calls[BF16] == 6


def test_measuring_ends_when_it_takes_long(bf16_processor, monkeypatch):
    calls = steps_take(monkeypatch, full=10.0, bf16=10.0)
    clock = iter(range(0, 100, 2))
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(clock))
    decided(network(), 8, 16)
    assert calls == {FULL: 2, BF16: 2}


def test_measuring_changes_neither_network_nor_random_numbers(bf16_processor):
    model = network()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    told = decided(model, crops=2, side=8)
    assert told["ms"][FULL] > 0
    assert told["ms"][BF16] > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name])
    assert all(p.grad is None for p in model.parameters())


def test_a_step_in_bf16_computes_in_bf16():
    seen = []
    model = network()
    model[0].register_forward_hook(lambda layer, given, out: seen.append(out.dtype))
    for way in (FULL, BF16):
        precision._step(model, torch.rand(1, 3, 8, 8), way)
    assert seen == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(
    "trainer", [{"accelerator": "gpu", "devices": 1}, {"accelerator": "cpu", "devices": 2}, {}]
)
def test_other_machines_are_not_decided_for(trainer, tmp_path):
    for given in (FULL, BF16):
        asked = trainer | {"precision": given}
        assert trainer_node(asked, tmp_path) == asked
    with pytest.raises(ValueError, match="give trainer.precision=32-true or bf16-mixed"):
        trainer_node(trainer | {"precision": AUTO}, tmp_path)


def test_a_decision_is_recorded_told_and_not_taken_again(
    bf16_processor, monkeypatch, tmp_path, capsys
):
    cpu = {"accelerator": "cpu", "devices": 1, "precision": AUTO}
    assert trainer_node(cpu, tmp_path) == cpu | {"precision": FULL}
    steps_take(monkeypatch, full=10.0, bf16=4.0)
    settle(tmp_path, network(), 8, 16)
    told = "precision: bf16-mixed, a step takes 4 ms in bf16, 10 in full precision\n"
    assert capsys.readouterr().out == told
    assert json.loads((tmp_path / "precision.json").read_text())["precision"] == BF16
    steps_take(monkeypatch, full=10.0, bf16=300.0)
    settle(tmp_path, network(), 8, 16)
    told = "precision: bf16-mixed, as decided when this run began\n"
    assert capsys.readouterr().out == told
    assert trainer_node(cpu, tmp_path) == cpu | {"precision": BF16}
    assert trainer_node(cpu | {"precision": FULL}, tmp_path) == cpu | {"precision": FULL}


# -- in a training --------------------------------------------------------------------------------


@pytest.fixture
def config(compose_config, tmp_path):
    return compose_config("train", *SHORT, f"data.source.root={tmp_path / 'cache'}")


def weights(folder):
    return read_checkpoint(folder / "skeleton" / "checkpoints" / "last.ckpt")["state_dict"]


@pytest.mark.slow
def test_full_precision_by_decision_is_full_precision(config, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    train(config, tmp_path / "run")
    told = json.loads((tmp_path / "run" / "precision.json").read_text())
    assert told["precision"] == FULL
    last = tmp_path / "run" / "skeleton" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(last)["config"] == plain(config)
    config.trainer.precision = FULL
    train(config, tmp_path / "full")
    assert not (tmp_path / "full" / "precision.json").exists()
    for name, value in weights(tmp_path / "full").items():
        assert torch.equal(value, weights(tmp_path / "run")[name])


@pytest.mark.slow
def test_a_stopped_run_goes_on_in_its_precision_wherever_it_is(config, tmp_path, monkeypatch):
    from mask_sup.method.stages import SkeletonStage

    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    steps_take(monkeypatch, full=10.0, bf16=1.0)
    train(config, tmp_path / "whole")
    step, dtypes = SkeletonStage.training_step, []

    def stop(self, batch, batch_idx):
        if self.global_step == 4:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SkeletonStage, "training_step", stop)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(config, tmp_path / "run")

    def watched(self, batch, batch_idx):
        dtypes.append(torch.is_autocast_enabled("cpu"))
        return step(self, batch, batch_idx)

    # Measured now, it would be decided otherwise.
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    monkeypatch.setattr(SkeletonStage, "training_step", watched)
    train(config, tmp_path / "run")
    assert dtypes
    assert all(dtypes)
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(tmp_path / "run")[name]), name


def test_auto_is_refused_on_several_devices_before_anything_is_drawn(config, tmp_path):
    config.trainer.devices = 2
    with pytest.raises(ValueError, match="decided for one processor"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "cache").exists()
