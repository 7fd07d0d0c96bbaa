# The project's only list of commands; .ci/run, CONTRIBUTING and the README call these.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COVERAGE_FLOOR := 98

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# One environment for running, testing and checking; made anew only when the lock or the project file changes.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("bulkredeem needs Python 3.11 or later; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "Setting up $(VENV) (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

.PHONY: setup
setup: $(READY)  ## Set up the virtual environment

.PHONY: demo
demo: $(READY)  ## Run the sample file against the built-in sandbox
	@$(BIN)/bulkredeem sandbox -- $(BIN)/bulkredeem run sample_inputs/corrections.csv --rate 20/s

.PHONY: test
test: $(READY)  ## Run the tests that need only Python
	@rm -f .coverage .coverage-*
	@$(BIN)/python tests/in_parts.py -m "not external and not torture" -p no:cacheprovider --cov --cov-report=
	@$(BIN)/coverage combine -q .coverage-[0-9]*
	@$(BIN)/coverage report --fail-under=$(COVERAGE_FLOOR)

.PHONY: test-external
test-external: $(READY)  ## Run the tests that need more than Python (installs a browser and an office on Debian)
	@tests/setup
	@$(BIN)/python -m pytest -m "external and not torture"

.PHONY: docs
docs: $(READY)  ## Build the documentation and the man page into docs/_build; a warning is an error
	@$(BIN)/sphinx-build -q -W --keep-going -n -b html docs docs/_build/html
	@$(BIN)/sphinx-build -q -W --keep-going -n -b man docs docs/_build/man
	@echo "docs/_build/html/index.html and docs/_build/man/bulkredeem.1"

.PHONY: torture
torture: $(READY)  ## Try at every moment there is, and with ever other inputs, what `make test` tries at a few (an hour)
	@$(BIN)/python -m pytest -m torture --timeout=7200
	@$(BIN)/python -m pytest -m "hypothesis and not torture" --hypothesis-profile=torture --timeout=7200

FUZZ_SECONDS ?= 600

.PHONY: fuzz
fuzz: $(READY)  ## Fuzz loader, replies and journal, FUZZ_SECONDS (600) for each; on Linux
	@for target in loader replies journal; do \
	  mkdir -p tests/fuzz/crashes/$$target; \
	  $(BIN)/python -m tests.fuzz $$target .fuzz/$$target -max_total_time=$(FUZZ_SECONDS) \
	    -artifact_prefix=tests/fuzz/crashes/$$target/ -print_final_stats=1 || exit 1; \
	done

.PHONY: mutate
mutate: $(READY)  ## Change the rules in thousands of ways, and count the changes that no test notices (about half an hour)
	@rm -rf mutants
	@$(BIN)/mutmut run
	@$(BIN)/python -m benchmarks.mutation

.PHONY: soak
soak: $(READY)  ## 20 minutes at 500 rows/s, with faults, outages and kills
	@$(BIN)/python -m benchmarks soak $(SOAK)

.PHONY: bench
bench: $(READY)  ## Measure against a real nginx and small baselines (about 45 minutes; installs nginx on Debian)
	@benchmarks/setup $(BIN)
	@$(BIN)/python -m benchmarks $(BENCH)

.PHONY: lint
lint: $(READY)  ## Lint and check the format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: fmt
fmt: $(READY)  ## Mend what the linter can mend, and format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: types
types: $(READY)  ## Check the types
	@$(BIN)/mypy

.PHONY: layers
layers: $(READY)  ## Check that every module imports only from the floors below
	@$(BIN)/lint-imports

.PHONY: check
check: lint types layers test test-external  ## Everything that must pass before a change lands

.PHONY: dist
dist: $(READY)  ## Build the wheel and the source distribution into dist: the same bytes for the same commit
	@rm -rf dist
	@$(BIN)/python -m hatchling build -d dist
	@cd dist && sha256sum bulkredeem-* | tee SHA256SUMS

.PHONY: sbom
sbom: $(READY)  ## Write what an installation brings along: dist/bulkredeem.cdx.json, and the list of licences
	@$(BIN)/python .ci/bill_of_materials.py dist/bulkredeem.cdx.json docs/reference/licences.md

.PHONY: lock
lock:  ## Renew the exact versions in requirements.lock (needs uv)
	uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-strip-extras --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock

.PHONY: clean
clean:  ## Remove what was built; run folders stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage-* dist docs/_build .fuzz mutants
