# `make demo` and `make test` set up everything they need in .venv; nothing else has to be installed by hand.
PYTHON ?= python3
FAISS  ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
BIN    := .venv/bin
READY  := .venv/.ready-$(FAISS)
BROWSER := $(shell command -v chromium >/dev/null 2>&1 && command -v chromedriver 2>/dev/null)

.PHONY: demo test test-slow test-gpu test-slurm test-browser test-trackers lint format bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip uninstall -q -y faiss-cpu faiss-gpu 2>/dev/null
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(FAISS),slurm,dev]'
	@rm -f .venv/.ready-*; touch $@

demo: $(READY)
	$(BIN)/tvts-bench demo --out runs/demo

test: lint
	$(BIN)/pytest -n 2 --dist loadscope -m "not gpu and not slow and not slurm$(if $(BROWSER),, and not browser)"
	@$(if $(BROWSER),:,echo "NOT TESTED: the report in a browser; apt-get install chromium chromium-driver; make test-browser")

test-slow: $(READY)
	$(BIN)/pytest -m slow

test-gpu: $(READY)
	$(BIN)/pytest -m gpu

test-slurm: $(READY)
	$(BIN)/pytest -m slurm

test-browser: $(READY)
	$(BIN)/pytest -m browser

test-trackers: $(READY)  # their libraries bring versions of their own, so they lie apart from ours
	$(BIN)/pip install -q --target .venv/trackers wandb mlflow-skinny
	TVTS_BENCH_TRACKERS=$(abspath .venv/trackers) $(BIN)/pytest tests/results/test_export.py

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv runs
