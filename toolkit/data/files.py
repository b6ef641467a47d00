"""Finds the files of a data set: pictures in folders, label files of the same names, and splits told by folders.

Hidden files (a leading dot) and what file managers and archives leave behind are passed over without a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.table import SPLITS
from toolkit.images import PICTURE_SUFFIXES

LEFT_BEHIND = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"}
# What lies beside pictures in published data sets, and says nothing that a reader of pictures would miss.
SIDE_SUFFIXES = {".txt", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".pdf", ".cache", ".py"}

MEANT_AS_VAL = {"valid", "validation"}


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def visible(folder: Path) -> list[Path]:
    """What lies directly in the folder, by name."""
    return sorted((path for path in folder.iterdir() if not is_hidden(path.name)), key=lambda path: path.name)


def names_in(folder: Path) -> list[str]:
    """Every visible file under the folder, relative to it, with forward slashes, sorted; links are followed."""
    found: list[str] = []
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        folders[:] = [] if real in seen else [name for name in folders if not is_hidden(name)]
        if real not in seen:  # a link may lead back up
            below = Path(where).relative_to(folder)
            found += [(below / name).as_posix() for name in files if not is_hidden(name)]
        seen.add(real)
    return sorted(found)


def is_picture(name: str) -> bool:
    """Whether the suffix is one of a picture; what the file holds is found when it is opened."""
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES


def keep_pictures(names: Iterable[str], folder: Path, log: FaultLog) -> list[str]:
    """The pictures among ``names``; other files than `SIDE_SUFFIXES` are faults, so that no photo is lost unsaid."""
    kept = []
    for name in names:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in PICTURE_SUFFIXES:
            kept.append(name)
        elif suffix not in SIDE_SUFFIXES:
            known = ", ".join(PICTURE_SUFFIXES)
            log.add(f"{shown(folder)}/{name}", f"is no picture by its suffix; expected {known}: convert or remove it")
    return kept


def pictures_in(folder: Path, key: str, log: FaultLog) -> list[str]:
    """Every picture under the folder that the key ``data.<key>`` names; none, or no folder, is fatal."""
    if not folder.is_dir():
        log.add_fatal(shown(folder), f"no such folder; data.{key} names the folder of the pictures")
        return []
    names = keep_pictures(names_in(folder), folder, log)
    if not names:
        log.add_fatal(shown(folder), f"holds no picture ({', '.join(PICTURE_SUFFIXES)}); is data.{key} right?")
    return names


def tells_splits(folders: Iterable[str], where: str, log: FaultLog) -> bool:
    """Whether folders of these names are splits: train with val or test, and nothing else; a near miss is fatal."""
    names = set(folders)
    strange = names - set(SPLITS)
    if "train" not in names or len(names) == 1:
        return False
    if strange and strange <= MEANT_AS_VAL:
        for name in sorted(strange):
            log.add_fatal(f"{where}/{name}", "looks like the validation pictures' folder; name it val")
    return not strange


def split_by_folder(names: Sequence[str], folder: Path, log: FaultLog) -> dict[str, str]:
    """Each picture's split as its first folder says, "" for all where the folders are no splits."""
    first = {name: name.split("/")[0] if "/" in name else "" for name in names}
    if {"train", "val"} < set(first.values()):
        for name in [name for name, top in first.items() if top not in SPLITS]:
            message = "lies beside the folders train and val; move it into one, or name a split file in data.splits"
            log.add(f"{shown(folder)}/{name}", message)
        return {name: top if top in SPLITS else "" for name, top in first.items()}
    told = tells_splits(first.values(), shown(folder), log)
    return {name: top if told else "" for name, top in first.items()}
