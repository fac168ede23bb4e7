# python3 with venv, and make, are all that these targets need; the rest goes into .venv.
#
#   make demo     installs Longline into .venv and starts the chat of examples/chat
#   make test     runs all tests, except those that take minutes
#   make check    ruff, mypy, pyright and the unit tests: what a commit has to pass
#   make drills   the tests that take minutes
#   make docs     writes the generated pages anew
#   make clean    removes .venv and what builds and tests left

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The chat is served here; examples/chat/app.py says the same.
DEMO_URL := http://127.0.0.1:2345
UNIT := tests/unit $(wildcard tests/test_*.py)

.PHONY: demo test check drills docs clean help
.DEFAULT_GOAL := help

help:
	@sed -n '/^#  /s/^#  / /p' Makefile

demo: $(VENV)/run.stamp
	@echo "Open $(DEMO_URL) in two windows; Ctrl+C stops it."
	@exec $(BIN)/longline start examples/chat/app.py

test: $(VENV)/test.stamp
	@$(BIN)/python -m pytest -m "not long"

drills: $(VENV)/test.stamp
	@$(BIN)/python -m pytest -m long

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@# --verifytypes finds what is installed by PATH alone; --pythonpath does not reach it.
	PATH="$(CURDIR)/$(BIN):$$PATH" pyright --verifytypes longline --ignoreexternal
	$(BIN)/python -m pytest -m "not long" $(UNIT)

docs: $(VENV)/run.stamp
	@$(BIN)/python docs/generate.py
	@echo "Wrote docs/limits.md"

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A stamp is younger than all that decides what is installed. A larger set of packages includes
# the smaller ones, so each target installs only what it needs itself.

$(VENV)/run.stamp: pyproject.toml setup.py | $(BIN)/python
	@echo "Installing Longline into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/test.stamp: pyproject.toml setup.py | $(BIN)/python
	@echo "Installing Longline and what its tests need into $(VENV) ..."
	@$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/run.stamp

$(VENV)/dev.stamp: pyproject.toml setup.py | $(BIN)/python
	@echo "Installing Longline and its tools into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/test.stamp $(VENV)/run.stamp

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Longline needs Python 3.11 or later: make PYTHON=python3.11"; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
