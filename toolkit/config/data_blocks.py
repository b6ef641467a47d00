"""The ``data`` blocks of a config: how pictures and labels may be stored, a block for each format.

A new format is a reader in ``toolkit.data`` and a line in `registry`; it has the keys of `FilesData`, and a block here
only where it has others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from toolkit.config.blocks import LOCATED, Block, CountOrZero, FilePath, Name, PictureSide, Seed, distinct, one_of
from toolkit.config.registry import READERS


class DataCommon(Block):
    """The keys that every data format has."""

    format: str = Field(description="How the data is stored.")
    val_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Share of the pictures held out for validation, between 0 and 1, where neither data.splits nor the "
        "data itself says which.",
    )
    on_fault: Literal["stop", "skip"] = Field(
        default="stop",
        description="What to do about broken pictures and labels: stop lists them all and ends, skip records them and "
        "goes on without them.",
    )
    cache_mb: CountOrZero = Field(
        default=2048,
        description="Memory for decoded pictures in megabytes, for all workers together; what does not fit is decoded "
        "again.",
    )
    workers: Annotated[int, Field(ge=0, le=256)] = Field(
        default=0,
        description="Processes that prepare batches beside the training; 0 prepares them inside it.",
    )


class FilesData(DataCommon):
    """The keys of every format that reads a user's own files."""

    root: Annotated[FilePath, LOCATED] = Field(
        description="Folder of the data set, with the labels and the pictures in it.",
        examples=["/your/pictures"],
    )
    splits: Annotated[FilePath | None, LOCATED] = Field(
        default=None,
        description="CSV file with the columns image, split (train, val or test) and optionally group and source; it "
        "goes before what the data itself says, and takes the place of val_fraction.",
    )
    check_groups: bool = Field(
        default=True,
        description="Whether a group that stands in two splits is a fault; false where the split file or the data puts "
        "it so on purpose.",
    )
    hold_out: Annotated[tuple[Name, ...], AfterValidator(distinct)] = Field(
        default=(),
        description="Sources or groups whose pictures are put into the split test, whatever else is said of them: they "
        "are neither trained nor validated on.",
    )
    folds: dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(
        default={},
        description="What `toolkit crossval` holds out in turn, {name: [sources or groups]}; {} holds out every source "
        "by itself.",
    )
    classes: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)] | None = Field(
        default=None,
        description="Class names to learn, in the order of their ids, matched to the labels by name; null takes all "
        "that the labels have.",
    )


class CocoData(FilesData):
    """Boxes in COCO's format: a folder of pictures and one annotations.json."""

    format: Literal["coco"] = Field(description="How the data is stored; coco: pictures and one JSON file of boxes.")
    annotations: FilePath = Field(
        default=Path("annotations.json"), description="Annotation file in COCO's format, relative to data.root."
    )
    images: FilePath = Field(
        default=Path("images"),
        description="Folder of the pictures that the annotations name, relative to data.root.",
    )
    extra: Annotated[tuple[FilePath, ...], LOCATED] = Field(
        default=(),
        description="More annotation files in COCO's format, which name their pictures relative to data.root: these "
        "are trained on, never validated on.",
    )


class VocData(FilesData):
    """Boxes in Pascal VOC's format: a folder of pictures and a folder with one XML file for each."""

    format: Literal["voc"] = Field(description="How the data is stored; voc: pictures and an XML file for each.")
    annotations: FilePath = Field(
        default=Path("Annotations"), description="Folder of the XML files, relative to data.root."
    )
    images: FilePath = Field(
        default=Path("JPEGImages"),
        description="Folder of the pictures, relative to data.root; folders train, val and test in it are the split.",
    )


class YoloData(FilesData):
    """Boxes in YOLO's format: a folder of pictures and a folder with one text file for each."""

    format: Literal["yolo"] = Field(
        description="How the data is stored; yolo: pictures and a text file for each, a line a box."
    )
    labels: FilePath = Field(default=Path("labels"), description="Folder of the text files, relative to data.root.")
    images: FilePath = Field(
        default=Path("images"),
        description="Folder of the pictures, relative to data.root; folders train, val and test in it are the split.",
    )
    names: FilePath = Field(
        default=Path("classes.txt"),
        description="File with the class names, one a line in the order of their numbers, or a data.yaml with `names`; "
        "relative to data.root.",
    )


class FoldersData(FilesData):
    """Classes as folders: root/CLASS/picture.jpg, or root/train/CLASS and root/val/CLASS."""

    format: Literal["folders"] = Field(description="How the data is stored; folders: a folder of pictures a class.")
    extra: Annotated[tuple[FilePath, ...], LOCATED] = Field(
        default=(),
        description="More folders of class folders, of other sources: their pictures are trained on, never validated "
        "on.",
    )
    leave_out: tuple[Name, ...] = Field(
        default=(), description="Class folders that are left out with all their pictures."
    )


class CsvLabels(FilesData):
    """Classes in a table: one row a picture."""

    format: Literal["csv"] = Field(description="How the data is stored; csv: one table with a row a picture.")
    index: FilePath = Field(
        default=Path("index.csv"),
        description="CSV file with the columns image and label and optionally group, split and source; relative to "
        "data.root.",
    )


class MasksData(FilesData):
    """Masks as pictures: a folder of pictures and a folder of PNG files with the same names and class ids as pixels."""

    format: Literal["masks"] = Field(
        description="How the data is stored; masks: pictures and a PNG for each whose pixels are class ids "
        "(255: not counted)."
    )
    images: FilePath = Field(
        default=Path("images"),
        description="Folder of the pictures, relative to data.root; folders train, val and test in it are the split.",
    )
    masks: FilePath = Field(default=Path("masks"), description="Folder of the PNG masks, relative to data.root.")
    classes: Annotated[tuple[Name, ...], Field(min_length=2, max_length=255), AfterValidator(distinct)] = Field(
        description="Class names in the order of the ids in the masks; the first is the background.",
        examples=['["background", "thing"]'],
    )


class CsvMasks(FilesData):
    """Masks in a table: one row a picture, with one column of class-id PNGs or a column of PNGs for each class."""

    format: Literal["csv"] = Field(description="How the data is stored; csv: one table with a row a picture.")
    index: FilePath = Field(
        default=Path("index.csv"),
        description="CSV file with the column image, the mask columns, and optionally group, split and source; its "
        "paths are relative to data.root.",
    )
    mask_columns: dict[Name, Name] = Field(
        default={},
        description="Column of each class but the first, of PNGs whose pixels other than 0 belong to the class; where "
        "they overlap, the class that is later in data.classes lies on top; an empty cell means none of the class; {} "
        "takes the one column mask, whose pixels are class ids (255: not counted).",
    )
    group_column: Name = Field(
        default="group", description="Column that says what must stay together in one split, such as the patient."
    )
    classes: Annotated[tuple[Name, ...], Field(min_length=2, max_length=255), AfterValidator(distinct)] = Field(
        description="Class names in the order of their ids; the first is the background.",
        examples=['["background", "thing"]'],
    )


class ShapesData(DataCommon):
    """Pictures of coloured shapes that the toolkit draws itself: to try everything without a data set."""

    format: Literal["shapes"] = Field(description="How the data is stored; shapes: the toolkit draws it first.")
    root: Annotated[FilePath | None, LOCATED] = Field(
        default=None,
        description="Folder to draw into; null is runs/shapes-<pictures>-<size>-<seed> in the working directory, "
        "with shapes-labels or shapes-masks for the other tasks.",
    )
    pictures: Annotated[int, Field(ge=2, le=100_000)] = Field(default=240, description="How many pictures to draw.")
    size: tuple[PictureSide, PictureSide] = Field(
        default=(320, 320), description="Size of a drawn picture as [height, width], in pixels."
    )
    val_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="Share of the pictures held out for validation, between 0 and 1."
    )
    seed: Seed = Field(default=0, description="Seed of the drawing; the same seed draws the same pictures.")


if TYPE_CHECKING:
    BoxesConfig: TypeAlias = DataCommon
    LabelsConfig: TypeAlias = DataCommon
    MasksConfig: TypeAlias = DataCommon
else:
    BoxesConfig = one_of("format", READERS["detection"], FilesData, CocoData, VocData, YoloData, ShapesData)
    LabelsConfig = one_of("format", READERS["classification"], FilesData, FoldersData, CsvLabels, ShapesData)
    MasksConfig = one_of("format", READERS["segmentation"], FilesData, MasksData, CsvMasks, ShapesData)
