# Everything happens in .venv, made on first use: `make quickstart` and `make test` need only
# Python 3.11 or newer. `EXTRAS=cuda make quickstart` (or tpu) installs for an accelerator.
PYTHON ?= python3
EXTRAS ?=
VENV := .venv
BIN := $(VENV)/bin
empty :=
comma := ,
EXTRAS_LIST := $(subst $(empty) $(empty),$(comma),$(strip $(EXTRAS)))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: quickstart test test-slow test-release faults floors wheel fuzz parity benchmark site lint format

quickstart: $(VENV)/installed
	$(BIN)/gtn quickstart

# Compiling is most of their time, and these programs run for moments: machine code is not optimized,
# and loops are made by XLA's older, quicker emitters where it has them (from 0.11 on it ends at a flag
# it does not know). A file's tests stay in one process: what they share is compiled once.
QUICK := from importlib.metadata import version as v; \
	new = [*map(int, v("jaxlib").split(".")[:2])] > [0, 10]; \
	print("--xla_backend_optimization_level=0", "" if new else "--xla_cpu_use_fusion_emitters=false")
UNOPTIMIZED = XLA_FLAGS="$$XLA_FLAGS $$($(1) -c '$(QUICK)')"
FAST_TESTS := -m "not slow and not faults and not release" --dist loadfile --numprocesses auto --maxprocesses 4
test: $(VENV)/installed-dev
	$(call UNOPTIMIZED,$(BIN)/python) $(BIN)/python -m pytest $(FAST_TESTS)

# In this order of what they need: nothing, both cores, the machine code that users get.
BY_FILE := --dist loadfile --numprocesses auto --maxprocesses 2
test-slow: $(VENV)/installed-dev
	$(call UNOPTIMIZED,$(BIN)/python) $(BIN)/python -m pytest -m "slow and not alone and not optimized and not release" $(BY_FILE)
	$(call UNOPTIMIZED,$(BIN)/python) $(BIN)/python -m pytest -m "slow and alone and not release"
	$(BIN)/python -m pytest -m "slow and optimized and not release" $(BY_FILE)

# The long forms of what CI shows briefly, and all that only a person starts: before a release, on a
# machine that does nothing else. Hours; the figures go into docs/reliability.md, with the date.
# EXTRAS=torch for parity.
test-release: FUZZ_MINUTES := 30
test-release: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "release and not faults"
	$(MAKE) faults
	$(MAKE) fuzz FUZZ_MINUTES=$(FUZZ_MINUTES)
	$(MAKE) parity
	$(MAKE) wheel
	$(MAKE) floors

# Saves whose system calls are refused, one after the other, and a training that is killed 200 times;
# KILLS=1000 before a release. By hand, on a machine that does nothing else.
KILLS ?= 200
faults: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m faults
	$(BIN)/python tests/faults/kill.py --kills $(KILLS)

# The fast suite with the oldest versions that pyproject.toml admits, in a venv of its own.
FLOORS := .venv-floors
floors:
	$(PYTHON) -m venv --clear $(FLOORS)
	$(PYTHON) -c 'import tomllib; print(*(d.replace(">=", "==") for d in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]), sep="\n")' > $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check -r $(FLOORS)/floors.txt -r requirements-dev.txt
	$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	$(call UNOPTIMIZED,$(FLOORS)/bin/python) $(FLOORS)/bin/python -m pytest $(FAST_TESTS)

# dist/ from `python -m build`; the wheel goes into a clean venv, and the quickstart runs from it in a
# folder of its own, far from this one.
WHEEL := .venv-wheel
wheel: $(BIN)/python
	rm -rf dist
	$(PIP) build
	$(BIN)/python -m build
	$(PYTHON) -m venv --clear $(WHEEL)
	$(WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.txt dist/*.whl
	folder=$$(mktemp -d) && cd $$folder && env -u PYTHONPATH $(CURDIR)/$(WHEEL)/bin/gtn quickstart --seeds 1 --workdir runs \
		&& $(CURDIR)/$(WHEEL)/bin/gtn list experiments && rm -r $$folder

# Damaged files, new ones each time, until Ctrl-C or for FUZZ_MINUTES; stops at the first finding,
# which .hypothesis/ keeps: the next call begins with it.
FUZZ_MINUTES ?= 1000000
fuzz: $(VENV)/installed-dev
	@end=$$(($$(date +%s) + 60 * $(FUZZ_MINUTES))); while [ $$(date +%s) -lt $$end ]; do \
		FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest -m slow tests/fuzz || exit 1; done

# What was compared with what, the largest difference and the tolerance; needs EXTRAS=torch.
parity: $(VENV)/installed-dev
	$(BIN)/python -m pytest --parity tests/weights/test_golden.py tests/weights/test_trajectory.py \
		tests/weights/test_parity.py

# At most 12 minutes. PyTorch is the peer: .ci/run's version, unless EXTRAS brought another; on
# Linux a plain CPU build is enough, and pip takes the index of one from PIP_EXTRA_INDEX_URL.
benchmark: $(VENV)/installed
	$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) torch==2.13.0 || echo "no PyTorch: its rows will be null"
	$(BIN)/gtn benchmark --out runs/benchmark.json

# docs/ and the docstrings as site/html/index.html, which opens from disk; a warning is an error.
site: $(VENV)/installed-dev
	rm -rf site docs/reference
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --doctree-dir site/doctrees docs site/html

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, $(PYTHON) is {v.major}.{v.minor}; try: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv could be made; on Debian or Ubuntu: apt install python3-venv"; exit 1; }

# One stamp per choice of extras, so that changing EXTRAS installs again.
$(VENV)/installed: $(BIN)/python requirements.txt pyproject.toml $(VENV)/extras-$(EXTRAS_LIST)
	$(PIP) -r requirements.txt
	$(PIP) $(if $(EXTRAS_LIST),-r requirements.txt -e ".[$(EXTRAS_LIST)]",--no-deps -e .)
	touch $@

$(VENV)/extras-$(EXTRAS_LIST): $(BIN)/python
	rm -f $(VENV)/extras-*
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	touch $@
