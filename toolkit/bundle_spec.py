"""The schema of ``bundle.yaml``: what a bundle says about itself. Reading and writing files is ``toolkit.bundle``."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self, TypeAlias

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from toolkit.abstention import Abstention
from toolkit.errors import UserError, suggest
from toolkit.grouping import fault_of
from toolkit.preprocess import Preprocessing

SPEC_FILE = "bundle.yaml"
MAX_SPEC_BYTES = 4 * 2**20
MOST_CLASSES = 255  # in a mask; 255 itself means "not labelled"
EXPORT_AGAIN = "copy or export the bundle again"

Probability = Annotated[float, Field(ge=0, le=1)]
Groups: TypeAlias = dict[str, tuple[str, ...]]  # classes by the name that they have together
Finite = Annotated[float, Field(allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Int8(_Block):
    """What came of trying int8: ``file`` is the network in it, None where fp32 ships alone; ``told`` says why."""

    file: str | None = None
    told: str


class Network(_Block):
    """The ONNX file and how to speak to it: float32 [B, 3, h, w] in, the task's raw predictions out.

    ``int8`` is None where it was not tried; ``toolkit.exporting.int8`` says when it is kept.
    """

    file: str = "model.onnx"
    architecture: str
    input: str = "images"
    output: str = "raw"
    int8: Int8 | None = None

    def files(self) -> dict[str, str]:
        """Its ONNX files by precision."""
        quantized = {"int8": self.int8.file} if self.int8 and self.int8.file else {}
        return {"fp32": self.file, **quantized}


class DetectorNetwork(Network):
    """Raw predictions float32 [B, A, 5 + C], cells of all strides one after another."""

    strides: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(8, 16, 32), min_length=1)


class ClassifierNetwork(Network):
    """Logits float32 [B, C]; ``map_output`` names float32 [B, C, h', w'], whose mean over the places they are."""

    map_output: str | None = None


class Postprocessing(_Block):
    """What is done with the raw predictions. The subclasses' fields are what a call may override."""

    def override(self, **options: float | int | None) -> Self:
        """Return a copy with the options that are not None replaced; UserError for a name or value that cannot be."""
        changes = {key: value for key, value in options.items() if value is not None}
        if not changes:
            return self
        known = self.options()
        for key in changes:
            if key not in known:
                takes = f"takes {' and '.join(known)}" if known else "takes no options"
                raise UserError(f"{key}: this model {takes}, not {key}{suggest(key, known)}")
        try:
            return type(self).model_validate({**dict(self), **changes})
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            raise UserError(f"{key}: expected {known[key]}, got {changes[key]!r}") from None

    @classmethod
    def options(cls) -> dict[str, str]:
        """What a call may override, and the values that each takes, in words."""
        return {name: words for name, field in cls.model_fields.items() if (words := field.description)}


class DetectionPostprocessing(Postprocessing):
    """Which of the raw predictions become detections. ``bins`` says by name which classes go into each."""

    score_threshold: Probability = Field(default=0.25, description="a number from 0 to 1")
    iou_threshold: Probability = Field(default=0.6, description="a number from 0 to 1")
    max_detections: int = Field(default=300, ge=1, le=100_000, description="an integer from 1 to 100000")
    bins: Groups = Field(default_factory=dict)


class ClassificationPostprocessing(Postprocessing):
    """How many of the best classes an answer lists. ``bins`` says by name which classes go into each."""

    top_k: int = Field(default=5, ge=1, le=100_000, description="an integer from 1 to 100000")
    bins: Groups = Field(default_factory=dict)


class SegmentationPostprocessing(Postprocessing):
    """``regions``: classes that are measured together, by the region's name. ``presence``: classes of which is told
    whether a picture holds them, with the least score for that. A call overrides nothing.
    """

    regions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    presence: dict[str, Probability] = Field(default_factory=dict)


class Calibration(_Block):
    """What was fitted to the validation pictures at export; ``toolkit.exporting.calibrate`` says how.

    Answers whose score is not over ``abstain_at`` are "unsure", so that of the others at most ``error_level`` are
    wrong; both are None where the bundle always answers. ``fitted_on`` says on what; ``kept_in`` says whether the
    threshold was fitted to those pictures too, or comes from a cross-validation.
    """

    abstain_at: Probability | None = None
    error_level: Probability | None = None
    fitted_on: str = ""
    kept_in: Literal["validation", "cross-validation"] = "validation"

    @property
    def abstention(self) -> Abstention | None:
        if self.abstain_at is None or self.error_level is None:
            return None
        return Abstention(self.abstain_at, self.error_level, self.kept_in)


class ClassifierCalibration(Calibration):
    """The logits are divided by ``temperature`` before they become probabilities."""

    temperature: Finite = Field(default=1.0, gt=0)


class DetectorCalibration(Calibration):
    """A box's score s becomes sigmoid(slope * logit(s) + offset), how often such boxes are right."""

    slope: Finite = Field(default=1.0, gt=0)
    offset: Finite = 0.0


class Measures(_Block):
    """What is measured besides the usual: under which ``changes`` of the pictures, by name, each a list of
    albumentations' transforms with their options.
    """

    changes: dict[str, tuple[dict[str, dict[str, JsonValue]], ...]] = Field(default_factory=dict)


class DetectionMeasures(Measures):
    """What is measured of a detector besides: what it finds at a ``precision``, by ``sizes`` of the objects in pixels
    (the square root of the area), and whether it tells ``groups`` of classes apart.
    """

    precision: Probability = 0.9
    sizes: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(16.0, 32.0, 96.0), min_length=1)
    groups: Groups = Field(default_factory=dict)

    @field_validator("sizes")
    @classmethod
    def _rising(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        if sorted(set(sizes)) != list(sizes):
            raise ValueError(f"expected rising sizes, got {list(sizes)}")
        return sizes


class Provenance(_Block):
    """Where the bundle comes from; ``config`` and ``data`` hold no path of the machine that trained it."""

    toolkit: str = ""
    created: str = ""
    seed: int | None = None
    start_weights: str | None = None
    config: dict[str, JsonValue] = Field(default_factory=dict)
    data: dict[str, JsonValue] = Field(default_factory=dict)


class BundleSpec(_Block):
    """What every ``bundle.yaml`` says. ``files`` (name to SHA-256) is filled in by ``write_bundle``."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    task: str
    version: str = Field(default="1.0.0", pattern=r"^\d+\.\d+\.\d+([-+.][0-9A-Za-z.-]+)?$")
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    network: Network
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    measures: Measures = Measures()
    pipeline: tuple[dict[str, str], ...]
    licence: str = "unspecified"
    data_sources: tuple[str, ...] = ()
    intended_use: str = ""
    not_for: str = ""
    flaws: tuple[str, ...] = ()
    provenance: Provenance = Provenance()
    files: dict[str, Digest] = Field(default_factory=dict)

    @property
    def abstention(self) -> Abstention | None:
        """When answers are unsure; None of a bundle that always answers."""
        calibration: Calibration | None = getattr(self, "calibration", None)
        return calibration.abstention if calibration else None

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError("the same label stands twice")
        return labels

    @model_validator(mode="after")
    def _only_detectors_take_any_shape(self) -> Self:
        if self.preprocessing.pad_multiple is not None and self.task != "detection":
            raise ValueError(f"preprocessing.pad_multiple is for detection, not for {self.task}")
        return self

    @field_validator("files")
    @classmethod
    def _names_stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if not is_safe_name(name) or name == SPEC_FILE:
                raise ValueError(f"{name!r} is not a plain relative file name")
        return files

    def to_yaml(self) -> str:
        """The text of ``bundle.yaml``; reading it back gives an equal spec."""
        content = self.model_dump(mode="json")
        return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120)


def _check_groups(groups: Groups, labels: tuple[str, ...], key: str, noun: str) -> None:
    if fault := fault_of(groups, labels, key, noun):
        raise ValueError(fault)


class DetectionSpec(BundleSpec):
    """The bundle of a detector."""

    task: Literal["detection"]
    network: DetectorNetwork
    postprocessing: DetectionPostprocessing = DetectionPostprocessing()
    calibration: DetectorCalibration | None = None
    measures: DetectionMeasures = DetectionMeasures()
    pipeline: tuple[dict[str, str], ...] = ({"detect": "self"},)

    @model_validator(mode="after")
    def _groups_are_of_classes(self) -> Self:
        _check_groups(self.measures.groups, self.labels, "measures.groups", "group")
        _check_groups(self.postprocessing.bins, self.labels, "postprocessing.bins", "bin")
        return self

    @model_validator(mode="after")
    def _input_fits_strides(self) -> Self:
        coarsest = max(self.network.strides)
        if any(side % coarsest for side in self.preprocessing.input_size):
            size = list(self.preprocessing.input_size)
            raise ValueError(
                f"preprocessing.input_size {size}: both must be multiples of {coarsest}, the coarsest stride"
            )
        if (multiple := self.preprocessing.pad_multiple) and multiple % coarsest:
            raise ValueError(
                f"preprocessing.pad_multiple {multiple}: expected a multiple of {coarsest}, the coarsest stride"
            )
        return self


class ClassificationSpec(BundleSpec):
    """The bundle of a classifier."""

    task: Literal["classification"]
    network: ClassifierNetwork
    postprocessing: ClassificationPostprocessing = ClassificationPostprocessing()
    calibration: ClassifierCalibration | None = None
    pipeline: tuple[dict[str, str], ...] = ({"classify": "self"},)

    @model_validator(mode="after")
    def _bins_are_of_classes(self) -> Self:
        _check_groups(self.postprocessing.bins, self.labels, "postprocessing.bins", "bin")
        return self


class SegmentationSpec(BundleSpec):
    """The bundle of a segmentation network: logits float32 [B, C, h', w'] at some stride of the input."""

    task: Literal["segmentation"]
    postprocessing: SegmentationPostprocessing = SegmentationPostprocessing()
    pipeline: tuple[dict[str, str], ...] = ({"segment": "self"},)

    @model_validator(mode="after")
    def _classes_fit_a_mask(self) -> Self:
        if len(self.labels) > MOST_CLASSES:
            raise ValueError(f"labels: a mask of bytes holds at most {MOST_CLASSES} classes, got {len(self.labels)}")
        for region, parts in self.postprocessing.regions.items():
            if unknown := sorted(set(parts) - set(self.labels)):
                raise ValueError(f"postprocessing.regions.{region}: {', '.join(unknown)} is not among the labels")
        if unknown := sorted(set(self.postprocessing.presence) - set(self.labels)):
            raise ValueError(f"postprocessing.presence: {', '.join(unknown)} is not among the labels")
        return self


AnySpec = Annotated[DetectionSpec | ClassificationSpec | SegmentationSpec, Field(discriminator="task")]
_ADAPTER: TypeAdapter[AnySpec] = TypeAdapter(AnySpec)


def make_spec(**fields: Any) -> AnySpec:
    """The spec of ``task``; blocks that differ by task may be given as plain dictionaries."""
    return _ADAPTER.validate_python(fields)


def is_safe_name(name: str) -> bool:
    """Whether ``name`` is relative, uses ``/`` only, and cannot leave its folder."""
    parts = name.split("/")
    return not re.search(r"[\\:\x00-\x1f]", name) and all(part not in ("", ".", "..") for part in parts)


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _PlainLoader(yaml.SafeLoader):
    """Without aliases: a few lines of them can expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed here")
        return super().compose_node(parent, index)


def parse_spec(data: bytes, shown: str) -> AnySpec:
    """Read the bytes of a ``bundle.yaml``; ``shown`` is the bundle's path for the messages."""
    where = f"bundle {shown}: {SPEC_FILE}"
    try:
        content = yaml.load(data.decode(), Loader=_PlainLoader)
        return _ADAPTER.validate_json(json.dumps(content))
    except ValidationError as error:
        first, *others = error.errors()
        tasks = ("detection", "classification", "segmentation")
        key = ".".join(str(part) for part in first["loc"] if part not in tasks)
        more = f" (and {len(others)} more)" if others else ""
        raise UserError(f"{where}: {key + ': ' if key else ''}{first['msg']}{more}; {EXPORT_AGAIN}") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where} is not readable: {reason}; {EXPORT_AGAIN}") from None
