"""What happens to a picture before the network sees it: the one specification that training, evaluation, prediction and
the service share. It holds no arithmetic of its own (that is ``ops.letterbox``) and no augmentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ops import Placement

GreyLevel = Annotated[float, Field(ge=0, le=255)]
PositiveLevel = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(gt=0, le=16384)]


class Preprocessing(BaseModel):
    """Fit to ``input_size``, channel order, ``(value - mean) / std`` in grey levels 0-255, HWC to CHW."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["letterbox", "stretch", "crop"] = Field(
        default="letterbox",
        description="How the picture is fitted to the input: ratio kept and filled, stretched, or its middle cut out.",
    )
    input_size: tuple[Side, Side] = Field(
        description="Height and width of the network's input in pixels; with `pad_multiple` its largest."
    )
    pad_multiple: Side | None = Field(
        default=None,
        description="Border only up to the next multiple of this many pixels, so that wide and tall pictures make a "
        "smaller input; null: up to `input_size`.",
    )
    color: Literal["rgb", "bgr"] = Field(default="bgr", description="Channel order that the network was trained with.")
    fill: int = Field(default=114, ge=0, le=255, description="Grey level of the border around the picture.")
    normalize: Literal["fixed", "picture"] = Field(
        default="fixed", description="Whether `mean` and `std` are the ones below or each picture's own."
    )
    mean: tuple[GreyLevel, GreyLevel, GreyLevel] = Field(
        default=(0.0, 0.0, 0.0), description="Subtracted per channel, in grey levels, in the order that `color` names."
    )
    std: tuple[PositiveLevel, PositiveLevel, PositiveLevel] = Field(
        default=(1.0, 1.0, 1.0), description="Divisor per channel, in grey levels, in the order that `color` names."
    )
    window_hu: tuple[float, Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        description="Center and width, in Hounsfield units, of the window through which slices of a CT series become "
        "pictures; null: of a model that finds lungs -600 and 1500.",
    )
    center: bool = Field(default=False, description="Border on both sides (true) or at the bottom and right (false).")

    @model_validator(mode="after")
    def _only_a_letterbox_pads(self) -> Self:
        if self.pad_multiple is not None and self.kind != "letterbox":
            raise ValueError(f"pad_multiple is for kind 'letterbox', not for {self.kind!r}, which has no border")
        return self

    @property
    def size_in_words(self) -> str:
        """Width and height of the input, as people read them."""
        height, width = self.input_size
        return f"{width}x{height}" if self.pad_multiple is None else f"up to {width}x{height}"

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the input that a picture of that size makes; pictures of one such size fit in a batch."""
        if self.pad_multiple is None:
            return self.input_size
        from ops.letterbox import padded_size

        return padded_size(height, width, self.input_size, self.pad_multiple)

    def apply(
        self, image: NDArray[np.uint8], out: NDArray[np.float32] | None = None, *, border: bool = True
    ) -> tuple[NDArray[np.float32], Placement]:
        """Turn an RGB uint8 [H, W, 3] picture into the network's input, float32 [3, h, w], see `size_for`.

        ``out`` (C-contiguous float32 [3, h, w]) receives the result when given; ``border`` False trusts it to hold the
        area beside the picture already, see `border_of`. The placement tells where the picture
        lies in the input: ``x_input = x_picture * scale_x + left``.
        """
        from ops import letterbox, resize_normalize

        mean, std = self._levels(image)
        swap = self.color == "bgr"
        if self.kind == "letterbox":
            return letterbox(
                image, self.input_size, fill=self.fill, mean=mean, std=std, swap_channels=swap, center=self.center,
                pad_multiple=self.pad_multiple, border=border, out=out,
            )  # fmt: skip
        region = middle(image.shape[0], image.shape[1], self.input_size) if self.kind == "crop" else None
        return resize_normalize(image, self.input_size, region=region, mean=mean, std=std, swap_channels=swap, out=out)

    def border_of(self, height: int, width: int) -> object:
        """What decides the area beside a picture of that size: equal objects, equal areas; None: it is never equal."""
        if self.kind != "letterbox" or self.normalize != "fixed":
            return None
        from ops.letterbox import place

        return place(height, width, self.input_size, self.center, self.pad_multiple)

    def _levels(self, image: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation in the order that ``color`` names."""
        if self.normalize == "fixed":
            return self.mean, self.std
        from ops import channel_statistics

        mean, std = channel_statistics(image)
        order = slice(None, None, -1 if self.color == "bgr" else 1)
        # A picture of one grey level has no contrast to divide by.
        return tuple(mean[order].tolist()), tuple(max(level, 1.0) for level in std[order].tolist())


def middle(height: int, width: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest middle part (top, left, height, width) of a picture that has the shape of ``size``."""
    scale = min(height / size[0], width / size[1])
    inner_height, inner_width = size[0] * scale, size[1] * scale
    return (height - inner_height) / 2, (width - inner_width) / 2, inner_height, inner_width
