# make demo    the main job on real input, checked against a plain loop
# make test    everything that can be right or wrong
# make lint    style, types, layers
# make docs    reference and man pages, from the commands themselves
# make bench   one table of figures         (ROWS="startup sh" ROUNDS=5 to choose)
# make faults  kill -9 campaigns            (ONLY=broker TRIALS=50 SEED=1 to choose)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test lint docs bench faults tools clean

PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE :=

ROWS ?=
ROUNDS ?= 5
ONLY ?=
TRIALS ?= 50
SEED ?=
TESTS ?= tests
# More than the cores of a small machine: many tests wait for servers, and for times to pass.
JOBS ?= 3

comma := ,
empty :=
space := $(empty) $(empty)

# The stamp is newer than what it was made from: a changed pyproject.toml installs again.
STAMP := $(VENV)/.installed
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed (make PYTHON=python3.12 ...)" >&2; exit 2; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	touch $@

# What the tests need beyond Python; only what is missing, and only where we may install it.
tools:
	@.ci/tools

demo: $(STAMP)
	deploy/demo/run.sh

test: $(STAMP) tools
	$(VENV)/bin/python -m pytest -q -n $(JOBS) --dist loadfile --max-worker-restart 0 $(TESTS)

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(STAMP)
	$(VENV)/bin/python -m hs_deploy.pages docs

bench: $(STAMP) tools
	$(VENV)/bin/python tests/bench/run.py --rounds $(ROUNDS) $(if $(ROWS),--rows $(subst $(space),$(comma),$(strip $(ROWS))))

faults: $(STAMP) tools
	$(VENV)/bin/python tests/faults/run.py --trials $(TRIALS) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(subst $(space),$(comma),$(strip $(ONLY))))

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
