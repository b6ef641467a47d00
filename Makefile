# The two commands of the README: `make demo` and `make test`. Everything else is for people who work on the toolkit.
PYTHON ?= python3
VENV := .venv
BASE := .venv-base
PTX := .venv-ptx
RAY := .venv-ray
BIN := $(VENV)/bin
export OMP_WAIT_POLICY ?= PASSIVE
export NO_ALBUMENTATIONS_UPDATE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := all
.PHONY: all env demo test lint types unit unit-toolkit unit-rest twins test-gpu test-system format licences wheel clean

all: env $(BASE)/.done $(PTX)/.done  ## all environments

env: $(VENV)/.done

# The development environment: an editable install with all that training and the tests need, at pinned versions.
$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "toolkit needs Python 3.11 or newer; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $@

# What a server gets: the built wheel with its base dependencies, no torch. The tests use it from outside the clone.
SOURCES := $(shell find ops zoo toolkit serve configs -type f -not -path '*/__pycache__/*' -not -name '*.nb[ic]')
$(BASE)/.done: pyproject.toml constraints.txt $(SOURCES) | $(VENV)/.done
	rm -rf dist
	$(BIN)/python -m build --quiet --wheel --no-isolation
	test -x $(BASE)/bin/python || $(PYTHON) -m venv $(BASE)
	$(BASE)/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	$(BASE)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/*.whl
	touch $@

# numba-cuda and the parts of CUDA that compile to PTX: no GPU needed, and nothing else is installed beside the tests.
$(PTX)/.done: constraints.txt constraints-ptx.txt | $(VENV)/.done
	test -x $(PTX)/bin/python || $(PYTHON) -m venv $(PTX)
	$(PTX)/bin/python -m pip install --quiet --constraint constraints.txt --constraint constraints-ptx.txt \
		'numba-cuda[cu13]' numba numpy pytest pytest-timeout
	touch $@

# The built wheel with its Ray extra, for the system tests: they start replicas with the commands of the documentation.
$(RAY)/.done: $(BASE)/.done
	test -x $(RAY)/bin/python || $(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --constraint constraints.txt "$$(ls dist/*.whl)[ray]"
	$(RAY)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/*.whl
	touch $@

demo: env  ## the main job, offline: predict, train, evaluate, export, serve
	$(BIN)/toolkit demo --out runs/demo

# Three at a time on two cores, as tests wait for processes, sockets and disks a third of their time; the longest begins
# first, and goes on while the environments that only others need are built.
test: env
	+$(MAKE) --no-print-directory --jobs=3 lint unit-toolkit unit-rest types twins

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy

unit: unit-toolkit unit-rest  ## everything but the tests that need Debian packages

unit-toolkit: env
	$(BIN)/python -m pytest tests/toolkit tests/zoo --durations=10

unit-rest: env $(BASE)/.done
	$(BIN)/python -m pytest tests --ignore=tests/toolkit --ignore=tests/zoo --ignore=tests/system --ignore=tests/ops/ptx \
		--durations=10

# Each in a process of its own: the simulator is chosen when numba is imported, and PTX cannot be made under it.
twins: env $(PTX)/.done  ## the CUDA twins without a GPU: in numba's simulator, and as PTX
	NUMBA_ENABLE_CUDASIM=1 $(BIN)/python -m pytest tests/ops/cuda --confcutdir=tests/ops/cuda
	PYTHONPATH=. $(PTX)/bin/python -m pytest tests/ops/ptx --confcutdir=tests/ops/ptx

test-gpu:  ## the same tests on a GPU; needs numba-cuda
	TOOLKIT_GPU=1 $(BIN)/python -m pytest tests/ops/cuda --confcutdir=tests/ops/cuda

test-system: env $(BASE)/.done $(RAY)/.done  ## needs the packages of system-packages.txt
	$(BIN)/python -m pytest tests/system

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is installed for training, tests and Ray; a server's own environment is a part of both.
licences: env $(RAY)/.done  ## fails when a dependency is under the GPL or AGPL
	for each in $(VENV) $(RAY); do \
		$(BIN)/pip-licenses --python=$$each/bin/python --partial-match --order=license \
			--fail-on 'GNU General Public License;GNU Affero;GPL-2.0;GPL-3.0;GPLv2;GPLv3;AGPL' || exit 1; \
	done

wheel: env
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf $(VENV) $(BASE) $(PTX) $(RAY) dist build .pytest_cache .mypy_cache .ruff_cache
