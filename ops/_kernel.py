"""How kernels are compiled and who may run them in parallel.

A kernel has one explicit signature, so read-only and writable arrays share one compiled version, and it is compiled
(or fetched from the cache) at its first call, not at import.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numba

_forked = False


def _mark_forked() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_mark_forked)


def lone_caller() -> bool:
    """Whether this caller may use a parallel kernel: the main thread of a process that is nobody's child.

    numba's OpenMP layer kills a process that was forked after a parallel kernel ran, and its workqueue layer aborts
    when two threads call at once; serial kernels know neither danger.
    """
    return (
        not _forked
        and threading.current_thread() is threading.main_thread()
        and multiprocessing.parent_process() is None
        and numba.get_num_threads() > 1
    )


class Kernel:
    """A function and its compiled form, made at the first call (thread-safe, cached on disk)."""

    registry: ClassVar[list[Kernel]] = []

    def __init__(self, function: Callable[..., Any], signature: str, *, parallel: bool, fastmath: bool) -> None:
        self.function = function
        self.signature = signature
        self.parallel = parallel
        self.fastmath = fastmath
        self.name = f"{function.__module__}.{function.__name__}"
        self._lock = threading.Lock()
        self._compiled: Callable[..., Any] | None = None
        Kernel.registry.append(self)

    def compile(self) -> Callable[..., Any]:
        with self._lock:
            if self._compiled is None:
                options: dict[str, Any] = {
                    "nogil": True,
                    "cache": True,
                    "fastmath": self.fastmath,
                    "parallel": self.parallel,
                }
                dispatcher = numba.njit(**options)(self.function)
                _stamp_with_the_package(dispatcher)
                dispatcher.compile(self.signature)
                # Else a call with writable arrays would compile a second version, which the first can serve.
                dispatcher.disable_compile()
                self._compiled = dispatcher
        return self._compiled

    def __call__(self, *arguments: Any) -> Any:
        return (self._compiled or self.compile())(*arguments)


def _stamp_with_the_package(dispatcher: Any) -> None:
    """Make the cached machine code depend on every file of `ops`.

    numba looks at the kernel's own file only, so a kernel that calls a function of another file would keep running the
    old one after that was edited or upgraded.
    """
    files = [path.stat() for path in Path(__file__).parent.glob("*.py")]
    stamp = (max(file.st_mtime for file in files), sum(file.st_size for file in files))
    dispatcher._cache._cache_file._source_stamp = stamp


def kernel(signature: str, *, parallel: bool = False, fastmath: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorate a kernel with its one signature (numba's notation)."""
    return lambda function: Kernel(function, signature, parallel=parallel, fastmath=fastmath)
