# What a person types here. Nothing but Python 3.11 or newer and make has to be installed: every tool and
# server comes out of the lock files in requirements/, into .venv, and only when they change.
#
#   make demo PYTHON=python3.12      another Python (it is used when .venv is made)
#   make demo MODEL=openai/gpt-5     another model, with its key in the environment
#   make test ARGS="-k lease"        further arguments for pytest

PYTHON ?= python3
# Tests wait for servers as often as they compute: three processes on two cores.
JOBS ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
VENV := .venv
BIN := $(VENV)/bin
# uv, told what pip is configured to use: a mirror that works for the one works for the other.
UV := $(BIN)/python requirements/run_uv.py

SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
# Another environment that is active, or how its owner likes to install, is not meant for .venv.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX
# Else each of a hundred processes compiles what it imports: three seconds for a worker, five for litellm.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo new up test test-fast soak endurance chaos check bench lock clean

## List these commands (the default).
help:
	@awk '/^## / { text = substr($$0, 4); next } \
	      /^[a-z-]+:/ && text { name = $$1; sub(":.*", "", name); printf "  make %-9s %s\n", name, text } \
	      { text = "" }' Makefile

## See it work, a killed worker included: under a minute, nothing is left behind.
demo: $(VENV)/.demo
	@$(BIN)/python -m threadmill demo $(if $(MODEL),--model '$(MODEL)')

## Make a project of your own beside this folder: DIR=../my-shop.
new: $(VENV)/.demo
	@test -n '$(DIR)' || { echo "say where: make new DIR=../my-shop" >&2; exit 1; }
	@$(BIN)/python -m threadmill new '$(DIR)'

## Run database, broker, workers, Flower and a chat page here until Ctrl-C; state in .threadmill.
up: $(VENV)/.demo
	@$(BIN)/python -m threadmill up

# Tests of one file share a process, its servers and what it has imported. In the order of the folders,
# tests of real workers come first: they wait for minutes, and would be a tail at the end.
PYTEST = $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

## Run the tests, on real servers: minutes. ARGS="-k name" chooses some.
test: $(VENV)/.dev
	@$(PYTEST) --durations=20 $(ARGS)

## Run the tests that need no server: under a minute.
test-fast: $(VENV)/.dev
	@$(PYTEST) tests/unit $(ARGS)

## Run the tests that take long: more deaths, faults of every kind, large files.
soak: $(VENV)/.dev
	@command -v pgbouncer /usr/sbin/pgbouncer >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -yq pgbouncer >/dev/null; } \
	    || { echo "make soak needs PgBouncer: apt-get install pgbouncer" >&2; exit 1; }
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -yq chromium >/dev/null; } \
	    || { echo "make soak needs Chromium: apt-get install chromium" >&2; exit 1; }
	@command -v tesseract >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -yq tesseract-ocr >/dev/null; } \
	    || { echo "make soak needs tesseract: apt-get install tesseract-ocr" >&2; exit 1; }
	@$(PYTEST) --durations=20 -m "soak and not endurance" $(ARGS)

## Run the tests at full length, which no change has to wait for: before a release, and each night.
endurance: $(VENV)/.dev
	@command -v soffice >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -yq --no-install-recommends libreoffice-core-nogui \
	    libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-impress-nogui >/dev/null; } \
	    || { echo "make endurance needs LibreOffice: apt-get install libreoffice-writer libreoffice-calc libreoffice-impress" >&2; exit 1; }
	@$(PYTEST) --durations=20 -m endurance $(ARGS)

## Break everything for ten minutes while conversations go on. ARGS="--seed 7" repeats a plan.
chaos: $(VENV)/.dev
	@$(BIN)/python -m tests.chaos $(ARGS)

## Lint, format, types, and which floor may import which.
check: $(VENV)/.dev
	@echo "ruff check" && $(BIN)/ruff check --quiet .
	@echo "ruff format" && $(BIN)/ruff format --quiet --check .
	@echo "mypy" && $(BIN)/mypy --no-error-summary
	@echo "mypy of the client" && $(BIN)/mypy --no-error-summary --config-file clients/python/pyproject.toml clients/python/threadmill_client
	@echo "advisories" && $(BIN)/python requirements/advisories.py
	@echo "lint-imports" && $(BIN)/lint-imports

## Measure it against what else one could take: ten minutes. ONLY="send turns", QUICK=1 see that it runs.
bench: $(VENV)/.dev $(VENV)/.bench
	@$(BIN)/python -u -m benchmarks $(if $(QUICK),--quick) $(ONLY)

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    $(if $(UPGRADE),--upgrade)
LOCK = $(COMPILE) pyproject.toml

## Write requirements/*.txt after pyproject.toml changed. UPGRADE=1 takes the newest of everything.
lock: $(VENV)/.uv
	@echo "Locking requirements/dev.txt, app.txt, demo.txt, bench.txt"
	@$(LOCK) --extra dev --extra embedded --output-file requirements/dev.txt
	@$(LOCK) --constraint requirements/dev.txt --extra gateway --output-file requirements/app.txt
	@$(LOCK) --constraint requirements/dev.txt --extra embedded --extra gateway --output-file requirements/demo.txt
	@$(COMPILE) --group bench --output-file requirements/bench.txt

## Remove .venv and every cache. .threadmill holds conversations and stays.
clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv: each stamp in it is as new as what was installed last.

$(VENV)/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "$(PYTHON) is no Python 3.11 or newer: name one, as in 'make $(MAKECMDGOALS) PYTHON=python3.12'" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) lacks venv or ensurepip: install them (Debian and Ubuntu: apt install python3-venv)" >&2; \
	    exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: requirements/%.txt requirements/run_uv.py pyproject.toml $(VENV)/.uv
	@echo "Installing what $< locks"
	@$(UV) pip install --quiet --require-hashes -r $<
	@$(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The baselines of the benchmarks have an environment of their own, which nothing of ours is installed into.
$(VENV)/.bench: requirements/bench.txt requirements/run_uv.py $(VENV)/.uv
	@echo "Installing what $< locks"
	@$(PYTHON) -m venv --clear --without-pip $(VENV)/bench
	@$(UV) pip install --quiet --require-hashes --python $(VENV)/bench/bin/python -r $<
	@touch $@
