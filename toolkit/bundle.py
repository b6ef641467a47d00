"""The bundle: the one thing that travels from training to prediction and service. A folder, or one zip of it, with
``bundle.yaml`` first. It is data only: nothing in it is executed or fetched, and every file's SHA-256 is checked.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.bundle_files import FolderStore, Store, ZipStore
from toolkit.bundle_spec import (
    EXPORT_AGAIN,
    MAX_SPEC_BYTES,
    SPEC_FILE,
    BundleSpec,
    Postprocessing,
    Provenance,
    parse_spec,
)
from toolkit.errors import UserError
from toolkit.preprocess import Preprocessing

__all__ = [
    "Bundle",
    "BundleSpec",
    "Provenance",
    "copy_bundle",
    "is_bundle",
    "pack",
    "write_bundle",
]


@dataclass(frozen=True, eq=False)
class Bundle:
    """An opened and verified bundle. ``path`` is the path as the user gave it."""

    path: Path
    spec: BundleSpec
    _store: Store

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle folder, a zip of one, or a training run (its ``bundle/``), and verify every file.

        Raises UserError when it is none of these, when a file is missing, unlisted, a link, or not what its recorded
        SHA-256 says, or when ``bundle.yaml`` is not valid.
        """
        path = Path(path)
        store = _store_for(path)
        try:
            return cls(path, _verified_spec(store, str(path)), store)
        except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
            raise UserError(f"bundle {path}: cannot be read ({error}); {EXPORT_AGAIN}") from None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def task(self) -> str:
        return self.spec.task

    @property
    def version(self) -> str:
        return self.spec.version

    @property
    def labels(self) -> tuple[str, ...]:
        return self.spec.labels

    @property
    def preprocessing(self) -> Preprocessing:
        return self.spec.preprocessing

    @property
    def postprocessing(self) -> Postprocessing:
        return self.spec.postprocessing

    @property
    def size(self) -> int:
        """The bytes of all its files together, unpacked."""
        return sum(self._store.sizes().values())

    def names(self) -> list[str]:
        """The listed files, sorted, without ``bundle.yaml``."""
        return sorted(self.spec.files)

    def read(self, name: str) -> bytes:
        """The bytes of one listed file, checked against its SHA-256 again: the file may have changed since opening."""
        if name not in self.spec.files:
            raise UserError(f"bundle {self.path}: it holds no file {name}; it holds {', '.join(self.names())}")
        return _read_verified(self._store, str(self.path), name, self.spec.files[name])

    def read_json(self, name: str) -> Any:
        """The content of a listed JSON file (``metrics.json``, ``parity.json``, ``golden/expected.json``)."""
        try:
            return json.loads(self.read(name))
        except ValueError as error:
            raise UserError(f"bundle {self.path}: {name} is not valid JSON ({error}); {EXPORT_AGAIN}") from None

    def network_bytes(self, precision: str = "fp32") -> bytes:
        """The ONNX file of the network in that precision, one of ``spec.network.files()``."""
        return self.read(self.spec.network.files()[precision])


def is_bundle(path: str | Path) -> bool:
    """Whether ``path`` looks like something that ``Bundle.open`` opens: nothing is verified."""
    path = Path(path)
    if path.is_dir():
        return (path / SPEC_FILE).is_file() or (path / "bundle" / SPEC_FILE).is_file()
    return path.is_file() and zipfile.is_zipfile(path)


def write_bundle(folder: str | Path, spec: BundleSpec, files: Mapping[str, bytes]) -> Bundle:
    """Write ``files`` and a ``bundle.yaml`` with their SHA-256 into ``folder``, whole or not at all.

    ``spec.files`` is ignored and written anew. A bundle that stands there is replaced; a folder that holds anything
    else is a UserError.
    """
    folder = Path(folder)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    content = {**spec.model_dump(mode="json"), "files": digests}
    complete = type(spec).model_validate_json(json.dumps(content))
    for name in complete.network.files().values():
        if name not in files:
            raise UserError(f"bundle {folder}: the network file {name} is not among the files to write")
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        for name, data in {**files, SPEC_FILE: complete.to_yaml().encode()}.items():
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        _move_into_place(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Bundle.open(folder)


def pack(folder: str | Path, zip_path: str | Path) -> Path:
    """Write the bundle in ``folder`` as one zip; the same bundle gives the same bytes."""
    bundle, zip_path = Bundle.open(folder), Path(zip_path)
    zip_path.parent.mkdir(parents=True, exist_ok=True)
    fresh = zip_path.with_name(f".{zip_path.name}.{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in [SPEC_FILE, *bundle.names()]:
                data = bundle.spec.to_yaml().encode() if name == SPEC_FILE else bundle.read(name)
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
        fresh.replace(zip_path)
    finally:
        fresh.unlink(missing_ok=True)
    return zip_path


def copy_bundle(source: Bundle, to: str | Path) -> Path:
    """Copy a bundle to a folder, or to one file when the name ends in .zip; UserError when something else is there."""
    target = Path(to)
    if target.suffix == ".zip":
        return pack(source.path, target)
    if target.exists() and target.resolve() in (source.path.resolve(), (source.path / "bundle").resolve()):
        raise UserError(f"{to}: the bundle is there already; give another folder")
    write_bundle(target, source.spec, {name: source.read(name) for name in source.names()})
    return target


def _store_for(path: Path) -> Store:
    if path.is_dir():
        if (path / SPEC_FILE).is_file():
            return FolderStore(path, str(path))
        if (path / "bundle" / SPEC_FILE).is_file():
            return FolderStore(path / "bundle", str(path / "bundle"))
        raise UserError(
            f"{path} is neither a bundle (no {SPEC_FILE} in it) nor a finished training run (no bundle/{SPEC_FILE}); "
            "give a bundle's folder or zip, or finish the training"
        )
    if not path.exists():
        raise UserError(f"no bundle at {path}; give a bundle's folder or zip, or a training run's folder")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a bundle: it is neither a folder nor a zip; give a bundle's folder or zip")
    return ZipStore(path, str(path))


def _verified_spec(store: Store, shown: str) -> BundleSpec:
    sizes = store.sizes()
    if SPEC_FILE not in sizes:
        raise UserError(f"bundle {shown}: there is no {SPEC_FILE} at its top; {EXPORT_AGAIN}")
    if sizes[SPEC_FILE] > MAX_SPEC_BYTES:
        raise UserError(f"bundle {shown}: {SPEC_FILE} has {sizes[SPEC_FILE]} bytes; at most {MAX_SPEC_BYTES} are read")
    spec = parse_spec(store.read(SPEC_FILE), shown)
    found = sizes.keys() - {SPEC_FILE}
    if missing := sorted(spec.files.keys() - found):
        raise UserError(f"bundle {shown}: {missing[0]} is listed in {SPEC_FILE} but missing; {EXPORT_AGAIN}")
    if extra := sorted(found - spec.files.keys()):
        raise UserError(f"bundle {shown}: {extra[0]} is not listed in {SPEC_FILE}; remove it, or {EXPORT_AGAIN}")
    for name in spec.network.files().values():
        if name not in spec.files:
            raise UserError(f"bundle {shown}: {SPEC_FILE} does not list its network {name}; {EXPORT_AGAIN}")
    for name, digest in spec.files.items():
        _read_verified(store, shown, name, digest)
    return spec


def _read_verified(store: Store, shown: str, name: str, digest: str) -> bytes:
    try:
        data = store.read(name)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"bundle {shown}: {name} cannot be read ({error}); {EXPORT_AGAIN}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(
            f"bundle {shown}: {name} does not match its recorded SHA-256; the file was changed or damaged; "
            + EXPORT_AGAIN
        )
    return data


def _check_replaceable(folder: Path) -> None:
    """Only an empty folder or a bundle may be replaced: a user's own files are never deleted."""
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"cannot write a bundle to {folder}: a file or link is there; give another folder")
    names = FolderStore(folder, str(folder)).sizes().keys()
    if not names:
        return
    if SPEC_FILE not in names:
        raise UserError(f"cannot write a bundle to {folder}: it holds other files; give a new or empty folder")
    old = parse_spec((folder / SPEC_FILE).read_bytes(), str(folder))
    if extra := sorted(names - {SPEC_FILE} - old.files.keys()):
        raise UserError(f"cannot replace the bundle {folder}: {extra[0]} is not part of it; move that file away first")


def _move_into_place(fresh: Path, folder: Path) -> None:
    """Rename into place; an old bundle steps aside first, and comes back when the rename fails."""
    if not folder.exists():
        fresh.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
    folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)
