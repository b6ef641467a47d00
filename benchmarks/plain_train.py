"""The peer: a training loop as one writes it by hand with PyTorch, everything at its default.

    python -m benchmarks.plain_train SPEC.json          (called by `benchmarks.train`, which writes the file)

torch's DataLoader, Pillow decoding each picture in each epoch, albumentations and OpenCV, contiguous tensors, float32,
torch's own layers and its own choice of threads. Nothing of the toolkit is imported but the network itself and, for the
detector, YOLOX's loss with its assigner: on both sides they are the same. Prints JSON: pictures a second and mean loss
of each epoch.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from zoo.mobilenet_v2 import mobilenet_v2
from zoo.yolox import yolox_nano
from zoo.yolox_loss import yolox_loss

FILL = 114


def transforms(spec: dict[str, Any]) -> list[Any]:
    return [getattr(A, name)(**options) for entry in spec["albumentations"] for name, options in entry.items()]


class Photos(Dataset):
    """Pictures with a class."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.samples = spec["samples"]
        self.change = A.Compose([*transforms(spec), A.Resize(*spec["size"]), A.Normalize(), A.ToTensorV2()])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, class_id = self.samples[index]
        return self.change(image=np.asarray(Image.open(path).convert("RGB")))["image"], class_id


class Boxes(Dataset):
    """Pictures with boxes: one, or four in one, zoomed to an object."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.samples, self.spec = spec["samples"], spec
        rules = A.BboxParams(format="pascal_voc", label_fields=["class_ids"], clip=True, min_visibility=0.3)
        self.change = A.Compose(transforms(spec), bbox_params=rules)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        height, width = self.spec["size"]
        canvas = np.full((height, width, 3), FILL, np.uint8)
        if random.random() < self.spec["mosaic"]:
            cy, cx = int(height * random.uniform(0.3, 0.7)), int(width * random.uniform(0.3, 0.7))
            regions = [(0, 0, cy, cx), (0, cx, cy, width), (cy, 0, height, cx), (cy, cx, height, width)]
            members = [index, *(random.randrange(len(self)) for _ in range(3))]
        else:
            regions, members = [(0, 0, height, width)], [index]
        parts = [self.paste(canvas, member, *region) for member, region in zip(members, regions, strict=True)]
        boxes, class_ids = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        done = self.change(image=canvas, bboxes=boxes, class_ids=class_ids)
        pixels = torch.from_numpy(done["image"][..., ::-1].transpose(2, 0, 1).astype(np.float32))
        boxes = np.asarray(done["bboxes"], np.float32).reshape(-1, 4)
        return pixels, boxes, np.asarray(done["class_ids"], np.int64).reshape(-1)

    def paste(self, canvas: np.ndarray, member: int, y0: int, x0: int, y1: int, x1: int) -> tuple[Any, Any]:
        path, boxes, class_ids = self.samples[member]
        image = np.asarray(Image.open(path).convert("RGB"))
        boxes, class_ids = np.array(boxes, np.float32).reshape(-1, 4), np.array(class_ids, np.int64)
        scale = min((y1 - y0) / image.shape[0], (x1 - x0) / image.shape[1])
        focus = np.array([image.shape[1] / 2, image.shape[0] / 2])
        if len(boxes) and random.random() < self.spec["zoom"]:
            chosen = boxes[random.randrange(len(boxes))]
            side = math.sqrt(max((chosen[2] - chosen[0]) * (chosen[3] - chosen[1]), 1))
            low, high = map(math.log, self.spec["object_size"])
            scale = min(max(math.exp(random.uniform(low, high)) / side, scale / 2), max(4, scale))
            focus = (chosen[:2] + chosen[2:]) / 2
        resized = cv2.resize(image, (round(image.shape[1] * scale) or 1, round(image.shape[0] * scale) or 1))
        room = np.array([x1 - x0, y1 - y0])
        slack = room - resized.shape[1::-1]
        shift = np.clip(
            room * np.random.uniform(0.2, 0.8, 2) - focus * scale, np.minimum(slack, 0), np.maximum(slack, 0)
        )
        left, top = shift.astype(int)
        seen = resized[max(0, -top) : max(0, -top) + y1 - y0, max(0, -left) : max(0, -left) + x1 - x0]
        top, left = y0 + max(0, top), x0 + max(0, left)
        seen = seen[: y1 - top, : x1 - left]
        canvas[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
        moved = boxes * scale + np.array([*shift, *shift]) + np.array([x0, y0, x0, y0])
        clipped = np.clip(moved, [x0, y0, x0, y0], [x1, y1, x1, y1]).astype(np.float32)
        size, before = clipped[:, 2:] - clipped[:, :2], moved[:, 2:] - moved[:, :2]
        kept = (size.prod(1) >= 0.3 * before.prod(1)) & (size >= 2).all(1)
        return clipped[kept], class_ids[kept]


def together(items: list[Any]) -> tuple[torch.Tensor, list[Any], list[Any]]:
    pixels, boxes, class_ids = zip(*items, strict=True)
    return torch.stack(pixels), list(boxes), list(class_ids)


def layers(output: torch.Tensor) -> set[str]:
    """The names of all that computed an output."""
    names, found = set(), [output.grad_fn]
    while found:
        node = found.pop()
        if node is not None and node not in names:
            names.add(node)
            found += [before for before, _ in node.next_functions]
    return {node.name() for node in names}


def main(spec: dict[str, Any]) -> dict[str, list[float]]:
    torch.manual_seed(0)
    device = torch.device("cuda" if spec["device"] == "cuda" else "cpu")
    detector = spec["task"] == "detection"
    network: nn.Module = (yolox_nano if detector else mobilenet_v2)(num_classes=spec["classes"])
    network.to(device).train()
    entropy = nn.CrossEntropyLoss(label_smoothing=spec["smoothing"])
    optimizer = torch.optim.AdamW(network.parameters(), lr=spec["lr"], weight_decay=0.05)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(spec["ema_decay"]), use_buffers=True
    )
    loader: Any = DataLoader(
        Boxes(spec) if detector else Photos(spec), batch_size=spec["batch_size"], shuffle=True, drop_last=True,
        collate_fn=together if detector else None,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, spec["epochs"] * len(loader))
    rates, losses = [], []
    for _ in range(spec["epochs"]):
        started, total = time.perf_counter(), 0.0
        for pixels, *targets in loader:
            raw = network(pixels.to(device))
            if not rates and not total:
                own = {name for name in layers(raw) if name.startswith("_")}
                assert not own, f"the plain loop computes with {own}"
            if detector:
                loss = yolox_loss(raw, *targets, input_size=spec["size"])["loss"]
            else:
                loss = entropy(raw, targets[0].to(device))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), spec["clip_norm"])
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            total += loss.item()
        rates.append(len(loader) * spec["batch_size"] / (time.perf_counter() - started))
        losses.append(total / len(loader))
    return {"rates": rates, "losses": losses}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
