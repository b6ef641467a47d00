"""``python -m toolkit.training.repro RUN/faults/nan_step_N.pt``: run the step again whose loss was not finite.

Says what the batch, the weights, each layer's output, the loss and the gradient hold, and where it is first not finite.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.config import parse_config
from toolkit.data.table import Table
from toolkit.errors import UserError
from toolkit.training.device import training_device
from toolkit.training.loader import Batch
from toolkit.training.network import build_network
from toolkit.training.resume import seed_step
from toolkit.training.task import training_task
from toolkit.training.weights import read_checkpoint


def rerun(path: Path) -> Iterator[str]:
    """Yield what is to be said of the step, line by line; raises ``UserError`` for a file that is not of one."""
    left = read_checkpoint(path)
    if "facts" not in left:
        raise UserError(f"{path}: expected a file that a training left in faults/ because its loss was not finite")
    module = _module(left, str(path))
    batch = module.transfer_batch_to_device(Batch(left["images"], _targets(left["targets"]), []), module.device, 0)
    yield f"step {left['step']}, epoch {left['epoch'] + 1}, on the {module.device.type}; trained on {left['device']}"
    if left["processes"] > 1:
        yield f"the share of process {left['rank'] + 1} of {left['processes']}; the training's loss is of all shares"
    yield from (f"picture {picture}" for picture in left["pictures"])
    yield f"input: {_told({'images': left['images']})}"
    yield f"weights before the step: {_told(left['network'])}"
    seed_step(module.config.seed, left["epoch"], left["batch"], left["rank"])
    outputs = _watched(module.network)
    with torch.autocast(module.device.type, torch.bfloat16, enabled=module.config.train.precision == "bf16"):
        raw = module.network(batch.images)
        yield f"outputs of the layers, in their order: {_told(outputs)}"
        parts = module.loss(raw, batch.targets)
    values = (f"{name} {value.item():.6g} ({left['parts'][name]:.6g})" for name, value in parts.items())
    yield f"loss now (and in the training): {', '.join(values)}"
    parts["loss"].backward()
    # From the loss downwards, as they are computed.
    learnt = reversed([(name, p.grad) for name, p in module.network.named_parameters() if p.grad is not None])
    yield f"gradient, from the last layer to the first: {_told(dict(learnt))}"


def _module(left: Mapping[str, Any], name: str) -> Any:
    """The module as it was before the step, on the device that it was trained on where there is one."""
    config = parse_config(left["config"], name=name).config
    network = build_network(config.model, len(left["class_names"])).to(memory_format=torch.channels_last)
    network.load_state_dict(left["network"])
    nobody: Table[Any] = Table(tuple(left["class_names"]), ())
    module = training_task(config.task).module(network, config, nobody, nobody, total_steps=1)
    module.facts = left["facts"]
    return module.to(training_device(left["device"])).train()


def _targets(targets: Any) -> Any:
    """Targets as the loss takes them, of those that were written as plain data."""
    if isinstance(targets, dict):
        return SimpleNamespace(**{name: [each.numpy() for each in value] for name, value in targets.items()})
    return targets


def _watched(network: nn.Module) -> dict[str, Tensor]:
    """A dict that fills with what each layer gives, in the order that they are run in."""
    outputs: dict[str, Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[f"{name} ({type(layer).__name__})"] = output.detach()

        return hook

    for name, layer in network.named_modules():
        if not any(layer.children()):
            layer.register_forward_hook(note(name))
    return outputs


def _told(tensors: Mapping[str, Tensor]) -> str:
    """Whether all are finite; the largest, or the first that is not."""
    floats = {name: tensor.float() for name, tensor in tensors.items() if tensor.is_floating_point()}
    for number, (name, tensor) in enumerate(floats.items()):
        wrong = int((~torch.isfinite(tensor)).sum())
        if wrong:
            before = f"; the {number} before it are finite" if number else ""
            return f"not finite in {name}, {wrong} of {tensor.numel()} values{before}"
    name, largest = max(
        ((name, float(tensor.abs().max())) for name, tensor in floats.items()), key=lambda each: each[1]
    )
    return f"finite, up to {largest:.4g} in {name}"


def main() -> None:
    """Print what `rerun` says. Exit codes: 0, 2 (no such file, or not one of these)."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        for line in rerun(Path(sys.argv[1])):
            print(line, flush=True)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
