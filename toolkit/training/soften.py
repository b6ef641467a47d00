"""After the last epoch: weights between the start's and the tuned ones, and a head that is fitted anew to them.

Tuning makes a network better on pictures like those that it saw and worse on all others: it unlearns what its start
weights knew. Weights on the line between both keep most of the first and lose less of the second (Wortsman et al.,
"Robust fine-tuning of zero-shot models", CVPR 2022, arXiv 2109.01903), and a linear head costs little to fit again
(Kirichenko, Izmailov and Wilson, "Last layer re-training is sufficient for robustness to spurious correlations", ICLR
2023, arXiv 2204.02937).
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit import images
from toolkit.config.schema import CommonConfig, RefitHead
from toolkit.data.table import LabelSample, Table
from toolkit.preprocess import Preprocessing
from toolkit.training.checkpoint_io import write_whole
from toolkit.training.loader import drawing_weights
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.run_folder import SOFTENED, START, Run
from toolkit.training.weights import NETWORK, network_weights, read_checkpoint

log = logging.getLogger("toolkit")

# A feature that hardly varies must not be blown up when features are brought to one scale.
_LEAST_DEVIATION = 0.05
_BATCH = 32
# The fit of a head: pictures a step, learning rate at the start of a cosine, weight decay, label smoothing.
_DRAWN, _LEARNING_RATE, _WEIGHT_DECAY, _SMOOTHING = 512, 3e-3, 1e-3, 0.1


def keep_start(run: Run, network: nn.Module, loaded: list[str]) -> None:
    """Keep in the run the tensors of ``network`` that came from the start weights."""
    state = network.state_dict()
    _save(run, START, {"state_dict": {NETWORK + name: state[name] for name in loaded}})


def soften(run: Run, config: CommonConfig, table: Table[Any]) -> None:
    """Write the checkpoint to export as `train.start_share` and `train.refit_head` say; nothing where they are off.

    One that is newer than the best checkpoint is kept. Raises ``UserError`` where there is nothing to soften.
    """
    refit = getattr(config.train, "refit_head", None)
    if not config.train.start_share and refit is None:
        return
    tuned, done = run.tuned, run.path / SOFTENED
    if done.is_file() and done.stat().st_mtime >= tuned.stat().st_mtime:
        return
    checkpoint = read_checkpoint(tuned)
    weights = network_weights(checkpoint)
    if config.train.start_share:
        start = network_weights(read_checkpoint(run.path / START))
        weights = blended(start, weights, config.train.start_share)
        log.info("weights: %g of the start's, %g of the tuned", config.train.start_share, 1 - config.train.start_share)
    network = build_network(config.model, len(table.class_names))
    network.load_state_dict(weights)
    if refit is not None:
        refit_head(network, config, table, refit)
    state = {NETWORK + name: value for name, value in network.state_dict().items()}
    _save(run, SOFTENED, {"state_dict": state, "global_step": checkpoint["global_step"]})


def refit_head(network: nn.Module, config: CommonConfig, table: Table[Any], settings: RefitHead) -> None:
    """Fit the last layer of a classifier to the features of the training pictures, as they are predicted."""
    log.info("fitting the head to the features of the training pictures")
    training = table.subset("train")
    features = features_of(network, preprocessing_of(config), training)
    classes = np.array([sample.class_id for sample in training.samples])
    fit_head(head_of(network), features, classes, drawing_weights(training, config.augment), settings, config.seed)


def blended(start: Mapping[str, Tensor], tuned: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """``share`` of the start's tensors, the rest tuned; what the start has not, and what counts steps, stays tuned."""
    return {
        name: torch.lerp(value, start[name].to(value), share) if name in start and value.is_floating_point() else value
        for name, value in tuned.items()
    }


def head_of(network: nn.Module) -> nn.Linear:
    """The linear layer that a classifier ends with."""
    (linear,) = (each for each in network.modules() if isinstance(each, nn.Linear))
    return linear


def features_of(network: Any, preprocessing: Preprocessing, table: Table[LabelSample]) -> NDArray[np.float32]:
    """What the head of a classifier sees of each picture, as it is predicted: float32 [N, D]."""
    network = network.to(memory_format=torch.channels_last).eval()

    def pooled() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(table), _BATCH):
            part = table.samples[start : start + _BATCH]
            pixels = np.stack([preprocessing.apply(images.decode(sample.path))[0] for sample in part])
            batch = torch.from_numpy(pixels).to(memory_format=torch.channels_last)
            yield network.forward_features(batch).mean((2, 3)).numpy()

    with torch.inference_mode():
        return np.concatenate(list(pooled()))


def fit_head(
    head: nn.Linear,
    features: NDArray[np.float32],
    classes: NDArray[np.int64],
    odds: NDArray[np.float64] | None,
    settings: RefitHead,
    seed: int,
) -> None:
    """Fit ``head`` to ``features`` [N, D] and their ``classes`` [N], drawn by ``odds`` [N], from zero.

    The features are brought to mean 0 and deviation 1, and left out by chance, so that no few of them decide; the
    scale is folded into the layer afterwards.
    """
    mean, deviation = features.mean(0), features.std(0) + _LEAST_DEVIATION
    x, y = torch.from_numpy((features - mean) / deviation), torch.from_numpy(classes)
    weights = torch.ones(len(y), dtype=torch.float64) if odds is None else torch.from_numpy(odds)
    weight = torch.zeros_like(head.weight, requires_grad=True)
    bias = torch.zeros_like(head.bias, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(settings.steps):
            drawn = torch.multinomial(weights, _DRAWN, replacement=True)
            kept = nn.functional.dropout(x[drawn], settings.dropout)
            logits = nn.functional.linear(kept, weight, bias)
            loss = nn.functional.cross_entropy(logits, y[drawn], label_smoothing=_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        scaled = weight / torch.from_numpy(deviation)
        head.weight.copy_(scaled)
        head.bias.copy_(bias - scaled @ torch.from_numpy(mean))


def _save(run: Run, name: str, content: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(run.path / name, buffer.getbuffer())
