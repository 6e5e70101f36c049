# `make help` lists targets and variables. Ubuntu or Debian with Python 3.11 and make is all that is assumed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PROFILE ?= demo
DATA ?=
NIGHTS ?=
UCF101 ?=
SLEEPEDF ?=
ONLY ?=
AGAINST ?=
CLUSTER ?=
WORKERS ?=
SEEDS ?=
DEVICE ?=
CHANNEL ?=
EEG_RATE ?=
FRAMES ?=
SAMPLING ?=
ACCEPT_LOSS ?=
PYTHON ?= python3.11
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
export GIVEN_PROFILE := $(value PROFILE)
export GIVEN_DATA := $(value DATA)
export GIVEN_NIGHTS := $(value NIGHTS)
export GIVEN_UCF101 := $(value UCF101)
export GIVEN_SLEEPEDF := $(value SLEEPEDF)
export GIVEN_ONLY := $(value ONLY)
export GIVEN_AGAINST := $(value AGAINST)
export GIVEN_CLUSTER := $(value CLUSTER)
export GIVEN_WORKERS := $(value WORKERS)
export GIVEN_SEEDS := $(value SEEDS)
export GIVEN_CHANNEL := $(value CHANNEL)
export GIVEN_EEG_RATE := $(value EEG_RATE)
export GIVEN_FRAMES := $(value FRAMES)
export GIVEN_SAMPLING := $(value SAMPLING)
export GIVEN_ACCEPT_LOSS := $(filter 1,$(value ACCEPT_LOSS))
export SACD_DEVICE := $(value DEVICE)
given = $${GIVEN_$(1):+--$(2)="$$GIVEN_$(1)"}
ARGS = --profile="$$GIVEN_PROFILE" $(call given,DATA,data) $(call given,NIGHTS,nights) $(call given,UCF101,ucf101) \
       $(call given,CLUSTER,cluster) $(call given,WORKERS,workers) $(call given,SEEDS,seeds) \
       $(call given,CHANNEL,channel) $(call given,EEG_RATE,eeg-rate) $(call given,FRAMES,frames) $(call given,SAMPLING,sampling)
EXTRA = $(call given,SLEEPEDF,sleepedf) $${GIVEN_ACCEPT_LOSS:+--accept-loss}

# Tables, figures and what is beyond the paper; a test holds this list to sacd/paper/contents.py, which knows their notebooks.
ITEMS := tour method table1 table2 table3 table4 table5 table6 tuning fig2 fig5 fig6 fig7 fig8 fig9 fig10 fig11 fig12 fig13 readings audit mc2sleepnet few_labels simulator night explore
.PHONY: help othermachine reproduce beyond simulate check verify report bench test faults quicktest lint lab lock clean clean-all setup runs $(ITEMS)

help:  ## this list
	@echo "usage: make TARGET [VARIABLE=value ...]"; echo; echo "targets"
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## (.*)/  \1\t\2/' | expand -t 14
	@echo; echo "items, a target each"; $(PYTHON) sacd/paper/contents.py 2>/dev/null || echo "  $(ITEMS)"
	@echo; echo "variables"
	@printf '  %-12s%s\n' \
	  PROFILE "smoke (minutes, for CI), demo (default) or paper (the paper's settings; needs DATA= and a GPU)" \
	  DATA "a cohort folder that exists (BIDS-style, see README); without it a cohort is simulated" \
	  CHANNEL "EEG channel of DATA (default: the cohort's Settings, else the profile's; so are the next three)" \
	  EEG_RATE "Hz, to which the EEG of DATA is brought" \
	  FRAMES "frames kept of a clip of DATA" \
	  SAMPLING "which of them: spread or consecutive" \
	  NIGHTS "a folder with the UCDDB tables: real stages and apneas drive the simulated cohort" \
	  UCF101 "folder of UCF101's videos, for table3; a Cnn14_emb512*.pth in it is the teacher; else simulated" \
	  SLEEPEDF "a folder with Sleep-EDF's cassette recordings, for make mc2sleepnet (default: the cohort's EEG)" \
	  WORKERS "parallel runs (default: one per core); of make test: test files at a time (default 2)" \
	  CLUSTER "tcp://host:port (or tls://) of a Dask scheduler that runs the trainings instead" \
	  ONLY "parts for make bench: ingest memory loader step losses grid stages growth predict (default: all)" \
	  AGAINST "for make verify: a results folder to compare with (default: what is committed)" \
	  SEEDS "seeds a row, instead of the profile's own number" \
	  DEVICE "cpu or cuda (default: a GPU where there is one)" \
	  ACCEPT_LOSS "1: go on although a night or a stage of DATA lost more than 5 % of its clips" \
	  PYTHON "the Python 3.11 that builds the environment (default python3.11)" \
	  VENV "folder of the environment (default .venv)"

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

reproduce: $(READY)  ## simulate (or read DATA), train what is missing, execute the notebooks, write results/PROFILE
	$(PY) -m sacd reproduce $(ARGS) $(EXTRA)

beyond: $(READY)  ## what goes beyond the paper: readings of open points, few labels, the simulator beside real nights
	$(PY) -m sacd reproduce $(ARGS) $(EXTRA) --only readings --only few_labels --only simulator

simulate: $(READY)  ## write the simulated cohort only (data/PROFILE/cohort)
	$(PY) -m sacd simulate $(ARGS)

check: $(READY)  ## report the problems of the cohort DATA in one table
	$(PY) -m sacd check $(ARGS)

$(ITEMS): $(READY)
	$(PY) -m sacd reproduce $(ARGS) $(EXTRA) --only $@

verify: $(READY)  ## check the manifest of results/PROFILE, compare every number with the paper
	$(PY) -m sacd verify $(ARGS) $(call given,AGAINST,against)

report: $(READY)  ## build results/PROFILE/report/index.html from what lies in results/PROFILE
	$(PY) -m sacd report $(ARGS)

bench: $(READY)  ## measure ingest, training step, execution: results/bench
	@set -f; parts=(); for part in $$GIVEN_ONLY; do parts+=("--only=$$part"); done; $(PY) -m benchmarks "$${parts[@]}"

runs: $(READY)  ## list every training: what, state, how long, why stale
	$(PY) -m sacd runs

lab: $(READY)  ## open the notebooks in JupyterLab
	$(VENV)/bin/jupyter lab notebooks

SMOKE := PROFILE=smoke DATA= NIGHTS= UCF101= SLEEPEDF= CLUSTER= SEEDS= CHANNEL= EEG_RATE= FRAMES= SAMPLING= ACCEPT_LOSS=
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
	$(PY) -m pytest tests/report/test_page_in_browser.py  # of what was just made

othermachine: $(READY)  ## the smoke profile on an emulated processor, and planted drifts: what verify says (after make test)
	$(PY) -m pytest -m whole tests/test_other_machine.py

faults: $(READY)  ## every bad input, and 50 processes ended at any moment: equal bytes, no orphan (10 minutes)
	$(PYTEST) -m "not whole" tests/faults

quicktest: $(READY)  ## lint and the tests that are not slow, in two minutes
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PYTEST) -m "not slow and not whole and not faults"

lint: $(READY)  ## format and lint
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: $(READY)  ## make requirements.lock from pyproject.toml
	$(PY) -m uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev \
	  pyproject.toml --output-file requirements.lock

clean:  ## remove what PROFILE made: its simulated data, their stores and runs (results/demo and the environment stay)
	@$(PYTHON) sacd/clean.py --profile="$$GIVEN_PROFILE"

clean-all:  ## list all data, runs and results that were made here, of your cohorts too, and ask before removing them
	@$(PYTHON) sacd/clean.py --all
