"""A user's own operators beside the same in NumPy."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

import ops

ROOT = Path(ops.__file__).parents[1]


@ops.operator("elementwise")
def affine(x, gain, offset=0.0):  # type: ignore[no-untyped-def]
    """Scale and move."""
    return x * gain + offset


@ops.operator("elementwise", dtype=np.uint8)
def as_byte(x):  # type: ignore[no-untyped-def]
    return x


@ops.operator("reduce", initial=0)
def total(a, b):  # type: ignore[no-untyped-def]
    return a + b


@ops.operator("reduce", initial=-np.inf)
def largest(a, b):  # type: ignore[no-untyped-def]
    return a if a > b else b


@ops.operator("gather")
def moved(y, x, down, right):  # type: ignore[no-untyped-def]
    return y + down, x + right


@ops.operator("gather")
def mirrored(i, count):  # type: ignore[no-untyped-def]
    return count - 1 - i


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


SHAPES = [
    ((4, 5, 6), (4, 5, 6)), ((4, 5, 6), (4, 1, 6)), ((4, 5, 6), (6,)), ((4, 5, 3), (4, 5, 1)), ((3, 5, 6), (3, 1, 1)),
    ((2, 3, 4, 5), (2, 1, 4, 1)), ((1,), (1,)), ((), ()), ((), (3,)), ((0, 3), (3,)), ((5, 1), (1, 6)),
    ((4, 1, 3), (1, 7, 3)), ((3,), (3,)), ((7, 2), (2,)), ((2, 1, 1), (1, 1, 4)), ((1, 1, 1), (1,)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_elementwise_broadcasts(a: Any, b: Any) -> None:
    x, gain = normal(*a), normal(*b)
    found, expected = affine(x, gain, 0.5), x * gain + np.float32(0.5)
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=5, max_side=5, min_side=0))
def test_any_shapes(shapes: Any) -> None:
    arrays = [normal(*shape) for shape in shapes.input_shapes]
    found = affine(*arrays)
    assert found.shape == shapes.result_shape
    np.testing.assert_allclose(found, arrays[0] * arrays[1] + arrays[2], rtol=1e-5, atol=1e-6)


# arguments, the dtype that comes
TYPES = [
    ((np.ones(3, np.uint8), 2), np.int64),
    ((np.ones(3, np.uint8), 2.5), np.float32),
    ((np.ones(3, np.float32), 2.5), np.float32),
    ((np.ones(3, np.float64), 2.5), np.float64),
    ((np.ones(3, np.int32), 2.5), np.float64),
    ((np.ones(3, np.float32), np.float64(2.5)), np.float64),
    ((np.ones((2, 3), np.uint8), [1.0, 2.0, 3.0]), np.float32),
    ((np.ones(3, np.bool_), 2.5), np.float32),
]


@pytest.mark.parametrize(("arguments", "dtype"), TYPES)
def test_types_are_inferred(arguments: Any, dtype: Any) -> None:
    assert affine(*arguments, arguments[0]).dtype == dtype
    np.testing.assert_array_equal(affine(*arguments), arguments[0] * np.asarray(arguments[1]))


@pytest.mark.parametrize(
    ("given", "byte"),
    [(-3, 0), (0.4, 0), (0.5, 1), (1.5, 2), (254.6, 255), (300, 255), (1e30, 255), (-1e30, 0), (np.nan, 0),
     (np.inf, 255), (-np.inf, 0)],
)  # fmt: skip
def test_floats_become_bytes(given: float, byte: int) -> None:
    assert as_byte(np.array([given])).tolist() == [byte]
    assert as_byte(np.array([given], np.float32)).tolist() == [byte]


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "int8", "bool"])
def test_other_whole_numbers(dtype: str) -> None:
    convert = ops.operator(dtype=dtype)(lambda x: x)
    values = np.array([-1e30, -129.0, -1.0, 0.0, 3.0, 200.0, 1e17, 1e30])
    bounds = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for value, found in zip(values, convert(values).tolist(), strict=True):
        wanted = bool(value) if dtype == "bool" else min(max(int(value), bounds[0]), bounds[1])
        assert found == wanted or abs(found - wanted) <= 2048 < wanted  # below 2**63, in float64's steps
    assert convert(np.array([300, -300])).dtype == dtype


def test_division_by_zero_is_infinite() -> None:
    inverse = ops.operator()(lambda x: 1 / x)
    assert inverse(np.zeros(2, np.float32)).tolist() == [np.inf, np.inf]


def test_writes_into_out_and_in_place() -> None:
    x = normal(5, 4)
    expected, out = affine(x, 2.0), np.empty((5, 4), np.float32)
    assert affine(x, 2.0, out=out) is out
    np.testing.assert_array_equal(out, expected)
    affine(x, 2.0, out=x)
    np.testing.assert_array_equal(x, expected)


def test_reads_any_layout_and_keywords() -> None:
    x = normal(6, 8)
    fixed = np.frombuffer(x.tobytes(), np.float32).reshape(x.shape)
    np.testing.assert_array_equal(affine(offset=1.0, gain=3.0, x=fixed), affine(x, 3.0, 1.0))
    np.testing.assert_array_equal(affine(x[::2, ::-1], 3.0), affine(x[::2, ::-1].copy(), 3.0))
    np.testing.assert_array_equal(affine(x.T, 3.0), affine(x, 3.0).T)


@pytest.mark.parametrize("length", [0, 1, 2, 127, 128, 129, 8191, 8192, 8193, 100_001])
def test_reduce(length: int) -> None:
    x = normal(3, length)
    np.testing.assert_allclose(total(x, axis=-1), x.sum(1, dtype=np.float64), atol=1e-3)
    assert total(x).shape == (1,)
    assert total(x)[0] == pytest.approx(x.sum(dtype=np.float64), abs=2e-3)
    np.testing.assert_array_equal(largest(x, axis=-1), x.max(1, initial=-np.inf))


def test_reduce_takes_any_axes_but_the_last() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 5), np.uint8)
    found = total(x, axis=-1)
    assert found.tolist() == x.sum(2).tolist()  # not 8 bits wide
    assert total(x.transpose(2, 0, 1), axis=-1).tolist() == x.transpose(2, 0, 1).sum(2).tolist()
    assert ops.operator("reduce", initial=0, dtype=np.uint8)(lambda a, b: a + b)(x)[0] == 255  # limited at each step


@pytest.mark.parametrize("fill", [0, 7])
def test_gather_whole_numbers(fill: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    expected = np.full_like(picture, fill)
    expected[:-3, 2:] = picture[3:, :-2]
    np.testing.assert_array_equal(moved(picture, 3, -2, fill=fill), expected)
    np.testing.assert_array_equal(moved(picture[..., 0], 3, -2, fill=fill), expected[..., 0])
    assert mirrored(np.arange(10).reshape(5, 2), 5).tolist() == [[8, 9], [6, 7], [4, 5], [2, 3], [0, 1]]


def test_gather_fractions() -> None:
    x = normal(9, 8)
    rows = 0.75 * x[:-1] + 0.25 * x[1:]
    found = moved(x, 0.25, 0.5, fill=-9)
    np.testing.assert_allclose(found[:-1, :-1], (rows[:, :-1] + rows[:, 1:]) / 2, atol=1e-6)
    np.testing.assert_allclose(found[-1, :-1], (x[-1, :-1] + x[-1, 1:]) / 2, atol=1e-6)  # up to half beside: the border
    np.testing.assert_allclose(found[:-1, -1], rows[:, -1], atol=1e-6)
    assert (moved(x, 0.25, 0.51, fill=-9)[:, -1] == -9).all()
    assert (moved(x, np.nan, 0.0, fill=-9) == -9).all()
    assert (moved(x, 1e300, 0.0, fill=-9) == -9).all()


def test_gather_rounds_to_the_dtype_of_its_source() -> None:
    found = moved(np.array([[10, 13], [255, 255]], np.uint8), 0.0, 0.5)
    assert (found.dtype, found.tolist()) == (np.uint8, [[12, 13], [255, 255]])


def test_gather_other_shapes_and_axes() -> None:
    diagonal = ops.operator("gather")(lambda i: (i, i))
    assert diagonal(np.arange(9).reshape(3, 3), shape=(5,), fill=-1).tolist() == [0, 4, 8, -1, -1]
    plane = ops.operator("gather")(lambda z, y, x: (x, z + 0.5, y))
    volume = normal(4, 5, 6)
    found = plane(volume, shape=(4, 6, 4))
    np.testing.assert_allclose(found, ((volume[:, :-1] + volume[:, 1:]) / 2).transpose(1, 2, 0), atol=1e-6)
    assert mirrored(np.empty((0, 3)), 0).shape == (0, 3)


def test_constants_and_helpers_of_the_function() -> None:
    table, factor = np.array([3.0, 4.0]), 10
    helper = numba.njit(lambda x: math.sqrt(x) + factor)
    own = ops.operator()(lambda x, k: helper(x) * table[k])
    assert own(np.array([4.0, 9.0]), np.array([0, 1])).tolist() == [36.0, 52.0]


WORK = """
import numba, numpy as np, ops
add = ops.operator("reduce", initial=0.0)(lambda a, b: a + b)
wave = ops.operator("elementwise")(lambda x, k: np.sin(x) * k)
turn = ops.operator("gather")(lambda y, x: (x + 0.25, y - 0.5))
x = np.random.default_rng(0).normal(size=(1001, 1003)).astype(np.float32)
def work():
    return b"".join(np.ascontiguousarray(each).tobytes() for each in (add(x), add(x, axis=-1), wave(x, 0.3), turn(x)))
assert numba.get_num_threads() == 2 and ops._kernel.lone_caller()
two = work()
numba.set_num_threads(1)
assert work() == two
"""


def test_the_same_at_1_and_2_threads() -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", WORK], env=environment, check=True, timeout=120)


def test_eight_threads_at_once_compile_once() -> None:
    own = ops.operator()(lambda x: x * 3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda k: own(np.full(9, k)), range(16)))
    assert [answer[0] for answer in answers] == [3 * k for k in range(16)]
    assert len(own._made) == 1


CACHED = """
import numpy as np, ops
FACTOR = 2
@ops.operator("elementwise")
def scaled(x):
    return x * FACTOR + 1
answer = scaled(np.ones(3))[0]
(made,) = scaled._made.values()
print(answer, sum(made.kernel._compiled.stats.cache_hits.values()))
"""


def test_kernels_are_kept_on_disk_until_the_function_changes(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}

    def run(text: str) -> str:
        (tmp_path / "mine.py").write_text(text)
        command = [sys.executable, str(tmp_path / "mine.py")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert run(CACHED) == "3.0 0"
    assert run(CACHED) == "3.0 1"
    assert run(CACHED.replace("FACTOR = 2", "FACTOR = 5")) == "6.0 0"  # not in the function's own text
    assert run(CACHED.replace("+ 1", "+ 2")) == "4.0 0"
    of_no_module = f"exec({CACHED!r}, {{'__name__': 'a_plug_in'}})"
    assert [run(of_no_module), run(of_no_module)] == ["3.0 0"] * 2


def opens(x):  # type: ignore[no-untyped-def]
    y = x + 1
    return open(y)


def names_nothing(x):  # type: ignore[no-untyped-def]
    return x * nowhere  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "line", "reason"),
    [
        (opens, "`return open(y)`", "Untyped global name 'open'"),
        (names_nothing, "`return x * nowhere", "name 'nowhere' is not defined"),
    ],
)
def test_a_function_that_cannot_be_compiled(function: Any, line: str, reason: str) -> None:
    with pytest.raises(TypeError) as caught:
        ops.operator()(function)(np.ones(3))
    message = str(caught.value)
    number = function.__code__.co_firstlineno + (2 if function is opens else 1)
    assert message.startswith(f"{function.__name__}: line {number} of {__file__} cannot be compiled: {line}")
    assert reason in message
    assert "\n" not in message


TWO, BYTES = np.ones((2, 3)), np.ones((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.operator("map"), ValueError, "expected a pattern: 'elementwise', 'gather' or 'reduce', got 'm"),
        (lambda: ops.operator(affine), ValueError, "expected a pattern: 'elementwise', 'gather' or 'reduce', got a f"),
        (lambda: ops.operator()(3), TypeError, "operator: expected a plain function of numbers, got int"),
        (lambda: ops.operator()(lambda: 1), TypeError, "expected a function of at least one number"),
        (lambda: ops.operator()(lambda *x: 1), TypeError, "expected parameters that can be given by position, g"),
        (lambda: ops.operator(dtype="float16"), TypeError, "dtype: expected one of bool, uint8"),
        (lambda: ops.operator("gather", dtype="uint8")(abs), ValueError, "dtype: expected none for the pattern 'gath"),
        (lambda: ops.operator(initial=3), ValueError, "initial: expected none for the pattern 'elementwise', got 3"),
        (lambda: ops.operator("reduce")(opens), TypeError, "opens: initial: expected the number that changes nothing"),
        (lambda: ops.operator("reduce", initial=0)(opens), TypeError, "opens: expected a function of 2 numbers"),
        (lambda: affine(TWO), TypeError, "missing a required argument: 'gain'"),
        (lambda: affine(TWO, np.ones(4)), ValueError, "expected arrays that broadcast to one shape, got shapes [2, 3]"),
        (lambda: affine(TWO, 1j), TypeError, "gain: expected numbers (float16 and complex ones are not taken), got"),
        (lambda: affine(TWO, "2"), TypeError, "gain: expected numbers (float16 and complex ones are not taken), got"),
        (lambda: affine(TWO.astype(np.float16), 1), TypeError, "x: expected numbers (float16 and complex ones a"),
        (lambda: affine(TWO, 2, out=TWO[:1]), ValueError, "out: expected a writable C-contiguous float64 array of sh"),
        (lambda: ops.operator()(lambda x: (x, x))(TWO), TypeError, "expected a function that returns a number, got"),
        (lambda: total(TWO, axis=0), ValueError, "total: expected arrays of one shape and axis None or -1, got shapes"),
        (lambda: moved(BYTES), TypeError, "moved: expected 1 to 3 numbers beside the 1 to 3 coordinates of a place"),
        (lambda: moved(BYTES, 1, "a"), TypeError, "moved: number 2: expected a number, got str"),
        (lambda: moved(BYTES, 1, 2, shape=(3,)), ValueError, "moved: shape: expected 2 sizes, got (3,)"),
        (lambda: moved(BYTES[0], 1, 2), ValueError, "source: expected at least 2 axes, as the function returns 2"),
        (lambda: moved(BYTES, 1, 2, out=BYTES), ValueError, "out: expected memory of its own, got one that shares mem"),
        (lambda: ops.operator("gather")(lambda i: "a")(BYTES), TypeError, "expected a function that returns 1 to 3"),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_says_what_it_is() -> None:
    assert repr(affine) == "<elementwise operator affine(x, gain, offset=0.0)>"
    assert affine.__doc__ == "Scale and move."
