"""What a segmentation returns: the class of every pixel, as an array, as COCO's run lengths and as a PNG.

Take it from ``toolkit.results``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import UserError
from toolkit.result_base import RGB, Result, expect_dtype


def background_of(class_names: Sequence[str]) -> int | None:
    """0 where the first class is named "background", else None: then every class is one of interest."""
    return 0 if class_names and class_names[0].lower() == "background" else None


@dataclass(frozen=True, eq=False)
class SegmentationResult(Result):
    """The class of each pixel of one picture; see ``toolkit.results.Result`` for the fields that all tasks share.

    Attributes:
        mask: uint8 [H, W], positions in ``class_names``, at the picture's own size.
        presence: of classes that the bundle says this of, a score from 0 to 1 for the picture holding them at all.
        present: those whose score reaches the bundle's threshold.

    A first class that is named "background" is what remains: it is measured and listed like any other, but neither
    drawn nor named in ``summary``.
    """

    source: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    mask: NDArray[np.uint8]
    presence: Mapping[str, float] = field(default_factory=dict)
    present: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)
    picture: Callable[[], RGB] | None = field(default=None, repr=False)
    _arrays: ClassVar[tuple[str, ...]] = ("mask",)

    def __post_init__(self) -> None:
        expect_dtype("mask", self.mask, np.uint8)
        self._freeze("mask", tuple(self.image_size))
        if self.mask.size and self.mask.max() >= len(self.class_names):
            raise ValueError(f"mask: expected ids below {len(self.class_names)}, the classes, got {self.mask.max()}")

    @property
    def background(self) -> int | None:
        """See ``background_of``."""
        return background_of(self.class_names)

    def areas(self) -> dict[str, int]:
        """The number of pixels of each class, by name; 0 for those that are not there."""
        return dict(zip(self.class_names, self._counts(), strict=True))

    def shares(self) -> dict[str, float]:
        """The part of the picture, 0 to 1, that each class covers, by name."""
        return {name: area / max(1, self.mask.size) for name, area in self.areas().items()}

    def _counts(self) -> list[int]:
        counts: list[int] = np.bincount(self.mask.ravel(), minlength=len(self.class_names)).tolist()
        return counts

    def mask_png(self) -> bytes:
        """The mask as an 8-bit grey PNG whose values are the class ids: lossless, and dark to look at."""
        import cv2

        done, data = cv2.imencode(".png", self.mask)
        if not done:
            raise UserError(f"{self.source}: a mask of {self.mask.shape[1]}x{self.mask.shape[0]} cannot be a PNG")
        return data.tobytes()

    def save_mask(self, path: str | Path) -> Path:
        """Write ``mask_png`` and return the path; ``save`` writes the drawing. Another suffix is a UserError."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise UserError(f"{path}: a mask is saved as .png, which keeps class ids as they are")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.mask_png())
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from None
        return path

    def _draw_on(self, image: RGB) -> RGB:
        from toolkit.drawing import draw_segmentation

        return draw_segmentation(image, self.mask, self.class_names, background=self.background)

    def to_dict(self, *, masks: Literal["rle", "png"] = "rle") -> dict[str, Any]:
        """The fields by their names, with the mask as COCO's run lengths or as a PNG, never as a flat list.

        Args:
            masks: "rle" gives ``masks``, a list with ``class_id``, ``label``, ``area`` (pixels) and ``rle`` (COCO's
                ``{"size": [height, width], "counts": str}``) of every class that is there, class 0 too, so that nobody
                needs to know which one is the background. "png" gives ``mask_png``, the base64 of ``mask_png()``.

        ``presence`` stands beside it where the bundle tells any: by class its ``score`` and whether it is ``present``.
        """
        if masks == "rle":
            return self._as_dict({"masks": self._run_lengths(), **self._told_presence()})
        if masks == "png":
            mask_png = base64.b64encode(self.mask_png()).decode("ascii")
            return self._as_dict({"mask_png": mask_png, **self._told_presence()})
        raise UserError(f"masks: expected 'rle' or 'png', got {masks!r}")

    def _run_lengths(self) -> list[dict[str, Any]]:
        from ops import rle_encode_labels

        areas = self._counts()
        present = [class_id for class_id, area in enumerate(areas) if area]
        return [
            {"class_id": class_id, "label": self.class_names[class_id], "area": areas[class_id], "rle": rle}
            for class_id, rle in zip(present, rle_encode_labels(self.mask, present), strict=True)
        ]

    def _told_presence(self) -> dict[str, Any]:
        rows = {name: {"score": score, "present": name in self.present} for name, score in self.presence.items()}
        return {"presence": rows} if rows else {}

    def _gist(self) -> str:
        """Such as ``lung 23.1 %, lesion 2.4 %``: the share of the picture."""
        from toolkit.drawing_text import percent

        background = self.class_names[0] if self.background == 0 else None
        found = [f"{name} {percent(share)}" for name, share in self.shares().items() if share and name != background]
        return ", ".join(found) or "nothing found"
