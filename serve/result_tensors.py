"""What a model takes and answers as tensors of the Open Inference Protocol, by task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.tensors import BYTES, Tensor, TensorSpec
from toolkit.bundle_spec import BundleSpec
from toolkit.inference import Model
from toolkit.results import ClassificationResult, DetectionResult, Result, SegmentationResult

# The input that holds an encoded picture, such as the bytes of a JPEG.
PICTURE = "encoded_image"


@dataclass(frozen=True)
class _Part:
    """One tensor of an answer: -1 in ``shape`` is any length, "classes" as many as the bundle has."""

    name: str
    datatype: str
    shape: tuple[int | str, ...]
    values: Callable[[Any], NDArray[Any] | list[bytes]]
    only: Callable[[Any], object] = lambda spec: True  # whether a bundle has it


def _detection_labels(result: DetectionResult) -> list[bytes]:
    return [label.encode() for label in result.labels]


def _class_id(result: ClassificationResult) -> NDArray[np.int64]:
    return np.array([result.class_id])


def _label(result: ClassificationResult) -> list[bytes]:
    return [result.label.encode()]


def _abstains(spec: BundleSpec) -> bool:
    return spec.abstention is not None


def _has_bins(spec: Any) -> bool:
    return bool(spec.postprocessing.bins)


def _box_bins(result: DetectionResult) -> list[bytes]:
    return [name.encode() for name in result.box_bins]


def _bin(result: ClassificationResult) -> list[bytes]:
    return [(result.bin or "").encode()]


def _decisions(result: DetectionResult) -> list[bytes]:
    return [decision.encode() for decision in result.decisions]


def _reasons(result: DetectionResult) -> list[bytes]:
    return [reason.encode() for reason in result.reasons]


def _label_map(result: SegmentationResult) -> NDArray[np.uint8]:
    return result.mask


# The fields of the results in `toolkit.results`, by their names; N is the number of detections.
_PARTS: dict[str, tuple[_Part, ...]] = {
    "detection": (
        _Part("boxes", "FP32", (-1, 4), lambda result: result.boxes),
        _Part("scores", "FP32", (-1,), lambda result: result.scores),
        _Part("class_ids", "INT64", (-1,), lambda result: result.class_ids),
        _Part("labels", BYTES, (-1,), _detection_labels),
        _Part("decisions", BYTES, (-1,), _decisions, only=_abstains),
        _Part("reasons", BYTES, (-1,), _reasons, only=_abstains),
        _Part("bins", BYTES, (-1,), _box_bins, only=_has_bins),
    ),
    "classification": (
        _Part("probabilities", "FP32", ("classes",), lambda result: result.probabilities),
        _Part("class_id", "INT64", (1,), _class_id),
        _Part("label", BYTES, (1,), _label),
        _Part("decision", BYTES, (1,), lambda result: [result.decision.encode()], only=_abstains),
        _Part("reason", BYTES, (1,), lambda result: [result.reason.encode()], only=_abstains),
        _Part("bin", BYTES, (1,), _bin, only=_has_bins),
    ),
    "segmentation": (_Part("label_map", "UINT8", (-1, -1), _label_map),),
}


def input_specs(model: Model) -> tuple[TensorSpec, TensorSpec]:
    """The two ways to ask: an encoded picture, or a batch of the network's own input."""
    size = model.spec.preprocessing.input_size
    return TensorSpec(PICTURE, BYTES, (1,)), TensorSpec(model.spec.network.input, "FP32", (-1, 3, *size))


def answer_specs(spec: BundleSpec) -> list[TensorSpec]:
    """What a picture is answered with."""
    classes = len(spec.labels)
    return [
        TensorSpec(part.name, part.datatype, tuple(classes if size == "classes" else int(size) for size in part.shape))
        for part in _PARTS[spec.task]
        if part.only(spec)
    ]


def raw_specs(model: Model) -> list[TensorSpec]:
    """What the network's own input is answered with."""
    outputs: Mapping[str, Sequence[int | str | None]] = model.task.outputs(model.spec)
    return [
        TensorSpec(name, "FP32", tuple(size if isinstance(size, int) else -1 for size in shape))
        for name, shape in outputs.items()
    ]


def answered(result: Result, task: str, names: Sequence[str]) -> list[Tensor]:
    """The parts of a result that ``names`` lists, in that order."""
    parts = {part.name: part for part in _PARTS[task]}
    tensors = []
    for name in names:
        values = parts[name].values(result)
        shape = values.shape if isinstance(values, np.ndarray) else (len(values),)
        tensors.append(Tensor(name, parts[name].datatype, shape, values))
    return tensors
