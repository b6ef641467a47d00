"""A segmentation bundle that knows lungs and lesions by their grey level alone, so its masks can be told beforehand.

Through a lung window of -1350 to 150 HU: air and what is denser than a lesion are background.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from drawn_series import AIR, BODY, LESION, LUNG
from tiny_bundle import _onnx_file, as_png

from toolkit.bundle import write_bundle
from toolkit.bundle_spec import make_spec

SIDE = 96
LABELS = ("background", "lung", "lesion")


def grey_of(hu: float) -> float:
    """The grey level that a lung window of -600 +- 750 HU makes of a density."""
    return float(np.clip((hu + 1350) / 1500 * 255, 0, 255))


def class_of(hu: float) -> int:
    """The network's answer, worked out: the class of the nearest centre."""
    centres = [grey_of(level) for level in (AIR, BODY, LUNG, LESION)]
    return (0, 0, 1, 2)[int(np.argmin([abs(grey_of(hu) - centre) for centre in centres]))]


def lung_network() -> bytes:
    """Images float32 [B, 3, 96, 96] to raw float32 [B, 3, 96, 96]: a pixel's class is that of the nearest centre."""
    from onnx import helper

    centres = np.array([grey_of(level) for level in (AIR, LUNG, LESION, BODY)], np.float32)
    constants = {
        "weights": np.repeat(centres[:, None, None, None], 3, axis=1) / 3,
        "bias": -(centres**2) / 2,
        "sizes": np.array([1, 2, 1]),
    }
    nodes = [
        helper.make_node("Conv", ["images", "weights", "bias"], ["four"]),
        helper.make_node("Split", ["four", "sizes"], ["air", "inner", "body"], axis=1),
        helper.make_node("Max", ["air", "body"], ["outer"]),
        helper.make_node("Concat", ["outer", "inner"], ["raw"], axis=1),
    ]
    return _onnx_file(nodes, constants, ["batch", 3, SIDE, SIDE], {"raw": ["batch", 3, SIDE, SIDE]})


def make_lung_bundle(folder: Path, window: tuple[float, float] | None = None) -> Path:
    """Write the bundle into ``folder`` and return it; ``window`` is the (center, width) in HU that it names."""
    spec = make_spec(
        name="lungs",
        task="segmentation",
        labels=LABELS,
        network={"architecture": "tiny"},
        preprocessing={"input_size": (SIDE, SIDE), "color": "rgb", "window_hu": window},
        postprocessing={"regions": {"lung": ("lung", "lesion")}},
        licence="CC0-1.0",
    )
    answer = {"image_size": [SIDE, SIDE], "masks": [_all_of(1)]}
    grey = round(grey_of(LUNG))
    files = {
        "model.onnx": lung_network(),
        "metrics.json": json.dumps({"mIoU": 1.0}).encode(),
        "parity.json": json.dumps({"pictures": 0}).encode(),
        "MODEL_CARD.md": b"# lungs\nDrawn for tests.\n",
        "golden/expected.json": json.dumps({"pictures": {"0.png": answer}}).encode(),
        "golden/0.png": as_png(np.full((SIDE, SIDE, 3), grey, np.uint8)),
    }
    write_bundle(folder, spec, files)
    return folder


def _all_of(class_id: int) -> dict[str, object]:
    runs = {"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]}
    return {"class_id": class_id, "label": LABELS[class_id], "area": SIDE * SIDE, "rle": runs}
