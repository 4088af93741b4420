import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, MissingConfigException
from hydra.types import RunMode

from mask_sup.data.datamodule import PoseDataModule
from mask_sup.data.mix import MixedDataModule
from mask_sup.figure.render import GaussianRenderer, SkeletonRenderer
from mask_sup.figure.skeleton import FreeKeypoints, Skeleton
from mask_sup.files.build import build
from mask_sup.files.config import conf_dir
from mask_sup.geometry.triangulate import Independent, Triangulate
from mask_sup.models.shape_prior import PatchShapePrior, ShapePrior
from mask_sup.train import build_data, build_parts, build_stage

CONF = Path(conf_dir())
ABLATIONS = ("wo_psi", "wo_G", "wo_Delta")
SUBSETS = [subset for count in range(4) for subset in combinations(ABLATIONS, count)]
# What makes the networks of any experiment small; groups on the command line always win.
TINY = (
    "detector=hourglass_tiny",
    "detector.backbone.channels=16",
    "detector.backbone.depth=1",
    "shape_prior.channels=[4,8]",
)


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture(scope="module")
def train_config():
    def composed(*overrides, **how):
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            return compose("train", list(overrides), **how)

    return composed


@pytest.fixture
def my_experiment(tmp_path):
    """Contents of an experiment file -> the overrides that choose it."""

    def write(text):
        (tmp_path / "experiment").mkdir()
        (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
        return f"hydra.searchpath=[file://{tmp_path}]", "+experiment=mine"

    return write


def assert_built_without(cfg, left_out):
    """The parts that `left_out` names are absent, and only they."""
    parts, fuse, geodesic = build_parts(cfg)
    data = build_data(cfg, parts.detector.skeleton, geodesic)
    assert (parts.shape_prior is None) == ("wo_psi" in left_out)
    assert (geodesic is None) == ("wo_G" in left_out)
    for part in getattr(data, "parts", [data]):
        assert part.item_settings["geodesic"] is geodesic
    assert type(fuse) is (Independent if "wo_Delta" in left_out else Triangulate)
    for name in cfg.cascade:
        stage = build_stage(cfg, name, parts, fuse)
        assert stage.fuse is fuse
        names = {key.split(".")[0] for key, _ in stage.named_parameters()}
        assert ("shape_prior" in names) == (
            "wo_psi" not in left_out and hasattr(stage, "shape_prior")
        )


# -- experiments and ablations --------------------------------------------------------------------


@pytest.mark.parametrize("left_out", SUBSETS, ids=lambda subset: "+".join(subset) or "none")
@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_ablation_of_every_experiment_in_both_orders(experiment, left_out, train_config):
    cfg = train_config(*TINY, f"+ablation=[{','.join(left_out)}]", f"+experiment={experiment}")
    rounds = any("Relabel" in stage.module._target_ for stage in cfg.cascade.values())
    if rounds and "wo_Delta" in left_out:  # a relabelling round ties views together
        with pytest.raises(ValueError, match="cascade=quick_masks"):
            stages_of(cfg)
        cfg.cascade = train_config("cascade=quick_masks").cascade
    if len(left_out) > 1:
        backwards = f"+ablation=[{','.join(left_out[::-1])}]"
        other = train_config(f"+experiment={experiment}", backwards, *TINY)
        assert {**other, "cascade": None} == {**cfg, "cascade": None}
    told = {f"wo_{name}" for name, absent in cfg.without.items() if absent}
    assert told == set(left_out)
    assert_built_without(cfg, left_out)


@pytest.mark.parametrize("ablation", options("ablation"))
def test_every_ablation_file_leaves_out_what_its_name_says(ablation, train_config):
    names = [] if ablation == "none" else ablation.removeprefix("wo_").split("_")
    cfg = train_config("+experiment=h36m_full", f"+ablation={ablation}", *TINY)
    assert {name for name, absent in cfg.without.items() if absent} == set(names)
    assert_built_without(cfg, {f"wo_{name}" for name in names})


def test_an_ablation_survives_a_group_that_its_part_is_chosen_from(train_config):
    cfg = train_config("+ablation=[wo_psi,wo_G,wo_Delta]", "fuse=triangulate", "shape_prior=unet")
    assert_built_without(cfg, ABLATIONS)


def test_the_data_sees_the_geodesic_weights_of_its_run(train_config):
    cfg = train_config("+experiment=smoke", "geodesic.gain=7.0")
    parts, _, geodesic = build_parts(cfg)
    data = build_data(cfg, parts.detector.skeleton, geodesic)
    assert data.item_settings["geodesic"].gain == 7.0
    assert data.item_settings["mask_size"] == cfg.renderer.size == parts.renderer.size


# -- every file of every group --------------------------------------------------------------------


def stages_of(cfg):
    parts, fuse, _ = build_parts(cfg)
    return [build_stage(cfg, name, parts, fuse) for name in cfg.cascade]


def optimizer_of(cfg):
    return build(cfg.optimizer, "optimizer")([torch.nn.Parameter(torch.zeros(1))])


def trainer_of(node, folder):
    return build(node, "trainer")(max_steps=1, logger=False, default_root_dir=folder)


def plain_overrides(group, option):
    """What an option needs that only a machine or an account has."""
    if group == "logger":
        return ("logger.mode=disabled",) if option == "wandb" else ()
    if (group, option) == ("cascade", "free"):
        return (*TINY, "skeleton=free36", "renderer=gaussians")
    if group in ("cascade", "fitter"):
        return (*TINY, "anatomy=human")
    return () if group == "detector" else TINY


COMPONENTS = (
    "anatomy",
    "body",
    "cascade",
    "data",
    "detector",
    "fitter",
    "fuse",
    "geodesic",
    "logger",
    "optimizer",
    "renderer",
    "shape_prior",
    "skeleton",
    "trainer",
)
BASES = {("data", "crops"), ("data", "prepared")}  # only ever read through another file's defaults
EVERY_OPTION = [(g, o) for g in COMPONENTS for o in options(g) if (g, o) not in BASES]


def test_every_folder_of_conf_is_covered_here():
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert folders == {*COMPONENTS, "experiment", "ablation", "sweep", "extractor", "protocol"}


@pytest.mark.parametrize(("group", "option"), EVERY_OPTION)
def test_every_option_of_every_group_builds(group, option, train_config, tmp_path):
    cfg = train_config(f"{group}={option}", *plain_overrides(group, option))
    skeleton = build(cfg.skeleton, "skeleton")
    if group == "skeleton":
        assert type(skeleton) is (FreeKeypoints if option == "free36" else Skeleton)
        assert skeleton.name == option
    elif group in ("body", "detector", "renderer", "anatomy"):
        built = build(cfg[group], group, skeleton=skeleton)
        assert isinstance(built, torch.nn.Module)
    elif group == "data":
        kind = MixedDataModule if option == "wild_mix" else PoseDataModule
        assert type(build(cfg.data, "data", skeleton=skeleton, geodesic=None)) is kind
    elif group == "fitter":
        assert build_parts(cfg)[0].fitter is not None
    elif group == "cascade":
        assert len(stages_of(cfg)) == len(cfg.cascade)
    elif group == "optimizer":
        groups = {"adam": 1, "muon": 2}  # Muon's own, and Adam's
        assert len(optimizer_of(cfg).param_groups) == groups[option]
    elif group == "trainer":
        # The accelerator is not of this machine; every other key of the file is.
        node = dict(cfg.trainer) | {"accelerator": "cpu", "devices": 1}
        assert trainer_of(node, tmp_path).precision == cfg.trainer.precision
    elif group == "logger":
        assert build(cfg.logger, "logger")(folder=tmp_path, run="run", stage="arms")
    else:
        assert build(cfg[group], group) is not None


@pytest.mark.parametrize("option", options("experiment"))
def test_every_experiment_builds_as_it_is(option, train_config):
    cfg = train_config(f"+experiment={option}")
    assert cfg.name == option
    assert len(stages_of(cfg)) == len(cfg.cascade)


@pytest.mark.parametrize("option", options("experiment"))
def test_every_experiment_tells_its_command(option):
    command = f"# python -m mask_sup.train +experiment={option}"
    assert command in (CONF / "experiment" / f"{option}.yaml").read_text()


def test_the_base_of_the_data_options_needs_a_source(train_config):
    cfg = train_config("data=crops")
    with pytest.raises(TypeError, match="source"):
        build(cfg.data, "data", skeleton=build(cfg.skeleton, "skeleton"), geodesic=None)


NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_composes_and_keeps_its_types(name, compose_config):
    cfg = compose_config(name)
    assert cfg
    with pytest.raises(ConfigCompositionException, match="nonsense"):
        compose_config(name, "nonsense=1")


def test_evaluate_and_predict_take_their_inputs(compose_config):
    cfg = compose_config("evaluate", "checkpoint=last.ckpt", "+data.source.root=here")
    assert (cfg.checkpoint, cfg.data.source.root) == ("last.ckpt", "here")
    cfg = compose_config("predict", "checkpoint=last.ckpt", "input=video.mp4", "masks=masks")
    assert (cfg.input, cfg.masks, cfg.every) == ("video.mp4", "masks", 1)


# -- the commands that are promised ---------------------------------------------------------------


def test_h36m_full_is_the_papers_setting(train_config):
    cfg = train_config("+experiment=h36m_full")
    assert cfg.detector.backbone._target_ == "mask_sup.models.hourglass.StackedHourglass"
    assert cfg.detector.head.depth_bins == 64
    assert cfg.detector.mask_input is False
    assert cfg.data.source._target_ == "mask_sup.data.manifest.PreparedData"
    assert cfg.data.image_size == 256
    assert cfg.renderer.size == cfg.data.mask_size == 128
    assert list(cfg.cascade) == ["skeleton", "physique", "arms"]
    assert cfg.logger._target_ == "mask_sup.files.loggers.wandb_loggers"
    assert cfg.anatomy._target_ == "mask_sup.figure.anatomy.NoAnatomy"
    weights = [stage.module.weights for stage in cfg.cascade.values()]
    on = {name for weight in weights for name, value in weight.items() if value}
    assert on == {"skeleton", "physique", "rest", "consistency", "depth"}


def test_unmasked_is_the_general_recipe_before_other_backgrounds(train_config):
    cfg, general = (train_config(f"+experiment={name}") for name in ("unmasked", "general"))
    assert (cfg.detector.mask_input, cfg.data.mask_input) == (False, False)
    assert (cfg.data.background, cfg.data.pasted.own) == ("pasted", 0.3)
    general.name, general.detector.mask_input, general.data.background = "unmasked", False, "pasted"
    assert cfg == general


def test_one_ablation(train_config):
    assert train_config("+ablation=wo_G").without == {"psi": False, "G": True, "Delta": False}


def test_stacked_ablations(train_config):
    cfg = train_config("+ablation=[wo_psi,wo_Delta]")
    assert cfg.without == {"psi": True, "G": False, "Delta": True}


@pytest.mark.parametrize("order", [1, -1])
def test_the_cascade_on_the_command_line_wins_over_that_of_an_experiment(order, train_config):
    cfg = train_config(*["cascade=single_stage", "+experiment=quickstart", *TINY][::order])
    assert list(cfg.cascade) == ["arms"]
    (stage,) = stages_of(cfg)
    assert "arms" in stage.drawn
    assert stage.shape_prior is not None


@pytest.mark.parametrize("experiment", ["quickstart", "h36m_full"])
def test_the_baseline_without_structure(experiment, train_config):
    lines = train_config(f"+experiment={experiment}", *TINY)
    blobs = train_config(f"+experiment={experiment}", "renderer=gaussians", *TINY)
    assert type(build_parts(lines)[0].renderer) is SkeletonRenderer
    assert type(build_parts(blobs)[0].renderer) is GaussianRenderer
    assert blobs.renderer.size == lines.renderer.size


def test_the_baseline_of_free_points_has_twice_as_many_as_there_are_joints(train_config):
    cfg = train_config("+experiment=baseline")
    (stage,) = stages_of(cfg)
    skeleton = stage.detector.skeleton
    assert len(skeleton.joints) == 2 * len(skeleton.labelled.joints) == 36
    assert skeleton.labelled == build(train_config().skeleton, "skeleton")
    assert type(stage.renderer) is GaussianRenderer
    assert stage.body is None
    with pytest.raises(ValueError, match="no bones: choose renderer=gaussians"):
        build_parts(train_config("+experiment=baseline", "renderer=lines"))
    with pytest.raises(ValueError, match=r"points without names: no pose can be regressed"):
        stages_of(train_config("skeleton=free36", "renderer=gaussians", "cascade=supervised"))


def test_table_3_is_a_sweep_over_its_rows_single_removals_and_seeds(train_config):
    cfg = train_config("+experiment=h36m_full", "+sweep=table3", return_hydra_config=True)
    assert cfg.hydra.mode == RunMode.MULTIRUN
    assert set(cfg.hydra.sweeper.params) == {"seed", "+ablation"}
    assert cfg.hydra.sweeper.params["seed"] == "0,1,2"
    rows = [
        train_config("+experiment=h36m_full", f"+ablation={row}").without
        for row in cfg.hydra.sweeper.params["+ablation"].split(",")
    ]
    told = [[name for name, absent in row.items() if absent] for row in rows]
    assert told[:4] == [["psi", "G", "Delta"], ["psi", "G"], ["G"], []]  # as in the paper
    assert told[4:] == [["psi"], ["Delta"]]


def test_a_stage_is_left_out_or_changed_by_name(train_config):
    cfg = train_config("~cascade.physique", "cascade.arms.max_steps=7")
    assert list(cfg.cascade) == ["skeleton", "arms"]
    assert cfg.cascade.arms.max_steps == 7


def test_experiments_ablations_and_sweeps_are_not_in_the_defaults(train_config):
    defaults = yaml.safe_load((CONF / "train.yaml").read_text())["defaults"]
    groups = {name for entry in defaults if isinstance(entry, dict) for name in entry}
    assert groups == set(COMPONENTS)
    assert defaults.index("_self_") < min(
        i for i, entry in enumerate(defaults) if isinstance(entry, dict)
    )
    with pytest.raises(ConfigCompositionException, match="experiment"):
        train_config("experiment=smoke")


def test_no_run_folder_has_a_sign_that_overrides_cannot_carry(train_config):
    overrides = ["+experiment=quickstart", "+ablation=[wo_G,wo_psi]", "detector.depth_range=1.5"]
    cfg = train_config(*overrides, "hydra.job.num=3", return_hydra_config=True)
    for folder in (cfg.hydra.run.dir, cfg.hydra.sweep.dir, cfg.hydra.sweep.subdir):
        assert folder
        assert not set(str(folder)) & set("=,: +[]")


def test_a_fresh_run_gets_a_folder_of_its_own_and_a_resumed_one_stays_in_its(train_config):
    fresh = train_config("name=mine", return_hydra_config=True).hydra.run.dir
    assert fresh.startswith("outputs/mine/2")
    again = train_config("resume=outputs/old", return_hydra_config=True).hydra.run.dir
    assert again == "outputs/old/resumed"


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("override", ["sead=1", "without.H=true"])
def test_misspelt_keys_of_the_root_are_refused(override, train_config):
    key = override.split("=")[0].split(".")[-1]
    with pytest.raises(ConfigCompositionException) as error:
        train_config(override)
    assert key in f"{error.value} {error.value.__cause__}"


def test_misspelt_root_keys_of_an_experiment_file_are_refused(train_config, my_experiment):
    with pytest.raises(ConfigCompositionException, match="sead"):
        train_config(*my_experiment("sead: 1"))


def test_an_experiment_file_of_ones_own_is_found(train_config, my_experiment):
    assert train_config(*my_experiment("seed: 41")).seed == 41


def test_misspelt_component_keys_are_refused(train_config, my_experiment):
    with pytest.raises(ConfigCompositionException, match="depth_ragne"):
        train_config("detector.depth_ragne=1.0")
    for overrides in (["+detector.depth_ragne=1.0"], my_experiment("detector: {depth_ragne: 1.0}")):
        cfg = train_config(*overrides)
        with pytest.raises(TypeError, match="mask_sup.models.detector.Detector.*depth_ragne"):
            build_parts(cfg)


@pytest.mark.parametrize("key", ["module.ramp_setps", "max_setps"])
def test_misspelt_keys_of_a_stage_are_refused(key, train_config):
    cfg = train_config(f"+cascade.arms.{key}=5", *TINY)
    with pytest.raises((TypeError, ValueError), match=key.split(".")[-1]):
        stages_of(cfg)


def test_a_stage_has_a_module_and_a_length(train_config):
    cfg = train_config("+cascade.extra.max_steps=5", *TINY)
    with pytest.raises(
        ValueError,
        match=r"cascade\.extra needs the keys module and max_steps alone, got \['max_steps'\]",
    ):
        stages_of(cfg)


def test_misspelt_keys_of_optimizer_and_trainer_are_refused(train_config, tmp_path):
    with pytest.raises(TypeError, match="lrr"):
        optimizer_of(train_config("+optimizer.lrr=1.0"))
    with pytest.raises(TypeError, match="acelerator"):
        trainer_of(train_config("+trainer.acelerator=cpu").trainer, tmp_path)


@pytest.mark.parametrize("group", ["detector", "cascade", "+experiment", "+ablation", "+sweep"])
def test_unknown_options_are_refused(group, train_config):
    with pytest.raises(MissingConfigException, match=f"{group.lstrip('+')}/nosuch"):
        train_config(f"{group}=nosuch")


def test_unknown_groups_are_refused(train_config):
    with pytest.raises(ConfigCompositionException, match="detektor"):
        train_config("detektor=hourglass")


@pytest.mark.parametrize(
    ("override", "value"),
    [("seed=first", "first"), ("seed=0.5", "0.5"), ("without.G=much", "much")],
)
def test_wrong_types_are_refused(override, value, train_config):
    with pytest.raises(ConfigCompositionException) as error:
        train_config(override)
    told = f"{error.value} {error.value.__cause__}"
    assert value in told
    assert override.split("=")[0].split(".")[-1] in told


@pytest.mark.parametrize(("option", "kind"), [("unet", ShapePrior), ("patch", PatchShapePrior)])
def test_a_shape_prior_is_built_for_the_drawn_size(option, kind, train_config):
    sizes = ("renderer.size=24", "shape_prior.channels=[4,8,8]")
    parts, _, _ = build_parts(train_config(*sizes, f"shape_prior={option}"))
    assert type(parts.shape_prior) is kind
    assert (
        parts.shape_prior(torch.zeros(1, parts.renderer.size, parts.renderer.size)).shape[-1] == 24
    )


# -- the command line -----------------------------------------------------------------------------


def run(folder, *overrides):
    words = [sys.executable, "-m", "mask_sup.train", *overrides]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)


def test_a_run_is_resumed_with_its_own_config_alone(tmp_path):
    (tmp_path / "run").mkdir()
    done = run(tmp_path, "resume=run", "seed=3", "+experiment=smoke")
    assert done.returncode != 0
    assert "leave out ['seed=3', '+experiment=smoke'], or start a fresh run" in done.stderr


def test_a_folder_without_a_run_is_not_resumed(tmp_path):
    (tmp_path / "run").mkdir()
    done = run(tmp_path, "resume=run")
    assert done.returncode != 0
    assert "no config.yaml in run: not the folder of a run" in done.stderr


def test_a_misspelt_key_ends_the_command_with_its_name(tmp_path):
    done = run(tmp_path, "sead=3")
    assert done.returncode != 0
    assert "sead" in done.stderr
    assert not (tmp_path / "outputs").exists()
