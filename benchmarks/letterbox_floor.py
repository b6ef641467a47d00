"""Ways of bringing the letterbox nearer to a copy of as many bytes, timed beside `ops.letterbox` and that copy.

    python -m benchmarks.letterbox_floor           (also with OMP_WAIT_POLICY=PASSIVE in front)

1856x1044 to 640 on all of numba's threads. Each way is checked equal to `ops.letterbox`; each runs once before it is
timed, in turns. "kernel" is what `ops.letterbox` runs, without its checks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

import ops
from benchmarks.beside import copies
from benchmarks.ops_pictures import MEAN, STD, picture
from ops._blending import SPARE, _at, _blend_eight, _floats, _splat, blend_rows

LETTERBOX = sys.modules["ops.letterbox"]
HIGH, SIDE = 360, 640
_OPTIONS = {"nogil": True, "fastmath": True, "error_model": "numpy"}
_POINTER, _NUMBER = ir.IntType(8).as_pointer(), ir.IntType(32)


def fetching(write: int) -> Any:
    """An intrinsic that asks for the cache line of an array's element, to read or to write it."""

    @intrinsic  # type: ignore[misc]
    def fetch(typing, array, index):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            kind = ir.FunctionType(ir.VoidType(), [_POINTER, _NUMBER, _NUMBER, _NUMBER])
            known = builder.module.globals.get("llvm.prefetch.p0")
            call = known or ir.Function(builder.module, kind, "llvm.prefetch.p0")
            settings = [ir.Constant(_NUMBER, number) for number in (write, 3, 1)]
            builder.call(call, [builder.bitcast(builder.gep(data, [arguments[1]]), _POINTER), *settings])
            return context.get_dummy_value()

        return types.void(array, index), generate

    return fetch


fetch_to_read, fetch_to_write = fetching(0), fetching(1)


@intrinsic  # type: ignore[misc]
def four_past_the_caches(typing, array, index, value):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        where = _at(builder, data, arguments[1], _floats(4))
        store = builder.store(_splat(builder, arguments[2], 4), where, align=16)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_NUMBER, 1)]))
        return context.get_dummy_value()

    return types.void(array, index, value), generate


def letterbox(padding: str, fetched: str) -> Callable[..., None]:
    """To the top of a square, with this way of padding, and this fetched ahead."""

    @njit(**_OPTIONS)
    def pad(out, values, begin, end):  # type: ignore[no-untyped-def]
        for channel in range(3):
            plane = out[channel].reshape(out.shape[1] * out.shape[2])
            if padding == "past the caches":
                for i in range(begin, end, 4):
                    four_past_the_caches(plane, i, values[channel])  # type: ignore[call-arg]
            else:
                plane[begin:end] = values[channel]

    @njit(**_OPTIONS)
    def columns(blended, first, weight, gains, shifts, rows, source, at, out, y):  # type: ignore[no-untyped-def]
        row0, row1, row2 = rows
        for x in range(0, first.size - 7, 8):
            if fetched == "source":
                fetch_to_read(source, at + 16 * x)  # type: ignore[call-arg]
                fetch_to_read(source, at + 16 * x + 64)  # type: ignore[call-arg]
            elif fetched == "result" and x % 16 == 0:
                for channel in range(3):
                    fetch_to_write(out[channel, y + 1], x)  # type: ignore[call-arg]
            _blend_eight(blended, first, weight, x, gains, shifts, row0, row1, row2)  # type: ignore[call-arg]

    @njit(**_OPTIONS)
    def part(k, parts, image, out, first, weight, gains, shifts, values):  # type: ignore[no-untyped-def]
        height, line = image.shape[0], image.shape[1] * 3
        source = image.reshape(height * line)
        blended = np.empty(line + SPARE, np.float32)
        y0, y1 = k * HIGH // parts, (k + 1) * HIGH // parts
        begin = (HIGH + k * (SIDE - HIGH) // parts) * SIDE
        beside = (HIGH + (k + 1) * (SIDE - HIGH) // parts) * SIDE - begin
        if padding != "between":
            pad(out, values, begin, begin + beside)
        for y in range(y0, y1):
            a, b, share = LETTERBOX_SOURCE(y, height / HIGH, height)
            blend_rows(source[a * line : (a + 1) * line], source[b * line : (b + 1) * line], share, blended)
            blended[line:] = blended[line - 3]
            following = min(int((y + 1.5) * height / HIGH - 0.5), height - 3) * line
            rows = out[0, y, :SIDE], out[1, y, :SIDE], out[2, y, :SIDE]
            columns(blended, first, weight, gains, shifts, rows, source, following, out, y)
            if padding == "between":
                pad(out, values, begin + beside * (y - y0) // (y1 - y0), begin + beside * (y + 1 - y0) // (y1 - y0))

    @njit(parallel=True, **_OPTIONS)
    def run(image, out, gain, shift, values, parts):  # type: ignore[no-untyped-def]
        first, weight = LETTERBOX_COLUMNS(image.shape[1], SIDE)
        gains, shifts = (gain[0], gain[1], gain[2]), (shift[0], shift[1], shift[2])
        for k in prange(parts):
            part(np.int64(k), parts, image, out, first, weight, gains, shifts, values)

    return run  # type: ignore[no-any-return]


LETTERBOX_SOURCE, LETTERBOX_COLUMNS = LETTERBOX._source, LETTERBOX._columns
WAYS = {
    "the same, written here": ("first", ""),
    "padding between the rows": ("between", ""),
    "padding past the caches": ("past the caches", ""),
    "next source rows fetched ahead": ("first", "source"),
    "next rows of the result fetched": ("first", "result"),
}


def main() -> None:
    threads = numba.get_num_threads()
    image, out = picture(1044, 1856), np.empty((3, SIDE, SIDE), np.float32)
    wanted = ops.letterbox(image, (SIDE, SIDE), mean=MEAN, std=STD)[0]
    gain, shift, values = LETTERBOX._normalisation(MEAN, STD, 114)
    place = HIGH, SIDE, 0, 0, np.arange(3)
    runs: dict[str, Callable[[], Any]] = {
        "a copy of as many bytes": copies(2 * HIGH * image.shape[1] * 3 + out.nbytes),
        "ops.letterbox": lambda: ops.letterbox(image, (SIDE, SIDE), mean=MEAN, std=STD, out=out),
        "its kernel": lambda: LETTERBOX._parallel(image, out, *place, gain, shift, values, True, threads),
        "its kernel, on one thread": lambda: LETTERBOX._serial(image, out, *place, gain, shift, values, True, 1),
    }
    for name, way in WAYS.items():
        run = letterbox(*way)
        runs[name] = lambda run=run: run(image, out, gain, shift, values, threads)  # type: ignore[misc]
    clocks: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(101):
        for name, call in runs.items():
            call()
            started = time.perf_counter()
            call()
            clocks[name].append((time.perf_counter() - started) * 1e3)
            if turn == 0 and name in WAYS and np.abs(out - wanted).max() > 1e-4:
                raise SystemExit(f"{name}: another answer than ops.letterbox")
    copy = float(np.median(clocks["a copy of as many bytes"][1:]))
    print(f"{threads} threads; milliseconds, median (quartiles) of {turn} turns")
    for name, clock in clocks.items():
        low, middle, high = np.percentile(clock[1:], [25, 50, 75])
        print(f"  {name:32} {middle:.3f} ({low:.3f}-{high:.3f}), {middle / copy:.2f} of the copy")


if __name__ == "__main__":
    main()
