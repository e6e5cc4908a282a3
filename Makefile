# Sets up .venv from exact pins on first use, then does what was asked for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready

.PHONY: help setup train test test-slow lint format docs clean

help:
	@echo "make train      train and prune an agent on HalfCheetah-v5, in five to ten minutes on two cores"
	@echo "make test       run the fast tests"
	@echo "make test-slow  run the tests that take minutes"
	@echo "make lint       check style"
	@echo "make format     mend style"
	@echo "make docs       build the documentation into site/"
	@echo "make clean      remove the virtual environment and caches (not runs/)"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "xinet_jax needs Python 3.11 or newer; choose one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

train: setup
	$(BIN)/xinet train --task HalfCheetah-v5 --preset quick

# Two at a time: most of the time goes into XLA, which compiles on one core. Files whole and in order, since tests of a
# file share what takes long to make, and the longest files come late.
test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[docs]'
	@touch $@

# Needs no network once the packages are installed. A broken link is an error.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
