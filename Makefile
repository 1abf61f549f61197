# Everything that is done with this repository by hand or by a machine. `make help` explains.

PYTHON ?= python3
BIN := .venv/bin

# A site trains with one thread, so that every engine and every machine gives the same bits.
export OMP_NUM_THREADS ?= 1

# Without compiled files beside its libraries, every start of Python would compile torch anew, for many seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-slow test-gpu test-postgres mutants matrix lint format bench compose constraints clean

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.* ## /\1 ## /p' Makefile | while IFS='#' read -r goal _ text; do printf '  make %-12s%s\n' "$$goal" "$$text"; done

setup: ## Make or mend .venv with all that is needed; the other goals do this by themselves
	@$(PYTHON) deploy/make_environment.py

demo: setup ## Run a small federation of simulated hospitals over a real network of processes, and show what came out
	@$(BIN)/fedward demo

up: setup ## Start a network of simulated hospitals on this machine, until Ctrl-C
	@$(BIN)/fedward up

test: setup ## Run the tests, without the slow ones and those that need a GPU
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4

test-slow: setup ## Run the slow tests
	@$(BIN)/pytest -m slow

test-gpu: setup ## Run the tests that need a GPU
	@$(BIN)/pytest -m gpu

test-postgres: setup ## Run the tests that need the PostgreSQL server that FEDWARD_TEST_POSTGRES names
	@$(BIN)/pytest -m postgres

mutants: setup ## Break lines of SSL-FL and CD2-pFed one by one, and see which test notices
	@$(BIN)/python tests/mutants/run.py

matrix: setup ## Try every method on every backbone in every mode, and record what was seen
	@$(BIN)/fedward zoo matrix --run --engine inline --engine ray --record cli/fedward_cli/matrix/record.json

lint: setup ## Check format, style, types and who imports whom
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup ## Format the code and mend what can be mended by rule
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

bench: setup ## Measure speed and memory beside the bare limits of this machine
	@$(BIN)/python -m benchmarks

compose: ## Build a network of containers, run the quickstart across it, and take it down
	@sh deploy/compose/run.sh

constraints: setup ## Choose the newest versions that pyproject.toml allows, for constraints.txt
	@sed -n '/^#/p' constraints.txt > .constraints.part
	@printf 'hatchling\neditables\n' | $(BIN)/uv pip compile pyproject.toml - --all-extras --python-version 3.11 \
		--upgrade --quiet --no-header --no-annotate >> .constraints.part
	@mv .constraints.part constraints.txt

clean: ## Remove .venv, caches and what was built; runs and results stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .constraints.part build dist
	@find . -type d -name __pycache__ -prune -exec rm -rf {} +
