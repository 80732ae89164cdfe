.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint type format bench clean

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

help: ## Show this list
	@grep -E '^[a-z_]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# One virtualenv for all; made anew when the dependencies change.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(RUN)/pip install --quiet --disable-pip-version-check --editable ".[all]" --group dev
	touch $@

# What only the benchmark needs: the packages it compares with, and what draws.
$(VENV)/.bench: $(VENV)/.ready
	$(RUN)/pip install --quiet --disable-pip-version-check --group bench
	touch $@

demo: $(VENV)/.ready ## Run the main job: a chat kept within 60 tokens (LIVE=1 talks to the real model)
	$(RUN)/python examples/conversation_chain.py

test: $(VENV)/.ready ## Run the tests
	$(RUN)/python -m pytest

coverage: $(VENV)/.ready ## Run the tests and show which branches they miss (slower)
	$(RUN)/python -m pytest --cov --cov-report=term:skip-covered

lint: $(VENV)/.ready ## Check style
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

type: $(VENV)/.ready ## Check types
	$(RUN)/mypy

format: $(VENV)/.ready ## Format, and mend what can be mended
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

bench: $(VENV)/.bench ## Measure, as ratios within one run (TOKENBUFFER_BENCH_FULL=1: a million SQL messages)
	$(RUN)/python -m tests.benchmarks

clean: ## Remove what was built
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
