"""Operators whose every element is a function of the same element of their arguments."""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import numpy as np

from ops._device import Memory, memory_of
from ops._generated import Made, any_array, flat, is_number, numba_type, strong, weak_float
from ops._lanes import in_lanes, lanes_for
from ops._steps import Step, Steps

# An innermost axis as short as a picture's channels is written out, as a loop of 3 costs more than what it runs.
_WRITTEN_OUT = 4


class Layout(NamedTuple):
    """How arguments of one broadcast shape are walked: the axes that are left when those of one kind are joined."""

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    held: tuple[tuple[bool, ...] | None, ...]  # for each argument the axes that it has; None for a number


def layout_of(arguments: list[Any]) -> Layout:
    shapes = [None if is_number(value) else tuple(value.shape) for value in arguments]
    try:
        shape = np.broadcast_shapes(*(each for each in shapes if each is not None))
    except ValueError:
        told = ", ".join(str(list(each)) for each in shapes if each is not None)
        raise ValueError(f"expected arrays that broadcast to one shape, got shapes {told}") from None
    full = [None if each is None else (1,) * (len(shape) - len(each)) + each for each in shapes]
    sizes: list[int] = []
    kinds: list[tuple[bool, ...]] = []
    for axis, size in enumerate(shape):
        kind = tuple(each is not None and each[axis] != 1 for each in full)
        if size == 1:
            continue
        if kinds and kinds[-1] == kind:
            sizes[-1] *= size
        else:
            sizes, kinds = [*sizes, size], [*kinds, kind]
    sizes, kinds = sizes or [1], kinds or [(False,) * len(full)]
    held = (None if each is None else tuple(kind[k] for kind in kinds) for k, each in enumerate(full))
    return Layout(shape, tuple(sizes), tuple(held))


class Elementwise:
    """What ``@ops.operator("elementwise")`` makes of a function. Call it with arrays and numbers."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = Steps(steps)
        self.steps = steps
        self.__name__ = "_".join(step.scalar.name for step in steps)
        self.__doc__ = steps[0].scalar.python.__doc__
        self.__signature__ = self._steps.signature
        self._made: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<elementwise operator {self.__name__}{self.__signature__}>"

    def __call__(self, *arguments: Any, out: Any = None, **named: Any) -> Any:
        bound = self.__signature__.bind(*arguments, **named)
        bound.apply_defaults()
        memory, values = prepared(bound.arguments, out)
        layout = layout_of(values)
        made = self._kernel(memory.on_device, values, layout)
        target = memory.output(out, made.dtype, layout.shape)
        flattened = [value if is_number(value) else value.reshape(value.size) for value in values]
        made.run(memory, target.reshape(math.prod(layout.shape)), layout.sizes, flattened)
        return target

    def _kernel(self, on_device: bool, values: list[Any], layout: Layout) -> _Kernel:
        written_out = layout.sizes[-1] if len(layout.sizes) > 1 and layout.sizes[-1] <= _WRITTEN_OUT else 0
        axes = len(layout.sizes) - (written_out > 0)
        split = max(range(axes), key=lambda axis: layout.sizes[axis])
        key = on_device, tuple(value.dtype for value in values), layout.held, written_out, split
        with self._lock:
            if key not in self._made:
                kinds = [numba_type(value.dtype) for value in values]
                dtype, names = self._steps.typed(kinds)
                made = Made([step.scalar for step in self.steps], names)
                text = _Text(self._steps, layout.held, names, written_out, split)
                passed = [
                    str(kind) if held is None else flat(value.dtype)
                    for kind, held, value in zip(kinds, layout.held, values, strict=True)
                ]
                types = ", ".join([flat(dtype, readonly=False), f"UniTuple(int64, {len(layout.sizes)})", *passed])
                kernel = (
                    made.device(text.device(), f"void({types})")
                    if on_device
                    else made.host(text.host(), f"void(int64, int64, {types})")
                )
                self._made[key] = _Kernel(dtype, kernel)
            return self._made[key]  # type: ignore[no-any-return]


def prepared(arguments: dict[str, Any], out: Any) -> tuple[Memory, list[Any]]:
    """The memory of a call, and its arguments as arrays and as numbers of NumPy's types.

    Lists are numbers, too: a few of them, for each channel.
    """
    given = {name: value for name, value in arguments.items() if not is_number(value) and not _is_list(value)}
    memory = memory_of(**given, out=out)
    arrays = {name: any_array(memory, value, name) for name, value in given.items()}
    weak = weak_float(list(arrays.values()))
    values: list[Any] = []
    for name, value in arguments.items():
        if name in arrays:
            values.append(arrays[name])
        elif is_number(value):
            values.append(strong(value, weak))
        else:
            row = np.asarray(value)
            row = any_array(memory_of(), row.astype(weak) if row.dtype == np.float64 else row, name)
            values.append(memory.table(row, row.dtype) if memory.on_device else row)
    return memory, values


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


class _Kernel(NamedTuple):
    dtype: Any
    kernel: Any

    def run(self, memory: Memory, out: Any, sizes: tuple[int, ...], values: list[Any]) -> None:
        if memory.on_device:
            memory.launch(self.kernel, out.size, out, sizes, *values)
        elif out.size:
            lanes = lanes_for(out.size // 8)
            in_lanes(self.kernel, lanes, lanes, out, sizes, *values)


class _Text:
    """The kernels' text for arguments of one layout."""

    def __init__(self, steps: Steps, held: Any, names: dict[str, Any], written_out: int, split: int) -> None:
        self.steps, self.held, self.names, self.written_out, self.split = steps, held, names, written_out, split
        self.axes = len(next((each for each in held if each is not None), (True,)))
        self.arguments = [f"a{k}" for k in range(len(held))]

    def host(self) -> str:
        """Loops over all axes, one of them shared among lanes. The innermost runs over slices, which vectorises."""
        loops = self.axes - (self.written_out > 0)
        text = [f"def kernel(lane, lanes, out, sizes, {', '.join(self.arguments)}):"]
        for axis in range(loops):
            begin, end = "0", f"sizes[{axis}]"
            if axis == self.split:
                begin, end = f"{end} * lane // lanes", f"{end} * (lane + 1) // lanes"
            if axis < loops - 1:
                text.append("    " * (axis + 1) + f"for i{axis} in range({begin}, {end}):")
            else:
                text.append("    " * (axis + 1) + f"begin, end = {begin}, {end}")
        indent = "    " * loops
        text += [indent + line for line in self._slices(loops)]
        text.append(indent + "for x in range(end - begin):")
        for channel in range(max(self.written_out, 1)):
            text += [f"{indent}    {line}" for line in self._element(loops, channel)]
        return "\n".join(text)

    def _slices(self, loops: int) -> list[str]:
        """What the innermost loop reads and writes: parts of the arrays, and what stays the same in it."""
        text = [f"w = {self._slice('out', (True,) * self.axes, loops)}"]
        for name, held in zip(self.arguments, self.held, strict=True):
            if held is None:
                continue
            if held[loops - 1]:
                text.append(f"v{name} = {self._slice(name, held, loops)}")
                continue
            for channel in range(self.written_out if self._by_channel(held) else 1):
                at = self._offset(held, [f"i{k}" for k in range(loops - 1)], channel)
                text.append(f"v{name}_{channel} = {name}[{at}]")
        return text

    def _by_channel(self, held: tuple[bool, ...]) -> bool:
        return self.written_out > 0 and held[-1]

    def _slice(self, name: str, held: tuple[bool, ...], loops: int) -> str:
        outer = [f"i{k}" for k in range(loops - 1)]
        begin, end = (self._offset(held, [*outer, edge], 0) for edge in ("begin", "end"))
        return f"{name}[{begin}:{end}]"

    def _offset(self, held: tuple[bool, ...], indices: list[str], channel: int) -> str:
        """The place of an element in an array that has some of the axes."""
        offset = "0"
        for axis in range(self.axes):
            if not held[axis]:
                continue
            last = self.written_out and axis == self.axes - 1
            index = str(channel) if last else (indices[axis] if axis < len(indices) else "0")
            offset = index if offset == "0" else f"({offset}) * sizes[{axis}] + {index}"
        if self.written_out:  # a size that is known is better for the compiler
            offset = offset.replace(f"sizes[{self.axes - 1}]", str(self.written_out))
        return offset

    def _element(self, loops: int, channel: int) -> list[str]:
        def at(held: tuple[bool, ...]) -> str:
            return f"x * {self.written_out} + {channel}" if self._by_channel(held) else "x"

        values = []
        for name, held in zip(self.arguments, self.held, strict=True):
            if held is None:
                values.append(name)
            elif held[loops - 1]:
                values.append(f"v{name}[{at(held)}]")
            else:
                values.append(f"v{name}_{channel if self._by_channel(held) else 0}")
        return [*self.steps.lines(values, self.names), f"w[{at((True,) * self.axes)}] = value"]

    def device(self) -> str:
        """One thread an element."""
        text = [f"def kernel(out, sizes, {', '.join(self.arguments)}):"]
        text.append("    for index in range(cuda.grid(1), out.size, cuda.gridsize(1)):")
        body = ["rest = index"]
        for axis in reversed(range(self.axes)):
            body += [f"i{axis} = rest % sizes[{axis}]", f"rest = rest // sizes[{axis}]"]
        indices = [f"i{axis}" for axis in range(self.axes)]
        values = [
            name if held is None else f"{name}[{self._device_offset(held, indices)}]"
            for name, held in zip(self.arguments, self.held, strict=True)
        ]
        body += [*self.steps.lines(values, self.names), "out[index] = value"]
        return "\n".join([*text, *(f"        {line}" for line in body)])

    def _device_offset(self, held: tuple[bool, ...], indices: list[str]) -> str:
        if all(held):
            return "index"
        offset = "0"
        for axis, index in enumerate(indices):
            if held[axis]:
                offset = index if offset == "0" else f"({offset}) * sizes[{axis}] + {index}"
        return offset
