# Kindred. `make help` lists what can be done.
#
# Everything runs in .venv, which is made from requirements.lock when it is missing or when the lock has changed.
# An environment of your own is used as it is: make VENV=/path/to/environment test

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(shell command -v python3.11 || command -v python3)
PIPELINE :=
PORT := 5001
PYTEST_ARGS :=

# No $(abspath): it would cut a path with spaces into pieces.
BIN := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
PY := "$(BIN)/python"
KINDRED := $(PY) -m core.cli

export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export DVC_SITE_CACHE_DIR := $(CURDIR)/.kindred/dvc
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1
export HF_HUB_OFFLINE := 1
export PYTHONHASHSEED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help env repro test test-fast lint bench evidence serve ui report docs clean

help: ## this list
	@echo "make TARGET [NAME=value]:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

repro: env ## run every pipeline that is out of date, or one: PIPELINE=name; then the report and the result table
	$(KINDRED) repro $(PIPELINE)

test: lint ## lint, import rules, types, and all tests with coverage of core (whole runs: 90 % of the lines at least)
	$(PY) -m pytest -q -n 2 --dist loadfile --cov=core --cov-report=term:skip-covered $(if $(PYTEST_ARGS),,--cov-fail-under=90) $(PYTEST_ARGS)

test-fast: env ## the quick tests: within two minutes on two cores
	$(PY) -m pytest -q -n 2 --dist loadfile -m "not slow and not pipeline" $(PYTEST_ARGS)

lint: env ## ruff, formatting, import rules, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	"$(BIN)/lint-imports"
	$(PY) -m mypy

bench: env ## measure speed: all benchmarks, or one: PIPELINE=name
	for file in benchmarks/$(or $(PIPELINE),*).py; do echo "== $$file"; $(PY) "$$file"; done

evidence: env need-pipeline ## repeat a paper's comparison over seeds: PIPELINE=name [SOURCE=name ROOT=folder]
	$(PY) -m pipelines.$(PIPELINE).evidence $(if $(SOURCE),--source "$(SOURCE)") $(if $(ROOT),--root "$(ROOT)")

serve: env need-pipeline ## serve a registered model over HTTP: PIPELINE=name [PORT=5001]
	$(KINDRED) serve $(PIPELINE) --port $(PORT)

report: env ## build the report from what has run so far
	$(KINDRED) report

ui: env ## open MLflow's user interface
	$(KINDRED) ui

docs: env ## build the documentation site into site/; a broken link or page is an error
	$(PY) docs/generate_pages.py
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "site/index.html"

clean: ## remove outputs and caches; models, runs, data and .venv stay
	rm -rf outputs site .kindred .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -type d -not -path "./.venv/*" -prune -exec rm -rf {} +

.PHONY: need-pipeline
need-pipeline:
	@test -n "$(PIPELINE)" || { echo "say which pipeline: PIPELINE=code_search" >&2; exit 2; }

ifeq ($(VENV),.venv)
env: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Kindred needs Python 3.11 (make PYTHON=/path/to/python3.11 ...)" >&2; exit 2; }
	"$(PYTHON)" -m venv .venv
	$(PY) -m pip install --quiet --no-input -r requirements.lock
	$(PY) -m pip install --quiet --no-input --no-deps --no-build-isolation -e .
	$(PY) -m pip check
	$(PY) -c 'import core, dvc, faiss, lightning, mlflow, monai, rasterio, torch, torchaudio, transformers'
	@touch .venv/.ready
else
env:
	@test -x $(PY) || { echo "there is no $(BIN)/python" >&2; exit 2; }
endif
