"""A table in the classes of a model: order, other names, and what is left out, for each kind of label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.data import BoxSample, LabelSample, MaskSample, Table
from toolkit.data.mask_files import read_mask
from toolkit.data.relabel import relabelled
from toolkit.errors import UserError

THEIRS, OURS = ("hat", "cat", "dog"), ("dog", "cat")
IDS = np.uint8([[0, 1, 2, 255], [2, 2, 1, 0]])


def table(kind: type, folder: Path, used: tuple[int, ...] = (0, 1, 2, 1)) -> Table[Any]:
    common: dict[str, Any] = {"path": folder / "x.png", "name": "x.png", "size": (2, 4), "split": "val", "group": "x"}
    if kind is LabelSample:
        return Table(THEIRS, tuple(LabelSample(**common, class_id=class_id) for class_id in used))
    if kind is BoxSample:
        boxes = np.float32([[k, 0, k + 1, 2] for k in range(len(used))])
        ids, crowd = np.array(used, np.int64), np.arange(len(used)) == 1
        return Table(THEIRS, (BoxSample(**common, boxes=boxes, class_ids=ids, crowd=crowd, areas=2.0 + ids),))
    mask = np.where(np.isin(IDS, [*used, 255]), IDS, used[0]).astype(np.uint8)
    Image.fromarray(mask).save(folder / "mask.png")
    pixels = np.bincount(mask.ravel(), minlength=256)[:3]
    return Table(THEIRS, (MaskSample(**common, masks=((folder / "mask.png", None),), pixels=pixels),))


def test_boxes(tmp_path: Path) -> None:
    (sample,) = relabelled(table(BoxSample, tmp_path), OURS, {"hat": ""}).samples
    assert sample.class_ids.tolist() == [1, 0, 1]
    assert sample.boxes[:, 0].tolist() == [1, 2, 3]
    assert sample.crowd.tolist() == [True, False, False]
    assert sample.areas.tolist() == [3, 4, 3]
    (sample,) = relabelled(table(BoxSample, tmp_path), OURS, {"hat": "dog"}).samples
    assert sample.class_ids.tolist() == [0, 1, 0, 1]


def test_classes(tmp_path: Path) -> None:
    left = relabelled(table(LabelSample, tmp_path), OURS, {"hat": ""})
    assert [sample.class_id for sample in left.samples] == [1, 0, 1]
    assert left.class_names == OURS


@pytest.mark.parametrize(
    ("renamed", "ids", "pixels"),
    [
        ({"hat": ""}, [[255, 1, 0, 255], [0, 0, 1, 255]], [3, 2]),
        ({"hat": "cat"}, [[1, 1, 0, 255], [0, 0, 1, 1]], [3, 4]),
    ],
)
def test_masks(renamed: dict[str, str], ids: Any, pixels: Any, tmp_path: Path) -> None:
    (sample,) = relabelled(table(MaskSample, tmp_path), OURS, renamed).samples
    assert read_mask(sample).tolist() == ids
    assert sample.pixels.tolist() == pixels
    assert sample.class_counts(2).tolist() == pixels


@pytest.mark.parametrize("kind", [BoxSample, LabelSample, MaskSample])
def test_what_fits_stays(kind: type, tmp_path: Path) -> None:
    before = table(kind, tmp_path)
    assert relabelled(before, THEIRS, {}) is before


@pytest.mark.parametrize("kind", [BoxSample, LabelSample, MaskSample])
def test_a_class_of_no_picture_may_be_unknown(kind: type, tmp_path: Path) -> None:
    """A file of 80 categories whose pictures show two of them."""
    assert relabelled(table(kind, tmp_path, (1, 2)), OURS, {}).class_names == OURS


@pytest.mark.parametrize(
    ("labels", "renamed", "sentence"),
    [
        (OURS, {}, "the data's class 'hat' is none of the model's (dog, cat); --map hat=cat takes it for one of them,"
                   " --map hat= leaves it out"),
        (("dog",), {}, "the data's classes 'hat', 'cat' are none of the model's (dog); --map hat=LABEL takes"),
        (OURS, {"hut": "cat"}, "--map hut=cat: the data has no class 'hut'; did you mean 'hat'? (it has hat, cat,"),
        (OURS, {"hat": "cot"}, "--map hat=cot: the model has no class 'cot'; did you mean 'cat'? (it has dog, cat)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(labels: Any, renamed: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        relabelled(table(BoxSample, tmp_path), labels, renamed)
    assert str(caught.value).startswith(sentence)
