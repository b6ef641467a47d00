"""``toolkit runs`` as it is typed, on copies of one finished run in which one thing each is another."""

from __future__ import annotations

import csv
import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.training.run_folder import write_json

Command = Callable[..., tuple[int, str, str]]
Edit = Callable[[Path], object]
DATA_KEPT = "whether the data is the same is not known"


@pytest.fixture
def runs(run: Command, quick_runs: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """``runs/a`` and ``runs/b`` in the working directory: the quick classifier's run, and a copy to change."""
    for name in "ab":
        shutil.copytree(quick_runs("classification"), tmp_path / "runs" / name)
    capsys.readouterr()  # the first one here may have trained it
    return tmp_path / "runs"


def rewrite(file: str, old: str, new: str) -> Edit:
    """Replace text, which must be there once, in a file of the run."""

    def edit(run: Path) -> None:
        text = (run / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} in {file}"
        (run / file).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def put(file: str, *keys: str, value: Any) -> Edit:
    """Set the value at a path of keys of a JSON file."""

    def edit(run: Path) -> None:
        whole = inner = json.loads((run / file).read_text(encoding="utf-8"))
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        write_json(run / file, whole)

    return edit


def rows(change: Callable[[list[list[str]]], list[list[str]]]) -> Edit:
    """Change the rows of ``data.csv``, each [image, split, content, labels]."""

    def edit(run: Path) -> None:
        with (run / "data.csv").open(newline="") as file:
            head, *kept = csv.reader(file)
        with (run / "data.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *change(kept)])

    return edit


def train_on(run: Path) -> None:
    """Move the weights by one last bit, in the checkpoint and in what was recorded of it."""
    for name in ("best", "last"):
        path = run / f"checkpoints/{name}.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        bias = checkpoint["state_dict"]["network.classifier.1.bias"]
        bias[0] = torch.nextafter(bias[0], torch.tensor(torch.inf))
        torch.save(checkpoint, path)
        put("run.json", "weights", name, "sha256", value=name * 16)(run)


def old(run: Path) -> None:
    """As runs were before they kept a record."""
    (run / "run.json").unlink()
    (run / "data.csv").unlink()
    environment = json.loads((run / "environment.json").read_text())
    del environment["code"]
    write_json(run / "environment.json", environment | {"processor": "x86_64"})


def both(*edits: Edit) -> Edit:
    return lambda run: [edit(run) for edit in edits]


THOUGH = "same weights, though these differ:"
SAME = "same config, same data, same environment: same weights"
seed = rewrite("config.yaml", "seed: 1\n", "seed: 2\n")


def fewer_epochs(run: Path) -> None:
    lines = (run / "results.csv").read_text().splitlines()
    (run / "results.csv").write_text("\n".join(lines[:-1]) + "\n")


def slower(run: Path) -> None:
    head, *lines = (run / "results.csv").read_text().splitlines()
    cells = lines[-1].split(",")
    (run / "results.csv").write_text("\n".join([head, *lines[:-1], ",".join([cells[0], "9e9", "0.1", *cells[3:]])]))


def metric(value: float, interval: list[float] | None = None) -> Edit:
    edit = put("metrics.json", "top1", value=value)
    return both(edit, put("metrics.json", "intervals", "top1", value=interval)) if interval else edit


def transform(old: str, new: str) -> Edit:
    return both(rewrite("config.yaml", old, new), train_on)


# What is done to a copy of the run; how the verdict begins; what else is said; the exit code.
DIFFERENCES: dict[str, tuple[Edit, str, list[str], int]] = {
    "seed": (both(seed, train_on), "weights differ: seed 1/2", ["config that differs"], 1),
    "weights alone": (train_on, "weights differ, and nothing that they depend on does", ["best         differ"], 1),
    "workers": (
        rewrite("config.yaml", "workers: 0", "workers: 2"),
        f"{THOUGH} data.workers 0/2",
        ["data.workers"],
        1,
    ),
    "a name alone": (
        transform("name: quick_classifier", "name: other"),
        "weights differ, and nothing that they depend on does",
        ["quick_classifier"],
        1,
    ),
    "a number": (
        transform("p: 0.5", "p: 0.4"),
        "weights differ: augment.albumentations.HorizontalFlip.p 0.5/0.4",
        [],
        1,
    ),
    "a transform": (
        transform("HorizontalFlip", "VerticalFlip"),
        'weights differ: augment.albumentations (order) ["HorizontalFlip"]/["VerticalFlip"],'
        " augment.albumentations.HorizontalFlip.p 0.5/-, augment.albumentations.VerticalFlip.p -/0.5",
        [],
        1,
    ),
    "the same data elsewhere": (
        both(seed, transform("index: index.csv", "index: other.csv")),
        "weights differ: seed 1/2",
        ["data.index"],
        1,
    ),
    "a picture less": (
        both(rows(lambda kept: kept[1:]), train_on),
        "weights differ: data (1 picture differs)",
        ["only in A", "images/000.jpg"],
        1,
    ),
    "a picture more": (
        both(rows(lambda kept: [*kept, ["new.jpg", "val", "0", "1"]]), train_on),
        "weights differ: data (1 picture differs)",
        ["only in B", "new.jpg"],
        1,
    ),
    "other files": (
        both(rows(lambda kept: [[*row[:2], "0", row[3]] for row in kept[:6]] + kept[6:]), train_on),
        "weights differ: data (6 pictures differ)",
        ["another file", "images/004.jpg, ..."],
        1,
    ),
    "labels and split of one": (
        rows(lambda kept: [[kept[0][0], "test", kept[0][2], "0"], *kept[1:]]),
        f"{THOUGH} data (1 picture differs)",
        ["other labels", "another split"],
        1,
    ),
    "another order": (
        both(rows(lambda kept: kept[::-1]), train_on),
        "weights differ: data (the pictures stand in another order)",
        [],
        1,
    ),
    "torch": (
        both(put("environment.json", "packages", "torch", value="2.0"), train_on),
        "weights differ: torch 2.",
        ["environment that differs"],
        1,
    ),
    "threads": (both(put("run.json", "threads", value=99), train_on), "weights differ: threads ", ["99"], 1),
    "start weights": (
        both(put("run.json", "start_weights", value="0" * 64), train_on),
        "weights differ: start_weights",
        [],
        1,
    ),
    "a command": (put("environment.json", "command", value=["x"]), SAME, [], 0),
    "steps": (
        both(train_on, put("run.json", "weights", "last", "steps", value=7)),
        "weights differ: steps 100/7",
        [],
        1,
    ),
    "a number measured": (metric(0.25), f"{THOUGH} top1", ["top1", "0.2500"], 1),
    "intervals apart": (metric(0.25, [0.2, 0.3]), f"{THOUGH} top1", ["0.2000 to 0.3000", "apart"], 1),
    "intervals that overlap": (metric(0.99, [0, 1]), f"{THOUGH} top1", ["0.0000 to 1.0000", "overlap"], 1),
    "an undefined number": (metric(float("nan")), f"{THOUGH} top1", ["numbers that only one of the two has: 1;"], 1),
    "an epoch less": (fewer_epochs, f"{THOUGH} epoch of the last epoch", ["last epoch", "epoch", "19"], 1),
    "a slower machine": (slower, SAME, ["9e9"], 0),
    "no metrics": (
        lambda run: (run / "metrics.json").unlink(),
        SAME,
        ["whether the metrics differ: runs/b has none"],
        0,
    ),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_what_differs_is_told(case: str, run: Command, runs: Path) -> None:
    edit, verdict, said, expected = DIFFERENCES[case]
    edit(runs / "b")
    code, out, err = run("runs", "diff", "runs/a", "runs/b")
    assert out.splitlines()[0].startswith(verdict)
    assert out.splitlines()[1:3] == ["A: runs/a", "B: runs/b"]
    assert [words for words in said if words not in out] == []
    assert (code, err) == (expected, "")


def test_the_same_run_twice(run: Command, runs: Path) -> None:
    code, out, _ = run("runs", "diff", "runs/a", "runs/b")
    assert (code, out.splitlines()[0]) == (0, SAME)
    assert "differ" not in out.split("\n", 1)[1].replace("the same", "")
    hashed = json.loads((runs / "a/run.json").read_text())["weights"]["best"]["sha256"]
    assert out.count(hashed[:12]) == 4  # best and last of both: the quick run's last epoch is its best


def test_json_has_everything(run: Command, runs: Path) -> None:
    both(seed, train_on, rows(lambda kept: kept[2:]), put("metrics.json", "top1", value=0.25))(runs / "b")
    code, out, _ = run("runs", "diff", "runs/a", "runs/b", "--json")
    told = json.loads(out)
    assert (code, told["same"]) == (1, False)
    assert told["verdict"] == "weights differ: seed 1/2, data (2 pictures differ)"
    assert told["config"] == [{"key": "seed", "a": 1, "b": 2}]
    assert told["data"]["only_a"] == ["images/000.jpg", "images/001.jpg"]
    top1 = json.loads((runs / "a/metrics.json").read_text())["top1"]
    assert [(n["key"], n["a"], n["b"], n["difference"]) for n in told["metrics"]] == [("top1", top1, 0.25, 0.25 - top1)]
    assert told["weights"]["best"]["b"]["sha256"] == "best" * 16
    assert told["environment"] == told["last_epoch"] == told["not_known"] == []


def test_old_runs_are_compared_as_far_as_they_go(run: Command, runs: Path) -> None:
    """Their weights are hashed now; of their pictures nothing is known."""
    old(runs / "b")
    code, out, _ = run("runs", "diff", "runs/a", "runs/b")
    assert (code, out.splitlines()[0]) == (0, "same config, data not known, same environment: same weights")
    assert "not known: whether the pictures differ: runs/b kept no data.csv" in out
    assert "not known: whether these differ: code, device, processor, start_weights, threads (runs/b did not" in out
    for each in ("a", "b"):
        if each == "a":
            old(runs / each)
        shutil.rmtree(runs / each / "checkpoints")
    seed(runs / "b")
    code, out, _ = run("runs", "diff", "runs/a", "runs/b")
    assert code == 1
    assert out.splitlines()[0] == f"weights cannot be compared; what differs: seed 1/2; {DATA_KEPT}"


def test_a_config_that_is_no_longer_accepted_is_compared_as_written(run: Command, runs: Path) -> None:
    rewrite("config.yaml", "seed: 1\n", "seed: 1\nforgotten: 3\n")(runs / "b")
    code, out, _ = run("runs", "diff", "runs/a", "runs/b")
    assert (code, out.splitlines()[0]) == (1, f"{THOUGH} forgotten -/3")
    assert "a config is no longer accepted (" in out


MISTAKES: list[tuple[str, str]] = [
    ("diff runs/a runs/brokn", "runs/brokn: no such run directory; did you mean 'broken'?"),
    ("diff runs/a nowhere/c", "nowhere/c: no such run directory; `toolkit runs list FOLDER` shows"),
    ("diff runs/a runs/a/bundle", "is a bundle, which keeps no record of its training; the run of this one is runs/a"),
    ("diff runs/a {tiny}", "is a bundle, which keeps no record of its training; give a run directory"),
    ("diff runs runs/a", "runs: expected a run directory with config.yaml in it"),
    ("diff runs/a runs/broken", "runs/broken/run.json: is not the JSON that a training writes"),
    ("diff runs/a runs/cut", "runs/cut/checkpoints/best.ckpt: the checkpoint cannot be read"),
    ("diff runs/a runs/other", "runs/other/data.csv: expected the columns image, split, content, labels"),
    ("list nowhere", "nowhere: no such folder"),
    ("list runs/a/config.yaml", "expected a folder of runs, got a file"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "sentence"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_one_sentence(command: str, sentence: str, run: Command, runs: Path, tiny_bundle: Path) -> None:
    for name in ("broken", "cut", "other"):
        shutil.copytree(runs / "a", runs / name)
    (runs / "broken/run.json").write_text('{"started": ')
    (runs / "cut/run.json").unlink()
    (runs / "cut/checkpoints/best.ckpt").write_bytes((runs / "a/checkpoints/best.ckpt").read_bytes()[:5000])
    (runs / "other/data.csv").write_text("image,label\n")
    code, out, err = run("runs", *command.format(tiny=tiny_bundle).split())
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1


def stop(run: Path) -> None:
    """As after kill -9 in the fourth epoch."""
    put("run.json", "ended", value=None)(run)
    record = json.loads((run / "run.json").read_text())
    write_json(run / "run.json", {key: value for key, value in record.items() if key not in ("weights", "epochs")})
    lines = (run / "results.csv").read_text().splitlines()
    (run / "results.csv").write_text("\n".join([*lines[:4], lines[4][:9]]))
    shutil.rmtree(run / "bundle")


STATES: list[tuple[str, Edit, tuple[str, str, bool]]] = [
    ("finished", lambda run: None, ("finished", "20/20", True)),
    ("old and finished", old, ("finished", "20/20", False)),
    ("stopped", stop, ("stopped, resumable", "3/20", False)),
    ("old and stopped", both(stop, old), ("stopped", "3/20", False)),
]


@pytest.mark.parametrize(("edit", "expected"), [row[1:] for row in STATES], ids=[row[0] for row in STATES])
def test_the_list_tells_how_far_a_run_came(
    edit: Edit, expected: tuple[str, str, bool], run: Command, runs: Path
) -> None:
    edit(runs / "b")
    code, out, err = run("runs", "list", "--json")
    assert (code, err) == (0, "")
    row = next(row for row in json.loads(out) if row["path"] == "runs/b")
    assert (row["state"], f"{row['epochs']}/{row['epochs_asked']}", row["weights"] is not None) == expected
    assert (row["task"], row["seed"], row["number"]) == (
        "classification",
        1,
        "top1",
    )
    assert (row["best"] is None) == (row["epochs"] < 10)  # it validates every tenth epoch


def test_a_run_that_trains_is_running(run: Command, runs: Path) -> None:
    stop(runs / "b")
    with (runs / "b/.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert [row["state"] for row in json.loads(run("runs", "list", "--json")[1])] == ["finished", "running"]
    assert [row["state"] for row in json.loads(run("runs", "list", "--json")[1])] == ["finished", "stopped, resumable"]


def test_the_table_of_runs(run: Command, runs: Path) -> None:
    put("environment.json", "started", value="2020-02-03T04:05:06+00:00")(runs / "b")
    shutil.copytree(runs / "a", runs / "deeper/still")
    shutil.copytree(runs / "a", runs / "broken")
    (runs / "broken/config.yaml").write_text("task: [\n")
    (runs / "no_run/checkpoints").mkdir(parents=True)
    code, out, err = run("runs", "list")
    assert code == 0
    assert "left out: runs/broken/config.yaml" in err
    lines = [line.split() for line in out.splitlines() if "/20" in line]
    assert [line[0] for line in lines] == ["b", "a", "deeper/still"]  # by their starts
    hashed = json.loads((runs / "a/run.json").read_text())["weights"]["best"]["sha256"][:12]
    assert lines[0][1:6] == ["2020-02-03", "04:05", "classification", "finished", "20/20"]
    assert lines[0][-2:] == ["1", hashed]


def test_a_folder_without_runs(run: Command, tmp_path: Path) -> None:
    assert run("runs", "list", ".")[:2] == (0, ".: no runs in it; `toolkit train CONFIG` makes one\n")
