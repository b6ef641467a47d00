"""How kernels are compiled, and that neither a fork nor many threads at once harm a process that runs them."""

from __future__ import annotations

import ast
import concurrent.futures
import importlib
import inspect
import json
import multiprocessing
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numba
import pytest

import ops
from ops import _kernel
from ops._cuda import CudaKernel
from ops._kernel import Kernel, lone_caller

ROOT = Path(ops.__file__).parents[1]

# `work` calls each public function of `ops`, as the benchmarks do, and gives a digest of each one's answer.
WORK = """
import hashlib, os, sys, threading
import numba, numpy as np, ops
from benchmarks.operator_calls import CALLS
from ops._kernel import lone_caller

def bytes_of(answer):
    if isinstance(answer, (tuple, list)):
        return b"".join(map(bytes_of, answer))
    return np.ascontiguousarray(answer).tobytes()

def work():
    return {name: hashlib.sha256(bytes_of(call())).digest() for name, call in CALLS.items()}

def agree(answers, where):
    for answer in answers:
        apart = [name for name in CALLS if answer[name] != first[name]]
        assert not apart, f"{where}: another answer of {apart}"
"""

# One process runs all of them, as its start and the kernels' loading take longer than they do.
SCRIPTS = {
    "kernel, fork, kernel": """
assert lone_caller()
child = os.fork()
if child == 0:
    agree([work()], "in the fork")
    os._exit(3 if lone_caller() else 0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert lone_caller()
agree([work()], "after the fork")
""",
    "8 threads at once, and the main thread in parallel kernels meanwhile": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    answers = [pool.submit(work) for _ in range(8)]
    agree([work() for _ in range(2)], "in the main thread")
    agree([answer.result() for answer in answers], "in threads")
""",
    "1 and 2 threads": """
assert numba.get_num_threads() == 2 and lone_caller()
numba.set_num_threads(1)
assert not lone_caller()
agree([work()], "with 1 thread")
""",
}


def layers() -> list[str]:
    """The threading layers that this numba brings (workqueue always; OpenMP where its library is present)."""
    try:
        importlib.import_module("numba.np.ufunc.omppool")
    except ImportError:
        return ["workqueue"]
    return ["workqueue", "omp"]


@pytest.mark.parametrize("layer", layers())
def test_survives(layer: str) -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": layer, "PYTHONPATH": str(ROOT)}
    script = WORK + "first = work()\n" + "".join(f"print({name!r}){code}" for name, code in SCRIPTS.items())
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == list(SCRIPTS)


def test_every_operator_is_among_those() -> None:
    table = (ROOT / "benchmarks/operator_calls.py").read_text()
    called = set(re.findall(r'^    "(\w+)": ', table, re.MULTILINE))
    assert called == {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}


def test_importing_compiles_nothing() -> None:
    check = "import ops; from ops._kernel import Kernel; assert {k._compiled for k in Kernel.registry} == {None}"
    subprocess.run([sys.executable, "-c", check], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=60)


def test_every_parallel_kernel_has_a_serial_twin() -> None:
    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"ops.{module.name}")
    twins = {(k.function.__module__, k.signature, k.fastmath) for k in Kernel.registry if not k.parallel}
    parallel = [k for k in Kernel.registry if k.parallel]
    assert parallel
    assert all((k.function.__module__, k.signature, k.fastmath) in twins for k in parallel)


def _answer(connection: Any) -> None:
    connection.send(lone_caller())


@pytest.fixture
def two_threads() -> Any:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("this process may use one core only, so nobody here runs parallel kernels")
    before = numba.get_num_threads()
    numba.set_num_threads(2)
    yield
    numba.set_num_threads(before)


def test_lone_caller_is_the_main_thread(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernel, "_forked", False)  # pytest itself may run in a fork
    assert lone_caller()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert not pool.submit(lone_caller).result()
    numba.set_num_threads(1)
    assert not lone_caller()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_lone_caller_is_nobodys_child(two_threads: None, method: str) -> None:
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    child = context.Process(target=_answer, args=(theirs,))
    child.start()
    try:
        assert ours.poll(60)
        assert ours.recv() is False
    finally:
        child.join(60)


def test_is_compiled_once_however_many_threads_call_first(monkeypatch: pytest.MonkeyPatch) -> None:
    compilations = []

    stamp = _kernel.stamp_with_sources

    def slow_stamp(dispatcher: Any, *rest: Any) -> None:
        compilations.append({key: dispatcher.targetoptions[key] for key in ("nogil", "fastmath", "parallel")})
        time.sleep(0.05)
        stamp(dispatcher)

    monkeypatch.setattr(_kernel, "stamp_with_sources", slow_stamp)
    monkeypatch.setattr(Kernel, "registry", [])
    double = _kernel.kernel("int64(int64)", fastmath=True)(lambda x: 2 * x)
    assert Kernel.registry == [double]
    barrier = threading.Barrier(8)

    def call(x: int) -> int:
        barrier.wait()
        return int(double(x))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert compilations == [{"nogil": True, "fastmath": True, "parallel": False}]


FILES = {
    "_kernel": None,  # the real one
    "number": "from numba import njit\n@njit(cache=True)\ndef number():\n    return 1\n",
    "helper": "from numba import njit\nfrom ops.number import number\n@njit(cache=True)\ndef helper():\n"
    "    return number()\n",
    "caller": "from ops import helper as other\nfrom ops._kernel import kernel\nfrom ops.helper import helper\n"
    "@kernel('int64()')\ndef ask():\n    return helper()\n",
    "stranger": "ONE = 1\n",
}
ASK = """
from ops.caller import ask
answer = ask()
print(answer, sum(ask._compiled.stats.cache_hits.values()))
"""


def test_a_kernel_compiles_anew_when_a_file_that_it_imports_changes(tmp_path: Path) -> None:
    """numba's cache looks at the kernel's own file only; ours must look at all it is made of, and at nothing else."""
    package = tmp_path / "ops"
    package.mkdir()
    (package / "__init__.py").write_text("")
    shutil.copy(ROOT / "ops/_kernel.py", package)
    for name, text in FILES.items():
        if text is not None:
            (package / f"{name}.py").write_text(text)

    def ask() -> str:
        done = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert ask() == "1 0"
    (package / "stranger.py").write_text("ONE = 2\n")
    os.utime(package / "caller.py")
    assert ask() == "1 1"  # neither another file's edit nor a checkout of the same text
    (package / "number.py").write_text(FILES["number"].replace("return 1", "return 2"))  # type: ignore[union-attr]
    assert ask() == "2 0"


# Each module of `ops` alone, without what the package's own file imports: which others Python loads with it.
LOADED = """
import importlib, json, pkgutil, sys, types
package = types.ModuleType("ops")
package.__path__ = [sys.argv[1]]
loaded = {}
for module in pkgutil.iter_modules(package.__path__):
    for name in [name for name in sys.modules if name.startswith("ops.")]:
        del sys.modules[name]
    sys.modules["ops"] = package
    importlib.import_module(f"ops.{module.name}")
    loaded[module.name] = [name.removeprefix("ops.") for name in sys.modules if name.startswith("ops.")]
print(json.dumps(loaded))
"""


def test_the_sources_of_a_kernel() -> None:
    """All that importing its file loads of `ops`, but what is around kernels."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(ROOT / "ops")], capture_output=True, text=True, check=True, timeout=120
    )
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    assert {"_arith", "box_iou", "decode_detections", "nms", "letterbox", "_cuda_order"} < set(loaded["simota_assign"])
    for module, names in loaded.items():
        found = {path.stem for path in _kernel.sources_of(ROOT / f"ops/{module}.py")}
        assert found == set(names) - (_kernel._AROUND - {module}), module


def test_no_kernel_is_made_of_what_is_around_it() -> None:
    """The files that the stamp leaves out: a kernel may use their names as decorators only (and numba.cuda's)."""
    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"ops.{module.name}")
    functions = [kernel.function for kernel in (*Kernel.registry, *CudaKernel.registry)]
    assert len(functions) > 20
    for function in functions:
        for used in (function, *(helper.py_func for helper in _kernel.helpers_of(function))):
            names = set(_kernel._names(used.__code__))
            tree = ast.parse(Path(used.__code__.co_filename).read_text(encoding="utf-8"))
            imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
            around = [i for i in imports if (i.module or "").removeprefix("ops.") in _kernel._AROUND]
            assert names & {alias.name for node in around for alias in node.names} <= {"cuda"}, used
