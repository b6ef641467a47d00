"""The ``model`` blocks of a config: which network is trained, and the options of its constructor.

A new network is a file in ``zoo`` and a line in `registry`; it has the keys of its task's networks, and a block here
only where it has others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from toolkit.config.blocks import LOCATED, Block, InputSide, Name, one_of
from toolkit.config.registry import NETWORKS


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


class ClassifierBlock(ModelBlock):
    """The keys that every classifier has."""

    input_size: tuple[InputSide, InputSide] = Field(
        default=(224, 224), description="Size the network sees as [height, width], in pixels; multiples of 32."
    )


class MobileNetV2Model(ClassifierBlock):
    """MobileNetV2: a classifier for small machines (Sandler et al. 2018)."""

    name: Literal["mobilenet_v2"] = Field(description="Network to train; mobilenet_v2 is small and fast.")
    width: Annotated[float, Field(ge=0.25, le=2)] = Field(
        default=1.0, description="Factor on the number of channels of every layer."
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="Share of the features that are left out before the last layer while training."
    )


class ResNetModel(ClassifierBlock):
    """ResNet: classifiers with residual blocks (He et al. 2015)."""

    name: Literal["resnet18", "resnet50"] = Field(description="Network to train; resnet50 is the larger one.")


class SegmenterBlock(ModelBlock):
    """The keys that every segmentation network has."""

    input_size: tuple[InputSide, InputSide] = Field(
        default=(256, 256), description="Size the network sees as [height, width], in pixels; multiples of 32."
    )


class EncodedBlock(SegmenterBlock):
    """The keys of segmentation networks that stand on a classifier."""

    encoder: Literal["mobilenet_v2", "resnet18", "resnet50"] = Field(
        default="mobilenet_v2", description="Classifier whose features the network builds on."
    )


class UnetModel(EncodedBlock):
    """U-Net: an encoder and a decoder with connections at every size (Ronneberger et al. 2015)."""

    name: Literal["unet"] = Field(description="Network to train; unet draws fine borders.")
    last_activation: Literal["relu", "silu", "none"] = Field(
        default="relu",
        description="Activation of the features before the logits; after relu all of a place's may be 0, which then "
        "learns nothing any more, after silu or none they are not.",
    )


class DeepLabV3Model(EncodedBlock):
    """DeepLabv3: dilated convolutions that see far around each place (Chen et al. 2017)."""

    name: Literal["deeplabv3"] = Field(description="Network to train; deeplabv3 sees far around each place.")


if TYPE_CHECKING:
    Detector: TypeAlias = ModelBlock
    Classifier: TypeAlias = ModelBlock
    Segmenter: TypeAlias = ModelBlock
else:
    Detector = one_of("name", NETWORKS["detection"], ModelBlock, YoloxModel)
    Classifier = one_of("name", NETWORKS["classification"], ClassifierBlock, MobileNetV2Model, ResNetModel)
    Segmenter = one_of("name", NETWORKS["segmentation"], SegmenterBlock, UnetModel, DeepLabV3Model)
