# Every target sets up .venv first; that costs nothing when it already matches requirements.lock.
VENV   := .venv
PYTHON_IN_VENV := $(VENV)/bin/python
JOBS   ?= 2
MUTATION_FLOOR ?= 80
SUITES ?= run_sim.py scenario --json
CODE   := kernel venues replay scenarios $(wildcard run_*.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types layers suites gate mutants docs lock check clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: ## Create or update .venv from requirements.lock
	@PYTHON="$(PYTHON)" .ci/setup

demo: setup ## Run the demonstration
	$(PYTHON_IN_VENV) run_sim.py demo

test: setup ## Run the tests (ARGS='-k name' passes options to pytest)
	$(PYTHON_IN_VENV) -m pytest -n $(JOBS) $(ARGS)

lint: setup ## ruff
	$(VENV)/bin/ruff check .

types: setup ## mypy: strict for the code, checked but untyped allowed for the tests
	$(VENV)/bin/mypy $(CODE)
	$(VENV)/bin/mypy tests .ci benchmarks

layers: setup ## import-linter: who may import whom
	PYTHONPATH=. $(VENV)/bin/lint-imports --no-logo

suites: setup ## Run every scenario suite once
	$(PYTHON_IN_VENV) $(SUITES)

gate: setup ## Determinism: every suite twice in two different processes, digests compared
	$(PYTHON_IN_VENV) .ci/determinism.py -- $(SUITES)

mutants: setup ## Break each rule on purpose; its scenarios must notice
	$(PYTHON_IN_VENV) tests/mutants/run.py

docs: setup ## Write the reference of settings and .env.example anew
	$(PYTHON_IN_VENV) .ci/reference.py

mutation-sample: setup ## Small mistakes in 200 places drawn by the commit: most are noticed
	$(PYTHON_IN_VENV) -m tests.mutation.run --sample 200 --minutes 3 -j $(JOBS) \
		--seed "$$(git rev-parse HEAD)" --floor $(MUTATION_FLOOR)

lock: ## Resolve the newest versions into requirements.lock
	.ci/lock

check: lint types layers test ## What to run before a commit

clean: ## Remove caches and output, keep .venv
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache out build
