"""The files of a series, in a folder or a zip: listed, read within limits, never unpacked to disk."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from toolkit.errors import PictureError

MOST_FILES = 20_000
# A slice of 512 x 512 has half a megabyte; this is 4096 x 4096 in 16 bits and its header.
_FILE_BYTES = 48 * 2**20
# What a zip may hold in all: four of the largest volumes.
_ZIP_BYTES = 2**31


class Files(Protocol):
    """Files by number. ``source`` is the folder or zip as given, for messages."""

    source: str

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a message calls the file."""

    def open(self, index: int) -> BinaryIO:
        """The file, opened; PictureError where it cannot be read or is longer than a slice may be."""


class Folder:
    """A folder's files and its subfolders', but for hidden ones; or one file alone."""

    def __init__(self, path: str | Path) -> None:
        self.source = str(path)
        self._paths = [self.source] if os.path.isfile(path) else list(_walk(self.source))

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return self._paths[index]

    def open(self, index: int) -> BinaryIO:
        path = self._paths[index]
        try:
            if os.path.getsize(path) > _FILE_BYTES:
                raise _too_long(path)
            return open(path, "rb")
        except OSError as error:
            raise PictureError(f"{path}: cannot be read ({error.strerror})") from None


class Zip:
    """A zip's files. Their names are used for nothing; messages number them, as names may tell whose they are."""

    def __init__(self, archive: zipfile.ZipFile, source: str) -> None:
        self.source = source
        self._archive = archive
        self._members = [each for each in archive.infolist() if not each.is_dir() and not _hidden(each.filename)]
        self._held = 0
        if len(self._members) > MOST_FILES:
            raise _too_many(source)
        if sum(each.file_size for each in self._members) > _ZIP_BYTES:
            raise PictureError(f"{source}: holds more than {_ZIP_BYTES // 2**30} GiB; send one series alone")

    def __len__(self) -> int:
        return len(self._members)

    def name(self, index: int) -> str:
        return f"{self.source}, file {index + 1} of {len(self)}"

    def open(self, index: int) -> BinaryIO:
        member = self._members[index]
        try:
            with self._archive.open(member) as packed:
                data = packed.read(_FILE_BYTES + 1)  # what the zip says of its size is not believed
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
            # damaged, packed in a way that Python does not know, or encrypted
            reason = str(error).replace(repr(member.filename), "it")
            raise PictureError(f"{self.name(index)}: cannot be unpacked ({reason}); pack it again") from None
        if len(data) > _FILE_BYTES:
            raise _too_long(self.name(index))
        return io.BytesIO(data)


@contextmanager
def opened(path: str | Path, source: str) -> Iterator[Files]:
    """The files of a folder or a zip, or one file alone."""
    if not zipfile.is_zipfile(path):
        yield Folder(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise PictureError(f"{source}: cannot be read as a zip ({error}); pack it again") from None
    with archive:
        yield Zip(archive, source)


def _walk(folder: str) -> Iterator[str]:
    count = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            count += 1
            if count > MOST_FILES:
                raise _too_many(folder)
            yield os.path.join(root, name)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in name.split("/"))


def _too_many(source: str) -> PictureError:
    return PictureError(f"{source}: has more than {MOST_FILES} files; give the folder of one series")


def _too_long(name: str) -> PictureError:
    return PictureError(f"{name}: has more than {_FILE_BYTES // 2**20} MiB, too much for a slice")
