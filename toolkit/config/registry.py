"""What a config can name, and where that lives, as ``module:attribute``: readers of data, networks, losses.

A new one is one file and one line here. Only what has keys of its own needs a block besides, in `data_blocks` or
`model_blocks`.
"""

from __future__ import annotations

import importlib
from typing import Any

# By task and ``data.format``: `read(data_config, seed, progress) -> Table`.
READERS: dict[str, dict[str, str]] = {
    "detection": {
        "coco": "toolkit.data.coco:read",
        "voc": "toolkit.data.voc:read",
        "yolo": "toolkit.data.yolo:read",
        "shapes": "toolkit.data.shapes:read_boxes",
    },
    "classification": {
        "folders": "toolkit.data.folders:read",
        "csv": "toolkit.data.csv_labels:read",
        "shapes": "toolkit.data.shapes:read_labels",
    },
    "segmentation": {
        "masks": "toolkit.data.masks:read",
        "csv": "toolkit.data.csv_masks:read",
        "shapes": "toolkit.data.shapes:read_masks",
    },
}

# By task and ``model.name``: constructors that take ``num_classes`` and the block's own keys, all by keyword.
NETWORKS: dict[str, dict[str, str]] = {
    "detection": {
        "yolox_nano": "zoo.yolox:yolox_nano",
        "yolox_tiny": "zoo.yolox:yolox_tiny",
        "yolox_s": "zoo.yolox:yolox_s",
    },
    "classification": {
        "mobilenet_v2": "zoo.mobilenet_v2:mobilenet_v2",
        "resnet18": "zoo.resnet:resnet18",
        "resnet50": "zoo.resnet:resnet50",
    },
    "segmentation": {
        "unet": "zoo.unet:unet",
        "deeplabv3": "zoo.deeplabv3:deeplabv3",
    },
}

# By task and ``loss.kind``: called with logits, targets and the keys of the ``loss`` block by keyword, where several
# processes share a batch also with ``ranks`` (see `zoo.ranks`); what it returns holds ``loss``. A detector's loss
# belongs to its network, a classifier's has no kinds yet.
LOSSES: dict[str, dict[str, str]] = {
    "segmentation": {
        "ce": "zoo.segmentation_loss:segmentation_loss",
        "bce": "zoo.segmentation_loss:segmentation_loss",
        "focal": "zoo.segmentation_loss:segmentation_loss",
    },
}


def resolve(entry: str) -> Any:
    """Import what an entry names; only then are torch and the like loaded."""
    module, attribute = entry.split(":")
    return getattr(importlib.import_module(module), attribute)
