# `make demo` and `make test` are all a newcomer needs; each sets up what it uses, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
SCENARIO ?= scenarios/retry_storm.yaml
JOBS ?= 2
# Where it is set, each of the many processes that the tests start would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-long test-notebooks test-slow mutants lint format bench soak check schema baselines gallery notebooks lab live clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo ## Set up and run the retry storm; the run and its plots land in reports/.
	$(BIN)/tem-sim run $(SCENARIO)

test: $(VENV)/.dev ## Set up and run the quick tests.
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not slow and not long" tests

# Notebooks first, since the longest of them would keep one process busy when the others are done.
test-long: $(VENV)/.dev ## Run what CI runs besides the quick tests: the long ones and the notebooks.
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "long and not slow" --nbmake notebooks tests

test-notebooks: $(VENV)/.dev ## Run the notebooks alone, each held against its outputs as committed.
	$(BIN)/python -m pytest -n $(JOBS) --nbmake notebooks

test-slow: $(VENV)/.dev ## Run the tests that CI leaves out.
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m slow

mutants: $(VENV)/.dev ## Put known bugs into the pipeline, one at a time; each must be seen.
	$(BIN)/python -m tests.mutants.run --jobs $(JOBS)

lint: $(VENV)/.dev ## Check style, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Format the code and mend what the linter can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench ## Measure speed and memory, as ratios against peers in the same run.
	$(BIN)/python -m benchmarks.run

soak: $(VENV)/.dev ## Kill, cut off and restart real processes for ten minutes; print what was lost and what came twice.
	$(BIN)/python -m benchmarks.soak

check: ## Everything that CI runs, with CI's rules.
	bash .ci/run

schema: $(VENV)/.demo ## Write the JSON Schema that the scenario files' modelines point to.
	$(BIN)/tem-sim schema --out scenarios/scenario.schema.json

baselines: $(VENV)/.demo ## Record anew what shipped scenarios come to, for `tem-sim check`.
	$(BIN)/tem-sim baseline save scenarios/retry_progression.yaml --seeds 3

gallery: $(VENV)/.demo ## Draw the README's pictures anew, and renew what the pages quote of the code and its output.
	$(BIN)/python tests/docs/doc_gallery.py
	$(BIN)/python tests/docs/doc_refresh.py

notebooks: $(VENV)/.dev ## Run the notebooks, and write each .ipynb anew from its .py.
	$(BIN)/python tests/notebooks/notebook_refresh.py

lab: $(VENV)/.lab ## Set up and open the notebooks in JupyterLab.
	$(BIN)/jupyter lab notebooks

live: $(VENV)/.live ## Set up and start the real pipeline on this machine, until Ctrl-C.
	$(BIN)/tem-sim live up

clean: ## Remove what the targets above made, but no reports.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e ".[live]" --group lint --group test
	@touch $@ $(VENV)/.demo $(VENV)/.live

$(VENV)/.live: $(VENV)/.pip pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e ".[live]"
	@touch $@ $(VENV)/.demo

$(VENV)/.lab: $(VENV)/.dev
	$(PIP) install -c constraints.txt -e ".[notebook]"
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) install -c constraints.txt --group bench
	@touch $@
