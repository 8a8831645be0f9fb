# Every target sets up its own environment: it needs Python 3.11 to 3.13, make and a package index.
# All paths are relative, so that the checkout's path may contain spaces.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
# Many processes run our code; with this variable set, each would compile it again.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
READY := .venv/.ready
PROCESSES := 4
PYTHONS := python3.13 python3.12 python3.11 python3
# A name on PATH may be a shim of a version that is not installed, so each one is run.
# Without python3-venv, Debian's Python has no ensurepip.
WORKS := -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
LOCK := uv pip compile -q --universal --python-version 3.11 --custom-compile-command "make lock"

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 17

.PHONY: setup
setup: $(READY) ## Make the environment in .venv
	@:

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@if ! $(BIN)/python $(WORKS) >/dev/null 2>&1; then \
	  for each in $(PYTHONS); do \
	    if "$$each" $(WORKS) >/dev/null 2>&1; then python="$$each"; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "No Python 3.11, 3.12 or 3.13 with venv found (Debian: apt install python3-venv)" >&2; \
	    exit 1; \
	  fi; \
	  echo "Setting up .venv with $$("$$python" --version), once"; \
	  "$$python" -m venv --clear .venv; \
	fi
	@$(BIN)/python -m pip install -q --disable-pip-version-check \
	  "$$(sed -n 's/^\(uv==[^ ;]*\).*/\1/p' requirements-dev.txt)"
	@$(BIN)/python -m uv pip install -q --python $(BIN)/python --compile-bytecode \
	  -r requirements.txt -r requirements-dev.txt
	@$(BIN)/python -m uv pip install -q --python $(BIN)/python \
	  --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: demo
demo: $(READY) ## Run a campaign on a sandbox, from SQL to its delivery report
	@$(BIN)/python -m demo

.PHONY: up
up: $(READY) ## Keep the same stack running, with Airflow's UI; Ctrl-C stops it
	@$(BIN)/python -m demo up

.PHONY: check
check: $(READY) ## Check style, types, imports, and all tests without servers
	@$(MAKE) -j2 --output-sync lint quick

.PHONY: quick
quick: $(READY)
	@$(BIN)/python -m pytest -q -n 2 --quick

.PHONY: test
test: lint ## Run all checks and all tests
	@$(BIN)/python -m pytest -q -n $(PROCESSES)

.PHONY: soak
soak: $(READY) ## Run the long tests: processes die at random; MINUTES=5 and SEED=7 set time and seed
	@SOAK_MINUTES="$(MINUTES)" SOAK_SEED="$(SEED)" $(BIN)/python -m pytest -m soak

.PHONY: bench
bench: $(READY) ## Run the benchmarks; ONLY="prepare_1m gsm_1m" runs these two
	@$(BIN)/python -m benchmarks $(ONLY)

.PHONY: mutants
mutants: $(READY) ## Measure the tests with mutations; ONLY="send_window gsm" measures these two
	@$(BIN)/python -m tests.mutants $(ONLY)

.PHONY: notebook
notebook: $(READY) ## Run the notebook of the docs, and store its output
	@$(BIN)/python -m tests.docs_notebook

.PHONY: lint
lint: $(READY) ## Check style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m mypy
	@if [ -f .importlinter ] || grep -q '^\[tool\.importlinter' pyproject.toml; then \
	  $(BIN)/lint-imports; \
	fi

.PHONY: lock
lock: $(READY) ## Update requirements*.txt from requirements*.in
	@$(BIN)/python -m $(LOCK) requirements.in -o requirements.txt
	@$(BIN)/python -m $(LOCK) requirements-dev.in -o requirements-dev.txt

.PHONY: clean
clean: ## Remove all files that make created
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf benchmarks/.data .mutants
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
