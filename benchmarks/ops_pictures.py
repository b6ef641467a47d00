"""The operators on pictures beside what people write with OpenCV, NumPy and torch.

    python -m benchmarks.ops_pictures [--rounds 60] [--json FILE] [--only letterbox]

Same work, answers compared, one process, taking turns; every library has the machine's cores. The floor is the time in
which as many bytes are copied as the work has to read and write, by as many threads. A peer that is missing is told so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numba
import numpy as np

import ops

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
GAIN, SHIFT = 1 / np.array(STD, np.float32), -np.array(MEAN, np.float32) / np.array(STD, np.float32)


def largest(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b).max())


def share(a: np.ndarray, b: np.ndarray) -> float:
    """Of class ids that differ: where two logits are equal but for rounding."""
    return float((a != b).mean())


class Case(NamedTuple):
    """``apart`` is how far answers may be from ours; ``moves`` the bytes that must be read and written."""

    work: str
    bar: float | None
    ours: Callable[[], Any]
    peers: dict[str, Callable[[], Any] | None]
    apart: float
    moves: int = 0
    distance: Callable[[np.ndarray, np.ndarray], float] = largest


class Row(NamedTuple):
    """One work beside one peer: medians in ms and their quartiles, and how far the peer's answer is from ours."""

    work: str
    peer: str
    ours_ms: float
    peer_ms: float | None
    ratio: float | None
    bar: float | None
    ours_quartiles: tuple[float, float]
    peer_quartiles: tuple[float, float] | None
    apart: float | None


def picture(height: int, width: int) -> np.ndarray:
    """Smooth with some noise, as photographs are."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (height // 60 + 2, width // 60 + 2, 3)).astype(np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (fine + rng.normal(0, 6, fine.shape)).clip(0, 255).astype(np.uint8)


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def normalised_planes(resized: np.ndarray, out: np.ndarray) -> None:
    """HWC to CHW, normalised in place: the fastest of the ways with OpenCV and NumPy that were tried."""
    for channel, plane in enumerate(cv2.split(resized)):
        np.multiply(plane, GAIN[channel], out=out[channel])
        out[channel] += SHIFT[channel]


def letterboxes() -> Iterator[Case]:
    height, width, side = 1044, 1856, 640
    image, high = picture(height, width), 360
    ours, theirs = np.empty((3, side, side), np.float32), np.empty((3, side, side), np.float32)

    def tuned() -> np.ndarray:
        resized = cv2.resize(image, (side, high), interpolation=cv2.INTER_LINEAR)
        bordered = cv2.copyMakeBorder(resized, 0, side - high, 0, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        normalised_planes(bordered, theirs)
        return theirs

    def blob() -> np.ndarray:
        resized = cv2.resize(image, (side, high), interpolation=cv2.INTER_LINEAR)
        bordered = cv2.copyMakeBorder(resized, 0, side - high, 0, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        found = cv2.dnn.blobFromImage(bordered, 1.0, mean=MEAN)[0]
        found *= GAIN[:, None, None]
        return found

    peers: dict[str, Any] = {"tuned OpenCV + NumPy": tuned, "OpenCV blobFromImage": blob}
    moves = 2 * high * width * 3 + ours.nbytes  # two rows of the picture for each of the result
    options: dict[str, Any] = {"mean": MEAN, "std": STD, "out": ours}
    step = 1 / min(STD)  # a grey level
    yield Case(
        f"letterbox {width}x{height} to {side}", 2.5,
        lambda: ops.letterbox(image, (side, side), **options)[0], peers, step, moves,
    )  # fmt: skip
    yield Case(
        f"letterbox {width}x{height} to {side}, exact", None,
        lambda: ops.letterbox(image, (side, side), exact=True, **options)[0], {"tuned OpenCV + NumPy": tuned}, 1e-5,
        moves,
    )  # fmt: skip


def crops() -> Iterator[Case]:
    image, count, side = picture(1080, 1920), 64, 112
    rng = np.random.default_rng(1)
    sides = rng.uniform(side + 1, 400, (count, 2))
    corners = rng.uniform(0, 1, (count, 2)) * (np.array([1920, 1080]) - sides)
    boxes = np.concatenate([corners, corners + sides], 1).round().astype(np.float32)
    ours, theirs = (np.empty((count, 3, side, side), np.float32) for _ in range(2))

    def loop(interpolation: int) -> np.ndarray:
        for box, out in zip(boxes.astype(int).tolist(), theirs, strict=True):
            crop = image[box[1] : box[3], box[0] : box[2]]
            normalised_planes(cv2.resize(crop, (side, side), interpolation=interpolation), out)
        return theirs

    def call(antialias: bool) -> np.ndarray:
        return ops.crop_resize(image, boxes, (side, side), mean=MEAN, std=STD, antialias=antialias, out=ours)

    name, grey = f"crop_resize {count} boxes of 1080p to {side}x{side}", 1 / min(STD)
    two = lambda: loop(cv2.INTER_LINEAR)  # noqa: E731
    yield Case(name, 2.0, lambda: call(False), {"OpenCV loop": two}, grey, ours.nbytes)
    area = lambda: loop(cv2.INTER_AREA)  # noqa: E731
    yield Case(f"{name}, averaging", None, lambda: call(True), {"OpenCV loop, INTER_AREA": area}, 255 * grey)


def masks() -> Iterator[Case]:
    logits = cv2.GaussianBlur(np.random.default_rng(2).normal(size=(128, 128, 4)).astype(np.float32), (0, 0), 6)
    planes = np.ascontiguousarray(logits.transpose(2, 0, 1))
    for side in (512, 1024):
        out = np.empty((side, side), np.uint8)

        def by_opencv(side: int = side) -> np.ndarray:
            return np.argmax([cv2.resize(plane, (side, side)) for plane in planes], 0).astype(np.uint8)

        peers: dict[str, Any] = {"torch interpolate + argmax": None, "OpenCV resize + NumPy argmax": by_opencv}
        if installed("torch"):
            import torch

            tensor = torch.from_numpy(planes)[None]

            def by_torch(side: int = side, tensor: Any = tensor, torch: Any = torch) -> np.ndarray:
                large = torch.nn.functional.interpolate(tensor, size=(side, side), mode="bilinear")
                return large.argmax(1)[0].to(torch.uint8).numpy()

            peers["torch interpolate + argmax"] = by_torch
        yield Case(
            f"argmax_resize 4 classes 128x128 to {side}x{side}", 4.0,
            lambda side=side, out=out: ops.argmax_resize(planes, (side, side), out=out), peers, 1e-4,
            planes.nbytes + out.nbytes, share,
        )  # fmt: skip


def regions() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(2, 256, 50, 80)).astype(np.float32)
    corners = rng.uniform(0, 600, (200, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 300, (200, 2))], 1).astype(np.float32)
    pictures = rng.integers(2, size=200)
    call = lambda: ops.roi_align(maps, boxes, (7, 7), pictures=pictures, scale=1 / 16, sampling_ratio=2)  # noqa: E731
    peer = None
    if installed("torchvision"):
        import torch
        import torchvision

        rows = torch.from_numpy(np.column_stack([pictures, boxes]).astype(np.float32))
        tensor = torch.from_numpy(maps)
        peer = lambda: torchvision.ops.roi_align(tensor, rows, 7, 1 / 16, 2, True).numpy()  # noqa: E731
    yield Case("roi_align 200 boxes, 256 channels, 7x7", None, call, {"torchvision": peer}, 1e-4)


@ops.operator("elementwise", dtype=np.float32)
def normalise(value, gain, shift):  # type: ignore[no-untyped-def]
    return value * gain + shift


@ops.operator("elementwise", dtype=np.float32)
def gamma(value, exponent):  # type: ignore[no-untyped-def]
    return (value / np.float32(255)) ** exponent


def own() -> Iterator[Case]:
    image = picture(1080, 1920)
    out = np.empty(image.shape, np.float32)
    yield Case(
        "own operator: normalise 1080p", None, lambda: normalise(image, GAIN, SHIFT, out=out),
        {"NumPy": lambda: image * GAIN + SHIFT}, 1e-5, image.nbytes + out.nbytes,
    )  # fmt: skip
    fused = ops.fuse(gamma, normalise)
    exponent = np.float32(0.45)
    yield Case(
        "own operators fused: gamma, normalise 1080p", None, lambda: fused(image, exponent, GAIN, SHIFT, out=out),
        {
            "NumPy": lambda: (image / np.float32(255)) ** exponent * GAIN + SHIFT,
            "own, one by one": lambda: normalise(gamma(image, exponent), GAIN, SHIFT),
        },
        1e-4,
    )  # fmt: skip


GROUPS = {"letterbox": letterboxes, "crops": crops, "masks": masks, "regions": regions, "own": own}


def copies(count: int) -> Callable[[], None]:
    """Reads and writes ``count`` bytes altogether, with as many threads as numba has."""
    threads = numba.get_num_threads()
    source, target = np.ones(count // 2, np.uint8), np.zeros(count // 2, np.uint8)
    parts = np.array_split(np.arange(count // 2), threads)
    slices = [slice(part[0], part[-1] + 1) for part in parts]
    pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def call() -> None:
        others = [pool.submit(np.copyto, target[each], source[each]) for each in slices[1:]] if pool else []
        np.copyto(target[slices[0]], source[slices[0]])
        for other in others:
            other.result()

    return call


def milliseconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def run(rounds: int, only: str | None = None) -> list[Row]:
    """Measure all; ours and the peers take turns, each once more before it is timed so that it finds its own caches."""
    rows = []
    for group in [only] if only else GROUPS:
        for case in GROUPS[group]():
            calls = {"ours": case.ours, **{name: call for name, call in case.peers.items() if call is not None}}
            answers = {name: np.array(call()) for name, call in calls.items()}
            if case.moves:
                calls["the floor: a copy of as many bytes"] = copies(case.moves)
            clocks: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(rounds):
                for name, call in calls.items():
                    call()
                    clocks[name].append(milliseconds(call))
            middle = {name: float(np.median(clock)) for name, clock in clocks.items()}
            spread = {name: tuple(np.percentile(clock, [25, 75])) for name, clock in clocks.items()}
            for name in [*case.peers, *(name for name in calls if name.startswith("the floor"))]:
                if name not in middle:
                    rows.append(Row(case.work, name, middle["ours"], None, None, case.bar, spread["ours"], None, None))
                    continue
                apart = case.distance(answers["ours"], answers[name]) if name in answers else None
                if apart is not None and apart > case.apart:
                    raise SystemExit(f"{case.work}: {name} is {apart} away from ours, expected at most {case.apart}")
                ratio = middle[name] / middle["ours"]
                ours = middle["ours"], middle[name], ratio, case.bar if apart is not None else None
                rows.append(Row(case.work, name, *ours, spread["ours"], spread[name], apart))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=list(GROUPS))
    given = parser.parse_args()
    names = ("numpy", "numba", "opencv-python-headless", "torch", "torchvision")
    versions = {
        name: metadata.version(name) for name in names if installed(name.split("-")[0].replace("opencv", "cv2"))
    }
    print(f"{platform.machine()}, {os.cpu_count()} cores, {numba.get_num_threads()} threads, {versions}")
    print(f"{given.rounds} rounds, taking turns; milliseconds, median (quartiles)")
    rows, work = run(given.rounds, given.only), ""
    for row in rows:
        if row.work != work:
            work = row.work
            print(f"{work}: ours {row.ours_ms:.3f} ({row.ours_quartiles[0]:.3f}-{row.ours_quartiles[1]:.3f})")
        if row.peer_ms is None or row.peer_quartiles is None:
            print(f"  {row.peer:36} not installed")
            continue
        low, high = row.peer_quartiles
        bar = (
            "" if row.bar is None else f", bar {row.bar:g}: {'met' if row.ratio and row.ratio >= row.bar else 'MISSED'}"
        )
        apart = "" if row.apart is None else f", {row.apart:.1g} apart"
        print(f"  {row.peer:36} {row.peer_ms:.3f} ({low:.3f}-{high:.3f}), {row.ratio:.2f}x ours{apart}{bar}")
    if given.json:
        given.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
