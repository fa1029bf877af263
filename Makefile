# make run: everything, on a fresh machine.   make help: the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.installed
TESTS := $(VENV)/.installed-dev

# On Linux the package index gives torch with CUDA (several GB). The CPU build:
#   make run TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH := torch==2.13.0

# Test files go to as many processes as there are cores, four at most: each loads torch.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadgroup

.PHONY: help run test test-slow check bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(RUNS) ## fetch data and teacher, compress, federate, compare, and write the report
	$(BIN)/pocketfleet quickstart

test: $(TESTS) ## the test suite (minutes)
	$(BIN)/python -m pytest -m "not slow" -q $(SIDE_BY_SIDE)

test-slow: $(TESTS) ## the rest: real Ray, real downloads, real browser
	$(BIN)/python -m pytest -m slow -q $(SIDE_BY_SIDE)

check: $(TESTS) ## format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(TESTS) ## measure every claim of benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.run_all

clean: ## remove what builds and tests left, but not runs/ and not the cache of downloads
	rm -rf build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(RUNS): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(TESTS): $(RUNS)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@
