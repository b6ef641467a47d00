"""How long each operator's kernels take to compile, and to come back from the cache: python -m benchmarks.ops_compile

    [--only OPERATOR ...]

A process of its own for each operator, with an empty cache; then one more that finds what the first left. What is
timed is `Kernel.compile`, which a first call waits for, once for each kernel: a call needs one of them, mostly, the
parallel or the serial one. What every compilation needs once (LLVM's start) is done before. Seconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time

import numba

COLD, WARM = 4.0, 0.35  # what was promised


def compiled(module: str) -> dict[str, float]:
    """Compile the kernels of one file of `ops` and say how long each took."""
    kernels = importlib.import_module("ops._kernel").Kernel.registry
    importlib.import_module(module)
    numba.njit("float64(float64)")(lambda x: x + 1)
    took = {}
    for kernel in kernels:
        if kernel.function.__module__ == module:
            started = time.perf_counter()
            kernel.compile()
            name = f"{kernel.name.removeprefix('ops.')}{', parallel' if kernel.parallel else ''}"
            took[name] = time.perf_counter() - started
    return took


def in_a_process(module: str, cache: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.ops_compile", "--here", module]
    done = subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": cache}, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description="How long the operators take to compile.")
    parser.add_argument("--only", nargs="*", default=[], help="names of files in ops/ (all that have kernels)")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(compiled(given.here)))
        return
    importlib.import_module("ops")
    registry = importlib.import_module("ops._kernel").Kernel.registry
    modules = [f"ops.{name}" for name in given.only] or sorted({kernel.function.__module__ for kernel in registry})
    slow = 0
    for module in modules:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = in_a_process(module, cache), in_a_process(module, cache)
        for name, seconds in cold.items():
            missed = seconds > COLD or warm[name] > WARM
            slow += missed
            print(f"{name:55} cold {seconds:5.2f}  cached {warm[name]:5.3f}{'  MISSED' if missed else ''}", flush=True)
    print(f"bars {COLD:g} and {WARM:g}: {slow} missed")


if __name__ == "__main__":
    main()
