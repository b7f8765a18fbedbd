# `make help` lists the targets. Everything runs in .venv, made from envs/ on first use.
VENV := .venv
BIN := $(VENV)/bin
CORES ?= $(shell nproc 2>/dev/null || echo 2)
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-app lint docs release-check format bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 15

$(VENV)/.complete: envs/requirements.txt envs/apt.txt envs/setup.sh pyproject.toml
	@envs/setup.sh $(VENV)
	@touch $@

setup: $(VENV)/.complete  ## make .venv from the pinned requirements

demo: setup  ## bundled shapes to trained networks and a report, in about nine minutes on 2 cores
	$(SNAKEMAKE) --configfile workflow/demo.yaml -- all
	@echo "The report is at $(CURDIR)/results/demo/report/report.html"

# One more than the two cores of a small machine: tests of killed runs, Slurm and the browser mostly wait.
WORKERS ?= 3
test: setup  ## the whole test suite, in WORKERS=3 processes
	$(BIN)/python -m pytest -n $(WORKERS)

$(VENV)/.app: envs/app.txt $(VENV)/.complete
	$(BIN)/python -m pip install -q --disable-pip-version-check -r envs/app.txt
	@touch $@

test-app: $(VENV)/.app  ## the tests of `occnet app`, which `make test` skips without Gradio (installs it, 130 MB)
	$(BIN)/python -m pytest tests/unit/app

lint: setup  ## what must be clean: ruff, mypy, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint

$(VENV)/.tools: envs/tools.txt $(VENV)/.complete
	$(BIN)/python -m pip install -q --disable-pip-version-check -c envs/requirements.txt -r envs/tools.txt
	@touch $@

# Without --quiet, which drops warnings before --strict counts them.
docs: $(VENV)/.tools  ## the documentation site, in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 PYTHONPATH="$(CURDIR)" $(BIN)/mkdocs build --strict
	@echo "The site is at $(CURDIR)/site/index.html"

release-check: $(VENV)/.tools  ## build sdist and wheel, install the wheel into a clean environment and use it
	$(BIN)/python envs/release_check.py

format: setup  ## lay out the code as `make lint` wants it, and regenerate what comes from the configuration
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow
	$(BIN)/occnet config --write

bench: setup  ## measure every stage against a naive implementation (benchmarks/data_scaling.py, an hour or two, is left out)
	@for script in $(filter-out benchmarks/data_scaling.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## remove results and what was built (the environment stays)
	rm -rf results .snakemake site build dist
