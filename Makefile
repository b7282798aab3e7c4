# `make quickstart`, `make test` and `make light` need Python >= 3.11, make and a package index.
PYTHON ?= python3
BIN := .venv/bin
# setuptools warns of editable installs; nothing here for a user to do
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check

# what `make light` runs styles in: onnx or openvino
BACKEND ?= onnx
LIGHT := light$(patsubst -onnx,,-$(BACKEND)).txt

.PHONY: quickstart test test-page lint format site light clean
.DELETE_ON_ERROR:

quickstart: .venv/.samples
	$(BIN)/python scripts/quickstart.py

test: .venv/.dev
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest  # threads that spin make a busy machine crawl

# in Chromium, which the system brings; npm brings what drives it, and the page's runtime
test-page: .venv/.dev tests/browser/node_modules/.here
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m browser tests/test_page_in_browser.py

tests/browser/node_modules/.here: tests/browser/package.json
	cd tests/browser && npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts
	@touch $@

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# README, docs and docstrings as a site in site/, and a sentence for each link that leads nowhere
site: .venv/.docs
	NO_MKDOCS_2_WARNING=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mkdocs build --strict  # PATH: ruff
	@echo "open site/index.html"

# without PyTorch; an environment of its own, made anew, as pip takes nothing away
light: $(LIGHT)
	$(PYTHON) -m venv --clear .venv-light
	.venv-light/bin/python -m pip --disable-pip-version-check install --quiet -r $(LIGHT)
	.venv-light/bin/python -m pip --disable-pip-version-check install --quiet --no-deps .
	@echo "fst is in .venv-light/bin"

clean:
	rm -rf .venv .venv-light build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache

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

.venv/.docs: .venv/.python pyproject.toml constraints.txt
	@echo "installing into .venv: about 5 GB with torch for CUDA, a few minutes"
	$(PIP) install --quiet -c constraints.txt -e '.[docs]'
	@touch $@
