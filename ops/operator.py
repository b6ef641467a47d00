"""A user's own operator: a plain function of numbers becomes a kernel for the CPU and a twin for a GPU.

The idea of meta-operators is that of Hu et al., "Jittor: a novel deep learning framework with meta-operators and
unified graph execution" (2020): few patterns of loops, into which a function of numbers is put.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ops._elementwise import Elementwise
from ops._gather import Gather
from ops._generated import DTYPES
from ops._reduce import Reduce, reduce_of
from ops._scalar import Scalar
from ops._steps import Step

Pattern = Literal["elementwise", "gather", "reduce"]


def operator(
    pattern: Pattern = "elementwise", *, dtype: Any = None, initial: Any = None
) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a plain function of numbers; what it becomes is called with arrays.

    Args:
        pattern: what the function computes, see below.
        dtype: of the result, one that NumPy and numba know; the one that numba infers if not given. Floats are rounded
            to whole numbers, halves upwards, and limited to what the dtype holds; NaN becomes 0.
        initial: for "reduce", the number that changes nothing, as 0 for a sum.

    Patterns:
        "elementwise": ``f(x, ...)`` gives one element of the result from the same element of each argument. Arrays are
            broadcast as NumPy does; numbers and lists of numbers stay what they are for all.
            Called with ``(*arguments, out=None)``.
        "gather": ``f(y, x, ...)``, with one to three coordinates of the result and then numbers, returns the place in
            the source that this element of the result comes from: whole numbers take that element, fractions are
            interpolated linearly, and a place half an element or more beside the source gives ``fill``. Axes of the
            source beyond those that the function returns go along.
            Called with ``(source, *numbers, shape=None, fill=0, out=None)``; ``shape`` is that of the result.
        "reduce": ``f(total, x)`` combines two numbers into one, in any order of them. Called with ``(values,
            axis=None)``; -1 reduces the last axis only. The result has shape [1], or that of the other axes.

    A Python float counts as float32 beside arrays of float32 and of whole numbers up to 16 bits, as float64 otherwise;
    one that is written in the function is float64 there. Kernels are compiled when types come for the first time (about
    half a second) and kept on disk, if what the function refers to is numbers, arrays, functions and modules. The
    answer is the same at any number of threads. Takes device arrays too, all or none, with the same answer but for the
    last digits of ``exp`` and the like.

    Raises:
        TypeError: for a function that numba cannot compile; says which line and why.
        ValueError: for arrays that do not fit each other.
    """
    if dtype is not None and np.dtype(dtype).name not in DTYPES:
        raise TypeError(f"dtype: expected one of {', '.join(DTYPES)}, got {np.dtype(dtype)}")
    if initial is not None and pattern != "reduce":
        raise ValueError(f"initial: expected none for the pattern {pattern!r}, got {initial!r}")

    def make(function: Callable[..., Any]) -> Elementwise | Gather | Reduce:
        if pattern == "elementwise":
            return Elementwise((Step(Scalar(function), dtype),))
        if pattern == "reduce":
            return reduce_of(function, initial, dtype)
        if dtype is not None:
            raise ValueError(
                f"dtype: expected none for the pattern 'gather', whose result has its source's, got {dtype}"
            )
        return Gather(Scalar(function))

    if pattern not in ("elementwise", "gather", "reduce"):
        told = "a function" if callable(pattern) else repr(pattern)
        raise ValueError(f"operator: expected a pattern: 'elementwise', 'gather' or 'reduce', got {told}")
    return make
