"""What `benchmarks.serve` serves and sends: a drawn JPEG of about 100 kB; a light classifier beside the shipped one.

Beside a light network the service is most of the cost, as with small models in production; its weights are random.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from onnx import TensorProto, helper, numpy_helper

from toolkit.bundle import Provenance, write_bundle
from toolkit.bundle_spec import ClassifierNetwork, make_spec
from toolkit.preprocess import Preprocessing

SIDE, CHANNELS, LABELS = 224, (3, 16, 32, 64, 128), ("blue", "green", "red")


def drawn_jpeg(bytes_wanted: int = 100_000) -> bytes:
    """Clouds of four sizes on 800 x 600, in the quality that comes nearest to that length."""
    random = np.random.default_rng(0)
    picture = np.full((600, 800, 3), 128, np.float32)
    for cells, contrast in ((4, 54), (16, 27), (64, 12), (256, 6)):
        coarse = random.normal(0, contrast, (cells * 3 // 4, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (800, 600), interpolation=cv2.INTER_CUBIC)
    drawn = picture.clip(0, 255).astype(np.uint8)
    ways = [cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for quality in range(60, 97, 2)]
    return min((way.tobytes() for way in ways), key=lambda data: abs(len(data) - bytes_wanted))


def write_light(folder: Path) -> Path:
    """A classifier of four convolutions (about 47 million multiplications) with random weights."""
    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "images"
    for depth, (before, after) in enumerate(itertools.pairwise(CHANNELS)):
        kernel = random.normal(0, (2 / (9 * before)) ** 0.5, (after, before, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{depth}"))
        found = f"found{depth}"
        nodes.append(helper.make_node("Conv", [last, f"kernel{depth}"], [found], strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [found], [last := f"kept{depth}"]))
    head = random.normal(0, 0.1, (CHANNELS[-1], len(LABELS))).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["raw"]),
    ]
    preprocessing = Preprocessing(
        input_size=(SIDE, SIDE), kind="stretch", color="rgb", mean=(124.0, 116.0, 104.0), std=(58.0, 57.0, 57.0)
    )
    return write_classifier(folder, "light", nodes, weights, preprocessing)


def write_classifier(
    folder: Path, name: str, nodes: Sequence[Any], weights: Sequence[Any], preprocessing: Preprocessing
) -> Path:
    """A bundle of a network from "images" to the "raw" numbers of the `LABELS`, as good as nothing but to be timed."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, *preprocessing.input_size])
    raw = helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", len(LABELS)])
    graph = helper.make_graph(nodes, name, [images], [raw], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    spec = make_spec(
        name=name,
        task="classification",
        labels=LABELS,
        network=ClassifierNetwork(architecture=name),
        preprocessing=preprocessing,
        licence="CC0-1.0",
        data_sources=("none",),
        intended_use="to be timed",
        provenance=Provenance(toolkit="0", created="2026-01-01T00:00:00Z", seed=0),
    )
    files = {"parity.json": b'{"pictures": 0}', "MODEL_CARD.md": f"# {name}\n".encode(), "metrics.json": b"{}"}
    write_bundle(folder, spec, {"model.onnx": model.SerializeToString(), **files})
    return folder


def peer_spec(bundle: Path, cores: int) -> dict[str, Any]:
    """What a peer must know of a classifier's bundle."""
    about = yaml.safe_load((bundle / "bundle.yaml").read_text())
    wanted = about["preprocessing"]
    if about["task"] != "classification" or (wanted["kind"], wanted["color"]) != ("stretch", "rgb"):
        raise SystemExit(f"{bundle}: the peers know classifiers behind a stretched RGB picture only")
    return {
        "model": str((bundle / about["network"]["file"]).resolve()),
        "input": about["network"]["input"],
        "output": about["network"]["output"],
        "labels": about["labels"],
        "size": wanted["input_size"],
        "mean": wanted["mean"],
        "std": wanted["std"],
        "temperature": (about.get("calibration") or {}).get("temperature", 1.0),
        "cores": cores,
    }
