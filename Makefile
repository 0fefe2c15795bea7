# Everything runs in .venv, which is made on first use and kept in step with requirements.lock and pyproject.toml.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# `make PYTHON=python3.12 ...` chooses the interpreter; otherwise the first of these that is new enough.
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python)
# Further words for the command that a target runs: `make test ARGS="-k bundle"`.
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test crash fuzz soak lint format bench proto docs lock clean

help: ## Say what there is to type
	@echo "usage: make TARGET"; echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Simulate a shop, train, evaluate, publish, serve, rank and explain: the whole path in minutes
	@$(BIN)/recsys demo $(ARGS)

# Tests share a machine well: most of them wait half of the time. More than four at once would each train what is shared.
test: lint ## Check everything: lint, types, import rules, and every test
	$(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist worksteal $(ARGS)

crash: $(READY) ## Kill a server 200 times while 100,000 events come in, for each store, and count anew; forty minutes
	CRASH_KILLS=200 CRASH_EVENTS=100000 $(BIN)/pytest tests/serving/crash -o timeout=7200 $(ARGS)

fuzz: $(READY) ## A million random messages inside, 100,000 over the wire, 1,300 damaged bundles; an hour
	FUZZ_MESSAGES=1000000 FUZZ_WIRE=100000 DAMAGED=1000 RESEALED=300 \
	  $(BIN)/pytest tests/load/test_fuzz.py tests/load/test_damaged_bundles.py -o timeout=7200 $(ARGS)

soak: $(READY) ## Use a server for an hour, and see that it occupies no more memory, threads and files
	SOAK_SECONDS=3600 $(BIN)/pytest tests/load/test_soak.py -o timeout=7200 $(ARGS)

lint: $(READY) ## Check format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code and correct what can be corrected
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Run every benchmark in its quick profile, one after the other
	@failed=; \
	for script in $$(grep -ls '__main__' benchmarks/*.py); do \
	  echo "== $$script"; $(BIN)/python "$$script" --quick $(ARGS) || failed="$$failed $$script"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

proto: $(READY) ## Generate the gRPC stubs from the proto
	$(BIN)/python -m grpc_tools.protoc -I serving/pb=proto/recsys/v1 \
	  --python_out=. --pyi_out=. --grpc_python_out=. proto/recsys/v1/ranking.proto

docs: $(READY) ## Write docs/features.md and docs/settings.md from the declarations
	$(BIN)/python -c 'from recsys.features.document import page; print(page(), end="")' > docs/features.md
	$(BIN)/python -c 'from serving.settings_page import page; print(page(), end="")' > docs/settings.md

nightly: $(READY) ## The long profiles: parity over 20,000 random logs, kills under load, fuzz and soak; three hours
	RECSYS_PARITY_LOGS=20000 $(BIN)/pytest --timeout 7200 tests/recsys/features/test_parity.py $(ARGS)
	$(MAKE) crash
	$(MAKE) fuzz
	$(MAKE) soak

# Resolved in an environment of its own, so that nothing else that is installed here gets in. Left out: what marks a
# build of the same version (+cpu), and the CUDA libraries, which torch pins itself where it needs them.
lock: $(BIN)/python ## Resolve pyproject.toml anew and write requirements.lock
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; python="$$folder/venv/bin/python"; \
	gpu="sys_platform == 'linux' and platform_machine == 'x86_64'"; \
	cpu="sys_platform != 'linux' or platform_machine != 'x86_64'"; \
	$(BIN)/python -m venv "$$folder/venv"; \
	"$$python" -m pip install --quiet 'torch==2.13.0' '.[dev]'; \
	"$$python" -m pip freeze --all --exclude pip --exclude recsys > "$$folder/freeze"; \
	{ sed -n '/^#/p' requirements.lock; \
	  sed -E -e '/^(nvidia|cuda|triton)/d' -e 's/[+][a-z0-9.]+$$//' \
	    -e "s/^onnxruntime-gpu==(.*)/onnxruntime==\1; $$cpu\nonnxruntime-gpu==\1; $$gpu/" "$$folder/freeze"; \
	} > "$$folder/lock"; \
	cp "$$folder/lock" requirements.lock

clean: ## Remove caches, build outputs and the demo; the environment stays
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist demo
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Found by running them: a name on the PATH may be a launcher for a version that is not there. Where Python comes
# without ensurepip, as Debian packages it, its own pip fills the environment.
$(BIN)/python:
	@for python in $(PYTHONS); do \
	  "$$python" -c 'import sys, venv; from importlib.util import find_spec as has; \
	    sys.exit(sys.version_info < (3, 11) or not (has("ensurepip") or has("pip")))' 2>/dev/null || continue; \
	  echo "Making $(VENV) with $$("$$python" --version) ..."; \
	  if "$$python" -c 'import ensurepip' 2>/dev/null; then exec "$$python" -m venv --clear $(VENV); fi; \
	  "$$python" -m venv --clear --without-pip $(VENV); \
	  exec "$$python" -m pip --python $(BIN)/python install --quiet pip; \
	done; \
	echo "No Python 3.11 or newer with pip among: $(PYTHONS). Install one, or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1

$(VENV)/.locked: requirements.lock | $(BIN)/python
	@echo "Installing the pinned packages; this takes a few minutes, once ..."
	@$(BIN)/python -m pip install -r requirements.lock
	@touch $@

$(READY): pyproject.toml $(VENV)/.locked
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
