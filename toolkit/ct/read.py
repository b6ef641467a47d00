"""A CT series as one input: a folder or zip with DICOM files, one of them, or a NIfTI file."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from toolkit.ct.dicom import Progress, read_dicom
from toolkit.ct.files import MOST_FILES, Files, opened
from toolkit.ct.headers import is_dicom
from toolkit.ct.nifti import is_nifti, read_nifti
from toolkit.ct.volume import Volume


def _silent(stage: str, done: int, total: int) -> None:
    pass


def read_volume(path: str | Path, *, name: str | None = None, progress: Progress = _silent) -> Volume:
    """The CT volume that lies at ``path``, see `is_series`; ``name`` is what messages call it.

    ``progress`` is told the stage, and how many of how many files are done. Raises PictureError, one sentence, for
    what cannot be used, UserError where the libraries of ``[ct]`` are missing.
    """
    if is_nifti(path):
        return read_nifti(path, name or str(path))
    with opened(path, name or str(path)) as files:
        return read_dicom(files, progress)


def is_series(path: str | Path) -> bool:
    """Whether a path is to be read as one CT volume: a NIfTI file, a DICOM file, or a zip or a folder with DICOM files.

    Told by content: DICOM files often have no suffix. A folder of pictures has none, so it is looked at whole.
    """
    if is_nifti(path):
        return True
    if os.path.isfile(path):
        return zipfile.is_zipfile(path) or _is_dicom_file(str(path))
    return os.path.isdir(path) and any(map(_is_dicom_file, _candidates(str(path))))


def holds_dicom(path: str | Path) -> bool:
    """Whether a zip has a DICOM file in it; PictureError where it cannot be read."""
    with opened(path, "the zip") as files:
        return any(_starts_as_dicom(files, index) for index in range(len(files)))


def _starts_as_dicom(files: Files, index: int) -> bool:
    with files.open(index) as file:
        return is_dicom(file)


def _is_dicom_file(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return is_dicom(file)
    except OSError:
        return False


def _candidates(folder: str) -> list[str]:
    """The files that may be DICOM: what a picture's or video's suffix names is not opened."""
    from toolkit.images import PICTURE_SUFFIXES

    found: list[str] = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(root, name)
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() not in PICTURE_SUFFIXES
        ]
        if len(found) > MOST_FILES:
            break
    return found
