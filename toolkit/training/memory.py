"""Memory that ran out: every library has an error of its own for that, and what to lower is for us to say."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

import cv2
import torch

from toolkit.config.schema import CommonConfig
from toolkit.errors import UserError
from toolkit.training.network import training_size

SIGNS = (
    "can't allocate memory",  # torch, on the CPU
    "not enough memory",
    "out of memory",  # CUDA, where torch has no error of its own for it
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Insufficient memory",  # OpenCV
)
GPU_SIGNS = ("CUDA", "CUDNN", "CUBLAS", "HIP")


class OutOfMemoryLoading(MemoryError):
    """Memory ran out where a batch was made, in a loader worker or in the training process."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the computer's or the GPU's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError | cv2.error) and any(sign in str(error) for sign in SIGNS)


def on_gpu(error: BaseException) -> bool:
    """Whether it was the GPU's memory, of an error that says it ran out."""
    if isinstance(error, OutOfMemoryLoading):
        return False  # whatever it says
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in GPU_SIGNS)


def memory_sentence(error: BaseException, config: CommonConfig, where: str) -> str:
    """Names the settings that the memory goes into, with what they are now; ``error`` says that it ran out."""
    train, data, gpu = config.train, config.data, on_gpu(error)
    held = [f"data.{name} ({n} now)" for name, n in (("cache_mb", data.cache_mb), ("workers", data.workers)) if n]
    less = f"lower {' or '.join(held)}" if held and not gpu else "free some"
    if held and isinstance(error, OutOfMemoryLoading):
        return f"out of memory while a batch was made {where}; {less}"
    half = f"; {train.batch_size // 2} with train.accumulate={train.accumulate * 2} has as many pictures a step"
    batch = f"train.batch_size ({train.batch_size} now{half if train.batch_size % 2 == 0 else ''}) or "
    side = "train" if train.input_size else "model"
    size = f"{side}.input_size ({list(training_size(config))} now)"
    anew = f"train anew with a lower {batch if train.batch_size > 1 else ''}{size}"
    return f"out of memory{' on the GPU' if gpu else ''} {where}; {anew}; or {less}"


@contextlib.contextmanager
def memory_told(config: CommonConfig, where: str) -> Iterator[None]:
    """Turn memory that runs out in the block into a ``UserError``."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise UserError(memory_sentence(error, config, where)) from error
