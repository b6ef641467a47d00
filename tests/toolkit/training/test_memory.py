"""Memory that runs out says where, which settings to lower from what, and how to go on."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from cut_runs import SHORT, at_call, only_steps

from toolkit.api import train_from
from toolkit.config import parse_config
from toolkit.errors import UserError
from toolkit.training.classification import ClassificationSet
from toolkit.training.memory import OutOfMemoryLoading, memory_sentence, on_gpu, out_of_memory
from toolkit.training.module import TaskModule

TOO_MUCH = 2**60  # bytes: no machine has them


def fail(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


CUDA = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda: torch.empty(TOO_MUCH, dtype=torch.uint8), (True, False)),
        (lambda: np.empty(TOO_MUCH, np.uint8), (True, False)),
        (lambda: bytearray(TOO_MUCH), (True, False)),
        (lambda: cv2.copyMakeBorder(np.zeros((1, 1, 3), np.uint8), *[2**30 - 1] * 4, 0), (True, False)),
        (fail(OSError(errno.ENOMEM, "Cannot allocate memory")), (True, False)),
        (fail(CUDA), (True, True)),
        (fail(RuntimeError("CUDA error: out of memory")), (True, True)),
        (fail(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")), (True, True)),
        (fail(RuntimeError("shape '[2]' is invalid for input of size 3")), (False, False)),
        (fail(ValueError("out of memory")), (False, False)),  # nobody's error for it
        (fail(OSError(errno.ENOSPC, "No space left on device")), (False, False)),
    ],
)
def test_every_library_has_its_own_error(act: Callable[[], object], expected: tuple[bool, bool]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever it is
        act()
    found = out_of_memory(caught.value)
    assert (found, found and on_gpu(caught.value)) == expected


@pytest.mark.parametrize(
    ("error", "settings", "sentence"),
    [
        (
            CUDA, "train: {batch_size: 16, accumulate: 2}",
            "out of memory on the GPU in step 3; train anew with a lower train.batch_size (16 now; 8 with"
            " train.accumulate=4 has as many pictures a step) or model.input_size ([64, 96] now); or free some",
        ),
        (
            MemoryError(), "train: {batch_size: 15}",
            "out of memory in step 3; train anew with a lower train.batch_size (15 now) or model.input_size"
            " ([64, 96] now); or lower data.cache_mb (2048 now) or data.workers (4 now)",
        ),
        (
            MemoryError(), "train: {batch_size: 15, input_size: [32, 64]}",
            "out of memory in step 3; train anew with a lower train.batch_size (15 now) or train.input_size"
            " ([32, 64] now); or lower data.cache_mb (2048 now) or data.workers (4 now)",
        ),
        (
            MemoryError(), "train: {batch_size: 1}",
            "out of memory in step 3; train anew with a lower model.input_size ([64, 96] now); or lower data.cache_mb"
            " (2048 now) or data.workers (4 now)",
        ),
        (
            OutOfMemoryLoading(), "train: {batch_size: 16}",
            "out of memory while a batch was made in step 3; lower data.cache_mb (2048 now) or data.workers (4 now)",
        ),
    ],
)  # fmt: skip
def test_the_settings_that_the_memory_goes_into(error: Exception, settings: str, sentence: str) -> None:
    head = "name: x\ntask: detection\ndata: {format: shapes, workers: 4}\n"
    config = parse_config(f"{head}model: {{name: yolox_nano, input_size: [64, 96]}}\n{settings}\n").config
    assert memory_sentence(error, config, "in step 3") == sentence


@pytest.mark.parametrize(
    ("owner", "method", "call", "where"),
    [
        (TaskModule, "training_step", 5, "in step 5 (epoch 2); train anew"),
        (TaskModule, "validation_step", 2, "in the validation after step 3 (epoch 1); train anew"),
        (ClassificationSet, "examples", 4, "while a batch was made in step 4 (epoch 2); lower data.cache_mb"),
        (ClassificationSet, "__init__", 1, "before the first step; train anew"),
    ],
)
@pytest.mark.parametrize("error", [None, CUDA])
def test_a_training_that_runs_out_of_memory_says_where(
    owner: type, method: str, call: int, where: str, error: Exception | None, classifier: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    act: Callable[[], Any] = fail(error) if error else lambda: torch.empty(TOO_MUCH, dtype=torch.uint8)
    only_steps(monkeypatch)
    at_call(monkeypatch, owner, method, call, act)
    with pytest.raises(UserError) as caught:
        train_from(classifier, [*SHORT, "data.workers=0"], run_dir=tmp_path / "run")
    sentence = str(caught.value)
    assert where in sentence
    assert sentence.startswith("out of memory on the GPU" if error and method != "examples" else "out of memory ")
    last = "begins anew, as there is no resume point yet" if call == 1 else "goes on after step 3"
    assert sentence.endswith(f", then `toolkit train --resume {tmp_path / 'run'}` {last}")
    assert "\n" not in sentence


def test_memory_that_runs_out_before_there_is_a_run(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.training.precision.choice", lambda *_: torch.empty(TOO_MUCH, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"^out of memory while the precision was chosen; train anew with a lower"):
        train_from(classifier, SHORT, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
