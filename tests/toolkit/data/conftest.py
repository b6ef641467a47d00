"""Small sets on disk that each test bends in one place: a COCO set, and folders of any other format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from toolkit import images
from toolkit.data import BoxSample, Table, load_table
from toolkit.errors import DataFaults, Fault


class CocoSet:
    """Five pictures of 40x30, a to d with a cat and a dog each, e without boxes; bend it, then load."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.csv: str | bytes | None = (
            "image,split\n" + "".join(f"{n}.jpg,train\n" for n in "abc") + "d.jpg,val\ne.jpg,train\n"
        )
        self.document: Any = {
            "images": [
                {"id": 10 + i, "file_name": f"{name}.jpg", "width": 40, "height": 30} for i, name in enumerate("abcde")
            ],
            "annotations": [],
            # Sparse ids, and not in the order of the names.
            "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        }
        for image_id in range(10, 14):
            self.annotate(image_id, 3, [1, 2, 10, 8])
            self.annotate(image_id, 7, [20, 5, 15.5, 20])
        (root / "images").mkdir(parents=True)
        for i, name in enumerate("abcde"):
            self.draw(f"{name}.jpg", level=40 * i)

    def draw(self, name: str, level: int, size: tuple[int, int] = (30, 40)) -> None:
        path = self.root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, np.full((*size, 3), level, np.uint8))

    def annotate(self, image_id: Any, category_id: Any, bbox: Any, **more: Any) -> None:
        number = len(self.document["annotations"]) + 1
        entry = {"id": number, "image_id": image_id, "category_id": category_id, "bbox": bbox, **more}
        self.document["annotations"].append(entry)

    def load(
        self, seed: int = 0, progress: Callable[[str, int, int], None] | None = None, **changes: Any
    ) -> Table[BoxSample]:
        if self.document is not None:
            (self.root / "annotations.json").write_text(json.dumps(self.document), encoding="utf-8")
        if self.csv is not None:
            text = self.csv.encode() if isinstance(self.csv, str) else self.csv
            (self.root / "splits.csv").write_bytes(text)
        block = {
            "format": "coco",
            "root": self.root,
            "annotations": Path("annotations.json"),
            "images": Path("images"),
            "extra": (),
            "splits": self.root / "splits.csv" if self.csv is not None else None,
            "val_fraction": 0.25,
            "classes": None,
            "on_fault": "stop",
            "check_groups": True,
            "hold_out": (),
        }
        data = SimpleNamespace(**{**block, **changes})
        return load_table(SimpleNamespace(task="detection", seed=seed, data=data), progress=progress)


class Folder:
    """A data set of any format under ``root``, read through the block of keys that its config has."""

    def __init__(self, root: Path, task: str, block: Callable[..., Any], **keys: Any) -> None:
        self.root, self.task, self.block = root, task, block
        self.keys = {"val_fraction": 0.25, **keys}

    def draw(self, name: str, level: int, size: tuple[int, int] = (30, 40)) -> None:
        """A grey picture of (height, width)."""
        self.write(name, images.encode(np.full((*size, 3), level, np.uint8), Path(name).suffix))

    def write(self, name: str, content: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def load(self, seed: int = 0, **changes: Any) -> Table[Any]:
        data = self.block(root=self.root, **{**self.keys, **changes})
        return load_table(SimpleNamespace(task=self.task, seed=seed, data=data))

    def faults(self, **changes: Any) -> list[Fault]:
        with pytest.raises(DataFaults) as caught:
            self.load(**changes)
        assert all("\n" not in fault.message for fault in caught.value.faults)
        return caught.value.faults

    def check_fault(self, file: str, sentence: str, *, fatal: bool = False) -> None:
        """This fault is found, and ``on_fault: skip`` goes on without what it stands for, or cannot."""
        assert [f for f in self.faults() if f.file == file and sentence in f.message], self.faults()
        found = self.faults(on_fault="skip") if fatal else self.load(on_fault="skip").skipped
        assert [f for f in found if f.file == file and sentence in f.message], found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Folder]:
    """Makes a set in ``pets`` under the working directory: messages show ``pets/images/a.jpg``."""
    monkeypatch.chdir(tmp_path)

    def make(task: str, block: Callable[..., Any], **keys: Any) -> Folder:
        return Folder(tmp_path / "pets", task, block, **keys)

    return make


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CocoSet:
    """The set lies in ``pets`` under the working directory: messages show ``pets/images/a.jpg``."""
    monkeypatch.chdir(tmp_path)
    return CocoSet(tmp_path / "pets")
