"""Operators whose elements are looked up in an array, at a place that a function computes."""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import numpy as np
from numba.core import types

from ops._device import memory_of
from ops._generated import Made, any_array, converter, flat, is_number, numba_type, strong, weak_float
from ops._lanes import in_lanes, lanes_for
from ops._scalar import Scalar

_MOST_AXES = 3


class Gather:
    """What ``@ops.operator("gather")`` makes of a function from a place to a place. Call it with an array."""

    def __init__(self, function: Scalar) -> None:
        self.scalar = function
        self.__name__ = function.name
        self.__doc__ = function.python.__doc__
        self._made: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<gather operator {self.__name__}>"

    def __call__(
        self, source: Any, *numbers: Any, shape: tuple[int, ...] | None = None, fill: Any = 0, out: Any = None
    ) -> Any:
        memory = memory_of(source=source, out=out)
        array = any_array(memory, source, "source")
        for k, number in enumerate((fill, *numbers)):
            if not is_number(number):
                name = f"number {k}" if k else "fill"
                raise TypeError(f"{self.__name__}: {name}: expected a number, got {type(number).__name__}")
        axes = len(self.scalar.parameters) - len(numbers)
        if not 1 <= axes <= _MOST_AXES:
            raise TypeError(
                f"{self.__name__}: expected {len(self.scalar.parameters) - _MOST_AXES} to"
                f" {len(self.scalar.parameters) - 1} numbers beside the 1 to {_MOST_AXES} coordinates of a place, got"
                f" {len(numbers)}"
            )
        given = [strong(number, weak_float([array])) for number in numbers]
        inputs, kernel = self._kernel(memory.on_device, array, given, axes)
        sizes = tuple(map(int, array.shape[:inputs] if shape is None else shape))
        if len(sizes) != axes or min(sizes) < 0:
            raise ValueError(f"{self.__name__}: shape: expected {axes} sizes, got {sizes}")
        channels = math.prod(array.shape[inputs:])
        target = memory.output(out, array.dtype, (*sizes, *array.shape[inputs:]))
        filler = array.dtype.type(fill)
        if memory.shared(array, target):
            raise ValueError("out: expected memory of its own, got one that shares memory with the source")
        flattened = target.reshape(target.size), array.reshape(array.size)
        settings = sizes, tuple(array.shape[:inputs]), channels, filler, *given
        if memory.on_device:
            memory.launch(kernel, math.prod(sizes), *flattened, *settings)
        elif target.size:
            lanes = lanes_for(target.size // 8)
            in_lanes(kernel, lanes, lanes, *flattened, *settings)
        return target

    def _kernel(self, on_device: bool, array: Any, numbers: list[Any], axes: int) -> tuple[int, Any]:
        key = on_device, array.dtype, tuple(number.dtype for number in numbers)
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(on_device, array.dtype, [numba_type(n.dtype) for n in numbers], axes)
            inputs, kernel = self._made[key]
        if len(array.shape) < inputs:
            told = f"at least {inputs} axes, as the function returns {inputs} numbers"
            raise ValueError(f"source: expected {told}, got shape {tuple(array.shape)}")
        return inputs, kernel

    def _make(self, on_device: bool, dtype: Any, kinds: list[Any], axes: int) -> tuple[int, Any]:
        found: Any = self.scalar.result((*[types.int64] * axes, *kinds))
        is_tuple = isinstance(found, types.BaseTuple)
        places: tuple[Any, ...] = tuple(found) if is_tuple else (found,)
        if not all(isinstance(each, (types.Integer, types.Float)) for each in places) or len(places) > _MOST_AXES:
            told = f"a function that returns 1 to {_MOST_AXES} numbers, the place to look at"
            raise TypeError(f"{self.__name__}: expected {told}, got one that returns {found}")
        blended = weak_float([np.empty(0, dtype)])
        store = converter(numba_type(blended), dtype) if any(isinstance(p, types.Float) for p in places) else None
        names = {"function": self.scalar.compiled, "blend": blended}
        names |= {"store": store} if store is not None else {}
        text = _Text(places, axes, len(kinds), is_tuple, store is not None)
        made = Made([self.scalar], names)
        sizes = f"UniTuple(int64, {axes}), UniTuple(int64, {len(places)}), int64"
        passed = [flat(dtype, readonly=False), flat(dtype), sizes, str(numba_type(dtype)), *map(str, kinds)]
        if on_device:
            return len(places), made.device(text.device(), f"void({', '.join(passed)})")
        return len(places), made.host(text.host(), f"void(int64, int64, {', '.join(passed)})")


class _Text:
    """The kernels' text for places of these types."""

    def __init__(self, places: tuple[Any, ...], axes: int, numbers: int, is_tuple: bool, stored: bool) -> None:
        self.floats = [isinstance(place, types.Float) for place in places]
        self.axes, self.is_tuple, self.stored = axes, is_tuple, stored
        self.numbers = [f"g{k}" for k in range(numbers)]

    def host(self) -> str:
        text = [f"def kernel({', '.join(['lane, lanes, out, source, sizes, inputs, channels, fill', *self.numbers])}):"]
        for axis in range(self.axes):
            bounds = f"0, sizes[{axis}]" if axis else "sizes[0] * lane // lanes, sizes[0] * (lane + 1) // lanes"
            text.append("    " * (axis + 1) + f"for i{axis} in range({bounds}):")
        indent = "    " * (self.axes + 1)
        index = "i0"
        for axis in range(1, self.axes):
            index = f"({index}) * sizes[{axis}] + i{axis}"
        return "\n".join([*text, *(indent + line for line in [f"index = {index}", *self._element()])])

    def device(self) -> str:
        text = [f"def kernel({', '.join(['out, source, sizes, inputs, channels, fill', *self.numbers])}):"]
        text.append("    for index in range(cuda.grid(1), out.size // channels, cuda.gridsize(1)):")
        body = ["rest = index"]
        for axis in reversed(range(self.axes)):
            body += [f"i{axis} = rest % sizes[{axis}]", f"rest = rest // sizes[{axis}]"]
        return "\n".join([*text, *(f"        {line}" for line in [*body, *self._element()])])

    def _element(self) -> list[str]:
        places = ", ".join(f"p{k}" for k in range(len(self.floats))) + ("," if self.is_tuple else "")
        call = ", ".join([*(f"i{axis}" for axis in range(self.axes)), *self.numbers])
        inside = " and ".join(
            f"p{k} >= -0.5 and p{k} <= inputs[{k}] - 0.5" if fractional else f"p{k} >= 0 and p{k} < inputs[{k}]"
            for k, fractional in enumerate(self.floats)
        )
        found = self._blended() if any(self.floats) else [f"value = source[({self._place('near')}) * channels + c]"]
        return [
            f"{places} = function({call})",
            f"if {inside}:",
            *(f"    {line}" for k in range(len(self.floats)) for line in self._neighbours(k)),
            "    for c in range(channels):",
            *(f"        {line}" for line in found),
            "        out[index * channels + c] = value",
            "else:",
            "    for c in range(channels):",
            "        out[index * channels + c] = fill",
        ]

    def _neighbours(self, k: int) -> list[str]:
        if not self.floats[k]:
            return [f"near{k} = int(p{k})"]
        return [
            f"q{k} = min(max(p{k}, 0.0), inputs[{k}] - 1.0)",
            f"near{k} = int(q{k})",
            f"far{k} = min(near{k} + 1, inputs[{k}] - 1)",
            f"weight{k} = blend(q{k} - near{k})",
        ]

    def _place(self, *which: str) -> str:
        """The index of a neighbour; ``which`` one along each axis, or one for all."""
        names = which if len(which) == len(self.floats) else which * len(self.floats)
        place = f"{names[0]}0"
        for k in range(1, len(self.floats)):
            place = f"({place}) * inputs[{k}] + {names[k]}{k}"
        return place

    def _blended(self) -> list[str]:
        """Linear between the neighbours along the axes whose places are fractions, the last axis first."""
        options = [("near", "far") if fractional else ("near",) for fractional in self.floats]
        values = {
            which: f"blend(source[({self._place(*which)}) * channels + c])" for which in itertools.product(*options)
        }
        text, step = [], 0
        for k in reversed(range(len(self.floats))):
            if not self.floats[k]:
                continue
            joined = {}
            for which in [each for each in values if each[k] == "near"]:
                far = (*which[:k], "far", *which[k + 1 :])
                text += [f"b{step} = {values[which]}", f"b{step} = b{step} + weight{k} * ({values[far]} - b{step})"]
                joined[which], step = f"b{step}", step + 1
            values = joined
        (value,) = values.values()
        return [*text, f"value = store({value})" if self.stored else f"value = {value}"]
