"""What the tasks' modules share: targets go where the loss wants them, validation is measured once all is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ops import Placement
from toolkit.config import parse_config
from toolkit.training.detection import Boxes
from toolkit.training.loader import Batch, Checked
from toolkit.training.module import TaskModule

CONFIG = parse_config("name: x\ntask: classification\ndata: {format: shapes}\nmodel: {name: mobilenet_v2}\n").config
HERE = Placement(1.0, 1.0, 0, 0)


class Summing(TaskModule):
    """Keeps the index and the sum of what the network says."""

    def loss(self, raw: torch.Tensor, targets: Any) -> dict[str, torch.Tensor]:
        loss = (raw.sum((1, 2, 3)) - targets).square().mean()
        return {"loss": loss, "part": loss.detach() / 2}

    def answer(self, raw: np.ndarray, placement: Placement, index: int) -> tuple[int, float]:
        assert raw.flags.c_contiguous
        return index, float(raw.sum())

    def numbers(self, answers: list[tuple[int, float]]) -> dict[str, float]:
        self.measured = answers
        return {"total": sum(value for _, value in answers), "count": float(len(answers))}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Summing:
    """A module over four validation pictures, whose log is a dictionary."""
    table: Any = range(4)  # only its length is asked
    module = Summing(nn.Conv2d(3, 1, 1), CONFIG, table, table, total_steps=1)
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: float(value)}))
    module.logged = logged  # type: ignore[assignment]
    return module


def checked(*indices: int) -> Checked:
    return Checked(torch.ones(len(indices), 3, 2, 2), [HERE] * len(indices), list(indices))


@torch.no_grad()
def validate(module: Summing, *batches: Checked) -> None:
    """What the trainer does."""
    for number, batch in enumerate(batches):
        module.validation_step([batch], number)
    module.on_validation_epoch_end()


def test_answers_are_measured_in_the_order_of_the_pictures(module: Summing) -> None:
    validate(module, checked(2, 0), checked(3, 1))
    assert [index for index, _ in module.measured] == [0, 1, 2, 3]
    assert module.logged["val/count"] == 4  # type: ignore[index,operator]


def test_the_parts_of_a_batch_are_moved_and_measured_alike(module: Summing) -> None:
    wide = Checked(torch.ones(2, 3, 2, 4), [HERE] * 2, [1, 3])
    moved = module.transfer_batch_to_device([checked(2, 0), wide], torch.device("cpu"), 0)
    assert [part.images.is_contiguous(memory_format=torch.channels_last) for part in moved] == [True, True]
    with torch.no_grad():
        module.validation_step(moved, 0)
    module.on_validation_epoch_end()
    assert [index for index, _ in module.measured] == [0, 1, 2, 3]
    small, large = module.measured[0][1], module.measured[1][1]
    assert large == pytest.approx(2 * small)  # of twice as many pixels


def test_a_part_of_the_pictures_is_not_measured_and_not_kept(module: Summing) -> None:
    validate(module, checked(0, 1))
    assert not module.logged
    validate(module, checked(2, 3))
    assert not module.logged


def test_a_step_returns_the_loss_and_every_part_without_its_graph(module: Summing) -> None:
    batch = Batch(torch.ones(2, 3, 2, 2), torch.tensor([1.0, 2.0]), [0, 1])
    step = module.training_step(batch, 0)
    assert step["loss"].requires_grad
    assert {name: value.item() for name, value in step["parts"].items()} == {
        "loss": step["loss"].item(),
        "part": step["loss"].item() / 2,
    }
    assert not any(value.requires_grad for value in step["parts"].values())


BOXES = Boxes([np.zeros((1, 4), np.float32)], [np.zeros(1, np.int64)])


@pytest.mark.parametrize("targets", [torch.ones(1, 3), torch.ones(1, 4, 4, dtype=torch.uint8), BOXES])
def test_tensors_move_to_the_device_and_boxes_stay_on_the_host(module: Summing, targets: Any) -> None:
    moved = module.transfer_batch_to_device(Batch(torch.ones(1, 3, 4, 4), targets, [0]), torch.device("meta"), 0)
    assert moved.images.device.type == "meta"
    assert moved.indices == [0]
    if isinstance(targets, torch.Tensor):
        assert moved.targets.device.type == "meta"
        assert moved.targets.dtype == targets.dtype
    else:
        assert moved.targets is targets


def test_a_validation_batch_keeps_its_placements(module: Summing) -> None:
    moved = module.transfer_batch_to_device(checked(0, 3), torch.device("meta"), 0)
    assert moved.placements == [HERE, HERE]
    assert moved.images.device.type == "meta"


def test_only_weights_decay(module: Summing) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    table: Any = range(1)
    trained = Summing(network, CONFIG, table, table, total_steps=100)
    optimizer = trained.configure_optimizers()["optimizer"]
    decayed, kept = optimizer.param_groups
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in kept["params"]} == {1}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert len(decayed["params"]) + len(kept["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_statistics_stay_and_the_scale_is_learnt(frozen: bool) -> None:
    train = CONFIG.train.model_copy(update={"freeze_bn_statistics": frozen})
    network, table = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)), range(4)
    parts: Any = network, CONFIG.model_copy(update={"train": train}), table, table
    module = Summing(*parts, total_steps=1)
    convolution, norm, dropout = network
    for _ in range(2):  # as it is made, and after a validation
        assert (convolution.training, norm.training, dropout.training) == (True, not frozen, True)
        module.eval()
        module.train()
    network(torch.randn(8, 3, 2, 2) + 5).sum().backward()
    assert torch.equal(norm.running_mean, torch.zeros(4)) == frozen
    assert norm.weight.grad is not None
