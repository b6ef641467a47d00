"""What an operator's first call waits for: its kernels are compiled, or fetched from the cache.

    python -m benchmarks.ops_compile [--only OPERATOR ...]

One process calls each operator, in the main thread and in another one, which must take the serial kernels, and notes
which kernels ran. For each such set there is then a process with an empty cache, and one more that finds what the first
left: both time `Kernel.compile` of these kernels. What every compilation needs once (LLVM's start) is done before.
Seconds, the sum of a call's kernels; `letterbox` in each of its modes, and of `operator` and `fuse` examples.
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
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

from ops._kernel import Kernel

COLD, WARM = 4.0, 0.35  # what was promised
_OWN = -1  # a kernel made of a user's function has no number

# Where an operator was called: the kernels that it ran, numbered as `ops` registers them.
Calls = dict[str, list[int]]


def kernels_of_calls(names: list[str]) -> dict[str, Calls]:
    registered = list(Kernel.registry)
    known = importlib.import_module("benchmarks.operator_calls")
    calls = known.CALLS | known.MODES
    ran: list[Kernel] = []
    call_kernel = Kernel.__call__

    def noted(kernel: Kernel, *arguments: Any) -> Any:
        ran.append(kernel)
        return call_kernel(kernel, *arguments)

    def kernels(call: Any) -> list[int]:
        ran.clear()
        call()
        return sorted({registered.index(kernel) if kernel in registered else _OWN for kernel in ran})

    Kernel.__call__ = noted  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as other:
        return {
            name: {"main thread": kernels(calls[name]), "another": other.submit(kernels, calls[name]).result()}
            for name in names or calls
        }


def seconds_to_compile(name: str, kernels: list[int]) -> float:
    numba.njit("float64(float64)")(lambda x: x + 1)
    if _OWN not in kernels:
        started = time.perf_counter()
        for kernel in kernels:
            Kernel.registry[kernel].compile()
        return time.perf_counter() - started
    call, took, compile_kernel = importlib.import_module("benchmarks.operator_calls").CALLS[name], [0.0], Kernel.compile

    def timed(kernel: Kernel) -> Any:
        started = time.perf_counter()
        compiled = compile_kernel(kernel)
        took[0] += time.perf_counter() - started
        return compiled

    Kernel.compile = timed  # type: ignore[method-assign]
    call()
    return took[0]


def in_a_process(cache: str, *arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.ops_compile", *arguments]
    done = subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": cache}, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def tell(calls_of: dict[str, Calls]) -> int:
    """Print a line for each operator, two where the main thread runs other kernels; return how many missed a bar."""
    known: dict[tuple[int, ...], tuple[float, float]] = {}
    missed = 0
    for name, calls in calls_of.items():
        same = len(set(map(tuple, calls.values()))) == 1
        for where, kernels in list(calls.items())[: 1 if same else 2]:
            key = tuple(kernels)
            if key not in known or _OWN in kernels:
                with tempfile.TemporaryDirectory() as cache:
                    cold, warm = (in_a_process(cache, "--here", name, json.dumps(kernels)) for _ in range(2))
                known[key] = cold, warm
            cold, warm = known[key]
            late = cold > COLD or warm > WARM
            missed += late
            place = "" if same else where
            print(f"{name:28} {place:12} cold {cold:5.2f}  cached {warm:5.3f}{'  MISSED' if late else ''}", flush=True)
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description="How long the operators take to compile.")
    parser.add_argument("--only", nargs="*", default=[], help="names of operators (all)")
    parser.add_argument("--kernels", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    importlib.import_module("ops")
    if given.kernels:
        print(json.dumps(kernels_of_calls(given.only)))
    elif given.here:
        print(json.dumps(seconds_to_compile(given.here[0], json.loads(given.here[1]))))
    else:
        command = [sys.executable, "-m", "benchmarks.ops_compile", "--kernels", "--only", *given.only]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        print(f"bars {COLD:g} and {WARM:g}: {tell(json.loads(done.stdout))} missed")


if __name__ == "__main__":
    main()
