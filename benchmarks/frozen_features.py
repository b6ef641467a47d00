"""What a linear classifier on the start weights' features does on sources that it never saw: the floor of a recipe.

    python -m benchmarks.frozen_features CONFIG [KEY=VALUE ...] [--seed 0]

The network of CONFIG is not trained: its features of every picture are computed once, and a head is fitted to them in
seconds, for each fold of `toolkit crossval` without its pictures. A recipe that ends below these numbers has unlearnt
what its start weights knew. The validation split is predicted by the heads of all folds, and their mean is told.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toolkit.config import LoadedConfig, load_config
from toolkit.config.schema import RefitHead
from toolkit.data.table import Table, load_table
from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.evaluation.sections import Ranged, Section, as_lines
from toolkit.training.crossval import folds_of, mean_of
from toolkit.training.loader import training_loader
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.soften import features_of, fit_head
from toolkit.training.start_weights import start_from
from toolkit.training.task import training_task

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


def network_of(loaded: LoadedConfig, table: Table, anew: bool) -> nn.Module:
    """The network with its start weights.

    ``anew`` estimates the batch-norm statistics as `train.estimate_bn_batches` does, once for all folds: on pictures
    of the sources that are held out, too, though without their labels.
    """
    config = loaded.config
    network = build_network(config.model, len(table.class_names)).to(memory_format=torch.channels_last)
    start_from(network, str(config.model.init))
    if anew:
        training = training_task(config.task).training_set(table.subset("train"), config, preprocessing_of(config))
        batches = itertools.islice(training_loader(training), BN_BATCHES)
        pictures = (batch.images.to(memory_format=torch.channels_last) for batch in batches)
        torch.optim.swa_utils.update_bn(pictures, network)
    return network


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
    preprocessing = preprocessing_of(loaded.config)
    features = {
        anew: features_of(network_of(loaded, table, anew), preprocessing, table)
        for anew in {way[0] for way in WAYS.values()}
    }

    rows = []
    for name, (anew, others, dropout, weigh) in WAYS.items():
        held_out, validated = [], []
        for fold in folds:
            held = np.isin(sources, fold.held) | np.isin(groups, fold.held)
            train = (split == "train") & ~held & (own | others)
            x = features[anew]
            head = nn.Linear(x.shape[1], len(table.class_names))
            odds = weigh(truth[train], sources[train])
            fit_head(head, x[train], truth[train], odds, RefitHead(dropout=dropout), asked.seed)
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
