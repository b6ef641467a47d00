"""Loader workers that die or fail: said with the picture, as one sentence, and the same as without workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cut_runs import SHORT, only_steps
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from toolkit.api import train_from
from toolkit.errors import UserError
from toolkit.training import report, task
from toolkit.training.classification import ClassificationSet
from toolkit.training.loader import TrainingLoader

VICTIM = 7
END = "then `toolkit train --resume {run}` begins anew, as there is no resume point yet"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    only_steps(monkeypatch)
    # How long torch waits for a batch before it looks whether the workers live: 5 seconds.
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))


class Failing(ClassificationSet):
    """Does something where one picture, or another in its place, is to be made."""

    def __init__(self, *arguments: Any, act: Callable[[], object], opened: int | None) -> None:
        super().__init__(*arguments)
        self.act, self.opened = act, opened

    def example(self, epoch: int, index: int, *arguments: Any) -> Any:
        if index == VICTIM:
            if self.opened is not None:
                self.pictures[self.opened]
            self.act()
        return super().example(epoch, index, *arguments)


class FailingAtStart(ClassificationSet):
    def __setstate__(self, state: dict[str, Any]) -> None:
        os._exit(3)


def failing(patch: pytest.MonkeyPatch, made: Callable[..., ClassificationSet]) -> None:
    classification = replace(task.training_task("classification"), training_set=made)
    patch.setattr("toolkit.training.train.training_task", lambda name: classification)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def picture(table_of: Path, position: int) -> Path:
    """The file of a training picture, by its position among them."""
    names = [f"images/{index:03d}.jpg" for index in range(60) if index // 2 % 9 not in (0, 4, 8)]
    return table_of.parent / "pictures" / names[position]


@pytest.mark.parametrize(
    ("act", "opened", "sentence"),
    [
        (
            partial(die, signal.SIGKILL), None,
            "a loader worker was killed (SIGKILL) while it made {victim} of epoch 1, most likely by the system because"
            " memory ran out; lower data.workers (1 now) or data.cache_mb (2048 now), {end}",
        ),
        (
            partial(die, signal.SIGSEGV), 20,
            "a loader worker crashed (SIGSEGV) while it made {victim} of epoch 1, having opened {opened} last; look at"
            " that picture and at augment.albumentations, and see with data.workers=0 whether the training process"
            " crashes too, {end}",
        ),
        (
            partial(die, signal.SIGBUS), None,
            "a loader worker crashed (SIGBUS) while it made {victim} of epoch 1, most likely because /dev/shm, over"
            " which batches travel, is full; enlarge it (Docker: --shm-size) or lower data.workers (1 now), {end}",
        ),
        (partial(os._exit, 5), None, "a loader worker ended (exit code 5) while it made {victim} of epoch 1, {end}"),
        (
            partial(np.empty, 2**50), None,
            "out of memory while a batch was made in step 1 (epoch 1); lower data.cache_mb (2048 now) or data.workers"
            " (1 now), {end}",
        ),
    ],
)  # fmt: skip
def test_a_worker_that_dies_says_over_which_picture(
    act: Callable[[], object], opened: int | None, sentence: str, classifier: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    failing(monkeypatch, partial(Failing, act=act, opened=opened))
    with pytest.raises(UserError) as caught:
        train_from(classifier, [*SHORT, "data.workers=1", "train.batch_size=40"], run_dir=tmp_path / "run")
    places = {"victim": picture(classifier, VICTIM), "opened": picture(classifier, opened or 0)}
    assert str(caught.value) == sentence.format(**places, end=END.format(run=tmp_path / "run"))


def test_a_worker_that_dies_between_two_epochs_is_told_too(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = TrainingLoader.__iter__

    def killed_in_between(loader: TrainingLoader) -> Any:
        for worker in getattr(loader._iterator, "_workers", []):
            os.kill(worker.pid, signal.SIGKILL)
        return begin(loader)

    monkeypatch.setattr(TrainingLoader, "__iter__", killed_in_between)
    with pytest.raises(UserError, match=r"a loader worker was killed \(SIGKILL\).* --resume .* goes on after step \d"):
        train_from(classifier, [*SHORT, "data.workers=1", "train.epochs=2"], run_dir=tmp_path / "run")


def test_a_worker_that_dies_before_its_first_picture_says_so(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, FailingAtStart)
    with pytest.raises(UserError, match=r"ended \(exit code 3\) while it was starting; a script that trains with data"):
        train_from(classifier, [*SHORT, "data.workers=1"], run_dir=tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_broke_since_the_check_is_one_sentence(
    workers: int, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = picture(classifier, VICTIM)
    whole = victim.read_bytes()
    monkeypatch.setattr(report, "draw_data", lambda *_: victim.write_bytes(whole[:300]))
    with pytest.raises(UserError) as caught:
        train_from(classifier, [*SHORT, f"data.workers={workers}"], run_dir=tmp_path / "run")
    victim.write_bytes(whole)
    sentence = str(caught.value)
    assert sentence.startswith(f"{victim}: ")
    assert sentence.endswith(f"it was whole when the training began: put it back, {END.format(run=tmp_path / 'run')}")
    assert "\n" not in sentence


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_in_a_worker_keeps_its_traceback(
    workers: int, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, partial(Failing, act=partial(int, "no number"), opened=None))
    with pytest.raises(ValueError, match="no number"):
        train_from(classifier, [*SHORT, f"data.workers={workers}"], run_dir=tmp_path / "run")


STARTS = """
import multiprocessing, sys
from toolkit.training.workers import start_fork_server
if __name__ == "__main__":
    start_fork_server("classification")
    child = multiprocessing.get_context("forkserver").Process(target=exec, args=("import sys; print(*sys.modules)",))
    child.start()
    child.join()
"""


def test_a_worker_is_born_with_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "starts.py").write_text(STARTS)
    done = subprocess.run([sys.executable, tmp_path / "starts.py"], capture_output=True, text=True, check=True)
    assert {"torch", "albumentations", "toolkit.training.classification"} <= set(done.stdout.split())
