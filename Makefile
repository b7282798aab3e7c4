# `make quickstart` and `make test` need Python >= 3.11, make and a package index; nothing else.
PYTHON ?= python3
BIN := .venv/bin
# setuptools warns of editable installs; nothing here for a user to do
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check

.PHONY: quickstart test lint format clean
.DELETE_ON_ERROR:

quickstart: .venv/.samples
	$(BIN)/python scripts/quickstart.py

test: .venv/.dev
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest  # threads that spin make a busy machine crawl

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fst needs Python >= 3.11; this is `$(PYTHON) --version`; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --upgrade pip "setuptools>=77.0.3"
	@touch $@

.venv/.samples: .venv/.python pyproject.toml constraints.txt
	@echo "installing into .venv: about 5 GB with torch for CUDA, a few minutes"
	$(PIP) install --quiet -c constraints.txt -e '.[samples]'
	@touch $@

.venv/.dev: .venv/.python pyproject.toml constraints.txt
	@echo "installing into .venv: about 5 GB with torch for CUDA, a few minutes"
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@
