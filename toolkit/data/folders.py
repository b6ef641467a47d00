"""Reads class folders (root/CLASS/picture.jpg, or root/train/CLASS and root/val/CLASS) into the table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.data.assemble import choose_classes
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.files import is_picture, keep_pictures, tells_splits, visible
from toolkit.data.labels import label_table
from toolkit.data.listing import Entry, Listing, Settings
from toolkit.data.table import LabelSample, Progress, Table
from toolkit.errors import suggest


@dataclass(frozen=True)
class ClassFolder:
    """One folder of pictures; ``split`` is that of the folder around it, ``extra`` the extra root it lies in."""

    path: Path
    split: str = ""
    extra: Path | None = None

    @property
    def name(self) -> str:
        return self.path.name


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[LabelSample]:
    """Read and check a ``data`` block of format folders.

    The classes are the folders of ``data.root`` in alphabetical order, or ``data.classes``. Folders train, val and
    test around them are the split where ``data.splits`` names none. Every picture is named relative to ``data.root``.
    The pictures of ``data.extra`` train whatever a split says; their source is what stands before ``__`` in the file's
    name, or else the extra folder's name. A class folder without pictures, one inside another, a file that is neither
    a picture nor text, and a class folder that is no class are faults. Raises ``DataFaults``, see ``load_table``.
    """
    settings = Settings.of(config, seed, progress)
    extra = tuple(Path(folder) for folder in config.extra)
    return read_folders(Path(config.root), settings, extra=extra, leave_out=config.leave_out)


def recognise(root: Path, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Whether a folder holds folders of pictures, or of such (see `toolkit.data.recognise`)."""
    folders = [path for path in visible(root) if path.is_dir()]
    if tells_splits([path.name for path in folders], shown(root), FaultLog()):
        folders = [path for folder in folders for path in visible(folder) if path.is_dir()]
    return [{}] if any(is_picture(path.name) for folder in folders for path in visible(folder)) else []


def read_folders(
    root: Path, settings: Settings, *, extra: Sequence[Path] = (), leave_out: Sequence[str] = ()
) -> Table[LabelSample]:
    """``read`` with plain arguments."""
    log = FaultLog(settings.on_fault)
    folders = _folders_of(root, log) + _extra_folders(root, extra, log)
    if log.fatal:
        log.settle()
    _check_leave_out(folders, leave_out, settings.classes, shown(root), log)
    folders = [folder for folder in folders if folder.name not in leave_out]
    own = sorted({folder.name for folder in folders if folder.extra is None})
    known = sorted({folder.name for folder in folders})
    names = choose_classes(known, (), own if settings.classes is None else settings.classes, shown(root), log)
    listing: Listing[str] = Listing(shown=shown(root))
    pictures = {folder: _pictures(folder, log) for folder in folders if _is_class(folder, names, log)}
    for folder, paths in pictures.items():
        _check_empty(folder, pictures, log)
        listing.entries += [_entry(path, folder, root) for path in paths]
    return label_table(listing, names, settings, log)


def _folders_of(root: Path, log: FaultLog) -> list[ClassFolder]:
    """The class folders of ``data.root``, with their splits where the folders around them are splits."""
    if not root.is_dir():
        log.add_fatal(shown(root), "no such folder; data.root names the folder of the class folders")
        return []
    folders = list(_subfolders(root, log))
    told = tells_splits([path.name for path in folders], shown(root), log)
    if told:
        found = [ClassFolder(path, split=split.name) for split in folders for path in _subfolders(split, log)]
    else:
        found = [ClassFolder(path) for path in folders]
    if not found:
        log.add_fatal(shown(root), "holds no class folder; expected a folder of pictures for each class")
    return found


def _extra_folders(root: Path, extra: Sequence[Path], log: FaultLog) -> list[ClassFolder]:
    found: list[ClassFolder] = []
    seen = {os.path.realpath(root)}
    for folder in extra:
        real = os.path.realpath(folder)
        if not folder.is_dir():
            log.add_fatal(shown(folder), "no such folder; data.extra names more folders of class folders")
        elif real in seen:
            log.add_fatal(shown(folder), "is data.root or stands in data.extra already; name each folder once")
        else:
            found += [ClassFolder(path, split="train", extra=folder) for path in _subfolders(folder, log)]
        seen.add(real)
    return found


def _subfolders(folder: Path, log: FaultLog) -> Iterator[Path]:
    for path in visible(folder):
        if path.is_dir():
            yield path
        elif is_picture(path.name):
            log.add(shown(path), "lies beside the class folders; move it into the folder of its class")


def _check_leave_out(
    folders: Sequence[ClassFolder], leave_out: Sequence[str], wanted: Sequence[str] | None, root: str, log: FaultLog
) -> None:
    names = {folder.name for folder in folders}
    for name in leave_out:
        if name not in names:
            log.add_fatal(root, f"has no class folder {name!r} of data.leave_out{suggest(name, names)}")
        elif name in (wanted or ()):
            log.add_fatal(root, f"{name!r} stands in data.classes and in data.leave_out; keep it in one of them")


def _is_class(folder: ClassFolder, names: Sequence[str], log: FaultLog) -> bool:
    if folder.name in names:
        return True
    message = f"is none of the classes {', '.join(names)}; name it in data.leave_out to go without its pictures"
    log.add_fatal(shown(folder.path), message)
    return False


def _pictures(folder: ClassFolder, log: FaultLog) -> list[Path]:
    paths = visible(folder.path)
    for path in paths:
        if path.is_dir():
            log.add(shown(path), "is a folder inside a class folder; move its pictures up")
    names = [path.name for path in paths if not path.is_dir()]
    return [folder.path / name for name in keep_pictures(names, folder.path, log)]


def _check_empty(folder: ClassFolder, pictures: dict[ClassFolder, list[Path]], log: FaultLog) -> None:
    """An empty folder is a fault; one of a class that has no picture anywhere leaves nothing to train on."""
    if not pictures[folder]:
        message = "holds no picture; add some, remove the folder, or name it in data.leave_out"
        lost = not any(paths for other, paths in pictures.items() if other.name == folder.name)
        (log.add_fatal if lost else log.add)(shown(folder.path), message)


def _entry(path: Path, folder: ClassFolder, root: Path) -> Entry[str]:
    prefix, mark, _ = path.name.partition("__")
    source = "" if folder.extra is None else prefix if mark and prefix else folder.extra.name
    return Entry(
        name=Path(os.path.relpath(path, root)).as_posix(),
        path=path,
        shown=shown(path),
        labels=folder.name,
        told_in=shown(path),
        split=folder.split,
        pinned=folder.extra is not None,
        source=source,
    )
