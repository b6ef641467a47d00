"""What a linear classifier on the start weights' features does on sources that it never saw: the floor of a recipe.

    python -m benchmarks.frozen_features CONFIG [KEY=VALUE ...] [--seed 0]

The network of CONFIG is not trained: its features of every picture are computed once, and a head is fitted to them in
seconds, for each fold of `toolkit crossval` without its pictures. A recipe that ends below these numbers has unlearnt
what its start weights knew. The validation split is predicted by the heads of all folds, and their mean is told.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toolkit import images
from toolkit.config import LoadedConfig, load_config
from toolkit.data.table import Table, load_table
from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.evaluation.sections import Ranged, Section, as_lines
from toolkit.training.crossval import folds_of, mean_of
from toolkit.training.loader import training_loader
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.start_weights import start_from
from toolkit.training.task import training_task

BATCH, STEPS, LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 512, 600, 3e-3, 1e-3, 0.1
BN_BATCHES = 30
Weigh = Callable[[NDArray[np.int64], NDArray[np.str_]], NDArray[np.float64]]


def alike(classes: NDArray[np.int64], sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Every picture as often as any other."""
    return np.ones(len(classes))


def balanced(classes: NDArray[np.int64], sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Sources by the square root of their size, and then every class as often as any other."""
    _, of, counts = np.unique(sources, return_inverse=True, return_counts=True)
    weights = counts[of] ** -0.5
    return weights / np.bincount(classes, weights=weights)[classes]


# name: (batch-norm statistics estimated anew, sources but those of validation too, dropout, weights of the pictures)
WAYS: dict[str, tuple[bool, bool, float, Weigh]] = {
    "one source": (False, False, 0.0, balanced),
    "all sources": (False, True, 0.0, alike),
    "all sources, balanced": (False, True, 0.0, balanced),
    "the same, dropout 0.8": (False, True, 0.8, balanced),
    "the same, statistics anew": (True, True, 0.8, balanced),
}


def features_of(loaded: LoadedConfig, table: Table, anew: bool) -> NDArray[np.float32]:
    """The pooled features of every picture, float32 [N, D].

    ``anew`` estimates the batch-norm statistics as `train.estimate_bn_batches` does, once for all folds: on pictures
    of the sources that are held out, too, though without their labels.
    """
    config = loaded.config
    network = build_network(config.model, len(table.class_names)).to(memory_format=torch.channels_last)
    start_from(network, str(config.model.init))
    preprocessing = preprocessing_of(config)
    if anew:
        training = training_task(config.task).training_set(table.subset("train"), config, preprocessing)
        batches = itertools.islice(training_loader(training), BN_BATCHES)
        pictures = (batch.images.to(memory_format=torch.channels_last) for batch in batches)
        torch.optim.swa_utils.update_bn(pictures, network)
    network.eval()

    def pooled() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(table), 32):
            part = table.samples[start : start + 32]
            pixels = np.stack([preprocessing.apply(images.decode(sample.path))[0] for sample in part])
            batch = torch.from_numpy(pixels).to(memory_format=torch.channels_last)
            yield network.forward_features(batch).mean((2, 3)).numpy()

    with torch.inference_mode():
        return np.concatenate(list(pooled()))


def fitted(
    features: NDArray[np.float32], classes: NDArray[np.int64], weights: NDArray[np.float64], dropout: float, seed: int
) -> nn.Module:
    """A linear head, fitted to pictures drawn by ``weights``."""
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features.shape[1], int(classes.max()) + 1))
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    x, y, odds = torch.from_numpy(features), torch.from_numpy(classes), torch.from_numpy(weights)
    for _ in range(STEPS):
        drawn = torch.multinomial(odds, BATCH, replacement=True)
        loss = nn.functional.cross_entropy(head(x[drawn]), y[drawn], label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    loaded = load_config(asked.config, asked.overrides)
    table = load_table(loaded.config)
    folds = folds_of(loaded, "source")
    truth = np.array([sample.class_id for sample in table.samples])
    sources = np.array([sample.source for sample in table.samples])
    groups = [sample.group for sample in table.samples]
    split = np.array([sample.split for sample in table.samples])
    own = np.isin(sources, np.unique(sources[split == "val"]))
    features = {anew: features_of(loaded, table, anew) for anew in {way[0] for way in WAYS.values()}}

    rows = []
    for name, (anew, others, dropout, weigh) in WAYS.items():
        held_out, validated = [], []
        for fold in folds:
            held = np.isin(sources, fold.held) | np.isin(groups, fold.held)
            train = (split == "train") & ~held & (own | others)
            mean, deviation = features[anew][train].mean(0), features[anew][train].std(0) + 0.05
            x = (features[anew] - mean) / deviation
            head = fitted(x[train], truth[train], weigh(truth[train], sources[train]), dropout, asked.seed)
            with torch.inference_mode():
                answers = head(torch.from_numpy(x)).softmax(1).numpy()
            for rows_of, number, kept in ((held, "macro_recall", held_out), (split == "val", "top1", validated)):
                found = measure_classification(truth[rows_of], answers[rows_of], table.class_names)
                kept.append(Ranged(found[number], found["intervals"][number]))
        mean = mean_of(held_out)
        top1 = float(np.mean([number.value for number in validated]))
        rows.append((name, (*held_out, Ranged(mean["value"], mean["interval"]), Ranged(top1))))
    heads = (*(f"without {fold.name}" for fold in folds), "mean", "validation")
    print("macro-recall on what was held out; top-1 on the validation pictures")
    print("\n".join(as_lines(Section("head", heads, tuple(rows)))))
    print("In brackets the 95 % interval: percentile bootstrap over pictures, 200 rounds, seed 0.")


if __name__ == "__main__":
    main()
