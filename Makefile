# Two commands set a fresh machine up and do everything: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO ?= outputs/demo
TORCH ?= 2.13.0
PYTEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
export WANDB_MODE ?= offline
# Tests start many processes: what they import is compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test test-slow lint types format smoke bench wheel notebooks clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 12

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==$(TORCH)
	$(BIN)/pip install --quiet --editable .[dev]
	$(BIN)/pip install --quiet --editable .[fmm] || echo "scikit-fmm was not built: geodesic weights are made without it, slower (mask-sup doctor)"
	touch $@

install: $(VENV)/installed  ## virtual environment with everything

demo: install  ## train the quickstart on the embedded data, evaluate it, draw overlays
	$(BIN)/python -m mask_sup.train +experiment=quickstart hydra.run.dir=$(DEMO)
	$(BIN)/python -m mask_sup.evaluate checkpoint=$(DEMO)/last_round/checkpoints/last.ckpt split=val untrained=true
	$(BIN)/python -m mask_sup.evaluate checkpoint=$(DEMO)/last_round/checkpoints/last.ckpt split=val
	$(BIN)/python -m mask_sup.evaluate checkpoint=$(DEMO)/last_round/checkpoints/last.ckpt split=mocap untrained=true
	$(BIN)/python -m mask_sup.evaluate checkpoint=$(DEMO)/last_round/checkpoints/last.ckpt split=mocap

test: install  ## the tests, without the slow ones
	$(PYTEST) -m "not slow"

test-slow: install  ## the slow tests alone
	$(PYTEST) -m slow

lint: install  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## types of what `import mask_sup` offers
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: install  ## mend the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: install  ## every part of the program in a minute
	$(BIN)/python -m mask_sup.train +experiment=smoke hydra.run.dir=outputs/smoke
	$(BIN)/python -m mask_sup.evaluate checkpoint=outputs/smoke/arms/checkpoints/last.ckpt split=mocap

bench: install  ## time and memory of the renderer
	$(BIN)/python benchmarks/renderer.py

wheel: install  ## build the wheel into dist/
	$(BIN)/python -m build --wheel

notebooks: install  ## run the notebooks
	$(BIN)/python -m pytest --nbmake notebooks -p no:cacheprovider -o addopts=

clean:  ## remove what the commands above made
	rm -rf $(VENV) dist outputs/demo outputs/smoke
