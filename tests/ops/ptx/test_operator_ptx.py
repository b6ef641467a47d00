"""A user's own operators as PTX."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ops
from ops._elementwise import layout_of

CAPABILITIES = [(7, 5), (9, 0)]


@pytest.fixture(params=CAPABILITIES, ids=["7.5", "9.0"])
def capability(request: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    there = SimpleNamespace(compute_capability=request.param)
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: there)
    return request.param  # type: ignore[no-any-return]


def holds(kernel: Any, capability: tuple[int, int]) -> None:
    text = kernel.ptx(capability)
    assert f".target sm_{capability[0]}{capability[1]}" in text
    assert ".entry" in text


def test_elementwise(capability: tuple[int, int]) -> None:
    own = ops.operator(dtype=np.uint8)(lambda x, gain: x**gain)
    values = [np.zeros((4, 5, 3), np.uint8), np.zeros((5, 1), np.float32)]
    holds(own._kernel(True, values, layout_of(values)).kernel, capability)


def test_gather(capability: tuple[int, int]) -> None:
    own = ops.operator("gather")(lambda y, x, k: (y * k, x))
    holds(own._kernel(True, np.zeros((4, 5, 3), np.uint8), [np.float32(2)], 2)[1], capability)


def test_reduce(capability: tuple[int, int]) -> None:
    own = ops.fuse(ops.operator()(lambda x: x * x), ops.operator("reduce", initial=0)(lambda a, b: a + b))
    values = [np.zeros(5, np.float32)]
    holds(own._kernel(True, (np.dtype(np.float32),), values, True)[1], capability)
