"""Operators that combine all elements of an array, or of each of its rows, into one."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import numba
import numpy as np
from numba.core import types

from ops._elementwise import prepared
from ops._generated import Made, converter, dtype_of, flat, is_number, numba_type
from ops._lanes import in_lanes, lanes_for
from ops._scalar import Scalar
from ops._steps import Step, Steps

# Elements are combined in one order on every device and any number of threads: in each part of a row so many run side
# by side (a block's threads), and are then combined by halves; so are the parts.
_WIDTH = 128
_PART = 64 * _WIDTH


class Reduce:
    """What ``@ops.operator("reduce")`` makes of a function of two numbers. Call it with an array."""

    def __init__(self, combine: Scalar, initial: Any, dtype: Any, steps: tuple[Step, ...] = ()) -> None:
        if len(combine.parameters) != 2:
            raise TypeError(f"{combine.name}: expected a function of 2 numbers to reduce with, got {combine.python}")
        if not is_number(initial):
            raise TypeError(f"{combine.name}: initial: expected the number that changes nothing, got {initial!r}")
        self.combine, self.initial, self.dtype, self.steps = combine, initial, dtype, steps
        self._steps = Steps(steps) if steps else None
        self.__name__ = "_".join([*(step.scalar.name for step in steps), combine.name])
        self.__doc__ = combine.python.__doc__
        self.__signature__ = (
            self._steps.signature
            if self._steps
            else inspect.Signature([inspect.Parameter("values", inspect.Parameter.POSITIONAL_OR_KEYWORD)])
        )
        self._made: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<reduce operator {self.__name__}{self.__signature__}>"

    def __call__(self, *arguments: Any, axis: int | None = None, **named: Any) -> Any:
        bound = self.__signature__.bind(*arguments, **named)
        bound.apply_defaults()
        memory, values = prepared(bound.arguments, None)
        shapes = {tuple(value.shape) for value in values if not is_number(value)}
        if len(shapes) != 1 or axis not in (None, -1):
            told = f"shapes {sorted(map(list, shapes))} and axis {axis!r}"
            raise ValueError(f"{self.__name__}: expected arrays of one shape and axis None or -1, got {told}")
        (shape,) = shapes
        kept = shape[:-1] if axis == -1 and shape else ()
        rows = int(np.prod(kept, dtype=np.int64))
        length = shape[-1] if axis == -1 and shape else int(np.prod(shape, dtype=np.int64))
        flattened = [value if is_number(value) else value.reshape(value.size) for value in values]
        dtype, kernel = self._kernel(memory.on_device, tuple(value.dtype for value in values), values, True)
        while True:
            parts = max(1, -(-length // _PART))
            target = memory.output(None, dtype, (rows * parts,))
            self._run(memory, kernel, target, parts, length, flattened)
            if parts == 1:
                break
            flattened, length = [target], parts
            _, kernel = self._kernel(memory.on_device, (dtype,), [target], False)
        return target.reshape(kept) if kept else target

    @staticmethod
    def _run(memory: Any, kernel: Any, target: Any, parts: int, length: int, values: list[Any]) -> None:
        if memory.on_device:
            memory.launch(kernel, target.size * _WIDTH, target, parts, length, *values)
        elif target.size:
            lanes = lanes_for(target.size * length // parts // 8)
            in_lanes(kernel, lanes, lanes, target, parts, length, *values)

    def _kernel(self, on_device: bool, dtypes: tuple[Any, ...], values: list[Any], first: bool) -> tuple[Any, Any]:
        numbers = tuple(is_number(value) for value in values)
        key = on_device, dtypes, numbers, first
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(on_device, dtypes, numbers, first)
            return self._made[key]  # type: ignore[no-any-return]

    def _make(self, on_device: bool, dtypes: tuple[Any, ...], numbers: tuple[bool, ...], first: bool) -> Any:
        kinds = [numba_type(dtype) for dtype in dtypes]
        names: dict[str, Any] = {}
        steps = self._steps if first else None
        value = dtypes[0]
        if steps:
            value, names = steps.typed(kinds)
        dtype = self._total(numba_type(value)) if first else value
        total = numba_type(dtype)
        back = converter(self.combine.number((total, numba_type(value))), dtype)
        halves = converter(self.combine.number((total, total)), dtype)
        names |= {"combine": self.combine.compiled, "total": total, "initial": dtype.type(self.initial)}
        names |= {"back": back or _same, "halves": halves or _same, "kind": dtype.type}
        arguments = [f"a{k}" for k in range(len(dtypes))]
        at = [name if number else f"{name}[k]" for name, number in zip(arguments, numbers, strict=True)]
        lines = steps.lines(at, names) if steps else [f"value = {at[0]}"]
        made = Made([*(step.scalar for step in self.steps), self.combine], names)
        passed = [str(k) if number else flat(d) for k, d, number in zip(kinds, dtypes, numbers, strict=True)]
        signature = ", ".join([flat(dtype, readonly=False), "int64, int64", *passed])
        if on_device:
            return dtype, made.device(_device(arguments, lines), f"void({signature})", _WIDTH)
        return dtype, made.host(_host(arguments, lines), f"void(int64, int64, {signature})")

    def _total(self, value: Any) -> Any:
        """The dtype of what elements are combined into: the one that was named, or the function's own."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        found = self.combine.number((value, value))
        again = self.combine.number((found, value))
        if isinstance(found, types.Boolean) != isinstance(again, types.Boolean):
            raise TypeError(f"{self.combine.name}: expected one type of result, got {found} and {again}; name a dtype")
        return dtype_of(again)


@numba.njit(nogil=True)
def _same(value):  # type: ignore[no-untyped-def]
    return value


def _host(arguments: list[str], lines: list[str]) -> str:
    """The parts of all rows, shared among lanes."""
    body = "\n".join(f"                {line}" for line in lines)
    return f"""def kernel(lane, lanes, out, parts, length, {", ".join(arguments)}):
    column = np.empty({_WIDTH}, kind)
    for part in range(out.size * lane // lanes, out.size * (lane + 1) // lanes):
        row, begin = part // parts, part % parts * {_PART}
        end = row * length + min(begin + {_PART}, length)
        begin += row * length
        column[:] = initial
        for base in range(begin, end, {_WIDTH}):
            for t in range(min({_WIDTH}, end - base)):
                k = base + t
{body}
                column[t] = back(combine(column[t], value))
        half = {_WIDTH // 2}
        while half:
            for t in range(half):
                column[t] = halves(combine(column[t], column[t + half]))
            half //= 2
        out[part] = column[0]
"""


def _device(arguments: list[str], lines: list[str]) -> str:
    """One block a part."""
    body = "\n".join(f"            {line}" for line in lines)
    return f"""def kernel(out, parts, length, {", ".join(arguments)}):
    column = cuda.shared.array({_WIDTH}, total)
    t = cuda.threadIdx.x
    for part in range(cuda.blockIdx.x, out.size, cuda.gridDim.x):
        row, begin = part // parts, part % parts * {_PART}
        end = row * length + min(begin + {_PART}, length)
        begin += row * length
        column[t] = initial
        for k in range(begin + t, end, {_WIDTH}):
{body}
            column[t] = back(combine(column[t], value))
        cuda.syncthreads()
        half = {_WIDTH // 2}
        while half:
            if t < half:
                column[t] = halves(combine(column[t], column[t + half]))
            cuda.syncthreads()
            half //= 2
        if t == 0:
            out[part] = column[0]
        cuda.syncthreads()
"""


def reduce_of(function: Any, initial: Any, dtype: Any) -> Reduce:
    if initial is None:
        told = "the number that changes nothing, as 0 for a sum"
        raise TypeError(f"{getattr(function, '__name__', function)}: initial: expected {told}, got None")
    return Reduce(Scalar(function), initial, dtype)
