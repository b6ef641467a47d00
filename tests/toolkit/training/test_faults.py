"""What stops a training through no fault of its code: provoked, told in one sentence, and nothing lost by it."""

from __future__ import annotations

import errno
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cut_runs import SHORT, at_call, only_steps, point_of
from same_runs import same_end

from toolkit.api import resume_from, train_from
from toolkit.errors import UserError
from toolkit.training import checkpoint_io
from toolkit.training.checkpoint_io import CheckpointFiles, write_whole
from toolkit.training.module import TaskModule
from toolkit.training.run_folder import Run

# With a resume point every 2 steps besides.
CHANGES = [*SHORT, "train.checkpoint_every=2"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    only_steps(monkeypatch)


def told(error: UserError) -> str:
    """The sentence of an error: there is but one line."""
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(
    ("file", "step", "kept"),
    [
        ("checkpoints/last.ckpt", 1, None),  # the first point of all
        ("checkpoints/last.ckpt", 4, 3),
        ("checkpoints/best.ckpt", 3, 3),
        ("results.csv", 5, 6),
    ],
)
def test_a_full_disk_leaves_the_file_before_as_it_was(
    file: str, step: int, kept: int | None, classifier: Path, whole_run: Callable[..., Path], tmp_path: Path
) -> None:
    """/dev/full answers every write with the kernel's own `No space left on device`."""
    run = tmp_path / "run"
    before = []

    def fill() -> None:
        before.append((run / file).read_bytes() if (run / file).exists() else None)
        (run / f"{file}.part").symlink_to("/dev/full")

    with pytest.MonkeyPatch.context() as patch:
        at_call(patch, TaskModule, "training_step", step, fill)
        with pytest.raises(UserError) as caught:
            train_from(classifier, CHANGES, run_dir=run)
    sentence = told(caught.value)
    assert sentence.startswith(f"{run / file}: cannot be written (No space left on device; ")
    goes_on = "begins anew, as there is no resume point yet" if kept is None else f"goes on after step {kept}"
    assert sentence.endswith(f"make room there, then `toolkit train --resume {run}` {goes_on}")
    assert sentence in (run / "train.log").read_text(encoding="utf-8")
    assert point_of(run) == kept
    assert before == [(run / file).read_bytes() if (run / file).exists() else None]
    assert not list(run.rglob("*.part"))
    resume_from(run)
    same_end(whole_run(), run)


def test_a_log_that_cannot_be_written_is_told(whole_run: Callable[..., Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run(), run)
    (run / "train.log").unlink()
    (run / "train.log").symlink_to("/dev/full")
    with pytest.raises(UserError) as caught:
        resume_from(run)
    assert told(caught.value).startswith(f"{run}/train.log: cannot be written (No space left on device; ")


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))


def test_a_limit_of_a_files_size_is_told_on_the_command_line(whole_run: Callable[..., Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run(), run)
    before = (run / "checkpoints/last.ckpt").read_bytes()
    settings = run / "config.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("epochs: 2", "epochs: 3"), encoding="utf-8")
    command = [sys.executable, "-m", "toolkit.cli.main", "train", "--resume", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_files)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {run}/checkpoints/last.ckpt: cannot be written (File too large; ")
    assert "the resume point of step 6 is intact" in last
    assert "Traceback" not in done.stderr
    assert (run / "checkpoints/last.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.EDQUOT, "make room there"),
        (errno.EROFS, "make it writable"),
        (errno.EIO, "look after the disk"),
    ],
)
def test_what_a_disk_answers_when_asked_to_keep_what_it_took(
    number: int, remedy: str, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some say so only at the fsync."""

    def fsync(handle: int) -> None:
        raise OSError(number, "it said")

    monkeypatch.setattr(checkpoint_io.os, "fsync", fsync)
    with pytest.raises(UserError, match=f"results.csv: cannot be written .it said; .*; {remedy}, then"):
        train_from(classifier, CHANGES, run_dir=tmp_path / "run")


def test_an_error_of_another_kind_keeps_its_traceback(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise FileNotFoundError(errno.ENOENT, "a bug", "/elsewhere/file")

    at_call(monkeypatch, TaskModule, "training_step", 1, fails)
    with pytest.raises(FileNotFoundError, match="a bug"):
        train_from(classifier, CHANGES, run_dir=tmp_path / "run")


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(path, b"after")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("key", ["state_dict", "current_model_state", "averaging_state", "optimizer_states"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(key: str, value: float, tmp_path: Path) -> None:
    files = CheckpointFiles(Run(tmp_path), 3)
    path = tmp_path / "last.ckpt"
    files.save_checkpoint(
        {"global_step": 3, key: {"a": torch.zeros(2)}, "callbacks": {"best": torch.tensor(value)}}, path
    )
    before = path.read_bytes()
    spoilt = [{"a": torch.tensor([0.0, value]), "b": torch.tensor([1, 2]), "c": {"d": torch.tensor(value)}}]
    with pytest.raises(UserError, match=rf"step 4: weights that are not finite \({key}.0.a and 1 more\) are not saved"):
        files.save_checkpoint({"global_step": 4, key: spoilt}, path)
    assert path.read_bytes() == before
