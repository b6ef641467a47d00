"""Which bundles are shipped inside the ``zoo`` package, and what a name or path on the command line means.

It finds; opening and verifying is ``toolkit.bundle``. Nothing is downloaded.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from toolkit.bundle import is_bundle
from toolkit.bundle_spec import SPEC_FILE
from toolkit.errors import UserError, suggest


def names() -> list[str]:
    """The names of the shipped bundles, sorted."""
    folder = _folder()
    return sorted(path.parent.name for path in folder.glob(f"*/{SPEC_FILE}")) if folder.is_dir() else []


def find(name: str) -> Path:
    """The folder of a shipped bundle; an unknown name is a UserError that names the nearest."""
    known = names()
    if name not in known:
        shipped = f"shipped bundles: {', '.join(known)}" if known else "no bundles are shipped here"
        nearest = suggest(name, known)
        raise UserError(f"no bundle, run or file called {name!r}{nearest + ' ' if nearest else '; '}{shipped}")
    return _folder() / name


def resolve(name_or_path: str | Path) -> Path:
    """A bundle's folder or zip or a run's folder where one is at that path, else the shipped bundle of that name.

    A path that exists but holds no bundle is a UserError unless a shipped bundle has that name.
    """
    path = Path(name_or_path)
    if is_bundle(path):
        return path
    if path.exists() and str(name_or_path) not in names():
        raise UserError(
            f"{name_or_path} is there but is no bundle: expected a folder with {SPEC_FILE}, a zip of one, "
            f"or a finished run with bundle/{SPEC_FILE}"
        )
    return find(str(name_or_path))


def _folder() -> Path:
    folder = resources.files("zoo") / "bundles"
    if not isinstance(folder, Path):
        raise UserError(f"the zoo package is not installed as plain files ({folder}); install the wheel unpacked")
    return folder
