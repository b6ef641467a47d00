"""The config: one YAML file, checked before anything runs. Torch-free; it reads no pictures and trains nothing."""

from toolkit.config.explain import explain, schema
from toolkit.config.load import LoadedConfig, as_overrides, find_config, load_config, parse_config, shipped_configs
from toolkit.config.schema import ClassificationConfig, Config, DetectionConfig, SegmentationConfig

__all__ = [
    "ClassificationConfig",
    "Config",
    "DetectionConfig",
    "LoadedConfig",
    "SegmentationConfig",
    "as_overrides",
    "explain",
    "find_config",
    "load_config",
    "parse_config",
    "schema",
    "shipped_configs",
]
