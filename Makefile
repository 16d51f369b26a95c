# make demo: the main job end to end on the embedded corpus.    make test: every test that can run here.
# Another interpreter: make PYTHON=python3.12 demo     More test processes: make WORKERS=8 test
SHELL := /bin/bash
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test check bench clean

help:
	@echo "make demo     install, then prepare, train, decode and score the embedded synthetic corpus"
	@echo "make test     install, then every test that this machine can run (AVSR_DATA=... adds real data)"
	@echo "make check    formatting, lint, types, contracts"
	@echo "make bench    the benchmark scripts, into benchmarks/results"
	@echo "make install  the environment only, in $(VENV)"
	@echo "make clean    caches and build leftovers; never runs, data or $(VENV)"

install: $(STAMP)

# The stamp is written last, so an interrupted install is taken up again by the next make.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "make: '$(PYTHON)' is missing or older than Python 3.10; name another: make PYTHON=python3.12 install" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "make: $(PYTHON) -m venv failed (see above); on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "make: installing into $(VENV) (about 5 GB with PyTorch, minutes the first time)"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[tracking,report,export,recognisers,viewer,dev]'
	@touch $@

demo: install
	$(BIN)/python recipes/synthetic/recipe.py all --out runs/demo

test: install
	$(BIN)/python -m pytest -m "" -n $(WORKERS) --dist loadfile --durations 15

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy avsr learn2talk $(wildcard recipes/*/recipe.py benchmarks/*.py)
	$(BIN)/python -m pytest -q tests/contracts

bench: install
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -not -path './runs/*' -prune -exec rm -rf {} +
