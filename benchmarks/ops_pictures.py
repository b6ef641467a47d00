"""The operators on pictures beside what people write with OpenCV, NumPy and torch.

python -m benchmarks.ops --only letterbox crops masks regions own [--peers PYTHON]
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

import ops
from benchmarks.beside import FLOOR, Case, Elsewhere, Options, main, within

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
GAIN, SHIFT = 1 / np.array(STD, np.float32), -np.array(MEAN, np.float32) / np.array(STD, np.float32)


def few(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Class ids may differ where two logits are equal but for rounding."""
    share = float((ours != theirs).mean())
    if share > 1e-4:
        raise SystemExit(f"a peer's classes differ from ours in {share:.2g} of the pixels")
    return f"{share:.1g} of the pixels differ" if share else "equal"


def picture(height: int, width: int) -> np.ndarray:
    """Smooth with some noise, as photographs are."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (height // 60 + 2, width // 60 + 2, 3)).astype(np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (fine + rng.normal(0, 6, fine.shape)).clip(0, 255).astype(np.uint8)


def normalised_planes(resized: np.ndarray, out: np.ndarray) -> None:
    """HWC to CHW, normalised in place: the fastest of the ways with OpenCV and NumPy that were tried."""
    for channel, plane in enumerate(cv2.split(resized)):
        np.multiply(plane, GAIN[channel], out=out[channel])
        out[channel] += SHIFT[channel]


def letterboxes(_: Options) -> Iterator[Case]:
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

    peers: dict[str, Any] = {"opencv + NumPy, tuned": tuned, "opencv blobFromImage": blob}
    moves = 2 * high * width * 3 + ours.nbytes  # two rows of the picture for each of the result
    options: dict[str, Any] = {"mean": MEAN, "std": STD, "out": ours}
    step = 1 / min(STD)  # a grey level
    yield Case(
        f"letterbox {width}x{height} to {side}", lambda: ops.letterbox(image, (side, side), **options)[0], peers,
        within(step), {"opencv + NumPy, tuned": 2.5, FLOOR: 1 / 1.3}, moves,
    )  # fmt: skip
    yield Case(
        f"letterbox {width}x{height} to {side}, exact",
        lambda: ops.letterbox(image, (side, side), exact=True, **options)[0], {"opencv + NumPy, tuned": tuned},
        within(1e-5), moved=moves,
    )  # fmt: skip


def crops(_: Options) -> Iterator[Case]:
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
    yield Case(name, lambda: call(False), {"opencv loop": two}, within(grey), {"opencv loop": 2}, ours.nbytes)
    area = lambda: loop(cv2.INTER_AREA)  # noqa: E731
    yield Case(f"{name}, averaging", lambda: call(True), {"opencv loop, INTER_AREA": area}, within(255 * grey))


def masks(_: Options) -> Iterator[Case]:
    logits = cv2.GaussianBlur(np.random.default_rng(2).normal(size=(128, 128, 4)).astype(np.float32), (0, 0), 6)
    planes = np.ascontiguousarray(logits.transpose(2, 0, 1))
    for side in (512, 1024):
        out = np.empty((side, side), np.uint8)

        def by_opencv(side: int = side) -> np.ndarray:
            return np.argmax([cv2.resize(plane, (side, side)) for plane in planes], 0).astype(np.uint8)

        def by_torch(side: int = side) -> np.ndarray:
            torch = importlib.import_module("torch")
            tensor = torch.from_numpy(planes)[None]
            large = torch.nn.functional.interpolate(tensor, size=(side, side), mode="bilinear")
            return large.argmax(1)[0].to(torch.uint8).numpy()  # type: ignore[no-any-return]

        peers: dict[str, Callable[[], Any]] = {
            "torch interpolate + argmax": by_torch,
            "opencv resize + NumPy argmax": by_opencv,
        }
        yield Case(
            f"argmax_resize 4 classes 128x128 to {side}x{side}",
            lambda side=side, out=out: ops.argmax_resize(planes, (side, side), out=out), peers, few,
            dict.fromkeys(peers, 4), planes.nbytes + out.nbytes,
        )  # fmt: skip


def regions(given: Options) -> Iterator[Case]:
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(2, 256, 50, 80)).astype(np.float32)
    corners = rng.uniform(0, 600, (200, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 300, (200, 2))], 1).astype(np.float32)
    pictures = rng.integers(2, size=200)
    call = lambda: ops.roi_align(maps, boxes, (7, 7), pictures=pictures, scale=1 / 16, sampling_ratio=2)  # noqa: E731
    rows = np.column_stack([pictures, boxes]).astype(np.float32)
    peer = Elsewhere(
        given.peers, "roi_align", maps=maps, rows=rows, side=np.int64(7), scale=np.float64(1 / 16),
        sampling_ratio=np.int64(2),
    )  # fmt: skip
    apart = lambda ours, theirs: within(1e-4)(ours, theirs[0])  # noqa: E731
    yield Case("roi_align 200 boxes, 256 channels, 7x7", call, {"torchvision": peer}, apart)


@ops.operator("elementwise", dtype=np.float32)
def normalise(value, gain, shift):  # type: ignore[no-untyped-def]
    return value * gain + shift


@ops.operator("elementwise", dtype=np.float32)
def gamma(value, exponent):  # type: ignore[no-untyped-def]
    return (value / np.float32(255)) ** exponent


def own(_: Options) -> Iterator[Case]:
    image = picture(1080, 1920)
    out = np.empty(image.shape, np.float32)
    yield Case(
        "own operator: normalise 1080p", lambda: normalise(image, GAIN, SHIFT, out=out),
        {"numpy": lambda: image * GAIN + SHIFT}, within(1e-5), moved=image.nbytes + out.nbytes,
    )  # fmt: skip
    fused = ops.fuse(gamma, normalise)
    exponent = np.float32(0.45)
    yield Case(
        "own operators fused: gamma, normalise 1080p", lambda: fused(image, exponent, GAIN, SHIFT, out=out),
        {
            "numpy": lambda: (image / np.float32(255)) ** exponent * GAIN + SHIFT,
            "own, one by one": lambda: normalise(gamma(image, exponent), GAIN, SHIFT),
        },
        within(1e-4),
    )  # fmt: skip


SECTIONS = {"letterbox": letterboxes, "crops": crops, "masks": masks, "regions": regions, "own": own}


if __name__ == "__main__":
    main(SECTIONS)
