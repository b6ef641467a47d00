"""COCO's evaluation by `ops` beside pycocotools, faster-coco-eval, hotcoco and ultrafast-pycocotools.

    python -m benchmarks.ops --only coco stream bootstrap [--pictures 5000] [--peers PYTHON]

Same detections, arrays checked equal. Ours is timed from plain arrays; the peers' clocks start when their data sets are
indexed already (``evaluate()`` and ``accumulate()``), but for the row that says "from arrays". Licences: BSD-2-Clause
(pycocotools, ultrafast-pycocotools), Apache-2.0 (faster-coco-eval), MIT (hotcoco).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import ops
from benchmarks.beside import PEERS, Case, Options, Timed, clocked, main

# How many times as long as ours each is to take: for the compiled tools in Rust at least half is required.
BARS = {"pycocotools": 45, "faster-coco-eval": 5.5, "hotcoco": 0.5, "ultrafast-pycocotools": 0.5}
CLASSES = 80


@functools.cache
def drawn(pictures: int, seed: int = 0) -> dict[str, Any]:
    """About 7.2 objects of 3 classes a picture and 100 detections, a third of them near an object, by falling score.

    Classes are as uneven as COCO's, 1 % of the objects are crowds; scores have five decimals, coordinates two.
    """
    rng = np.random.default_rng(seed)
    weight = rng.permutation(1 / np.arange(1, CLASSES + 1) ** 0.9)
    weight /= weight.sum()
    truths, count = pictures * 36 // 5, pictures * 100
    truth_pictures = np.sort(rng.integers(pictures, size=truths))
    palette = rng.choice(CLASSES, (pictures, 3), p=weight)
    truth_class_ids = palette[truth_pictures, rng.integers(3, size=truths)]

    def boxes(n: int) -> np.ndarray:
        sides = np.exp(rng.normal(4, 1, (n, 2))).clip(4, 500)
        return np.concatenate([rng.random((n, 2)) * (640 - sides / 2), sides], 1)

    truth_boxes = boxes(truths).round(2)
    in_pictures = np.repeat(np.arange(pictures), 100)
    first = np.searchsorted(truth_pictures, np.arange(pictures + 1))
    here = np.diff(first)[in_pictures]
    near = (rng.random(count) < 0.35) & (here > 0)
    which = np.minimum(first[in_pictures] + (rng.random(count) * here).astype(np.int64), truths - 1)
    spread = np.exp(rng.normal(-2.3, 0.9, count))
    moved = truth_boxes[which] + rng.normal(0, 1, (count, 4)) * spread[:, None] * np.tile(truth_boxes[which, 2:], 2)
    found = np.where(near[:, None], moved, boxes(count))
    found[:, 2:] = np.abs(found[:, 2:]) + 1
    of_picture = palette[in_pictures, rng.integers(3, size=count)]
    class_ids = np.where(rng.random(count) < 0.5, of_picture, rng.choice(CLASSES, count, p=weight))
    class_ids = np.where(near & (rng.random(count) < 0.85), truth_class_ids[which], class_ids)
    scores = np.where(near, np.exp(-2.5 * spread) * rng.random(count) ** 0.7, 0.6 * rng.random(count) ** 6)
    scores = scores.clip(0.001, 1).round(5)
    order = np.lexsort((-scores, in_pictures))
    return {
        "found": found[order].round(2),
        "scores": scores[order],
        "class_ids": class_ids[order],
        "truths": truth_boxes,
        "truth_class_ids": truth_class_ids,
        "classes": CLASSES,
        "pictures": in_pictures,
        "truth_pictures": truth_pictures,
        "picture_count": pictures,
        "truth_areas": truth_boxes[:, 2] * truth_boxes[:, 3] * rng.uniform(0.4, 1, truths),
        "crowd": rng.random(truths) < 0.012,
    }


def as_json(data: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The data set and the results as COCO's files hold them; ids from 1."""
    images = [{"id": i + 1, "height": 640, "width": 640, "file_name": f"{i}.jpg"} for i in range(data["picture_count"])]
    columns = ("truth_pictures", "truth_class_ids", "truths", "truth_areas", "crowd")
    rows = zip(*(data[name].tolist() for name in columns), strict=True)
    truths = [
        {"id": n, "image_id": p + 1, "category_id": c + 1, "bbox": box, "area": area, "iscrowd": int(crowd)}
        for n, (p, c, box, area, crowd) in enumerate(rows, 1)
    ]
    found = [
        {"image_id": p + 1, "category_id": c + 1, "bbox": box, "score": score}
        for p, c, box, score in zip(
            *(data[n].tolist() for n in ("pictures", "class_ids", "found", "scores")), strict=True
        )
    ]
    categories = [{"id": k + 1, "name": str(k)} for k in range(CLASSES)]
    return {"info": {}, "licenses": [], "images": images, "categories": categories, "annotations": truths}, found


def evaluator(peer: str, truths: dict[str, Any], found: list[dict[str, Any]]) -> Any:
    """The peer's COCOeval, its data sets indexed."""
    with contextlib.redirect_stdout(io.StringIO()):
        if peer == "pycocotools":
            coco = importlib.import_module("pycocotools.coco").COCO()
            coco.dataset = truths
            coco.createIndex()
            kind = importlib.import_module("pycocotools.cocoeval").COCOeval
        else:
            package = importlib.import_module(PEERS[peer][1])
            coco = package.COCO(truths)
            kind = package.COCOeval_faster if peer == "faster-coco-eval" else package.COCOeval
        return kind(coco, coco.loadRes([dict(row) for row in found]), "bbox")


def run_evaluator(peer: str, truths: dict[str, Any], found: list[dict[str, Any]]) -> Timed:
    """A fresh evaluator each time, as some keep what they computed."""
    one = evaluator(peer, truths, found)

    def call() -> None:
        one.evaluate()
        one.accumulate()

    with contextlib.redirect_stdout(io.StringIO()):
        seconds, _ = clocked(call)
    return Timed(seconds, {name: np.asarray(one.eval[name]) for name in ("precision", "recall", "scores")})


def hotcoco_from_arrays(data: dict[str, Any], truths: dict[str, Any]) -> Timed:
    """All of its work on the arrays that ours starts from."""
    hotcoco = importlib.import_module("hotcoco")
    rows = np.column_stack([data["pictures"] + 1, data["found"], data["scores"], data["class_ids"] + 1])

    def call() -> Any:
        coco = hotcoco.COCO.from_arrays(
            truths["images"], truths["categories"], data["truth_pictures"] + 1, data["truth_class_ids"] + 1,
            data["truths"], area=data["truth_areas"], iscrowd=data["crowd"].astype(np.int64),
        )  # fmt: skip
        one = hotcoco.COCOeval(coco, coco.load_res(rows), "bbox")
        one.evaluate()
        one.accumulate()
        return one

    with contextlib.redirect_stdout(io.StringIO()):
        seconds, one = clocked(call)
    return Timed(seconds, {name: np.asarray(one.eval[name]) for name in ("precision", "recall", "scores")})


def our_curves(data: dict[str, Any]) -> dict[str, np.ndarray]:
    curves = ops.coco_accumulate(ops.coco_match(**data))
    return {"precision": curves.precision, "recall": curves.recall, "scores": curves.scores}


def our_stream(data: dict[str, Any]) -> dict[str, np.ndarray]:
    """Picture by picture, as a validation loop would."""
    stream = ops.CocoStream(CLASSES)
    first, true = (np.searchsorted(data[name], np.arange(data["picture_count"] + 1))
                   for name in ("pictures", "truth_pictures"))  # fmt: skip
    for i in range(data["picture_count"]):
        rows, true_rows = slice(first[i], first[i + 1]), slice(true[i], true[i + 1])
        stream.add(
            *(data[name][rows] for name in ("found", "scores", "class_ids")),
            *(data[name][true_rows] for name in ("truths", "truth_class_ids")),
            truth_areas=data["truth_areas"][true_rows],
            crowd=data["crowd"][true_rows],
        )
    curves = ops.coco_accumulate(stream.matches())
    return {"precision": curves.precision, "recall": curves.recall, "scores": curves.scores}


def one_round(reference: Any, chosen: np.ndarray) -> Timed:
    """AP of every class in a bootstrap round, by pycocotools' accumulate over the pictures drawn."""
    params, cells = reference.params, np.empty(len(reference.evalImgs), object)
    cells[:] = reference.evalImgs
    by_picture = cells.reshape(len(params.catIds), len(params.areaRng), len(params.imgIds))
    saved = reference.evalImgs, params.areaRng, params.areaRngLbl, params.maxDets, params.imgIds
    reference.evalImgs = by_picture[:, :1, chosen].ravel().tolist()
    params.areaRng, params.areaRngLbl, params.maxDets = saved[1][:1], saved[2][:1], [100]
    params.imgIds = list(range(len(chosen)))
    reference._paramsEval = params
    with contextlib.redirect_stdout(io.StringIO()):
        seconds, _ = clocked(reference.accumulate)
    precision = reference.eval["precision"][..., 0, 0]
    reference.evalImgs, params.areaRng, params.areaRngLbl, params.maxDets, params.imgIds = saved
    return Timed(seconds, {"AP": np.where((precision > -1).all(1), precision.mean(1), np.nan).T})


def size_of(data: dict[str, Any]) -> str:
    return f"{data['picture_count']} pictures, {len(data['truths'])} objects, {len(data['found'])} detections"


def all_at_once(given: Options) -> Iterator[Case]:
    data = drawn(given.pictures)
    truths, found = as_json(data)
    peers: dict[str, Callable[[], Any]] = {
        peer: lambda peer=peer: run_evaluator(peer, truths, found) for peer in BARS
    }  # fmt: skip
    peers["hotcoco, from arrays"] = lambda: hotcoco_from_arrays(data, truths)
    yield Case(f"COCO boxes, {size_of(data)}", lambda: our_curves(data), peers, difference, BARS)


def picture_by_picture(given: Options) -> Iterator[Case]:
    data = drawn(given.pictures)
    peers = {"all at once": lambda: our_curves(data)}
    yield Case(f"COCO boxes picture by picture, {size_of(data)}", lambda: our_stream(data), peers, difference)


def bootstrap(given: Options) -> Iterator[Case]:
    data, rounds = drawn(given.pictures), 20
    count = given.pictures
    matches = ops.coco_match(**data)
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), rounds)

    def ours() -> Timed:
        seconds, found = clocked(lambda: ops.coco_average_precision(matches, weights))
        return Timed(seconds / rounds, {"AP": found[0]})

    @functools.cache
    def reference() -> Any:
        one = evaluator("pycocotools", *as_json(data))
        with contextlib.redirect_stdout(io.StringIO()):
            one.evaluate()
        return one

    peer = lambda: one_round(reference(), np.repeat(np.arange(count), weights[0]))  # noqa: E731
    yield Case(f"a bootstrap round of AP, {size_of(data)}", ours, {"pycocotools": peer}, difference)


def difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> str:
    """Which arrays differ and by how much."""
    far = {
        name: float(np.nanmax(np.abs(array - theirs[name])))
        for name, array in ours.items()
        if not np.array_equal(array, theirs[name], equal_nan=True)
    }
    return "equal" if not far else ", ".join(f"{name} within {value:.1g}" for name, value in far.items())


SECTIONS = {"coco": all_at_once, "stream": picture_by_picture, "bootstrap": bootstrap}


if __name__ == "__main__":
    main(SECTIONS)
