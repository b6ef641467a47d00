"""From one format to another and back: the tables are equal, but for what a sentence said is lost."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_photos import photo
from PIL import Image
from written_sets import CLASSES, coco_set, folder_set, label_of, mask_set

from toolkit import images
from toolkit.config import parse_config
from toolkit.config.yaml_text import dump
from toolkit.data import BoxSample, LabelSample, MaskSample, Table, load_table
from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source
from toolkit.data.mask_files import read_mask
from toolkit.data.writers import WRITERS, target
from toolkit.errors import UserError

MASK_CLASSES = ("background", *CLASSES)
QUOTED = f"data.classes=[{', '.join(MASK_CLASSES)}]"


def labels(sample: Any, classes: tuple[str, ...]) -> Any:
    """What a sample says, without the order of its boxes."""
    if isinstance(sample, BoxSample):
        told = zip(sample.boxes.tolist(), sample.class_ids.tolist(), sample.crowd.tolist(), strict=True)
        return sorted((classes[class_id], crowd, *box) for box, class_id, crowd in told)
    return classes[sample.class_id] if isinstance(sample, LabelSample) else read_mask(sample).tolist()


def check_equal(found: Table[Any], expected: Table[Any], tolerance: float = 1e-3) -> None:
    """Same pictures to the byte, labels (boxes within ``tolerance`` pixels), splits, groups, sources, class names."""
    assert found.class_names == expected.class_names
    have, want = ({sample.name: sample for sample in table.samples} for table in (found, expected))
    assert have.keys() == want.keys()
    for name, sample in want.items():
        other = have[name]
        assert other.path.read_bytes() == sample.path.read_bytes()
        told = (sample.size, sample.split, sample.group, sample.source)
        assert (other.size, other.split, other.group, other.source) == told
        if isinstance(sample, BoxSample):
            pairs = zip(labels(other, found.class_names), labels(sample, found.class_names), strict=True)
            for (name_a, crowd_a, *box_a), (name_b, crowd_b, *box_b) in pairs:
                assert (name_a, crowd_a) == (name_b, crowd_b)
                assert np.abs(np.subtract(box_a, box_b)).max() <= tolerance
        else:
            assert labels(other, found.class_names) == labels(sample, found.class_names)


def there(source: Path, stored: str, to: str, out: Path, *overrides: str, link: bool = False) -> tuple[Any, Any]:
    opened = open_source(str(source), stored, to, overrides)
    return opened.table, convert(opened.table, opened.task, to, out, link=link)


BOX_FORMATS = [("yolo", 1e-3), ("labelme", 1e-3), ("voc", 0.5)]


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize(("to", "tolerance"), BOX_FORMATS)
def test_boxes_there_and_back(tmp_path: Path, to: str, tolerance: float, link: bool) -> None:
    root = coco_set(tmp_path / "set")
    table, done = there(root, "coco", to, tmp_path / "there", f"data.splits={root / 'splits.csv'}", link=link)
    splits = f"data.splits={tmp_path / 'there/splits.csv'}"
    classes = [] if to == "labelme" else [f"data.classes=[{', '.join(CLASSES)}]"]
    _, back = there(tmp_path / "there", to, "coco", tmp_path / "back", splits, *classes)
    if to == "labelme":  # which has no order of classes; a sentence said so
        assert "the order of the classes, which LabelMe has none of" in done.lost
        assert back.table.class_names == tuple(sorted(CLASSES))
        order = [sorted(CLASSES).index(name) for name in CLASSES]
        samples = (replace(s, class_ids=np.array([order.index(c) for c in s.class_ids.tolist()], np.int64))
                   for s in back.table.samples)  # fmt: skip
        back = replace(back, table=Table(CLASSES, tuple(samples)))
    check_equal(back.table, table, tolerance)
    assert any("fractions of a pixel in 11 boxes" in sentence for sentence in done.lost) == (to == "voc")


@pytest.mark.parametrize("to", [name for name, _ in BOX_FORMATS])
def test_boxes_of_whole_pixels_come_back_exactly(tmp_path: Path, to: str) -> None:
    root = coco_set(tmp_path / "set", whole=True)
    table, done = there(root, "coco", to, tmp_path / "there", f"data.splits={root / 'splits.csv'}")
    _, back = there(tmp_path / "there", to, "coco", tmp_path / "back", f"data.splits={tmp_path / 'there/splits.csv'}")
    assert not [sentence for sentence in done.lost if "fractions" in sentence]
    for sample, other in zip(table.samples, sorted(back.table.samples, key=lambda s: s.name), strict=True):
        assert np.abs(np.sort(sample.boxes, axis=0) - np.sort(other.boxes, axis=0)).max(initial=0) < 1e-5


@pytest.mark.parametrize("first", ["voc", "yolo"])
def test_from_voc_or_yolo_there_and_back(tmp_path: Path, first: str) -> None:
    """The formats whose classes stand in the files, not beside them."""
    root = coco_set(tmp_path / "set", whole=True)
    classes = f"data.classes=[{', '.join(CLASSES)}]"
    there(root, "coco", first, tmp_path / "first", f"data.splits={root / 'splits.csv'}")
    for to in ("coco", "yolo" if first == "voc" else "voc"):
        splits = f"data.splits={tmp_path / 'first/splits.csv'}"
        table, _ = there(tmp_path / "first", first, to, tmp_path / to / "there", splits, classes)
        splits = f"data.splits={tmp_path / to / 'there/splits.csv'}"
        _, back = there(tmp_path / to / "there", to, first, tmp_path / to / "back", splits, classes)
        check_equal(back.table, table)


@pytest.mark.parametrize(
    ("to", "crowds", "sentences"),
    [
        ("voc", 1, ["the areas of 1 boxes"]),
        ("yolo", 0, ["1 crowd boxes, which would count as objects there", "the areas of 1 boxes"]),
        ("labelme", 0, ["the order of the classes", "1 crowd boxes", "the areas of 1 boxes"]),
    ],
)
def test_what_is_lost_is_told(tmp_path: Path, to: str, crowds: int, sentences: list[str]) -> None:
    root = coco_set(tmp_path / "set", crowd=True, areas=True, whole=True)
    table, done = there(root, "coco", to, tmp_path / "there", f"data.splits={root / 'splits.csv'}")
    assert len(done.lost) == len(sentences)
    assert all(told.startswith(sentence) for told, sentence in zip(done.lost, sentences, strict=True)), done.lost
    assert sum(int(sample.crowd.sum()) for sample in table.samples) == 1
    assert sum(int(sample.crowd.sum()) for sample in done.table.samples) == crowds
    assert sum(len(sample.boxes) for sample in done.table.samples) == 11 + crowds


def test_coco_keeps_crowds_and_areas(tmp_path: Path) -> None:
    root = coco_set(tmp_path / "set", crowd=True, whole=True)
    table, _ = there(root, "coco", "voc", tmp_path / "voc", f"data.splits={root / 'splits.csv'}")
    _, back = there(tmp_path / "voc", "voc", "coco", tmp_path / "back", f"data.splits={tmp_path / 'voc/splits.csv'}",
                    f"data.classes=[{', '.join(CLASSES)}]")  # fmt: skip
    check_equal(back.table, table)


def test_classes_there_and_back(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "set")
    classes = f"data.classes=[{', '.join(CLASSES)}]"
    table, done = there(root, "folders", "csv", tmp_path / "csv", f"data.splits={root / 'splits.csv'}", classes)
    assert not done.lost
    assert {s.name for s in done.table.samples} == {f"images/{s.name}" for s in table.samples}
    _, back = there(tmp_path / "csv", "csv", "folders", tmp_path / "back", classes)
    assert not back.lost
    check_equal(back.table, table)
    assert [label_of(k) for k in range(3)] == list(CLASSES)


def test_masks_there_and_back(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    table, done = there(root, "masks", "csv", tmp_path / "csv", f"data.splits={root / 'splits.csv'}", QUOTED)
    _, back = there(tmp_path / "csv", "csv", "masks", tmp_path / "back", QUOTED)
    assert not done.lost + back.lost
    check_equal(back.table, table)
    assert any((read_mask(sample) == 255).any() for sample in back.table.samples)
    assert (tmp_path / "csv/classes.txt").read_text(encoding="utf-8").splitlines() == list(MASK_CLASSES)


def test_masks_of_single_classes_are_laid_over_each_other(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    table = load_masks(root)
    rows = ["image,zebra,cat,dog,split"]
    layered = []
    for number, sample in enumerate(table.samples):
        mask, files = read_mask(sample), []
        mask[mask == 255] = 0
        for class_id in (1, 2, 3):
            path = root / f"layers/{number}_{class_id}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(((mask >= class_id) * 255).astype(np.uint8)).save(path)  # the later ones lie on top
            files.append(path.relative_to(root).as_posix())
        rows.append(f'"images/{sample.name}",{",".join(files)},{sample.split}')
        layered.append(mask)
    (root / "index.csv").write_text("\n".join(rows), encoding="utf-8")
    columns = "data.mask_columns={zebra: zebra, 猫: cat, a dog: dog}"
    _, done = there(root, "csv", "masks", tmp_path / "out", QUOTED, columns)
    for sample, mask in zip(table.samples, layered, strict=True):
        (found,) = (other for other in done.table.samples if other.name == sample.name)
        assert (read_mask(found) == mask).all()
        assert found.split == sample.split


def load_masks(root: Path) -> Table[MaskSample]:
    return open_source(str(root), "masks", "csv", [f"data.splits={root / 'splits.csv'}", QUOTED]).table


@pytest.mark.parametrize("to", ["masks", "csv"])
def test_outlines_become_masks(tmp_path: Path, to: str) -> None:
    """A rectangle and a triangle over it, against the same drawn by hand."""
    (tmp_path / "set").mkdir()
    for number in range(3):
        images.write(tmp_path / f"set/{number}.jpg", photo(number, (40, 50)))
        shapes = [
            {"label": "road", "points": [[5, 10], [45, 30]], "shape_type": "rectangle"},
            {"label": "car", "points": [[10, 10], [30, 10], [10, 30]], "shape_type": "polygon"},
        ]
        document = {"imagePath": f"{number}.jpg", "imageData": None, "shapes": shapes}
        (tmp_path / f"set/{number}.json").write_text(json.dumps(document))
    _, done = there(tmp_path / "set", "labelme", to, tmp_path / "out")
    assert done.table.class_names == ("background", "car", "road")
    mask = read_mask(done.table.samples[0])
    y, x = np.mgrid[0:40, 0:50] + 0.5
    inside_car = (x > 11) & (y > 11) & (x + y < 38)  # surely in it, whatever a rasteriser does at the edge
    road = (x > 6) & (x < 44) & (y > 11) & (y < 29)
    outside = (x < 4) | (y < 9) | (x > 46) | (y > 31)
    assert (mask[inside_car] == 1).all()
    assert (mask[road & (x + y > 43)] == 2).all()
    assert (mask[outside] == 0).all()


def test_the_printed_block_is_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from elsewhere: its paths are whole."""
    monkeypatch.chdir(tmp_path)
    coco_set(tmp_path / "set")
    table, done = there(Path("set"), "coco", "yolo", Path("out/new set"), "data.splits=set/splits.csv")
    monkeypatch.chdir("/")
    text = dump({"name": "x", "task": "detection", "data": done.block, "model": {"name": "yolox_nano"}})
    check_equal(load_table(parse_config(text).config), table)


def test_groups_that_cross_splits_on_purpose_stay_readable(tmp_path: Path) -> None:
    root = coco_set(tmp_path / "set")
    text = (root / "splits.csv").read_text(encoding="utf-8")
    (root / "splits.csv").write_text(text.replace(",val,,", ",val,walk,"), encoding="utf-8")
    table, done = there(root, "coco", "voc", tmp_path / "voc", f"data.splits={root / 'splits.csv'}")
    assert done.block["check_groups"] is False
    assert {s.name: s.group for s in done.table.samples} == {s.name: s.group for s in table.samples}


@pytest.mark.parametrize("to", ["voc", "yolo", "labelme"])
def test_two_pictures_of_one_name_up_to_the_suffix(tmp_path: Path, to: str) -> None:
    root = coco_set(tmp_path / "set", whole=True)
    for name in ("annotations.json", "splits.csv"):
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_text(text.replace("z.png", "a b.png"), encoding="utf-8")
    (root / "images/z.png").rename(root / "images/a b.png")
    table, done = there(root, "coco", to, tmp_path / "there", f"data.splits={root / 'splits.csv'}")
    (told,) = [sentence for sentence in done.lost if "name of" in sentence]
    assert told == "the name of a picture, as another has it already: a b.png is a b_2.png"
    assert len(done.table) == len(table)
    assert sum(len(s.boxes) for s in done.table.samples) == 12


def test_links_point_to_the_pictures(tmp_path: Path) -> None:
    root = coco_set(tmp_path / "set")
    there(root, "coco", "yolo", tmp_path / "there", link=True)
    path = tmp_path / "there/images/night/猫 1.jpg"
    assert path.is_symlink()
    assert os.path.realpath(path) == os.path.realpath(root / "images/night/猫 1.jpg")
    there(root, "coco", "yolo", tmp_path / "copied")
    assert not (tmp_path / "copied/images/night/猫 1.jpg").is_symlink()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    root = coco_set(tmp_path / "set")
    (tmp_path / "out").mkdir()
    there(root, "coco", "yolo", tmp_path / "out")  # empty: taken
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="out: is there already; name a new folder with --out"):
        there(root, "coco", "voc", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: is there already"):
        there(root, "coco", "voc", tmp_path / "file")
    with pytest.raises(UserError, match="file/out: cannot be made"):
        there(root, "coco", "voc", tmp_path / "file/out")
    assert set(tmp_path.rglob("*")) == before | {tmp_path / "file"}


def test_a_set_that_the_format_cannot_hold_leaves_nothing_behind(tmp_path: Path) -> None:
    root = coco_set(tmp_path / "set")
    (root / "images/z.png").rename(root / "images/z.xyz")
    for name in ("annotations.json", "splits.csv"):
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_text(text.replace("z.png", "z.xyz"), encoding="utf-8")
    with pytest.raises(UserError, match=r"yolo cannot hold this set, and nothing was written: .*out/images/z\.xyz"):
        there(root, "coco", "yolo", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_interrupted_writer_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = coco_set(tmp_path / "set")

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(target.Target, "pictures", stop)
    with pytest.raises(KeyboardInterrupt):
        there(root, "coco", "yolo", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_format_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = coco_set(tmp_path / "set")
    monkeypatch.setitem(WRITERS["detection"], "pets", "toolkit.data.writers.labelme:write")
    opened = open_source(str(root), "coco", "pets")
    assert len(convert(opened.table, "detection", "pets", tmp_path / "out").table) == 5
    with pytest.raises(UserError, match=r"'pest': detection is written as one of .*did you mean 'pets'\?"):
        convert(opened.table, "detection", "pest", tmp_path / "out2")
