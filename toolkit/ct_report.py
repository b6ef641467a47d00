"""What predicting on a CT series returns: the mask of the whole volume, and what was measured in the lungs.

Take it from ``toolkit.results``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from toolkit.ct.lungs import EDGES_HU, Lung
from toolkit.ct.volume import spacing_of
from toolkit.result_base import RGB, Result, expect_dtype

DISCLAIMER = "Not for clinical use."


@dataclass(frozen=True, eq=False)
class CTReport(Result):
    """A CT volume's lungs; see ``toolkit.results.Result`` for the fields that all tasks share. Not for clinical use.

    Attributes:
        image_size: (height, width) of a slice, pixels.
        mask: uint8 [Z, Y, X], positions in ``class_names``; z rises to the head, y to the back, x to the patient's
            left. Outside the lungs it is 0.
        affine: float64 [4, 4], voxel (x, y, z, 1) to mm in the patient's system of DICOM.
        lungs: the right and the left one, measured in the voxels as scanned: nothing is resampled for it.
        lesions: the class names that are part of a lung and not the lung itself.
        notes: sentences on what is unusual about the series.

    ``timing`` is of the whole series, in milliseconds: read, network (windowing and masks with it), and measure.
    """

    source: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    lungs: Sequence[Lung]
    lesions: tuple[str, ...]
    notes: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)
    picture: Callable[[], RGB] | None = field(default=None, repr=False)
    _arrays: ClassVar[tuple[str, ...]] = ("mask", "affine")

    def __post_init__(self) -> None:
        expect_dtype("mask", self.mask, np.uint8)
        self._freeze("mask", (len(self.mask), *self.image_size))
        self._freeze("affine", (4, 4))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(z, y, x) in mm from voxel to voxel, z between the planes of the slices."""
        return spacing_of(self.affine)

    @property
    def lung_ml(self) -> float:
        """Both lungs, lesions with them."""
        return sum(lung.volume_ml for lung in self.lungs)

    @property
    def lesion_ml(self) -> float:
        """All lesions in both lungs."""
        return sum(self._lesion_ml(lung) for lung in self.lungs)

    @property
    def lesion_share(self) -> float:
        """The part of the lungs, 0 to 1, that is lesion; 0 where there are no lungs."""
        return self.lesion_ml / self.lung_ml if self.lung_ml else 0.0

    def areas_mm2(self) -> dict[str, NDArray[np.float64]]:
        """By class name (but for class 0), the area in each slice, float64 [Z]."""
        pixel = np.float64(self.spacing[1] * self.spacing[2])
        counts = np.stack([np.bincount(plane.ravel(), minlength=len(self.class_names)) for plane in self.mask])
        return {
            name: (counts[:, index] * pixel).astype(np.float64) for index, name in enumerate(self.class_names) if index
        }

    def slices_with_lesion(self) -> list[int]:
        """Positions in ``mask`` of the slices with any voxel of lesion."""
        areas = self.areas_mm2()
        found = sum((areas[name] for name in self.lesions), np.zeros(len(self.mask)))
        return [int(index) for index in np.flatnonzero(found)]

    def draw(self) -> RGB:
        """Slices and side views with the mask, and what was measured: RGB uint8 [H, W, 3]."""
        return super().draw() if self.picture is None else self.picture()

    def _draw_on(self, image: RGB) -> RGB:
        return image

    def save(self, path: str | Path) -> Path:
        """Write the drawing (.jpg, .png, ...), ``to_dict`` (.json) or the mask (.nii, .nii.gz); return the path."""
        from toolkit.ct.nifti import SUFFIXES

        if str(path).endswith(SUFFIXES):
            return self.save_mask(path)
        return super().save(path)

    def save_mask(self, path: str | Path) -> Path:
        """Write the mask as NIfTI (.nii, .nii.gz), class ids as they are; it lies in the patient as the series does."""
        from toolkit.ct.nifti import write_mask

        return write_mask(path, self.mask, self.affine)

    def to_dict(self) -> dict[str, Any]:
        """The fields by their names with the numbers, without the mask, which `save_mask` writes.

        Volumes in ml to 3 decimals, HU to 1, shares to 6; ``histogram`` counts voxels between ``histogram_edges_hu``.
        """
        return self._as_dict(
            {
                "slices": len(self.mask),
                "spacing_mm": [round(length, 4) for length in self.spacing],
                "lung_ml": round(self.lung_ml, 3),
                "lesion_ml": round(self.lesion_ml, 3),
                "lesion_share": round(self.lesion_share, 6),
                "lungs": [self._told(lung) for lung in self.lungs],
                "histogram_edges_hu": list(EDGES_HU),
                "slices_with_lesion": self.slices_with_lesion(),
                "areas_mm2": {name: areas.round(1).tolist() for name, areas in self.areas_mm2().items()},
                "notes": list(self.notes),
                "disclaimer": DISCLAIMER,
            }
        )

    def lines(self) -> list[str]:
        """What was measured, in a few lines for people."""
        sides = "; ".join(
            f"{lung.side} lung {lung.volume_ml:.0f} ml, of it lesion {self._lesion_ml(lung):.0f} ml"
            for lung in self.lungs
        )
        return [self._gist(), sides, *self.notes]

    def _told(self, lung: Lung) -> dict[str, Any]:
        lesion = self._lesion_ml(lung)
        return {
            "side": lung.side,
            "volume_ml": round(lung.volume_ml, 3),
            "lesion_ml": round(lesion, 3),
            "lesion_share": round(lesion / lung.volume_ml, 6) if lung.volume_ml else 0.0,
            "classes": {
                name: {
                    "volume_ml": round(part.volume_ml, 3),
                    "mean_hu": None if part.mean_hu is None else round(part.mean_hu, 1),
                    "histogram": list(part.histogram),
                }
                for name, part in lung.parts.items()
            },
        }

    def _lesion_ml(self, lung: Lung) -> float:
        return sum(lung.parts[name].volume_ml for name in self.lesions)

    def _gist(self) -> str:
        """Such as ``lungs 4312 ml, lesion 7.2 % (right 9.1 %, left 5.0 %) in 41 of 120 slices; not ...``."""
        from toolkit.drawing_text import percent

        sides = ", ".join(
            f"{lung.side} {percent(self._lesion_ml(lung) / lung.volume_ml)}" for lung in self.lungs if lung.volume_ml
        )
        found = f"lungs {self.lung_ml:.0f} ml"
        if self.lesions:
            found += f", lesion {percent(self.lesion_share)}" + (f" ({sides})" if sides else "")
            found += f" in {len(self.slices_with_lesion())} of {len(self.mask)} slices"
        return f"{found}; {DISCLAIMER[0].lower()}{DISCLAIMER[1:-1]}"
