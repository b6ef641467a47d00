"""Argument checks shared by the operators: every message says what was expected and what came."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int | str, ...]


def describe(value: Any) -> str:
    """Name a value by type, dtype and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    if hasattr(value, "__cuda_ndarray__"):
        return f"{value.dtype} device array of shape {tuple(value.shape)}"
    return f"{type(value).__name__} {value!r}"[:120]


def host_array(value: Any, name: str, dtype: Any, shape: Shape) -> NDArray[Any]:
    """Return ``value`` as a C-contiguous NumPy array of exactly ``dtype``, without a copy where it is one already.

    ``shape`` lists sizes; a letter stands for any size. Raises ``TypeError`` for another dtype or a device array, and
    ``ValueError`` for another shape.
    """
    if type(value) is not np.ndarray and hasattr(value, "__cuda_array_interface__"):
        wanted = _expected(dtype, shape)
        raise TypeError(f"{name}: expected a {wanted} in host memory, got a device array; copy it to the host first")
    array = np.asarray(value)
    check_array(array, name, dtype, shape)
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def check_array(array: Any, name: str, dtype: Any, shape: Shape) -> None:
    """Raise ``TypeError`` unless the array, of whatever memory, has this dtype, ``ValueError`` unless this shape."""
    if array.dtype != dtype:
        raise TypeError(f"{name}: expected a {_expected(dtype, shape)}, got {describe(array)}; convert it with .astype")
    fits = len(array.shape) == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: expected a {_expected(dtype, shape)}, got {describe(array)}")


def any_host_array(value: Any, name: str, dtypes: tuple[str, ...]) -> NDArray[Any]:
    """Return ``value`` as a C-contiguous NumPy array of one of these dtypes and of any shape."""
    array = np.asarray(value)
    if array.dtype.name not in dtypes:
        raise TypeError(f"{name}: expected {' or '.join(dtypes)}, got {describe(array)}; convert it first")
    return host_array(array, name, np.dtype(array.dtype.name), array.shape)  # in this machine's byte order


def mask_bytes(value: Any, name: str, shape: Shape) -> NDArray[np.uint8]:
    """Return a bool or uint8 mask as C-contiguous bytes, without a copy where it is that already."""
    array = value if hasattr(value, "__cuda_array_interface__") else np.asarray(value)
    dtype = np.bool_ if getattr(array, "dtype", None) == np.bool_ else np.uint8
    return host_array(array, name, dtype, shape).view(np.uint8)


def _expected(dtype: Any, shape: Shape) -> str:
    return f"{np.dtype(dtype).name} array of shape [{', '.join(map(str, shape))}]"


def flags(value: Any, name: str, count: int, each: str) -> NDArray[np.bool_]:
    """Return ``count`` flags (bools or whole numbers, as JSON has them) as bools; ``None`` stands for none set."""
    if value is None:
        return np.zeros(count, np.bool_)
    array = np.asarray(value)
    if array.shape != (count,) or (count and array.dtype.kind not in "biu"):
        raise ValueError(f"{name}: expected {count} flags, one for each {each}, got {describe(array)}")
    return array.astype(np.bool_)


def same_length(**arrays: Any) -> None:
    """Raise ``ValueError`` unless all arrays have the same first size."""
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError("expected equal lengths, got " + ", ".join(f"{name} {n}" for name, n in lengths.items()))


def unit_interval(value: float, name: str) -> float:
    """Return ``value`` as a float, or raise ``ValueError`` unless it lies in 0..1."""
    try:
        inside = 0.0 <= value <= 1.0
    except TypeError:
        inside = False
    if not inside:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value!r}")
    return float(value)


def whole_number(value: Any, name: str, least: int, most: int = 2**31 - 1) -> int:
    """Return ``value`` (640, or 640.0) as an int, or raise ``ValueError`` unless it is one of ``least`` to ``most``."""
    try:
        number = int(value)
        fits = number == value and least <= number <= most
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise ValueError(f"{name}: expected a whole number from {least} to {most}, got {value!r}")
    return number


def height_and_width(value: Any, name: str, least: int = 1) -> tuple[int, int]:
    """Return (height, width) as ints, or raise ``ValueError`` unless they are whole numbers from ``least`` on."""
    try:
        height, width = (whole_number(side, name, least) for side in value)
    except (TypeError, ValueError):
        wanted = "a positive (height, width)" if least else "(height, width), not negative"
        raise ValueError(f"{name}: expected {wanted}, got {value!r}") from None
    return height, width


def spacing_of(spacing: Any, name: str, axes: str) -> tuple[float, ...]:
    """Return the millimetres between the centres of neighbouring voxels, one number for each letter of ``axes``."""
    try:
        numbers = tuple(float(number) for number in spacing)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != len(axes) or not all(0 < number < math.inf for number in numbers):
        raise ValueError(f"{name}: expected ({', '.join(axes)}) in mm, finite and above 0, got {spacing!r}")
    return numbers


def output_array(out: Any, dtype: Any, shape: tuple[int, ...], name: str = "out") -> NDArray[Any]:
    """Return ``out`` if it can be written in place, a new array if it is ``None``."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}: expected {writable(dtype, shape)}, got {describe(out)}")
    if out.dtype != dtype or out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"{name}: expected {writable(dtype, shape)}, got {describe(out)}")
    return out


def writable(dtype: Any, shape: tuple[int, ...]) -> str:
    """Say what an array to write into must be."""
    return f"a writable C-contiguous {np.dtype(dtype).name} array of shape {shape}"
