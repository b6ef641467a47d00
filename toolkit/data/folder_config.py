"""A config for a folder alone, so that one can be read which nobody wrote a config for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.config.load import parse_config
from toolkit.data.fault_log import shown
from toolkit.errors import UserError

# What a config needs beside its data; nothing is trained.
MODELS = {"detection": "yolox_nano", "classification": "mobilenet_v2", "segmentation": "unet"}


def folder_config(folder: Path, task: str, block: Mapping[str, Any], overrides: Sequence[str]) -> Any:
    """A config whose data block reads the folder: ``block``, changed by ``overrides``, and defaults."""
    for override in overrides:
        if not override.startswith("data."):
            raise UserError(f"{override}: expected a key of the data block, such as data.classes=[...]")
    document = {
        "name": "folder",
        "task": task,
        "data": {**block, "root": str(folder.absolute())},
        "model": {"name": MODELS[task]},
    }
    return parse_config(json.dumps(document, ensure_ascii=False), name=shown(folder), overrides=overrides).config
