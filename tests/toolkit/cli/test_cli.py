"""The command line as a new user meets it, typos included: one clear sentence, exit code 2, no traceback."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import COLOURS, MAKERS, REGIONS, WARM, flat

from ops._kernel import Kernel


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file that would be a very large picture; making it takes a second."""
    path = tmp_path_factory.mktemp("huge") / "huge.png"
    Image.new("1", (20000, 20000)).save(path)
    return path


@pytest.fixture
def files(tmp_path: Path, tiny_bundle: Path, huge: Path) -> Path:
    """Good and bad inputs in the working directory."""
    Image.fromarray(np.full((40, 50, 3), (200, 60, 40), np.uint8)).save(tmp_path / "good.jpg", quality=95)
    good = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "broken.jpg").write_bytes(good[: len(good) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "huge.png").symlink_to(huge)
    (tmp_path / "hollow").mkdir()
    shutil.copytree(tiny_bundle, tmp_path / "tampered")
    model = tmp_path / "tampered/model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    (tmp_path / "unknown_key.yaml").write_text(
        "name: x\ntask: detection\ndata: {format: shapes}\nmodel:\n  nmae: yolox_nano\n"
    )
    (tmp_path / "wrong_type.yaml").write_text(
        "name: x\ntask: detection\ndata: {format: shapes}\nmodel: {name: yolox_nano}\ntrain:\n  epochs: ten\n"
    )
    (tmp_path / "classes.yaml").write_text(
        "name: x\ntask: detection\n"
        "data: {format: coco, root: set, classes: [with_mask, dog]}\nmodel: {name: yolox_nano}\n"
    )
    (tmp_path / "set/images").mkdir(parents=True)
    Image.fromarray(np.full((40, 50, 3), 128, np.uint8)).save(tmp_path / "set/images/a.jpg")
    categories = [{"id": 1, "name": "with_masks"}]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
    table = {"images": [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}], "annotations": [box]}
    (tmp_path / "set/annotations.json").write_text(json.dumps({**table, "categories": categories}))
    (tmp_path / "none.yaml").write_text(
        "name: x\ntask: detection\ndata: {format: coco, root: nothing}\nmodel: {name: yolox_nano}\n"
    )
    (tmp_path / "nothing/images").mkdir(parents=True)
    (tmp_path / "nothing/annotations.json").write_text('{"images": [], "annotations": [], "categories": []}')
    return tmp_path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny bundle of each task."""
    folder = tmp_path_factory.mktemp("bundles")
    return {task: maker(folder / task) for task, maker in MAKERS.items()}


MISTAKES = [
    ("train unknown_key.yaml", "unknown_key.yaml:5: model.nmae: unknown key; did you mean 'name'?"),
    ("train wrong_type.yaml", "wrong_type.yaml:6: train.epochs: expected a whole number"),
    ("train quickstart trian.epochs=3", "trian"),
    ("train quickstart train.epochs", "train.epochs"),
    ("train quickstart model.name=yolox_nono", "yolox_nano"),
    ("train nowhere.yaml", "nowhere.yaml: no such config"),
    ("train mask_detection", "data.root"),
    ("train mask_detection data.root=nowhere", "nowhere"),
    ("train none.yaml", "annotations.json"),
    ("train classes.yaml", "did you mean 'with_masks'?"),
    ("predict mask_detecton good.jpg", "did you mean 'mask_detection'?"),
    ("predict tampered good.jpg", "model.onnx does not match its recorded SHA-256"),
    ("predict {tiny} nowhere.jpg", "nowhere.jpg"),
    ("predict {tiny} hollow", "hollow"),
    ("predict {tiny} good.jpg --score-threshold 7", "score_threshold: expected a number from 0 to 1, got 7"),
    ("predict {tiny} good.jpg --device tpu", "device 'tpu': expected one of auto, cpu, cuda"),
    ("predict {tiny} good.jpg --batch-size 0", "batch_size"),
    ("predict set good.jpg", "set is there but is no bundle"),
    ("predict {classification} good.jpg --score-threshold 0.5", "this model takes top_k, not score_threshold"),
    ("predict {segmentation} good.jpg --top-k 2", "top_k: this model takes no options"),
    ("predict {detection} good.jpg --top-k 2", "takes score_threshold and iou_threshold and max_detections, not top_k"),
    ("predict {classification} good.jpg --top-k 0", "top_k: expected an integer from 1 to 100000, got 0"),
    ("predict {segmentation} good.jpg --explain", "only classifiers have a heat map of the evidence"),
    ("train quickstart task=clasification", "did you mean 'classification'?"),
    ("train quickstart task=classification", "everything else here is for 'detection', not for 'classification'"),
    ("train classification data.root=set", "train and val need a picture each"),  # one picture, in a folder "images"
    ("train classification model.name=unet data.root=set", "'unet', which belongs to task 'segmentation'"),
    ("train segmentation data.root=set", "data.classes: required key"),
    ("train segmentation data.root=set data.classes=[background]", "expected at least 2 in the list"),
    ("train segmentation data.root=set data.classes=[a,b] loss.kind=dice", "expected 'ce', 'bce' or 'focal'"),
    ("serve tampered", "model.onnx does not match its recorded SHA-256"),
    ("serve {tiny} --port 0 --log-format jsno", "log format 'jsno': expected one of text, json; did you mean 'json'?"),
    ("serve {tiny} --port 0 --keys none.yaml", "keys file none.yaml: "),
    ("serve {tiny} --port 0 --keys nowhere.json", "nowhere.json: cannot be read (No such file or directory); make one"),
    ("serve {tiny} --port 0 --cors-origin shop.example", "origin 'shop.example': expected scheme and host, such as"),
    ("serve {tiny} --port 0 --picture-host https://a.b", "picture host 'https://a.b': expected a host's full name"),
    ("serve {tiny} --port 0 --traces localhost:4318", "traces 'localhost:4318': expected a collector's URL, such as"),
    ("keys list --file nowhere.json", "keys file nowhere.json: cannot be read"),
    (
        "keys new me --scope predcit",
        "scope 'predcit': expected one of predict, metrics, admin; did you mean",
    ),
    ("keys new a/b", "key name 'a/b': expected 1 to 64 letters, digits"),
    ("keys new me --per-minute 0", "key per_minute 0.0: expected a number over 0"),
    ("keys new me --burst 0", "key burst 0: expected an integer from 1 up"),
    (
        "keys new me --file nowhere/keys.json",
        "keys file nowhere/keys.json: cannot be written (No such file",
    ),
    ("export {tiny}", "--to"),
    ("export {tiny} postprocess.score_threshold=0.5 --to x", "only a run can be exported anew"),
    ("evaluate {tiny}", "--config"),
    ("config explain train.epoch", "did you mean 'train.epochs'?"),
    ("config explain loss.smothing", "did you mean 'loss.smoothing'?"),
    ("data check none.yaml", "annotations.json"),
]


@pytest.mark.parametrize(("command", "sentence"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_one_sentence(  # type: ignore[no-untyped-def]
    run, files: Path, tiny_bundle: Path, bundles: dict[str, Path], command: str, sentence: str
) -> None:
    code, out, err = run(*command.format(tiny=tiny_bundle, **bundles).split())
    assert code == 2, err
    assert out == ""
    assert err.startswith("error: ")
    assert sentence in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 4


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken.jpg", "broken.jpg"),
        ("empty.jpg", "empty.jpg"),
        ("text.jpg", "text.jpg"),
        ("huge.png", "20000x20000 is 400 megapixels, over the limit of 50"),
    ],
)
def test_a_bad_picture_is_named_and_the_others_are_done(  # type: ignore[no-untyped-def]
    run, files: Path, tiny_bundle: Path, name: str, sentence: str
) -> None:
    code, out, err = run("predict", str(tiny_bundle), name, "good.jpg", "--save", "out")
    assert code == 2
    assert sentence in err
    assert "1 of 2 pictures could not be used" in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert "good.jpg: 1 warm" in out
    assert [p.name for p in (files / "out").iterdir()] == ["good.jpg"]


def test_json_lines(run, files: Path, tiny_bundle: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("predict", str(tiny_bundle), "good.jpg", "text.jpg", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert lines[0]["labels"] == ["warm"]
    assert lines[1]["source"] == "text.jpg"
    assert "error" in lines[1]


@pytest.mark.parametrize(
    ("task", "said", "key"),
    [
        ("detection", "warm.png: 1 warm", "boxes"),
        ("classification", f"warm.png: {COLOURS[0]}", "probabilities"),
        ("segmentation", f"warm.png: {REGIONS[1]} 100.0 %", "masks"),
    ],
)
def test_a_bundle_of_each_task_predicts(  # type: ignore[no-untyped-def]
    run, tmp_path: Path, bundles: dict[str, Path], task: str, said: str, key: str
) -> None:
    Image.fromarray(flat(WARM)).save(tmp_path / "warm.png")
    code, out, err = run("predict", str(bundles[task]), "warm.png", "--save", "out")
    assert (code, err) == (0, "")
    assert out.startswith(said)
    assert Image.open(tmp_path / "out/warm.png").size == (64, 64)
    code, out, _ = run("predict", str(bundles[task]), "warm.png", "--json")
    assert code == 0
    assert key in json.loads(out)


def test_a_heat_map_is_drawn_where_it_is_asked_for(run, files: Path, bundles: dict[str, Path]) -> None:  # type: ignore[no-untyped-def]
    for folder, options in (("plain", ()), ("explained", ("--explain",))):
        assert run("predict", str(bundles["classification"]), "good.jpg", "--save", folder, *options)[0] == 0
    plain, explained = (np.asarray(Image.open(files / folder / "good.jpg")) for folder in ("plain", "explained"))
    assert (plain != explained).any()


@pytest.mark.parametrize("task", ["detection", "classification", "segmentation"])
def test_a_run_is_evaluated(run, quick_runs, task: str) -> None:  # type: ignore[no-untyped-def]
    path = quick_runs(task)
    metrics = (path / "metrics.json").read_text(encoding="utf-8")
    code, out, err = run("evaluate", str(path), "--json")
    assert (code, out) == (0, metrics), err
    code, out, _ = run("evaluate", str(path), "--no-report")
    word = {"detection": "AP50", "classification": "macro-F1", "segmentation": "Dice"}[task]
    assert code == 0
    assert word in out


def test_two_pictures_of_one_name_are_both_saved(run, files: Path, tiny_bundle: Path) -> None:  # type: ignore[no-untyped-def]
    (files / "album").mkdir()
    shutil.copy(files / "good.jpg", files / "album/good.jpg")
    code, _, _ = run("predict", str(tiny_bundle), "good.jpg", "album", "--save", "out")
    assert code == 0
    assert sorted(p.name for p in (files / "out").iterdir()) == ["good.jpg", "good_2.jpg"]


def test_a_port_in_use(run, tiny_bundle: Path) -> None:  # type: ignore[no-untyped-def]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("serve", str(tiny_bundle), "--port", str(port))
    assert code == 2
    assert f"port {port} on 127.0.0.1 is in use" in err
    assert "--port" in err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--version", ["0.1.0"]),
        ("--help", ["train", "predict", "serve", "export", "evaluate"]),
        ("config explain train.epochs", ["train.epochs", "50"]),
        ("config explain task", ["detection", "classification", "segmentation"]),
        ("config explain model.name", ["yolox_nano", "mobilenet_v2", "unet"]),
        ("config explain postprocess.regions", ["segmentation"]),
        ("config show quickstart train.epochs=3", ["epochs: 3", "optimizer:"]),
        ("config schema", ['"$schema"', "yolox_nano"]),
        ("doctor", ["toolkit 0.1.0", "onnxruntime", "kernel cache", "mask_detection"]),
        ("data check quickstart data.root=drawn data.pictures=12 --json", ["circle", '"quantiles"']),
    ],
)
def test_a_command_says_what_it_should(run, command: str, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, out, err = run(*command.split())
    assert code == 0, err
    for word in words:
        assert word in out


def test_warmup_compiles_every_kernel(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Which kernels, and that each is told; what compiling does is tried where kernels are."""
    compiled: list[Kernel] = []
    monkeypatch.setattr(Kernel, "compile", lambda kernel: compiled.append(kernel))
    monkeypatch.setattr("ops._cuda.has_device", lambda: False)
    code, out, err = run("warmup")
    assert (code, err) == (0, "")
    assert compiled == Kernel.registry
    assert [line.split(": ")[0] for line in out.splitlines()] == [kernel.name for kernel in Kernel.registry]
    assert {"ops.letterbox", "ops.decode_detections"} <= {kernel.function.__module__ for kernel in compiled}


def test_export_copies_a_shipped_bundle(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("export", "mask_detection", "--to", "mine.zip")
    assert (code, out.strip()) == (0, "mine.zip")
    code, out, _ = run("export", "mask_detection", "--to", "image/bundle", "--docker")
    assert code == 0
    assert (tmp_path / "image/Dockerfile").is_file()
