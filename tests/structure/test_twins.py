"""Every operator with a CUDA twin is tested three ways: on the CPU, in the simulator, and as PTX."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import ops
from ops._cuda import CudaKernel

ROOT = Path(__file__).parents[2]

for _module in pkgutil.iter_modules(ops.__path__):
    importlib.import_module(f"ops.{_module.name}")
TWINS = sorted({kernel.name for kernel in CudaKernel.registry if kernel.name.startswith("ops.")})
OPERATORS = sorted({name.split(".")[1] for name in TWINS if not name.startswith("ops._")})


# What these make has its twins when types come for the first time.
MAKERS = ["fuse", "operator"]
PUBLIC = [name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_says_which_arrays_it_takes(name: str) -> None:
    function = getattr(ops, name)
    text = " ".join((inspect.getdoc(function) or "").split())
    takes = "Takes device arrays too" in text
    assert takes == (function.__module__.removeprefix("ops.") in OPERATORS + MAKERS)
    assert takes or "No CUDA twin" in text, "an operator without a twin says 'No CUDA twin' and why"


@cache
def collected(folder: str, simulator: bool) -> set[str]:
    """What pytest would run in a folder, by node id."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": str(int(simulator)), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, folder, f"--confcutdir={folder}"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED), done.stdout
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_there_are_twins() -> None:
    assert "box_iou" in OPERATORS


@pytest.mark.parametrize("operator", OPERATORS + MAKERS)
def test_on_the_cpu(operator: str) -> None:
    assert "\ndef test_" in (ROOT / f"tests/ops/test_{operator}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("operator", OPERATORS + MAKERS)
def test_in_the_simulator(operator: str) -> None:
    """That each twin is really launched there is held by that run itself (tests/ops/cuda/conftest.py)."""
    found = collected("tests/ops/cuda", simulator=True)
    assert any(node.startswith(f"tests/ops/cuda/test_{operator}.py::") for node in found)


@pytest.mark.parametrize("capability", ["7.5", "9.0"])
@pytest.mark.parametrize("twin", TWINS)
def test_as_ptx(twin: str, capability: str) -> None:
    nodes = collected("tests/ops/ptx", simulator=False)
    assert f"tests/ops/ptx/test_ptx.py::test_compiles[{twin.removeprefix('ops.')}-{capability}]" in nodes


@pytest.mark.parametrize("pattern", ["elementwise", "gather", "reduce"])
def test_what_a_user_writes_as_ptx(pattern: str) -> None:
    nodes = collected("tests/ops/ptx", simulator=False)
    assert any(f"test_operator_ptx.py::test_{pattern}" in node for node in nodes)


def test_without_the_simulator_its_tests_are_left_out() -> None:
    assert not collected("tests/ops/cuda", simulator=False)


def test_make_test_runs_all_three() -> None:
    done = subprocess.run(["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert any("pytest tests --ignore=tests/toolkit" in line and "--ignore=tests/ops/ptx" in line for line in lines)
    assert any("NUMBA_ENABLE_CUDASIM=1" in line and "pytest tests/ops/cuda" in line for line in lines)
    assert any(".venv-ptx/bin/python -m pytest tests/ops/ptx" in line for line in lines)
    assert "make test\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
