"""What a config may say: every key with its type, bounds, default and meaning. Data only, no behaviour.

The schema is the registry: a new model, data format or optimizer is one more member of a union on its literal name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Block(BaseModel):
    """A block of keys: read-only, no unknown key, no silent conversion, no infinite number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Located:
    """Marks a field that names a file: relative to its YAML, or in an override to the working directory."""


LOCATED = Located()
ZOO_PREFIX = "zoo:"


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("expected a path, got an empty text")
    return value


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"expected [smallest, largest], got {list(pair)}")
    return pair


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected every name once, got {', '.join(map(repr, twice))} more than once")
    return names


def _one_transform(entry: dict[str, Any]) -> dict[str, Any]:
    if len(entry) != 1:
        raise ValueError(f"expected one transform, as in '- HorizontalFlip: {{p: 0.5}}', got {len(entry)} keys")
    return entry


FilePath = Annotated[Path, BeforeValidator(_not_empty)]
Name = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
PictureSide = Annotated[int, Field(ge=32, le=4096)]
InputSide = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]
Transform = Annotated[dict[str, dict[str, Any]], AfterValidator(_one_transform)]


class DataCommon(Block):
    """The keys that every data format has."""

    format: str = Field(description="How the data is stored.")
    val_fraction: float = Field(
        default=0.1, gt=0, lt=1, description="Share of the pictures held out for validation, between 0 and 1."
    )
    on_fault: Literal["stop", "skip"] = Field(
        default="stop",
        description="What to do about broken pictures and labels: stop lists them all and ends, skip records them and "
        "goes on without them.",
    )
    cache_mb: CountOrZero = Field(
        default=2048, description="Memory for decoded pictures, in megabytes; what does not fit is decoded again."
    )
    workers: Annotated[int, Field(ge=0, le=256)] = Field(
        default=0,
        description="Processes that prepare batches beside the training; 0 prepares them inside it.",
    )


class CocoData(DataCommon):
    """Boxes in COCO's format: a folder of pictures and one annotations.json."""

    format: Literal["coco"] = Field(description="How the data is stored; coco: pictures and one JSON file of boxes.")
    root: Annotated[FilePath, LOCATED] = Field(
        description="Folder of the data set, with the annotation file and the pictures in it.",
        examples=["/your/pictures"],
    )
    annotations: FilePath = Field(
        default=Path("annotations.json"), description="Annotation file in COCO's format, relative to data.root."
    )
    images: FilePath = Field(
        default=Path("images"),
        description="Folder of the pictures that the annotations name, relative to data.root.",
    )
    splits: Annotated[FilePath | None, LOCATED] = Field(
        default=None,
        description="CSV file with the columns image, split (train, val or test) and optionally group; it takes the "
        "place of val_fraction.",
    )
    check_groups: bool = Field(
        default=True,
        description="Whether a group of the split file that stands in two splits is a fault; false where the file puts "
        "them so on purpose.",
    )
    classes: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_distinct)] | None = Field(
        default=None,
        description="Class names to learn, matched to the annotation file by name; null takes all of its categories, "
        "in the order of their ids.",
    )


class ShapesData(DataCommon):
    """Pictures of coloured shapes that the toolkit draws itself: to try everything without a data set."""

    format: Literal["shapes"] = Field(description="How the data is stored; shapes: the toolkit draws it first.")
    root: Annotated[FilePath | None, LOCATED] = Field(
        default=None,
        description="Folder to draw into; null is runs/shapes-<pictures>-<size>-<seed> in the working directory.",
    )
    pictures: Annotated[int, Field(ge=2, le=100_000)] = Field(default=240, description="How many pictures to draw.")
    size: tuple[PictureSide, PictureSide] = Field(
        default=(320, 320), description="Size of a drawn picture as [height, width], in pixels."
    )
    val_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="Share of the pictures held out for validation, between 0 and 1."
    )
    seed: Seed = Field(default=0, description="Seed of the drawing; the same seed draws the same pictures.")


class YoloxModel(Block):
    """YOLOX: anchor-free one-stage detectors (Ge et al. 2021)."""

    name: Literal["yolox_nano", "yolox_tiny", "yolox_s"] = Field(
        description="Network to train; nano is the fastest, s the most accurate."
    )
    input_size: tuple[InputSide, InputSide] = Field(
        default=(416, 416), description="Size the network sees as [height, width], in pixels; multiples of 32."
    )
    init: Annotated[Name | None, LOCATED] = Field(
        default=None,
        description="Weights to start from: zoo:NAME, a bundle, a run folder or a .safetensors file; null starts from "
        "random weights.",
        examples=["zoo:mask_detection"],
    )


class PreprocessConfig(Block):
    """How a picture becomes the network's input; training, evaluation and service all read this."""

    kind: Literal["letterbox"] = Field(
        default="letterbox", description="letterbox: scaled to fit with its aspect ratio kept, the rest filled."
    )
    color: Literal["rgb", "bgr"] = Field(default="bgr", description="Order of the colour channels the network sees.")
    fill: Annotated[int, Field(ge=0, le=255)] = Field(
        default=114, description="Grey level (0 to 255) of the area beside the picture."
    )
    mean: tuple[float, float, float] = Field(
        default=(0.0, 0.0, 0.0),
        description="Subtracted from each channel, in grey levels (0 to 255).",
    )
    std: tuple[Positive, Positive, Positive] = Field(
        default=(1.0, 1.0, 1.0), description="Each channel is then divided by it, in grey levels."
    )
    center: bool = Field(default=False, description="Place the picture in the middle of the input, not top left.")


class MosaicConfig(Block):
    """Four pictures in one."""

    probability: Fraction = Field(default=0.5, description="Share of the training pictures made of four.")
    off_epochs: CountOrZero = Field(default=5, description="The last epochs, which train on whole pictures only.")


class ZoomConfig(Block):
    """Pictures scaled so that a chosen object has a chosen size."""

    probability: Fraction = Field(default=0.8, description="Share of the training pictures that are zoomed.")
    object_size: Annotated[tuple[Positive, Positive], AfterValidator(_ascending)] = Field(
        default=(24.0, 350.0),
        description="[Smallest, largest] side that the chosen object gets, in pixels at the network's input.",
    )


class AugmentConfig(Block):
    """Random changes of the training pictures; validation and service never see them."""

    mosaic: MosaicConfig = Field(default=MosaicConfig(), description="Four training pictures put into one.")
    zoom: ZoomConfig = Field(default=ZoomConfig(), description="Training pictures zoomed to objects of many sizes.")
    oversample_rare: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.0,
        description="How much oftener pictures with rare classes are drawn: exponent of the inverse class frequency, "
        "0 is off, 0.5 the square root.",
    )
    albumentations: tuple[Transform, ...] = Field(
        default=(), description="Transforms of the albumentations library in their order, each as Name: {options}."
    )


class AdamW(Block):
    """AdamW (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = Field(description="Optimizer; adamw is the safe choice for fine-tuning.")
    lr: Positive = Field(default=1e-3, description="Highest learning rate, reached after the warm-up.")
    weight_decay: NotNegative = Field(default=0.05, description="Decoupled weight decay.")


class SGD(Block):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = Field(description="Optimizer; sgd suits long training from random weights.")
    lr: Positive = Field(default=0.01, description="Highest learning rate, reached after the warm-up.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="Momentum, 0 to below 1.")
    weight_decay: NotNegative = Field(default=5e-4, description="L2 penalty on the weights.")
    nesterov: bool = Field(default=True, description="Use Nesterov's form of momentum.")


Optimizer = Annotated[AdamW | SGD, Field(discriminator="name")]


class TrainConfig(Block):
    """How long and how to train."""

    epochs: Count = Field(default=50, description="How often the training set is gone through.")
    batch_size: Count = Field(default=16, description="Pictures a step.")
    optimizer: Optimizer = Field(default=AdamW(name="adamw"), description="The optimizer and its settings.")
    warmup_epochs: NotNegative = Field(
        default=1.0, description="Epochs over which the learning rate rises from 0; it then falls along a cosine."
    )
    min_lr_ratio: Fraction = Field(default=0.05, description="Learning rate at the end, as a share of the highest.")
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=0.996,
        description="Decay a step of the weights' moving average, which is validated and exported; null is off.",
    )
    clip_norm: Positive | None = Field(
        default=10.0, description="Largest norm of the gradient, longer ones are scaled down to it; null is off."
    )
    accumulate: Count = Field(default=1, description="Batches whose gradients are added up before a step.")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Number format of the network while training; bf16 is mixed precision."
    )
    early_stopping_epochs: Count | None = Field(
        default=None, description="Stop after so many epochs without a better validation result; null never does."
    )
    time_limit_minutes: Positive | None = Field(
        default=None, description="Stop after so many minutes and go on with the best so far; null never does."
    )
    validate_every: Count = Field(default=5, description="Epochs between validations; the last one always has one.")
    estimate_bn_batches: CountOrZero = Field(
        default=0,
        description="Training batches on which the start weights' batch-norm statistics are estimated anew first.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to train; auto takes the GPU if there is one."
    )
    threads: Count | None = Field(default=None, description="CPU threads to use; null leaves it to the libraries.")


class PostprocessConfig(Block):
    """What the bundle does with the network's output; evaluation uses its own low threshold."""

    score_threshold: Fraction = Field(default=0.25, description="Boxes with a lower score are dropped.")
    iou_threshold: Fraction = Field(
        default=0.6,
        description="Of two boxes of a class with a higher IoU than this, the lower score is dropped.",
    )
    max_detections: Count = Field(default=300, description="Most boxes kept in one picture.")


class BundleConfig(Block):
    """What the exported bundle and its card say about the model."""

    version: Name = Field(default="1.0.0", description="Version of the model, as text.")
    licence: Name = Field(default="unspecified", description="Licence of the trained model.")
    data_sources: tuple[str, ...] = Field(default=(), description="What it was trained on, a line for each source.")
    intended_use: str = Field(default="", description="What the model is for.")
    not_for: str = Field(default="", description="What the model must not be used for.")
    flaws: tuple[str, ...] = Field(default=(), description="Known weaknesses, a line for each.")


DataConfig = Annotated[CocoData | ShapesData, Field(discriminator="format")]
# A second architecture makes this a union: Annotated[YoloxModel | NextModel, Field(discriminator="name")].
ModelConfig = YoloxModel


class DetectionConfig(Block):
    """Everything that makes an object detector."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = Field(
        description="Name of the model and of its run folder: letters, digits, _ and -.", examples=["my_detector"]
    )
    task: Literal["detection"] = Field(description="What to learn; detection: boxes with a class.")
    seed: Seed = Field(default=0, description="Seed of everything random in splitting and training.")
    data: DataConfig = Field(description="The pictures and their labels.")
    model: ModelConfig = Field(description="The network and the weights it starts from.")
    preprocess: PreprocessConfig = Field(
        default=PreprocessConfig(),
        description="How a picture becomes the network's input, in training and service.",
    )
    augment: AugmentConfig = Field(default=AugmentConfig(), description="Random changes of the training pictures.")
    train: TrainConfig = Field(default=TrainConfig(), description="How long and how to train.")
    postprocess: PostprocessConfig = Field(
        default=PostprocessConfig(), description="Which boxes the bundle gives back, unless a call says otherwise."
    )
    bundle: BundleConfig = Field(
        default=BundleConfig(), description="What the bundle and its card say about the model."
    )


# A second task makes this a union: Annotated[DetectionConfig | NextConfig, Field(discriminator="task")].
Config = DetectionConfig
