"""The structure that docs/architecture.md tells of."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "mask_sup"
FLOORS = [
    {"files", "geometry"},
    {"figure", "calibration"},
    {"masks", "models", "metrics", "data", "fitting"},
    {"synthetic", "prepare", "method", "inference", "export", "report"},
    {"train", "evaluate", "predict", "look", "new", "sync", "fetch", "film", "shard", "doctor"}
    | {"completion", "model", "__main__"},
]
FLOOR = {wing: floor for floor, wings in enumerate(FLOORS) for wing in wings}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def wing(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Wings that a module imports, in functions, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mask_sup":
            yield from (
                [node.module.split(".")[1]]
                if "." in node.module
                else [alias.name for alias in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] for name in names if name[0] == "mask_sup" and len(name) > 1)


def test_every_wing_has_a_floor():
    assert {wing(path) for path in MODULES} == set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_alone(path):
    here = wing(path)
    wrong = {
        there
        for there in imported(path)
        if there != here and FLOOR[there] >= FLOOR[here] and FLOOR[here] < len(FLOORS) - 1
    }
    assert not wrong, f"{here} imports {wrong}, which are not below it"


def test_commands_import_each_other_without_a_circle():
    arrows = {
        wing(path): {there for there in imported(path) if FLOOR[there] == len(FLOORS) - 1}
        for path in MODULES
        if FLOOR[wing(path)] == len(FLOORS) - 1
    }
    while arrows:
        free = [name for name, there in arrows.items() if not there & set(arrows) - {name}]
        assert free, f"a circle among {sorted(arrows)}"
        for name in free:
            del arrows[name]


def test_no_module_hides_one_of_the_standard_library():
    # `python src/mask_sup/new.py` puts the folder first: a module `inspect` there would be found.
    assert not [path for path in MODULES if path.stem in sys.stdlib_module_names]


def test_every_command_reads_its_words_in_one_way():
    starts = [path for path in MODULES if "@hydra.main" in path.read_text()]
    assert starts == []
    told = [path for path in MODULES if "hydra.main(" in path.read_text()]
    assert told == [PACKAGE / "files" / "words.py"]
