"""What happens to a picture before the network sees it: the one specification that training, evaluation, prediction and
the service share. It holds no arithmetic of its own (that is ``ops.letterbox``) and no augmentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ops import Placement

GreyLevel = Annotated[float, Field(ge=0, le=255)]
PositiveLevel = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(gt=0, le=16384)]


class Preprocessing(BaseModel):
    """Letterbox to ``input_size``, channel order, ``(value - mean) / std`` in grey levels 0-255, HWC to CHW."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["letterbox"] = Field(default="letterbox", description="How the picture is fitted to the input.")
    input_size: tuple[Side, Side] = Field(description="Height and width of the network's input in pixels.")
    color: Literal["rgb", "bgr"] = Field(default="bgr", description="Channel order that the network was trained with.")
    fill: int = Field(default=114, ge=0, le=255, description="Grey level of the border around the picture.")
    mean: tuple[GreyLevel, GreyLevel, GreyLevel] = Field(
        default=(0.0, 0.0, 0.0), description="Subtracted per channel, in grey levels, in the order that `color` names."
    )
    std: tuple[PositiveLevel, PositiveLevel, PositiveLevel] = Field(
        default=(1.0, 1.0, 1.0), description="Divisor per channel, in grey levels, in the order that `color` names."
    )
    center: bool = Field(default=False, description="Border on both sides (true) or at the bottom and right (false).")

    def apply(
        self, image: NDArray[np.uint8], out: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], Placement]:
        """Turn an RGB uint8 [H, W, 3] picture into the network's input, float32 [3, h, w].

        ``out`` (C-contiguous float32 [3, h, w]) receives the result when given. The placement tells where the picture
        lies in the input: ``x_input = x_picture * scale_x + left``.
        """
        from ops import letterbox

        return letterbox(
            image,
            self.input_size,
            fill=self.fill,
            mean=self.mean,
            std=self.std,
            swap_channels=self.color == "bgr",
            center=self.center,
            out=out,
        )
