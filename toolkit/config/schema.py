"""What a config may say: every key with its type, bounds, default and meaning. Data only, no behaviour.

A new optimizer is one more member of a union on its literal name, a new task one more member of `Config`. What a name
of a data format, network or loss stands for is told in `registry`; their blocks are in `data_blocks` and
`model_blocks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from toolkit.config.blocks import (
    Block,
    Count,
    CountOrAuto,
    CountOrZero,
    Fraction,
    GreyLevel,
    InputSide,
    MostListed,
    Name,
    NotNegative,
    Positive,
    Seed,
    Transform,
    ascending,
)
from toolkit.config.data_blocks import BoxesConfig, DataCommon, LabelsConfig, MasksConfig
from toolkit.config.model_blocks import Classifier, Detector, ModelBlock, Segmenter
from toolkit.config.registry import LOSSES


class PreprocessConfig(Block):
    """How a picture becomes the network's input; training, evaluation and service all read this."""

    kind: str = Field(default="letterbox", description="How the picture is fitted to the network's input.")
    color: Literal["rgb", "bgr"] = Field(default="bgr", description="Order of the colour channels the network sees.")
    fill: Annotated[int, Field(ge=0, le=255)] = Field(
        default=114, description="Grey level (0 to 255) of the area beside the picture."
    )
    normalize: Literal["fixed", "picture"] = Field(
        default="fixed",
        description="fixed: mean and std as given below; picture: each picture's own, so that brightness and contrast "
        "of the camera do not matter.",
    )
    mean: tuple[GreyLevel, GreyLevel, GreyLevel] = Field(
        default=(0.0, 0.0, 0.0),
        description="Subtracted from each channel, in grey levels (0 to 255).",
    )
    std: tuple[Positive, Positive, Positive] = Field(
        default=(1.0, 1.0, 1.0), description="Each channel is then divided by it, in grey levels."
    )
    center: bool = Field(default=False, description="Place the picture in the middle of the input, not top left.")


class DetectorPreprocess(PreprocessConfig):
    """Preprocessing of detectors: by default the plain grey levels that YOLOX's published weights expect."""

    kind: Literal["letterbox", "stretch"] = Field(
        default="letterbox",
        description="letterbox: scaled to fit with its aspect ratio kept, the rest filled; stretch: scaled to the "
        "input's height and width, whatever its own.",
    )
    pad_multiple: InputSide | None = Field(
        default=None,
        description="Pictures that are predicted or validated are padded only to the next multiple of this many "
        "pixels, 32 for the least, so that wide and tall ones take less time; null pads all to model.input_size, which "
        "training always does.",
    )

    @model_validator(mode="after")
    def _only_a_letterbox_pads(self) -> Self:
        if self.pad_multiple is not None and self.kind != "letterbox":
            raise ValueError(
                f"pad_multiple is for kind 'letterbox', got kind {self.kind!r}, which pads nothing; remove one"
            )
        return self


# The mean and standard deviation of ImageNet's pictures, which every published classifier of it was trained with.
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class ClassifierPreprocess(PreprocessConfig):
    """Preprocessing of classifiers: by default the whole picture, normalised as ImageNet's networks expect."""

    kind: Literal["letterbox", "stretch", "crop"] = Field(
        default="stretch",
        description="stretch: the whole picture scaled to the input's height and width; crop: the largest middle part "
        "of the input's shape; letterbox: the whole picture with its aspect ratio kept, the rest filled.",
    )
    color: Literal["rgb", "bgr"] = Field(default="rgb", description="Order of the colour channels the network sees.")
    mean: tuple[GreyLevel, GreyLevel, GreyLevel] = Field(
        default=IMAGENET_MEAN, description="Subtracted from each channel, in grey levels (0 to 255)."
    )
    std: tuple[Positive, Positive, Positive] = Field(
        default=IMAGENET_STD, description="Each channel is then divided by it, in grey levels."
    )


class SegmenterPreprocess(PreprocessConfig):
    """Preprocessing of segmentation networks: normalised as classifiers have it, but the whole picture as it is."""

    kind: Literal["letterbox", "stretch"] = Field(
        default="letterbox",
        description="letterbox: scaled to fit with its aspect ratio kept, the rest filled; stretch: scaled to the "
        "input's height and width, whatever its own.",
    )
    color: Literal["rgb", "bgr"] = Field(default="rgb", description="Order of the colour channels the network sees.")
    mean: tuple[GreyLevel, GreyLevel, GreyLevel] = Field(
        default=IMAGENET_MEAN, description="Subtracted from each channel, in grey levels (0 to 255)."
    )
    std: tuple[Positive, Positive, Positive] = Field(
        default=IMAGENET_STD, description="Each channel is then divided by it, in grey levels."
    )
    window_hu: tuple[float, Positive] | None = Field(
        default=None,
        description="Center and width, in Hounsfield units, of the window through which your training slices were made "
        "from CT; a series that is predicted on goes through it; null: -600 and 1500, usual for lungs.",
    )


class MosaicConfig(Block):
    """Four pictures in one."""

    probability: Fraction = Field(default=0.5, description="Share of the training pictures made of four.")
    off_epochs: CountOrZero = Field(default=5, description="The last epochs, which train on whole pictures only.")


class ZoomConfig(Block):
    """Pictures scaled so that a chosen object has a chosen size."""

    probability: Fraction = Field(default=0.8, description="Share of the training pictures that are zoomed.")
    object_size: Annotated[tuple[Positive, Positive], AfterValidator(ascending)] = Field(
        default=(24.0, 350.0),
        description="[Smallest, largest] side that the chosen object gets, in pixels at the network's input.",
    )


class AugmentCommon(Block):
    """Random changes of the training pictures; validation and service never see them."""

    oversample_rare: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.0,
        description="How much oftener pictures with rare classes are drawn: exponent of the inverse class frequency, "
        "0 is off, 0.5 the square root.",
    )
    balance_sources: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.0,
        description="How much oftener pictures of small sources are drawn: exponent of the inverse number of pictures "
        "that a source has, 0 is off, 1 draws every source equally often.",
    )
    albumentations: tuple[Transform, ...] = Field(
        default=(), description="Transforms of the albumentations library in their order, each as Name: {options}."
    )


class DetectionAugment(AugmentCommon):
    """Random changes of the pictures that a detector is trained on."""

    mosaic: MosaicConfig = Field(default=MosaicConfig(), description="Four training pictures put into one.")
    zoom: ZoomConfig = Field(default=ZoomConfig(), description="Training pictures zoomed to objects of many sizes.")


class MixConfig(Block):
    """Two pictures in one, with a label between theirs."""

    probability: Fraction = Field(default=0.0, description="Share of the training pictures that are mixed.")
    alpha: Positive = Field(
        default=0.2, description="Both parameters of the beta distribution that draws the share of the first picture."
    )


class ClassificationAugment(AugmentCommon):
    """Random changes of the pictures that a classifier is trained on."""

    mixup: MixConfig = Field(default=MixConfig(), description="Two pictures laid over each other (Zhang et al., 2018).")
    cutmix: MixConfig = Field(
        default=MixConfig(alpha=1.0), description="A box of one picture put into another (Yun et al., 2019)."
    )


class CropConfig(Block):
    """Crops to what is labelled."""

    probability: Fraction = Field(
        default=0.0, description="Share of the training pictures that are cropped to their labelled part."
    )
    margin: Annotated[tuple[NotNegative, NotNegative], AfterValidator(ascending)] = Field(
        default=(0.0, 0.4),
        description="[Smallest, largest] margin around that part, as a share of its height and width.",
    )


class SegmentationAugment(AugmentCommon):
    """Random changes of the pictures that a segmentation network is trained on."""

    crop_to_labels: CropConfig = Field(
        default=CropConfig(), description="Training pictures cropped to everything that is not background."
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
    batch_size: Count = Field(default=16, description="Pictures a step, of all devices together.")
    input_size: tuple[InputSide, InputSide] | None = Field(
        default=None,
        description="Size of the pictures trained on as [height, width], smaller to save time or as augmentation "
        "enlarges what is in them; null is model.input_size, as in validation and use.",
    )
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
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Number format of the network while training; bf16 is mixed precision, auto measures once for each "
        "network and machine whether that makes the steps faster.",
    )
    early_stopping_epochs: Count | None = Field(
        default=None, description="Stop after so many epochs without a better validation result; null never does."
    )
    time_limit_minutes: Positive | None = Field(
        default=None, description="Stop after so many minutes and go on with the best so far; null never does."
    )
    checkpoint_every: Count | None = Field(
        default=None,
        description="Steps between resume points, besides the one at each epoch's end; null writes those only.",
    )
    validate_every: Count = Field(default=5, description="Epochs between validations; the last one always has one.")
    estimate_bn_batches: CountOrZero = Field(
        default=0,
        description="Training batches on which the start weights' batch-norm statistics are estimated anew first.",
    )
    freeze_bn_statistics: bool = Field(
        default=False,
        description="Whether batch norm keeps the statistics that it starts with, in training as in use; its scale and "
        "shift are learnt all the same.",
    )
    start_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="Share of the start weights in what is exported, the rest is tuned weights: keeps what the start "
        "weights knew of pictures unlike those trained on; needs freeze_bn_statistics.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to train; auto takes the GPU if there is one."
    )
    devices: CountOrAuto = Field(
        default=1,
        description="GPUs to train on in each machine, or processes where it trains on the CPU, each with its share of "
        "every batch; auto takes all GPUs.",
    )
    num_nodes: Count = Field(
        default=1, description="Machines that train together; torchrun starts the training on each of them."
    )
    strategy: Literal["auto", "ddp"] = Field(
        default="auto",
        description="How devices work together; ddp: each has the whole network and their gradients are averaged; auto "
        "is ddp for several devices.",
    )
    threads: Count | None = Field(
        default=None,
        description="CPU threads of each process; null leaves it to the libraries, or shares the cores where several "
        "processes train on a machine.",
    )

    @model_validator(mode="after")
    def _only_frozen_statistics_blend(self) -> Self:
        if self.start_share and not self.freeze_bn_statistics:
            raise ValueError(
                f"start_share {self.start_share:g} blends the start weights with the tuned ones, whose batch-norm "
                "statistics must be the same; set freeze_bn_statistics: true"
            )
        return self


class RefitHead(Block):
    """A classifier's last layer fitted anew, after training, to the features of the unchanged training pictures.

    They are drawn as `augment` says. Fitted before training, too, it is what Kumar et al. call LP-FT ("Fine-tuning can
    distort pretrained features and underperform out-of-distribution", ICLR 2022, arXiv 2202.10054).
    """

    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.5, description="Share of the features that is left out at each step."
    )
    steps: Count = Field(default=600, description="Steps of the fit; they take seconds.")
    first: bool = Field(
        default=False,
        description="Whether it is fitted before training as well, so that the errors of a new head do not undo what "
        "the start weights know.",
    )


class ClassifierTrain(TrainConfig):
    """How long and how to train a classifier."""

    refit_head: RefitHead | None = Field(
        default=None, description="How the last layer is fitted anew at the end; null leaves it as it was trained."
    )


class DetectionPostprocess(Block):
    """What the bundle does with the network's output; evaluation uses its own low threshold."""

    score_threshold: Fraction = Field(default=0.25, description="Boxes with a lower score are dropped.")
    iou_threshold: Fraction = Field(
        default=0.6,
        description="Of two boxes of a class with a higher IoU than this, the lower score is dropped.",
    )
    max_detections: MostListed = Field(default=300, description="Most boxes kept in one picture.")
    bins: dict[Name, tuple[Name, ...]] = Field(
        default={},
        description="Classes that go together, by the bin's name, for which an answer is given too; every class "
        "belongs to one: {recyclable: [glass, metal], dry: [paper]}.",
    )


class ClassificationPostprocess(Block):
    """What the bundle does with the network's output."""

    top_k: MostListed = Field(default=5, description="How many of the best classes an answer lists.")
    bins: dict[Name, tuple[Name, ...]] = Field(
        default={},
        description="Classes that go together, by the bin's name, for which an answer is given too; every class "
        "belongs to one: {recyclable: [glass, metal], dry: [paper]}.",
    )


class SegmentationPostprocess(Block):
    """What the bundle does with the network's output, and how it is measured."""

    regions: dict[Name, tuple[Name, ...]] = Field(
        default={},
        description="Classes that are measured together, by the region's name: {lung: [lung, lesion]} counts lesions "
        "as lung too.",
    )
    presence: dict[Name, Fraction] = Field(
        default={},
        description="Classes of which is told whether a picture holds them at all, each with the least score for that, "
        "the network's mean probability over its surest pixels; choose it on other pictures than it is measured on: "
        "{tumour: 0.5}.",
    )


class ClassificationLoss(Block):
    """What the training of a classifier minimises: cross-entropy."""

    smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Share of the label spread evenly over all classes."
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced: errors on rare classes weigh more, by the inverse class frequency."
    )
    focal_gamma: Positive | None = Field(
        default=None,
        description="Exponent that lets easy pictures weigh less (focal loss of Lin et al., 2017); null is off.",
    )


if TYPE_CHECKING:
    PixelLoss: TypeAlias = str
else:
    PixelLoss = Literal[tuple(LOSSES["segmentation"])]


class SegmentationLoss(Block):
    """What the training of a segmentation network minimises: a loss of pixels plus Dice."""

    kind: PixelLoss = Field(
        default="ce",
        description="Loss of pixels: ce compares the classes with each other, bce judges each alone, focal lets easy "
        "pixels weigh less.",
    )
    dice_weight: NotNegative = Field(default=1.0, description="Weight of the soft Dice loss beside it; 0 is off.")
    dice_over: Literal["batch", "picture"] = Field(
        default="batch",
        description="What that loss is of: all of a batch's pixels, where large regions count, or each picture that "
        "holds a class, where a small region counts like a large one.",
    )
    class_weights: tuple[Positive, ...] | None = Field(
        default=None, description="Weight of each class in the loss of pixels, in the order of the classes; null is 1."
    )


def _rising(sizes: tuple[float, ...]) -> tuple[float, ...]:
    if sorted(set(sizes)) != list(sizes):
        raise ValueError(f"expected sizes that rise, got {list(sizes)}")
    return sizes


def _not_nothing(changes: dict[str, tuple[Transform, ...]]) -> dict[str, tuple[Transform, ...]]:
    for name, transforms in changes.items():
        if not transforms:
            raise ValueError(f"{name} changes nothing; expected one transform or more")
    return changes


class Measures(Block):
    """What is measured besides the usual."""

    changes: Annotated[dict[Name, tuple[Transform, ...]], AfterValidator(_not_nothing)] = Field(
        default={},
        description="Changes of the pictures by their names, each a list of albumentations' transforms, under which "
        "`toolkit evaluate --changes` measures again: {noise: [{GaussNoise: {p: 1}}]}.",
    )


class DetectionMeasures(Measures):
    """What is measured of a detector besides the usual."""

    precision: Fraction = Field(
        default=0.9, description="How many of the objects are found is told at the lowest score with this precision."
    )
    sizes: Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(_rising)] = Field(
        default=(16.0, 32.0, 96.0),
        description="Sizes of objects between which that is told too: the square root of the area, in pixels.",
    )
    groups: dict[Name, tuple[Name, ...]] = Field(
        default={},
        description="Classes taken together, by the group's name; told is how many of the objects found are given a "
        "class of the right group, and every class belongs to one: {masked: [with_mask], bare: [without_mask]}.",
    )


class CalibrationConfig(Block):
    """What is fitted to the validation pictures when the bundle is made."""

    fit: bool = Field(
        default=False,
        description="Whether scores are fitted to how often such answers are right: by a temperature, a detector's "
        "boxes by a sigmoid.",
    )
    abstain_error: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Largest share of wrong answers: those that are less sure than keeps it in validation are "
        "'unsure'; null always answers.",
    )
    abstain_at: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Score up to which answers are 'unsure', such as `toolkit crossval` finds on sources that were "
        "left out; null takes what keeps calibration.abstain_error in validation.",
    )

    @model_validator(mode="after")
    def _a_threshold_has_its_error(self) -> Self:
        if self.abstain_at is not None and self.abstain_error is None:
            raise ValueError(f"abstain_at {self.abstain_at:g} is meant to keep an error; set abstain_error too")
        return self


class BundleConfig(Block):
    """What the exported bundle and its card say about the model."""

    version: Name = Field(default="1.0.0", description="Version of the model, as text.")
    licence: Name = Field(default="unspecified", description="Licence of the trained model.")
    data_sources: tuple[str, ...] = Field(default=(), description="What it was trained on, a line for each source.")
    intended_use: str = Field(default="", description="What the model is for.")
    not_for: str = Field(default="", description="What the model must not be used for.")
    flaws: tuple[str, ...] = Field(default=(), description="Known weaknesses, a line for each.")


class ExportConfig(Block):
    """What else a bundle is made of."""

    int8: Literal["auto", "off"] = Field(
        default="off",
        description="auto: a second network in int8, kept only where it is faster on this machine and no class loses"
        " more than 0.5 points on the validation pictures; the card says what came of it.",
    )
    max_megabytes: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Most megabytes that both networks may take, or fp32 ships alone; null allows any number.",
    )


class CommonConfig(Block):
    """The blocks that every task has, in their order; each task narrows those that differ."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = Field(
        description="Name of the model and of its run folder: letters, digits, _ and -.", examples=["my_model"]
    )
    task: str = Field(description="What to learn.")
    seed: Seed = Field(default=0, description="Seed of everything random in splitting and training.")
    data: DataCommon = Field(description="The pictures and their labels.")
    model: ModelBlock = Field(description="The network and the weights it starts from.")
    preprocess: PreprocessConfig = Field(
        default=PreprocessConfig(),
        description="How a picture becomes the network's input, in training and service.",
    )
    augment: AugmentCommon = Field(default=AugmentCommon(), description="Random changes of the training pictures.")
    train: TrainConfig = Field(default=TrainConfig(), description="How long and how to train.")
    postprocess: Block = Field(description="What the bundle gives back, unless a call says otherwise.")
    bundle: BundleConfig = Field(
        default=BundleConfig(), description="What the bundle and its card say about the model."
    )
    export: ExportConfig = Field(default=ExportConfig(), description="What else the bundle is made of.")
    measures: Measures = Field(default=Measures(), description="What is measured of the bundle besides the usual.")


class DetectionConfig(CommonConfig):
    """Everything that makes an object detector."""

    task: Literal["detection"] = Field(description="What to learn; detection: boxes with a class.")
    data: BoxesConfig = Field(description="The pictures and their labels.")
    model: Detector = Field(description="The network and the weights it starts from.")
    preprocess: DetectorPreprocess = Field(
        default=DetectorPreprocess(),
        description="How a picture becomes the network's input, in training and service.",
    )
    augment: DetectionAugment = Field(
        default=DetectionAugment(), description="Random changes of the training pictures."
    )
    postprocess: DetectionPostprocess = Field(
        default=DetectionPostprocess(), description="Which boxes the bundle gives back, unless a call says otherwise."
    )
    measures: DetectionMeasures = Field(
        default=DetectionMeasures(), description="What is measured of the bundle besides the usual."
    )
    calibration: CalibrationConfig = Field(
        default=CalibrationConfig(), description="How far scores can be trusted, and when the bundle is unsure."
    )


class ClassificationConfig(CommonConfig):
    """Everything that makes a classifier of whole pictures."""

    task: Literal["classification"] = Field(description="What to learn; classification: a class for each picture.")
    data: LabelsConfig = Field(description="The pictures and their labels.")
    model: Classifier = Field(description="The network and the weights it starts from.")
    preprocess: ClassifierPreprocess = Field(
        default=ClassifierPreprocess(),
        description="How a picture becomes the network's input, in training and service.",
    )
    augment: ClassificationAugment = Field(
        default=ClassificationAugment(), description="Random changes of the training pictures."
    )
    train: ClassifierTrain = Field(default=ClassifierTrain(), description="How long and how to train.")
    loss: ClassificationLoss = Field(default=ClassificationLoss(), description="What the training minimises.")
    postprocess: ClassificationPostprocess = Field(
        default=ClassificationPostprocess(), description="What the bundle gives back, unless a call says otherwise."
    )
    calibration: CalibrationConfig = Field(
        default=CalibrationConfig(), description="How far scores can be trusted, and when the bundle is unsure."
    )


class SegmentationConfig(CommonConfig):
    """Everything that makes a segmentation network."""

    task: Literal["segmentation"] = Field(description="What to learn; segmentation: a class for each pixel.")
    data: MasksConfig = Field(description="The pictures and their labels.")
    model: Segmenter = Field(description="The network and the weights it starts from.")
    preprocess: SegmenterPreprocess = Field(
        default=SegmenterPreprocess(),
        description="How a picture becomes the network's input, in training and service.",
    )
    augment: SegmentationAugment = Field(
        default=SegmentationAugment(), description="Random changes of the training pictures."
    )
    loss: SegmentationLoss = Field(default=SegmentationLoss(), description="What the training minimises.")
    postprocess: SegmentationPostprocess = Field(
        default=SegmentationPostprocess(), description="What the bundle gives back and how it is measured."
    )


Config = Annotated[DetectionConfig | ClassificationConfig | SegmentationConfig, Field(discriminator="task")]
