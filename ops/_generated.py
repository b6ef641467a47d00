"""Kernels written for a user's function: text becomes a function, that a kernel for the CPU and a CUDA twin."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from types import CodeType, FunctionType
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.np.numpy_support import as_dtype, from_dtype
from numpy.typing import NDArray

from ops._check import describe
from ops._cuda import CudaKernel, cuda
from ops._device import HostMemory, Memory
from ops._kernel import Kernel
from ops._scalar import Scalar

DTYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
_SMALL = ("bool", "uint8", "int8", "uint16", "int16", "float32")


def function_of(text: str, name: str, names: dict[str, Any]) -> FunctionType:
    """Make the one function that ``text`` defines, with these global names. Nothing in it is run."""
    module = compile(text, __file__, "exec")
    code = next(each for each in module.co_consts if isinstance(each, CodeType))
    code = code.replace(co_name=name, co_qualname=name)
    return FunctionType(code, {"__name__": __name__, "np": np, "math": math, "cuda": cuda, **names})


class Made:
    """A kernel and its twin for a user's functions; each is compiled when it is first run, and kept on disk."""

    def __init__(self, scalars: Sequence[Scalar], names: dict[str, Any]) -> None:
        """``names`` are what the texts call: the compiled functions, and what converts their results."""
        self._names = names
        module = scalars[0].python.__module__.replace(".", "_")
        self._name = "_".join([module, *(scalar.name for scalar in scalars)])
        digests = [scalar.digest for scalar in scalars]
        self._stamp = None if None in digests else str(digests)

    def host(self, text: str, signature: str) -> Kernel:
        function = function_of(text, self._unique(text), self._names)
        return Kernel(function, signature, parallel=False, fastmath=False, stamp=self._stamp, registered=False)

    def device(self, text: str, signature: str, block: int = 128) -> CudaKernel:
        function = function_of(text, self._unique(text), self._names)
        return CudaKernel(function, signature, (block,), stamp=self._stamp, registered=False)

    def _unique(self, text: str) -> str:
        """A name for the file that numba keeps the compiled text in."""
        return f"{self._name}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def numba_type(dtype: Any) -> Any:
    return from_dtype(np.dtype(dtype))


def dtype_of(kind: Any) -> Any:
    return as_dtype(kind)


def flat(dtype: Any, *, readonly: bool = True) -> str:
    """numba's notation of a one-dimensional array."""
    name = "boolean" if dtype == np.bool_ else np.dtype(dtype).name
    return f"Array({name}, 1, 'C', readonly={readonly})" if readonly else f"{name}[::1]"


def converter(source: Any, dtype: Any) -> Any:
    """A compiled function from a number of a numba type to one of a dtype, or None where they are the same.

    Whole numbers are limited to what the dtype holds; floats are rounded first, halves upwards, and NaN becomes 0.
    """
    target = numba_type(dtype)
    if target == source:
        return None
    if isinstance(target, (types.Float, types.Boolean)):
        cast = np.dtype(dtype).type
        return numba.njit(nogil=True)(lambda value: cast(value))
    bounds = np.iinfo(dtype)
    if isinstance(source, types.Float):
        wide = _rounding_wide if bounds.bits == 64 else _rounding
        return wide(int(bounds.min), int(bounds.max), np.dtype(dtype).type)
    return _limiting(int(bounds.min), int(bounds.max), np.dtype(dtype).type, source)


def _rounding(least: int, most: int, cast: Any) -> Any:
    low, high = float(least), float(most)
    whole: Any = np.int32 if most < 2**16 else np.int64  # narrow ones vectorise
    first = whole(least)

    @numba.njit(nogil=True)
    def rounded(value):  # type: ignore[no-untyped-def]
        exact = np.float64(value)
        limited = min(max(exact if exact == exact else 0.0, low), high)
        return cast(whole(limited - low + 0.5) + first)  # cut off from above 0, it is rounded down

    return rounded


def _rounding_wide(least: int, most: int, cast: Any) -> Any:
    # The largest float64 that an int64 or uint64 holds lies below its bound; from 2**53 on all are whole.
    low, high = float(least), math.nextafter(float(most), 0.0)

    @numba.njit(nogil=True)
    def rounded(value):  # type: ignore[no-untyped-def]
        exact = np.float64(value)
        limited = min(max(exact if exact == exact else 0.0, low), high)
        return cast(limited if abs(limited) >= 2.0**53 else np.float64(math.floor(limited + 0.5)))

    return rounded


def _limiting(low: int, high: int, cast: Any, source: Any) -> Any:
    if isinstance(source, types.Boolean):
        return numba.njit(nogil=True)(lambda value: cast(value))
    bounds = np.iinfo(dtype_of(source))
    kind = dtype_of(source).type
    low, high = kind(max(low, int(bounds.min))), kind(min(high, int(bounds.max)))

    @numba.njit(nogil=True)
    def limited(value):  # type: ignore[no-untyped-def]
        return cast(low if value < low else (high if value > high else value))

    return limited


def is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating))


def weak_float(arrays: Sequence[Any]) -> Any:
    """What a Python float counts as beside these arrays: float32 unless one of them holds more."""
    return np.float32 if all(array.dtype.name in _SMALL for array in arrays) else np.float64


def any_array(memory: Memory, value: Any, name: str) -> Any:
    """Return an array of any dtype that kernels take, C-contiguous."""
    if not isinstance(memory, HostMemory):
        return memory.any_array(value, name, DTYPES)
    array: NDArray[Any] = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise TypeError(f"{name}: expected numbers (float16 and complex ones are not taken), got {describe(value)}")
    return np.require(array, requirements="C")


def strong(value: Any, weak: Any) -> Any:
    """A number as its type of NumPy: Python's floats become ``weak``, its whole numbers int64."""
    if isinstance(value, np.generic):
        return value
    if isinstance(value, bool):
        return np.bool_(value)
    with np.errstate(over="ignore"):  # a float beyond float32 is infinite there
        return np.int64(value) if isinstance(value, int) else weak(value)
