"""What a trained model says of pictures becomes a data set that a config can read; its answers are known by hand."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import BOX, COLD, GREY, WARM, flat, make_tiny_classifier, make_tiny_segmenter

from toolkit import images

# By name, the colour; a grey one has a score of 0.49.
PICTURES = {
    "warm/a.jpg": WARM,
    "warm/shop__b.jpg": COLD,
    "warm/grey.jpg": GREY,
    "chilly/c.jpg": WARM,
    "stone/d.jpg": WARM,
}
SOUND = ["--to", "coco", "--out", "out", "--score-threshold", "0.6"]


@pytest.fixture
def label(run: Any, tmp_path: Path) -> Any:
    """Run ``toolkit data label ...`` beside the folder ``photos``; returns (exit code, standard output, error)."""
    for name, colour in PICTURES.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, flat(colour))
    (tmp_path / "photos/notes.txt").write_text("no picture")
    return partial(run, "data", "label")


def written() -> list[tuple[str, str, str, list[float]]]:
    """Of each box: the picture's name and source, the class, and x, y, width, height."""
    document = json.loads(Path("out/annotations.json").read_text(encoding="utf-8"))
    pictures = {entry["id"]: entry for entry in document["images"]}
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    of = [(pictures[box["image_id"]], box) for box in document["annotations"]]
    return [(p["file_name"], p["source"], names[box["category_id"]], np.round(box["bbox"]).tolist()) for p, box in of]


PLACE = [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]]


def test_boxes_as_the_model_sees_them(label: Any, tiny_bundle: Path) -> None:
    code, out, err = label(str(tiny_bundle), "photos", *SOUND)
    assert (code, err) == (0, "")
    assert written() == [
        ("chilly/c.jpg", "chilly", "warm", PLACE),
        ("stone/d.jpg", "stone", "warm", PLACE),
        ("warm/a.jpg", "warm", "warm", PLACE),
        ("warm/shop__b.jpg", "shop", "cold", PLACE),
    ]
    assert Path("out/images/warm/grey.jpg").is_file()  # without a box it is background
    assert "written: out, 5 pictures, labelled by tiny: look at them" in out
    block = out.split("in a config:\n", 1)[1]
    Path("again.yaml").write_text(f"name: x\ntask: detection\nmodel: {{name: yolox_nano}}\n{block}")


def test_class_folders_say_the_class_and_the_model_the_place(label: Any, tiny_bundle: Path) -> None:
    options = ["--class-folders", "--rename", "chilly=cold", "--link"]
    code, _, err = label(str(tiny_bundle), "photos", *SOUND, *options)
    assert code == 0
    assert err.splitlines() == ["left out: 1 picture: no object found", "left out: 1 picture: stone: no class of tiny"]
    assert written() == [
        ("chilly/c.jpg", "photos", "cold", PLACE),
        ("warm/a.jpg", "photos", "warm", PLACE),
        ("warm/shop__b.jpg", "shop", "warm", PLACE),
    ]
    assert Path("out/images/warm/a.jpg").is_symlink()


def test_a_broken_picture_is_left_out_with_its_sentence(label: Any, tiny_bundle: Path) -> None:
    Path("photos/warm/a.jpg").write_bytes(b"hello you")
    code, _, err = label(str(tiny_bundle), "photos", *SOUND)
    assert code == 0
    assert "left out: 1 picture: " in err
    assert "warm/a.jpg" in err
    assert len(written()) == 3


def test_a_classifier_sorts_into_folders(label: Any, tmp_path: Path) -> None:
    bundle = make_tiny_classifier(tmp_path / "classifier")
    code, out, err = label(str(bundle), "photos", "--to", "csv", "--out", "out")
    assert (code, err) == (0, "left out: class green: in no picture\n")
    rows = Path("out/index.csv").read_text(encoding="utf-8").splitlines()
    assert sum("warm/a.jpg,red" in row for row in rows) == 1
    assert sum("warm/shop__b.jpg,blue" in row for row in rows) == 1
    assert "5 pictures" in out


MISTAKES = [
    (["photos", "--to", "masks", "--out", "out"], "detection is written as one of"),
    (["photos", *SOUND[:-1], "0.9999"], "no object found in any picture; a lower --score-threshold"),
    (["photo", *SOUND], "photo: no such folder"),
    (["photos/stone", *SOUND, "--class-folders"], "no picture could be labelled; 1 picture: stone: no class of tiny"),
    (["photos", *SOUND, "--class-folders", "--rename", "stone=warn"], "'warn': no class of tiny (warm, cold); did you"),
    (["photos", *SOUND, "--rename", "stone"], "--rename stone: expected FOLDER=CLASS"),
    (["photos", "--to", "coco", "--out", "photos/out"], "lies inside photos; name a folder beside it"),
    (["photos", "--to", "coco", "--out", "."], "is there already"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=[row[1] for row in MISTAKES])
def test_a_mistake_is_one_sentence(label: Any, tiny_bundle: Path, arguments: list[str], sentence: str) -> None:
    code, out, err = label(str(tiny_bundle), *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err
    assert not Path("out").exists()


def test_masks_are_not_labelled(label: Any, tmp_path: Path) -> None:
    code, _, err = label(str(make_tiny_segmenter(tmp_path / "masks")), "photos", "--to", "masks", "--out", "out")
    assert code == 2
    assert "does segmentation; boxes and classes can be labelled" in err
