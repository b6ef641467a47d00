"""Which files count, and which are passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.data.fault_log import FaultLog
from toolkit.data.files import is_hidden, is_picture, names_in, pictures_in, split_by_folder, tells_splits, visible
from toolkit.errors import DataFaults, Fault


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "set"
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt", ".DS_Store", "sub/Thumbs.db", ".git/x.jpg", "口罩 1.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_names(root: Path) -> None:
    assert names_in(root) == ["a.PNG", "b.jpg", "notes.txt", "sub/c.webp", "口罩 1.jpg"]
    assert [path.name for path in visible(root)] == ["a.PNG", "b.jpg", "notes.txt", "sub", "口罩 1.jpg"]


def test_links_are_followed_once(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/d.jpg").write_bytes(b"x")
    os.symlink(tmp_path / "elsewhere", root / "linked")
    os.symlink(root, root / "sub/up")
    assert names_in(root) == ["a.PNG", "b.jpg", "linked/d.jpg", "notes.txt", "sub/c.webp", "口罩 1.jpg"]


@pytest.mark.parametrize(
    ("name", "hidden"),
    [(".x", True), ("THUMBS.DB", True), ("__MACOSX", True), ("@eaDir", True), ("a.jpg", False), ("_a", False)],
)
def test_hidden(name: str, hidden: bool) -> None:
    assert is_hidden(name) == hidden


def test_pictures(root: Path) -> None:
    log = FaultLog("skip")
    assert pictures_in(root, "images", log) == ["a.PNG", "b.jpg", "sub/c.webp", "口罩 1.jpg"]
    assert log.settle() == ()
    (root / "sub/video.mp4").write_bytes(b"x")
    (root / "noname").write_bytes(b"x")
    assert len(pictures_in(root, "images", log)) == 4
    known = ".jpg, .jpeg, .png, .bmp, .webp, .tif, .tiff, .gif"
    message = f"is no picture by its suffix; expected {known}: convert or remove it"
    assert log.settle() == (Fault("set/noname", message), Fault("set/sub/video.mp4", message))
    assert is_picture("a.TIFF")
    assert not is_picture("jpg")


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("none", "no such folder; data.images names the folder of the pictures"),
        ("set/b.jpg", "no such folder; data.images names the folder of the pictures"),
        ("empty", "holds no picture (.jpg, .jpeg, .png, .bmp, .webp, .tif, .tiff, .gif); is data.images right?"),
    ],
)
def test_no_pictures(root: Path, folder: str, message: str) -> None:
    Path("empty").mkdir()
    log = FaultLog("skip")
    assert pictures_in(Path(folder), "images", log) == []
    with pytest.raises(DataFaults) as caught:
        log.settle()
    assert caught.value.faults == [Fault(folder, message)]


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (["train", "val"], True),
        (["train", "test"], True),
        (["val", "test", "train"], True),
        (["train"], False),  # a class of that name, or the only folder
        (["val", "test"], False),
        (["train", "bus", "car"], False),  # classes
        (["train", "val", "bus"], False),
        ([], False),
    ],
)
def test_folders_that_are_splits(folders: list[str], told: bool) -> None:
    log = FaultLog()
    assert tells_splits(folders, "set", log) == told
    assert log.settle() == ()


def test_splits_by_folder() -> None:
    log = FaultLog("skip")
    names = ["train/a.jpg", "val/x/b.jpg", "test/c.jpg"]
    assert split_by_folder(names, Path("set"), log) == dict(zip(names, ("train", "val", "test"), strict=True))
    assert split_by_folder(["train/a.jpg", "b.jpg"], Path("set"), log) == {"train/a.jpg": "", "b.jpg": ""}
    assert log.settle() == ()
    assert split_by_folder([*names, "b.jpg", "more/d.jpg"], Path("set"), log)["b.jpg"] == ""
    assert [fault.file for fault in log.settle()] == ["set/b.jpg", "set/more/d.jpg"]
    split_by_folder(["train/a.jpg", "valid/b.jpg"], Path("set"), log)
    with pytest.raises(DataFaults, match=r"set/valid: looks like the validation pictures' folder; name it val"):
        log.settle()
