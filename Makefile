# One word a task; CI runs the same ones. `make` alone lists them.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
EXTRAS := --extra postgres --extra lightgbm --extra xgboost-cpu --extra catboost --extra sklearn --extra onnx --extra mlflow \
  --extra s3 --extra azure --extra gcp --extra spool
SYSTEMS := drum mlflow mlserver airflow
COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
INSTALL := $(UV) pip install --quiet --python $(BIN)/python --require-hashes
# The build backend is pinned in build.txt, so that nothing unpinned is fetched for the editable install.
EDITABLE := $(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests and demo start dozens of processes, and each would spend seconds on compiling its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-systems soak lint bench docs lock format clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.test ## Install everything that the other words need, in .venv

demo: $(VENV)/.demo ## Score half a year of real flights through the API (KEEP=1 leaves the server running)
	@$(BIN)/python demo/flights.py

test: $(VENV)/.test ## Run the tests
	@$(BIN)/python -m pytest -m "not slow" -n $${TEST_PROCESSES:-auto} --dist loadfile $(ARGS)

test-systems: $(VENV)/.test $(VENV)/versitygw/versitygw $(SYSTEMS:%=$(VENV)/systems/%/.ready) ## Run the slow tests, and those against DRUM, MLflow, MLServer, Airflow and versitygw, set up here
	@test -n "$(ARGS)" || $(BIN)/python -m pytest -m slow -n $${TEST_PROCESSES:-auto} --dist loadfile
	@SCORELINE_SYSTEMS=$(abspath $(VENV)/systems) $(BIN)/python -m pytest tests/systems --timeout=300 -n $${TEST_PROCESSES:-auto} --dist loadfile $(ARGS)
	@test -n "$(ARGS)" -o ! -x $(VENV)/versitygw/versitygw || SCORELINE_TEST_S3=$(abspath $(VENV)/versitygw/versitygw) $(BIN)/python -m pytest tests/contract tests/unit/spool -k "s3 or bucket" -n $${TEST_PROCESSES:-auto} --dist loadfile

soak: $(VENV)/.test ## Kill processes at random, then walk at random (ARGS="--kills 200 --minutes 480 --database postgres --seed 7")
	@$(BIN)/python -m tests.fault.soak $(ARGS)

lint: $(VENV)/.test ## Check style, types and layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.test ## Measure speed and memory side by side (ARGS="--size 1000" for the 1 GB run)
	@$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.test ## Build the documentation into site/
	@$(BIN)/python docs/reference.py >/dev/null
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

format: $(VENV)/.test ## Rewrite the sources in the house style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: $(VENV)/.build ## Pin all dependencies again, with hashes (ARGS=--upgrade takes new versions)
	@$(COMPILE) $(ARGS) requirements/build.in -o requirements/build.txt
	@$(COMPILE) $(ARGS) pyproject.toml -o requirements/runtime.txt
	@$(COMPILE) $(ARGS) pyproject.toml requirements/demo.in --extra lightgbm -c requirements/runtime.txt -o requirements/demo.txt
	@$(COMPILE) $(ARGS) pyproject.toml requirements/demo.in requirements/test.in $(EXTRAS) -c requirements/demo.txt -o requirements/test.txt
	@for name in $(SYSTEMS); do $(COMPILE) $(ARGS) requirements/systems/$$name.in -o requirements/systems/$$name.txt; done

clean: ## Remove everything that can be made again, .venv included
	@rm -rf $(VENV) site dist demo/.run demo/scored.csv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests bench demo -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp says that its requirements are installed. Each set is added to what is there and never removes: the demo and
# the tests share the environment, and test.txt holds the versions of demo.txt.
#
# The environment is made without pip and filled from outside by the pip of $(PYTHON): that also works where the
# system's Python comes without ensurepip or is managed by the system.
$(VENV)/.build: requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Scoreline needs Python 3.11 or later; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	@$(PYTHON) -m pip --python $(BIN)/python install --quiet --require-hashes -r requirements/build.txt
	@touch $@

$(VENV)/.demo: $(VENV)/.build requirements/demo.txt pyproject.toml
	@echo "Installing what the demo needs into $(VENV) ..."
	@$(INSTALL) -r requirements/demo.txt
	@$(EDITABLE)
	@touch $@

$(VENV)/.test: $(VENV)/.build requirements/test.txt pyproject.toml requirements/azurite/package-lock.json
	@echo "Installing what the tests need into $(VENV) ..."
	@$(INSTALL) -r requirements/test.txt
	@$(EDITABLE)
	@mkdir -p $(VENV)/azurite && cp requirements/azurite/*.json $(VENV)/azurite
	@if command -v npm >/dev/null; then npm ci --silent --ignore-scripts --no-audit --no-fund --prefix $(VENV)/azurite; \
	  else echo "There is no npm: tests against Azure Storage will be skipped" >&2; fi
	@mkdir -p $(VENV)/faketime && cd $(VENV)/faketime && { ls usr >/dev/null 2>&1 || \
	  { apt-get download -qq libfaketime && dpkg-deb -x libfaketime_*.deb . && rm libfaketime_*.deb; } >/dev/null 2>&1 || \
	  echo "There is no libfaketime: tests with a clock that jumps will be skipped" >&2; }
	@touch $@

# A second S3 server, which checks what moto lets pass.
$(VENV)/versitygw/versitygw:
	@echo "Building versitygw into $(VENV)/versitygw ..."
	@GOBIN=$(abspath $(VENV)/versitygw) go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 || \
	  echo "versitygw could not be built, which takes Go: the tests against it are left out" >&2

# Servers of other makers cannot share an environment, with each other or with us.
$(VENV)/systems/%/.ready: requirements/systems/%.txt | $(VENV)/.build
	@echo "Installing $* into $(VENV)/systems/$* ..."
	@$(UV) venv --quiet --clear --python $(PYTHON) $(VENV)/systems/$*
	@$(UV) pip install --quiet --python $(VENV)/systems/$*/bin/python --require-hashes -r $<
	@touch $@
