"""A user's own function of numbers: checked, given numba's types, and told apart from others for the cache."""

from __future__ import annotations

import functools
import hashlib
import inspect
import linecache
import re
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaError


class Scalar:
    """A plain function whose arguments and result are numbers; compiled for the types that come."""

    def __init__(self, function: Callable[..., Any]) -> None:
        python = function.py_func if isinstance(function, Dispatcher) else function
        if not inspect.isfunction(python):
            raise TypeError(f"operator: expected a plain function of numbers, got {type(function).__name__}")
        self.python: Any = python
        self.name: str = python.__name__
        self.parameters = list(inspect.signature(python).parameters.values())
        if not self.parameters:
            raise TypeError(f"{self.name}: expected a function of at least one number, got one without parameters")
        for parameter in self.parameters:
            if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                raise TypeError(f"{self.name}: expected parameters that can be given by position, got {parameter}")
        self.compiled = numba.njit(nogil=True, error_model="numpy")(python)

    def result(self, arguments: tuple[Any, ...]) -> Any:
        """The numba type of the result for arguments of these types; ``TypeError`` where numba cannot compile it."""
        if len(arguments) != len(self.parameters):
            raise TypeError(f"{self.name}: expected {len(self.parameters)} arguments, got {len(arguments)}")
        try:
            self.compiled.compile(arguments)
        except NumbaError as error:
            raise TypeError(self._why(error)) from error
        compiled: Any = self.compiled.overloads[arguments]
        return types.unliteral(compiled.signature.return_type)  # type: ignore[no-untyped-call]

    def number(self, arguments: tuple[Any, ...]) -> Any:
        """`result`, which must be a number."""
        found = self.result(arguments)
        if not isinstance(found, (types.Integer, types.Float, types.Boolean)):
            raise TypeError(f"{self.name}: expected a function that returns a number, got one that returns {found}")
        return found

    def _why(self, error: NumbaError) -> str:
        """One sentence: the line of the function that numba stopped at, and what it said."""
        code = self.python.__code__
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        location = getattr(error, "loc", None)
        line = location.line if location is not None and location.filename == code.co_filename else None
        if line is None:
            told = re.search(re.escape(code.co_filename) + r" \((\d+)\)", text)
            line = int(told[1]) if told else code.co_firstlineno
        said = [each.strip() for each in text.splitlines() if each.strip() and not each.startswith("Failed in ")]
        source = linecache.getline(code.co_filename, line).strip()
        return f"{self.name}: line {line} of {code.co_filename} cannot be compiled: `{source}`: {said[0]}"

    @functools.cached_property
    def digest(self) -> str | None:
        """Tells this function from others, and from itself before an edit; None where that cannot be known.

        Nor of a module that cannot be imported (one run by a loader of plug-ins, say): numba imports it to read what
        it kept.
        """
        parts: list[str] = []
        known = self.python.__module__ in sys.modules and _describe(self.python, parts, set())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest() if known else None


def _describe(value: Any, parts: list[str], seen: set[int]) -> bool:
    """Append what a value that compiled code may hold is made of; False for one that is none of these."""
    if isinstance(value, Dispatcher):
        value = value.py_func
    if isinstance(value, FunctionType):
        return id(value) in seen or _describe_function(value, parts, seen | {id(value)})
    if isinstance(value, CodeType):
        parts.append(f"{value.co_code!r} {value.co_names} {value.co_varnames}")
        return all(_describe(each, parts, seen) for each in value.co_consts)
    if isinstance(value, np.ndarray):
        parts.append(f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}")
    elif isinstance(value, (tuple, frozenset)):
        return all(_describe(each, parts, seen) for each in sorted(value, key=repr))
    elif isinstance(value, (int, float, complex, str, bytes, np.generic, type(None), type(Ellipsis))):
        parts.append(f"{type(value).__name__} {value!r}")
    elif isinstance(value, (ModuleType, type, BuiltinFunctionType, np.ufunc)):
        parts.append(f"{getattr(value, '__module__', '')} {value.__name__}")
    else:
        return False
    return True


def _describe_function(function: FunctionType, parts: list[str], seen: set[int]) -> bool:
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    names = set(_names(function.__code__)) & function.__globals__.keys()
    held += [function.__globals__[name] for name in sorted(names)]
    return _describe(function.__code__, parts, seen) and all(_describe(each, parts, seen) for each in held)


def _names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, inner))
