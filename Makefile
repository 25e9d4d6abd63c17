# Four commands for people: make setup, make demo, make test, make check. `make help` lists them all.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.edgehone-setup
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --root-user-action ignore -c constraints.txt

# Networks here are small: one thread per process and several processes beat one process of many threads.
export OMP_NUM_THREADS ?= 1
WORKERS ?= 2
# Of make demo; a slow or busy machine is told what it needs.
BUDGET ?= 8m

.PHONY: help setup demo test check docs clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */make \1\t/'

setup: $(STAMP) ## make .venv with the edgehone command and the development tools

$(STAMP): pyproject.toml constraints.txt
	@good='import sys; sys.exit(sys.version_info < (3, 11))'; \
	for python in '$(PYTHON)' python3.11 python3.12 python3.13 python3.14; do \
	  if $$python -c "$$good" 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "edgehone needs Python 3.11 or later; '$(PYTHON)' is not. Install one, or: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	if ! [ -x $(BIN)/python ]; then $$found -m venv $(VENV); fi
	@echo 'Installing edgehone into $(VENV) (torch is large: this may take some minutes) ...'
	@$(PIP) torch
	@$(PIP) -e '.[dev]'
	@touch $@

demo: $(STAMP) ## the main job on the built-in data, about ten minutes, more with BUDGET=16m; goes on where it was stopped
	$(BIN)/edgehone run builtin:digits --model yolov4-tiny --board cpu --budget $(BUDGET) --out runs/demo

test: $(STAMP) ## all tests, with coverage
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope --no-loadscope-reorder --cov --cov-report=term

check: $(STAMP) ## style, types, layers and sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/architecture

docs: $(STAMP) ## check the links and the commands that the documents mention
	$(BIN)/python -m pytest -q tests/architecture/test_docs.py

clean: ## remove what tools left behind; keeps .venv and runs
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist build
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
