"""A bundle in the making: written whole each time that something opens it, gone when the export ends."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from toolkit.bundle import write_bundle
from toolkit.bundle_spec import BundleSpec, Int8
from toolkit.inference.model import Model

INT8_FILE = "model.int8.onnx"


@dataclass
class Draft:
    """``spec`` and ``files`` grow while the export goes on."""

    folder: Path
    spec: BundleSpec
    files: dict[str, bytes]

    def open(self, precision: str = "auto") -> Model:
        """What it is now, ready to predict on the CPU."""
        return Model(write_bundle(self.folder, self.spec, self.files), device="cpu", precision=precision)

    def with_int8(self, told: str, network: bytes | None) -> Draft:
        """A copy that holds an int8 network, or says why it holds none."""
        file = None if network is None else INT8_FILE
        described = self.spec.network.model_copy(update={"int8": Int8(file=file, told=told)})
        files = self.files if network is None else {**self.files, INT8_FILE: network}
        return Draft(self.folder, self.spec.model_copy(update={"network": described}), files)

    def remove(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)
