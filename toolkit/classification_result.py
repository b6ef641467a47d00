"""What a classification returns: one probability a class, of classes that exclude each other.

Take it from ``toolkit.results``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from toolkit.abstention import UNSURE, Abstention
from toolkit.errors import UserError
from toolkit.result_base import RGB, Result, expect_dtype

_SUM_TOLERANCE = 1e-3  # what float32 and an int8 network may lose


@dataclass(frozen=True, eq=False)
class ClassificationResult(Result):
    """How likely each class is for one picture; see ``toolkit.results.Result`` for the fields that all tasks share.

    Attributes:
        probabilities: float32 [C], in the order of ``class_names``; their sum is 1. Independent scores per class (a
            sigmoid each) are another task and are refused.
        class_activation: float32 [h, w] from 0 to 1, how much each part of the picture spoke for ``label``, or None.
            It covers the whole picture at a resolution of its own and is there to be drawn: ``to_dict`` and
            comparisons leave it out.
        top_k: how many of the likeliest classes ``to_dict`` and ``top()`` list; no part of comparisons.
        abstention: when the answer is "unsure", or None where the bundle always answers.
        bins: which classes go together, by the bin's name; empty where the bundle knows of none.
    """

    source: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    timing: Mapping[str, float] = field(default_factory=dict)
    picture: Callable[[], RGB] | None = field(default=None, repr=False)
    class_activation: NDArray[np.float32] | None = field(default=None, repr=False)
    top_k: int = 5
    abstention: Abstention | None = None
    bins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _arrays: ClassVar[tuple[str, ...]] = ("probabilities",)

    def __post_init__(self) -> None:
        expect_dtype("probabilities", self.probabilities, np.float32)
        self._freeze("probabilities", (len(self.class_names),))
        total = float(self.probabilities.sum(dtype=np.float64))
        if not (self.probabilities >= 0).all() or not abs(total - 1) <= _SUM_TOLERANCE:
            raise ValueError(f"probabilities: expected numbers from 0 up whose sum is 1, got the sum {total:g}")
        if self.class_activation is not None:
            self._check_activation(self.class_activation)

    def _check_activation(self, heat: NDArray[np.float32]) -> None:
        expect_dtype("class_activation", heat, np.float32)
        if heat.ndim != 2 or heat.size == 0:
            raise ValueError(f"class_activation: expected shape [h, w], got {list(heat.shape)}")
        if not ((heat >= 0) & (heat <= 1)).all():
            raise ValueError(f"class_activation: expected numbers from 0 to 1, got {heat.min():g} to {heat.max():g}")
        self._freeze("class_activation", heat.shape)

    @property
    def class_id(self) -> int:
        """The likeliest class, a position in ``class_names``; the lower one of two that are equal."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """The name of the likeliest class."""
        return self.class_names[self.class_id]

    @property
    def score(self) -> float:
        """The probability of the likeliest class."""
        return float(self.probabilities[self.class_id])

    @property
    def decision(self) -> str:
        """The name of the likeliest class, or "unsure" where the bundle abstains."""
        return self.abstention.decision(self.label, self.score) if self.abstention else self.label

    @property
    def abstained(self) -> bool:
        """Whether the bundle is unsure."""
        return self.abstention is not None and self.abstention.abstains(self.score)

    @property
    def reason(self) -> str:
        """Why the bundle is unsure, in one sentence; "" where it is not."""
        return self.abstention.reason(self.label, self.score) if self.abstention else ""

    @property
    def bin_probabilities(self) -> dict[str, float]:
        """The probability of each bin: the sum of its classes'."""
        values = dict(zip(self.class_names, self.probabilities.tolist(), strict=True))
        return {name: sum(values[label] for label in parts) for name, parts in self.bins.items()}

    @property
    def bin(self) -> str | None:
        """The likeliest bin, the first of two that are equal; "unsure" where the class is, None without bins."""
        if self.abstained and self.bins:
            return UNSURE
        return max(self.bin_probabilities.items(), key=lambda item: item[1])[0] if self.bins else None

    def top(self, k: int | None = None) -> list[tuple[str, float]]:
        """The k (else ``top_k``) likeliest classes, or all if fewer, as (label, score); equal scores lower id first."""
        k = self.top_k if k is None else k
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise UserError(f"top: expected an integer from 1 up, got {k!r}")
        best = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.class_names[class_id], float(self.probabilities[class_id])) for class_id in best]

    def _draw_on(self, image: RGB) -> RGB:
        from toolkit.drawing import draw_classification

        said = UNSURE if self.abstained else self.bin or ""
        return draw_classification(image, self.probabilities, self.class_names, self.class_activation, said)

    def to_dict(self) -> dict[str, Any]:
        """The fields by their names, the winning ``label``, ``score`` and ``class_id``, and ``top``, the ``top_k``
        likeliest classes as ``{"label", "score"}``; ``decision``, ``abstained`` and ``reason`` where the bundle may
        abstain; ``bin`` and ``bin_probabilities`` where it knows bins. Probabilities are rounded to 6 decimals."""
        return self._as_dict(
            {
                "probabilities": [round(value, 6) for value in self.probabilities.tolist()],
                "label": self.label,
                "score": round(self.score, 6),
                "class_id": self.class_id,
                "top": [{"label": label, "score": round(score, 6)} for label, score in self.top()],
                **self._decided(),
            }
        )

    def _decided(self) -> dict[str, Any]:
        decided: dict[str, Any] = {}
        if self.abstention is not None:
            decided = {"decision": self.decision, "abstained": self.abstained, "reason": self.reason}
        if self.bins:
            decided["bin"] = self.bin
            decided["bin_probabilities"] = {name: round(value, 6) for name, value in self.bin_probabilities.items()}
        return decided

    def _gist(self) -> str:
        """Such as ``plastic 0.93, glass 0.04``; the reason where the bundle abstains."""
        into = f" -> {self.bin}" if self.bins else ""
        return self.reason or ", ".join(f"{label} {score:.2f}" for label, score in self.top(2)) + into
