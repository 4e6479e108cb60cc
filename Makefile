# The front door. Every target does its own set-up: python3 (3.11 or newer), venv, pip and make are
# enough. Other interpreters: `make test PYTHON=python3.12`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# -qq: pip speaks only when something goes wrong.
PIP_INSTALL := $(BIN)/python -m pip install -qq --no-input --disable-pip-version-check -c constraints.txt
# A change in any of these installs anew; otherwise a second run starts at once.
REQUIREMENTS := pyproject.toml constraints.txt $(wildcard examples/*/pyproject.toml)
EXAMPLES := -e examples/flights -e examples/libsvm -e examples/text

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: demo test lint bench docs clean help

demo: $(VENV)/.demo-installed ## The whole path on real flights; leaves build/demo/report.html and summary.json
	@$(BIN)/samescore demo $(ARGS)

# One process a core, as many as memory allows: each holds TensorFlow and torch. A process takes file
# by file, so that what a file's tests share is made once.
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST := $(BIN)/pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Both halves run whatever the first one says; either one's failure fails the target. Bytecode is
# kept, whatever the surroundings say: the tests start hundreds of processes that would compile anew.
test: export PYTHONDONTWRITEBYTECODE =
test: lint ## Everything CI runs: lint, then the quick tests, then the slow ones
	@status=0; \
	tests/components.sh install || true; \
	$(PYTEST) -m "not slow" $(ARGS) || status=1; \
	$(PYTEST) -m slow --durations=15 $(ARGS) || status=1; \
	tests/components.sh check || status=1; \
	exit $$status

lint: $(VENV)/.dev-installed ## ruff (rules and format), mypy strict, import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev-installed ## Measure the budgets; leaves build/bench/results.json
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.dev-installed ## Build the documentation into build/docs; a broken link fails
	@$(BIN)/mkdocs build --strict
	@echo "open build/docs/index.html"

clean: ## Remove what was built and cached; the environment .venv stays
	@rm -rf build dist ./*.egg-info examples/flights/build examples/flights/*.egg-info
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# An environment that is already there and works is kept; a broken one (its interpreter gone) is not.
$(VENV)/.created:
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then python=$(BIN)/python; else python=$(PYTHON); fi; \
	command -v $$python >/dev/null || { \
	  echo "samescore needs Python 3.11 or newer, but there is no '$$python' here." \
	    "Install one, or name it: make PYTHON=python3.12" >&2; exit 1; }; \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "samescore needs Python 3.11 or newer; '$$python' is $$($$python -V 2>&1)." \
	    "Name a newer one: make PYTHON=python3.12 (after removing $(VENV), if it is there)" >&2; exit 1; }; \
	test $$python = $(BIN)/python || { \
	  echo "==> creating $(VENV) with $$($$python -V 2>&1)"; $$python -m venv --clear $(VENV); }
	@touch $@

$(VENV)/.demo-installed: $(VENV)/.created $(REQUIREMENTS)
	@echo "==> installing samescore and the demo into $(VENV) (about a minute the first time)"
	@$(PIP_INSTALL) -e '.[demo]' -e examples/flights
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.created $(REQUIREMENTS)
	@echo "==> installing samescore, the demo and the tools into $(VENV) (about a minute the first time)"
	@$(PIP_INSTALL) -e '.[demo,dev]' $(EXAMPLES)
	@touch $(VENV)/.demo-installed $@
