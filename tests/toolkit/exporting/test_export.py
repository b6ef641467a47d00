"""What an export leaves behind: a bundle that repeats its numbers and tells nothing of the machine, or none at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import toolkit
from toolkit.api import export_to
from toolkit.bundle import Bundle
from toolkit.bundle_spec import Calibration, ClassifierCalibration, DetectorCalibration
from toolkit.config import load_config
from toolkit.data import load_table
from toolkit.errors import UserError
from toolkit.exporting.card import fitted
from toolkit.inference import check_golden, load

TASKS = ("detection", "classification", "segmentation")
Runs = Callable[[str], Path]


@pytest.fixture
def copy_of(quick_runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """A run that a test may change. Its ONNX file is taken as it is: making it anew takes seconds, and is the same."""

    def of(task: str) -> Path:
        network = (quick_runs(task) / "bundle/model.onnx").read_bytes()
        monkeypatch.setattr("toolkit.exporting.export.to_onnx", lambda *_: network)
        return Path(shutil.copytree(quick_runs(task), tmp_path / "run"))

    return of


@pytest.mark.parametrize("task", TASKS)
def test_a_swapped_colour_order_leaves_no_bundle(task: str, copy_of: Runs) -> None:
    """A bundle that feeds its network other colours than it was trained on must not come into being."""
    run = copy_of(task)
    trained = load(run).spec.preprocessing.color
    shutil.rmtree(run / "bundle")
    with pytest.raises(UserError, match=r"parity check at stage 'preprocess' on .*\.jpg"):
        export_to(run, overrides=[f"preprocess.color={'rgb' if trained == 'bgr' else 'bgr'}"])
    assert not (run / "bundle").exists()
    assert not list(run.glob(".bundle-draft*"))


@pytest.mark.parametrize("task", TASKS)
def test_the_same_network_measures_and_answers_the_same(task: str, copy_of: Runs, quick_runs: Runs) -> None:
    run = copy_of(task)
    export_to(run, again=True)
    for name in ("metrics.json", "golden/expected.json", "golden/0.png"):
        assert (run / "bundle" / name).read_bytes() == (quick_runs(task) / "bundle" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("task", "override", "said"),
    [
        ("detection", "postprocess.score_threshold=0.4", lambda p: p.score_threshold == 0.4),
        ("classification", "postprocess.top_k=2", lambda p: p.top_k == 2),
        ("segmentation", "postprocess.regions={hot: [warm]}", lambda p: p.regions == {"hot": ("warm",)}),
    ],
)
def test_thresholds_and_words_can_be_changed_after_training(  # type: ignore[no-untyped-def]
    task: str, override: str, said, copy_of: Runs
) -> None:
    run = copy_of(task)
    export_to(run, overrides=[override, "bundle.licence=MIT"])
    bundle = Bundle.open(run)
    assert said(bundle.spec.postprocessing)
    assert bundle.spec.licence == "MIT"
    if task == "segmentation":
        metrics = json.loads((run / "bundle/metrics.json").read_text(encoding="utf-8"))
        # Sums over one column and over several may differ in the last digit.
        assert metrics["regions"]["hot"] == pytest.approx(metrics["per_class"]["warm"], rel=1e-12)


@pytest.mark.parametrize(
    ("task", "override", "sentence"),
    [
        ("detection", "model.name=yolox_tiny", "an export can change bundle, postprocess"),
        ("detection", "train.input_size=[96,96]", "an export can change bundle, postprocess"),
        ("classification", "train.epochs=3", "an export can change bundle, postprocess"),
        ("classification", "loss.smoothing=0.5", "an export can change bundle, postprocess"),
        ("segmentation", "postprocess.regions={hot: [wram]}", "postprocess.regions.hot: no class is called 'wram'"),
    ],
)
def test_what_an_export_cannot_change(task: str, override: str, sentence: str, copy_of: Runs) -> None:
    run = copy_of(task)
    with pytest.raises(UserError) as caught:
        export_to(run, overrides=[override])
    assert sentence in str(caught.value)
    assert (run / "bundle/bundle.yaml").is_file()  # the old one


def test_another_input_size_after_training(quick_runs: Runs, tmp_path: Path) -> None:
    run = Path(shutil.copytree(quick_runs("detection"), tmp_path / "run"))
    export_to(run, overrides=["model.input_size=[96,128]"])
    model = load(run, "cpu")
    assert model.spec.preprocessing.input_size == (96, 128)
    assert model.preprocess([np.zeros((50, 70, 3), np.uint8)])[0].shape == (1, 3, 96, 128)
    assert check_golden(model) == []


@pytest.mark.parametrize("task", TASKS)
def test_the_golden_pictures_answer_as_they_did(task: str, quick_runs: Runs) -> None:
    model = load(quick_runs(task), "cpu")
    expected = json.loads((quick_runs(task) / "bundle/golden/expected.json").read_text(encoding="utf-8"))["pictures"]
    assert len(expected) == 2
    key = {"detection": "boxes", "classification": "probabilities", "segmentation": "masks"}[task]
    assert all(key in answer for answer in expected.values())
    assert check_golden(model) == []


@pytest.mark.parametrize("task", TASKS)
def test_another_network_does_not_answer_as_the_golden_pictures_say(task: str, quick_runs: Runs) -> None:
    """Numbers that a broken driver or library would give: the same network with its output turned round."""
    model = load(quick_runs(task), "cpu")
    whole = model.network
    model.network = lambda batch, **_: [np.ascontiguousarray(-whole(batch)[0])]  # type: ignore[method-assign,misc]
    if task == "detection":  # its two golden pictures may be empty, so they are given something to find
        model.network = lambda batch, **_: [whole(batch)[0] + 20]  # type: ignore[method-assign,misc]
    differences = check_golden(model)
    assert len(differences) >= 2
    assert all(sentence.startswith("golden/") for sentence in differences)


@pytest.mark.parametrize("task", TASKS)
def test_the_bundle_tells_nothing_of_this_machine(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    root = run.parent.parent.name  # of all that the tests write
    for path in (run / "bundle").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for word in (str(Path.home()), str(run.parent), root, "site-packages", str(Path(toolkit.__file__).parent)):
                assert word.encode() not in content, f"{path.name} holds {word}"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["copy", "copy.zip"])
def test_a_bundle_travels_as_a_folder_or_a_zip(task: str, name: str, quick_runs: Runs, tmp_path: Path) -> None:
    path = toolkit.export(quick_runs(task), tmp_path / name)
    assert Bundle.open(path).spec == Bundle.open(quick_runs(task)).spec
    picture = np.full((50, 70, 3), 128, np.uint8)
    assert toolkit.predict(path, picture) == toolkit.predict(quick_runs(task), picture)


@pytest.mark.parametrize("task", TASKS)
def test_the_bundle_knows_its_task(task: str, quick_runs: Runs) -> None:
    spec = load(quick_runs(task)).spec
    stage = {"detection": "detect", "classification": "classify", "segmentation": "segment"}[task]
    assert (spec.task, spec.pipeline) == (task, ({stage: "self"},))
    assert getattr(spec.network, "map_output", None) == ("class_map" if task == "classification" else None)
    assert getattr(spec.network, "strides", None) == ((8, 16, 32) if task == "detection" else None)


def test_a_classifiers_bundle_shows_where_it_looks(quick_runs: Runs) -> None:
    run = quick_runs("classification")
    model, path = load(run, "cpu"), load_table(load_config(run / "config.yaml").config).samples[0].path
    result = model.predict_one(path, explain=True)
    assert result.class_activation is not None  # type: ignore[union-attr]
    assert result.class_activation.shape == (2, 2)  # type: ignore[union-attr]
    batch, _ = model.preprocess([model.decode(path)()])
    logits, maps = model.network(batch, explain=True)
    np.testing.assert_allclose(maps.mean((2, 3)), logits, atol=1e-4)


def test_docker(quick_run: Path, tmp_path: Path) -> None:
    toolkit.export(quick_run, tmp_path / "image/bundle", docker=True)
    assert "toolkit" in (tmp_path / "image/Dockerfile").read_text()
    with pytest.raises(UserError, match="give a folder"):
        toolkit.export(quick_run, tmp_path / "b.zip", docker=True)


@pytest.mark.parametrize("task", TASKS)
def test_a_checkpoint_that_is_missing_is_named(task: str, copy_of: Runs) -> None:
    run = copy_of(task)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match="no checkpoint in it"):
        export_to(run, overrides=["bundle.licence=MIT"])


@pytest.mark.parametrize("task", TASKS)
def test_the_card_tells_calibration_and_speed_as_the_bundles_files_have_them(task: str, quick_runs: Runs) -> None:
    folder = quick_runs(task) / "bundle"
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    speed = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    median = speed["milliseconds"]["fp32"]["answer"][1]
    assert f"- fp32: {median:.1f} ms (half of the answers" in card
    assert f"onnxruntime {speed['onnxruntime']}" in card
    if task == "segmentation":
        assert "there is nothing to calibrate" in card
        assert not (folder / "reliability.png").exists()
        return
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    error = metrics["calibration"]["expected_calibration_error"]
    assert error is None or f"Expected calibration error {error:.3f} [" in card
    assert "nothing was fitted to them" in card
    assert "](reliability.png)" in card
    assert 500 < (folder / "reliability.png").stat().st_size < 8000


FITTED = [
    (None, "nothing was fitted to them, and every answer is given"),
    (ClassifierCalibration(temperature=1.25, fitted_on="217 pictures of the split val"),
     "The logits are divided by the temperature 1.250, fitted to 217 pictures of the split val. Every answer is given"),
    (DetectorCalibration(slope=1.5, offset=-0.25, abstain_at=0.6, error_level=0.05),
     "A score s becomes sigmoid(1.500 * logit(s) -0.250), fitted to the validation pictures. Answers with a score up to"
     " 0.600 are unsure, so that on pictures like those at most 5 % of the others are wrong."),
]  # fmt: skip


@pytest.mark.parametrize(("calibration", "told"), FITTED)
def test_what_was_fitted_is_told(calibration: Calibration | None, told: str) -> None:
    assert told in fitted(calibration)
