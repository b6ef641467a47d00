"""Where a bundle's files lie: a folder, or a zip read in place. Plain files inside it only; nothing is unpacked."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Protocol

from toolkit.bundle_spec import EXPORT_AGAIN, is_safe_name
from toolkit.errors import UserError

MAX_BUNDLE_BYTES = 2 * 2**30  # protobuf, and so an ONNX file without external data, ends at 2 GiB


class Store(Protocol):
    """What ``Bundle`` needs of a place: the size of every file by name (refusing what is no plain file), and bytes."""

    def sizes(self) -> dict[str, int]: ...

    def read(self, name: str) -> bytes: ...


class FolderStore:
    """The files of a folder. Links inside are refused; the folder itself may be reached through one."""

    def __init__(self, folder: Path, shown: str) -> None:
        self.folder, self.shown = folder, shown

    def sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for root, folders, files in os.walk(self.folder, onerror=_raise):
            for name in [*folders, *files]:
                path = Path(root, name)
                inside = path.relative_to(self.folder).as_posix()
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    found[inside] = status.st_size
                elif not stat.S_ISDIR(status.st_mode):
                    raise _not_plain(self.shown, inside)
        return _within_limit(self.shown, found)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


class ZipStore:
    """The files of a zip. zipfile never reads past the size that the directory states, so the limit on it holds."""

    def __init__(self, path: Path, shown: str) -> None:
        self.path, self.shown = path, shown

    def sizes(self) -> dict[str, int]:
        with zipfile.ZipFile(self.path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            encrypted = entry.flag_bits & 1
            if kind not in (0, stat.S_IFREG) or encrypted or not is_safe_name(entry.filename):
                raise _not_plain(self.shown, entry.filename)
        found = {entry.filename: entry.file_size for entry in entries}
        if len(found) != len(entries):
            raise UserError(f"bundle {self.shown}: the zip holds two files of the same name; {EXPORT_AGAIN}")
        return _within_limit(self.shown, found)

    def read(self, name: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name)


def _raise(error: OSError) -> None:
    raise error


def _not_plain(shown: str, name: str) -> UserError:
    return UserError(
        f"bundle {shown}: {name!r} is a link, encrypted or a special file, or its name leads outside; "
        "a bundle holds plain files only"
    )


def _within_limit(shown: str, sizes: dict[str, int]) -> dict[str, int]:
    total = sum(sizes.values())
    if total > MAX_BUNDLE_BYTES:
        raise UserError(f"bundle {shown}: its files take {total} bytes unpacked; at most {MAX_BUNDLE_BYTES} are read")
    return sizes
