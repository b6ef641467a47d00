"""How the CUDA twins are compiled and launched.

A twin stands beside the kernels for the CPU and calls the same helpers. It writes ``cuda.grid`` and the like with
`cuda` from here: a name that becomes numba.cuda when the first twin is compiled, as importing that takes 0.4 s and is
of no use without a GPU. One explicit signature a twin, so that it can be compiled to PTX where there is no GPU.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, ClassVar

import numba
import numpy as np
from numba import config
from numba.core import sigutils, types
from numba.core.dispatcher import Dispatcher

from ops._kernel import add_to_stamp, helpers_of, stamp_with_sources


class _NotYet:
    """Stands for numba.cuda until a twin is compiled."""


cuda: Any = _NotYet()

SIMULATED = bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]

# A grid has room for 2**31 - 1 blocks along its first axis and 65535 along the others; twins walk on by its size, so
# that fewer blocks do as well. So many keep the largest card busy; the simulator starts a Python thread for each of
# theirs, so there are few and small ones.
_MOST_BLOCKS = (3, 2, 2) if SIMULATED else (2**20, 65535, 65535)
_SIMULATED_BLOCK = (12, 3, 1)
# numba warns of fewer, at every size anew; on a GPU the blocks that find nothing to do cost nothing.
_FEWEST_BLOCKS = 1 if SIMULATED else 128


def numba_cuda() -> Any:
    """Import numba.cuda, or its simulator where NUMBA_ENABLE_CUDASIM is set."""
    import numba.cuda

    return numba.cuda


def has_device() -> bool:
    """Whether a GPU, or the simulator, and what compiles for it are there."""
    return bool(numba_cuda().is_available())


class CudaKernel:
    """The twin of a kernel: compiled at its first launch on a device of each compute capability, cached on disk."""

    registry: ClassVar[list[CudaKernel]] = []

    def __init__(
        self,
        function: Callable[..., Any],
        signature: str,
        block: tuple[int, ...],
        *,
        fixed: bool = True,
        label: str | None = None,
        stamp: str | None = "",
        registered: bool = True,
    ) -> None:
        self.function = function
        self.signature = signature
        self.block = block if fixed or not SIMULATED else tuple(map(min, block, _SIMULATED_BLOCK))
        self.name = f"{function.__module__}.{function.__name__}" + (f"[{label}]" if label else "")
        self._lock = threading.Lock()
        self._compiled: dict[Any, Any] = {}
        self._stamp = stamp  # of a user's code, see `Kernel`
        if registered:
            CudaKernel.registry.append(self)

    def compile(self) -> Any:
        """Return what numba makes of it for the present device."""
        if SIMULATED:
            return self._compiled.get("simulator") or self._simulate()
        capability = numba_cuda().get_current_device().compute_capability
        with self._lock:
            if capability not in self._compiled:
                self._compiled[capability] = self._compile()
        return self._compiled[capability]

    def dispatcher(self) -> Any:
        """Return numba's object that will compile it, with our stamp on its cache."""
        module = numba_cuda()
        self._bind(module)
        options = {"cache": self._stamp is not None, "fastmath": False}
        if "lto" in inspect.signature(module.jit).parameters:
            options["lto"] = False  # the link would contract a * b + c again
        dispatcher = module.jit(self.function, **options)
        if self._stamp is not None:
            stamp_with_sources(dispatcher, __file__)
            add_to_stamp(dispatcher, self._stamp)
        return dispatcher

    def _compile(self) -> Any:
        dispatcher = self.dispatcher()
        with _uncontracted(numba_cuda()):
            dispatcher.compile(_argument_types(self.signature))
        dispatcher.disable_compile()
        # The one version takes what memory checked: no types to find out at each launch.
        dispatcher._specialized = True
        return dispatcher

    def ptx(self, capability: tuple[int, int]) -> str:
        """Compile for a device that need not be there."""
        module = numba_cuda()
        self._bind(module)
        with _uncontracted(module):
            text, _ = module.compile_ptx(self.function, _argument_types(self.signature), cc=capability)
        return str(text)

    def _bind(self, module: Any) -> None:
        for function in (self.function, *(helper.py_func for helper in helpers_of(self.function))):
            for name, value in function.__globals__.items():
                if value is cuda:
                    function.__globals__[name] = module

    def _simulate(self) -> Any:
        with self._lock:
            function = FunctionType(self.function.__code__, _simulated_globals(self.function.__globals__))
            self._compiled["simulator"] = numba_cuda().jit(function)
        return self._compiled["simulator"]

    def launch(self, stream: Any, counts: int | Sequence[int], *arguments: Any) -> None:
        """Run at least ``counts`` threads along each axis, or as many as a grid holds; none where a count is 0."""
        sizes = (counts,) if isinstance(counts, int) else tuple(counts)
        if min(sizes) <= 0:
            return
        blocks = (-(-size // threads) for size, threads in zip(sizes, self.block, strict=True))
        first, *rest = map(min, blocks, _MOST_BLOCKS)
        grid = max(first, -(-_FEWEST_BLOCKS // math.prod(rest))), *rest
        self.compile()[grid, self.block, stream](*arguments)


def cuda_kernel(
    signature: str, *, block: int | tuple[int, ...] = 128, fixed: bool = False, label: str | None = None
) -> Callable[[Callable[..., Any]], CudaKernel]:
    """Decorate a twin with its one signature and the threads of a block along each axis.

    ``fixed`` says that the twin counts on that many threads: any other runs in smaller blocks in the simulator.
    ``label`` tells apart the twins that are made of one function, one for each dtype.
    """
    shape = (block,) if isinstance(block, int) else block
    return lambda function: CudaKernel(function, signature, shape, fixed=fixed, label=label)


def _argument_types(signature: str) -> tuple[Any, ...]:
    arguments, _ = sigutils.normalize_signature(signature)  # type: ignore[no-untyped-call]
    return tuple(arguments)


@contextmanager
def _uncontracted(module: Any) -> Iterator[None]:
    """Compile without joining a * b + c into one rounding, which the CPU does not do: numba has no option for it."""
    nvvm = module.cudadrv.nvvm
    compile_ir = nvvm.compile_ir
    nvvm.compile_ir = lambda ir, **options: compile_ir(ir, **{"fma": 0, **options})
    try:
        yield
    finally:
        nvvm.compile_ir = compile_ir


class _InKernel:
    """Stands for numba.cuda inside simulated twins and their helpers: the kernel that is running answers.

    The simulator itself puts that into the globals of the twin only, and helpers of other files use ``cuda`` too.
    """

    def __getattr__(self, name: str) -> Any:
        from numba.cuda.simulator import kernel

        return getattr(kernel._get_kernel_context(), name)  # type: ignore[no-untyped-call]


_simulated: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}  # with the names that the id is of, which stay


def _simulated_globals(names: dict[str, Any]) -> dict[str, Any]:
    """A module's names for the simulator, which runs a twin in Python: what the twin calls must run there too."""
    if id(names) not in _simulated:
        copy: dict[str, Any] = {}
        _simulated[id(names)] = names, copy
        for name, value in names.items():
            copy[name] = _either(value) if isinstance(value, Dispatcher) else value
            if value is cuda:
                copy[name] = _InKernel()
    return _simulated[id(names)][1]


def _either(helper: Any) -> Callable[..., Any]:
    """A helper for the simulator: compiled for numbers, which have numba's types then, in Python for arrays."""
    source = helper.py_func
    names = _simulated_globals(source.__globals__)
    python = FunctionType(source.__code__, names, argdefs=source.__defaults__, closure=source.__closure__)

    def call(*arguments: Any) -> Any:
        if not all(map(np.isscalar, arguments)):
            return python(*arguments)
        result = helper(*arguments)
        signature = tuple(map(numba.typeof, arguments))
        return _typed(result, helper.overloads[signature].signature.return_type)

    return call


def _typed(value: Any, kind: Any) -> Any:
    """A helper's result as numba has it: Python knows floats of 64 bits only."""
    if isinstance(value, tuple):
        return tuple(_typed(*pair) for pair in zip(value, kind.types, strict=True))
    return np.float32(value) if kind == types.float32 else value
