"""The schema of ``bundle.yaml``: what a bundle says about itself. Reading and writing files is ``toolkit.bundle``."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from toolkit.errors import UserError
from toolkit.preprocess import Preprocessing

SPEC_FILE = "bundle.yaml"
MAX_SPEC_BYTES = 4 * 2**20
EXPORT_AGAIN = "copy or export the bundle again"

Probability = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Network(_Block):
    """The ONNX file and how to speak to it: float32 [B, 3, h, w] in, float32 [B, A, 5 + C] raw predictions out."""

    file: str = "model.onnx"
    architecture: str
    strides: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(8, 16, 32), min_length=1)
    input: str = "images"
    output: str = "raw"


class DetectionPostprocessing(_Block):
    """Which of the raw predictions become detections."""

    score_threshold: Probability = 0.25
    iou_threshold: Probability = 0.6
    max_detections: Annotated[int, Field(ge=1, le=100_000)] = 300

    def override(
        self,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
    ) -> DetectionPostprocessing:
        """Return a copy with the values that are not None replaced; a value out of range is a UserError."""
        given = {"score_threshold": score_threshold, "iou_threshold": iou_threshold, "max_detections": max_detections}
        changes = {key: value for key, value in given.items() if value is not None}
        if not changes:
            return self
        try:
            return DetectionPostprocessing.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            wanted = "an integer from 1 to 100000" if key == "max_detections" else "a number from 0 to 1"
            raise UserError(f"{key}: expected {wanted}, got {changes[key]!r}") from None


class Provenance(_Block):
    """Where the bundle comes from; ``config`` and ``data`` hold no path of the machine that trained it."""

    toolkit: str = ""
    created: str = ""
    seed: int | None = None
    start_weights: str | None = None
    config: dict[str, JsonValue] = Field(default_factory=dict)
    data: dict[str, JsonValue] = Field(default_factory=dict)


class BundleSpec(_Block):
    """Everything that ``bundle.yaml`` says. ``files`` (name to SHA-256) is filled in by ``write_bundle``."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    task: Literal["detection"]
    version: str = Field(default="1.0.0", pattern=r"^\d+\.\d+\.\d+([-+.][0-9A-Za-z.-]+)?$")
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    network: Network
    preprocessing: Preprocessing
    postprocessing: DetectionPostprocessing = DetectionPostprocessing()
    pipeline: tuple[dict[str, str], ...] = ({"detect": "self"},)
    licence: str = "unspecified"
    data_sources: tuple[str, ...] = ()
    intended_use: str = ""
    not_for: str = ""
    flaws: tuple[str, ...] = ()
    provenance: Provenance = Provenance()
    files: dict[str, Digest] = Field(default_factory=dict)

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) != len(labels):
            raise ValueError("the same label stands twice")
        return labels

    @field_validator("files")
    @classmethod
    def _names_stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if not is_safe_name(name) or name == SPEC_FILE:
                raise ValueError(f"{name!r} is not a plain relative file name")
        return files

    @model_validator(mode="after")
    def _input_fits_strides(self) -> BundleSpec:
        coarsest = max(self.network.strides)
        if any(side % coarsest for side in self.preprocessing.input_size):
            size = list(self.preprocessing.input_size)
            raise ValueError(
                f"preprocessing.input_size {size}: both must be multiples of {coarsest}, the coarsest stride"
            )
        return self

    def to_yaml(self) -> str:
        """The text of ``bundle.yaml``; reading it back gives an equal spec."""
        content = self.model_dump(mode="json")
        return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120)


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


def parse_spec(data: bytes, shown: str) -> BundleSpec:
    """Read the bytes of a ``bundle.yaml``; ``shown`` is the bundle's path for the messages."""
    where = f"bundle {shown}: {SPEC_FILE}"
    try:
        content = yaml.load(data.decode(), Loader=_PlainLoader)
        return BundleSpec.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first, *others = error.errors()
        key = ".".join(str(part) for part in first["loc"])
        more = f" (and {len(others)} more)" if others else ""
        raise UserError(f"{where}: {key + ': ' if key else ''}{first['msg']}{more}; {EXPORT_AGAIN}") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where} is not readable: {reason}; {EXPORT_AGAIN}") from None
