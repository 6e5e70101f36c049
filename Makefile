# `make help` lists targets and variables. Ubuntu or Debian with Python 3.11 and make is all that is assumed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PROFILE ?= demo
DATA ?=
NIGHTS ?=
CLUSTER ?=
WORKERS ?=
SEEDS ?=
PYTHON ?= python3.11
VENV ?= .venv

PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# The threads of one process are capped: parallelism comes from running several processes.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export PYTHONHASHSEED := 0

ARGS = --profile $(PROFILE) $(if $(DATA),--data "$(DATA)") $(if $(NIGHTS),--nights "$(NIGHTS)") \
       $(if $(CLUSTER),--cluster $(CLUSTER)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(SEEDS),--seeds $(SEEDS))

.PHONY: help reproduce simulate check test lint lab lock clean setup runs table2 fig2 tour audit

help:  ## this list
	@echo "usage: make TARGET [VARIABLE=value ...]"; echo; echo "targets"
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):[^#]*## (.*)/  \1\t\2/' | expand -t 14
	@echo; echo "variables"
	@printf '  %-10s%s\n' \
	  PROFILE "smoke (minutes, for CI), demo (default) or paper (the paper's settings; needs DATA= and a GPU)" \
	  DATA "a cohort folder that exists (BIDS-style, see README); without it a cohort is simulated" \
	  NIGHTS "a folder with the UCDDB tables: real stages and apneas drive the simulated cohort" \
	  WORKERS "parallel runs (default: one per core)" \
	  CLUSTER "tcp://host:port of a Dask scheduler that runs the trainings instead" \
	  SEEDS "seeds a row, instead of the profile's own number" \
	  PYTHON "the Python 3.11 that builds the environment (default python3.11)" \
	  VENV "folder of the environment (default .venv)"

setup: $(READY)  ## build the environment (every other target does it on first use)

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 with its venv module, or say PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"error: {sys.executable} is Python {v[0]}.{v[1]}; this project needs 3.11: say PYTHON=/path/to/python3.11")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt-get install python3.11-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r <(sed -n '/^uv==/,/^[a-z]/p' requirements.lock | sed '$$d')
	$(PY) -m uv pip sync --quiet --python $(PY) --require-hashes requirements.lock
	$(PY) -m uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	touch $@

reproduce: $(READY)  ## simulate (or read DATA), train what is missing, execute the notebooks, write results/PROFILE
	$(PY) -m sacd reproduce $(ARGS)

simulate: $(READY)  ## write the simulated cohort only (data/PROFILE/cohort)
	$(PY) -m sacd simulate $(ARGS)

check: $(READY)  ## report the problems of the cohort DATA in one table
	$(PY) -m sacd check $(ARGS)

table2: $(READY)  ## Table II only: 20_comparison
	$(PY) -m sacd reproduce $(ARGS) --only 20_comparison

fig2: $(READY)  ## Fig. 2, Tables I and VI, splits only: 10_cohort
	$(PY) -m sacd reproduce $(ARGS) --only 10_cohort

tour: $(READY)  ## one night, from file to prediction: 00_tour
	$(PY) -m sacd reproduce $(ARGS) --only 00_tour

audit: $(READY)  ## the paper's printed numbers checked against each other: 41_paper_audit
	$(PY) -m sacd reproduce $(ARGS) --only 41_paper_audit

runs: $(READY)  ## list every training: what, state, how long, why stale
	$(PY) -m sacd runs

lab: $(READY)  ## open the notebooks in JupyterLab
	$(VENV)/bin/jupyter lab notebooks

test: $(READY)  ## lint, every test, and the smoke profile from simulation to report
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m pytest
	$(MAKE) reproduce PROFILE=smoke DATA= NIGHTS= CLUSTER= SEEDS=

lint: $(READY)  ## format and lint
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: $(READY)  ## make requirements.lock from pyproject.toml
	$(PY) -m uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev \
	  pyproject.toml --output-file requirements.lock

clean:  ## remove simulated data, runs and smoke results (asks nothing; results/demo and the environment stay)
	rm -rf data runs build results/smoke
