"""NIfTI files however they lie: the same chest comes out, and masks go back to where the volume was."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from drawn_series import drawn_chest, write_nifti

from toolkit.ct import volume as volume_module
from toolkit.ct.nifti import write_mask
from toolkit.ct.read import read_volume
from toolkit.errors import PictureError, UserError

CHEST = drawn_chest((24, 48, 48))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("flips", "axes"),
    [((), (0, 1, 2)), ((0,), (0, 1, 2)), ((1, 2), (0, 1, 2)), ((0, 2), (2, 0, 1)), ((1,), (1, 2, 0))],
)
def test_axes_in_any_order_and_direction_are_put_right(
    flips: Sequence[int], axes: Sequence[int], suffix: str, tmp_path: Path
) -> None:
    volume = read_volume(write_nifti(tmp_path / f"a{suffix}", CHEST, flips=flips, axes=axes))
    assert np.array_equal(volume.hu, CHEST.hu)
    assert volume.spacing == pytest.approx(CHEST.spacing)
    assert volume.affine[:3, 3] == pytest.approx(CHEST.origin)
    assert volume.notes == ()


def saved(path: Path, values: Any, affine: Any, units: str = "mm") -> Path:
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units(units)
    nibabel.save(image, path)
    return path


AIR = np.full((8, 8, 8), -1000, np.int16)


@pytest.mark.parametrize(
    ("values", "affine", "units", "expected"),
    [
        (AIR, np.diag([2.0, 2, 3, 1]), "mm", (3.0, 2.0, 2.0)),
        (AIR.astype(np.float64), np.diag([2.0, 2, 3, 1]), "mm", (3.0, 2.0, 2.0)),
        (AIR[..., None], np.diag([2.0, 2, 3, 1]), "mm", (3.0, 2.0, 2.0)),
        (AIR, np.diag([0.002, 0.002, 0.003, 1]), "meter", (3.0, 2.0, 2.0)),
        (AIR, np.diag([2.0, 2, 3, 1]), "unknown", (3.0, 2.0, 2.0)),
        (np.stack([AIR] * 2, -1), np.diag([2.0, 2, 3, 1]), "mm", "expected one volume of at least 3 x 3 x 3"),
        (AIR[:2], np.diag([2.0, 2, 3, 1]), "mm", "expected one volume of at least 3 x 3 x 3"),
        (AIR + 1000, np.diag([2.0, 2, 3, 1]), "mm", "its lowest value is 0, but a chest in Hounsfield"),
        (AIR, np.diag([2.0, 2, 3000, 1]), "mm", "voxels measure [2.0, 2.0, 3000.0] mm, expected 0.01 to 50"),
        (AIR.astype(np.complex64), np.diag([2.0, 2, 3, 1]), "mm", "has values of type complex64"),
    ],
)
def test_what_a_file_says_is_read_or_refused(
    values: Any, affine: Any, units: str, expected: Any, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.nii", values, affine, units)
    if isinstance(expected, str):
        with pytest.raises(PictureError) as caught:
            read_volume(path)
        assert expected in str(caught.value)
    else:
        volume = read_volume(path)
        assert volume.spacing == pytest.approx(expected)
        assert volume.hu.dtype == np.int16
        assert (volume.hu == -1000).all()


def test_rescaling_is_applied_and_what_is_no_number_is_air(tmp_path: Path) -> None:
    values = np.full((8, 8, 8), 12, np.int16)
    image = nibabel.Nifti1Image(values, np.eye(4) * 2)
    image.header.set_slope_inter(10.0, -1000.0)
    image.header["scl_slope"], image.header["scl_inter"] = 10.0, -1000.0
    nibabel.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([10.0, -1000.0], "<f4").tobytes()
    raw[352:] = np.where(np.arange(512) == 0, 0, 12).astype("<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    volume = read_volume(tmp_path / "a.nii")
    assert sorted(np.unique(volume.hu).tolist()) == [-1000, -880]
    holes = np.where(np.arange(512).reshape(8, 8, 8) == 5, np.nan, -900.0).astype(np.float32)
    assert read_volume(saved(tmp_path / "b.nii", holes, np.eye(4) * 2)).hu.min() == -1024


def test_a_slanted_volume_is_told(tmp_path: Path) -> None:
    angle = np.radians(10)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = read_volume(saved(tmp_path / "a.nii", AIR, turn @ np.diag([2.0, 2, 3, 1])))
    assert volume.notes == ("the volume lies 10.0 degrees off the patient's axes, and was not turned",)
    assert volume.spacing == pytest.approx((3, 2, 2))


def test_pixels_that_are_not_square_are_made_so_where_they_lie(tmp_path: Path) -> None:
    values = np.broadcast_to(-1000 + 10.0 * np.arange(12)[:, None, None], (12, 20, 8)).astype(np.int16)
    volume = read_volume(saved(tmp_path / "a.nii", values, np.diag([4.0, 2, 3, 1])))
    assert volume.hu.shape == (8, 20, 24)
    assert volume.spacing == pytest.approx((3, 2, 2))
    assert "the pixels measure 2.00 x 4.00 mm, and were resampled to squares of 2.00 mm" in volume.notes
    # A voxel's density is 2.5 a mm to the right: -x in the patient's system, here as there.
    x = volume.affine[0, 3] + 2 * np.arange(24)
    assert np.abs(volume.hu[4, 10, 1:-1] - (-1000 - 2.5 * x[1:-1])).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.nii", b""), ("a.nii", b"no NIfTI" * 100), ("a.nii.gz", b"no gzip"), ("a.nii.gz", gzip.compress(b"x" * 400))],
)
def test_what_is_no_nifti_is_told_in_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PictureError, match="cannot be read as NIfTI"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_file_that_was_cut_short_is_told(part: float, tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        path = write_nifti(tmp_path / name, CHEST)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
        with pytest.raises(PictureError, match="cannot be read as NIfTI"):
            read_volume(path)


def test_the_size_is_looked_at_before_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", CHEST)
    monkeypatch.setattr(volume_module, "MAX_VOXELS", 1000)
    with pytest.raises(PictureError, match="48 x 48 x 24 are 0 million voxels, over the limit"):
        read_volume(path)


def test_a_mask_lies_where_the_volume_does(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", CHEST, flips=(0,), axes=(2, 0, 1))
    volume = read_volume(path)
    image = nibabel.load(write_mask(tmp_path / "masks" / "m.nii.gz", CHEST.truth, volume.affine))
    given = nibabel.load(path)
    voxel = np.argwhere(np.asarray(given.dataobj) > 350)[0]  # in the spine
    there = np.linalg.inv(image.affine) @ given.affine @ [*voxel, 1]
    x, y, z = np.rint(there[:3]).astype(int)
    assert CHEST.hu[z, y, x] == np.asarray(given.dataobj)[tuple(voxel)]
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), CHEST.truth)
    assert image.get_data_dtype() == np.uint8
    with pytest.raises(UserError, match=r"a mask of a volume is saved as \.nii or \.nii\.gz"):
        write_mask(tmp_path / "m.png", CHEST.truth, volume.affine)
