# Each target does its own set-up. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One test process per core: the suites wait on a control plane more than they compute.
PYTEST_ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use
.PHONY: demo
demo: $(VENV)/.ready ## From nothing to a landed convoy: local town, helm install, kubectl apply, follow it
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/demo.py

.PHONY: down
down: $(VENV)/.ready ## Stop the local town; its data stays
	@$(BIN)/gt down

##@ Check
.PHONY: test
test: $(VENV)/.ready ## Everything from nothing to a green test run: lint, then all tests but the soaks
	@$(MAKE) --no-print-directory lint verify
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m "not soak" $(PYTEST_ARGS)

.PHONY: lint
lint: $(VENV)/.ready ## Style, types and import layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > build/lint-imports.log 2>&1 || { cat build/lint-imports.log; exit 1; }

.PHONY: verify
verify: ## Fail when a generated file is stale
	@mkdir -p build && rm -rf build/verify && cp -R charts/gastown/files/crds build/verify
	@diff -r crds build/verify || { echo "charts/gastown/files/crds is stale: run make update" >&2; exit 1; }

.PHONY: soak
soak: $(VENV)/.ready ## The long tests
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m soak --timeout=3600 $(PYTEST_ARGS)

.PHONY: bench
bench: $(VENV)/.ready ## Every benchmark, or some: make bench ONLY=name,...; a table and build/bench.json
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/bench/run.py --only "$(ONLY)"

##@ Work on it
.PHONY: update
update: $(VENV)/.ready ## Write what is generated: the chart's copy of the CRDs, the page of rights
	@mkdir -p charts/gastown/files && rm -rf charts/gastown/files/crds && cp -R crds charts/gastown/files/crds
	@PYTHONPATH=tests $(BIN)/python -m support.rights_page

.PHONY: clean
clean: ## Remove the virtual environment and build results
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

$(VENV)/.ready: pyproject.toml constraints.txt
	@mkdir -p build
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Gas Town needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "could not make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
