"""Argument checks: every message names the argument, what was expected and what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ops._check import describe, host_array, output_array, same_length, unit_interval


class OnDevice:
    __cuda_array_interface__: dict[str, Any] = {}  # noqa: RUF012


class Lazy:
    """What has no array type of its own but offers ``__array__``, as other libraries' arrays do."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.ones((2, 4), np.float32)


REFUSED = [
    (np.zeros((3, 4)), TypeError, "boxes: expected a float32 array of shape [N, 4], got float64 array of shape (3, 4)"),
    ([[1, 2, 3, 4]], TypeError, "boxes: expected a float32 array of shape [N, 4], got int64 array of shape (1, 4)"),
    (np.zeros((3, 4), ">f4"), TypeError, "got >f4 array of shape (3, 4)"),  # the other byte order
    (np.zeros((3, 5), np.float32), ValueError, "expected a float32 array of shape [N, 4], got float32 array of shape"),
    (np.zeros(4, np.float32), ValueError, "got float32 array of shape (4,)"),
    (np.zeros((1, 3, 4), np.float32), ValueError, "got float32 array of shape (1, 3, 4)"),
    (np.float32(3), ValueError, "got float32 array of shape ()"),
    ("boxes", TypeError, "got <U5 array of shape ()"),
    (None, TypeError, "got object array of shape ()"),
    (OnDevice(), TypeError, "in host memory, got a device array; copy it to the host first"),
]


@pytest.mark.parametrize(("value", "error", "message"), REFUSED)
def test_host_array_refuses(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        host_array(value, "boxes", np.float32, ("N", 4))
    assert message in str(caught.value)
    assert str(caught.value).startswith("boxes: expected")


def test_host_array_copies_only_what_is_not_contiguous() -> None:
    plain = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.shares_memory(host_array(plain, "x", np.float32, ("N", 4)), plain)
    for view in (plain[:, ::-1], plain[::2], np.asfortranarray(plain)):
        result = host_array(view, "x", np.float32, ("N", 4))
        assert result.flags.c_contiguous
        np.testing.assert_array_equal(result, view)


@pytest.mark.parametrize("value", [np.zeros((0, 4), np.float32), Lazy(), np.zeros((2, 4), np.float32).view(np.memmap)])
def test_host_array_takes_empty_and_array_like(value: Any) -> None:
    assert type(host_array(value, "x", np.float32, ("N", 4))) is np.ndarray


def test_same_length_names_all() -> None:
    same_length(boxes=np.zeros((2, 4)), scores=np.zeros(2))
    with pytest.raises(ValueError, match="expected equal lengths, got boxes 2, scores 3"):
        same_length(boxes=np.zeros((2, 4)), scores=np.zeros(3))


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25)])
def test_unit_interval_takes(value: float) -> None:
    assert unit_interval(value, "x") == value


@pytest.mark.parametrize("value", [-1e-9, 1.0000001, float("nan"), float("inf"), 60])
def test_unit_interval_refuses(value: float) -> None:
    with pytest.raises(ValueError, match=r"iou_threshold: expected a number from 0 to 1, got "):
        unit_interval(value, "iou_threshold")


def _read_only() -> Any:
    array = np.zeros((2, 3), np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("out", "error"),
    [
        ([[0.0] * 3] * 2, TypeError),
        (np.zeros((2, 3)), ValueError),
        (np.zeros((3, 2), np.float32), ValueError),
        (np.zeros((3, 2), np.float32).T, ValueError),
        (_read_only(), ValueError),
    ],
)
def test_output_array_refuses(out: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        output_array(out, np.float32, (2, 3), "canvas")
    assert "canvas: expected a writable C-contiguous float32 array of shape (2, 3), got " in str(caught.value)


def test_output_array_gives_back_what_it_was_given() -> None:
    out = np.zeros((2, 3), np.float32)
    assert output_array(out, np.float32, (2, 3)) is out
    assert output_array(None, np.float32, (2, 3)).shape == (2, 3)


def test_describe_cuts_what_is_long() -> None:
    assert describe(np.zeros((2, 3), np.uint8)) == "uint8 array of shape (2, 3)"
    assert len(describe("x" * 1000)) == 120
