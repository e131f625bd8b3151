# The two commands that set everything up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8501
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test test-pages soak test-export test-ray lint clean

demo: $(VENV)/.demo
	$(BIN)/cbir-ingest sample://openmoji
	$(BIN)/cbir-ui --port $(PORT)

# Tests wait for processes of their own a third of the time: three at once keep two cores busy.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 3 --dist worksteal

# Every page in a real browser, also at a phone's width and with axe-core: some minutes more.
test-pages: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m pages

# Hours: 300 kills and 100,000 mutants instead of 20 and 5,000.
soak: $(VENV)/.test
	$(BIN)/python -m pytest --soak tests/test_kill.py tests/test_fuzz.py

# Needs torch, which the base install does not: an environment of its own.
test-export:
	$(MAKE) VENV=.venv-export .venv-export/.export
	.venv-export/bin/python -m pytest -m export

# Ray starts processes of its own and is large: the same.
test-ray:
	$(MAKE) VENV=.venv-ray .venv-ray/.ray
	.venv-ray/bin/python -m pytest -m ray tests/test_ray.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-export .venv-ray build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cbir needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[sample]'
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[dev]'
	touch $@ $(VENV)/.demo

$(VENV)/.export: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[export,dev]'
	touch $@

$(VENV)/.ray: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[ray,dev]'
	touch $@
