"""From a file to a checked config: errors with lines, overrides, base, paths, shipped configs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from toolkit.config import CocoData, ShapesData, as_overrides, find_config, load_config, parse_config, shipped_configs
from toolkit.config.tree import all_keys
from toolkit.errors import UserError

CONFIG = """\
name: mask
task: detection
data:
  format: coco
  root: pictures
model:
  name: yolox_nano
  input_size: [320, 416]
train:
  epochs: 10
  optimizer:
    name: sgd
    momentum: 0.8
"""


def load(text: str = CONFIG, *overrides: str, directory: str | Path = "/configs") -> Any:
    return parse_config(text, name="configs/x.yaml", directory=directory, overrides=overrides)


def message(text: str = CONFIG, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load(text, *overrides)
    return str(caught.value)


def test_values_and_defaults() -> None:
    config = load().config
    assert isinstance(config.data, CocoData)
    assert config.model.input_size == (320, 416)
    assert config.train.epochs == 10
    assert (config.train.optimizer.name, config.train.optimizer.momentum) == ("sgd", 0.8)
    assert config.train.optimizer.lr == 0.01  # sgd's own default
    assert config.train.batch_size == 16
    assert config.preprocess.fill == 114
    assert config.data.annotations == Path("annotations.json")  # stays relative to data.root


def test_config_is_read_only() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().config.train.epochs = 5


def test_whole_numbers_are_numbers_too() -> None:
    assert load(CONFIG, "train.warmup_epochs=2").config.train.warmup_epochs == 2.0


# One line of CONFIG replaced -> the whole message.
FAULTS = [
    ("name: yolox_nano", "nmae: yolox_nano", "7: model.nmae: unknown key; did you mean 'name'?"),
    ("root: pictures", "rot: pictures", "5: data.rot: unknown key; did you mean 'root'?"),
    ("task: detection", "taks: detection", "2: taks: unknown key; did you mean 'task'?"),
    ("format: coco", "fromat: coco", "4: data.fromat: unknown key; did you mean 'format'?"),
    ("input_size: [320", "inptu_size: [320", "8: model.inptu_size: unknown key; did you mean 'input_size'?"),
    ("name: mask", "name: my mask", "1: name: expected letters, digits, _ and - only, got 'my mask' (text)"),
    ("name: mask", "name: 5", "1: name: expected text, got 5 (number); put it in quotes to make it text"),
    ("task: detection", "task: detect", "2: task: expected 'detection', got 'detect'; did you mean 'detection'?"),
    ("format: coco", "format: cocoo", "4: data.format: expected 'coco' or 'shapes', got 'cocoo'; did you mean 'coco'?"),
    ("format: coco", "format: 7", "4: data.format: expected 'coco' or 'shapes', got 7 (number)"),
    (
        "name: yolox_nano",
        "name: yolo_nano",
        "7: model.name: expected 'yolox_nano', 'yolox_tiny' or 'yolox_s', got 'yolo_nano'; did you mean 'yolox_nano'?",
    ),
    (
        "  root: pictures\n",
        "",
        "3: data.root: required key is missing (folder of the data set, with the annotation "
        "file and the pictures in it); set it, or give data.root=/your/pictures on the command line",
    ),
    (
        "  format: coco\n",
        "",
        "3: data.format: required key is missing; set it to 'coco' or 'shapes', "
        "or give data.format=coco on the command line",
    ),
    (
        "task: detection\n",
        "",
        "1: task: required key is missing; set it to 'detection', or give task=detection on the command line",
    ),
    ("root: pictures", "root: ''", "5: data.root: expected a path, got an empty text"),
    ("root: pictures", "root: [a]", "5: data.root: expected text, got ['a'] (list)"),
    ("[320, 416]", "[300, 416]", "8: model.input_size.0: expected a multiple of 32, got 300 (number)"),
    ("[320, 416]", "[416]", "8: model.input_size: expected 2 values, got [416] (list)"),
    ("[320, 416]", "[32, 32, 32]", "8: model.input_size: expected 2 values, got [32, 32, 32] (list)"),
    ("[320, 416]", "416", "8: model.input_size: expected a list, got 416 (number)"),
    ("[320, 416]", "[320, 1e3]", "8: model.input_size.1: expected a whole number, got 1000.0 (number)"),
    ("epochs: 10", "epochs: ten", "10: train.epochs: expected a whole number, got 'ten' (text)"),
    ("epochs: 10", "epochs: '10'", "10: train.epochs: expected a whole number, got '10' (text)"),
    ("epochs: 10", "epochs: 0", "10: train.epochs: expected 1 or more, got 0 (number)"),
    ("epochs: 10", "epochs: true", "10: train.epochs: expected a whole number, got true"),
    ("epochs: 10", "epochs:", "10: train.epochs: expected a whole number, got null"),
    ("epochs: 10", "lr: 10", "10: train.lr: unknown key; did you mean 'train.optimizer.lr'?"),
    ("epochs: 10", "clip_norm: .inf", "10: train.clip_norm: expected a finite number, got .inf (infinity)"),
    ("epochs: 10", "clip_norm: -.5", "10: train.clip_norm: expected a number above 0, got -0.5 (number)"),
    ("epochs: 10", "ema_decay: 1", "10: train.ema_decay: expected a number below 1, got 1 (number)"),
    ("epochs: 10", "min_lr_ratio: 1.5", "10: train.min_lr_ratio: expected 1 or less, got 1.5 (number)"),
    (
        "momentum: 0.8",
        "momentum: .nan",
        "13: train.optimizer.momentum: expected a finite number, got .nan (not a number)",
    ),
    (
        "momentum: 0.8",
        "nesterov: yes",
        "13: train.optimizer.nesterov: expected true or false, got 'yes' (text); write true or false",
    ),
    (
        "name: sgd",
        "name: adamw",
        "13: train.optimizer.momentum: unknown key for name 'adamw' (set by configs/x.yaml:12), it belongs to 'sgd'; "
        "remove it, or give the whole block as train.optimizer={name: adamw}",
    ),
    (
        "train:",
        "preprocess:\ntrain:",
        "9: preprocess: expected a block of keys, got null; leave it out to take the defaults",
    ),
    (
        "train:",
        "augment: {zoom: {object_size: [9, 3]}}\ntrain:",
        "9: augment.zoom.object_size: expected [smallest, largest], got [9.0, 3.0]",
    ),
    (
        "train:",
        "augment: {albumentations: [{A: {}, B: {}}]}\ntrain:",
        "9: augment.albumentations.0: expected one transform, as in '- HorizontalFlip: {p: 0.5}', got 2 keys",
    ),
    (
        "root: pictures",
        "root: pictures\n  classes: [a, b, a]",
        "6: data.classes: expected every name once, got 'a' more than once",
    ),
    (
        "root: pictures",
        "root: pictures\n  classes: []",
        "6: data.classes: expected at least 1 in the list, got [] (list)",
    ),
]


@pytest.mark.parametrize(("line", "instead", "expected"), FAULTS)
def test_fault_with_its_line(line: str, instead: str, expected: str) -> None:
    assert CONFIG.count(line) == 1
    assert message(CONFIG.replace(line, instead)) == f"configs/x.yaml:{expected}"


def test_all_faults_at_once_in_the_order_of_the_lines() -> None:
    text = CONFIG.replace("epochs: 10", "epohcs: 10").replace("root: pictures", "folder: pictures")
    lines = message(text).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["configs/x.yaml:3", "data.root"],
        ["configs/x.yaml:5", "data.folder"],
        ["configs/x.yaml:10", "train.epohcs"],
    ]


def test_missing_blocks() -> None:
    text = message("name: a\ntask: detection\n")
    assert "configs/x.yaml:1: data: required block is missing (the pictures and their labels)" in text
    assert "add it, beginning with its key 'format'" in text


OVERRIDES = [
    ("train.epochs=5", "train.epochs", 5),
    ("train.epochs= 5", "train.epochs", 5),
    ("model.input_size=[416,416]", "model.input_size", (416, 416)),
    ("train.ema_decay=null", "train.ema_decay", None),
    ("train.ema_decay=", "train.ema_decay", None),
    ("name=no", "name", "no"),
    ("augment.mosaic.probability=0", "augment.mosaic.probability", 0.0),
    ("augment.albumentations=[{Blur: {p: .1}}]", "augment.albumentations", ({"Blur": {"p": 0.1}},)),
    ("train.optimizer={name: adamw}", "train.optimizer.lr", 1e-3),
    ("bundle.intended_use='a = b # c'", "bundle.intended_use", "a = b # c"),
]


@pytest.mark.parametrize(("override", "key", "expected"), OVERRIDES)
def test_overrides(override: str, key: str, expected: object) -> None:
    loaded = load(CONFIG, override)
    assert loaded.value(key) == expected
    assert loaded.origin(override.partition("=")[0]) == "override"


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "coco", "sgd", "../a", "é"])
_ANY = st.recursive(_PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2))


@given(st.sampled_from(all_keys()), _ANY)
def test_any_value_is_taken_or_refused_in_sentences(key: str, value: object) -> None:
    refused = ""
    try:
        loaded = load(CONFIG, *as_overrides({key: value}))
    except UserError as error:
        refused = str(error)
    else:
        assert parse_config(loaded.to_yaml()).config == loaded.config
    assert all(line.startswith(("override ", "configs/x.yaml:")) for line in refused.split("\n") if refused)


def test_the_later_override_holds() -> None:
    assert load(CONFIG, "train.epochs=5", "train.epochs=6").config.train.epochs == 6


def test_override_of_a_default_choice_keeps_the_choice() -> None:
    text = CONFIG[: CONFIG.index("  optimizer:")]
    optimizer = load(text, "train.optimizer.lr=0.5").config.train.optimizer
    assert (optimizer.name, optimizer.lr) == ("adamw", 0.5)
    assert load(text, "train.optimizer.name=sgd").config.train.optimizer.name == "sgd"


WRONG_OVERRIDES = [
    ("train.epochs=ten", "override train.epochs=ten: expected a whole number, got 'ten' (text)"),
    ("train.epohcs=5", "override train.epohcs=5: unknown key; did you mean 'epochs'?"),
    ("epochs=5", "override epochs=5: unknown key; did you mean 'train.epochs'?"),
    ("tarin.epochs=5", "override tarin.epochs=5: tarin: unknown key; did you mean 'train'?"),
    ("train.epochs", "override train.epochs: expected KEY=VALUE, such as train.epochs=5"),
    ("=5", "override =5: expected KEY=VALUE, such as train.epochs=5"),
    ("train..epochs=5", "override train..epochs=5: expected KEY=VALUE, such as train.epochs=5"),
    ("name.first=5", "override name.first=5: name is 'mask' (text), not a block of keys"),
    ("base=other.yaml", "override base=other.yaml: base can only stand in a config file; give another config instead"),
    (
        "model.input_size.0=416",
        "override model.input_size.0=416: model.input_size is a list, its items are not set one by one; "
        "give all: model.input_size=[...]",
    ),
    (
        "train.optimizer.name=adamw",
        "configs/x.yaml:13: train.optimizer.momentum: unknown key for name 'adamw' "
        "(set by override train.optimizer.name=adamw), it belongs to 'sgd'; "
        "remove it, or give the whole block as train.optimizer={name: adamw}",
    ),
    (
        "data={format: coco, rot: a}",
        "override data={format: coco, rot: a}: data.rot: unknown key; did you mean 'root'?",
    ),
]


@pytest.mark.parametrize(("override", "expected"), WRONG_OVERRIDES)
def test_wrong_overrides(override: str, expected: str) -> None:
    assert message(CONFIG, override) == expected


def test_as_overrides_gives_back_every_value(tmp_path: Path) -> None:
    values = {
        "train.epochs": 5,
        "train.optimizer.lr": 2.5e-7,
        "train.ema_decay": None,
        "data.root": tmp_path / "my #1 pictures",
        "model.input_size": (64, 96),
        "bundle.version": "1.0",
        "bundle.intended_use": 'é "no": yes\n',
        "augment.albumentations": [{"Blur": {"p": 1}}],
    }
    loaded = load(CONFIG, *as_overrides(values))
    for key, value in values.items():
        got = loaded.value(key)
        assert (list(got) if isinstance(got, tuple) and isinstance(value, list) else got) == value


def test_as_overrides_refuses_what_yaml_cannot_hold() -> None:
    with pytest.raises(UserError, match=r"^override train\.epochs: expected text, numbers, .* got a object$"):
        as_overrides({"train.epochs": object()})


# What stands in the file (in /configs) or the override (from the working directory) -> what is loaded.
PATHS = [
    ("data.root", "pictures", "/configs/pictures", "{here}/pictures"),
    ("data.root", "../pictures", "/pictures", "{parent}/pictures"),
    ("data.root", "/pictures", "/pictures", "/pictures"),
    ("data.root", "~/pictures", "/home/somebody/pictures", "/home/somebody/pictures"),
    ("data.splits", "a/splits.csv", "/configs/a/splits.csv", "{here}/a/splits.csv"),
    ("data.images", "photos", "photos", "photos"),  # relative to data.root: the reader of the data joins them
    ("data.annotations", "/a.json", "/a.json", "/a.json"),
    ("model.init", "runs/1", "/configs/runs/1", "{here}/runs/1"),
    ("model.init", "zoo:mask_detection", "zoo:mask_detection", "zoo:mask_detection"),
]


@pytest.mark.parametrize(("key", "given", "from_file", "from_override"), PATHS)
def test_paths(
    key: str, given: str, from_file: str, from_override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    block, name = key.split(".")
    others = CONFIG.replace("  root: pictures\n", "") if key == "data.root" else CONFIG
    in_file = load(others.replace(f"{block}:\n", f"{block}:\n  {name}: {given}\n"))
    assert str(in_file.value(key)) == from_file
    overridden = load(CONFIG, f"{key}={given}")
    assert str(overridden.value(key)) == from_override.format(here=tmp_path, parent=tmp_path.parent)


def test_base_gives_the_blocks_that_are_not_given(tmp_path: Path) -> None:
    (tmp_path / "general").mkdir()
    (tmp_path / "general" / "base.yaml").write_text(CONFIG)
    child = tmp_path / "child.yaml"
    child.write_text("base: general/base.yaml\nname: child\ntrain: {batch_size: 4}\n")
    loaded = load_config(child)
    assert loaded.config.name == "child"
    assert loaded.config.model.input_size == (320, 416)
    assert loaded.config.train.epochs == 50  # the block is replaced, not merged
    assert loaded.config.train.batch_size == 4
    assert isinstance(loaded.config.data, CocoData)
    assert loaded.config.data.root == tmp_path / "general" / "pictures"  # relative to the file it stands in
    assert loaded.origin("name") == f"{child}:2"
    assert loaded.origin("model.input_size") == f"{tmp_path / 'general' / 'base.yaml'}:8"
    assert loaded.origin("train.epochs") == "default"


def test_fault_of_a_base_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(CONFIG.replace("epochs: 10", "epochs: ten"))
    (tmp_path / "child.yaml").write_text("base: ./base.yaml\nname: child\n")
    with pytest.raises(UserError) as caught:
        load_config("child.yaml")
    assert str(caught.value) == "base.yaml:10: train.epochs: expected a whole number, got 'ten' (text)"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("base: a.yaml", "", "a.yaml:1: base: the files name each other in a circle (a.yaml -> a.yaml)"),
        ("base: b.yaml", "base: a.yaml", "b.yaml:1: base: the files name each other in a circle (a.yaml -> b.yaml -> "),
        ("base: c.yaml", "", "a.yaml:1: base: no such file: c.yaml"),
        ("base: [b.yaml]", "", "a.yaml:1: base: expected the path of one config, got ['b.yaml'] (list)"),
        ("base: b.yaml\nbase: b.yaml", "", "a.yaml:2: base: this key already stands in line 1"),
    ],
)
def test_wrong_bases(a: str, b: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(a + "\n")
    (tmp_path / "b.yaml").write_text(b + "\n")
    with pytest.raises(UserError) as caught:
        load_config("a.yaml")
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("name", "configs/x.yaml:1"),
        ("data", "configs/x.yaml:3"),
        ("model.input_size", "configs/x.yaml:8"),
        ("model.input_size.1", "configs/x.yaml:8"),
        ("train.epochs", "override"),
        ("train.batch_size", "default"),
        ("postprocess", "default"),
        ("augment.mosaic.off_epochs", "default"),
    ],
)
def test_origin(key: str, expected: str) -> None:
    assert load(CONFIG, "train.epochs=5").origin(key) == expected


def test_origin_of_an_unknown_key() -> None:
    with pytest.raises(UserError, match=r"train\.epohcs: unknown key; did you mean 'train\.epochs'\?"):
        load().origin("train.epohcs")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("bundle.version='1e-3'", "bundle.intended_use='no'", "name=null_", "data.classes=['yes', '12:30', '0o7', é]"),
        ("augment.albumentations=[{Blur: {p: .1, limits: [1, 3]}}, {Flip: {}}]", "train.optimizer.lr=1e-7"),
        ("data={format: shapes, size: [64, 96]}", "model.init=zoo:mask_detection"),
    ],
)
def test_to_yaml_loads_back_to_an_equal_config(overrides: tuple[str, ...], tmp_path: Path) -> None:
    loaded = load(CONFIG, *overrides)
    text = loaded.to_yaml()
    again = parse_config(text, directory=tmp_path)
    assert again.config == loaded.config
    assert "max_detections: 300" in text  # defaults are written out
    assert again.to_yaml() == text


def test_shipped_configs() -> None:
    quickstart = load_config("quickstart").config
    assert isinstance(quickstart.data, ShapesData)
    assert load_config("configs/quickstart.yaml").config == quickstart
    mask = load_config("mask_detection", ["data.root=/pictures"]).config
    assert isinstance(mask.data, CocoData)
    assert mask.data.classes == ("with_mask", "without_mask", "mask_worn_incorrectly")
    assert {"quickstart", "mask_detection"} <= set(shipped_configs())


def test_the_shipped_mask_config_asks_for_pictures() -> None:
    with pytest.raises(UserError) as caught:
        load_config(find_config("mask_detection"))
    assert "data.root: required key is missing" in str(caught.value)
    assert "give data.root=/your/pictures on the command line" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shipped_configs_are_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "quickstart.yaml", "configs/quickstart", "configs/quickstart.yaml"):
        assert find_config(name).name == "quickstart.yaml"
    (tmp_path / "quickstart").mkdir()  # a folder of that name does not hide the config
    assert find_config("quickstart").name == "quickstart.yaml"
    (tmp_path / "quickstart.yaml").write_text(CONFIG)  # the user's own file comes first
    assert find_config("quickstart.yaml") == Path("quickstart.yaml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quickstrat", "quickstrat: no such config, neither a file here nor a shipped one; did you mean 'quickstart'?"),
        ("configs/mask_detecton.yaml", "did you mean 'mask_detection'?"),
        ("zzz.yaml", "zzz.yaml: no such config, neither a file here nor a shipped one; shipped configs are "),
        ("folder", "folder: expected a config file (YAML), got a folder"),
    ],
)
def test_unknown_configs(name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError) as caught:
        find_config(name)
    assert expected in str(caught.value)


def test_importing_the_config_brings_nothing_heavy() -> None:
    heavy = "{'torch', 'lightning', 'albumentations', 'cv2', 'onnxruntime', 'numba', 'numpy'}"
    code = f"import sys, toolkit.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
