"""What the results of all tasks share: comparing, drawing, saving, and one dictionary for Python and the service.

No field of a single task: those stand in the result's own class.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import PictureError, UserError, suggest

RGB = NDArray[np.uint8]


class Result(ABC):
    """What every task's result offers; each is a frozen dataclass with these fields and its own.

    Attributes:
        source: the path as given, ``clip.mp4#frame12`` (frames count from 0), or ``bytes``, ``array``, ``image``.
        image_size: (height, width) of the picture after EXIF orientation, pixels.
        class_names: all classes that the bundle knows.
        timing: milliseconds in ``decode``, ``preprocess``, ``network`` and ``postprocess``; a batch's time in the
            network is shared evenly among its pictures.
        picture: gives the decoded picture for ``draw``. It decodes again where the pixels were not kept.

    Two results of a task are equal when their source, size, names and arrays are. The arrays are read-only.
    """

    source: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    timing: Mapping[str, float]
    picture: Callable[[], RGB] | None
    _arrays: ClassVar[tuple[str, ...]]  # the fields that make two results equal, besides the first three

    @abstractmethod
    def _draw_on(self, image: RGB) -> RGB:
        """A copy of the picture with the result drawn in."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; the service answers with exactly this."""

    @abstractmethod
    def _gist(self) -> str:
        """What was found, in a few words."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return (
            (self.source, self.image_size, self.class_names) == (other.source, other.image_size, other.class_names)
        ) and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self._arrays)

    __hash__ = None  # type: ignore[assignment]

    def draw(self) -> RGB:
        """A copy of the picture, RGB uint8 [H, W, 3], with the result drawn in.

        Raises ``UserError`` when the result was made without its picture, ``PictureError`` when that has changed.
        """
        if self.picture is None:
            raise UserError(f"{self.source}: this result was made without its picture, so there is nothing to draw on")
        image = self.picture()
        if image.shape[:2] != tuple(self.image_size):
            raise PictureError(f"{self.source}: the picture has changed since the prediction; predict again")
        return self._draw_on(image)

    def summary(self) -> str:
        """One line for people: the source, what was found, and the time it took where that is known."""
        spent = f" ({sum(self.timing.values()):.1f} ms)" if self.timing else ""
        return f"{self.source}: {self._gist()}{spent}"

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

    def _freeze(self, name: str, shape: tuple[int, ...]) -> None:
        """Make the field's array read-only, here and not at the caller's; ``ValueError`` for another shape."""
        array = getattr(self, name)
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
        view = array.view()
        view.flags.writeable = False
        object.__setattr__(self, name, view)

    def _as_dict(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The common fields around a task's own; timing is rounded to microseconds."""
        return {
            "source": self.source,
            "image_size": list(self.image_size),
            "class_names": list(self.class_names),
            **content,
            "timing": {stage: round(value, 3) for stage, value in self.timing.items()},
        }


def expect_dtype(name: str, array: NDArray[Any], dtype: type[np.generic]) -> None:
    """``ValueError`` unless the field has that dtype: results never convert, so that what is compared is what came."""
    if array.dtype != dtype:
        raise ValueError(f"{name}: expected {np.dtype(dtype).name}, got {array.dtype}")
