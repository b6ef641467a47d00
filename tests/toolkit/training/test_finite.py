"""A loss that is not finite: told with its pictures, nothing spoilt is saved, and the step can be run again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from cut_runs import SHORT, only_steps, point_of
from same_runs import flat, same_end

from toolkit.api import resume_from, train_from
from toolkit.data import load_table
from toolkit.errors import UserError
from toolkit.training import finite, repro
from toolkit.training.classification import ClassificationModule
from toolkit.training.loader import EpochBatches
from toolkit.training.run_folder import open_run

Parts = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    only_steps(monkeypatch)


def not_a_number(raw: torch.Tensor, parts: Parts) -> Parts:
    return {**parts, "loss": parts["loss"] * float("nan"), "cross_entropy": parts["cross_entropy"] / 0}


def bad_gradient(raw: torch.Tensor, parts: Parts) -> Parts:
    """The loss stays as it is, but the slope of a square root at 0 is none."""
    return {**parts, "loss": parts["loss"] + (raw.sum() * 0).sqrt()}


def spoil(patch: pytest.MonkeyPatch, change: Callable[[torch.Tensor, Parts], Parts], call: int) -> None:
    """Change what the ``call``-th loss comes to, counted from 1."""
    inner, calls = ClassificationModule.loss, count(1)

    def loss(module: ClassificationModule, raw: torch.Tensor, targets: torch.Tensor) -> Parts:
        parts = inner(module, raw, targets)
        return change(raw, parts) if next(calls) == call else parts

    patch.setattr(ClassificationModule, "loss", loss)


def pictures_of(run: Path, epoch: int, batch: int) -> list[str]:
    """The names of a batch's pictures, as the loader's order has them."""
    config = open_run(run).config().config
    table = load_table(config).subset("train")
    order = EpochBatches(len(table), config.train.batch_size, config.seed).order(epoch)
    size = config.train.batch_size
    return [table.samples[index].name for index in order[batch * size : (batch + 1) * size]]


NAN = "the loss is not finite (loss nan, cross_entropy inf), of the pictures "
GRADIENT = "the gradient is not finite, though the loss is ("


@pytest.mark.parametrize(
    ("late", "change", "call", "changes", "step", "kept", "what"),
    [
        (False, not_a_number, 1, (), 1, None, NAN),
        (True, not_a_number, 5, (), 5, 3, NAN),
        (False, not_a_number, 6, (), 6, 3, NAN),  # before the last validation, and the point before it
        (True, not_a_number, 6, (), 6, 3, NAN),
        (True, not_a_number, 2, ("train.accumulate=2",), 1, None, NAN),
        (False, bad_gradient, 5, ("train.checkpoint_every=1",), 5, 4, GRADIENT),
        (True, bad_gradient, 5, ("train.checkpoint_every=1",), 5, 4, GRADIENT),
        (False, bad_gradient, 2, ("train.clip_norm=null",), 2, None, GRADIENT),
    ],
)
def test_the_pictures_of_the_batch_are_named_and_nothing_is_lost(
    late: bool, change: Callable[[torch.Tensor, Parts], Parts], call: int, changes: tuple[str, ...], step: int,
    kept: int | None, what: str, classifier: Path, whole_run: Callable[..., Path], tmp_path: Path,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, change, call)
        patch.setattr(finite, "is_late", lambda device: late)
        with pytest.raises(UserError) as caught:
            train_from(classifier, [*SHORT, *changes], run_dir=run)
    sentence = str(caught.value)
    epoch, batch = divmod(call - 1, 3)
    named = pictures_of(run, epoch, batch)
    assert sentence.startswith(f"step {step} (epoch {epoch + 1}): {what}")
    assert f"of the pictures {', '.join(named[:6])} and 6 more; look at them" in sentence
    assert "train anew with a lower train.optimizer.lr (0.005 now)" in sentence
    assert "\n" not in sentence
    assert sentence in (run / "train.log").read_text(encoding="utf-8")
    left = torch.load(run / f"faults/nan_step_{step}.pt", weights_only=True)
    assert [Path(each).name for each in left["pictures"]] == [Path(each).name for each in named]
    # The point that training stopped after has the weights that the step began with, but for their moving average.
    assert point_of(run) == kept
    if kept == step - 1:
        point = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["current_model_state"]
        for name, value in left["network"].items():
            assert (
                torch.equal(point[f"network.{name}"], value) or "num_batches_tracked" in name
            )  # nothing depends on it
    assert all(torch.isfinite(value.float()).all() for value in left["network"].values())
    assert (f"goes on after step {kept}" if kept else "begins anew") in sentence
    assert sentence.endswith(", and on the CPU comes to the same") == (not late)
    resume_from(run)
    same_end(whole_run(*(each for each in changes if "every" not in each)), run)


def test_a_look_that_comes_late_finds_the_same(classifier: Path, tmp_path: Path) -> None:
    files = []
    for late in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            spoil(patch, not_a_number, 4)
            patch.setattr(finite, "is_late", lambda device, late=late: late)
            with pytest.raises(UserError):
                train_from(classifier, SHORT, run_dir=tmp_path / str(late))
        files.append(flat(torch.load(tmp_path / str(late) / "faults/nan_step_4.pt", weights_only=True)))
    at_once, later = files
    assert at_once.keys() == later.keys()
    later[".gradient_norm"] = None  # it was not computed any more
    for name, value in at_once.items():
        same = torch.equal(value, later[name]) if isinstance(value, torch.Tensor) else value == later[name]
        nan = value != value if isinstance(value, float) else False
        assert same or nan or "num_batches_tracked" in name, name


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_a_learning_rate_beyond_reason(
    task: str, quick_configs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Nothing is patched: the weights of step 1 are so large that the network's output overflows in step 2."""
    run = tmp_path / "run"
    changes = ["train.optimizer={name: sgd, lr: 1e30}", "train.warmup_epochs=0", "train.epochs=2"]
    with pytest.raises(UserError, match=r"step 2 \(epoch 1\): the loss is not finite .*\(1e\+30 now\)") as caught:
        train_from(quick_configs[task], changes, run_dir=run)
    with pytest.raises(UserError) as again:
        resume_from(run)
    assert str(again.value) == str(caught.value)
    monkeypatch.setattr(sys, "argv", ["repro", str(run / "faults/nan_step_2.pt")])
    repro.main()
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line)
    assert told["input"].startswith("finite, up to")
    assert told["weights before the step"].startswith("finite, up to")
    assert told["outputs of the layers, in their order"].startswith("not finite in ")
    assert told["outputs of the layers, in their order"].endswith("before it are finite")
    assert "loss nan (nan)" in told["loss now (and in the training)"]
    assert told["gradient, from the last layer to the first"].startswith("not finite in ")


def test_a_rerun_computes_what_the_training_did(classifier: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, bad_gradient, 5)
        with pytest.raises(UserError):
            train_from(classifier, [*SHORT, "model.dropout=0.3"], run_dir=tmp_path / "run")
    told = dict(line.split(": ", 1) for line in repro.rerun(tmp_path / "run/faults/nan_step_5.pt") if ": " in line)
    for part in told["loss now (and in the training)"].split(", "):
        _, now, then = part.split()
        assert f"({now})" == then
    assert told["gradient, from the last layer to the first"].startswith("finite, up to")  # nothing is spoilt now


def test_weights_that_a_step_has_spoilt_are_told_and_not_the_pictures(classifier: Path, tmp_path: Path) -> None:
    changes = [*SHORT, "train.optimizer={name: sgd, lr: 3e38, weight_decay: 100}", "train.warmup_epochs=0"]
    with pytest.raises(UserError) as caught:
        train_from(classifier, changes, run_dir=tmp_path / "run")
    sentence = str(caught.value)
    assert sentence.startswith(
        "step 2 (epoch 1): the weights are not finite since the step before (network.features.0.0."
    )
    assert "more); train anew with a lower train.optimizer.lr (3e+38 now); `python -m" in sentence


def other(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.write_bytes(b"no tensors"), "the checkpoint cannot be read"),
        (other, "expected a file that a training left in faults/"),
    ],
)
def test_a_file_of_another_kind_is_told(
    make: Callable[[Path], Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.pt"
    make(path)
    monkeypatch.setattr(sys, "argv", ["repro", str(path)])
    with pytest.raises(SystemExit, match=sentence):
        repro.main()
