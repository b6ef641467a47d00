"""The structure of a COCO JSON file: parsed, checked key by key, and typed. Pictures and splits are not looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from toolkit.data.fault_log import FaultLog, shown


@dataclass(frozen=True)
class Picture:
    """An entry of ``images``; ``size`` is (height, width) as the file says, None where it does not."""

    id: int
    name: str
    path: Path
    shown: str
    size: tuple[int, int] | None
    source: str


@dataclass(frozen=True)
class Annotation:
    """An entry of ``annotations``; ``bbox`` is (x, y, width, height), finite and not empty; ``area`` None if absent."""

    id: Any
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None
    crowd: bool


@dataclass
class CocoFile:
    """What is sound in the file; ``refused`` are the names of pictures that are not."""

    shown: str
    pictures: list[Picture] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)


def read_coco_file(path: Path, images: Path, log: FaultLog, *, extra: bool = False) -> CocoFile:
    """Parse ``path``; pictures lie under the folder ``images``. Faults go to ``log``; no pictures: a fatal one did.

    ``extra`` is for messages: the file is one of ``data.extra``, and ``images`` is ``data.root``.
    """
    file = CocoFile(shown(path))
    named = (
        "data.extra names more COCO files" if extra else "data.annotations names the COCO file, relative to data.root"
    )
    document = _read_json(path, file.shown, log, named)
    if document is None:
        return file
    wrong = [key for key in ("images", "annotations", "categories") if not isinstance(document.get(key), list)]
    if wrong:
        log.add_fatal(file.shown, f"is not a COCO detection file: expected a list under {' and '.join(wrong)}")
        return file
    if not document["images"]:
        log.add_fatal(file.shown, "the data set is empty: images lists no picture")
        return file
    if not images.is_dir() and not extra:
        hint = "data.images names the folder of the pictures, relative to data.root"
        log.add_fatal(shown(images), f"no such folder; {hint}")
        return file
    _take_categories(document["categories"], file, log)
    base = "data.root" if extra else "data.images"
    refused_ids = _take_pictures(document["images"], images, file, log, base)
    _take_annotations(document["annotations"], refused_ids, file, log)
    if not file.pictures:
        log.add_fatal(file.shown, "no entry of images can be used")
    return file


def first_pictures(path: Path, most: int) -> list[str]:
    """The first file names that a COCO detection file lists; none of any other file."""
    document = _read_json(path, str(path), FaultLog(), "")
    keys = ("images", "annotations", "categories")
    if document is None or not all(isinstance(document.get(key), list) for key in keys):
        return []
    names = [entry.get("file_name") for entry in document["images"][:most] if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and name]


def _read_json(path: Path, file: str, log: FaultLog, named: str) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        log.add_fatal(file, f"no such file; {named}")
    except OSError as error:
        log.add_fatal(file, f"cannot be read ({error.strerror})")
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        log.add_fatal(file, f"is not JSON ({error})")
    else:
        if isinstance(document, dict):
            return document
        log.add_fatal(file, f"is not a COCO detection file: expected an object, found a {type(document).__name__}")
    return None


def _entries(values: list[Any], key: str, file: CocoFile, log: FaultLog) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for position, value in enumerate(values):
        where = f"{key}[{position}]"
        if isinstance(value, dict):
            yield where, value
        else:
            log.add(file.shown, f"{where}: expected an object, found {value!r:.60}")


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _take_categories(values: list[Any], file: CocoFile, log: FaultLog) -> None:
    for where, value in _entries(values, "categories", file, log):
        category_id, name = value.get("id"), value.get("name")
        if not _whole(category_id) or not isinstance(name, str) or not name:
            found = f"{category_id!r} and {name!r}"
            log.add_fatal(file.shown, f"{where}: expected a whole number id and a name, found {found}")
        elif category_id in file.categories:
            log.add_fatal(file.shown, f"{where}: id {category_id} is taken by {file.categories[category_id]!r}")
        elif name in file.categories.values():
            log.add_fatal(file.shown, f"{where}: a second category is named {name!r}")
        else:
            file.categories[category_id] = name
    if not values:
        log.add_fatal(file.shown, "categories is empty: expected a name for each class")


def _take_pictures(values: list[Any], images: Path, file: CocoFile, log: FaultLog, base: str) -> set[int]:
    """Fill ``file.pictures``; return the ids of entries that were refused, whose annotations go without a word."""
    ids: set[int] = set()
    names: set[str] = set()
    refused: set[int] = set()
    folder = shown(images)
    for where, value in _entries(values, "images", file, log):
        picture_id, name = value.get("id"), value.get("file_name")
        fault = _picture_fault(value, ids, names, base)
        if fault:
            log.add(file.shown, f"{where}: {fault}")
            if isinstance(name, str) and name not in names:
                file.refused.add(name)
            if _whole(picture_id) and picture_id not in ids:
                refused.add(picture_id)
            continue
        picture_id, name = value["id"], str(PurePosixPath(value["file_name"]))  # ./a.jpg is a.jpg
        ids.add(picture_id)
        names.add(name)
        size = (value["height"], value["width"]) if "width" in value else None
        source = value.get("source")
        source = source if isinstance(source, str) else ""
        file.pictures.append(Picture(picture_id, name, images / name, f"{folder}/{name}", size, source))
    return refused


def _picture_fault(value: Mapping[str, Any], ids: set[int], names: set[str], base: str) -> str:
    picture_id, name = value.get("id"), value.get("file_name")
    if not _whole(picture_id):
        return f"expected a whole number id, found {picture_id!r}"
    if not isinstance(name, str) or not name:
        return f"expected a file_name, found {name!r}"
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
        return f"file_name {name!r} leaves the picture folder; give it relative to {base}"
    if picture_id in ids:
        return f"id {picture_id} of {name} is taken by an earlier picture"
    if str(PurePosixPath(name)) in names:
        return f"{name} is listed a second time (id {picture_id})"
    told = [value[key] for key in ("width", "height") if key in value]
    if told and (len(told) == 1 or not all(_whole(number) and number > 0 for number in told)):
        return f"{name}: expected width and height as positive whole numbers, found {told}"
    return ""


def _take_annotations(values: list[Any], refused: set[int], file: CocoFile, log: FaultLog) -> None:
    shown_names = {picture.id: picture.shown for picture in file.pictures}
    for where, value in _entries(values, "annotations", file, log):
        image_id, category_id = value.get("image_id"), value.get("category_id")
        named = f"annotation {value.get('id', where)}"
        if not _whole(image_id) or image_id not in shown_names:
            if image_id not in refused:
                log.add(file.shown, f"{named}: image_id {image_id!r} is not in images")
        elif not _whole(category_id) or category_id not in file.categories:
            log.add(shown_names[image_id], f"{named}: category_id {category_id!r} is not in categories")
        else:
            fault = _annotation_fault(value)
            if fault:
                log.add(shown_names[image_id], f"{named}: {fault}")
            else:
                file.annotations.append(_annotation(value, where))


def _annotation_fault(value: Mapping[str, Any]) -> str:
    bbox = value.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_number(number) for number in bbox):
        return f"expected bbox as four numbers (x, y, width, height), found {bbox!r:.80}"
    if not all(math.isfinite(number) for number in bbox):
        return f"the box {bbox} is not finite"
    if bbox[2] <= 0 or bbox[3] <= 0:
        return f"the box {bbox} (x, y, width, height) is empty; its width and height must be positive"
    area, crowd = value.get("area"), value.get("iscrowd", 0)
    if area is not None and not (_number(area) and 0 < area < math.inf):
        return f"expected a positive area in square pixels, found {area!r}"
    return "" if crowd in (0, 1) else f"expected iscrowd 0 or 1, found {crowd!r}"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _annotation(value: Mapping[str, Any], where: str) -> Annotation:
    x, y, width, height = (float(number) for number in value["bbox"])
    area = value.get("area")
    return Annotation(
        id=value.get("id", where),
        image_id=value["image_id"],
        category_id=value["category_id"],
        bbox=(x, y, width, height),
        area=None if area is None else float(area),
        crowd=bool(value.get("iscrowd", 0)),
    )
