# `make help` lists the targets. Everything runs in .venv, made from envs/ on first use.
VENV := .venv
BIN := $(VENV)/bin
CORES ?= $(shell nproc 2>/dev/null || echo 2)
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(VENV)/.complete: envs/requirements.txt envs/apt.txt envs/setup.sh pyproject.toml
	@envs/setup.sh $(VENV)
	@touch $@

setup: $(VENV)/.complete  ## make .venv from the pinned requirements

demo: setup  ## bundled shapes to trained networks and a report, in about ten minutes on 2 cores
	$(SNAKEMAKE) --configfile workflow/demo.yaml -- all
	@echo "The report is at $(CURDIR)/results/demo/report/report.html"

test: setup  ## the whole test suite
	$(BIN)/python -m pytest

lint: setup  ## what must be clean: ruff, mypy, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint

format: setup  ## lay out the code as `make lint` wants it, and regenerate what comes from the configuration
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow
	$(BIN)/occnet config --write

bench: setup  ## measure every stage against its naive twin
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## remove results (the environment stays)
	rm -rf results .snakemake
