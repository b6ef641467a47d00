"""Which arrays count as device arrays, and what is said of those that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


def test_mixed_memory_is_refused(twin: Any) -> None:
    host = np.zeros((2, 4), np.float32)
    for a, b, named in (
        (host, twin.send(host), "a"),
        (twin.send(host), host, "b"),
        ([[0.0] * 4], twin.send(host), "a"),
    ):
        with pytest.raises(TypeError, match=rf"^{named}: expected a device array, as . is one, got .* in host memory"):
            ops.box_iou(a, b)


REFUSED = [
    (np.zeros((2, 4)), TypeError, "expected a float32 array of shape [N, 4], got float64 device array of shape (2, 4)"),
    (np.zeros((2, 5), np.float32), ValueError, "expected a float32 array of shape [N, 4], got float32 device array"),
    (np.zeros(4, np.float32), ValueError, "got float32 device array of shape (4,)"),
]


@pytest.mark.parametrize(("value", "error", "message"), REFUSED)
def test_says_what_the_cpu_says(twin: Any, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.box_iou(twin.send(value), twin.send(np.zeros((1, 4), np.float32)))
    assert message in str(caught.value)
    with pytest.raises(error) as by_cpu:
        ops.box_iou(value, np.zeros((1, 4), np.float32))
    assert str(caught.value) == str(by_cpu.value).replace(" array of shape (", " device array of shape (")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 4), (3, 4, 10)])
def test_an_output_that_does_not_fit(twin: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    out = twin.send(np.zeros(shape, dtype))
    if shape == (3, 4, 10):
        out = out[:, :, ::2]  # of the right shape, with gaps
    with pytest.raises(ValueError, match="out: expected a writable C-contiguous float32 array of shape"):
        ops.letterbox(twin.send(np.zeros((2, 2, 3), np.uint8)), (4, 5), out=out)


def test_an_array_that_is_not_contiguous_is_copied_on_the_device(twin: Any) -> None:
    a = twin.send(np.arange(48, dtype=np.float32).reshape(6, 8))
    twin.moved.clear()
    answer = ops.box_iou(a[::2, 4:], a[::2, 4:])
    assert not twin.moved
    part = np.arange(48, dtype=np.float32).reshape(6, 8)[::2, 4:]
    np.testing.assert_array_equal(twin.fetch(answer), ops.box_iou(part, part))
