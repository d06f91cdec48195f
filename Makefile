# flowwatch. `make help` lists what there is.
#
# Needs Python 3.11 or newer, nothing else: what is used goes into .venv, in the versions of the lock files.
# A different Python: make PYTHON=/path/to/python3.13 demo

# The first of these that is new enough. Looked for only when there is no .venv yet.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)

# Set by hand to give more: make demo ARGS="--speed 10", make pytest ARGS="-k attempt"
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Files that say what .venv holds: enough to run flowwatch, and all that its tests and tools need.
RUN := $(VENV)/run.installed
DEV := $(VENV)/dev.installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types contract pytest format native bench judge mutants fuzz screens screenshots docs proto lock dist clean lab

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name words; do \
		printf '  make %-12s %s\n' "$$name" "$$words"; done

demo: $(RUN) ## the weather app's story, without a cluster
	@$(BIN)/flowwatch demo $(ARGS)

lab: $(DEV) ## its story on this machine's own kernel: root, Go and clang; POLICY=FILE, SCENARIO=NAME, RECORD=DIR
	@$(BIN)/python -m tests.lab $(SCENARIO) $(if $(POLICY),--policy $(POLICY)) $(if $(RECORD),--record $(RECORD)) $(ARGS)

# All steps run, also after one that failed; each names itself, and make repeats which failed. The others
# run, one by one, beside the tests, which often wait: mypy without a cache takes 71 s of one processor.
test: $(DEV) ## every check: lint, types, import contract, tests
	@$(MAKE) --no-print-directory --keep-going --jobs=2 pytest lint types contract

lint: $(DEV) ## style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV) ## mypy, strictly
	$(BIN)/mypy

contract: $(DEV) ## which room may import which
	$(BIN)/lint-imports --no-logo

pytest: $(DEV) ## the tests alone; ARGS="-k name" chooses
	$(BIN)/python -m pytest $(ARGS)

format: $(DEV) ## mend style and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

native: $(DEV) ## build the scanner that reads records faster into .venv; needs cargo
	@command -v cargo >/dev/null || { echo 'make native needs cargo (Rust 1.87 or newer), and none was found;' \
		'without the scanner all works the same, only slower' >&2; exit 1; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) install --no-deps --no-build-isolation --force-reinstall ./native

bench: $(DEV) ## measure, side by side with hubble
	$(BIN)/python -m tests.benchmarks $(ARGS)

judge: $(DEV) ## 300,000 random policy decisions against Cilium's engine; minutes, needs Go
	$(BIN)/python -m tests.interop.policy_property $(ARGS)

mutants: $(DEV) ## 300,000 decisions on mutated policies, likewise; and what Cilium can't read
	$(BIN)/python -m tests.interop.mutated_decisions $(ARGS)

fuzz: $(DEV) ## spoilt inputs against the whole program, ten minutes; ARGS="--help"
	$(BIN)/python -m tests.fuzz $(ARGS)

screens: $(DEV) ## write tests/data/screens: every cell of every view, from the demo, and of empty ones
	$(BIN)/python -m tests.unit.tui.test_screens
	$(BIN)/python -m tests.unit.tui.test_empty

screenshots: $(DEV) ## write screenshots/ from the running demo
	$(BIN)/python screenshots/make.py $(ARGS)

docs: $(DEV) ## write the tables of docs/formats.md, reasons.md and dashboard.md from what is declared
	$(BIN)/python -m tests.unit.report.test_formats_doc
	$(BIN)/python -m tests.unit.report.test_reasons_doc
	$(BIN)/python -m tests.unit.tui.test_dashboard_doc

proto: $(DEV) ## regenerate flowwatch/hubble/wire/pb from proto/
	$(BIN)/python -m flowwatch.hubble.wire.generate

# The second file holds all of the first, in the same versions. ARGS=--upgrade takes newer versions.
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --no-header \
	--no-config --no-sources
lock: $(RUN) ## write the lock files anew from pyproject.toml; ARGS=--upgrade
	$(PIP) install uv
	$(COMPILE) --group build --output-file requirements.lock $(ARGS)
	$(COMPILE) --group dev --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)

dist: $(DEV) ## build the wheel and the source archive into dist/
	$(BIN)/hatchling build

clean: ## remove what was made here, .venv too
	rm -rf $(VENV) build dist native/target .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'flowwatch needs Python 3.11 or newer, and none was found:' \
		'install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'This Python ($(PYTHON)) lacks its venv' \
		'module; install it (Debian, Ubuntu: apt install python3-venv), then run make again' >&2; exit 1; }
	@echo 'Setting up $(VENV), once; this can take a minute ...'
	@$(PYTHON) -m venv --clear $(VENV)

$(RUN): requirements.lock pyproject.toml | $(BIN)/python
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
