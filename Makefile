# Needs only Python 3.11 or newer (with pip and venv) and make. Every target sets itself up; `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
# three files of tests at a time, on two cores: many of them wait for processes of their own
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder
ARCHIVE ?= demo/demo.duckdb
BENCH_ARGS ?=
SECONDS ?= 600
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# modules are compiled when they are first imported: compiling all of torch takes longer than installing it
PIP := $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check $(PIP_ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test browser thorough check bench torture docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"pathscope needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned dependencies into $(VENV) (2 GB on disk; minutes the first time)"
	@$(PIP) -c constraints.txt hatchling
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

demo: $(STAMP) ## train five seeds, measure them, answer questions; the archive is demo/demo.duckdb
	@$(BIN)/pathscope demo --archive $(ARCHIVE)

ui: $(STAMP) ## open the explorer on the demo's archive (or make ui ARCHIVE=FILE)
	@$(BIN)/pathscope ui --archive $(ARCHIVE)

test: check ## the whole check: lint, layers, types, tests
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not thorough"

browser: $(STAMP) ## every test of the explorer in a browser, also those that make test has no time for
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/ui -m browser

thorough: $(STAMP) ## every test there is: also repeats of a promise that make test keeps only once
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP) ## lint, formatting, layers and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(STAMP) ## measure the promises about speed, as ratios
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

torture: $(STAMP) ## try to break an archive for SECONDS=600; make test does it briefly
	$(BIN)/python -m tests.torture.torture --seconds $(SECONDS)

docs: $(STAMP) ## renew what is generated from the code: docs/reference.md, docs/sql.md, pathscope/__init__.pyi
	$(BIN)/python docs/generate.py

clean: ## remove caches and the environment; archives stay
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
