"""DICOM series that were drawn and written in every order and kind, read back to the chest that was drawn."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_series import PATIENT, Chest, drawn_chest, write_series

from toolkit.ct import files as files_module
from toolkit.ct import volume as volume_module
from toolkit.ct.read import is_series, read_volume
from toolkit.ct.volume import Volume
from toolkit.errors import PictureError, UserError

CHEST = drawn_chest((24, 48, 48))


def check(volume: Volume, chest: Chest = CHEST, *, tolerance: int = 0) -> None:
    """The volume is the chest, in patient order, where it was."""
    assert volume.hu.shape == chest.hu.shape
    assert np.abs(volume.hu.astype(int) - chest.hu).max() <= tolerance
    assert volume.spacing == pytest.approx(chest.spacing, rel=1e-4)
    assert volume.affine[:3, 3] == pytest.approx(chest.origin, abs=1e-3)


def compressed(syntax: str) -> Callable[[Any, int], None]:
    def change(dataset: Any, index: int) -> None:
        dataset.compress(syntax, generate_instance_uid=False)

    return change


def packed_by_gdcm(folder: Path, syntax: str) -> Path:
    """Write the series anew in a syntax that scanners use: pydicom reads it but does not write it."""
    import gdcm

    for path in folder.iterdir():
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    return folder


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 0),  # names shuffled, from the head down
        ({"monochrome": 1}, 0),  # how it is shown, not what it is
        ({"slope": 2.0, "intercept": -1024.0}, 1),
        ({"slope": 0.5, "intercept": -1100.5}, 1),
        ({"signed": True, "intercept": 0.0}, 0),
        ({"turned": (-1, -1)}, 0),  # face down
        ({"turned": (-1, 1)}, 0),
        ({"change": compressed("1.2.840.10008.1.2.5")}, 0),  # RLE
    ],
)
def test_a_series_is_read_as_it_was_drawn(options: dict[str, Any], tolerance: int, tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path / "a", CHEST, **options))
    check(volume, tolerance=tolerance)
    assert volume.notes == ()


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"])
def test_what_scanners_pack_is_read_by_gdcm(syntax: str, tmp_path: Path) -> None:
    check(read_volume(packed_by_gdcm(write_series(tmp_path / "a", CHEST), syntax)))


def test_padding_outside_the_circle_is_air(tmp_path: Path) -> None:
    def pad(dataset: Any, index: int) -> None:
        stored = np.frombuffer(dataset.PixelData, np.int16).reshape(48, 48).copy()
        stored[:3] = -2000
        dataset.PixelData, dataset.PixelPaddingValue = stored.tobytes(), -2000

    volume = read_volume(write_series(tmp_path / "a", CHEST, signed=True, change=pad))
    assert (volume.hu[:, :3] == -1024).all()
    assert np.array_equal(volume.hu[:, 3:], CHEST.hu[:, 3:])


NOTES: list[tuple[dict[str, Any], str]] = [
    ({"leave_out": (7,)}, "1 slice is missing (after slice 7) and was filled in from the neighbours"),
    ({"leave_out": (7, 15)}, "2 slices are missing (after slice 7, 14) and were filled in from the neighbours"),
    ({"tilt": 15.0}, "the gantry was tilted by 15.0 degrees: volumes allow for it, the side views do not"),
]


@pytest.mark.parametrize(("options", "note"), NOTES)
def test_what_is_unusual_is_told(options: dict[str, Any], note: str, tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path / "a", CHEST, **options))
    assert volume.notes == (note,)
    assert volume.hu.shape == CHEST.hu.shape
    assert volume.spacing == pytest.approx(CHEST.spacing, rel=1e-3)
    kept = [index for index in range(24) if index not in options.get("leave_out", ())]
    assert np.array_equal(volume.hu[kept], CHEST.hu[kept])
    if options.get("leave_out") == (7,):
        halfway = (CHEST.hu[6].astype(float) + CHEST.hu[8]) / 2
        assert np.abs(volume.hu[7] - halfway).max() <= 0.5


def test_slices_at_uneven_steps_are_brought_to_even_ones(tmp_path: Path) -> None:
    """Densities that rise evenly with the height: interpolated, they do so still."""
    heights = np.cumsum([0, 5, 5, 5, 4, 6, 5, 5, 3.5, 6.5, 5, 5])
    rising = np.broadcast_to(-900 + 10 * heights[:, None, None], (12, 16, 16)).astype(np.int16)
    chest = Chest(rising, np.zeros(rising.shape, np.uint8), (5.0, 2.0, 2.0), (0.0, 0.0, 0.0))

    def lift(dataset: Any, index: int) -> None:
        dataset.ImagePositionPatient = [0, 0, float(heights[index])]

    volume = read_volume(write_series(tmp_path / "a", chest, change=lift))
    assert volume.notes == (
        "the slices lie 3.50 to 6.50 mm apart; between them values at steps of 5.00 mm were interpolated",
    )
    assert np.abs(volume.hu[:, 0, 0] - (-900 + 50 * np.arange(12))).max() <= 1


def test_the_largest_axial_series_of_a_study_is_taken_and_the_others_told(tmp_path: Path) -> None:
    def localizer(dataset: Any, index: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing

    def coronal(dataset: Any, index: int) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    folder = write_series(tmp_path / "a", CHEST, series=4)
    fewer = Chest(CHEST.hu[::2], CHEST.truth[::2], (20.0, *CHEST.spacing[1:]), CHEST.origin)
    write_series(folder, fewer, series=2, prefix="thick")
    write_series(folder, CHEST, series=1, prefix="scout", change=localizer, leave_out=range(1, 24))
    write_series(folder, drawn_chest((30, 48, 48)), series=7, prefix="front", change=coronal)
    write_series(folder, fewer, series=9, prefix="mr", modality="MR")
    (folder / "DICOMDIR.txt").write_text("no DICOM")
    volume = read_volume(folder)
    check(volume)
    assert volume.notes == (
        "taken: series 4 with 24 axial slices; left out: series 7 with 30 coronal slices, series 2 with 12 axial "
        "slices, series 1 with 1 localizer",
    )


def test_slices_that_are_there_twice_count_once(tmp_path: Path) -> None:
    def other(dataset: Any, index: int) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{index}"
        dataset.InstanceNumber = 100 + index

    folder = write_series(tmp_path / "a", CHEST)
    shutil.copy(folder / "00003", folder / "00003 (copy)")
    check(again := read_volume(folder))
    assert again.notes == ()
    doubled = Chest(CHEST.hu + 7, CHEST.truth, CHEST.spacing, CHEST.origin)
    write_series(folder, doubled, prefix="again", change=other, leave_out=range(2, 24))
    check(volume := read_volume(folder))
    assert volume.notes == ("2 slices lie where another one does, and are left out",)


def test_of_a_series_scanned_twice_one_acquisition_is_taken(tmp_path: Path) -> None:
    def second(dataset: Any, index: int) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{index}"
        dataset.AcquisitionNumber = 2

    folder = write_series(tmp_path / "a", CHEST)
    enhanced = Chest(CHEST.hu + 50, CHEST.truth, CHEST.spacing, CHEST.origin)
    volume = read_volume(write_series(folder, enhanced, prefix="later", change=second))
    check(volume)
    assert volume.notes == ("taken: series 1 with 24 axial slices; left out: series 1 with 24 axial slices",)


def zipped(folder: Path, to: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, prefix + path.name)
    return to


@pytest.mark.parametrize("prefix", ["", "study/series 1/", "../../outside/", "/etc/"])
def test_a_zip_is_read_where_it_lies_whatever_its_names_are(prefix: str, tmp_path: Path) -> None:
    path = zipped(write_series(tmp_path / "in" / "a", CHEST), tmp_path / "in" / "a.zip", prefix)
    before = set(tmp_path.rglob("*"))
    check(read_volume(path))
    assert set(tmp_path.rglob("*")) == before
    assert is_series(path)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def alter(**values: Any) -> Callable[[Any, int], None]:
    """A change of the first slice's tags; None takes one away."""

    def change(dataset: Any, index: int) -> None:
        for key, value in values.items():
            if index == 0 and value is None:
                delattr(dataset, key)
            elif index == 0:
                setattr(dataset, key, value)

    return change


def enhanced(dataset: Any, index: int) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"


def deflate(dataset: Any, index: int) -> None:
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"modality": "MR"}, "no CT slices are in it, but 24 of modality MR; give a CT series"),
        ({"leave_out": range(1, 24)}, "has 1 axial CT slice, but a volume takes at least 3"),
        ({"leave_out": range(8, 12)}, "between slices 8 and 9 lie 50.0 mm, between others 10.00 mm: too much is miss"),
        ({"change": alter(ImagePositionPatient=None)}, "has no usable ImagePositionPatient, so where its slice lies"),
        ({"change": alter(PixelSpacing=[0, 0])}, "PixelSpacing is [0.0, 0.0], expected 0.01 to 20 mm"),
        ({"change": alter(ImageOrientationPatient=[1, 0, 0, 1, 0, 0])}, "expected two unit vectors"),
        ({"change": alter(Rows=40000)}, "is 48 x 40000 pixels; expected 1 to 4096 on each side"),
        ({"change": alter(NumberOfFrames=5)}, "holds several frames; export the series as one file a slice"),
        ({"change": enhanced}, "is an enhanced CT with many frames"),
        ({"change": alter(PhotometricInterpretation="PALETTE COLOR")}, "expected grey levels (MONOCHROME)"),
        ({"change": alter(PixelData=b"\0" * 100)}, "is damaged or cut short"),
        ({"change": deflate}, "is deflated as a whole; export it in another transfer syntax"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a", CHEST, **options)
    with pytest.raises(PictureError) as caught:
        read_volume(folder)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_volume_without_air_is_not_in_hounsfield_units(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="its lowest value is 0, but a chest in Hounsfield units has air in it"):
        read_volume(write_series(tmp_path / "a", Chest(CHEST.hu.clip(0), CHEST.truth, CHEST.spacing, CHEST.origin)))


def test_two_studies_are_not_chosen_from(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a", CHEST)
    write_series(folder, CHEST, study=2, series=5, prefix="other", leave_out=range(3, 24))
    with pytest.raises(PictureError, match="holds slices of 2 studies") as caught:
        read_volume(folder)
    assert "(series 1 with 24 axial slices; series 5 with 3 axial slices); give one study alone" in str(caught.value)


@pytest.mark.parametrize("length", [140, 400, 2000])
def test_a_file_that_was_cut_short_is_named(length: int, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a", CHEST)
    cut(folder / "00005", length)
    with pytest.raises(PictureError, match=r"a/00005: is damaged or cut short"):
        read_volume(folder)


def test_limits_hold_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_series(tmp_path / "a", CHEST)
    path = zipped(folder, tmp_path / "a.zip")
    monkeypatch.setattr(volume_module, "MAX_VOXELS", 24 * 48 * 48 - 1)
    monkeypatch.setattr("toolkit.ct.dicom._decoded", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureError, match="24 x 48 x 48 are 0 million voxels, over the limit"):
        read_volume(folder)
    for limit, value, sentence in (
        ("MOST_FILES", 23, "has more than 23 files"),
        ("_FILE_BYTES", 2**11, "too much for a slice"),
        ("_ZIP_BYTES", 2**14, "holds more than 0 GiB"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(files_module, limit, value)
            for given in (path, folder) if limit != "_ZIP_BYTES" else (path,):
                with pytest.raises(PictureError, match=sentence):
                    read_volume(given)


def test_a_zip_that_lies_about_a_size_is_read_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "_FILE_BYTES", 2**16)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(2**24))
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (100).to_bytes(4, "little")  # the size before packing, in the directory
    path.write_bytes(data)
    with pytest.raises(PictureError, match=r"a\.zip, file 1 of 1: (has more than|cannot be unpacked)|no DICOM images"):
        read_volume(path)


def test_nothing_of_the_patient_is_kept_or_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def bad(dataset: Any, index: int) -> None:
        dataset.PixelData = b"\0"

    volume = read_volume(write_series(tmp_path / "a", CHEST))
    secrets = (PATIENT, "secret", "1970", "1.2.3.1")
    assert not [word for word in secrets if word in repr(volume)]
    path = zipped(write_series(tmp_path / "b", CHEST, change=bad), tmp_path / "b.zip", f"{PATIENT}/")
    with pytest.raises(PictureError) as caught:
        read_volume(path)
    assert not [word for word in secrets if word in str(caught.value)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.dcm", b"\0" * 128 + b"DICM", True),
        ("IM0001", b"\0" * 128 + b"DICM", True),
        ("a.png", b"\x89PNG", False),
        ("a.txt", b"text", False),
        ("a.nii.gz", b"", True),
        ("A.NII", b"", True),
    ],
)
def test_a_series_is_known_by_what_is_in_it(name: str, content: bytes, expected: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_series(tmp_path / name) == expected
    assert is_series(tmp_path) == (expected and not name.lower().endswith((".nii", ".gz")))
    assert not is_series(tmp_path / "missing")


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_series(tmp_path / "a", CHEST)
    for name in [name for name in sys.modules if name.split(".")[0] == "pydicom"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"reading DICOM needs pydicom: install it with pip install 'cv-toolkit\[ct\]'"):
        read_volume(folder)
