# `make help` lists what is used daily, `make help-all` everything.
# Assumed are Ubuntu or Debian with Python 3.11 and make, and nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Variables. `##` is shown by `make help`, `##+` by `make help-all` alone.
## smoke (minutes), demo (default), paper (the paper's settings; needs DATA= and a GPU)
PROFILE ?= demo
## a cohort folder that exists (see README); without it a cohort is simulated
DATA ?=
## parallel runs (default: one per core); for test: test files at a time (default 2)
WORKERS ?=
## seeds per row, instead of the profile's own number
SEEDS ?=
## cpu or cuda (default: a GPU where there is one)
DEVICE ?=
##+ EEG channel of DATA; it and the next 4 default to the cohort's Settings, else the profile's
CHANNEL ?=
##+ Hz, to which the EEG of DATA is brought
EEG_RATE ?=
##+ frames kept of a clip of DATA
FRAMES ?=
##+ which of them: spread or consecutive
SAMPLING ?=
##+ with SAMPLING=consecutive: windows of a clip
WINDOWS ?=
##+ 1: go on although a night or a stage of DATA lost more than 5 % of its clips
ACCEPT_LOSS ?=
##+ folder of the UCDDB tables: real stages and apneas drive the simulated cohort
NIGHTS ?=
##+ UCF101's videos, for table3 (else simulated); a Cnn14_emb512*.pth in it is the teacher
UCF101 ?=
##+ folder of Sleep-EDF's cassette recordings, for mc2sleepnet (default: the cohort's EEG)
SLEEPEDF ?=
##+ tcp://host:port (or tls://) of a Dask scheduler that runs the trainings instead
CLUSTER ?=
##+ for verify: a results folder to compare with (default: what is committed)
AGAINST ?=
##+ for bench: ingest memory loader step losses grid stages growth predict scale (default: all)
ONLY ?=
##+ the Python 3.11 that builds the environment (default python3.11)
PYTHON ?= python3.11
##+ folder of the environment (default .venv)
VENV ?= .venv

PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# The threads of one process are capped: parallelism comes from running several processes.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export PYTHONHASHSEED := 0
# Each run and notebook is a process: without bytecode on disk every one compiles its imports again.
unexport PYTHONDONTWRITEBYTECODE

ifneq ($(words $(VENV)),1)
  $(error VENV=$(VENV): give a folder whose name has no spaces)
endif
# What a user gives reaches the programs through the environment, as data. In a line of the shell its signs would be words.
# `value` takes them unexpanded: a path may hold a dollar sign.
GIVEN := PROFILE DATA NIGHTS UCF101 SLEEPEDF ONLY AGAINST CLUSTER WORKERS SEEDS CHANNEL EEG_RATE FRAMES SAMPLING WINDOWS
$(foreach name,$(GIVEN),$(eval export GIVEN_$(name) := $$(value $(name))))
export GIVEN_ACCEPT_LOSS := $(filter 1,$(value ACCEPT_LOSS))
export SACD_DEVICE := $(value DEVICE)
# $(call given,DATA,data) is --data=... where DATA is given, and nothing where it is not.
given = $${GIVEN_$(1):+--$(2)="$$GIVEN_$(1)"}
ARGS = --profile="$$GIVEN_PROFILE" $(call given,DATA,data) $(call given,NIGHTS,nights) $(call given,UCF101,ucf101) \
       $(call given,CLUSTER,cluster) $(call given,WORKERS,workers) $(call given,SEEDS,seeds) \
       $(call given,CHANNEL,channel) $(call given,EEG_RATE,eeg-rate) $(call given,FRAMES,frames) $(call given,SAMPLING,sampling) $(call given,WINDOWS,windows)
EXTRA = $(call given,SLEEPEDF,sleepedf) $${GIVEN_ACCEPT_LOSS:+--accept-loss}

# Tables, figures and what is beyond the paper; a test holds this list to sacd/paper/contents.py, which knows their notebooks.
ITEMS := tour method table1 table2 table3 table4 table5 table6 tuning fig2 fig5 fig6 fig7 fig8 fig9 fig10 fig11 fig12 fig13 readings audit mc2sleepnet few_labels simulator night explore
.PHONY: help help-all othermachine reproduce beyond simulate check verify report bench test faults quicktest lint lab lock clean clean-all setup runs $(ITEMS)

# $(call list,MARK): targets and variables of this file whose explanation begins with MARK.
list = echo "usage: make TARGET [VARIABLE=value ...]"; echo; echo "targets"; \
  awk -v mark='^$(1) ' '/^[a-z0-9-]+:.* \#\#/ { name = $$0; sub(/:.*/, "", name); sub(/^[^\#]* /, ""); \
  if (sub(mark, "")) printf "  %-14s%s\n", name, $$0 }' $(MAKEFILE_LIST)
variables = echo; echo "variables"; awk -v mark='^$(1) ' '/^\#\#/ { said = $$0 } \
  /^[A-Z0-9_]+ \?=/ { if (sub(mark, "", said)) printf "  %-14s%s\n", $$1, said }' $(MAKEFILE_LIST)

help:  ## this list
	@$(call list,##)
	@printf '  %-14s%s\n' ITEM "data, training and notebook of one item alone, such as table2, fig5 or tour"
	@$(call variables,##); echo; echo "make help-all lists every target, item and variable"

help-all:  ## every target, item and variable
	@$(call list,##[+]?)
	@echo; echo "items, a target each"; $(PYTHON) sacd/paper/contents.py 2>/dev/null || echo "  $(ITEMS)"
	@$(call variables,##[+]?)

setup: $(READY)  ## build the environment (every other target does it on first use)

# One shell from the lock to the end: of two `make` in a fresh clone the second waits, then finds it done. Not .lock: that one is uv's.
$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 with its venv module, or say PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"error: {sys.executable} is Python {v[0]}.{v[1]}; this project needs 3.11: say PYTHON=/path/to/python3.11")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt-get install python3.11-venv)"; exit 1; }
	@mkdir -p $(VENV); exec 9>$(VENV)/.make.lock; \
	if command -v flock >/dev/null && ! flock -n 9; then echo "waiting for another make that builds $(VENV)"; flock 9; fi; \
	if [ $@ -nt requirements.lock ] && [ $@ -nt pyproject.toml ]; then exit 0; fi; \
	echo "building the environment in $(VENV)"; \
	$(PYTHON) -m venv $(VENV); \
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r <(sed -n '/^uv==/,/^[a-z]/p' requirements.lock | sed '$$d'); \
	$(PY) -m uv pip sync --quiet --python $(PY) --require-hashes requirements.lock; \
	$(PY) -m uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .; \
	$(PY) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "sacd_cpu.pth").write_text("import sacd.cpu\n")'; \
	touch $@

reproduce: $(READY)  ## simulate (or read DATA), train, execute the notebooks: results/PROFILE
	@$(PY) -m sacd reproduce $(ARGS) $(EXTRA)

beyond: $(READY)  ## beyond the paper: readings of open points, few labels, simulator and real nights
	@$(PY) -m sacd reproduce $(ARGS) $(EXTRA) --only readings --only few_labels --only simulator

simulate: $(READY)  ##+ write the simulated cohort only (data/PROFILE/cohort)
	@$(PY) -m sacd simulate $(ARGS)

check: $(READY)  ## report the problems of the cohort DATA in one table
	@$(PY) -m sacd check $(ARGS)

$(ITEMS): $(READY)
	@$(PY) -m sacd reproduce $(ARGS) $(EXTRA) --only $@

verify: $(READY)  ## compare every number with the paper, and the files with their manifest
	@$(PY) -m sacd verify $(ARGS) $(call given,AGAINST,against)

report: $(READY)  ## build results/PROFILE/report/index.html from what lies in results/PROFILE
	@$(PY) -m sacd report $(ARGS)

bench: $(READY)  ##+ measure ingest, training step, execution: results/bench
	@set -f; parts=(); for part in $$GIVEN_ONLY; do parts+=("--only=$$part"); done; $(PY) -m benchmarks "$${parts[@]}"

runs: $(READY)  ## list every training: what, state, how long, why stale
	$(PY) -m sacd runs

lab: $(READY)  ## open the notebooks in JupyterLab
	$(VENV)/bin/jupyter lab notebooks

SMOKE := PROFILE=smoke DATA= NIGHTS= UCF101= SLEEPEDF= CLUSTER= SEEDS= CHANNEL= EEG_RATE= FRAMES= SAMPLING= WINDOWS= ACCEPT_LOSS=
# A file is tested by one worker: what is costly to set up is made once. One thread each (above), so two fill two cores.
PYTEST = $(PY) -m pytest -n "$${GIVEN_WORKERS:-2}" --dist loadfile --no-loadscope-reorder
test: $(READY)  ## lint, every test, and the smoke profile from simulation to report
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PYTEST)
	$(MAKE) reproduce $(SMOKE)
	@again=$$($(MAKE) reproduce $(SMOKE)); echo "$$again"; \
	if ! grep -q '^0 runs computed' <<< "$$again" || grep ': executed$$' <<< "$$again"; then \
	  echo "error: the second make reproduce trained or executed something again"; exit 1; fi
	$(PY) -m pytest tests/report/test_page_in_browser.py -k test_in_a_browser  # of what was just made

othermachine: $(READY)  ##+ smoke on an emulated processor, and planted drifts (after make test)
	$(PY) -m pytest -m whole tests/test_other_machine.py

faults: $(READY)  ##+ every bad input, and 50 processes killed at any moment (10 minutes)
	$(PYTEST) -m "not whole" tests/faults

quicktest: $(READY)  ## lint and the tests that are not slow, in two minutes
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PYTEST) -m "not slow and not whole and not faults"

lint: $(READY)  ##+ format and lint
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: $(READY)  ##+ make requirements.lock from pyproject.toml
	$(PY) -m uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev \
	  pyproject.toml --output-file requirements.lock

clean:  ## remove PROFILE's simulated data, their stores and runs (results/demo stays)
	@$(PYTHON) sacd/clean.py --profile="$$GIVEN_PROFILE"

clean-all:  ##+ remove all data, runs and results made here, of your cohorts too; asks first
	@$(PYTHON) sacd/clean.py --all
