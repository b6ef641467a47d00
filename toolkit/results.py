"""What a prediction returns: frozen values with units stated, and the JSON that Python and the service share.

No thresholds and no drawing code: those are postprocessing and ``toolkit.drawing``.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import PictureError, UserError, suggest

RGB = NDArray[np.uint8]


class Result(ABC):
    """What every task's result offers."""

    @abstractmethod
    def draw(self) -> RGB:
        """A copy of the picture, RGB uint8 [H, W, 3], with the result drawn in."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; the service answers with exactly this."""

    @abstractmethod
    def summary(self) -> str:
        """One line for people."""

    def save(self, path: str | Path) -> Path:
        """Write the drawn picture (.jpg, .png, ...) or ``to_dict`` (.json), as the suffix says; return the path.

        The folder is made when it is missing. An unknown suffix is a UserError.
        """
        from toolkit import images

        path = Path(path)
        suffix = path.suffix.lower()
        known = (*images.WRITABLE_SUFFIXES, ".json")
        if suffix not in known:
            raise UserError(f"{path}: a result is saved as one of {', '.join(known)}{suggest(suffix, known)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".json":
            path.write_text(json.dumps(self.to_dict(), ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            images.write(path, self.draw())
        return path


@dataclass(frozen=True, eq=False)
class DetectionResult(Result):
    """The objects found in one picture.

    Attributes:
        source: the path as given, ``clip.mp4#frame12`` (frames count from 0), or ``bytes``, ``array``, ``image``.
        image_size: (height, width) of the picture after EXIF orientation, pixels.
        class_names: all classes that the bundle knows.
        boxes: float32 [N, 4] xyxy, pixels of the picture.
        scores: float32 [N], falling.
        class_ids: int64 [N], positions in ``class_names``.
        timing: milliseconds in ``decode``, ``preprocess``, ``network`` and ``postprocess``; a batch's time in the
            network is shared evenly among its pictures.
        picture: gives the decoded picture for ``draw``. It decodes again where the pixels were not kept.

    Two results are equal when everything but ``timing`` and ``picture`` is. The arrays are read-only.
    """

    source: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    timing: Mapping[str, float] = field(default_factory=dict)
    picture: Callable[[], RGB] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        count = len(self.scores)
        expected = {"boxes": (count, 4), "scores": (count,), "class_ids": (count,)}
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DetectionResult):
            return NotImplemented
        return (
            (self.source, self.image_size, self.class_names) == (other.source, other.image_size, other.class_names)
            and np.array_equal(self.boxes, other.boxes)
            and np.array_equal(self.scores, other.scores)
            and np.array_equal(self.class_ids, other.class_ids)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def labels(self) -> list[str]:
        """The class name of each of the N detections."""
        return [self.class_names[class_id] for class_id in self.class_ids.tolist()]

    def draw(self) -> RGB:
        from toolkit.drawing import draw_detections

        if self.picture is None:
            raise UserError(f"{self.source}: this result was made without its picture, so there is nothing to draw on")
        image = self.picture()
        if image.shape[:2] != tuple(self.image_size):
            raise PictureError(f"{self.source}: the picture has changed since the prediction; predict again")
        return draw_detections(image, self.boxes, self.labels, self.scores, self.class_ids)

    def to_dict(self) -> dict[str, Any]:
        """The fields by their names, and ``labels``. Boxes are rounded to 1/100 pixel, scores to 6 decimals,
        timing to microseconds."""
        return {
            "source": self.source,
            "image_size": list(self.image_size),
            "class_names": list(self.class_names),
            "boxes": [[round(value, 2) for value in box] for box in self.boxes.tolist()],
            "scores": [round(score, 6) for score in self.scores.tolist()],
            "class_ids": self.class_ids.tolist(),
            "labels": self.labels,
            "timing": {stage: round(value, 3) for stage, value in self.timing.items()},
        }

    def summary(self) -> str:
        """Such as ``street.jpg: 3 with_mask, 1 without_mask (12.3 ms)``."""
        counts = sorted(Counter(self.class_ids.tolist()).items())
        found = ", ".join(f"{count} {self.class_names[class_id]}" for class_id, count in counts) or "nothing found"
        spent = f" ({sum(self.timing.values()):.1f} ms)" if self.timing else ""
        return f"{self.source}: {found}{spent}"


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
