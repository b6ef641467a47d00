"""The ``model`` blocks of a config: which network is trained, and the options of its constructor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from toolkit.config.blocks import LOCATED, Block, InputSide, Name


class ModelBlock(Block):
    """The keys that every network has; the others are the network's own and go to its constructor."""

    name: str = Field(description="Network to train.")
    input_size: tuple[InputSide, InputSide] = Field(
        default=(416, 416), description="Size the network sees as [height, width], in pixels; multiples of 32."
    )
    init: Annotated[Name | None, LOCATED] = Field(
        default=None,
        description="Weights to start from: zoo:NAME, a bundle, a run folder or a .safetensors file; null starts from "
        "random weights.",
        examples=["zoo:mask_detection"],
    )

    @property
    def options(self) -> dict[str, object]:
        """The network's own keys, as its constructor takes them."""
        return self.model_dump(exclude=set(ModelBlock.model_fields))


class YoloxModel(ModelBlock):
    """YOLOX: anchor-free one-stage detectors (Ge et al. 2021)."""

    name: Literal["yolox_nano", "yolox_tiny", "yolox_s"] = Field(
        description="Network to train; nano is the fastest, s the most accurate."
    )


class MobileNetV2Model(ModelBlock):
    """MobileNetV2: a classifier for small machines (Sandler et al. 2018)."""

    name: Literal["mobilenet_v2"] = Field(description="Network to train; mobilenet_v2 is small and fast.")
    input_size: tuple[InputSide, InputSide] = Field(
        default=(224, 224), description="Size the network sees as [height, width], in pixels; multiples of 32."
    )
    width: Annotated[float, Field(ge=0.25, le=2)] = Field(
        default=1.0, description="Factor on the number of channels of every layer."
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="Share of the features that are left out before the last layer while training."
    )


class ResNetModel(ModelBlock):
    """ResNet: classifiers with residual blocks (He et al. 2015)."""

    name: Literal["resnet18", "resnet50"] = Field(description="Network to train; resnet50 is the larger one.")
    input_size: tuple[InputSide, InputSide] = Field(
        default=(224, 224), description="Size the network sees as [height, width], in pixels; multiples of 32."
    )


class SegmenterBlock(ModelBlock):
    """The keys that every segmentation network has."""

    input_size: tuple[InputSide, InputSide] = Field(
        default=(256, 256), description="Size the network sees as [height, width], in pixels; multiples of 32."
    )
    encoder: Literal["mobilenet_v2", "resnet18", "resnet50"] = Field(
        default="mobilenet_v2", description="Classifier whose features the network builds on."
    )


class UnetModel(SegmenterBlock):
    """U-Net: an encoder and a decoder with connections at every size (Ronneberger et al. 2015)."""

    name: Literal["unet"] = Field(description="Network to train; unet draws fine borders.")


class DeepLabV3Model(SegmenterBlock):
    """DeepLabv3: dilated convolutions that see far around each place (Chen et al. 2017)."""

    name: Literal["deeplabv3"] = Field(description="Network to train; deeplabv3 sees far around each place.")


Detector = YoloxModel  # a second architecture makes this a union on `name`, as below
Classifier = Annotated[MobileNetV2Model | ResNetModel, Field(discriminator="name")]
Segmenter = Annotated[UnetModel | DeepLabV3Model, Field(discriminator="name")]
