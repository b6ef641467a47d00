"""What is exported lies between the start weights and the tuned ones, with a head that is fitted anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from toolkit.api import train_from
from toolkit.config.schema import RefitHead
from toolkit.errors import UserError
from toolkit.exporting.export import export_run
from toolkit.training.run_folder import SOFTENED, START
from toolkit.training.soften import blended, fit_head, head_of
from toolkit.training.weights import network_weights, read_checkpoint

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("share", "expected"), [(0.0, [3.0, 5.0]), (0.25, [2.5, 4.0]), (0.5, [2.0, 3.0])])
def test_tensors_are_blended_where_the_start_has_them(share: float, expected: list[float]) -> None:
    start = {"a": torch.tensor([1.0, 1.0]), "steps": torch.tensor(0)}
    tuned = {"a": torch.tensor([3.0, 5.0]), "steps": torch.tensor(7), "head": torch.tensor([2.0])}
    found = blended(start, tuned, share)
    assert found["a"].tolist() == expected
    assert (found["head"].item(), found["steps"].item()) == (2.0, 7)


def gaussians(counts: tuple[int, ...], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Classes around points of their own in 8 features, far from zero and of unlike sizes."""
    classes = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.default_rng(1).normal(size=(len(counts), 8)) * 2
    sizes = np.geomspace(1, scale, 8)
    return ((centres[classes] + RNG.normal(size=(len(classes), 8))) * sizes + 5).astype(np.float32), classes


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_head_that_is_fitted_anew_tells_the_classes_apart_whatever_the_features_size(scale: float) -> None:
    features, classes = gaussians((60, 60, 60), scale)
    head = nn.Linear(8, 3)
    before = torch.random.get_rng_state()
    fit_head(head, features, classes, None, RefitHead(steps=200, dropout=0.2), seed=0)
    assert torch.equal(before, torch.random.get_rng_state())
    with torch.no_grad():
        answers = head(torch.from_numpy(features)).argmax(1).numpy()
    # Beside the best that there is where each class is one Gaussian: the nearest centre.
    centres = np.stack([features[classes == each].mean(0) for each in range(3)])
    spread = features.std(0)
    nearest = (((features[:, None] - centres) / spread) ** 2).sum(2).argmin(1)
    assert (answers == classes).mean() >= (nearest == classes).mean() - 0.05
    again = nn.Linear(8, 3)
    fit_head(again, features, classes, None, RefitHead(steps=200, dropout=0.2), seed=0)
    assert torch.equal(head.weight, again.weight)


def test_pictures_that_are_drawn_oftener_weigh_more() -> None:
    features = np.zeros((10, 2), np.float32)  # nothing tells the classes apart but how often they come
    classes = np.array([0] * 9 + [1])
    head = nn.Linear(2, 2)
    shares = []
    for odds in (1.0, 9.0, 81.0):
        fit_head(head, features, classes, np.where(classes == 1, odds, 1.0), RefitHead(), seed=0)
        shares.append(head.bias.softmax(0)[1].item())
    assert shares[1] == pytest.approx(0.5, abs=0.02)
    assert shares[0] == pytest.approx(1 - shares[2], abs=0.02)
    assert shares[0] < 0.3


def test_a_run_exports_what_lies_between_its_start_and_its_best(
    quick_configs: dict[str, Path], quick_runs: Callable[[str], Path], tmp_path: Path
) -> None:
    init = quick_runs("classification") / "bundle"
    changes = [
        *("train.epochs=1", "train.freeze_bn_statistics=true", "train.start_share=0.25", f"model.init={init}"),
        "train.refit_head.steps=20",
    ]
    run = train_from(quick_configs["classification"], changes, run_dir=tmp_path / "run")
    tuned, start, soft = (
        network_weights(read_checkpoint(path)) for path in (run.tuned, run.path / START, run.path / SOFTENED)
    )
    name = "features.0.0.weight"
    assert not torch.equal(start[name], tuned[name])
    torch.testing.assert_close(soft[name], 0.25 * start[name] + 0.75 * tuned[name])
    assert not torch.equal(soft["classifier.1.weight"], tuned["classifier.1.weight"])
    assert run.checkpoint == run.path / SOFTENED
    written = run.checkpoint.stat().st_mtime_ns
    export_run(run)
    assert run.checkpoint.stat().st_mtime_ns == written  # it is there already


def test_only_frozen_statistics_may_be_blended(quick_configs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"start_share 0\.5 blends .* set freeze_bn_statistics: true"):
        train_from(quick_configs["classification"], ["train.start_share=0.5"], run_dir=tmp_path / "run")


def test_a_network_has_one_head() -> None:
    assert head_of(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(2, 3))).out_features == 3


@pytest.mark.parametrize("first", [False, True])
def test_a_head_may_be_fitted_before_training_too(
    first: bool, quick_configs: dict[str, Path], quick_runs: Callable[[str], Path], tmp_path: Path
) -> None:
    """Of a training that moves nothing: both fits see the same features, so they end alike."""
    changes = [
        *("train.epochs=1", "train.optimizer.lr=1e-12", "train.freeze_bn_statistics=true", "train.refit_head.steps=20"),
        *(f"train.refit_head.first={str(first).lower()}", f"model.init={quick_runs('classification') / 'bundle'}"),
    ]
    run = train_from(quick_configs["classification"], changes, run_dir=tmp_path / "run")
    tuned, soft = (
        network_weights(read_checkpoint(path))["classifier.1.weight"] for path in (run.tuned, run.checkpoint)
    )
    assert torch.allclose(tuned, soft, rtol=1e-4, atol=1e-5) == first
