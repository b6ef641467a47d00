"""What predicting needs to know about a task: the network's outputs, the answer made of them, when two answers agree.

A new task is one file with a `Task` and one line here. It needs no torch; how a task is trained stands in
``toolkit.training``.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from ops import Placement
from toolkit.bundle_spec import BundleSpec
from toolkit.errors import UserError
from toolkit.results import Result

TASKS = {
    "detection": "toolkit.inference.detection:DetectionTask",
    "classification": "toolkit.inference.classification:ClassificationTask",
    "segmentation": "toolkit.inference.segmentation:SegmentationTask",
}

Array = NDArray[np.float32]


class Options(TypedDict, total=False):
    """What a call may override; each task takes its own, see the classes of ``toolkit.bundle_spec``."""

    score_threshold: float | None
    iou_threshold: float | None
    max_detections: int | None
    top_k: int | None


@dataclass(frozen=True)
class Tolerance:
    """How far two answers may be apart and still agree.

    ``box`` pixels and ``box_relative`` a share of the largest coordinate; ``score`` of scores and probabilities;
    ``margin`` how near to its threshold or rival a decision is a near-tie; ``pixels`` the share of a mask's pixels
    that may differ without being near-ties.
    """

    box: float
    box_relative: float
    score: float
    margin: float
    pixels: float


@dataclass
class Comparison:
    """What two answers differ in: ``refusals`` beyond the tolerance, ``ties`` near-ties, ``largest`` the difference."""

    refusals: list[str] = field(default_factory=list)
    ties: list[str] = field(default_factory=list)
    largest: float = 0.0


Spec = TypeVar("Spec", bound=BundleSpec)


class Task(ABC, Generic[Spec]):
    """The inference side of one task. It holds no state."""

    result_type: ClassVar[Callable[..., Result]]

    @abstractmethod
    def outputs(self, spec: Spec) -> Mapping[str, Sequence[int | str | None]]:
        """The network's outputs by name with the shapes that the bundle promises.

        A name stands for a size that the file must leave open, None for any size.
        """

    @abstractmethod
    def answer(
        self, raw: Sequence[Array], placement: Placement, image_size: tuple[int, int], spec: Spec, options: Any
    ) -> dict[str, Any]:
        """One picture's raw outputs (in the order of `wanted`) as the result's own fields."""

    @abstractmethod
    def compare(
        self,
        expected: Mapping[str, Any],
        found: Mapping[str, Any],
        spec: Spec,
        tolerance: Tolerance,
        gap: Callable[[Any], float],
    ) -> Comparison:
        """Compare two answers in JSON form; ``gap`` tells how near the expected side's rivals were (see `gap`)."""

    @abstractmethod
    def gap(self, raw: Array, placement: Placement, image_size: tuple[int, int], spec: Spec) -> Callable[[Any], float]:
        """The gap between the best two classes of the place that a comparison asks about, from the raw outputs."""

    def wanted(self, spec: Spec, explain: bool) -> tuple[str, ...]:
        """The names of the outputs to ask for; ``explain`` wants what a heat map is drawn from."""
        if explain:
            raise UserError(
                f"explain: {spec.name} is a {spec.task} model, and only classifiers have a heat map of the evidence"
            )
        return (spec.network.output,)


def no_gap(_: Any) -> float:
    """For answers without raw outputs: nothing is known to be near."""
    return float("inf")


def task_of(name: str) -> Task[Any]:
    """The task of that name; the names are those of bundles and configs."""
    module, kind = TASKS[name].split(":")
    task: Task[Any] = getattr(importlib.import_module(module), kind)()
    return task
