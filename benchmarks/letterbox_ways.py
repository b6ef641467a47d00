"""Ways of blending the columns of a letterbox row, timed beside the one in `ops.letterbox`.

    python -m benchmarks.letterbox_ways            (NUMBA_SLP_VECTORIZE=1 in front for LLVM's straight-line vectoriser)

One thread, everything warm, rows blended first in all of them; each way is checked equal to `ops.letterbox`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

import ops
from ops.letterbox import _source, place

_OPTIONS = {"nogil": True, "fastmath": True, "error_model": "numpy"}
A1, A2, A3, A4, A5 = (np.uint32(k) for k in range(1, 6))
B1, B2, B3, B4, B5, B6 = (np.uint64(k) for k in range(1, 7))


@njit(**_OPTIONS)
def gather_per_channel(first, weight, blended, line, row0, row1, row2):  # type: ignore[no-untyped-def]
    for channel, row in ((0, row0), (1, row1), (2, row2)):
        offset = np.uint32(channel)
        for x in range(first.size):
            i = np.uint32(first[x]) + offset
            p, q = blended[i], blended[i + A3]
            row[x] = p + weight[x] * (q - p)


@njit(**_OPTIONS)
def three_channels_32_bit(first, weight, blended, line, row0, row1, row2):  # type: ignore[no-untyped-def]
    for x in range(first.size):
        i, t = np.uint32(first[x]), weight[x]
        p0, p1, p2 = blended[i], blended[i + A1], blended[i + A2]
        q0, q1, q2 = blended[i + A3], blended[i + A4], blended[i + A5]
        row0[x], row1[x], row2[x] = p0 + t * (q0 - p0), p1 + t * (q1 - p1), p2 + t * (q2 - p2)


@njit(**_OPTIONS)
def three_channels_64_bit(first, weight, blended, line, row0, row1, row2):  # type: ignore[no-untyped-def]
    for x in range(first.size):
        i, t = first[x], weight[x]
        p0, p1, p2 = blended[i], blended[i + B1], blended[i + B2]
        q0, q1, q2 = blended[i + B3], blended[i + B4], blended[i + B5]
        row0[x], row1[x], row2[x] = p0 + t * (q0 - p0), p1 + t * (q1 - p1), p2 + t * (q2 - p2)


@njit(**_OPTIONS)
def differences_first(first, weight, blended, line, row0, row1, row2):  # type: ignore[no-untyped-def]
    step = line[: blended.size - 3]
    for i in range(step.size):
        step[i] = blended[i + 3] - blended[i]
    for x in range(first.size):
        i, t = first[x], weight[x]
        row0[x] = blended[i] + t * step[i]
        row1[x] = blended[i + B1] + t * step[i + B1]
        row2[x] = blended[i + B2] + t * step[i + B2]


@njit(**_OPTIONS)
def four_lanes_then_planes(first, weight, blended, line, row0, row1, row2):  # type: ignore[no-untyped-def]
    for x in range(first.size):
        i, t, o = first[x], weight[x], np.uint64(4) * np.uint64(x)
        p0, p1, p2, p3 = blended[i], blended[i + B1], blended[i + B2], blended[i + B3]
        q1, q2, q3 = blended[i + B4], blended[i + B5], blended[i + B6]
        a, b, c, d = p0 + t * (p3 - p0), p1 + t * (q1 - p1), p2 + t * (q2 - p2), p3 + t * (q3 - p3)
        line[o], line[o + B1], line[o + B2], line[o + B3] = a, b, c, d
    for x in range(first.size):
        row0[x], row1[x], row2[x] = line[4 * x], line[4 * x + 1], line[4 * x + 2]


def whole(blend: Any) -> Callable[..., None]:
    """A letterbox to the top left with this column blend."""

    @njit(**_OPTIONS)
    def run(image, out, new_height, new_width):  # type: ignore[no-untyped-def]
        height, width = image.shape[0], image.shape[1]
        first, weight = np.empty(new_width, np.uint64), np.empty(new_width, np.float32)
        for x in range(new_width):
            a, _, weight[x] = _source(x, width / new_width, width)
            first[x] = 3 * a
        blended = np.zeros(width * 3 + 4, np.float32)
        line = np.empty(max(width * 3, new_width * 4) + 4, np.float32)
        out[:, new_height:] = np.float32(114)
        out[:, :, new_width:] = np.float32(114)
        for y in range(new_height):
            a, b, w = _source(y, height / new_height, height)
            upper, lower = image[a].reshape(width * 3), image[b].reshape(width * 3)
            for i in range(width * 3):
                blended[i] = np.float32(upper[i]) + w * (np.float32(lower[i]) - np.float32(upper[i]))
            for i in range(width * 3, width * 3 + 3):
                blended[i] = blended[i - 3]
            end = first.size
            blend(first, weight, blended, line, out[0, y, :end], out[1, y, :end], out[2, y, :end])

    return run


def main() -> None:
    ways = (gather_per_channel, four_lanes_then_planes, differences_first, three_channels_32_bit, three_channels_64_bit)
    rng = np.random.default_rng(0)
    for size, target in (((480, 640), (416, 416)), ((600, 512), (416, 416)), ((720, 1280), (416, 416))):
        image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        _, new_height, new_width = place(*size, target)
        out, wanted = np.empty((3, *target), np.float32), ops.letterbox(image, target)[0]
        runs: dict[str, Callable[[], Any]] = {"ops.letterbox": lambda: ops.letterbox(image, target, out=out)}  # noqa: B023
        for way in ways:
            letterbox = whole(way)
            runs[way.__name__] = lambda run=letterbox: run(image, out, new_height, new_width)  # type: ignore[misc]  # noqa: B023
        clocks: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(200):
            for name, run in runs.items():
                run()  # once to have caches as this way leaves them
                started = time.perf_counter()
                run()
                clocks[name].append((time.perf_counter() - started) * 1e3)
                if np.abs(out - wanted).max() > 1e-3:
                    raise SystemExit(f"{name}: another answer than ops.letterbox")
        print(f"{size[1]}x{size[0]} to {target[1]}x{target[0]}, milliseconds, median (quartiles)")
        for name, clock in clocks.items():
            low, middle, high = np.percentile(clock, [25, 50, 75])
            print(f"  {name:26} {middle:.3f} ({low:.3f}-{high:.3f})")


if __name__ == "__main__":
    main()
