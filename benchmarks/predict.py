"""JPEG to boxes, split into decode, preprocess, network and postprocess, beside a plain OpenCV + NumPy + ONNX Runtime
script with the same session options: python -m benchmarks.predict [--json FILE]

Same bytes, same network, one process, interleaved. Prints medians, quartiles, ratios, machine and versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import toolkit
from benchmarks.plain_predict import PlainDetector
from toolkit.demo import sample_photo
from toolkit.inference.engine import _options

# Interleaved in blocks: nobody runs both for one picture, and one's idle session still spins while the other starts.
BLOCK, SETTLE = 20, 5
STAGES = ("decode", "preprocess", "network", "postprocess")


def pictures(height: int, width: int) -> dict[str, bytes]:
    """The portrait of matplotlib's sample data as it is, and as a street camera's frame: several faces on a ground."""
    portrait = sample_photo().read_bytes()
    face = cv2.imdecode(np.frombuffer(portrait, np.uint8), cv2.IMREAD_COLOR)
    frame = np.full((height, width, 3), 128, np.uint8)
    frame[:] = np.linspace(60, 190, width, dtype=np.uint8)[None, :, None]
    for column, side in enumerate((120, 160, 200, 240)):
        small = cv2.resize(face, (side, side * face.shape[0] // face.shape[1]), interpolation=cv2.INTER_AREA)
        top, left = height // 8, 20 + column * width // 4
        rows, columns = min(small.shape[0], height - top), min(small.shape[1], width - left)
        frame[top : top + rows, left : left + columns] = small[:rows, :columns]
    street = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    return {f"portrait {face.shape[1]}x{face.shape[0]}": portrait, f"frame {width}x{height}": street}


def timed(clock: list[float], call: Callable[..., Any], *arguments: Any) -> Any:
    started = time.perf_counter()
    value = call(*arguments)
    clock.append((time.perf_counter() - started) * 1e3)
    return value


def ours(model: toolkit.Model, data: bytes) -> tuple[list[float], Any]:
    clock: list[float] = []
    picture = timed(clock, lambda: model.decode(data)())
    batch, placements = timed(clock, lambda: model.preprocess([picture], reuse=True))
    raw = timed(clock, model.network, batch)
    found = timed(clock, model.postprocess, [output[0] for output in raw], placements[0], picture.shape[:2])
    return clock, (found["boxes"], found["scores"], found["class_ids"])


def plain(peer: PlainDetector, data: bytes, score: float, iou: float) -> tuple[list[float], Any]:
    clock: list[float] = []
    picture = timed(clock, peer.decode, data)
    batch, ratio = timed(clock, peer.preprocess, picture)
    raw = timed(clock, peer.network, batch)
    found = timed(clock, peer.postprocess, raw, ratio, batch.shape[2:], picture.shape[:2], score, iou)
    return clock, found


def compare(model: toolkit.Model, peer: PlainDetector, data: bytes, rounds: int) -> dict[str, Any]:
    spec = model.spec
    score, iou = spec.postprocessing.score_threshold, spec.postprocessing.iou_threshold
    rows: dict[str, list[list[float]]] = {"ours": [], "plain": []}
    answers: dict[str, Any] = {}
    for turn in range(2 * rounds // BLOCK + 2):  # the first two blocks warm caches and threads
        name = "ours" if turn % 2 else "plain"
        for step in range(-SETTLE, BLOCK):
            clock, answers[name] = ours(model, data) if name == "ours" else plain(peer, data, score, iou)
            if turn > 1 and step >= 0:
                rows[name].append(clock)
    check_equal(answers["ours"], answers["plain"])
    return {"boxes": len(answers["ours"][0]), "times": {name: np.array(times) for name, times in rows.items()}}


def check_equal(a: Any, b: Any) -> None:
    """The peer rounds the resized picture to whole grey levels, so boxes and scores agree closely, not to the bit."""
    if len(a[0]) != len(b[0]) or not np.array_equal(np.sort(a[2]), np.sort(b[2])):
        raise SystemExit(f"not the same work: {len(a[0])} boxes beside {len(b[0])}")
    if len(a[0]) and (np.abs(a[0] - b[0]).max() > 3 or np.abs(a[1] - b[1]).max() > 0.03):
        raise SystemExit("not the same work: boxes differ")


def row(name: str, times: np.ndarray) -> str:
    cells = [*times.T, times[:, 1] + times[:, 3], times.sum(1)]
    return (
        f"| {name} | "
        + " | ".join(f"{np.median(c):.3f} ({np.percentile(c, 25):.3f}-{np.percentile(c, 75):.3f})" for c in cells)
        + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="mask_detection")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()

    model = toolkit.load(given.bundle, "cpu", threads=given.threads)
    size, multiple = model.spec.preprocessing.input_size, model.spec.preprocessing.pad_multiple
    peer = PlainDetector(model.bundle.network_bytes(), size, _options(given.threads, allow_spinning=True), multiple)
    cv2.setNumThreads(given.threads)
    versions = {n: metadata.version(n) for n in ("numpy", "numba", "opencv-python-headless", "onnxruntime")}
    print(f"{platform.machine()}, {os.cpu_count()} cores, {given.threads} threads, {versions}")
    print(f"{given.rounds} rounds, interleaved in blocks of {BLOCK}; milliseconds, median (quartiles)")
    report: dict[str, Any] = {"versions": versions, "threads": given.threads, "rounds": given.rounds, "pictures": {}}
    for name, data in pictures(720, 1280).items():
        done = compare(model, peer, data, given.rounds)
        a, b = done["times"]["ours"], done["times"]["plain"]
        total = float(np.median(a.sum(1)) / np.median(b.sum(1)))
        own = float(np.median(a[:, 1] + a[:, 3]) / np.median(b[:, 1] + b[:, 3]))
        print(f"\n{name}, {len(data) // 1024} kB, {done['boxes']} boxes\n")
        print("| | decode | preprocess | network | postprocess | pre + post | total |\n|---|---|---|---|---|---|---|")
        print(row("ours", a))
        print(row("plain", b))
        print(f"\nours / plain: total {total:.3f}, preprocess + postprocess {own:.3f}")
        medians = {
            who: dict(zip(STAGES, np.median(t, 0).round(4).tolist(), strict=True)) for who, t in done["times"].items()
        }
        report["pictures"][name] = {"median_ms": medians, "total_ratio": total, "pre_post_ratio": own}
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
