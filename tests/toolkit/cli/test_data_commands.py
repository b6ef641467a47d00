"""``toolkit data`` as it is typed: what is printed and written, and one sentence with exit code 2 for a mistake."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from drawn_photos import photo
from written_sets import CLASSES, coco_set, folder_set, mask_set

from toolkit import images

MODELS = {
    "coco": ("detection", "yolox_nano"),
    "folders": ("classification", "mobilenet_v2"),
    "masks": ("segmentation", "unet"),
}
QUOTED = f"data.classes=[{', '.join(('background', *CLASSES))}]"


@pytest.fixture
def run(run: Any) -> Any:
    """Run ``toolkit data ...`` in an empty folder; returns (exit code, standard output, standard error)."""
    return partial(run, "data")


def config(name: str, stored: str, **keys: Any) -> str:
    task, model = MODELS[stored]
    data = {"format": stored, "root": "set", **keys}
    Path(name).write_text(json.dumps({"name": "x", "task": task, "data": data, "model": {"name": model}}))
    return name


@pytest.fixture
def boxes(run: Any, tmp_path: Path) -> str:
    """A sound set and its config."""
    coco_set(tmp_path / "set")
    return config("boxes.yaml", "coco", splits="set/splits.csv")


@pytest.fixture
def classes(run: Any, tmp_path: Path) -> str:
    """Forty pictures of two classes; numbers 4 and 30 are one picture twice."""
    for number in range(40):
        path = tmp_path / "set" / ("cat", "dog [red]")[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, photo(4 if number == 30 else number, (48 + number, 64)))
    return config("classes.yaml", "folders", val_fraction=0.25)


def test_check_prints_tables(run: Any, boxes: str) -> None:
    code, out, err = run("check", boxes)
    assert (code, err) == (0, "")
    cells = [line.split() for line in out.splitlines()]
    assert ["猫", "3", "(75%)", "0", "(0%)", "1", "(25%)", "4"] in cells
    assert ["all", "pictures", "3", "(60%)", "1", "(20%)", "1", "(20%)", "5"] in cells
    assert ["web", "1", "(50%)", "1", "(50%)", "0", "(0%)", "2"] in cells
    assert ["picture", "width", "83", "83", "83"] in cells
    assert "1 picture without boxes" in out


def test_check_prints_json_for_programs(run: Any, boxes: str) -> None:
    code, out, _ = run("check", boxes, "--json")
    figures = json.loads(out)
    assert code == 0
    assert figures["counts"]["猫"] == {"train": 3, "val": 0, "test": 1}
    assert figures["near_duplicates"] == []


def test_check_of_masks(run: Any, tmp_path: Path) -> None:
    mask_set(tmp_path / "set")
    name = config("masks.yaml", "masks", splits="set/splits.csv", classes=["background", *CLASSES])
    code, out, err = run("check", name)
    assert (code, err) == (0, "")
    cells = [line.split() for line in out.splitlines()]
    # Five pictures of 60 x 83 less three rows that are not counted; 20 rows of 45 pixels are of the second class.
    share = 5 * 20 * 45 / (5 * 57 * 83)
    assert ["猫", f"{share:.2%}", "5"] in cells
    assert "1,245 pixels of no class" in out


def test_names_in_brackets_are_names(run: Any, classes: str) -> None:
    """Not colours, as in the library that draws the tables."""
    assert "dog [red]" in run("check", classes, "--no-near-duplicates")[1]


def test_check_warns_of_near_duplicates_in_two_splits(run: Any, classes: str) -> None:
    rows = "".join(
        f"{('cat', 'dog [red]')[k % 2]}/{k:02d}.jpg,{'val' if k in (4, 5) else 'train'}\n" for k in range(40)
    )
    Path("s.csv").write_text("image,split\n" + rows)
    code, out, err = run("check", classes, "data.splits=s.csv")
    assert code == 0
    lines = err.splitlines()
    assert lines[0].startswith("warning: cat/04.jpg (val) and cat/30.jpg (train) are near-duplicates, likeness 0.9")
    assert "toolkit data split" in lines[1]
    assert "warning" not in out
    code, out, _ = run("check", classes, "data.splits=s.csv", "--json")
    (found,) = json.loads(out)["near_duplicates"]
    assert (found["first"], found["second_split"]) == ("cat/04.jpg", "train")
    assert run("check", classes, "data.splits=s.csv", "--no-near-duplicates")[2] == ""


def test_check_ends_with_2_on_faults(run: Any, classes: str) -> None:
    Path("set/cat/00.jpg").write_bytes(b"no picture")
    code, out, err = run("check", classes)
    assert (code, out) == (2, "")
    assert err.startswith("error: 1 fault in the data")
    assert "set/cat/00.jpg: is not a picture" in err
    code, out, err = run("check", classes, "data.on_fault=skip")
    assert code == 0
    assert "left out: set/cat/00.jpg" in err
    assert "1 fault passed over" in out


def test_split_writes_what_a_config_can_name(run: Any, classes: str) -> None:
    code, out, err = run("split", classes, "--out", "new/s.csv", "--val", "0.2", "--test", "0.1", "--seed", "3")
    assert (code, err) == (0, "")
    cells = [line.split() for line in out.splitlines()]
    assert ["cat", "14", "(70%)", "4", "(20%)", "2", "(10%)", "20"] in cells
    assert "written: new/s.csv; train on it with data.splits=new/s.csv" in out
    code, out, err = run("check", classes, "data.splits=new/s.csv", "--json")
    assert json.loads(out)["pictures"] == {"train": 28, "val": 8, "test": 4}
    assert err == ""  # no near-duplicate in two splits
    code, _, err = run("split", classes, "--out", "new/s.csv")
    assert (code, err) == (2, "error: new/s.csv: is there already; --force replaces it, --out names another\n")
    before = Path("new/s.csv").read_text()
    assert run("split", classes, "--out", "new/s.csv", "--force")[0] == 0
    assert Path("new/s.csv").read_text() != before


def test_split_tells_of_a_class_that_a_split_lacks(run: Any, classes: str) -> None:
    code, _, err = run("split", classes, "--group-by", "folder", "--val", "0.3")
    assert code == 0
    told = sorted(line.split("; ")[0] for line in err.splitlines())
    both = [{f"warning: class {a!r} is in train only", f"warning: class {b!r} is in val only"}
            for a, b in (("cat", "dog [red]"), ("dog [red]", "cat"))]  # fmt: skip
    assert set(told) in both


def test_stats_writes_figures_sheets_and_plots(run: Any, boxes: str) -> None:
    code, out, err = run("stats", boxes, "--out", "look/here")
    assert (code, err) == (0, "")
    assert "written: look/here/contact_sheet.jpg, look/here/statistics.json, look/here/statistics.png" in out
    assert json.loads(Path("look/here/statistics.json").read_text(encoding="utf-8"))["counts"]["猫"]["train"] == 3
    assert images.decode(Path("look/here/contact_sheet.jpg")).shape[1] > 1000
    assert images.decode(Path("look/here/statistics.png")).shape[1] == 1500
    code, out, _ = run("stats", boxes, "--out", "look/here", "--json")
    assert json.loads(out)["pictures"] == {"train": 3, "val": 1, "test": 1}


def test_stats_where_nothing_can_plot(run: Any, boxes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "matplotlib" else found(name))
    code, out, err = run("stats", boxes, "--out", "look")
    assert (code, err) == (0, "no plots: they need matplotlib; pip install 'cv-toolkit[train]'\n")
    assert "statistics.png" not in out
    assert sorted(path.name for path in Path("look").iterdir()) == ["contact_sheet.jpg", "statistics.json"]


def test_convert_prints_the_block_for_a_config(run: Any, boxes: str, tmp_path: Path) -> None:
    code, out, err = run("convert", boxes, "--to", "voc", "--out", "a new/set")
    assert (code, err) == (0, "not kept: fractions of a pixel in 11 boxes, as VOC's corners are whole numbers\n")
    first, second, block = out.split("\n", 2)
    assert (first, second) == ("written: a new/set, 5 pictures", "in a config:")
    assert f"root: {tmp_path}/a new/set" in block
    Path("again.yaml").write_text(
        f"name: x\ntask: detection\nmodel: {{name: yolox_nano}}\n{block}", encoding="utf-8"
    )  # fmt: skip
    assert run("check", "again.yaml")[0] == 0


def test_convert_a_folder_there_and_back(run: Any, tmp_path: Path) -> None:
    mask_set(tmp_path / "set")
    keys = ("data.splits=set/splits.csv", QUOTED)
    code, _, err = run("convert", "set", *keys, "--from", "masks", "--to", "csv", "--out", "table", "--link")
    assert (code, err) == (0, "")
    assert Path("table/images/z.png").is_symlink()
    code, _, err = run("convert", "table", QUOTED, "--from", "csv", "--to", "masks", "--out", "back")
    assert (code, err) == (0, "")
    assert not Path("back/images/z.png").is_symlink()
    assert Path("back/masks/z.png").read_bytes() == Path("set/masks/z.png").read_bytes()
    folder_set(tmp_path / "classes")
    assert run("convert", "classes", "--from", "folders", "--to", "csv", "--out", "index")[0] == 0


MISTAKES = [
    ("check nowhere.yaml", "no such config"),
    ("split boxes.yaml --val 0", "--val: expected a share above 0 and below 1, got 0"),
    ("split boxes.yaml --val 0.6 --test 0.4", "--test: expected a share from 0"),
    ("split boxes.yaml --group-by sorce", "did you mean 'source'?"),
    ("split boxes.yaml --out set", "set: is there already"),
    ("split quickstart data.root=drawn data.pictures=12", "shapes bring their own split"),
    ("stats boxes.yaml --out boxes.yaml", "boxes.yaml: cannot be made"),
    ("convert set --to voc --out x", "say how its labels are stored with --from"),
    ("convert boxes.yaml --to masks --out x", "this config is for detection"),
    ("convert boxes.yaml --to voc --out set", "lies inside the data set set; name a folder beside it"),
    ("convert boxes.yaml --to voc --out set/new", "lies inside the data set"),
    ("convert boxes.yaml --to voc --out boxes.yaml", "boxes.yaml: is there already"),
    ("convert set --from coco --to voc --out x data.rot=y", "data.rot"),
]


@pytest.mark.parametrize(("command", "sentence"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_one_sentence(run: Any, boxes: str, command: str, sentence: str) -> None:
    code, out, err = run(*command.split())
    assert code == 2, err
    assert out == ""
    assert err.startswith("error: ")
    assert sentence in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 4


@pytest.mark.parametrize("command", ["convert boxes.yaml --out x", "convert boxes.yaml --to voc", "split"])
def test_what_must_be_given(run: Any, boxes: str, command: str) -> None:
    code, _, err = run(*command.split())
    assert code == 2
    assert "Missing" in err
