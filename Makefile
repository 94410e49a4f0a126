# Each target does all the set-up it needs: .venv, built from the first CPython 3.10 that really runs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
# a CPython 3.10 of your own choice: make venv PYTHON=/path/to/python3.10
PYTHON ?=
PYENV_ROOT ?= $(HOME)/.pyenv
WORKERS ?= 2

# The peers of `make bench` live in an environment of their own, of any interpreter that has a CPU build of PyTorch.
# Where PyPI's build is too large: make bench TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
PEERS := .venv-peers
PEERS_PYTHON ?=
TORCH ?= torch==2.13.0
ARGS ?=

# a checkout of sony/nnabla-nas, and a folder of cases, each with a run.sh that ends with 0 when it is answered
HOST ?=
# of `make test-gpu`: cpu lets NNabla's functions on the CPU stand in for cuDNN's
CONTEXT ?= cudnn
KILLS ?= 20
CASES ?= ../shared/cases

.PHONY: help venv demo paper test test-gpu test-host test-slurm drill cases lint bench reference

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1  \t\2/p' Makefile

venv: .venv/stamp  ## .venv with everything for running and testing; again only when setup.cfg changes

demo: venv  ## the whole method on generated pictures, in minutes and without a GPU; results in log/
	$(BIN)/nnabla_nas -c conf/letters_demo.yaml

paper: venv  ## the paper's tables and figures in miniature: hours, and goes on; ARGS='--list'; experiments/results/paper-mini/
	$(BIN)/python -m experiments.paper all --scale mini --seeds 5 $(ARGS)

test: lint  ## lint and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-gpu: venv  ## CUDA beside the CPU, in minutes; what has not run says why; all of it goes to log/test_gpu.txt
	mkdir -p log
	(git log -1 --format='commit %h, %cI' || true; $(BIN)/nnabla_detofa device; \
	    DETOFA_TEST_CONTEXT=$(CONTEXT) $(BIN)/python -m pytest tests/gpu -vv -rsP) 2>&1 | tee log/test_gpu.txt

test-host: venv  ## both launchers in a checkout of sony/nnabla-nas, without mocks: make test-host HOST=FOLDER
	@if [ -z '$(HOST)' ] || [ ! -f '$(HOST)/main.py' ]; then \
	    echo "skipped: HOST='$(HOST)' is no checkout of sony/nnabla-nas; make test-host HOST=FOLDER"; \
	else \
	    HOST="$$(cd '$(HOST)' && pwd)" $(BIN)/python -m pytest tests/launch/test_launch_checkout.py; \
	fi

test-slurm: venv  ## a SLURM of one node for the time of the checks: srun, requeue, sweeps; as root on Debian; minutes
	$(BIN)/python -m experiments.cluster $(ARGS)

drill: venv  ## a run of each method killed KILLS times, by hand: it must end as one that was left alone; some minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m experiments.reliability.drill --kills $(KILLS) $(ARGS)

cases: venv  ## inputs of other people in CASES=FOLDER, one line each; fails where one is not answered
	@if [ ! -d '$(CASES)' ]; then echo "there is no folder $(CASES): make cases CASES=FOLDER" >&2; exit 2; fi; \
	answered=0; all=0; log=$$(mktemp); \
	for case in '$(CASES)'/*/run.sh; do \
	    all=$$((all + 1)); name=$$(basename "$$(dirname "$$case")"); \
	    if PROJ="$$PWD" PY="$$PWD/$(BIN)/python" bash "$$case" >"$$log" 2>&1 </dev/null; then \
	        answered=$$((answered + 1)); echo "answered  $$name"; \
	    else \
	        echo "FAILED    $$name: $$(tr '\r' '\n' <"$$log" | tail -n 1)"; \
	    fi; \
	done; \
	rm -f "$$log"; echo "$$answered of $$all cases answered"; [ $$answered -eq $$all ]

bench: venv $(PEERS)/stamp  ## our speed beside the peers'; ARGS='--quick' or ARGS='--only ROW'; experiments/benchmarks/results/
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m experiments.benchmarks $(ARGS)

reference: venv  ## docs/configuration.md from the declarations of all keys
	$(BIN)/python -m nnabla_detofa.launch.reference docs/configuration.md

lint: venv  ## ruff's rules and format, and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy nnabla_detofa

# A pyenv shim named python3.10 may be on PATH and not run, so every candidate is asked.
.venv/stamp: setup.cfg
	@is_310() { "$$1" -c 'import ensurepip, sys; sys.exit(sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 10))' 2>/dev/null; }; \
	python=; \
	if ! is_310 $(BIN)/python; then \
	    for candidate in $(PYTHON) python3.10 "$(PYENV_ROOT)"/versions/3.10*/bin/python3.10 "$$(uv python find 3.10 2>/dev/null)"; do \
	        if is_310 "$$candidate"; then python=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$python" ] && command -v uv >/dev/null && uv python install 3.10; then python=$$(uv python find 3.10); fi; \
	    if [ -z "$$python" ]; then \
	        echo "no CPython 3.10 with venv found (nnabla 1.39 runs on nothing newer): 'uv python install 3.10', 'pyenv install 3.10' or 'apt-get install python3.10-venv', or make $(or $(MAKECMDGOALS),venv) PYTHON=/path/to/python3.10" >&2; \
	        exit 2; \
	    fi; \
	    echo "building .venv with $$python; a minute or two"; \
	    "$$python" -m venv --clear .venv; \
	fi
	$(BIN)/python -m pip install -q -e '.[test,dev,onnx,mpi,slurm]'
	@# nnabla-nas brings a command nnabla_nas too; ours is written last
	grep -q nnabla_detofa $(BIN)/nnabla_nas || $(BIN)/python -m pip install -q --no-deps --force-reinstall -e .
	touch $@

$(PEERS)/stamp:
	@for candidate in $(PEERS_PYTHON) python3.11 "$(PYENV_ROOT)"/versions/3.11*/bin/python3.11 python3.12 python3 $(BIN)/python; do \
	    if "$$candidate" -c 'import ensurepip' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	echo "building $(PEERS) with $$python: PyTorch and OFA; some minutes"; \
	"$$python" -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install -q $(TORCH)
	$(PEERS)/bin/python -m pip install -q numpy tqdm pyyaml
	@# --no-deps: it asks for torchvision, which only its data loaders use
	$(PEERS)/bin/python -m pip install -q --no-deps 'ofa>=0.1.0.post202307202001'
	touch $@
