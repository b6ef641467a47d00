"""How kernels are compiled and who may run them in parallel.

A kernel has one explicit signature, so read-only and writable arrays share one compiled version, and it is compiled
(or fetched from the cache) at its first call, not at import.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar

import numba
from numba import types
from numba.core.dispatcher import Dispatcher

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

    def __init__(
        self,
        function: Callable[..., Any],
        signature: str,
        *,
        parallel: bool,
        fastmath: bool,
        stamp: str | None = "",
        registered: bool = True,
    ) -> None:
        """``stamp`` tells a user's code from what it was; None where that is not known, and it is not kept on disk."""
        self.function = function
        self.signature = signature
        self.parallel = parallel
        self.fastmath = fastmath
        self.name = f"{function.__module__}.{function.__name__}"
        self._lock = threading.Lock()
        self._compiled: Callable[..., Any] | None = None
        self._stamp = stamp
        if registered:
            Kernel.registry.append(self)

    def compile(self) -> Callable[..., Any]:
        with self._lock:
            if self._compiled is None:
                options: dict[str, Any] = {
                    "nogil": True,
                    "cache": self._stamp is not None,
                    "fastmath": self.fastmath,
                    "parallel": self.parallel,
                    "no_cfunc_wrapper": True,
                }
                dispatcher = numba.njit(**options)(self.function)
                stamp_with_sources(dispatcher)
                add_to_stamp(dispatcher, self._stamp)
                for helper in helpers_of(self.function):
                    slim(helper)
                dispatcher.compile(self.signature)
                # Else a call with writable arrays would compile a second version, which the first can serve.
                dispatcher.disable_compile()
                self._compiled = dispatcher
        return self._compiled

    def __call__(self, *arguments: Any) -> Any:
        return (self._compiled or self.compile())(*arguments)


def helpers_of(function: Callable[..., Any]) -> list[Any]:
    """The compiled functions that a kernel calls, and those that they call, each once."""
    found: list[Any] = []
    functions = [function]
    while functions:
        current = functions.pop()
        for name in _names(current.__code__):
            value = current.__globals__.get(name)
            if isinstance(value, Dispatcher) and value not in found:
                found.append(value)
                functions.append(value.py_func)
    return found


def slim(helper: Any) -> None:
    """Have compiled code call a version of its own of a helper, which takes less time to compile.

    That version has no entries for Python and C, and is compiled once for the types of its arguments in a process: a
    literal has a type of its own, for which numba would compile it once more. It is kept within the kernels that call
    it, in no cache of its own. Python calls the helper as it was, and what is always inlined is compiled neither way.
    """
    if "get_overload" in vars(helper):
        return
    entries = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    version = type(helper)(helper.py_func, targetoptions={**helper.targetoptions, **entries})
    plain: Callable[[Any], Any] = types.unliteral
    helper.get_call_template = lambda arguments, named: version.get_call_template(
        tuple(map(plain, arguments)), {name: plain(kind) for name, kind in named.items()}
    )
    helper.get_overload = version.get_overload


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


# Files that arguments are checked and kernels launched with: no kernel is made of anything in them, so that work on
# them does not make all kernels compile anew.
_AROUND = frozenset({"_check", "_cuda", "_device", "_dlpack", "_kernel"})


def stamp_with_sources(dispatcher: Any, compiled_by: str = __file__) -> None:
    """Make the cached machine code depend on its file, those of `ops` that it imports, and the one that compiles it.

    numba looks at the function's own file only, so a kernel that calls a function of another file would keep running
    the old one after that was edited or upgraded. The stamp is of what the files say: neither a checkout nor another
    operator's edit makes a kernel compile anew.
    """
    for each in (dispatcher, *helpers_of(dispatcher.py_func)):
        if hasattr(each._cache, "_cache_file"):  # a helper may have no cache of its own
            path = Path(each.py_func.__code__.co_filename)
            each._cache._cache_file._source_stamp = source_stamp(path, Path(compiled_by))


def add_to_stamp(dispatcher: Any, more: str | None) -> None:
    """Make the cached machine code depend on what no file of ours says, too: a user's function."""
    if more:
        dispatcher._cache._cache_file._source_stamp += more


@functools.cache
def source_stamp(path: Path, compiled_by: Path) -> str:
    """A digest of a file, of all files of `ops` that it imports, directly or not, and of the one that compiles it."""
    digest = hashlib.sha256()
    for source in sorted(sources_of(path) | {compiled_by}):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def sources_of(path: Path) -> set[Path]:
    """The files that the compiled functions of a file are made of."""
    found: set[Path] = set()
    pending = {path}
    while pending:
        source = pending.pop()
        found.add(source)
        pending |= _imported(source) - found
    return found


@functools.cache
def _imported(path: Path) -> frozenset[Path]:
    """The files of `ops` that a file imports; their package's own file holds no code that is compiled."""
    home = Path(__file__).parent
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    files = (home / f"{name.removeprefix('ops.')}.py" for name in names if name.startswith("ops."))
    return frozenset(file for file in files if file.is_file() and file.stem not in _AROUND)


def kernel(signature: str, *, parallel: bool = False, fastmath: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorate a kernel with its one signature (numba's notation)."""
    return lambda function: Kernel(function, signature, parallel=parallel, fastmath=fastmath)
