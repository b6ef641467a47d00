"""Functions of numbers run one after the other on the same element: what an operator, or several fused, is made of."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import numpy as np

from ops._generated import converter, dtype_of, numba_type
from ops._scalar import Scalar


class Step(NamedTuple):
    """One function, and the dtype that its result is brought to; None for the one that it has."""

    scalar: Scalar
    dtype: Any


class Steps:
    """The first function takes its arguments, each later one the result before it and what else it has."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.steps = steps
        self.counts = [len(step.scalar.parameters) - (k > 0) for k, step in enumerate(steps)]
        self.signature = inspect.Signature(self._parameters())

    def _parameters(self) -> list[inspect.Parameter]:
        """Those of all functions; where two have one name, the later one's is ``function_name``."""
        found: dict[str, inspect.Parameter] = {}
        for k, step in enumerate(self.steps):
            for parameter in step.scalar.parameters[k > 0 :]:
                name = parameter.name
                while name in found:
                    name = f"{step.scalar.name}_{name}"
                kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
                found[name] = inspect.Parameter(name, kind, default=parameter.default)
        seen_default = False
        for parameter in found.values():
            # An argument without default cannot come after one with: those before it have to be given, too.
            seen_default = seen_default or parameter.default is not parameter.empty
            if seen_default and parameter.default is parameter.empty:
                return [each.replace(default=inspect.Parameter.empty) for each in found.values()]
        return list(found.values())

    def typed(self, kinds: list[Any]) -> tuple[Any, dict[str, Any]]:
        """The dtype of the last result for arguments of these numba types, and the names that `lines` calls."""
        names: dict[str, Any] = {}
        taken, current = 0, None
        for k, (step, count) in enumerate(zip(self.steps, self.counts, strict=True)):
            arguments = tuple(kinds[taken : taken + count])
            found = step.scalar.number((current, *arguments) if k else arguments)
            taken += count
            names[f"function{k}"] = step.scalar.compiled
            dtype = dtype_of(found) if step.dtype is None else np.dtype(step.dtype)
            convert = converter(found, dtype)
            if convert is not None:
                names[f"convert{k}"] = convert
            current = numba_type(dtype)
        return dtype_of(current), names

    def lines(self, values: list[str], names: dict[str, Any]) -> list[str]:
        """Python's text that makes ``value`` of the arguments."""
        text: list[str] = []
        taken = 0
        for k, count in enumerate(self.counts):
            arguments = [*(["value"] if k else []), *values[taken : taken + count]]
            taken += count
            text.append(f"value = function{k}({', '.join(arguments)})")
            if f"convert{k}" in names:
                text.append(f"value = convert{k}(value)")
        return text
