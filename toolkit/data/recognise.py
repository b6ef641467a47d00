"""How a stranger's labelled folder is stored, told from what lies in it.

A format takes part with a function ``recognise`` beside its ``read``: it gets the folder and a model's labels and
returns the ways in which it could read the folder, each as the keys of a ``data`` block; none where it cannot.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.data.csv_file import header_of
from toolkit.data.fault_log import shown
from toolkit.data.table import READERS
from toolkit.errors import UserError

SPLIT_FILE = "splits.csv"
# Keys that say where in its folder a data set has its parts, and how they are named.
PLACES = ("annotations", "images", "labels", "names", "index", "masks")
LAYOUT = (*PLACES, "mask_columns", "group_column")
Block = dict[str, Any]


def recognise(
    root: Path, task: str, labels: Sequence[str], *, known: Mapping[str, Any] | None = None, given: Mapping[str, str]
) -> Block:
    """The ``data`` block that reads the folder, without what is ``given`` (KEY: VALUE of data.KEY=VALUE).

    ``known`` is a data block that fits where all files that it names are there: that of a bundle's training. Raises
    ``UserError`` where nothing is recognised, and where the folder could be read in more than one way.
    """
    if not root.is_dir():
        raise UserError(f"{shown(root)}: no such folder; --data names a folder of labelled pictures")
    block = _as_known(root, known or {}, given)
    if block is None:
        block = _only(root, task, list(_ways(root, task, labels, given)), given)
    if task == "segmentation" and "classes" not in given:
        block["classes"] = list(labels)  # masks hold numbers: those of the labels, unless it is told otherwise
    if "splits" not in given and {"image", "split"} <= set(header_of(root / SPLIT_FILE)):
        block["splits"] = str((root / SPLIT_FILE).absolute())
    return block


def _as_known(root: Path, known: Mapping[str, Any], given: Mapping[str, str]) -> Block | None:
    named = [key for key in PLACES if known.get(key)]
    fits = bool(named) and all((root / known[key]).exists() for key in named if key not in given)
    if not fits or given.get("format", known["format"]) != known["format"]:
        return None
    return {"format": known["format"], **{key: known[key] for key in LAYOUT if key in known and key not in given}}


def _ways(root: Path, task: str, labels: Sequence[str], given: Mapping[str, str]) -> Iterator[Block]:
    """Every way in which the task's formats could read the folder; ways that differ in given keys alone are one."""
    seen: list[Block] = []
    for name, entry in READERS[task].items():
        reader = importlib.import_module(entry.split(":")[0])
        if name == given.get("format", name) and hasattr(reader, "recognise"):
            for keys in reader.recognise(root, labels):
                block = {"format": name, **{key: value for key, value in keys.items() if key not in given}}
                if block not in seen:
                    seen.append(block)
                    yield block


def _only(root: Path, task: str, ways: list[Block], given: Mapping[str, str]) -> Block:
    # A table that lists pictures and labels was made for this, whatever their folders look like.
    ways = [way for way in ways if way["format"] == "csv"] or ways
    if len(ways) == 1:
        return ways[0]
    if ways:
        each = " or ".join(_told(way, ways) for way in ways)
        raise UserError(f"{shown(root)}: can be read in {len(ways)} ways; add the one that is meant: {each}")
    if "format" in given:
        return {}  # its reader says best what is missing
    formats = [name for name in READERS[task] if name != "shapes"]
    hint = "; LabelMe files become coco with `toolkit data convert --from labelme`" if _holds_labelme(root) else ""
    raise UserError(
        f"{shown(root)}: holds no labels of {task} that are known by their looks; say how they are stored with"
        f" data.format={'|'.join(formats)} and its keys (`toolkit config explain data.format`){hint}"
    )


def _told(way: Block, ways: Collection[Block]) -> str:
    """The overrides that tell this way from the others."""
    others = [other for other in ways if other is not way]
    keys = [key for key in way if any(other.get(key) != way[key] for other in others)]
    return " ".join(f"data.{key}={way[key]}" for key in keys)


def _holds_labelme(root: Path) -> bool:
    files = sorted(root.glob("*.json"))
    return bool(files) and b'"shapes"' in files[0].read_bytes()[:100_000]
