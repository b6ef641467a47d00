"""What a prediction returns: frozen values with units stated, and the JSON that Python and the service share.

No thresholds and no drawing code: those are postprocessing and ``toolkit.drawing``. Detections stand here, the other
tasks in files of their own; take all of them from this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from toolkit.abstention import UNSURE, Abstention
from toolkit.classification_result import ClassificationResult
from toolkit.ct_report import CTReport
from toolkit.grouping import name_of
from toolkit.result_base import RGB, Result
from toolkit.segmentation_result import SegmentationResult

__all__ = ["RGB", "CTReport", "ClassificationResult", "DetectionResult", "Failure", "Result", "SegmentationResult"]


@dataclass(frozen=True, eq=False)
class DetectionResult(Result):
    """The objects found in one picture; see ``Result`` for the fields that all tasks share.

    Attributes:
        boxes: float32 [N, 4] xyxy, pixels of the picture.
        scores: float32 [N], falling.
        class_ids: int64 [N], positions in ``class_names``.
        abstention: when a box's class is "unsure", or None where the bundle always answers.
        bins: which classes go into which bin, by its name; empty where the bundle knows of none.
    """

    source: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    timing: Mapping[str, float] = field(default_factory=dict)
    picture: Callable[[], RGB] | None = field(default=None, repr=False)
    abstention: Abstention | None = None
    bins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _arrays: ClassVar[tuple[str, ...]] = ("boxes", "scores", "class_ids")

    def __post_init__(self) -> None:
        count = len(self.scores)
        for name, shape in {"boxes": (count, 4), "scores": (count,), "class_ids": (count,)}.items():
            self._freeze(name, shape)

    @property
    def labels(self) -> list[str]:
        """The class name of each of the N detections."""
        return [self.class_names[class_id] for class_id in self.class_ids.tolist()]

    @property
    def decisions(self) -> list[str]:
        """The class name of each detection, or "unsure" where the bundle abstains."""
        rule = self.abstention
        return [rule.decision(label, score) for label, score in self._scored()] if rule else self.labels

    @property
    def abstained(self) -> list[bool]:
        """Of each detection, whether the bundle is unsure."""
        rule = self.abstention
        return [rule is not None and rule.abstains(score) for _, score in self._scored()]

    @property
    def reasons(self) -> list[str]:
        """Of each detection, why the bundle is unsure, in one sentence; "" where it is not."""
        rule = self.abstention
        return [rule.reason(label, score) if rule else "" for label, score in self._scored()]

    @property
    def box_bins(self) -> list[str]:
        """The bin of each detection's class, or "unsure" where that is; empty without bins."""
        if not self.bins:
            return []
        return [said if said == UNSURE else name_of(self.bins, said) for said in self.decisions]

    def _scored(self) -> list[tuple[str, float]]:
        return list(zip(self.labels, self.scores.tolist(), strict=True))

    def _draw_on(self, image: RGB) -> RGB:
        from toolkit.drawing import draw_detections

        pairs = zip(self.labels, self.abstained, strict=True)
        labels = [f"{UNSURE}: {label}" if unsure else self._with_bin(label) for label, unsure in pairs]
        return draw_detections(image, self.boxes, labels, self.scores, self.class_ids)

    def _with_bin(self, label: str) -> str:
        return f"{label} -> {name_of(self.bins, label)}" if self.bins else label

    def to_dict(self) -> dict[str, Any]:
        """The fields by their names, and ``labels``; of each detection ``bins`` where the bundle knows bins, and
        ``decisions``, ``abstained`` and ``reasons`` where it may abstain. Boxes are rounded to 1/100 pixel, scores to
        6 decimals, timing to microseconds.
        """
        return self._as_dict(
            {
                "boxes": [[round(value, 2) for value in box] for box in self.boxes.tolist()],
                "scores": [round(score, 6) for score in self.scores.tolist()],
                "class_ids": self.class_ids.tolist(),
                "labels": self.labels,
                **self._decided(),
            }
        )

    def _decided(self) -> dict[str, Any]:
        decided: dict[str, Any] = {}
        if self.abstention is not None:
            decided = {"decisions": self.decisions, "abstained": self.abstained, "reasons": self.reasons}
        return {**decided, "bins": self.box_bins} if self.bins else decided

    def _gist(self) -> str:
        """Such as ``3 with_mask, 1 without_mask, 1 unsure``."""
        counts = Counter(self.decisions)
        told = [name for name in (*self.class_names, UNSURE) if name in counts]
        return ", ".join(f"{counts[name]} {name}" for name in told) or "nothing found"


@dataclass(frozen=True)
class Failure:
    """Stands in a batch where a picture could not be used. False in a condition, so ``if result:`` tells them apart."""

    source: str
    error: str

    def __bool__(self) -> bool:
        return False

    def to_dict(self) -> dict[str, Any]:
        return {"source": self.source, "error": self.error}

    def summary(self) -> str:
        """The error in one line; it names the picture already."""
        return self.error
