"""What a name or path means: a path first, then a shipped bundle, else a sentence that names the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import make_tiny_bundle

from toolkit import bundles
from toolkit.bundle import Bundle
from toolkit.errors import UserError


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two bundles as if they lay in the zoo, and an empty working directory."""
    folder = tmp_path / "zoo/bundles"
    make_tiny_bundle(folder / "mask_detection")
    make_tiny_bundle(folder / "garbage_detection")
    (folder / "__pycache__").mkdir()
    monkeypatch.setattr(bundles, "_folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_names(shipped: Path) -> None:
    assert bundles.names() == ["garbage_detection", "mask_detection"]
    assert bundles.find("mask_detection") == shipped / "mask_detection"


def test_every_shipped_bundle_opens_under_its_own_name() -> None:
    for name in bundles.names():
        assert Bundle.open(bundles.find(name)).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mask_detecton",
            "no bundle, run or file called 'mask_detecton'; did you mean 'mask_detection'? "
            "shipped bundles: garbage_detection, mask_detection",
        ),
        ("zzz", "no bundle, run or file called 'zzz'; shipped bundles: garbage_detection, mask_detection"),
        ("../bundles", "no bundle, run or file called '../bundles'; shipped bundles:"),
        ("", "no bundle, run or file called ''; shipped bundles:"),
    ],
)
def test_unknown_names(name: str, message: str, shipped: Path) -> None:
    with pytest.raises(UserError) as caught:
        bundles.find(name)
    assert str(caught.value).startswith(message)


def test_a_path_comes_before_a_name(shipped: Path, tmp_path: Path) -> None:
    assert bundles.resolve("mask_detection") == shipped / "mask_detection"
    mine = make_tiny_bundle(tmp_path / "mask_detection")
    assert bundles.resolve("mask_detection").resolve() == mine
    assert bundles.resolve(mine) == mine


def test_a_folder_that_is_no_bundle_does_not_hide_a_name(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "mask_detection").mkdir()  # a user's data, say
    assert bundles.resolve("mask_detection") == shipped / "mask_detection"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_path_that_is_no_bundle(kind: str, shipped: Path, tmp_path: Path) -> None:
    thing = tmp_path / "album"
    thing.mkdir() if kind == "folder" else thing.write_text("x")
    with pytest.raises(UserError, match=r"album is there but is no bundle: expected a folder with bundle\.yaml"):
        bundles.resolve("album")
