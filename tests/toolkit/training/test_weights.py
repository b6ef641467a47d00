"""The hash of a network's weights: the same for the same numbers, however they lie in memory, and for nothing else."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.training.weights import network_weights, weights_sha256

BASE = {"b": torch.arange(24.0).reshape(1, 2, 3, 4), "a": torch.tensor(3)}


def test_the_hash_is_of_names_types_shapes_and_bytes() -> None:
    kept = b"a\0int64\0()\0" + np.int64(3).tobytes() + b"b\0float32\0(1, 2, 3, 4)\0"
    assert weights_sha256(BASE) == hashlib.sha256(kept + np.arange(24, dtype="<f4").tobytes()).hexdigest()


SAME = {
    "another order": dict(reversed(BASE.items())),
    "channels last": {**BASE, "b": BASE["b"].to(memory_format=torch.channels_last)},
    "a view": {**BASE, "b": torch.arange(48.0).reshape(2, 2, 3, 4)[:1]},
    "a parameter": {**BASE, "b": torch.nn.Parameter(BASE["b"])},
    "arrays": {name: value.numpy() for name, value in BASE.items()},
    "an array in another order": {"a": np.array(3), "b": np.asfortranarray(BASE["b"].numpy())},
}
OTHER = {
    "a last bit": {**BASE, "b": torch.nextafter(BASE["b"], torch.tensor(100.0))},
    "a sign of zero": {**BASE, "b": BASE["b"] * torch.where(BASE["b"] == 0, -1.0, 1.0)},
    "another name": {"a": BASE["a"], "c": BASE["b"]},
    "another shape": {**BASE, "b": BASE["b"].reshape(2, 1, 3, 4)},
    "another type": {**BASE, "a": torch.tensor(3, dtype=torch.int32)},
    "bfloat16": {**BASE, "b": BASE["b"].bfloat16()},
    "one less": {"b": BASE["b"]},
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_weights(case: str) -> None:
    tensors: Any = SAME[case]
    assert weights_sha256(tensors) == weights_sha256(BASE)


@pytest.mark.parametrize("case", OTHER)
def test_other_weights(case: str) -> None:
    assert weights_sha256(OTHER[case]) != weights_sha256(BASE)


def test_only_the_network_of_a_checkpoint_counts() -> None:
    state = {"network.stem.weight": torch.ones(2), "loss.weight": torch.zeros(2)}
    assert list(network_weights({"state_dict": state})) == ["stem.weight"]
