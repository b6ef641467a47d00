"""A drawn chest from its files to a report: volumes in millilitres as they were drawn, by every way to predict."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from drawn_series import Chest, drawn_chest, geometric_lung_ml, write_nifti, write_series
from lung_bundle import class_of, make_lung_bundle
from tiny_bundle import flat_png
from typer.testing import CliRunner

import toolkit
from toolkit.cli.main import app
from toolkit.errors import PictureError, UserError
from toolkit.images import decode
from toolkit.results import CTReport, Failure, SegmentationResult

CHEST = drawn_chest((24, 96, 96))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lung_bundle(tmp_path_factory.mktemp("lungs") / "lungs")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("series") / "series", CHEST)


@pytest.fixture(scope="module")
def report(bundle: Path, series: Path) -> CTReport:
    found = toolkit.predict(bundle, series)
    assert isinstance(found, CTReport)
    return found


def expected_mask() -> np.ndarray:
    """Every voxel of the lungs by its own density; the network's answer for what is drawn there, holes as lung."""
    classes = np.array([class_of(hu) for hu in range(-1024, 1000)], np.uint8)[CHEST.hu + 1024]
    return np.where(CHEST.truth > 0, np.where(classes == 2, 2, 1), 0)


def test_the_volumes_are_those_that_were_drawn(report: CTReport) -> None:
    assert np.array_equal(report.mask > 0, CHEST.truth > 0)
    assert report.lung_ml == pytest.approx(CHEST.ml(1, 2), rel=1e-3)
    assert report.lung_ml == pytest.approx(2 * geometric_lung_ml(), rel=0.02)
    told = report.to_dict()
    for lung in told["lungs"]:
        assert lung["volume_ml"] == pytest.approx(CHEST.ml(1, 2, side=lung["side"]), rel=1e-3)
        assert lung["lesion_ml"] == pytest.approx(CHEST.ml(2, side=lung["side"]), rel=0.1)
        assert lung["lesion_share"] == pytest.approx(lung["lesion_ml"] / lung["volume_ml"], abs=1e-6)
        assert lung["classes"]["lung"]["mean_hu"] == pytest.approx(-850, abs=25)
    assert told["lesion_share"] == pytest.approx(CHEST.ml(2) / CHEST.ml(1, 2), rel=0.1)


def test_the_mask_is_what_the_network_says_of_each_voxel(report: CTReport) -> None:
    assert (report.mask != expected_mask()).mean() < 1e-3  # a grey level is rounded before it is judged


def test_the_numbers_are_those_of_the_mask(report: CTReport) -> None:
    """Counted anew in float64 from the mask and the drawn densities."""
    voxel = float(np.prod(CHEST.spacing)) / 1000
    told = report.to_dict()
    half = CHEST.hu.shape[2] // 2
    edges = told["histogram_edges_hu"]
    for side, part in (("right", np.s_[:, :, :half]), ("left", np.s_[:, :, half:])):
        (lung,) = (each for each in told["lungs"] if each["side"] == side)
        for class_id, name in ((1, "lung"), (2, "lesion")):
            values = CHEST.hu[part][report.mask[part] == class_id].astype(float)
            assert lung["classes"][name]["volume_ml"] == pytest.approx(values.size * voxel, abs=1e-3)
            assert lung["classes"][name]["mean_hu"] == pytest.approx(values.mean(), abs=0.06)
            assert lung["classes"][name]["histogram"] == np.histogram(values, edges)[0].tolist()
    lesion = np.flatnonzero((report.mask == 2).any((1, 2))).tolist()
    assert told["slices_with_lesion"] == report.slices_with_lesion() == lesion
    area = (report.mask == 2).sum((1, 2)) * CHEST.spacing[1] * CHEST.spacing[2]
    assert told["areas_mm2"]["lesion"] == pytest.approx(area.tolist(), abs=0.06)
    assert told["spacing_mm"] == pytest.approx(CHEST.spacing, abs=1e-3)
    assert (told["slices"], told["image_size"]) == (24, [96, 96])


def test_a_report_says_that_it_is_not_for_clinical_use(report: CTReport, series: Path) -> None:
    assert report.to_dict()["disclaimer"] == "Not for clinical use."
    assert report.summary().startswith(f"{series}: lungs {report.lung_ml:.0f} ml, lesion ")
    assert "; not for clinical use (" in report.summary()
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


def test_every_way_to_write_a_report(report: CTReport, tmp_path: Path) -> None:
    sheet = decode(report.save(tmp_path / "sheet.png"))
    assert np.array_equal(sheet, report.draw())
    assert sheet.shape[1] == 1024
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100
    assert json.loads(report.save(tmp_path / "a.json").read_text()) == report.to_dict()
    image = nibabel.load(report.save(tmp_path / "mask.nii.gz"))
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), report.mask)
    with pytest.raises(UserError, match="a result is saved as one of"):
        report.save(tmp_path / "a.doc")


def test_nifti_and_dicom_give_one_answer(report: CTReport, bundle: Path, tmp_path: Path) -> None:
    found = toolkit.predict(bundle, write_nifti(tmp_path / "a.nii.gz", CHEST, flips=(0, 2), axes=(1, 2, 0)))
    assert isinstance(found, CTReport)
    assert np.array_equal(found.mask, report.mask)
    assert found.affine == pytest.approx(report.affine, abs=1e-3)


@pytest.mark.parametrize(("window", "found"), [((-600.0, 1500.0), True), ((40.0, 400.0), False)])
def test_the_window_is_the_one_that_the_bundle_names(
    window: tuple[float, float], found: bool, report: CTReport, series: Path, tmp_path: Path
) -> None:
    """Through a window for soft tissue the body is as grey as lesions are through one for lungs."""
    other = toolkit.predict(make_lung_bundle(tmp_path / "lungs", window), series)
    assert isinstance(other, CTReport)
    assert np.array_equal(other.mask, report.mask) == found


def without(chest: Chest, *, side: str = "", bridge: bool = False, tube: bool = False) -> Chest:
    """A chest without one lung, with lungs that touch, or with a windpipe and a bubble beside them."""
    hu, truth = chest.hu.copy(), chest.truth.copy()
    x = np.arange(96)
    if side:
        gone = (truth > 0) & ((x < 48) == (side == "right"))
        hu[gone], truth[gone] = 40, 0
    if bridge:
        hu[11:13, 46:50, 40:56][truth[11:13, 46:50, 40:56] == 0] = -850
        truth[11:13, 46:50, 40:56] = np.maximum(truth[11:13, 46:50, 40:56], 1)
    if tube:
        hu[14:22, 40:44, 46:50] = -850
    return Chest(hu, truth, chest.spacing, chest.origin)


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"side": "left"}, "one lung was found"),
        ({"side": "right"}, "one lung was found"),
        ({"bridge": True}, "the lungs touch, and were told apart where they are narrowest"),
        ({"tube": True}, ""),
    ],
)
def test_odd_lungs(options: dict[str, object], note: str, bundle: Path, tmp_path: Path) -> None:
    chest = without(CHEST, **options)  # type: ignore[arg-type]
    found = toolkit.predict(bundle, write_series(tmp_path / "a", chest))
    assert isinstance(found, CTReport)
    assert found.notes == ((note,) if note else ())
    for lung in found.lungs:
        assert lung.volume_ml == pytest.approx(chest.ml(1, 2, side=lung.side), rel=2e-3)


def test_a_body_without_lungs_has_none(bundle: Path, tmp_path: Path) -> None:
    hu = np.where(CHEST.truth > 0, 40, CHEST.hu).astype(np.int16)
    found = toolkit.predict(bundle, write_series(tmp_path / "a", Chest(hu, CHEST.truth, CHEST.spacing, CHEST.origin)))
    assert isinstance(found, CTReport)
    assert found.notes == ("no lung was found",)
    assert (found.lung_ml, found.lesion_share, found.slices_with_lesion()) == (0, 0, [])
    assert found.to_dict()["lungs"][0]["classes"]["lung"]["mean_hu"] is None
    assert found.draw().shape[1] == 1024


def test_series_stand_among_pictures(bundle: Path, series: Path, tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "album" / name).write_bytes(flat_png((80, 80, 80)))
    (tmp_path / "mr").mkdir()
    write_series(tmp_path / "mr", CHEST, modality="MR")
    model = toolkit.load(bundle)
    kinds = [type(each) for each in model.predict([tmp_path / "album", series, tmp_path / "mr", b"x"])]
    assert kinds == [SegmentationResult, SegmentationResult, CTReport, Failure, Failure]
    with pytest.raises(PictureError, match="24 of modality MR"):
        list(model.predict(tmp_path / "mr", on_error="raise"))


def test_a_model_without_lungs_takes_no_series(tiny_bundle: Path, series: Path) -> None:
    with pytest.raises(UserError, match="tiny: a CT series needs a segmentation model with the class 'lung'"):
        toolkit.predict(tiny_bundle, series)


def test_the_command_line_writes_sheet_mask_and_numbers(bundle: Path, series: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["predict", str(bundle), str(series), "--save", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "not for clinical use" in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "series.jpg", "series.json", "series.nii.gz"
    ]  # fmt: skip
