"""From a file to a checked config: paths, origins, writing it back, shipped configs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config import as_overrides, find_config, load_config, parse_config, shipped_configs
from toolkit.config.data_blocks import CocoData, ShapesData
from toolkit.config.tree import all_keys
from toolkit.errors import UserError

DETECTION, CLASSIFICATION, SEGMENTATION = (
    Path(__file__).with_name(f"{task}.yaml").read_text() for task in ("detection", "classification", "segmentation")
)


def load(text: str = DETECTION, *overrides: str, directory: str | Path = "/configs") -> Any:
    return parse_config(text, name="configs/x.yaml", directory=directory, overrides=overrides)


def test_origin_inside_lists_and_maps() -> None:
    loaded = load(SEGMENTATION, "data.mask_columns.lung=other")
    assert loaded.origin("data.mask_columns.lung") == "override"
    assert loaded.origin("data.mask_columns.lesion") == "configs/x.yaml:8"
    assert load(CLASSIFICATION).origin("data.extra.1") == "configs/x.yaml:6"


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "coco", "sgd", "../a", "é"])
_ANY = st.recursive(_PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2))


@given(st.sampled_from([DETECTION, CLASSIFICATION, SEGMENTATION]), st.sampled_from(all_keys()), _ANY)
def test_any_value_is_taken_or_refused_in_sentences(text: str, key: str, value: object) -> None:
    refused = ""
    try:
        loaded = load(text, *as_overrides({key: value}))
    except UserError as error:
        refused = str(error)
    else:
        assert parse_config(loaded.to_yaml()).config == loaded.config
    assert all(line.startswith(("override ", "configs/x.yaml:")) for line in refused.split("\n") if refused)


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
    loaded = load(DETECTION, *as_overrides(values))
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
    others = DETECTION.replace("  root: pictures\n", "") if key == "data.root" else DETECTION
    in_file = load(others.replace(f"{block}:\n", f"{block}:\n  {name}: {given}\n"))
    assert str(in_file.value(key)) == from_file
    overridden = load(DETECTION, f"{key}={given}")
    assert str(overridden.value(key)) == from_override.format(here=tmp_path, parent=tmp_path.parent)


def test_paths_in_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path of a list is relative to the place that its item stands in, as a single one is."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    overridden = load(CLASSIFICATION, "data.extra=[more, ../others, /third, ~/fourth]").config.data.extra
    assert overridden == (tmp_path / "more", tmp_path.parent / "others", Path("/third"), Path("/home/somebody/fourth"))
    block = load(CLASSIFICATION, "data={format: folders, root: a, extra: [b]}").config.data
    assert (block.root, block.extra) == (tmp_path / "a", (tmp_path / "b",))
    (tmp_path / "general").mkdir()
    (tmp_path / "general" / "base.yaml").write_text(CLASSIFICATION)
    child = tmp_path / "child.yaml"
    child.write_text("base: general/base.yaml\nname: child\n")
    assert load_config(child).config.data.extra[0] == tmp_path / "general" / "more"
    child.write_text("base: general/base.yaml\ndata: {format: folders, root: a, extra: [b]}\n")
    assert load_config(child).config.data.extra == (tmp_path / "b",)


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
    assert load(DETECTION, "train.epochs=5").origin(key) == expected


def test_origin_of_an_unknown_key() -> None:
    with pytest.raises(UserError, match=r"train\.epohcs: unknown key; did you mean 'train\.epochs'\?"):
        load().origin("train.epohcs")


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (DETECTION, ()),
        (
            DETECTION,
            (
                "bundle.version='1e-3'",
                "bundle.intended_use='no'",
                "name=null_",
                "data.classes=['yes', '12:30', '0o7', é]",
            ),
        ),
        (
            DETECTION,
            ("augment.albumentations=[{Blur: {p: .1, limits: [1, 3]}}, {Flip: {}}]", "train.optimizer.lr=1e-7"),
        ),
        (DETECTION, ("data={format: shapes, size: [64, 96]}", "model.init=zoo:mask_detection")),
        (CLASSIFICATION, ()),
        (CLASSIFICATION, ("data={format: csv, root: a}", "model={name: resnet18}", "loss.class_weights=balanced")),
        (SEGMENTATION, ()),
        (SEGMENTATION, ("data.mask_columns={'no': '1.0'}", "postprocess.regions={'12': [lung], a: []}")),
    ],
)
def test_to_yaml_loads_back_to_an_equal_config(text: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    loaded = load(text, *overrides)
    dumped = loaded.to_yaml()
    again = parse_config(dumped, directory=tmp_path)
    assert again.config == loaded.config
    assert "warmup_epochs: 1.0" in dumped  # defaults are written out
    assert again.to_yaml() == dumped


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
    (tmp_path / "quickstart.yaml").write_text(DETECTION)  # the user's own file comes first
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
