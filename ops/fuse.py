"""Join elementwise operators into one that passes over its arrays once."""

from __future__ import annotations

from typing import Any

from ops._elementwise import Elementwise
from ops._reduce import Reduce


def fuse(*operators: Any) -> Any:
    """Return the operator that runs these one after the other, without storing what lies between.

    Args:
        operators: made by ``@ops.operator("elementwise")`` (or by this function); the last may be a "reduce". The first
            takes its arguments, each later one the result before it and its other arguments.

    Returns:
        An operator whose arguments are those of the first, then those of the second but its first one, and so on. Where
        two have the same name, the later is called ``function_name``.

    The answer is that of the operators one by one, to the bit: each step's ``dtype`` is kept. Takes device arrays too.
    """
    if not operators:
        raise ValueError("fuse: expected at least one operator, got none")
    *first, last = operators
    for each in first if isinstance(last, Reduce) else operators:
        if not isinstance(each, Elementwise):
            raise TypeError(f"fuse: expected elementwise operators, and a reduce at most as the last, got {each!r}")
    steps = tuple(step for each in first for step in each.steps)
    if isinstance(last, Reduce):
        return Reduce(last.combine, last.initial, last.dtype, (*steps, *last.steps))
    return Elementwise((*steps, *last.steps))
