"""The configs of trainings that take seconds, one of each task; `conftest` trains each once and shares the run."""

from __future__ import annotations

from pathlib import Path

from drawn_sets import draw_labels, draw_masks

TASKS = ("detection", "classification", "segmentation")

# The detector starts from a shipped bundle and learns next to nothing; the others start from random weights and learn
# to tell colours, which takes them about a hundred steps.
CONFIGS = {
    "detection": """
name: quick
task: detection
seed: 1
data: {{format: shapes, root: {root}, pictures: 20, size: [96, 96], val_fraction: 0.3}}
model: {{name: yolox_nano, input_size: [64, 64], init: "zoo:mask_detection"}}
augment: {{zoom: {{probability: 0.5}}, albumentations: [{{HorizontalFlip: {{p: 0.5}}}}]}}
train: {{epochs: 2, batch_size: 4, validate_every: 1, device: cpu, precision: fp32, estimate_bn_batches: 2}}
postprocess: {{score_threshold: 0.005}}
bundle: {{intended_use: Tests., licence: CC0-1.0}}
""",
    "classification": """
name: quick_classifier
task: classification
seed: 1
data: {{format: csv, root: {root}, classes: [red, green, blue]}}
model: {{name: mobilenet_v2, width: 0.25, dropout: 0, input_size: [64, 64]}}
augment: {{mixup: {{probability: 0.2}}, cutmix: {{probability: 0.1}}, albumentations: [{{HorizontalFlip: {{p: 0.5}}}}]}}
loss: {{class_weights: balanced, smoothing: 0.05}}
train:
  {{epochs: 20, batch_size: 8, optimizer: {{name: adamw, lr: 5e-3}}, ema_decay: 0.9, validate_every: 10, device: cpu,
    precision: fp32}}
bundle: {{intended_use: Tests., licence: CC0-1.0}}
""",
    "segmentation": """
name: quick_segmenter
task: segmentation
seed: 1
data:
  format: csv
  root: {root}
  mask_columns: {{warm: warm, cold: cold}}
  group_column: patient
  classes: [background, warm, cold]
model: {{name: unet, encoder: mobilenet_v2, input_size: [32, 64]}}
augment: {{crop_to_labels: {{probability: 0.3}}, albumentations: [{{HorizontalFlip: {{p: 0.5}}}}]}}
train:
  {{epochs: 10, batch_size: 3, optimizer: {{name: adamw, lr: 5e-3}}, ema_decay: 0.9, validate_every: 5, device: cpu,
    precision: fp32}}
postprocess: {{regions: {{thing: [warm, cold]}}}}
bundle: {{intended_use: Tests., licence: CC0-1.0}}
""",
}


def write_config(task: str, folder: Path) -> Path:
    """Write the task's config into ``folder``, and draw the pictures that it reads unless the toolkit draws them."""
    root = folder / "pictures"
    if task != "detection":
        root.mkdir()
        {"classification": draw_labels, "segmentation": draw_masks}[task](root)
    config = folder / "quick.yaml"
    config.write_text(CONFIGS[task].format(root=root), encoding="utf-8")
    return config
