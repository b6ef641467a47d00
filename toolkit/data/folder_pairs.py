"""Finds, in a folder that nobody has described, the folder of the pictures and that of the label files beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from toolkit.data.files import is_picture, names_in, visible

LOOKED_AT = 20  # files that tell what the others are
DEPTH = 2  # of the folders looked at: images/, train/images/
MOST_FOLDERS = 200  # more hold classes, or anything but pictures and labels


def folder_pairs(root: Path, suffix: str, is_label: Callable[[Path], bool]) -> list[tuple[str, str]]:
    """(labels, pictures), relative to ``root``, in which label files and pictures have the same names.

    Looked at are the folder, those in it and those in them. ``is_label`` says of a file with this suffix whether it is
    one; the first few must be. Each folder of labels comes with that of the pictures which it has the most names of,
    and a pair that lies inside another is a part of it.
    """
    folders = _folders(root)
    pictures = {folder: _stems(root / folder, is_picture) for folder in folders}
    found = []
    for folder in folders:
        labels = _stems(root / folder, lambda name: PurePosixPath(name).suffix.lower() == suffix)
        shared = {
            other: [stem for stem in labels if stem in names and (other != folder or names[stem] != labels[stem])]
            for other, names in pictures.items()
        }  # a PNG is no mask of itself
        best = max(folders, key=lambda other: len(shared[other]))
        files = [root / folder / labels[stem] for stem in sorted(shared[best])[:LOOKED_AT]]
        if files and all(map(is_label, files)):
            found.append((folder, best))
    return [pair for pair in found if not any(_inside(pair, other) for other in found)]


def _folders(root: Path) -> list[str]:
    """The folder, those in it and those in them, relative to it."""
    found = [Path()]
    for depth in range(DEPTH):
        above = [folder for folder in found if len(folder.parts) == depth]
        found += [path.relative_to(root) for folder in above for path in visible(root / folder) if path.is_dir()]
    return [folder.as_posix() for folder in found[:MOST_FOLDERS]]


def _stems(folder: Path, wanted: Callable[[str], bool]) -> dict[str, str]:
    """The file of each name without suffix, folders below included."""
    return {str(PurePosixPath(name).with_suffix("")): name for name in names_in(folder) if wanted(name)}


def _inside(pair: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether both folders lie in those of the other pair, which holds their files too."""
    return pair != other and all(PurePosixPath(a).is_relative_to(b) for a, b in zip(pair, other, strict=True))
